//! The example of a user's own op, held to what it promises.

#[path = "../examples/custom_op.rs"]
mod custom_op;

use custom_op::{RmsNorm, gradient_error, rms_norm};
use recurve::kernel::{Bind, Candidate, Target};
use recurve::op::{Expected, GradIo, Io, Op, RefIo, Tolerance};
use recurve::{Device, Pick, Spec, Tensor};

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

recurve::kernel! {
    mod unusual = "tests/support/unusual.wgsl";
    params { rows: u32, columns: u32, eps: f32 }
    bind { x: Read, y: ReadWrite }
}

/// 2·x + 0.5.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct Unusual;

impl Op for Unusual {
    fn name(&self) -> &'static str {
        "unusual"
    }

    fn outputs(&self, inputs: &[Spec]) -> Result<Vec<Spec>, Expected> {
        Ok(inputs.to_vec())
    }

    fn reference(&self, io: &mut RefIo<'_>) {
        for (y, x) in io.outputs[0].data.iter_mut().zip(io.inputs[0].data) {
            *y = 2.0 * x + 0.5;
        }
    }

    fn grad(&self, _: &GradIo<'_>) -> Vec<Option<Tensor>> {
        vec![None]
    }

    fn kernels(&self, io: Io<'_>, _: &Target) -> Vec<Candidate> {
        let [rows, columns] = [0, 1].map(|axis| io.inputs[0].shape[axis]);
        let params = unusual::Params { rows: rows as u32, columns: columns as u32, eps: 0.5 };
        let dispatch = unusual::dispatch(params)
            .bind(&[Bind::Input(0), Bind::Output(0)])
            .groups((rows * columns).div_ceil(64) as u64);
        vec![Candidate::new("direct").dispatch(dispatch)]
    }

    fn tolerance(&self, _: Io<'_>, _: usize) -> Tolerance {
        Tolerance::Ulp(1.0)
    }
}

/// What Recurve does to its own kernels for software drivers, it does not do to others'.
#[test]
fn any_valid_wgsl_runs_as_it_stands() {
    let dev = Device::open_blocking(Pick::Best).unwrap();
    for shape in [[64, 3], [64, 3000]] {
        let y = Tensor::apply1(Unusual, &[&dev.full(3.0, shape)], &[]).to_vec().unwrap();
        assert!(y.iter().all(|&y| y == 6.5), "{shape:?}: {:?}", &y[..3]);
    }
}
