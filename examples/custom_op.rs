//! An op of your own: RMS normalisation of rows (Zhang & Sennrich 2019, arXiv 1910.07467) with its own WGSL kernel
//! and gradient, through the same door as Recurve's ops. Checks itself against finite differences and trains with it.
//!
//! y[r, c] = x[r, c] / sqrt(mean_c(x[r, c]²) + eps)

use recurve::kernel::{Bind, Candidate, Target};
use recurve::op::{Expected, GradIo, Io, Op, RefIo, Scalar, Tolerance, expected};
use recurve::{Device, Pick, Result, Spec, Tensor};

recurve::kernel! {
    /// One invocation per row.
    mod rows = "examples/custom_op.wgsl";
    params { rows: u32, columns: u32, eps: f32 }
    bind { x: Read, y: ReadWrite }
}

/// The op: plain data. `eps` is a scalar input, not a field, so changing it never makes a new plan.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct RmsNorm;

impl Op for RmsNorm {
    fn name(&self) -> &'static str {
        "rms_norm"
    }

    fn outputs(&self, inputs: &[Spec]) -> Result<Vec<Spec>, Expected> {
        match inputs {
            [x] if x.shape.rank() == 2 => Ok(vec![*x]),
            _ => expected("one matrix [rows, columns]"),
        }
    }

    fn reference(&self, io: &mut RefIo<'_>) {
        let columns = io.inputs[0].shape[1].max(1);
        for (x, y) in io.inputs[0].data.chunks(columns).zip(io.outputs[0].data.chunks_mut(columns)) {
            let mean = x.iter().map(|v| v * v).sum::<f64>() / columns as f64;
            let scale = 1.0 / (mean + io.scalars[0]).sqrt();
            y.iter_mut().zip(x).for_each(|(y, x)| *y = x * scale);
        }
    }

    /// With s = 1/sqrt(mean(x²) + eps): dx = s·(dy - y·mean(dy·y)).
    fn grad(&self, io: &GradIo<'_>) -> Vec<Option<Tensor>> {
        let (x, y, eps) = (&io.inputs[0], &io.outputs[0], io.scalars[0].value());
        let Some(dy) = &io.dy[0] else { return vec![None] };
        let (rows, columns) = (x.shape()[0], x.shape()[1]);
        let row_mean = |t: &Tensor| t.sum(&[1]).mul_scalar(1.0 / columns as f64).reshape([rows, 1]);
        let scale = row_mean(&x.square()).add_scalar(eps).sqrt().recip();
        vec![Some(dy.sub(&y.mul(&row_mean(&dy.mul(y)))).mul(&scale))]
    }

    fn kernels(&self, io: Io<'_>, _target: &Target) -> Vec<Candidate> {
        let shape = io.inputs[0].shape;
        let params = rows::Params { rows: shape[0] as u32, columns: shape[1] as u32, eps: 0.0 };
        let dispatch = rows::dispatch(params)
            .scalar("eps", 0)
            .bind(&[Bind::Input(0), Bind::Output(0)])
            .groups(shape[0].div_ceil(64) as u64)
            .trips(2 * shape[1] as u64);
        vec![Candidate::new("rows").dispatch(dispatch)]
    }

    fn tolerance(&self, _io: Io<'_>, _output: usize) -> Tolerance {
        Tolerance::OfMax(1e-6)
    }
}

/// What users of the op call.
pub fn rms_norm(x: &Tensor, eps: f64) -> Tensor {
    Tensor::apply1(RmsNorm, &[x], &[Scalar::F(eps)])
}

/// The largest difference between the op's gradient and central differences, on the reference in f64.
pub fn gradient_error() -> Result<f64> {
    let dev = Device::cpu_f64();
    let values: Vec<f64> = (0..12).map(|i| ((i * 7 % 5) as f64 - 1.7) * 0.6).collect();
    let weights: Vec<f64> = (0..12).map(|i| 1.0 + (i % 4) as f64).collect();
    let dy = dev.tensor_f64(&weights, [3, 4]);
    let x = dev.tensor_f64(&values, [3, 4]).requires_grad();
    let gradient = rms_norm(&x, 1e-5).backward_with(&dy).wrt(&x).expect("y depends on x").to_vec_f64()?;
    let value = |v: &[f64]| -> Result<f64> {
        let y = rms_norm(&dev.tensor_f64(v, [3, 4]), 1e-5).to_vec_f64()?;
        Ok(y.iter().zip(&weights).map(|(a, b)| a * b).sum())
    };
    let mut worst = 0.0f64;
    for i in 0..values.len() {
        let moved = |by: f64| {
            let mut v = values.clone();
            v[i] += by;
            value(&v)
        };
        let slope = (moved(1e-6)? - moved(-1e-6)?) / 2e-6;
        worst = worst.max((slope - gradient[i]).abs());
    }
    Ok(worst)
}

#[allow(dead_code, reason = "the test of this example includes the file as a module")]
fn main() -> Result<()> {
    println!("gradient against finite differences: {:.1e}", gradient_error()?);
    let dev = Device::open_blocking(Pick::Best)?;
    let x = dev.tensor([3.0, 4.0, 0.5, -0.5], [2, 2]);
    println!("{}: {:?}", dev.name(), rms_norm(&x, 0.0).to_vec()?);
    println!("{}", dev.explain());
    Ok(())
}
