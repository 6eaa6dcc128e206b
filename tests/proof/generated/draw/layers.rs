//! Products: convolutions of any structure with their gradients, and matrices in every layout.

use super::{MOST, fill, result, seeded, side, size, small};
use crate::generated::Drawn;
use proptest::prelude::{Just, Strategy, any};
use proptest::prop_oneof;
use proptest::sample::select;
use proptest::strategy::BoxedStrategy;
use recurve::op::{Activation, Case, Fill};
use recurve::ops::conv2d::{Bias, Conv2d, Conv2dInputGrad, Conv2dWeightGrad, Slide, Window};
use recurve::ops::matmul::{self, Layout, Matmul};

/// Which of the three sums over the same products.
#[derive(Clone, Copy, Debug)]
enum Which {
    Forward,
    InputGrad,
    WeightGrad,
}

/// How a kernel of so many taps moves along an axis.
fn slide() -> impl Strategy<Value = (usize, Slide)> {
    let common =
        select(&[(1usize, 1usize, 1usize, [0usize, 0usize]), (3, 1, 1, [1, 1]), (3, 2, 1, [1, 1])][..]);
    let any = (1usize..=5, 1usize..=3, 1usize..=3, [0usize..=4, 0usize..=4]);
    prop_oneof![common, any].prop_map(|(taps, stride, dilation, [before, after])| {
        (taps, Slide { stride, dilation, before, after })
    })
}

/// Channels of input and output in each group, and the number of groups.
fn channels() -> impl Strategy<Value = [usize; 3]> {
    let whole = (size(), size()).prop_map(|(c, k)| [c, k, 1]);
    let grouped = (1usize..=5, 1usize..=5, 2usize..=5).prop_map(|(c, k, g)| [c, k, g]);
    let each = (1usize..=3, select(&[2usize, 3, 8, 11][..])).prop_map(|(k, g)| [1, k, g]);
    prop_oneof![2 => whole, 1 => grouped, 1 => each]
}

/// A convolution or one of its gradients on an image of `[h, w]`, or on rows of w if `lines`.
fn convolution(
    [h, w]: [usize; 2],
    n: usize,
    [c, k, groups]: [usize; 3],
    [(r, vertical), (s, horizontal)]: [(usize, Slide); 2],
    lines: bool,
    which: Which,
    (activation, biased): (Activation, bool),
) -> Option<Case> {
    let window = Window { vertical, horizontal, groups };
    let shape = |[a, b, h, w]: [usize; 4]| if lines { vec![a, b, w] } else { vec![a, b, h, w] };
    let x = shape([n, c * groups, h, w]);
    let weight = shape([k * groups, c, r, s]);
    let bias = if biased { Bias::Channels } else { Bias::None };
    let op = Conv2d { window, bias, activation };
    let forward = match bias {
        Bias::None => Case::new(op, &[&x, &weight]),
        Bias::Channels => Case::new(op, &[&x, &weight, &[k * groups]]),
    };
    let y = result(&forward)?;
    if y.iter().product::<usize>().saturating_mul(c * r * s) > MOST {
        return None;
    }
    Some(match which {
        Which::Forward => forward,
        Which::InputGrad => Case::new(Conv2dInputGrad { window, height: h, width: w }, &[&y, &weight]),
        Which::WeightGrad => {
            Case::new(Conv2dWeightGrad { window, kernel_height: r, kernel_width: s }, &[&x, &y])
        }
    })
}

fn which() -> impl Strategy<Value = Which> {
    select(&[Which::Forward, Which::InputGrad, Which::WeightGrad][..])
}

/// What a product ends with, and what its operands hold: the bound of a function of a sum is for sums of ordinary size.
fn ending() -> impl Strategy<Value = (Activation, Fill)> {
    let sums = (select(&[Activation::None, Activation::Relu][..]), fill());
    let curves = select(&[Activation::Sigmoid, Activation::Tanh][..]);
    prop_oneof![4 => sums, 1 => (curves, Just(Fill::Normal { mean: 0.0, std: 1.0 }))]
}

pub fn conv2d() -> BoxedStrategy<Drawn> {
    let drawn = ([side(), side()], small(), channels(), [slide(), slide()], which(), ending(), any::<bool>());
    seeded(drawn.prop_filter_map("a kernel that fits", |(image, n, c, slides, which, (f, fill), biased)| {
        Some(convolution(image, n, c, slides, false, which, (f, biased))?.fill(fill))
    }))
}

pub fn conv1d() -> BoxedStrategy<Drawn> {
    let length = prop_oneof![side(), select(&[64usize, 257, 1000][..])];
    let drawn = (length, small(), channels(), slide(), which(), ending(), any::<bool>());
    seeded(drawn.prop_filter_map("a kernel that fits", |(w, n, c, slide, which, (f, fill), biased)| {
        let slides = [(1, Slide::default()), slide];
        Some(convolution([1, w], n, c, slides, true, which, (f, biased))?.fill(fill))
    }))
}

pub fn matmul() -> BoxedStrategy<Drawn> {
    let layout = || select(&[Layout::AsIs, Layout::Transposed][..]);
    let lead = prop_oneof![
        Just([vec![], vec![]]),
        small().prop_map(|n| [vec![n], vec![n]]),
        small().prop_map(|n| [vec![n, 3], vec![3]]),
        small().prop_map(|n| [vec![1], vec![2, n]]),
    ];
    let inner = prop_oneof![4 => size(), 1 => select(&[127usize, 1000][..])];
    let drawn = (layout(), layout(), [size(), size()], inner, lead, ending(), any::<bool>());
    seeded(drawn.prop_filter_map(
        "operands that fit",
        |(a, b, [m, n], k, lead, (activation, fill), biased)| {
            let a_last = if a == Layout::AsIs { [m, k] } else { [k, m] };
            let b_last = if b == Layout::AsIs { [k, n] } else { [n, k] };
            let bias = if biased { matmul::Bias::Columns } else { matmul::Bias::None };
            let shapes = [[&lead[0], &a_last[..]].concat(), [&lead[1], &b_last[..]].concat(), vec![n]];
            let shapes: Vec<&[usize]> = shapes.iter().map(Vec::as_slice).collect();
            let case = Case::new(Matmul { a, b, bias, activation }, &shapes[..if biased { 3 } else { 2 }]);
            let products = result(&case)?.iter().product::<usize>().saturating_mul(k);
            (products <= MOST).then(|| case.fill(fill))
        },
    ))
}
