//! Cases that nobody thought of: shapes, settings and values drawn at random, small ones and those around the edges of
//! tiles.
//!
//! The seed is fixed, so the same cases are drawn each time. `RECURVE_PROPTEST_CASES` is how many each family gets
//! instead of its few, and `RECURVE_PROPTEST_SEED` draws others. A failing case is made smaller before it is
//! reported, with its op, shapes, scalars, and the seed of its values.

mod draw;
mod nets;
mod texels;

use crate::adapters;
use proptest::strategy::BoxedStrategy;
use proptest::test_runner::{Config, RngAlgorithm, RngSeed, TestCaseError, TestRunner};
use recurve::op::Case;
use recurve::testing::{check_variants, describe};
use recurve::{AdapterEntry, Device};
use std::cell::RefCell;
use std::fmt;

const CASES_VARIABLE: &str = "RECURVE_PROPTEST_CASES";
const SEED_VARIABLE: &str = "RECURVE_PROPTEST_SEED";

/// Tries at making a failing case smaller; each may compile pipelines.
const SHRINKS: u32 = 60;

/// An op with what its inputs are filled with, by a seed.
#[derive(Clone)]
struct Drawn {
    case: Case,
    seed: u64,
}

impl fmt::Debug for Drawn {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}, seed {}", describe(&self.case), self.seed)
    }
}

fn number(variable: &str) -> Option<u64> {
    let text = std::env::var(variable).ok()?;
    Some(text.parse().unwrap_or_else(|_| panic!("{variable} is {text:?}, which is no number")))
}

/// A runner that draws `few` cases unless told otherwise, the same ones each time.
fn runner(few: u32) -> TestRunner {
    TestRunner::new(Config {
        cases: number(CASES_VARIABLE).map_or(few, |n| n as u32),
        rng_algorithm: RngAlgorithm::ChaCha,
        rng_seed: RngSeed::Fixed(number(SEED_VARIABLE).unwrap_or(1)),
        failure_persistence: None,
        max_shrink_iters: SHRINKS,
        ..Config::default()
    })
}

/// A device of its own on every adapter, opened anew once it has failed: it would stay failed.
struct Devices(Vec<(AdapterEntry, RefCell<Option<Device>>)>);

impl Devices {
    fn open() -> Devices {
        Devices(adapters::all().into_iter().map(|adapter| (adapter, RefCell::new(None))).collect())
    }

    /// Calls `check` with each device.
    fn each(&self, check: impl Fn(&Device) -> Result<(), String>) -> Result<(), TestCaseError> {
        for (adapter, slot) in &self.0 {
            // Taken out while it is used, so that a panic leaves none behind.
            let device = slot.take().unwrap_or_else(|| adapters::open(adapter));
            check(&device).map_err(TestCaseError::fail)?;
            slot.replace(Some(device));
        }
        Ok(())
    }
}

/// Draws cases of a family and compares each variant with the reference, on every adapter.
fn check(family: &str, few: u32, drawn: BoxedStrategy<Drawn>) {
    if !crate::selected(family) {
        return;
    }
    let devices = Devices::open();
    let outcome = runner(few).run(&drawn, |Drawn { case, seed }| {
        devices.each(|device| check_variants(device, &case, seed).map(drop).map_err(|e| e.to_string()))
    });
    outcome.unwrap_or_else(|failure| panic!("{family}: {failure}"));
}

macro_rules! families {
    ($($name:ident: $few:literal;)*) => {$(
        #[test]
        fn $name() {
            check(stringify!($name), $few, draw::$name());
        }
    )*};
}

families! {
    activation: 36;
    adaptive_pool: 15;
    avg_pool2d: 15;
    batch_norm: 15;
    conv1d: 12;
    conv2d: 18;
    cross_entropy: 18;
    embedding: 18;
    matmul: 15;
    max_pool2d: 15;
    nll_loss: 15;
    reduce: 24;
    row_norm: 15;
    softmax: 18;
    upsample: 18;
}
