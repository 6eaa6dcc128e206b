//! Sums over the rows of a loss: of their losses and of their weights.

use super::Reduction;
use crate::kernel::{Bind, Candidate, Dispatch};
use crate::ops::batch_norm::floats;

/// Workgroups that share so many rows: one takes about a thousand trips.
fn sharing(rows: usize) -> usize {
    rows.div_ceil(1 << 16).clamp(1, 1 << 12)
}

/// Appends what makes the result of rows' `losses` and `weights`.
pub(crate) fn total_loss(
    out: Candidate,
    rows: usize,
    reduction: Reduction,
    losses: Bind,
    weights: Bind,
) -> Candidate {
    let pass = |rows: usize, groups: usize, from: [Bind; 2], to: Bind| {
        total::dispatch(total::Params { rows: rows as u32, groups: groups as u32 })
            .bind(&[from[0], from[1], to])
            .groups(groups as u64)
            .trips(rows.div_ceil(64 * groups) as u64 + 12)
    };
    let last = |d: Dispatch| d.constant("MEAN", reduction == Reduction::Mean);
    let groups = sharing(rows);
    if groups == 1 {
        return out.dispatch(last(pass(rows, 1, [losses, weights], Bind::Output(0))));
    }
    let parts = Bind::Scratch(out.scratch.len());
    out.scratch(floats(2 * groups))
        .dispatch(pass(rows, groups, [losses, weights], parts).constant("PARTS", true))
        .dispatch(last(pass(groups, 1, [parts; 2], Bind::Output(0))).constant("JOINED", true))
}

/// Appends what leaves the sum of all rows' weights in scratch 0; `rows` is `[rows, C, inner]`.
pub(crate) fn total_weight(
    out: Candidate,
    rows: [usize; 3],
    weigh: impl Fn(Dispatch) -> Dispatch,
    labels: Bind,
    weight: Bind,
) -> Candidate {
    let [count, c, inner] = rows;
    let groups = sharing(count);
    let params = total_backward::Params {
        rows: count as u32,
        c: c as u32,
        inner: inner as u32,
        groups: groups as u32,
    };
    let to = if groups == 1 { Bind::Scratch(0) } else { Bind::Scratch(out.scratch.len()) };
    let weights = weigh(total_backward::dispatch(params))
        .bind(&[labels, weight, to])
        .groups(groups as u64)
        .trips(count.div_ceil(64 * groups) as u64 + 6);
    let out = out.dispatch(weights);
    if groups == 1 {
        return out;
    }
    let sum = total::dispatch(total::Params { rows: groups as u32, groups: 1 })
        .bind(&[to, to, Bind::Scratch(0)])
        .trips(groups.div_ceil(64) as u64 + 12);
    out.scratch(floats(groups)).dispatch(sum)
}

crate::kernel! {
    /// Adds up the rows.
    mod total = "shaders/cross_entropy/total.wgsl";
    params { rows: u32, groups: u32 }
    bind { losses: Read, weights: Read, loss: ReadWrite }
}

crate::kernel! {
    /// Adds up the rows' weights.
    mod total_backward = "shaders/cross_entropy_backward/total.wgsl";
    params { rows: u32, c: u32, inner: u32, groups: u32 }
    bind { labels: Read, weight: Read, divisor: ReadWrite }
}
