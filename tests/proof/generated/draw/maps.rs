//! Poolings and resampling of images.

use super::{fill, result, seeded, side, small};
use crate::generated::Drawn;
use proptest::prelude::{Strategy, any};
use proptest::prop_oneof;
use proptest::sample::select;
use proptest::strategy::BoxedStrategy;
use recurve::op::{Case, Fill, Scalar};
use recurve::ops::adaptive_avg_pool2d::{AdaptiveAvgPool2d, AdaptiveAvgPool2dBackward};
use recurve::ops::adaptive_max_pool2d::{AdaptiveMaxPool2d, AdaptiveMaxPool2dBackward};
use recurve::ops::avg_pool2d::{AvgPool2d, AvgPool2dBackward, Divisor};
use recurve::ops::max_pool2d::{Gives, MaxPool2d, MaxPool2dBackward};
use recurve::ops::upsample_bilinear2d::{Positions, UpsampleBilinear2d, UpsampleBilinear2dBackward};
use recurve::ops::upsample_nearest2d::{UpsampleNearest2d, UpsampleNearest2dBackward};
use recurve::ops::windows::{Parts, Rounding, Windows};
use recurve::{Shape, Spec};

const NORMAL: Fill = Fill::Normal { mean: 0.0, std: 1.0 };

fn images() -> impl Strategy<Value = [usize; 4]> {
    (small(), small(), side(), side()).prop_map(|(n, c, h, w)| [n, c, h, w])
}

/// Kernel, stride, padding and dilation along an axis.
fn along() -> impl Strategy<Value = [usize; 4]> {
    let common = select(&[[2usize, 2, 0, 1], [3, 2, 1, 1], [3, 1, 1, 1], [1, 1, 0, 1]][..]);
    let any = (1usize..=5, 1usize..=4, 1usize..=3)
        .prop_flat_map(|(k, s, d)| (0..=k / 2).prop_map(move |p| [k, s, p, d]));
    prop_oneof![common, any]
}

fn windows() -> impl Strategy<Value = Windows> {
    let same = along().prop_map(|a| [a, a]);
    let other = [along(), along()];
    let rounding = select(&[Rounding::Floor, Rounding::Ceil][..]);
    (prop_oneof![same, other], rounding).prop_map(|(axes, rounding)| {
        let [kernel, stride, padding, dilation] = [0, 1, 2, 3].map(|i| axes.map(|a| a[i]));
        Windows { kernel, stride, padding, dilation, rounding }
    })
}

pub fn avg_pool2d() -> BoxedStrategy<Drawn> {
    let divisor = select(&[Divisor::Padded, Divisor::Image, Divisor::Fixed(3)][..]);
    let drawn = (windows(), divisor, images(), fill(), any::<bool>());
    seeded(drawn.prop_filter_map("windows that fit", |(windows, divisor, x, fill, forward)| {
        let pool = AvgPool2d { windows: Windows { dilation: [1, 1], ..windows }, divisor };
        let case = Case::new(pool, &[&x]);
        let y = result(&case)?;
        let backward = AvgPool2dBackward { pool, input: Shape::from(x) };
        Some(if forward { case } else { Case::new(backward, &[&y]) }.fill(fill))
    }))
}

pub fn max_pool2d() -> BoxedStrategy<Drawn> {
    let drawn = (windows(), images(), fill(), 0..3);
    seeded(drawn.prop_filter_map("windows that fit", |(windows, x, fill, which)| {
        let values = Case::new(MaxPool2d { windows, gives: Gives::Values }, &[&x]);
        let y = result(&values)?;
        Some(match which {
            0 => values.fill(fill),
            1 => Case::new(MaxPool2d { windows, gives: Gives::Indices }, &[&x]).fill(fill),
            _ => Case::new(MaxPool2dBackward { windows }, &[&x, &y]).input(0, Spec::f32(x), fill),
        })
    }))
}

pub fn adaptive_pool() -> BoxedStrategy<Drawn> {
    let drawn = ([side(), side()], images(), fill(), 0..5);
    seeded(drawn.prop_filter_map("windows that fit", |(output_size, x, fill, which)| {
        let parts = Parts { output_size };
        let max = |gives| Case::new(AdaptiveMaxPool2d { parts, gives }, &[&x]).fill(fill);
        let y = result(&max(Gives::Values))?;
        Some(match which {
            0 => Case::new(AdaptiveAvgPool2d { parts }, &[&x]).fill(fill),
            1 => Case::new(AdaptiveAvgPool2dBackward { parts, input: Shape::from(x) }, &[&y]).fill(fill),
            2 => max(Gives::Values),
            3 => max(Gives::Indices),
            _ => Case::new(AdaptiveMaxPool2dBackward { parts }, &[&x, &y])
                .input(0, Spec::f32(x), fill)
                .input(1, Spec::f32(&y[..]), NORMAL),
        })
    }))
}

/// Where results of an axis lie that becomes `to` from `from`.
fn positions(from: usize, to: usize, corners: bool) -> Positions {
    match (corners, to) {
        (true, 1) => Positions { step: 0, start: 0, unit: 1 },
        (true, _) => Positions { step: from - 1, start: 0, unit: to - 1 },
        (false, _) => Positions { step: 2 * from, start: from as isize - to as isize, unit: 2 * to },
    }
}

pub fn upsample() -> BoxedStrategy<Drawn> {
    let sizes = prop_oneof![
        (images(), [side(), side()]),
        (images(), 2usize..=3).prop_map(|(x, k)| (x, [x[2] * k, x[3] * k])),
    ];
    let drawn = (sizes, fill(), any::<bool>(), any::<bool>(), any::<bool>());
    seeded(drawn.prop_filter_map("sizes that fit", |((x, size), fill, forward, nearest, corners)| {
        let y = [x[0], x[1], size[0], size[1]];
        let input = Shape::from(x);
        let case = if nearest {
            let upsample = UpsampleNearest2d { size };
            let ratio = |axis: usize| Scalar::F(f64::from(x[2 + axis] as f32 / size[axis] as f32));
            let case = match forward {
                true => Case::new(upsample, &[&x]),
                false => Case::new(UpsampleNearest2dBackward { upsample, input }, &[&y]),
            };
            case.scalars(&[ratio(0), ratio(1)])
        } else {
            let positions = [0, 1].map(|axis| positions(x[2 + axis], size[axis], corners));
            let upsample = UpsampleBilinear2d { size, positions };
            match forward {
                true => Case::new(upsample, &[&x]),
                false => Case::new(UpsampleBilinear2dBackward { upsample, input }, &[&y]),
            }
        };
        result(&case)?;
        Some(case.fill(fill))
    }))
}
