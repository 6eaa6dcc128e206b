//! Pooling: what no golden case of PyTorch covers, against values computed by hand or by the windows' definition.

mod support;

use recurve::nn::{AdaptiveAvgPool2d, AdaptiveMaxPool1d, AdaptiveMaxPool2d};
use recurve::ops::avg_pool1d::AvgPool1dConfig;
use recurve::ops::avg_pool2d::AvgPool2dConfig;
use recurve::ops::max_pool2d::MaxPool2dConfig;
use recurve::{Device, Tensor};

/// Values without ties, in no order.
fn values(n: usize) -> Vec<f32> {
    (0..n).map(|i| ((i * 7919) % 100_003) as f32 / 100_003.0 - 0.3).collect()
}

fn assert_close(got: &[f32], want: &[f64], what: &str) {
    assert_eq!(got.len(), want.len(), "{what}");
    for (i, (got, want)) in got.iter().zip(want).enumerate() {
        assert!(
            (f64::from(*got) - want).abs() <= 1e-6 * (1.0 + want.abs()),
            "{what}: [{i}] {got}, not {want}"
        );
    }
}

#[test]
fn windows_of_one_axis() {
    for dev in support::devices() {
        let x = dev.tensor([3.0, 1.0, 4.0, 1.0, 5.0], [1, 1, 5]).requires_grad();
        assert_eq!(x.max_pool1d(2).to_vec().unwrap(), [3.0, 4.0]);
        assert_eq!(x.avg_pool1d(2).to_vec().unwrap(), [2.0, 2.5]);
        // Windows 0..2, 1..4 and 3..5.
        let y = AdaptiveMaxPool1d::new(3).forward(&x);
        assert_eq!(y.to_vec().unwrap(), [3.0, 4.0, 5.0]);
        assert_eq!(x.adaptive_max_pool1d_indices(3).to_vec_u32().unwrap(), [0, 2, 4]);
        let dy = dev.tensor([1.0, 10.0, 100.0], [1, 1, 3]);
        let dx = y.backward_with(&dy).wrt(&x).unwrap().to_vec().unwrap();
        assert_eq!(dx, [1.0, 0.0, 10.0, 0.0, 100.0]);
        assert_eq!(x.adaptive_avg_pool1d(3).to_vec().unwrap(), [2.0, 2.0, 3.0]);
        // More results than elements: windows 0..1, 0..2, 1..2.
        let two = dev.tensor([1.0, 5.0], [1, 1, 2]);
        assert_eq!(two.adaptive_avg_pool1d(3).to_vec().unwrap(), [1.0, 3.0, 5.0]);
        assert_eq!(two.adaptive_max_pool1d(3).to_vec().unwrap(), [1.0, 5.0, 5.0]);
        assert_eq!(two.adaptive_max_pool1d(4).to_vec().unwrap(), [1.0, 1.0, 5.0, 5.0]);
    }
}

#[test]
fn one_maximum_of_overlapping_windows_gets_all_their_gradients() {
    for dev in support::devices() {
        // Windows 0..2 and 1..3 along both axes; the centre is the largest, and the only one of its windows.
        let x = dev.tensor([0.0, 1.0, 0.0, 1.0, 2.0, 1.0, 0.0, 1.0, 0.0], [1, 1, 3, 3]).requires_grad();
        let y = AdaptiveMaxPool2d::new(2).forward(&x);
        assert_eq!(y.to_vec().unwrap(), [2.0; 4]);
        let dy = dev.tensor([1.0, 2.0, 4.0, 8.0], [1, 1, 2, 2]);
        let dx = y.backward_with(&dy).wrt(&x).unwrap().to_vec().unwrap();
        assert_eq!(dx, [0.0, 0.0, 0.0, 0.0, 15.0, 0.0, 0.0, 0.0, 0.0]);
        let y = AdaptiveAvgPool2d::new(2).forward(&x);
        assert_eq!(y.to_vec().unwrap(), [1.0; 4]);
        let dx = y.backward_with(&dy).wrt(&x).unwrap().to_vec().unwrap();
        assert_eq!(dx, [0.25, 0.75, 0.5, 1.25, 3.75, 2.5, 1.0, 3.0, 2.0]);
    }
}

