//! Buffers that end just before, at or just behind a row of the textures through which some software drivers read them,
//! and that several dispatches of a program read as different elements.

use super::{Devices, runner};
use proptest::prelude::{Strategy, any};
use proptest::sample::select;
use rand::rngs::ChaCha8Rng;
use rand::{RngExt, SeedableRng};
use recurve::ops::matmul::Layout;
use recurve::testing::compare;
use recurve::{Device, Result, Tensor};

/// Floating-point numbers in a row of texels: of one component, two, four; and in several rows.
const ROWS: [usize; 6] = [4096, 8192, 16_384, 32_768, 65_536, 81_920];

#[derive(Clone, Copy, Debug)]
struct Matrix {
    rows: usize,
    columns: usize,
    seed: u64,
}

fn matrix() -> impl Strategy<Value = Matrix> {
    let elements = (select(&ROWS[..]), select(&[0isize, -1, 1, -8, 8, 64, 72][..]));
    let shape = (elements, select(&[1usize, 8, 33, 64][..]));
    (shape, any::<u64>().no_shrink()).prop_map(|(((row, by), rows), seed)| {
        // Just behind the end with whole columns: a matrix has no other sizes.
        let columns = row.saturating_add_signed(by).div_ceil(rows);
        Matrix { rows, columns, seed }
    })
}

/// Values above 0: a sum of them misses each one that is not read.
fn upload(device: &Device, seed: u64, shape: [usize; 2]) -> Tensor {
    let mut rng = ChaCha8Rng::seed_from_u64(seed);
    let values: Vec<f64> = (0..shape[0] * shape[1]).map(|_| f64::from(rng.random::<f32>())).collect();
    device.tensor_f64(&values, shape)
}

/// What is read from `x` element by element, along rows and columns, and as either operand of a product.
fn readers(x: &Tensor, a: &Tensor, b: &Tensor) -> Vec<Tensor> {
    vec![
        x.sum(&[0]),
        x.tanh(),
        a.matmul_stored(Layout::AsIs, x, Layout::AsIs),
        x.softmax(1),
        x.matmul(b),
        x.max(&[1]),
        x.permute(&[1, 0]),
        x.layer_norm(1, None, 1e-3),
        x.mul_scalar(0.5).add(x),
        x.sum(&[1]),
    ]
}

fn run(m: Matrix, device: &Device, seed: u64) -> Result<Vec<Vec<f64>>> {
    let x = upload(device, seed, [m.rows, m.columns]);
    let a = upload(device, seed ^ 1, [9, m.rows]);
    let b = upload(device, seed ^ 2, [m.columns, 9]);
    let mut held = readers(&x, &a, &b);
    // A buffer that the program itself writes.
    held.extend(readers(&x.sigmoid(), &a, &b));
    held.iter().map(Tensor::to_vec_f64).collect()
}

#[test]
fn buffers_around_whole_rows_of_texels_are_read_to_their_ends() {
    if !crate::selected("texels") {
        return;
    }
    let devices = Devices::open();
    let outcome = runner(4).run(&matrix(), |m| {
        // The second time, the program is replayed: what it copied before is out of date.
        for seed in [m.seed, !m.seed] {
            let exact = run(m, &Device::cpu_f64(), seed).map_err(|e| e.to_string());
            devices.each(|device| {
                let exact = exact.clone()?;
                let got = run(m, device, seed).map_err(|e| format!("{e} on {}", device.name()))?;
                for (k, (got, want)) in got.iter().zip(&exact).enumerate() {
                    // Less than one of the terms of the longest sum.
                    let largest = want.iter().fold(0.0, |m: f64, v| m.max(v.abs()));
                    let what = format!("value {k} on {}", device.name());
                    compare(&what, got, want, &vec![1e-5 * largest; want.len()], seed)
                        .map_err(|e| e.to_string())?;
                }
                Ok(())
            })?;
        }
        Ok(())
    });
    outcome.unwrap_or_else(|failure| panic!("{failure}"));
}
