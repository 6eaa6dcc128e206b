//! How exact results must be: the bounds that ops declare are those of one table, so that none becomes looser unseen.
//!
//! | op | bound |
//! |---|---|
//! | copy, transpose, slice, concat, gather, relu, max pool, argmax, topk | equal bits |
//! | add, sub, mul | 1 unit in the last place; div and rsqrt 3, sqrt 5 |
//! | exp | 3 + 2·abs(x) units, which is 11 for the arguments up to 4 that cases have; log 3, or 2^-21 |
//! | sigmoid | 40 units, or 1.2e-7; tanh 3e-7 |
//! | products of inner length K | K·2^-24·Σ abs(a)·abs(b); a bias is one more summand |
//! | sums and means of n | (log2 n + 8)·2^-24·Σ abs(x) |
//! | softmax | 64 units, or 1e-7; rows sum to 1 within 1e-5; its logarithm takes log's absolute bound along |
//! | batch norm | inference 8·2^-24·(abs((x - μ)·γ/σ) + abs(β)); training 1e-5 of the largest, up to mean/std 1e4 |
//! | gradients | the same bound times 4 |

use crate::adapters;
use recurve::op::{Activation, Case, Fill, Io, Op, Tolerance};
use recurve::ops::argmax::Argmax;
use recurve::ops::avg_pool2d::{AvgPool2d, AvgPool2dBackward, Divisor};
use recurve::ops::batch_norm::{BatchNorm, BatchNormUpdate};
use recurve::ops::batch_norm_backward::BatchNormBackward;
use recurve::ops::conv2d::{Bias, Conv2d, Conv2dInputGrad, Conv2dWeightGrad, Window};
use recurve::ops::cross_entropy::{self, CrossEntropy, CrossEntropyBackward};
use recurve::ops::embedding::{Embedding, EmbeddingBackward};
use recurve::ops::matmul::{self, Matmul};
use recurve::ops::max_pool2d::{Gives, MaxPool2d};
use recurve::ops::nll_loss::NllLoss;
use recurve::ops::permute::Permute;
use recurve::ops::reduce::{Reduce, Reduction};
use recurve::ops::row_norm::{RowNorm, Rows};
use recurve::ops::row_norm_backward::RowNormBackward;
use recurve::ops::softmax::{Scale, Softmax, SoftmaxBackward};
use recurve::ops::topk::{TopK, TopKBackward};
use recurve::ops::windows::{Rounding, Windows};
use recurve::pointwise::{Function, Pointwise};
use recurve::testing::{compare, fill};
use recurve::{Shape, Spec};

/// The bound that `op` declares for result `output` on operands of these shapes.
fn declared(op: impl Op, output: usize, inputs: &[Spec]) -> Tolerance {
    let outputs = op.outputs(inputs).unwrap_or_else(|e| panic!("{op:?}: expected {}", e.0));
    op.tolerance(Io { inputs, outputs: &outputs }, output)
}

fn of(op: impl Op, shapes: &[&[usize]]) -> Tolerance {
    declared(op, 0, &shapes.iter().map(|&s| Spec::f32(s)).collect::<Vec<_>>())
}

#[test]
fn what_only_moves_values_is_exact() {
    let windows = Windows {
        kernel: [3, 2],
        stride: [2, 2],
        padding: [1, 0],
        dilation: [1, 2],
        rounding: Rounding::Floor,
    };
    let x: &[&[usize]] = &[&[2, 3, 8, 9]];
    for gives in [Gives::Values, Gives::Indices] {
        assert_eq!(of(MaxPool2d { windows, gives }, x), Tolerance::Exact);
    }
    assert_eq!(of(Argmax { axis: 1 }, x), Tolerance::Exact);
    let x_specs = [Spec::f32(x[0])];
    for output in [0, 1] {
        assert_eq!(declared(TopK { k: 2, axis: 1 }, output, &x_specs), Tolerance::Exact);
    }
    let found = [Spec::u32([2, 3]), Spec::f32([2, 3])];
    assert_eq!(declared(TopKBackward { axis: 1, d: 5 }, 0, &found), Tolerance::Exact);
    assert_eq!(of(Permute { axes: vec![2, 0, 1, 3] }, x), Tolerance::Exact);
    assert_eq!(of(Reduce { reduction: Reduction::Max, axes: vec![1, 2] }, x), Tolerance::Exact);
    let table = [Spec::f32([7, 5]), Spec::u32([4])];
    assert_eq!(declared(Embedding { padding: None }, 0, &table), Tolerance::Exact);
}

