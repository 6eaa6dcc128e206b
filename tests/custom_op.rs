//! The example of a user's own op, held to what it promises.

#[path = "../examples/custom_op.rs"]
mod custom_op;

use custom_op::{RmsNorm, gradient_error, rms_norm};
use recurve::{Device, Pick, Tensor};

#[test]
fn its_gradient_is_right() {
    assert!(gradient_error().unwrap() < 1e-7);
}

#[test]
fn its_kernel_agrees_with_its_reference_and_trains() {
    let values: Vec<f32> = (0..300 * 7).map(|i| ((i * 37 % 101) as f32 - 50.0) / 25.0).collect();
    let run = |dev: &Device| {
        let x = dev.tensor(&values, [300, 7]).requires_grad();
        let y = rms_norm(&x, 1e-5);
        let dx = y.backward_with(&dev.tensor(&values, [300, 7])).wrt(&x).unwrap();
        (y.to_vec().unwrap(), dx.to_vec().unwrap())
    };
    let (y, dx) = run(&Device::open_blocking(Pick::Best).unwrap());
    let (y_cpu, dx_cpu) = run(&Device::cpu());
    let close = |a: &[f32], b: &[f32]| a.iter().zip(b).all(|(a, b)| (a - b).abs() < 2e-6);
    assert!(close(&y, &y_cpu) && close(&dx, &dx_cpu));
}

#[test]
fn other_shapes_are_refused_where_they_are_given() {
    let dev = Device::cpu();
    let refused =
        Tensor::try_apply(RmsNorm, &[&dev.tensor([1.0], [1])], &[0.0.into()]).unwrap_err().to_string();
    assert!(refused.contains("rms_norm(f32[1]): expected one matrix [rows, columns]"), "{refused}");
    assert!(refused.contains("custom_op.rs"), "{refused}");
}