/// An adaptive pooling by its definition: per result, the elements' indices in the plane.
fn windows([h, w]: [usize; 2], [p, q]: [usize; 2]) -> Vec<Vec<usize>> {
    let range = |i: usize, size: usize, count: usize| {
        let end = ((i + 1) as f64 * size as f64 / count as f64).ceil() as usize;
        (i as f64 * size as f64 / count as f64).floor() as usize..end
    };
    let window = |i| {
        let row = |r| range(i % q, w, q).map(move |c| r * w + c);
        range(i / q, h, p).flat_map(row).collect()
    };
    (0..p * q).map(window).collect()
}

/// However an adaptive pooling is computed, its values and gradients are those of the definition.
#[test]
fn every_route_of_adaptive_pooling() {
    for dev in support::devices() {
        for (image, size) in [
            ([4, 6], [4, 6]),
            ([5, 7], [1, 1]),
            ([6, 9], [3, 3]),
            ([5, 7], [3, 4]),
            ([2, 3], [5, 4]),
            // Windows side by side, too large for one thread.
            ([300, 301], [2, 1]),
            // Windows of several sizes, too large for one thread: along both axes, along one.
            ([300, 301], [2, 2]),
            ([301, 299], [2, 2]),
            ([40_001, 1], [2, 1]),
            ([1, 40_001], [1, 2]),
        ] {
            let what = format!("{image:?} to {size:?} on {dev:?}");
            let (all, windows) = (values(2 * image[0] * image[1]), windows(image, size));
            let x = dev.tensor(all.clone(), [1, 2, image[0], image[1]]).requires_grad();
            let dy: Vec<f32> = (0..2 * windows.len()).map(|i| 1.0 + i as f32 / 8.0).collect();
            let per_plane = image[0] * image[1];
            let (mut means, mut maxima) = (Vec::new(), Vec::new());
            let (mut of_means, mut of_maxima) = (vec![0.0; all.len()], vec![0.0; all.len()]);
            for plane in 0..2 {
                for (i, window) in windows.iter().enumerate() {
                    let at = |k: usize| plane * per_plane + k;
                    let dy = f64::from(dy[plane * windows.len() + i]);
                    let sum: f64 = window.iter().map(|&k| f64::from(all[at(k)])).sum();
                    means.push(sum / window.len() as f64);
                    window.iter().for_each(|&k| of_means[at(k)] += dy / window.len() as f64);
                    let largest = |&a: &usize, &b: &usize| all[at(a)].total_cmp(&all[at(b)]).then(b.cmp(&a));
                    let best = window.iter().copied().max_by(largest).unwrap();
                    maxima.push(f64::from(all[at(best)]));
                    of_maxima[at(best)] += dy;
                }
            }
            let dy = dev.tensor(dy, [1, 2, size[0], size[1]]);
            let check = |y: Tensor, values: &[f64], gradient: &[f64]| {
                assert_eq!(y.shape().dims(), [1, 2, size[0], size[1]]);
                assert_close(&y.to_vec().unwrap(), values, &what);
                let dx = y.backward_with(&dy).wrt(&x).unwrap().to_vec().unwrap();
                assert_close(&dx, gradient, &format!("gradient of {what}"));
            };
            check(x.adaptive_avg_pool2d(size), &means, &of_means);
            check(x.adaptive_max_pool2d(size), &maxima, &of_maxima);
        }
    }
}

#[test]
fn global_pooling() {
    for dev in support::devices() {
        let x = dev.tensor(values(2 * 3 * 49), [2, 3, 7, 7]);
        assert_eq!(x.global_avg_pool2d().shape().dims(), [2, 3, 1, 1]);
        let planes = values(2 * 3 * 49);
        let maxima: Vec<f32> =
            planes.chunks(49).map(|p| p.iter().copied().fold(f32::MIN, f32::max)).collect();
        assert_eq!(x.global_max_pool2d().flatten(1).to_vec().unwrap(), maxima);
    }
}

