//! What is drawn for each family of ops.

mod layers;
mod maps;
mod rows;

pub use layers::{conv1d, conv2d, matmul};
pub use maps::{adaptive_pool, avg_pool2d, max_pool2d, upsample};
pub use rows::{activation, batch_norm, cross_entropy, embedding, nll_loss, reduce, row_norm, softmax};

use super::Drawn;
use proptest::prelude::{Strategy, any};
use proptest::sample::select;
use proptest::strategy::BoxedStrategy;
use recurve::Spec;
use recurve::op::{Case, Fill};

/// The most multiply-adds, or elements, of a case: the reference is to take a moment only.
const MOST: usize = 3_000_000;

/// The size of an axis: none, one, primes, and those around a tile.
fn size() -> impl Strategy<Value = usize> {
    select(&[1usize, 2, 3, 5, 7, 8, 9, 11, 13, 15, 16, 17, 23, 31, 32, 33, 63, 64, 65, 0][..])
}

/// The size of an axis of which there are several.
fn small() -> impl Strategy<Value = usize> {
    select(&[1usize, 2, 3, 4, 5, 7, 8, 9, 0][..])
}

/// The height or width of an image.
fn side() -> impl Strategy<Value = usize> {
    select(&[1usize, 2, 3, 5, 6, 7, 8, 9, 12, 14, 16, 17, 24, 28, 32, 33][..])
}

/// Values at which every op is to hold its bound.
fn fill() -> impl Strategy<Value = Fill> {
    select(
        &[
            Fill::Normal { mean: 0.0, std: 1.0 },
            Fill::Normal { mean: 1e3, std: 0.1 },
            Fill::Uniform { low: -88.0, high: 88.0 },
            Fill::Ties,
            Fill::Uniform { low: 0.0, high: 0.0 },
        ][..],
    )
}

/// A seed, which is not made smaller: another one is another case.
fn seeded(cases: impl Strategy<Value = Case> + 'static) -> BoxedStrategy<Drawn> {
    let sized = |case: &Case| case.inputs.iter().all(|(spec, _)| spec.elements() <= MOST);
    (cases.prop_filter("too large", sized), any::<u64>().no_shrink())
        .prop_map(|(case, seed)| Drawn { case, seed })
        .boxed()
}

/// The shape of output 0, or `None` where the op's shape rule refuses the inputs.
fn result(case: &Case) -> Option<Vec<usize>> {
    let inputs: Vec<Spec> = case.inputs.iter().map(|i| i.0).collect();
    Some(case.op.outputs(&inputs).ok()?[0].shape.dims().to_vec())
}