#[test]
fn element_wise_functions() {
    use Function::*;
    for (function, bound) in [
        (Relu, Tolerance::Exact),
        (Neg, Tolerance::Exact),
        (Max, Tolerance::Exact),
        (Where, Tolerance::Exact),
        (Add, Tolerance::Ulp(1.0)),
        (Sub, Tolerance::Ulp(1.0)),
        (Mul, Tolerance::Ulp(1.0)),
        (Div, Tolerance::Ulp(3.0)),
        (Rsqrt, Tolerance::Ulp(3.0)),
        (Sqrt, Tolerance::Ulp(5.0)),
        (Exp, Tolerance::Ulp(11.0)),
        (Log, Tolerance::UlpOrAbsolute(3.0, 2f64.powi(-21))),
        (Sigmoid, Tolerance::UlpOrAbsolute(40.0, 1.2e-7)),
        (Tanh, Tolerance::Absolute(3e-7)),
    ] {
        let shapes = vec![&[5usize][..]; function.arity()];
        assert_eq!(of(Pointwise::single(function), &shapes), bound, "{function:?}");
    }
}

#[test]
fn products() {
    let (x, w): (&[usize], &[usize]) = (&[2, 6, 9, 8], &[5, 6, 3, 2]);
    let window = Window::default();
    let plain = Conv2d { window, ..Conv2d::default() };
    assert_eq!(of(plain, &[x, w]), Tolerance::Product { inner: 6 * 3 * 2 });
    let biased = Conv2d { bias: Bias::Channels, activation: Activation::Relu, ..plain };
    assert_eq!(of(biased, &[x, w, &[5]]), Tolerance::Product { inner: 6 * 3 * 2 + 1 });
    let y: &[usize] = &[2, 5, 7, 7];
    let input_grad = Conv2dInputGrad { window, height: 9, width: 8 };
    assert_eq!(of(input_grad, &[y, w]), Tolerance::Product { inner: 5 * 3 * 2 });
    let weight_grad = Conv2dWeightGrad { window, kernel_height: 3, kernel_width: 2 };
    assert_eq!(of(weight_grad, &[x, y]), Tolerance::Product { inner: 2 * 7 * 7 });
    let matmul = Matmul::default();
    assert_eq!(of(matmul, &[&[4, 11], &[11, 3]]), Tolerance::Product { inner: 11 });
    let biased = Matmul { bias: matmul::Bias::Columns, ..matmul };
    assert_eq!(of(biased, &[&[4, 11], &[11, 3], &[3]]), Tolerance::Product { inner: 12 });
    // The slope of both functions is at most 1, and what they are of is a sum of about as many units as summands.
    for activation in [Activation::Sigmoid, Activation::Tanh] {
        let bound = Tolerance::Absolute(12.0 * 2f64.powi(-22));
        assert_eq!(of(Matmul { activation, ..matmul }, &[&[4, 11], &[11, 3]]), bound);
        let bound = Tolerance::Absolute(37.0 * 2f64.powi(-22));
        assert_eq!(of(Conv2d { activation, ..plain }, &[x, w]), bound);
    }
}

#[test]
fn sums_and_means() {
    for reduction in [Reduction::Sum, Reduction::Mean] {
        assert_eq!(of(Reduce { reduction, axes: vec![0, 2] }, &[&[3, 4, 5]]), Tolerance::Sum { n: 15 });
    }
    let windows = Windows {
        kernel: [3, 2],
        stride: [2, 2],
        padding: [1, 0],
        dilation: [1, 1],
        rounding: Rounding::Floor,
    };
    let pool = AvgPool2d { windows, divisor: Divisor::Padded };
    assert_eq!(of(pool, &[&[1, 1, 8, 8]]), Tolerance::Sum { n: 6 });
    // Two windows at most, one upon the other, lie over an element.
    let backward = AvgPool2dBackward { pool, input: Shape::new(&[1, 1, 8, 8]) };
    assert_eq!(of(backward, &[&[1, 1, 4, 4]]), Tolerance::Sum { n: 2 });
    let backward = EmbeddingBackward { rows: 7, padding: None };
    assert_eq!(declared(backward, 0, &[Spec::u32([9]), Spec::f32([9, 3])]), Tolerance::Sum { n: 9 });
    assert_eq!(of(BatchNormUpdate, &[&[5], &[5], &[5], &[5]]), Tolerance::Sum { n: 2 });
    let mean = NllLoss::default();
    assert_eq!(declared(mean, 0, &[Spec::f32([9, 3]), Spec::u32([9])]), Tolerance::Sum { n: 9 });
    let each = NllLoss { reduction: cross_entropy::Reduction::None, ..mean };
    assert_eq!(declared(each, 0, &[Spec::f32([9, 3]), Spec::u32([9])]), Tolerance::Ulp(1.0));
}

