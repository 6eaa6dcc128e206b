//! Smaller shapes of the same kind, on which the reference takes a bounded time.

use crate::kernel::Target;
use crate::op::{Io, Op};
use crate::program::lower::Candidates;
use crate::shape::{Shape, Spec};

/// Operations that the reference is given, as far as shapes can be made small enough.
const WORK: u64 = 1 << 24;
/// The most operations that it is given at all: some seconds.
const MOST: u64 = 1 << 29;

/// `inputs` with axes halved until the reference has little to do. Axes of equal size are halved together, so that
/// what must agree goes on agreeing; the op's shape rule and all of `variants` must still fit. `None` when what is
/// left is too much.
pub(super) fn shrink(op: &dyn Op, inputs: &[Spec], variants: &[&str], target: &Target) -> Option<Vec<Spec>> {
    let mut specs = inputs.to_vec();
    let mut work = work(op, &specs)?;
    'smaller: while work > WORK {
        let mut sizes: Vec<usize> = specs.iter().flat_map(|s| s.shape.dims()).copied().collect();
        sizes.sort_unstable();
        sizes.dedup();
        // The largest axes first; where no axis can shrink alone, all together.
        let one = sizes.iter().rev().map(|&size| with(&specs, |n| if n == size { n.div_ceil(2) } else { n }));
        let all = std::iter::once(with(&specs, |n| if n >= 8 { n / 2 } else { n }));
        for smaller in one.chain(all) {
            let less = self::work(op, &smaller).filter(|&w| w < work);
            if let (Some(less), true) = (less, all_fit(op, &smaller, variants, target)) {
                (specs, work) = (smaller, less);
                continue 'smaller;
            }
        }
        break;
    }
    (work <= MOST).then_some(specs)
}

fn with(specs: &[Spec], size: impl Fn(usize) -> usize) -> Vec<Spec> {
    let shape = |s: &Spec| Shape::new(&s.shape.dims().iter().map(|&n| size(n)).collect::<Vec<_>>());
    specs.iter().map(|s| Spec { shape: shape(s), dtype: s.dtype }).collect()
}

/// Operations of the op on these shapes; `None` when its rule refuses them.
fn work(op: &dyn Op, inputs: &[Spec]) -> Option<u64> {
    let outputs = op.outputs(inputs).ok()?;
    let cost = op.cost(Io { inputs, outputs: &outputs });
    Some(cost.flops.max(cost.bytes / 4))
}

fn all_fit(op: &dyn Op, inputs: &[Spec], variants: &[&str], target: &Target) -> bool {
    let Ok(outputs) = op.outputs(inputs) else { return false };
    let candidates = Candidates::of(op, inputs, &outputs, target);
    variants.iter().all(|v| candidates.fitting().any(|c| c.variant == *v))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn op(name: &str, fits: impl Fn(&[Spec]) -> bool) -> std::sync::Arc<dyn Op> {
        let all = crate::ops::matmul::cases().into_iter().chain(crate::ops::conv2d::cases());
        let specs = |c: &crate::op::Case| c.inputs.iter().map(|i| i.0).collect::<Vec<_>>();
        all.filter(|c| c.op.name() == name)
            .find(|c| fits(&specs(c)) && c.op.outputs(&specs(c)).is_ok())
            .unwrap()
            .op
    }

    fn shrunk(op: &dyn Op, inputs: &[&[usize]]) -> Vec<Vec<usize>> {
        let inputs: Vec<Spec> = inputs.iter().map(|s| Spec::f32(*s)).collect();
        let small = shrink(op, &inputs, &[], &Target::WEBGPU_DEFAULT).unwrap();
        assert!(op.outputs(&small).is_ok());
        assert!(work(op, &small).unwrap() <= WORK);
        small.iter().map(|s| s.shape.dims().to_vec()).collect()
    }

    #[test]
    fn axes_of_equal_size_shrink_together() {
        let product = op("matmul", |s| s.len() == 2 && s.iter().all(|s| s.shape.rank() == 2));
        let small = shrunk(&*product, &[&[1024, 1024], &[1024, 1024]]);
        assert_eq!(small, [[128, 128], [128, 128]]);
        assert_eq!(shrunk(&*product, &[&[64, 64], &[64, 64]]), [[64, 64], [64, 64]], "small enough as it is");
    }

    #[test]
    fn windows_keep_their_size() {
        let conv = op("conv2d", |s| s.len() == 2 && s[1].shape.dims()[2..] == [3, 3]);
        let small = shrunk(&*conv, &[&[16, 64, 56, 56], &[64, 64, 3, 3]]);
        assert_eq!(small[1][2..], [3, 3]);
        assert_eq!(small[0][1], small[1][1]);
    }

    #[test]
    fn variants_must_still_fit() {
        let product = op("matmul", |s| s.len() == 2 && s.iter().all(|s| s.shape.rank() == 2));
        let inputs = [Spec::f32([1024, 1024]), Spec::f32([1024, 1024])];
        assert!(shrink(&*product, &inputs, &["no such variant"], &Target::WEBGPU_DEFAULT).is_none());
    }
}
