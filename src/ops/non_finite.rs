//! Finds values that are not finite: NaN or infinite, by their bits. Comparisons do not show them, because WGSL lets
//! compilers assume that there are none, and a loss may hide them (a ReLU turns NaN into 0).
//!
//! `non_finite`: `keys[j] = min k·2^20 + ranks[first + i / 64]` over the elements i of tensors x_k that belong to j and are
//! not finite, or [`NONE`].
//! `note_non_finite`: `found = 1` if any key is not [`NONE`], else 0. If it is 1, one more step is counted in the report;
//! the first of these steps also writes the smallest key and its own number there.
//!
//! | tensor | shape |
//! |---|---|
//! | x_k | `[n]` each: gradients, parameters and states side by side |
//! | ranks | u32 `[units]`: for each 64 elements of an arena, the rank of the parameter that lies there |
//! | keys | u32 `[partials(n)]`; `[m]` where those of several runs of parameters are joined |
//! | report (updated) | `[4]`: number of steps, key, the first step's number modulo 2^16 and divided by 2^16 |
//! | found | u32 `[]` |
//!
//! The smallest key belongs to the first kind of tensor, and of this kind to the parameter that was registered first,
//! wherever it lies. Scalars: of `non_finite` the kind of x_0, of `note_non_finite` the step's number.

use super::clip_grad::partials;
use crate::kernel::{Bind, Candidate, Dispatch, Needs, Target, TargetClass};
use crate::op::{Case, Cost, Expected, Fill, GradIo, Io, Op, RefIo, Scalar, Tolerance, expected};
use crate::shape::{ALIGN, DType, Spec};
use crate::tensor::Tensor;

crate::kernel! {
    /// Each thread looks at a strided set of fours, each workgroup joins its threads.
    mod quads = "shaders/non_finite/quads.wgsl";
    params { n: u32, groups: u32, first: u32, kind: u32 }
    bind { x0: Read, x1: Read, x2: Read, x3: Read, x4: Read, ranks: Read, keys: ReadWrite }
}

crate::kernel! {
    /// The same with eights.
    mod octets = "shaders/non_finite/octets.wgsl";
    params { n: u32, groups: u32, first: u32, kind: u32 }
    bind { x0: Read, x1: Read, x2: Read, x3: Read, x4: Read, ranks: Read, keys: ReadWrite }
}

crate::kernel! {
    /// One workgroup joins the keys.
    mod note = "shaders/non_finite/note.wgsl";
    params { n: u32, step: u32 }
    bind { keys: Read, found: ReadWrite, report: ReadWrite }
}

/// The key where every value is finite.
pub const NONE: u32 = u32::MAX;
/// Keys of one kind of tensor: no model has so many parameters. Small enough for f32 to hold the keys of 16 kinds.
pub(crate) const KIND: u32 = 1 << 20;
/// Elements that a rank stands for: no two parameters share so many.
pub(crate) const UNIT: usize = ALIGN as usize / 4;
/// Tensors that one op looks at: as many as fit a kernel's bindings.
pub(crate) const MAX_TENSORS: usize = 5;
/// Elements of a report.
pub(crate) const REPORT: usize = 4;
/// Counts end here: the last number up to which f32 holds all.
const MAX_STEPS: f64 = 16_777_216.0;

/// Partial keys of equally long tensors.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct NonFinite {
    /// The rank that element 0 has.
    pub first: usize,
}

impl Op for NonFinite {
    fn name(&self) -> &'static str {
        "non_finite"
    }

    fn outputs(&self, inputs: &[Spec]) -> Result<Vec<Spec>, Expected> {
        let wanted = || expected(format!("1 to {MAX_TENSORS} equally long f32 vectors, and ranks for them"));
        let Some((ranks, tensors)) = inputs.split_last() else { return wanted() };
        let fits = (1..=MAX_TENSORS).contains(&tensors.len())
            && tensors.iter().all(|x| x.dtype == DType::F32 && x.shape.rank() == 1 && x == &tensors[0])
            && (ranks.dtype, ranks.shape.rank()) == (DType::U32, 1)
            && self.first + tensors[0].elements().div_ceil(UNIT) <= ranks.elements();
        match fits {
            true => Ok(vec![Spec::u32([partials(tensors[0].elements())])]),
            false => wanted(),
        }
    }

    fn reference(&self, io: &mut RefIo<'_>) {
        let (ranks, tensors) = io.inputs.split_last().expect("the shape rule has seen ranks");
        let keys = &mut io.outputs[0].data;
        let count = keys.len();
        keys.fill(f64::from(NONE));
        for (k, x) in tensors.iter().enumerate() {
            for (i, _) in x.data.iter().enumerate().filter(|(_, v)| !(**v as f32).is_finite()) {
                let key = (io.scalars[0] + k as f64) * f64::from(KIND) + ranks.data[self.first + i / UNIT];
                let group = i / STRETCH % count;
                keys[group] = keys[group].min(key);
            }
        }
    }

    fn grad(&self, g: &GradIo<'_>) -> Vec<Option<Tensor>> {
        vec![None; g.inputs.len()]
    }

    fn kernels(&self, io: Io<'_>, target: &Target) -> Vec<Candidate> {
        let tensors = io.inputs.len() - 1;
        let (n, groups) = (io.inputs[0].elements(), io.outputs[0].elements());
        // What is not there is not read.
        let mut binds: Vec<Bind> =
            (0..MAX_TENSORS).map(|k| Bind::Input(if k < tensors { k } else { 0 })).collect();
        binds.extend([Bind::Input(tensors), Bind::Output(0)]);
        let finish = |dispatch: Dispatch| {
            // Each element may be looked at twice.
            let trips = 2 * n.div_ceil(STRETCH * groups) + 7;
            let dispatch = dispatch.constant("COUNT", tensors as u32).constant("KIND", KIND);
            let dispatch = dispatch.constant("NONE", NONE).scalar("kind", 0).bind(&binds);
            dispatch.groups(groups as u64).trips(trips as u64)
        };
        let (n, groups, first) = (n as u32, groups as u32, self.first as u32);
        let quads = quads::dispatch(quads::Params { n, groups, first, kind: 0 });
        let octets = octets::dispatch(octets::Params { n, groups, first, kind: 0 });
        let wide = Candidate::new("octets").needs(Needs { int64: true, ..Needs::default() });
        let mut candidates = vec![Candidate::new("quads").dispatch(finish(quads))];
        if target.class == TargetClass::Software {
            candidates.insert(0, wide.dispatch(finish(octets)));
        }
        candidates
    }

    fn tolerance(&self, _: Io<'_>, _: usize) -> Tolerance {
        Tolerance::Exact
    }

    fn cost(&self, io: Io<'_>) -> Cost {
        Cost { flops: 0, bytes: io.bytes() }
    }
}