#[test]
fn a_divisor_of_ones_own() {
    for dev in support::devices() {
        let x = dev.tensor((1..=9).map(|v| v as f32).collect::<Vec<_>>(), [1, 1, 3, 3]).requires_grad();
        let config = AvgPool2dConfig {
            padding: [1, 1],
            stride: Some([2, 2]),
            divisor_override: Some(2),
            ..Default::default()
        };
        let y = x.avg_pool2d_with([2, 2], config);
        assert_eq!(y.to_vec().unwrap(), [0.5, 2.5, 5.5, 14.0]);
        let dy = dev.tensor([2.0, 4.0, 6.0, 8.0], [1, 1, 2, 2]);
        let dx = y.backward_with(&dy).wrt(&x).unwrap().to_vec().unwrap();
        assert_eq!(dx, [1.0, 2.0, 2.0, 3.0, 4.0, 4.0, 3.0, 4.0, 4.0]);
    }
}

#[test]
fn a_window_larger_than_the_image_where_it_may_reach_beyond_it() {
    for dev in support::devices() {
        let x = dev.tensor([7.0], [1, 1, 1, 1]);
        let max = MaxPool2dConfig { ceil_mode: true, ..Default::default() };
        assert_eq!(x.max_pool2d_with([2, 2], max).to_vec().unwrap(), [7.0]);
        let avg = AvgPool2dConfig { ceil_mode: true, ..Default::default() };
        assert_eq!(x.avg_pool2d_with([2, 2], avg).to_vec().unwrap(), [7.0]);
        // A last window of one element, and padding that counts while what lies beyond it does not.
        let x = dev.tensor([1.0, 2.0, 3.0, 4.0, 6.0], [1, 1, 5]);
        let config = AvgPool1dConfig { ceil_mode: true, ..Default::default() };
        assert_eq!(x.avg_pool1d_with(2, config).to_vec().unwrap(), [1.5, 3.5, 6.0]);
        let config = AvgPool1dConfig { stride: Some(3), padding: 1, ..config };
        assert_eq!(x.avg_pool1d_with(3, config).to_vec().unwrap(), [1.0, 13.0 / 3.0]);
    }
}

#[test]
#[should_panic(expected = "max_pool1d(f32[2, 3]): expected an operand of f32 [N, C, L]")]
fn two_axes_instead_of_three() {
    Device::cpu().full(0.0, [2, 3]).max_pool1d(2);
}

#[test]
#[should_panic(expected = "a divisor other than 0")]
fn division_by_zero() {
    let config = AvgPool2dConfig { divisor_override: Some(0), ..Default::default() };
    Device::cpu().full(0.0, [1, 1, 4, 4]).avg_pool2d_with([2, 2], config);
}

#[test]
#[should_panic(expected = "a divisor other than 0 of at most 4294967295")]
fn division_by_more_than_kernels_can_hold() {
    let config = AvgPool2dConfig { divisor_override: Some(1 << 32), ..Default::default() };
    Device::cpu().full(0.0, [1, 1, 4, 4]).avg_pool2d_with([2, 2], config);
}

#[test]
#[should_panic(expected = "a stride and a dilation of 1 to 2147483647")]
fn a_stride_that_cannot_be_counted() {
    let config = AvgPool2dConfig { stride: Some([usize::MAX; 2]), ceil_mode: true, ..Default::default() };
    Device::cpu().full(0.0, [1, 1, 4, 4]).avg_pool2d_with([2, 2], config);
}

#[test]
#[should_panic(expected = "padding of at most half a window")]
fn padding_that_cannot_be_counted() {
    let config = AvgPool2dConfig { padding: [usize::MAX; 2], ..Default::default() };
    Device::cpu().full(0.0, [1, 1, 4, 4]).avg_pool2d_with([2, 2], config);
}

#[test]
#[should_panic(expected = "output sizes of at least 1")]
fn no_results() {
    Device::cpu().full(0.0, [1, 1, 4, 4]).adaptive_max_pool2d([2, 0]);
}
