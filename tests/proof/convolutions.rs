//! What the methods of the convolution family add to their ops: padding by name, sizes, errors.

use crate::adapters;
use recurve::ops::conv_transpose1d::ConvTranspose1dConfig;
use recurve::ops::conv_transpose2d::ConvTranspose2dConfig;
use recurve::ops::conv1d::{Conv1dConfig, Padding1d};
use recurve::ops::conv2d::{Conv2d, Conv2dConfig, Padding};
use recurve::ops::pad::Pad;
use recurve::{Device, Tensor};
use std::panic::{AssertUnwindSafe, catch_unwind};

fn ramp(device: &Device, shape: &[usize]) -> Tensor {
    let n: usize = shape.iter().product();
    device.tensor((0..n).map(|i| ((i * 5) % 7) as f32 - 3.0).collect::<Vec<_>>(), shape)
}

/// What a call that must panic says.
fn panic_of(call: impl FnOnce() -> Tensor) -> String {
    let caught = catch_unwind(AssertUnwindSafe(call));
    caught.expect_err("a panic").downcast_ref::<String>().expect("a formatted text").clone()
}

#[test]
fn the_padding_same_keeps_the_size_and_puts_the_odd_one_last() {
    let device = Device::cpu();
    let (x, w) = (ramp(&device, &[1, 2, 6, 9]), ramp(&device, &[3, 2, 4, 3]));
    for (dilation, sides) in [([1, 1], [[1, 2], [1, 1]]), ([3, 2], [[4, 5], [2, 2]])] {
        let config = |padding| Conv2dConfig { padding, dilation, ..Default::default() };
        let y = x.conv2d(&w, None, config(Padding::Same));
        assert_eq!(y.shape().dims(), [1, 3, 6, 9]);
        let same = x.conv2d(&w, None, config(sides.into()));
        assert_eq!(y.to_vec().unwrap(), same.to_vec().unwrap());
    }
    let (x, w) = (ramp(&device, &[1, 2, 9]), ramp(&device, &[3, 2, 2]));
    let config = |padding| Conv1dConfig { padding, ..Default::default() };
    let y = x.conv1d(&w, None, config(Padding1d::Same));
    assert_eq!(y.to_vec().unwrap(), x.conv1d(&w, None, config([0, 1].into())).to_vec().unwrap());
}

#[test]
fn the_padding_same_refuses_a_stride() {
    let device = Device::cpu();
    let config = Conv2dConfig { padding: Padding::Same, stride: [1, 2], ..Default::default() };
    let line = line!() + 1;
    let text = panic_of(|| ramp(&device, &[1, 2, 6, 9]).conv2d(&ramp(&device, &[3, 2, 3, 3]), None, config));
    for part in ["conv2d(f32[1, 2, 6, 9], f32[3, 2, 3, 3])", "a stride of 1", &format!("s.rs:{line}")] {
        assert!(text.contains(part), "{text:?} does not say {part}");
    }
    assert!(config.window([3, 3]).is_err());
}

#[test]
fn operands_of_another_rank_are_refused_by_the_method_that_was_called() {
    let device = Device::cpu();
    let (images, kernels) = (ramp(&device, &[1, 2, 6, 9]), ramp(&device, &[2, 2, 3, 3]));
    let (rows, taps) = (ramp(&device, &[1, 2, 9]), ramp(&device, &[2, 2, 3]));
    let calls: [(&str, &dyn Fn() -> Tensor); 6] = [
        ("conv1d(f32[1, 2, 6, 9]", &|| images.conv1d(&kernels, None, Default::default())),
        ("conv1d(f32[1, 2, 9], f32[2, 2, 3, 3]", &|| rows.conv1d(&kernels, None, Default::default())),
        ("conv2d(f32[1, 2, 9]", &|| rows.conv2d(&taps, None, Default::default())),
        ("conv_transpose1d(f32[1, 2, 6, 9]", &|| images.conv_transpose1d(&taps, None, Default::default())),
        ("conv_transpose2d(f32[1, 2, 9]", &|| rows.conv_transpose2d(&kernels, None, Default::default())),
        ("f32[1, 2, 9], f32[2, 2, 3], f32[3]): expected a bias of [2]", &|| {
            rows.conv_transpose1d(&taps, Some(&device.full(0.0, [3])), Default::default())
        }),
    ];
    for (part, call) in calls {
        let text = panic_of(call);
        assert!(text.contains(part), "{text:?} does not say {part}");
    }
}

