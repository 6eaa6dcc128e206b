//! Resampling against the examples of PyTorch's documentation, and values computed by hand.

mod support;

use recurve::nn::Upsample;
use recurve::ops::upsample::Interpolation::{self, Linear, Nearest};
use recurve::ops::upsample::Resize;
use recurve::{Device, Tensor};

fn assert_close(got: &[f32], want: &[f64], what: &str) {
    assert_eq!(got.len(), want.len(), "{what}");
    for (i, (got, want)) in got.iter().zip(want).enumerate() {
        assert!(
            (f64::from(*got) - want).abs() <= 1e-6 * (1.0 + want.abs()),
            "{what}: [{i}] {got}, not {want}"
        );
    }
}

const AREAS: Interpolation = Linear { align_corners: false };
const CORNERS: Interpolation = Linear { align_corners: true };

fn resample(x: &Tensor, to: impl Into<Resize>, mode: Interpolation) -> Vec<f32> {
    Upsample::new(to, mode).forward(x).to_vec().unwrap()
}

#[test]
fn the_examples_of_pytorchs_documentation() {
    for dev in support::devices() {
        let x = dev.tensor([1.0, 2.0, 3.0, 4.0], [1, 1, 2, 2]);
        let double = |x: &Tensor, mode| resample(x, 2.0, mode);
        let rows = [[1.0, 1.0, 2.0, 2.0], [1.0, 1.0, 2.0, 2.0], [3.0, 3.0, 4.0, 4.0], [3.0, 3.0, 4.0, 4.0]];
        assert_eq!(double(&x, Nearest), rows.concat());
        let rows =
            [[1.0, 1.25, 1.75, 2.0], [1.5, 1.75, 2.25, 2.5], [2.5, 2.75, 3.25, 3.5], [3.0, 3.25, 3.75, 4.0]];
        assert_close(&double(&x, AREAS), &rows.concat(), "areas");
        let third = |n: i32| f64::from(n) / 3.0;
        let rows = [[3, 4, 5, 6], [5, 6, 7, 8], [7, 8, 9, 10], [9, 10, 11, 12]].map(|row| row.map(third));
        assert_close(&double(&x, CORNERS), &rows.concat(), "corners");

        let x = dev.tensor([1.0, 2.0, 0.0, 3.0, 4.0, 0.0, 0.0, 0.0, 0.0], [1, 1, 3, 3]);
        let rows = [
            [1.0, 1.25, 1.75, 1.5, 0.5, 0.0],
            [1.5, 1.75, 2.25, 1.875, 0.625, 0.0],
            [2.5, 2.75, 3.25, 2.625, 0.875, 0.0],
            [2.25, 2.4375, 2.8125, 2.25, 0.75, 0.0],
            [0.75, 0.8125, 0.9375, 0.75, 0.25, 0.0],
            [0.0; 6],
        ];
        assert_close(&double(&x, AREAS), &rows.concat(), "areas");
        let rows = [
            [1.0, 1.4, 1.8, 1.6, 0.8, 0.0],
            [1.8, 2.2, 2.6, 2.24, 1.12, 0.0],
            [2.6, 3.0, 3.4, 2.88, 1.44, 0.0],
            [2.4, 2.72, 3.04, 2.56, 1.28, 0.0],
            [1.2, 1.36, 1.52, 1.28, 0.64, 0.0],
            [0.0; 6],
        ];
        assert_close(&double(&x, CORNERS), &rows.concat(), "corners");
    }
}

/// A factor is the distance of the results too; a size is reached from edge to edge.
#[test]
fn factors_and_sizes_differ() {
    for dev in support::devices() {
        let x = dev.tensor([0.0, 1.0, 2.0, 3.0, 4.0], [1, 1, 5]);
        let by_factor = [0.0, 0.5, 7.0 / 6.0, 11.0 / 6.0, 2.5, 19.0 / 6.0, 23.0 / 6.0];
        assert_close(&resample(&x, 1.5, AREAS), &by_factor, "by factor");
        let by_size = [0.0, 4.0 / 7.0, 9.0 / 7.0, 2.0, 19.0 / 7.0, 24.0 / 7.0, 4.0];
        assert_close(&resample(&x, 7, AREAS), &by_size, "by size");
        let corners = [0.0, 2.0 / 3.0, 4.0 / 3.0, 2.0, 8.0 / 3.0, 10.0 / 3.0, 4.0];
        assert_close(&resample(&x, 7, CORNERS), &corners, "corners");
        assert_close(&resample(&x, 1.5, CORNERS), &corners, "corners by factor");
        assert_eq!(resample(&x, 3, Nearest), [0.0, 1.0, 3.0]);
        assert_eq!(resample(&x, 0.7, Nearest), [0.0, 1.0, 2.0]);
        assert_close(&resample(&x, 2, AREAS), &[0.75, 3.25], "smaller");
        assert_eq!(resample(&x, 1, CORNERS), [0.0]);
        assert_eq!(resample(&x, 5, AREAS), [0.0, 1.0, 2.0, 3.0, 4.0]);
    }
}