/// Neighbouring elements that a workgroup of the first kernels looks at together.
const STRETCH: usize = 512;
/// Threads of the second kernel's workgroup.
const WORKGROUP: usize = 64;

/// Whether there is any key, and the report about the first.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct NoteNonFinite;

impl Op for NoteNonFinite {
    fn name(&self) -> &'static str {
        "note_non_finite"
    }

    fn outputs(&self, inputs: &[Spec]) -> Result<Vec<Spec>, Expected> {
        match inputs {
            [keys, report]
                if (keys.dtype, keys.shape.rank()) == (DType::U32, 1) && *report == Spec::f32([REPORT]) =>
            {
                Ok(vec![Spec::u32(())])
            }
            _ => expected(format!("keys [m], u32, and a report [{REPORT}], f32")),
        }
    }

    fn reference(&self, io: &mut RefIo<'_>) {
        let key = io.inputs[0].data.iter().fold(f64::from(NONE), |a, &b| a.min(b));
        let found = key != f64::from(NONE);
        io.outputs[0].data[0] = f64::from(u8::from(found));
        let report = &mut io.updated[0].data;
        if found {
            if report[0] == 0.0 {
                let step = io.scalars[0] as u32;
                report[1..].copy_from_slice(&[key, f64::from(step % (1 << 16)), f64::from(step >> 16)]);
            }
            report[0] = (report[0] + 1.0).min(MAX_STEPS);
        }
    }

    fn grad(&self, g: &GradIo<'_>) -> Vec<Option<Tensor>> {
        vec![None; g.inputs.len()]
    }

    fn kernels(&self, io: Io<'_>, _: &Target) -> Vec<Candidate> {
        let n = io.inputs[0].elements();
        let dispatch = note::dispatch(note::Params { n: n as u32, step: 0 })
            .constant("NONE", NONE)
            .scalar("step", 0)
            .bind(&[Bind::Input(0), Bind::Output(0), Bind::Input(1)])
            .groups(1)
            .trips((n.div_ceil(WORKGROUP) + 6) as u64);
        vec![Candidate::new("one_group").dispatch(dispatch)]
    }

    fn updates(&self) -> &[usize] {
        &[1]
    }

    fn tolerance(&self, _: Io<'_>, _: usize) -> Tolerance {
        Tolerance::Exact
    }
}

/// Test cases.
pub fn cases() -> Vec<Case> {
    let finite = Fill::Normal { mean: 0.0, std: 1.0 };
    // Of these one in 200 is infinite as f32, one in 50,000, or all.
    let (some, few) = (Fill::Normal { mean: 0.0, std: 1.2e38 }, Fill::Normal { mean: 0.0, std: 8e37 });
    let all = Fill::Uniform { low: f64::NAN, high: 1.0 };
    let large = Fill::Uniform { low: -f64::from(f32::MAX), high: f64::from(f32::MAX) };
    let mut cases = Vec::new();
    for (n, first, fills) in [
        (0usize, 0, &[finite][..]),
        (1, 3, &[all]),
        (5, 0, &[finite, all]),
        (64, 1, &[large, large, all]),
        (1031, 0, &[finite, large, finite, finite]),
        (4100, 7, &[finite, finite, finite, finite, some]),
        (20_011, 0, &[finite, some, some]),
        (300_000, 2, &[few, finite]),
        (4_500_001, 0, &[few]),
    ] {
        let units = first + n.div_ceil(UNIT) + 2;
        let flat = [n];
        let mut shapes: Vec<&[usize]> = vec![&flat; fills.len()];
        let ranks = [units];
        shapes.push(&ranks);
        let mut case = Case::new(NonFinite { first }, &shapes);
        for (k, fill) in fills.iter().enumerate() {
            case = case.input(k, Spec::f32(flat), *fill);
        }
        case = case.input(fills.len(), Spec::u32(ranks), Fill::Index { below: KIND });
        cases.push(case.scalars(&[Scalar::U(3)]));
    }
    // A report of nothing so far, and one of something, with and without another key.
    let none = Fill::Uniform { low: f64::from(NONE), high: f64::from(NONE) };
    let some = |below| Fill::Index { below };
    for (m, keys) in [(0, none), (70, none), (1, some(900)), (63, some(KIND)), (64, some(5)), (3000, some(KIND))] {
        for report in [0.0, 3.0, MAX_STEPS] {
            let case = Case::new(NoteNonFinite, &[&[m], &[REPORT]])
                .input(0, Spec::u32([m]), keys)
                .input(1, Spec::f32([REPORT]), Fill::Uniform { low: report, high: report });
            cases.push(case.scalars(&[Scalar::U(70_000)]));
        }
    }
    cases
}