#[test]
fn softmax_norms_and_losses() {
    let x: &[usize] = &[8, 5];
    let softmax = |scale| of(Softmax { axis: 1, scale }, &[x]);
    assert_eq!(softmax(Scale::Linear), Tolerance::UlpOrAbsolute(64.0, 1e-7));
    assert_eq!(softmax(Scale::Log), Tolerance::UlpOrAbsolute(64.0, 2f64.powi(-21) + 1e-7));
    for scale in [Scale::Linear, Scale::Log] {
        assert_eq!(of(SoftmaxBackward { axis: 1, scale }, &[x, x]), Tolerance::OfMax(4e-6));
    }
    let norm = BatchNorm::default();
    let specs = [Spec::f32(x)];
    assert_eq!(declared(norm, 0, &specs), Tolerance::OfMax(1e-5));
    assert_eq!(declared(norm, 1, &specs), Tolerance::Sum { n: 8 });
    assert_eq!(declared(norm, 2, &specs), Tolerance::OfMax(1e-5));
    assert_eq!(of(BatchNormBackward { affine: norm.affine }, &[x, x, &[5]]), Tolerance::OfMax(4e-5));
    let (rows, affine) = (Rows::LastAxes(1), norm.affine);
    assert_eq!(of(RowNorm { rows, affine, activation: Activation::None }, &[x]), Tolerance::OfMax(1e-5));
    assert_eq!(of(RowNormBackward { rows, affine }, &[x, x, &[8]]), Tolerance::OfMax(4e-5));
    let (loss, labels) = (CrossEntropy::default(), Spec::u32([8]));
    assert_eq!(declared(loss, 0, &[Spec::f32(x), labels]), Tolerance::OfMax(4e-6));
    let backward = CrossEntropyBackward { forward: loss };
    let operands = [Spec::f32(x), labels, Spec::f32(Shape::new(&[]))];
    assert_eq!(declared(backward, 0, &operands), Tolerance::OfMax(4e-6));
}

/// Values of a case with inputs of these shapes, made from `seed`.
fn values(shapes: &[&[usize]], fill_with: Fill, seed: u64) -> Vec<Vec<f64>> {
    fill(&Case::new(Pointwise::single(Function::Copy), shapes).fill(fill_with), seed)
}

/// Of several ops that a fused program runs together: no one of them declares this bound.
#[test]
fn batch_norm_at_inference_is_within_eight_roundings() {
    const EPS: f64 = 1e-5;
    let (n, c, l) = (5, 7, 33);
    for device in adapters::all().iter().map(adapters::open) {
        for (mean, std) in [(0.0, 1.0), (1e3, 0.1), (1e4, 1.0)] {
            let x = values(&[&[n, c, l]], Fill::Normal { mean, std }, 1).swap_remove(0);
            let vectors = values(&[&[c], &[c]], Fill::Normal { mean: 0.0, std: 1.0 }, 2);
            let centre = values(&[&[c]], Fill::Normal { mean, std }, 3).swap_remove(0);
            let var = values(&[&[c]], Fill::Uniform { low: 0.5, high: 2.0 }, 4).swap_remove(0);
            let [gamma, beta] = [&vectors[0], &vectors[1]];
            let upload = |v: &[f64]| device.tensor_f64(v, [c]);
            let affine = (upload(gamma), upload(beta));
            let y = device.tensor_f64(&x, [n, c, l]).batch_norm_eval(
                &upload(&centre),
                &upload(&var),
                Some((&affine.0, &affine.1)),
                EPS,
            );
            let at = |i: usize| {
                let c = i / l % c;
                ((x[i] - centre[c]) * gamma[c] / (var[c] + EPS).sqrt(), beta[c])
            };
            let parts: Vec<(f64, f64)> = (0..x.len()).map(at).collect();
            let want: Vec<f64> = parts.iter().map(|(a, b)| a + b).collect();
            let bounds: Vec<f64> =
                parts.iter().map(|(a, b)| 8.0 * 2f64.powi(-24) * (a.abs() + b.abs())).collect();
            let what = format!("batch_norm_eval around {mean} on {}", device.name());
            compare(&what, &y.to_vec_f64().unwrap(), &want, &bounds, 1).unwrap();
        }
    }
}

#[test]
fn rows_of_a_softmax_sum_to_one() {
    for device in adapters::all().iter().map(adapters::open) {
        for fill_with in [
            Fill::Normal { mean: 1e4, std: 30.0 },
            Fill::Uniform { low: -88.0, high: 88.0 },
            Fill::Uniform { low: 0.0, high: 0.0 },
        ] {
            let x = values(&[&[9, 1031]], fill_with, 5).swap_remove(0);
            let y = device.tensor_f64(&x, [9, 1031]).softmax(1).to_vec_f64().unwrap();
            for row in y.chunks(1031) {
                let sum: f64 = row.iter().sum();
                assert!(
                    (sum - 1.0).abs() <= 1e-5,
                    "a row of {fill_with:?} sums to {sum} on {}",
                    device.name()
                );
                assert!(row.iter().all(|p| (0.0..=1.0).contains(p)), "{fill_with:?} on {}", device.name());
            }
        }
    }
}
