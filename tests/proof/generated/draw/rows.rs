//! Norms, reductions, softmax, losses, look-ups and element-wise functions.

use super::{fill, result, seeded, size, small};
use crate::generated::Drawn;
use proptest::collection::vec;
use proptest::option;
use proptest::prelude::{Just, Strategy, any};
use proptest::prop_oneof;
use proptest::sample::{select, subsequence};
use proptest::strategy::BoxedStrategy;
use recurve::Spec;
use recurve::op::{Activation, Case, Fill, Scalar};
use recurve::ops::batch_norm::{Affine, BatchNorm, BatchNormUpdate};
use recurve::ops::batch_norm_backward::BatchNormBackward;
use recurve::ops::cross_entropy::{CrossEntropy, CrossEntropyBackward, Reduction, Target, Weights};
use recurve::ops::embedding::{Embedding, EmbeddingBackward};
use recurve::ops::nll_loss::{NllLoss, NllLossBackward};
use recurve::ops::reduce::{MaxBackward, Reduce, Reduction as Reduces};
use recurve::ops::row_norm::{RowNorm, Rows};
use recurve::ops::row_norm_backward::RowNormBackward;
use recurve::ops::softmax::{Scale, Softmax, SoftmaxBackward};
use recurve::pointwise::{Function, Pointwise};

const NORMAL: Fill = Fill::Normal { mean: 0.0, std: 1.0 };

fn activation_of_norms() -> impl Strategy<Value = Activation> {
    select(&[Activation::None, Activation::Relu][..])
}

/// One to four axes, of which one may be long.
fn shape() -> impl Strategy<Value = Vec<usize>> {
    let long = select(&[127usize, 255, 256, 257, 1025][..]);
    let with_long = (vec(small(), 0..3), long, 0usize..3).prop_map(|(mut dims, long, at)| {
        dims.insert(at.min(dims.len()), long);
        dims
    });
    prop_oneof![2 => vec(small(), 1..5), 2 => vec(size(), 1..3), 1 => with_long]
}

/// `[N, C, ..]` with images of any number of axes.
fn channelled() -> impl Strategy<Value = Vec<usize>> {
    let inner = prop_oneof![
        Just(vec![]),
        size().prop_map(|l| vec![l]),
        (small(), size()).prop_map(|(h, w)| vec![h, w])
    ];
    (small(), small(), inner).prop_map(|(n, c, inner)| [vec![n, c], inner].concat())
}

pub fn batch_norm() -> BoxedStrategy<Drawn> {
    let drawn = (channelled(), any::<bool>(), activation_of_norms(), fill(), 0..5);
    seeded(drawn.prop_filter_map("channels with values", |(x, affine, activation, fill, which)| {
        let c = [x[1]];
        let affine = if affine { Affine::Vectors } else { Affine::None };
        let vectors: Vec<&[usize]> = if affine == Affine::Vectors { vec![&c, &c] } else { vec![] };
        let forward = Case::new(BatchNorm { affine, activation }, &[&[&x[..]], &vectors[..]].concat())
            .scalars(&[Scalar::F(1e-5)])
            .input(0, Spec::f32(&x[..]), fill);
        result(&forward)?;
        Some(match which {
            0 => Case::new(BatchNormUpdate, &[&c, &c, &c, &c]).scalars(&[Scalar::F(0.1), Scalar::F(1.25)]),
            1 | 2 => {
                let gamma = &vectors[..vectors.len() / 2];
                Case::new(BatchNormBackward { affine }, &[&[&x[..], &x[..], &c[..]], gamma].concat())
                    .scalars(&[Scalar::F(1e-5)])
                    .input(0, Spec::f32(&x[..]), fill)
                    .input(2, Spec::f32(c), Fill::Uniform { low: 0.8, high: 1.2 })
            }
            _ => forward,
        })
    }))
}

pub fn row_norm() -> BoxedStrategy<Drawn> {
    let by_axes = shape().prop_flat_map(|x| (1..=x.len()).prop_map(move |k| (x.clone(), Rows::LastAxes(k))));
    let by_groups = (channelled(), select(&[1usize, 2, 3, 5][..])).prop_map(|(mut x, groups)| {
        x[1] *= groups;
        (x, Rows::Groups(groups))
    });
    let drawn =
        (prop_oneof![by_axes, by_groups], any::<bool>(), activation_of_norms(), fill(), any::<bool>());
    seeded(drawn.prop_filter_map("rows with values", |((x, rows), affine, activation, fill, forward)| {
        let (vector, count) = match rows {
            Rows::LastAxes(k) => (x[x.len() - k..].to_vec(), x[..x.len() - k].iter().product()),
            Rows::Groups(groups) => (vec![x[1]], x[0] * groups),
        };
        let affine = if affine { Affine::Vectors } else { Affine::None };
        let vectors: Vec<&[usize]> = if affine == Affine::Vectors { vec![&vector, &vector] } else { vec![] };
        let variance: [usize; 1] = [count];
        let case = if forward {
            Case::new(RowNorm { rows, affine, activation }, &[&[&x[..]], &vectors[..]].concat())
        } else {
            let gamma = &vectors[..vectors.len() / 2];
            Case::new(RowNormBackward { rows, affine }, &[&[&x[..], &x[..], &variance[..]], gamma].concat())
                .input(2, Spec::f32(variance), Fill::Uniform { low: 0.8, high: 1.2 })
        };
        result(&case)?;
        Some(case.scalars(&[Scalar::F(1e-5)]).input(0, Spec::f32(&x[..]), fill))
    }))
}