#[test]
fn a_convolution_of_rows_takes_its_bias_and_activation_along() {
    let device = adapters::first();
    let (x, w, b) = (ramp(&device, &[2, 3, 20]), ramp(&device, &[4, 3, 5]), ramp(&device, &[4]));
    let y = x.conv1d(&w, None, Default::default()).add(&b.reshape([4, 1])).relu();
    let wide = |t: &Tensor| t.reshape([t.shape()[0], t.shape()[1], 1, t.shape()[2]]);
    let same = wide(&x).conv2d(&wide(&w), Some(&b), Default::default()).relu();
    assert_eq!(y.to_vec().unwrap(), same.to_vec().unwrap());
    drop(same);
    let again = x.conv1d(&w, None, Default::default()).add(&b.reshape([4, 1])).relu();
    again.to_vec().unwrap();
    let plan = device.explain();
    assert!(plan.contains("conv2d") && plan.starts_with("1 steps"), "{plan}");
}

/// Puts the kernel down once per element, as the formula has it. One image, no groups.
fn put_down(x: &Tensor, w: &Tensor, config: ConvTranspose1dConfig, size: usize) -> Vec<f32> {
    let ([c, len], [k, taps]) = ([x.shape()[1], x.shape()[2]], [w.shape()[1], w.shape()[2]]);
    let (x, w) = (x.to_vec().unwrap(), w.to_vec().unwrap());
    let mut y = vec![0.0; k * size];
    for (i, tap) in (0..c * k * len).flat_map(|i| (0..taps).map(move |tap| (i, tap))) {
        let (from, to, q) = (i / (k * len), i / len % k, i % len);
        let at = (q * config.stride + tap * config.dilation).checked_sub(config.padding);
        if let Some(at) = at.filter(|&at| at < size) {
            y[to * size + at] += x[from * len + q] * w[(from * k + to) * taps + tap];
        }
    }
    y
}

#[test]
fn output_padding_may_exceed_the_stride_below_a_dilation() {
    let device = Device::cpu();
    let plain = ConvTranspose1dConfig::default();
    for (len, taps, config, size) in [
        (4, 3, ConvTranspose1dConfig { stride: 2, dilation: 5, output_padding: 4, ..plain }, 21),
        (4, 3, ConvTranspose1dConfig { stride: 2, dilation: 5, output_padding: 4, padding: 3, ..plain }, 15),
        (5, 2, ConvTranspose1dConfig { stride: 1, dilation: 4, output_padding: 2, padding: 3, ..plain }, 5),
        (4, 2, ConvTranspose1dConfig { stride: 3, dilation: 2, output_padding: 2, padding: 1, ..plain }, 12),
        // All that the kernel reaches is cut off.
        (4, 1, ConvTranspose1dConfig { stride: 1, dilation: 9, output_padding: 8, padding: 5, ..plain }, 2),
    ] {
        let (x, w) = (ramp(&device, &[1, 3, len]), ramp(&device, &[3, 2, taps]));
        let y = x.requires_grad().conv_transpose1d(&w, None, config);
        assert_eq!(y.shape().dims(), [1, 2, size], "{config:?}");
        assert_eq!(y.to_vec().unwrap(), put_down(&x, &w, config, size), "{config:?}");
    }
}

