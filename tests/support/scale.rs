//! An op with kernels of the test's choice: y = factor · x, by kernels that fit or do not, are slow, or wrong.

use recurve::kernel::{
    Access, Author, Bind, Candidate, Dispatch, Kernel, KernelRef, Needs, ParamMember, ParamType, Target,
};
use recurve::op::{Cost, Expected, GradIo, Io, Op, RefIo, Scalar, Tolerance, expected};
use recurve::{Spec, Tensor};
use std::sync::{Arc, LazyLock};

/// y = factor · x.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Scale {
    /// The candidates, best first.
    pub ways: Vec<Way>,
}

/// A way to compute it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Way {
    Plain,
    /// By way of a scratch buffer.
    Twice,
    /// Looks at many elements besides.
    Slow,
    /// Adds 1.
    Wrong,
    /// Is right on small tensors only.
    WrongWhenLarge,
    /// Is no WGSL.
    Invalid,
    /// Needs subgroups of 3 lanes, which nobody has.
    Lanes,
    /// Needs a gibibyte of workgroup memory.
    Memory,
}

const SOURCE: &str = "
struct Params { len: u32, factor: f32, offset: f32, rounds: u32 }
@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> x: array<f32>; // [len]
@group(0) @binding(2) var<storage, read_write> y: array<f32>; // [len]

@compute @workgroup_size(64)
fn main(@builtin(workgroup_id) wid: vec3<u32>, @builtin(num_workgroups) nwg: vec3<u32>, @builtin(local_invocation_id) lid: vec3<u32>) {
    let i = (wid.x + wid.y * nwg.x) * 64u + lid.x;
    if i >= params.len {
        return;
    }
    var huge = 0.0;
    for (var r = 0u; r < params.rounds; r++) {
        huge += f32(x[(i + 61u * r) % params.len] > 1e30);
    }
    y[i] = params.factor * x[i] + params.offset + huge;
}
";

static KERNEL: LazyLock<Arc<Kernel>> = LazyLock::new(|| kernel("tests/scale", SOURCE));
static INVALID: LazyLock<Arc<Kernel>> = LazyLock::new(|| kernel("tests/invalid", "fn main() { nonsense }"));

fn kernel(name: &'static str, source: &'static str) -> Arc<Kernel> {
    Arc::new(Kernel {
        name: name.into(),
        source: source.into(),
        params: vec![
            ("len", ParamType::U32),
            ("factor", ParamType::F32),
            ("offset", ParamType::F32),
            ("rounds", ParamType::U32),
        ]
        .into(),
        bindings: vec![("x", Access::Read), ("y", Access::ReadWrite)].into(),
        author: Author::User,
    })
}

impl Way {
    fn name(self) -> &'static str {
        match self {
            Way::Plain => "plain",
            Way::Twice => "twice",
            Way::Slow => "slow",
            Way::Wrong => "wrong",
            Way::WrongWhenLarge => "wrong_when_large",
            Way::Invalid => "invalid",
            Way::Lanes => "lanes",
            Way::Memory => "memory",
        }
    }

    fn candidate(self, len: usize) -> Candidate {
        let wrong = self == Way::Wrong || self == Way::WrongWhenLarge && len > 100_000;
        let rounds = if self == Way::Slow { 100u32 } else { 0 };
        let dispatch = |factor: f32, from, to| {
            let offset = if wrong { 1.0f32 } else { 0.0 };
            let bytes = [
                ParamMember::bytes(len as u32),
                ParamMember::bytes(factor),
                ParamMember::bytes(offset),
                ParamMember::bytes(rounds),
            ];
            let kernel = if self == Way::Invalid { &INVALID } else { &KERNEL };
            Dispatch::new(KernelRef::Generated(Arc::clone(kernel)), bytes.concat())
                .bind(&[from, to])
                .groups(len.div_ceil(64) as u64)
                .trips(rounds.into())
        };
        let candidate = Candidate::new(self.name());
        let once = dispatch(0.0, Bind::Input(0), Bind::Output(0)).scalar("factor", 0);
        match self {
            Way::Twice => candidate
                .scratch(4 * len as u64)
                .dispatch(dispatch(1.0, Bind::Input(0), Bind::Scratch(0)))
                .dispatch(dispatch(0.0, Bind::Scratch(0), Bind::Output(0)).scalar("factor", 0)),
            Way::Lanes => candidate.needs(Needs { subgroup: Some(3), ..Needs::default() }).dispatch(once),
            Way::Memory => {
                candidate.needs(Needs { workgroup_memory: 1 << 30, ..Needs::default() }).dispatch(once)
            }
            _ => candidate.dispatch(once),
        }
    }
}

impl Op for Scale {
    fn name(&self) -> &'static str {
        "scale"
    }

    fn outputs(&self, inputs: &[Spec]) -> Result<Vec<Spec>, Expected> {
        match inputs {
            [x] => Ok(vec![*x]),
            _ => expected("one tensor"),
        }
    }

    fn reference(&self, io: &mut RefIo<'_>) {
        let factor = io.scalars[0];
        io.outputs[0].data.iter_mut().zip(io.inputs[0].data).for_each(|(y, x)| *y = factor * x);
    }

    fn grad(&self, io: &GradIo<'_>) -> Vec<Option<Tensor>> {
        vec![io.dy[0].as_ref().map(|dy| Tensor::apply1(self.clone(), &[dy], io.scalars))]
    }

    fn kernels(&self, io: Io<'_>, _target: &Target) -> Vec<Candidate> {
        self.ways.iter().map(|way| way.candidate(io.outputs[0].elements())).collect()
    }

    /// So much, where a way is wrong on large tensors, that nobody runs the reference on them.
    fn cost(&self, io: Io<'_>) -> Cost {
        let each = if self.ways.contains(&Way::WrongWhenLarge) { 10_000 } else { 1 };
        Cost { flops: each * io.outputs[0].elements() as u64, bytes: io.bytes() }
    }

    fn tolerance(&self, _io: Io<'_>, _output: usize) -> Tolerance {
        Tolerance::Ulp(1.0)
    }
}

/// `factor` times x, by the first of `ways` that fits.
#[track_caller]
pub fn scale(x: &Tensor, factor: f64, ways: &[Way]) -> Tensor {
    Tensor::apply1(Scale { ways: ways.to_vec() }, &[x], &[Scalar::F(factor)])
}