pub fn softmax() -> BoxedStrategy<Drawn> {
    let drawn = shape().prop_flat_map(|x| {
        let axis = 0..x.len();
        (Just(x), axis, select(&[Scale::Linear, Scale::Log][..]), fill(), any::<bool>())
    });
    seeded(drawn.prop_map(|(x, axis, scale, fill, forward)| {
        // The only probability of a row is 1; other values would make gradients that no softmax has.
        let y = match (scale, x[axis]) {
            (Scale::Linear, 1) => Fill::Uniform { low: 1.0, high: 1.0 },
            (Scale::Linear, d) => Fill::Uniform { low: 0.0, high: 2.0 / d.max(1) as f64 },
            (Scale::Log, 1) => Fill::Uniform { low: 0.0, high: 0.0 },
            (Scale::Log, _) => Fill::Uniform { low: -12.0, high: -1.0 },
        };
        // Gradients that hardly differ along a row cancel.
        match forward {
            true => Case::new(Softmax { axis, scale }, &[&x]).fill(fill),
            false => Case::new(SoftmaxBackward { axis, scale }, &[&x, &x]).fill(Fill::Distinct).input(
                0,
                Spec::f32(&x[..]),
                y,
            ),
        }
    }))
}

pub fn reduce() -> BoxedStrategy<Drawn> {
    let drawn = shape().prop_flat_map(|x| {
        let axes: Vec<usize> = (0..x.len()).collect();
        let some = subsequence(axes.clone(), 1..=axes.len());
        // A maximum is over axes side by side.
        let adjacent = (0..x.len(), 0..x.len()).prop_map(|(a, b)| (a.min(b)..=a.max(b)).collect::<Vec<_>>());
        (Just(x), some, adjacent, 0..4, fill())
    });
    seeded(drawn.prop_filter_map("values to reduce", |(x, some, adjacent, which, fill)| {
        let case = match which {
            0 => Case::new(Reduce { reduction: Reduces::Sum, axes: some }, &[&x]),
            1 => Case::new(Reduce { reduction: Reduces::Mean, axes: some }, &[&x]),
            2 => Case::new(Reduce { reduction: Reduces::Max, axes: adjacent }, &[&x]),
            _ => {
                let op = Reduce { reduction: Reduces::Max, axes: adjacent.clone() };
                let y = result(&Case::new(op, &[&x]))?;
                Case::new(MaxBackward { axes: adjacent }, &[&x, &y])
            }
        };
        result(&case)?;
        Some(case.fill(fill))
    }))
}

fn reduction() -> impl Strategy<Value = Reduction> {
    select(&[Reduction::Mean, Reduction::Sum, Reduction::None][..])
}

fn weights() -> impl Strategy<Value = Weights> {
    select(&[Weights::None, Weights::Classes][..])
}

/// `[N, C, ..]` of logits: at least one class.
fn classes() -> impl Strategy<Value = Vec<usize>> {
    let c = prop_oneof![size(), select(&[100usize, 257][..])].prop_map(|c| c.max(1));
    (size(), c, vec(small(), 0..3)).prop_map(|(n, c, inner)| [vec![n, c], inner].concat())
}

/// The loss of `case`, or with `backward`, whose op it takes, its gradient.
fn loss(mut case: Case, backward: Option<Case>) -> Option<Case> {
    let y = result(&case)?;
    if let Some(other) = backward {
        case.op = other.op;
        case.inputs.push((Spec::f32(&y[..]), Fill::Uniform { low: 0.5, high: 1.5 }));
    }
    Some(case)
}

pub fn cross_entropy() -> BoxedStrategy<Drawn> {
    let target = select(&[Target::Classes, Target::Probabilities][..]);
    let smoothing = select(&[0.0, 0.1][..]);
    let drawn = (classes(), reduction(), target, weights(), smoothing, fill(), any::<bool>());
    seeded(drawn.prop_filter_map("rows", |(x, reduction, target, weights, smoothing, fill, forward)| {
        let (op, c) = (CrossEntropy { reduction, target, weights }, [x[1]]);
        let rows = [&x[..1], &x[2..]].concat();
        // The mean of no losses is NaN.
        if reduction == Reduction::Mean && rows.contains(&0) {
            return None;
        }
        let (spec, values) = match target {
            Target::Classes => (Spec::u32(&rows[..]), Fill::Index { below: c[0] as u32 }),
            Target::Probabilities => (Spec::f32(&x[..]), Fill::Uniform { low: 0.0, high: 2.0 / c[0] as f64 }),
        };
        let weighted: &[&[usize]] = if weights == Weights::Classes { &[&c] } else { &[] };
        let mut case = Case::new(op, &[&[&x[..], &x[..]], weighted].concat())
            .scalars(&[Scalar::F(smoothing)])
            .input(0, Spec::f32(&x[..]), fill)
            .input(1, spec, values);
        if weights == Weights::Classes {
            case = case.input(2, Spec::f32(c), Fill::Uniform { low: 0.5, high: 2.0 });
        }
        loss(case, (!forward).then(|| Case::new(CrossEntropyBackward { forward: op }, &[])))
    }))
}