/// PyTorch multiplies in f32: 41 · (1 / 41) is less than 1 there, so element 0 is repeated once more.
#[test]
fn nearest_elements_are_those_of_f32_arithmetic() {
    for dev in support::devices() {
        let x = dev.tensor([0.0, 1.0], [1, 1, 2]).requires_grad();
        let y = x.upsample_nearest1d(82);
        let mut want = [0.0; 82];
        want[42..].fill(1.0);
        assert_eq!(y.to_vec().unwrap(), want);
        let dx = y.sum(&[0, 1, 2]).backward().wrt(&x).unwrap();
        assert_eq!(dx.to_vec().unwrap(), [42.0, 40.0]);
    }
}

#[test]
fn gradients() {
    for dev in support::devices() {
        let gradient = |x: &[f32], dy: &[f32], to: usize, mode| {
            let x = dev.tensor(x, [1, 1, x.len()]).requires_grad();
            let y = x.interpolate(to, mode);
            y.backward_with(&dev.tensor(dy, [1, 1, to])).wrt(&x).unwrap().to_vec().unwrap()
        };
        // Results x0, 3/4·x0 + 1/4·x1, 1/4·x0 + 3/4·x1, x1.
        assert_close(&gradient(&[5.0, 7.0], &[1.0, 2.0, 4.0, 8.0], 4, AREAS), &[3.5, 11.5], "areas");
        // Results x0, 2/3·x0 + 1/3·x1, 1/3·x0 + 2/3·x1, x1.
        let corners = [1.0 + 4.0 / 3.0 + 4.0 / 3.0, 2.0 / 3.0 + 8.0 / 3.0 + 8.0];
        assert_close(&gradient(&[5.0, 7.0], &[1.0, 2.0, 4.0, 8.0], 4, CORNERS), &corners, "corners");
        assert_eq!(gradient(&[5.0, 7.0], &[1.0, 2.0, 4.0], 3, Nearest), [3.0, 4.0]);
        // One result of three elements lies on the middle one, or the first.
        assert_eq!(gradient(&[1.0, 2.0, 3.0], &[4.0], 1, AREAS), [0.0, 4.0, 0.0]);
        assert_eq!(gradient(&[1.0, 2.0, 3.0], &[4.0], 1, CORNERS), [4.0, 0.0, 0.0]);
        assert_eq!(gradient(&[1.0, 2.0, 3.0], &[4.0], 1, Nearest), [4.0, 0.0, 0.0]);
    }
}

/// More results around an element than one thread adds up.
#[test]
fn one_element_becomes_a_large_image() {
    for dev in support::devices() {
        for mode in [Nearest, AREAS, CORNERS] {
            let x = dev.tensor([3.0, -1.0], [2, 1, 1, 1]).requires_grad();
            let y = x.interpolate([150, 170], mode);
            let values = y.to_vec().unwrap();
            assert!(values[..150 * 170].iter().all(|&v| v == 3.0), "{mode:?} on {dev:?}");
            assert!(values[150 * 170..].iter().all(|&v| v == -1.0), "{mode:?} on {dev:?}");
            let dx = y.sum(&[0, 1, 2, 3]).backward().wrt(&x).unwrap();
            assert_eq!(dx.to_vec().unwrap(), [25_500.0; 2], "{mode:?} on {dev:?}");
        }
    }
}

#[test]
#[should_panic(expected = "a scale factor of -2")]
fn a_negative_factor() {
    Device::cpu().full(0.0, [1, 1, 2, 2]).upsample_nearest2d(-2.0);
}

#[test]
#[should_panic(expected = "a result of at least one row and column, not [1, 0]")]
fn a_factor_that_leaves_nothing() {
    Device::cpu().full(0.0, [1, 1, 4, 2]).upsample_bilinear2d([0.25, 0.25], false);
}

#[test]
#[should_panic(expected = "elements along an axis: at most 2147483647")]
fn a_factor_that_cannot_be_counted() {
    Device::cpu().full(0.0, [1, 1, 2, 2]).upsample_bilinear2d(1e30, false);
}
