//! Kernels that sum the result of a chain instead of writing it.

use super::{Input, WORKGROUP, Width, dispatch, existing, results, signature, widths};
use crate::kernel::{Bind, Candidate, Needs, Target};
use crate::op::Io;
use crate::pointwise::Pointwise;
use crate::shape::ALIGN;
use std::fmt::Write;

/// How the result of a chain is summed: by `parts` threads, each of which takes every `parts`-th run of neighbours.
#[derive(Clone, Copy, Debug)]
pub(super) struct Sum {
    pub parts: usize,
    pub trips: usize,
    pub divisor: f32,
}

/// Runs of neighbours that one thread adds up.
const TRIPS: usize = 32;

/// Adds to `out` what sums the only result of `chain` and divides it; `finish` adds up what several threads leave in
/// a scratch buffer.
pub(crate) fn sums(
    chain: &Pointwise,
    io: Io<'_>,
    target: &Target,
    divisor: f32,
    finish: impl Fn(Candidate, Bind, usize) -> Candidate,
) -> Vec<Candidate> {
    let shape = Pointwise::shape(io.inputs).expect("the shape rule admits only inputs that broadcast");
    let candidate = |width: Width| {
        let units = shape.elements().div_ceil(width.elements());
        let parts = units.div_ceil(TRIPS).max(1);
        let sum =
            Sum { parts, trips: units.div_ceil(parts), divisor: if parts == 1 { divisor } else { 1.0 } };
        let dispatch = dispatch(chain, io.inputs, shape, width, Some(sum));
        let to = if parts == 1 { Bind::Output(0) } else { Bind::Scratch(0) };
        let binds: Vec<Bind> = (0..chain.inputs).map(Bind::Input).chain([to]).collect();
        let dispatch = dispatch.bind(&binds).groups(parts.div_ceil(64) as u64).trips(sum.trips as u64);
        let needs = Needs { int64: width == Width::U64, ..Needs::default() };
        let out = Candidate::new(width.variant()).needs(needs);
        match parts {
            1 => out.dispatch(dispatch),
            _ => {
                let bytes = (4 * parts as u64).next_multiple_of(ALIGN);
                finish(out.scratch(bytes).dispatch(dispatch), to, parts)
            }
        }
    };
    widths(target).map(candidate).collect()
}

/// Thread k adds up every `parts`-th unit from the k-th on, and leaves the sum of its lanes.
pub(super) fn main_of_sum(text: &mut String, inputs: &[Input], width: Width) {
    let w = width.elements();
    signature(text);
    emit!(text, "    let id = (wid.x + wid.y * nwg.x) * {WORKGROUP}u + lane;");
    emit!(text, "    if (id >= p.parts) {{");
    emit!(text, "        return;");
    emit!(text, "    }}");
    emit!(text, "    var sum = Value(0.0);");
    emit!(text, "    for (var t = 0u; t < p.trips; t++) {{");
    emit!(text, "        let i = id + t * p.parts;");
    emit!(text, "    let first = i * {w}u;");
    emit!(text, "    if (first >= p.n) {{");
    emit!(text, "        break;");
    emit!(text, "    }}");
    results(text, inputs, width);
    for (suffix, ..) in width.parts() {
        emit!(text, "    sum += {};", existing(suffix, 0));
    }
    emit!(text, "    }}");
    let lanes = if width == Width::One { "sum" } else { "((sum.x + sum.y) + (sum.z + sum.w))" };
    emit!(text, "    y0[id] = {lanes} / p.divisor;");
    emit!(text, "}}");
}
