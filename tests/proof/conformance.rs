//! Every kernel variant of every op against the op's f64 reference, on every adapter.

use crate::adapters;
use recurve::Device;
use recurve::op::Case;
use recurve::testing::{check_variants, describe};
use std::collections::BTreeMap;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};

const SEED: u64 = 1;

fn cores() -> usize {
    std::thread::available_parallelism().map_or(1, |n| n.get())
}

/// What came of all cases on one device.
#[derive(Default)]
struct Outcome {
    /// How often each variant of each op was run.
    runs: BTreeMap<(&'static str, &'static str), usize>,
    failures: Vec<String>,
}

fn run_all(threads: usize, open: &(dyn Fn() -> Device + Sync), cases: &[(&'static str, Case)]) -> Outcome {
    let outcome = Mutex::new(Outcome::default());
    let next = AtomicUsize::new(0);
    let work = || {
        let mut device = open();
        while let Some((_, case)) = cases.get(next.fetch_add(1, Ordering::Relaxed)) {
            let checked = catch_unwind(AssertUnwindSafe(|| check_variants(&device, case, SEED)));
            let mut outcome = outcome.lock().unwrap();
            match checked {
                Ok(Ok(names)) => {
                    names.into_iter().for_each(|n| *outcome.runs.entry((case.op.name(), n)).or_default() += 1)
                }
                Ok(Err(error)) => {
                    outcome.failures.push(error.to_string());
                    // A device that has failed stays failed, and the other cases are to be tried all the same.
                    device = open();
                }
                Err(panic) => {
                    let text = panic.downcast_ref::<String>().cloned().unwrap_or_else(|| "a panic".into());
                    outcome.failures.push(format!("{text}: {} on {}", describe(case), device.name()));
                }
            }
        }
    };
    std::thread::scope(|scope| {
        (0..threads).for_each(|_| drop(scope.spawn(work)));
    });
    outcome.into_inner().unwrap()
}

fn report(device: &str, cases: usize, outcome: &Outcome) {
    println!("{device}: {cases} cases");
    for ((op, variant), runs) in &outcome.runs {
        println!("  {op}.{variant}: {runs}");
    }
    for failure in &outcome.failures {
        println!("  FAILED {failure}");
    }
}

#[test]
fn every_variant_agrees_with_its_reference_on_every_adapter() {
    let cases = crate::cases();
    let mut failed = 0;
    for adapter in adapters::all() {
        // wgpu panics where two threads want one OpenGL context and the driver takes more than a second.
        let threads = if adapter.backend() == "Gl" { 1 } else { cores() };
        let outcome = run_all(threads, &|| adapters::open(&adapter), &cases);
        report(&adapter.to_string(), cases.len(), &outcome);
        failed += outcome.failures.len();
    }
    assert_eq!(failed, 0, "{failed} variants differ from their reference, see above");
}

#[test]
fn the_cpu_engine_runs_every_case() {
    let cases = crate::cases();
    let outcome = run_all(cores(), &Device::cpu, &cases);
    report("CPU reference", cases.len(), &outcome);
    assert_eq!(outcome.failures.len(), 0, "the CPU engine differs from the references it runs, see above");
}
