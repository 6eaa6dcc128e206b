//! The chain of proof: every op, every kernel variant, every adapter.
//!
//! One binary, because each links wgpu. Set `RECURVE_TEST_SKIP` to part of an adapter's name to leave it out, and
//! `RECURVE_TEST_OPS` to names of op families (`conv2d,softmax`) to go through their cases only.
//! `RECURVE_PROPTEST_CASES` is how many cases are generated for each family, instead of the few of every run.

mod adapters;
mod choices;
mod conformance;
mod convolutions;
mod faults;
mod generated;
mod goldens;
mod gradients;
#[path = "../support/optim_cases.rs"]
mod optim_cases;
mod programs;
mod schedules;
mod shaders;
mod sizes;
mod surprises;
mod tolerances;

/// Whether `RECURVE_TEST_OPS` is unset or names `family`.
fn selected(family: &str) -> bool {
    std::env::var("RECURVE_TEST_OPS").map_or(true, |names| names.split(',').any(|n| n == family))
}

/// The test cases of the op families that were selected.
fn cases() -> Vec<(&'static str, recurve::op::Case)> {
    let cases: Vec<_> = recurve::ops::cases().into_iter().filter(|(family, _)| selected(family)).collect();
    assert!(!cases.is_empty(), "RECURVE_TEST_OPS names no op family");
    cases
}
