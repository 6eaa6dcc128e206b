//! How a broadcast input is addressed.

use crate::shape::Shape;

/// Neighbouring axes of the result that an input either all has or all lacks.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Run {
    /// Product of the sizes of the axes.
    pub size: usize,
    /// Whether the input has these axes; otherwise it is broadcast along them.
    pub kept: bool,
}

/// The axes of `to` as runs for an input of shape `from`, innermost first: kept and broadcast runs alternate, because
/// an input is contiguous. Axes of size 1 vanish; `None` when `from` does not broadcast to `to`.
///
/// A bias `[C, 1, 1]` on `[N, C, H, W]` is `[H·W broadcast, C kept, N broadcast]`.
pub fn runs(from: Shape, to: Shape) -> Option<Vec<Run>> {
    let strides = from.broadcast_strides(to)?;
    let mut runs: Vec<Run> = Vec::new();
    for (&size, &stride) in to.dims().iter().zip(&strides).rev().filter(|(size, _)| **size != 1) {
        let kept = stride != 0;
        match runs.last_mut() {
            Some(run) if run.kept == kept => run.size *= size,
            _ => runs.push(Run { size, kept }),
        }
    }
    Some(runs)
}

/// The position in the input of element `element` of the result.
pub(super) fn position(runs: &[Run], element: usize) -> usize {
    let (mut rest, mut scale, mut at) = (element, 1, 0);
    for run in runs {
        if run.kept {
            at += rest % run.size * scale;
            scale *= run.size;
        }
        rest /= run.size;
    }
    at
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn neighbouring_axes_are_one_run() {
        let bias = runs(Shape::new(&[3, 1, 1]), Shape::new(&[2, 3, 4, 5])).unwrap();
        assert_eq!(
            bias,
            [Run { size: 20, kept: false }, Run { size: 3, kept: true }, Run { size: 2, kept: false }]
        );
        assert_eq!(position(&bias, 59), 2);
        assert_eq!(position(&bias, 60), 0);
        let full = runs(Shape::new(&[2, 1, 4]), Shape::new(&[2, 1, 4])).unwrap();
        assert_eq!(full, [Run { size: 8, kept: true }]);
        assert_eq!(runs(Shape::new(&[2]), Shape::new(&[3])), None);
    }
}