pub fn nll_loss() -> BoxedStrategy<Drawn> {
    let drawn = (classes(), reduction(), weights(), any::<bool>());
    seeded(drawn.prop_filter_map("rows", |(x, reduction, weights, forward)| {
        let (op, c) = (NllLoss { reduction, weights }, [x[1]]);
        let rows = [&x[..1], &x[2..]].concat();
        if reduction == Reduction::Mean && rows.contains(&0) {
            return None;
        }
        let weighted: &[&[usize]] = if weights == Weights::Classes { &[&c] } else { &[] };
        let mut case = Case::new(op, &[&[&x[..], &rows[..]], weighted].concat())
            .input(0, Spec::f32(&x[..]), Fill::Uniform { low: -12.0, high: -0.1 })
            .input(1, Spec::u32(&rows[..]), Fill::Index { below: c[0] as u32 });
        if weights == Weights::Classes {
            case = case.input(2, Spec::f32(c), Fill::Uniform { low: 0.5, high: 2.0 });
        }
        loss(case, (!forward).then(|| Case::new(NllLossBackward { forward: op }, &[])))
    }))
}

pub fn embedding() -> BoxedStrategy<Drawn> {
    // Indices may name no row, where `beyond` is not 0.
    let drawn = (1usize..70, size(), vec(size(), 0..3), 0u32..3, option::of(0u32..70), fill(), any::<bool>());
    seeded(drawn.prop_filter_map("a result", |(rows, e, indices, beyond, padding, fill, forward)| {
        let padding = padding.map(|p| p % rows as u32);
        let (spec, index) = (Spec::u32(&indices[..]), Fill::Index { below: rows as u32 + beyond });
        let dy = [&indices[..], &[e]].concat();
        let case = match forward {
            true => {
                Case::new(Embedding { padding }, &[&[rows, e], &indices]).fill(fill).input(1, spec, index)
            }
            false => {
                let op = EmbeddingBackward { rows, padding };
                Case::new(op, &[&indices, &dy]).fill(fill).input(0, spec, index)
            }
        };
        result(&case)?;
        Some(case)
    }))
}

/// Values at which the bound of `function` holds.
fn domain(function: Function) -> BoxedStrategy<Fill> {
    use Function::*;
    let wide = Fill::Uniform { low: -88.0, high: 88.0 };
    let positive = Fill::Uniform { low: 0.1, high: 4.0 };
    let far = Fill::Normal { mean: 1e3, std: 0.1 };
    match function {
        Log | Sqrt | Rsqrt | Recip | Div => {
            select(vec![positive, far, Fill::Uniform { low: 1e-6, high: 1e6 }]).boxed()
        }
        // The bound of exp grows with its argument.
        Exp | Expm1 => select(vec![Fill::Uniform { low: -4.0, high: 4.0 }, Fill::Ties]).boxed(),
        Erf | Erfc => select(vec![Fill::Uniform { low: -3.0, high: 3.0 }, Fill::Ties]).boxed(),
        Tanh | Sigmoid | Softplus => select(vec![NORMAL, wide, Fill::Ties, far]).boxed(),
        _ => fill().boxed(),
    }
}

pub fn activation() -> BoxedStrategy<Drawn> {
    let functions: Vec<Function> = Function::ALL.into_iter().filter(|&f| f != Function::Dropout).collect();
    let drawn = (shape(), select(functions)).prop_flat_map(|(x, function)| {
        // Which axes of an operand are 1, and how many leading ones it lacks.
        let narrow = vec((vec(any::<bool>(), x.len()), 0..=x.len()), function.arity());
        (Just(x), Just(function), narrow, any::<bool>(), domain(function))
    });
    seeded(drawn.prop_map(|(x, function, narrow, broadcast, fill)| {
        let narrowed = |(ones, lacks): &(Vec<bool>, usize)| -> Vec<usize> {
            let dims = x.iter().zip(ones).map(|(&d, &one)| if one && broadcast { 1 } else { d });
            dims.skip(if broadcast { *lacks } else { 0 }).collect()
        };
        let shapes: Vec<Vec<usize>> = narrow.iter().map(narrowed).collect();
        let shapes: Vec<&[usize]> = shapes.iter().map(Vec::as_slice).collect();
        Case::new(Pointwise::single(function), &shapes).fill(fill)
    }))
}