#[test]
fn a_transposed_convolution_is_the_adjoint_of_the_convolution() {
    let device = Device::cpu();
    let (x, w) = (ramp(&device, &[2, 4, 7, 9]), ramp(&device, &[6, 2, 3, 2]));
    let config = Conv2dConfig { stride: [2, 3], padding: [1, 0].into(), dilation: [1, 2], groups: 2 };
    let y = x.conv2d(&w, None, config);
    let g = ramp(&device, y.shape().dims());
    let back = ConvTranspose2dConfig {
        stride: [2, 3],
        padding: [1, 0],
        output_padding: [0, 0],
        dilation: [1, 2],
        groups: 2,
    };
    let z = g.conv_transpose2d(&w, None, back);
    assert_eq!(z.shape().dims(), x.shape().dims());
    let dot = |a: &Tensor, b: &Tensor| a.mul(b).sum(&[0, 1, 2, 3]).to_vec_f64().unwrap()[0];
    assert_eq!(dot(&y, &g), dot(&x, &z));
}

#[test]
fn output_padding_must_stay_below_stride_or_dilation() {
    let device = Device::cpu();
    let (x, w) = (ramp(&device, &[1, 2, 4]), ramp(&device, &[2, 2, 3]));
    let with = |config| panic_of(|| x.conv_transpose1d(&w, None, config));
    let plain = ConvTranspose1dConfig::default();
    let text = with(ConvTranspose1dConfig { stride: 2, output_padding: 2, ..plain });
    assert!(text.contains("an output_padding below stride 2 or dilation 1, not 2"), "{text}");
    let text = with(ConvTranspose1dConfig { padding: 3, ..plain });
    assert!(text.contains("at least one result of 4 pixels and 3 taps with padding 3"), "{text}");
    let text = with(ConvTranspose1dConfig { groups: 0, ..plain });
    assert!(text.contains("at least 1"), "{text}");
    let text = with(ConvTranspose1dConfig { groups: 3, ..plain });
    assert!(text.contains("C = 2 divided into 3 groups"), "{text}");
}

#[test]
fn sizes_that_cannot_be_counted_are_shape_errors() {
    let device = Device::cpu();
    let (x, w) = (ramp(&device, &[1, 2, 3, 3]), ramp(&device, &[2, 2, 2, 2]));
    for huge in [usize::MAX, usize::MAX / 2, 1 << 40, 1 << 31] {
        let padded = Conv2dConfig { padding: [0, huge].into(), ..Default::default() };
        let apart = Conv2dConfig { stride: [huge, 1], padding: [huge / 2, 0].into(), ..Default::default() };
        let wide = Conv2dConfig { dilation: [1, huge], padding: [0, huge / 2].into(), ..Default::default() };
        let same = Conv2dConfig { dilation: [1, huge], padding: Padding::Same, ..Default::default() };
        let groups = Conv2dConfig { groups: huge, ..Default::default() };
        for config in [padded, apart, wide, same, groups] {
            assert!(panic_of(|| x.conv2d(&w, None, config)).contains("expected "), "{config:?}");
        }
        let rows = |t: &Tensor| t.slice(&[0..2, 0..2, 0..1, 0..2]).reshape([2, 2, 2]);
        let plain = ConvTranspose1dConfig::default();
        for config in [
            ConvTranspose1dConfig { padding: huge, ..plain },
            ConvTranspose1dConfig { stride: huge, ..plain },
            ConvTranspose1dConfig { dilation: huge, ..plain },
            ConvTranspose1dConfig { stride: huge, output_padding: huge - 1, ..plain },
            ConvTranspose1dConfig { groups: huge, ..plain },
        ] {
            let text = panic_of(|| rows(&w).conv_transpose1d(&rows(&w), None, config));
            assert!(text.contains("expected "), "{config:?}: {text}");
        }
    }
    // Each axis can be counted, all of them together cannot.
    let wide = Conv2dConfig { padding: (1usize << 29).into(), ..Default::default() };
    let window = wide.window([2, 2]).unwrap();
    let error = Tensor::try_apply(Conv2d { window, ..Default::default() }, &[&x, &w], &[]).unwrap_err();
    assert!(error.expected.contains("fewer elements"), "{error}");
    for amounts in [vec![(usize::MAX, 1)], vec![(1, usize::MAX)], vec![(usize::MAX / 8, 0)]] {
        let one = ramp(&device, &[3]);
        let error = Tensor::try_apply(Pad { amounts }, &[&one], &[0.0.into()]).unwrap_err();
        assert!(error.expected.contains("countable"), "{error}");
    }
}
