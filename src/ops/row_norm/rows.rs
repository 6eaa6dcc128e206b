//! What a row is, and which kernels go through rows best.

use crate::kernel::{Candidate, MAX_TRIPS, Target, TargetClass};
use crate::op::{Expected, expected};
use crate::ops::batch_norm::Affine;
use crate::shape::Shape;

/// Which values are normalised together.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Rows {
    /// Those along so many of the last axes: layer normalisation.
    LastAxes(usize),
    /// Those of each of so many groups of channels of a sample: group normalisation.
    Groups(usize),
}

/// A tensor seen as `[N, C, L]`, of which C / groups neighbouring channels make a row.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Grouped {
    pub n: usize,
    pub c: usize,
    pub l: usize,
    pub groups: usize,
}

impl Rows {
    /// The shape of gamma and beta.
    pub(crate) fn affine(self, x: Shape) -> Shape {
        match self {
            Rows::LastAxes(k) => Shape::new(&x.dims()[x.rank() - k..]),
            Rows::Groups(_) => Shape::new(&[x[1]]),
        }
    }

    /// How the kernels see a tensor of this shape.
    pub(crate) fn of(self, x: Shape) -> Result<Grouped, Expected> {
        let rank = x.rank();
        let grouped = match self {
            Rows::LastAxes(k) if k > 0 && k <= rank => {
                Grouped { n: x.span(0, rank - k), c: x.span(rank - k, rank), l: 1, groups: 1 }
            }
            Rows::LastAxes(k) => return expected(format!("an operand with at least {} axes", k.max(1))),
            Rows::Groups(groups) if rank >= 2 && groups > 0 && x[1].is_multiple_of(groups) => {
                Grouped { n: x[0], c: x[1], l: x.span(2, rank), groups }
            }
            Rows::Groups(groups) => {
                return expected(format!("an operand [N, C, ..] with C a multiple of {groups} groups"));
            }
        };
        if grouped.c * grouped.l == 0 {
            return expected("at least one value per row");
        }
        Ok(grouped)
    }

    pub(crate) fn name(self, layer: &'static str, group: &'static str) -> &'static str {
        match self {
            Rows::LastAxes(_) => layer,
            Rows::Groups(_) => group,
        }
    }
}

impl Grouped {
    /// Number of rows.
    pub(crate) fn rows(self) -> usize {
        self.n * self.groups
    }

    /// Values per row.
    pub(crate) fn d(self) -> usize {
        self.c / self.groups * self.l
    }

    /// The channel of element `k` of row `row`.
    pub(crate) fn channel(self, row: usize, k: usize) -> usize {
        row % self.groups * (self.c / self.groups) + k / self.l
    }

    /// How single threads share a row.
    pub(crate) fn parts(self) -> usize {
        self.d().div_ceil(128).clamp(1, 4096)
    }

    /// The kernels' constant for what gamma has an element for, where a row is whole octets, each of at most two
    /// channels, and within a subgroup's trips.
    pub(crate) fn octets(self, affine: Affine) -> Option<u32> {
        let fits = self.d().is_multiple_of(8) && 3 * self.d().div_ceil(64) as u64 <= MAX_TRIPS;
        match affine {
            _ if !fits => None,
            Affine::None => Some(0),
            Affine::Vectors if self.l == 1 => Some(1),
            Affine::Vectors => (self.l >= 8).then_some(2),
        }
    }

    /// Octets per lane, where an 8-lane subgroup can hold a row in registers.
    pub(crate) fn held(self) -> Option<u32> {
        let octets = self.d().div_ceil(64);
        (octets <= 8).then_some(octets as u32)
    }

    /// The ways to go through rows, best first for the target.
    pub(crate) fn order(self, target: &Target, ways: Ways) -> Vec<Candidate> {
        let Ways { serial, row, octets, strided } = ways;
        let (d, rows) = (self.d(), self.rows());
        let software = target.class == TargetClass::Software;
        let best = match &octets {
            Some(octets) if target.software_subgroup8() && d >= SERIAL => octets,
            _ if d <= SERIAL => &serial,
            // A barrier costs software adapters more than a long row, where there are enough of them.
            _ if software && d <= 4096 && rows >= 128 => &serial,
            // A few long rows would leave most of a GPU idle.
            _ if !software && (d <= 1 << 14 || rows >= 256) => &row,
            _ => &strided,
        };
        let mut all = vec![best.clone()];
        let others = [Some(serial), Some(row), octets].into_iter().flatten();
        let others: Vec<Candidate> = others.filter(|c| c.variant != all[0].variant).collect();
        all.extend(others);
        all.push(strided);
        all
    }
}

/// Rows up to this length are one thread's work.
const SERIAL: usize = 64;

/// One candidate per way to go through rows.
pub(crate) struct Ways {
    /// A thread per row.
    pub serial: Candidate,
    /// A workgroup per row.
    pub row: Candidate,
    /// An 8-lane subgroup per row.
    pub octets: Option<Candidate>,
    /// Many threads per row, in passes: rows of any length.
    pub strided: Candidate,
}

/// Parameters of the kernels that take rows by octets, which differ in type only.
macro_rules! octet_params {
    ($kernel:ident, $grouped:expr) => {{
        let s = $grouped;
        let inner = $crate::pointwise::Divisor::new(s.l);
        $kernel::Params {
            rows: s.rows() as u32,
            octets: (s.d() / 8) as u32,
            inner: inner.size,
            magic: inner.magic,
            shift: inner.shift,
            channels: (s.c / s.groups) as u32,
            groups: s.groups as u32,
            eps: 0.0,
        }
    }};
}
pub(crate) use octet_params;
