//! What will run: a planned program. Knows no op and no wgpu type; kernels are chosen through a plain
//! [`Target`] before memory is planned, so that scratch and binding limits are part of the plan.
//!
//! A [`Listing`] (what a trace asked for, canonical and comparable) is turned into a [`Program`]: fused
//! ([`fuse`]), lowered ([`lower`]) and given memory ([`memory`]). Both engines run the result.

pub(crate) mod choose;
mod explain;
pub(crate) mod fold;
pub(crate) mod fuse;
pub(crate) mod lower;
pub(crate) mod memory;

use crate::caller::Caller;
use crate::device::Chunk;
use crate::error::Result;
use crate::kernel::{Candidate, Dispatch, Misfit, Target};
use crate::op::{Op, Scalar};
use crate::pointwise::{Function, Pointwise};
use crate::shape::Spec;
use crate::variable::Site;
use choose::{Choose, Found};
use std::hash::{Hash, Hasher};
use std::sync::Arc;

/// What a trace asks to be run: nodes in program order, with everything that a plan depends on and nothing else.
#[derive(Clone, Default)]
pub(crate) struct Listing {
    pub nodes: Vec<Listed>,
    /// Specs of the values that come from outside.
    pub leaves: Vec<Spec>,
    /// Values that somebody holds.
    pub held: Vec<Held>,
}

/// One node of a listing.
#[derive(Clone)]
pub(crate) struct Listed {
    pub op: Arc<dyn Op>,
    pub inputs: Vec<Operand>,
    pub outputs: Vec<Spec>,
    /// How many scalars it takes from the run's list, in order.
    pub scalars: usize,
    /// The depth of the segment that it computes again for gradients; 0 for all else.
    pub again: usize,
    /// No part of what makes two listings equal: the plan of the first is used for both.
    pub caller: Caller,
}

/// Where an operand comes from.
#[derive(Clone)]
pub(crate) enum Operand {
    Leaf(usize),
    Variable(Arc<Site>),
    Result { node: usize, output: usize },
}

/// A result that must outlive the run.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) struct Held {
    pub node: usize,
    pub output: usize,
}

impl PartialEq for Operand {
    fn eq(&self, other: &Self) -> bool {
        match (self, other) {
            (Operand::Leaf(a), Operand::Leaf(b)) => a == b,
            (Operand::Variable(a), Operand::Variable(b)) => a == b,
            (Operand::Result { node: a, output: x }, Operand::Result { node: b, output: y }) => {
                (a, x) == (b, y)
            }
            _ => false,
        }
    }
}

impl PartialEq for Listing {
    fn eq(&self, other: &Self) -> bool {
        let same = |(a, b): (&Listed, &Listed)| {
            let operands = a.inputs == b.inputs && a.outputs == b.outputs && a.scalars == b.scalars;
            operands && a.again == b.again && a.op.same(&*b.op)
        };
        self.leaves == other.leaves
            && self.held == other.held
            && self.nodes.len() == other.nodes.len()
            && self.nodes.iter().zip(&other.nodes).all(same)
    }
}

impl Listing {
    /// A hash of everything that equality looks at.
    pub fn fingerprint(&self) -> u64 {
        let mut h = std::hash::DefaultHasher::new();
        for node in &self.nodes {
            node.op.fingerprint().hash(&mut h);
            for input in &node.inputs {
                match input {
                    Operand::Leaf(i) => (0, *i as u64, 0).hash(&mut h),
                    Operand::Variable(v) => (1, v.chunk.id(), v.offset).hash(&mut h),
                    Operand::Result { node, output } => (2, *node as u64, *output as u64).hash(&mut h),
                }
            }
            node.outputs.hash(&mut h);
            node.again.hash(&mut h);
        }
        self.leaves.hash(&mut h);
        self.held.hash(&mut h);
        h.finish()
    }
}

/// Index of a value in a program.
pub(crate) type ValueId = usize;

/// A value of a program.
#[derive(Clone)]
pub(crate) struct Value {
    pub spec: Spec,
    pub origin: Origin,
}

/// How a value comes to be.
#[derive(Clone)]
pub(crate) enum Origin {
    /// Copied in from outside before the first step.
    Leaf(usize),
    /// A variable: read and updated where it lies.
    Variable(Arc<Site>),
    /// The same data as another value, under another shape.
    Alias(ValueId),
    /// Written by a step.
    Step,
}

/// One step: an op on values, and, on a GPU, the kernels chosen for it.
pub(crate) struct Step {
    pub op: Arc<dyn Op>,
    pub inputs: Vec<ValueId>,
    pub outputs: Vec<ValueId>,
    /// Indices into the run's scalars.
    pub scalars: Vec<usize>,
    /// As [`Listed::again`]: what differs in it is not fused.
    pub again: usize,
    /// What it computes, as it was asked for: more than one after fusion.
    pub asked: Vec<Asked>,
    /// The kernels; `None` for the CPU engine, and where there is nothing to compute.
    pub kernels: Option<Candidate>,
    /// What was found out about them, where that made the choice.
    pub found: Option<Found>,
    /// The candidates that were not taken.
    pub passed_over: Vec<PassedOver>,
    /// Buffers of the candidate's scratch.
    pub scratch: Vec<usize>,
    /// For ops that place their inputs: those that did not come to lie there by themselves.
    pub unplaced: Vec<Unplaced>,
}

/// An op that was asked for.
#[derive(Clone, Copy)]
pub(crate) struct Asked {
    pub op: &'static str,
    pub caller: Caller,
}

/// A candidate that was not taken.
#[derive(Clone, Copy)]
pub(crate) struct PassedOver {
    pub variant: &'static str,
    pub why: Why,
}

/// Why a candidate was not taken.
#[derive(Clone, Copy)]
pub(crate) enum Why {
    /// It cannot run on the target.
    Misfit(Misfit),
    /// One that fits stands before it.
    Later,
    /// What was found out about it.
    Found(Found),
}

/// An input of a placing step that lies elsewhere and is copied when the step runs.
pub(crate) struct Unplaced {
    pub value: ValueId,
    /// Where it is to lie, in bytes from the start of the arena's chunk.
    pub offset: u64,
    /// What copies it on a GPU.
    pub dispatches: Vec<Dispatch>,
}

/// One dispatch of a program, and what it is for.
pub(crate) struct Job<'a> {
    /// The step's index.
    pub index: usize,
    pub step: &'a Step,
    /// The input that it copies to its place; `None` for a kernel of the step's candidate.
    pub copy: Option<&'a Unplaced>,
    pub dispatch: &'a Dispatch,
}

/// Where a value lies during a run.
#[derive(Clone)]
pub(crate) enum Place {
    /// At the start of a buffer of the program.
    Slot(usize),
    /// In an arena chunk, at a byte offset.
    Chunk(Arc<Chunk>, u64),
    /// Nowhere: it has no elements, or nobody needs it.
    Nowhere,
}

/// A planned program.
pub(crate) struct Program {
    pub values: Vec<Value>,
    pub steps: Vec<Step>,
    pub places: Vec<Place>,
    /// Bytes of each buffer that values share by liveness.
    pub buffers: Vec<u64>,
    /// The values that come from outside, by leaf.
    pub leaves: Vec<ValueId>,
    /// The values that outlive the run, in the listing's order.
    pub held: Vec<ValueId>,
    /// Bytes that all values would take without sharing.
    pub unshared_bytes: u64,
    /// The most bytes that values and scratch need at once, and in which step.
    pub peak: (u64, usize),
}

impl Program {
    /// Plans a listing for `target`; `None` is the CPU engine.
    pub fn plan(listing: &Listing, target: Option<&Target>) -> Result<Program> {
        Program::plan_with(listing, target, None)
    }

    /// Plans a listing with kernels that somebody chooses who knows more than the rule, for a run with these scalars.
    pub fn plan_with(
        listing: &Listing,
        target: Option<&Target>,
        wise: Option<(&dyn Choose, &[Scalar])>,
    ) -> Result<Program> {
        let mut program = Program::from_listing(listing);
        fuse::fuse(&mut program);
        if let Some(target) = target {
            lower::choose_kernels(&mut program, target, wise)?;
        }
        memory::plan(&mut program);
        lower::choose_copies(&mut program, target)?;
        Ok(program)
    }

    /// The listing node by node, without fusion: what planned programs are compared with.
    pub fn unfused(listing: &Listing, target: Option<&Target>) -> Result<Program> {
        let mut program = Program::from_listing(listing);
        if let Some(target) = target {
            lower::choose_kernels(&mut program, target, None)?;
        }
        memory::plan(&mut program);
        lower::choose_copies(&mut program, target)?;
        Ok(program)
    }

    /// The listing without fusion, every step by its fitting candidate with index `variant`: for tests of kernels.
    #[cfg(not(target_arch = "wasm32"))]
    pub fn forced(listing: &Listing, target: Option<&Target>, variant: usize) -> Result<Program> {
        let mut program = Program::from_listing(listing);
        if let Some(target) = target {
            lower::choose_kernels(&mut program, target, None)?;
            lower::force(&mut program, target, variant)?;
        }
        memory::plan(&mut program);
        lower::choose_copies(&mut program, target)?;
        Ok(program)
    }

    fn from_listing(listing: &Listing) -> Program {
        let mut p = Program {
            values: Vec::new(),
            steps: Vec::new(),
            places: Vec::new(),
            buffers: Vec::new(),
            leaves: Vec::new(),
            held: Vec::new(),
            unshared_bytes: 0,
            peak: (0, 0),
        };
        for (i, &spec) in listing.leaves.iter().enumerate() {
            p.leaves.push(p.values.len());
            p.values.push(Value { spec, origin: Origin::Leaf(i) });
        }
        let mut results: Vec<Vec<ValueId>> = Vec::new();
        let mut variables: Vec<(Operand, ValueId)> = Vec::new();
        let mut scalar = 0;
        for node in &listing.nodes {
            let mut inputs = Vec::new();
            for operand in &node.inputs {
                inputs.push(match operand {
                    Operand::Leaf(i) => p.leaves[*i],
                    Operand::Result { node, output } => results[*node][*output],
                    Operand::Variable(v) => match variables.iter().find(|(o, _)| o == operand) {
                        Some((_, id)) => *id,
                        None => {
                            p.values.push(Value { spec: v.spec, origin: Origin::Variable(v.clone()) });
                            variables.push((operand.clone(), p.values.len() - 1));
                            p.values.len() - 1
                        }
                    },
                });
            }
            // A view of a variable that outlives the run must not change when the variable does: it is copied here.
            let held = listing.held.contains(&Held { node: results.len(), output: 0 });
            let copied = node.op.alias() && held && p.is_variable(inputs[0]);
            let first = p.values.len();
            for &spec in &node.outputs {
                let alias = node.op.alias() && !copied;
                p.values.push(Value {
                    spec,
                    origin: if alias { Origin::Alias(inputs[0]) } else { Origin::Step },
                });
            }
            let mut outputs: Vec<ValueId> = (first..p.values.len()).collect();
            results.push(outputs.clone());
            if copied {
                let viewed = Value { spec: p.values[inputs[0]].spec, origin: Origin::Step };
                p.values.push(viewed);
                p.values[outputs[0]].origin = Origin::Alias(first + 1);
                outputs = vec![first + 1];
            }
            if copied || !node.op.alias() {
                let copy = || Arc::new(Pointwise::single(Function::Copy)) as Arc<dyn Op>;
                p.steps.push(Step {
                    op: if copied { copy() } else { node.op.clone() },
                    inputs,
                    outputs,
                    scalars: (scalar..scalar + node.scalars).collect(),
                    again: node.again,
                    asked: vec![Asked { op: node.op.name(), caller: node.caller }],
                    kernels: None,
                    found: None,
                    passed_over: Vec::new(),
                    scratch: Vec::new(),
                    unplaced: Vec::new(),
                });
            }
            scalar += node.scalars;
        }
        p.held = listing.held.iter().map(|h| results[h.node][h.output]).collect();
        p
    }

    /// The value whose data `id` shows: itself, unless it is an alias.
    pub fn root(&self, mut id: ValueId) -> ValueId {
        while let Origin::Alias(of) = self.values[id].origin {
            id = of;
        }
        id
    }

    /// Specs of a step's operands and results.
    pub fn specs(&self, step: &Step) -> (Vec<Spec>, Vec<Spec>) {
        let of = |ids: &[ValueId]| ids.iter().map(|&v| self.values[v].spec).collect();
        (of(&step.inputs), of(&step.outputs))
    }

    /// What a GPU runs, in order.
    pub fn jobs(&self) -> impl Iterator<Item = Job<'_>> {
        self.steps.iter().enumerate().flat_map(|(index, step)| {
            let copies = step.unplaced.iter().flat_map(move |copy| {
                copy.dispatches.iter().map(move |dispatch| Job { index, step, copy: Some(copy), dispatch })
            });
            let kernels = step.kernels.iter().flat_map(|k| &k.dispatches);
            copies.chain(kernels.map(move |dispatch| Job { index, step, copy: None, dispatch }))
        })
    }

    /// Bytes of the buffers that values share.
    pub fn planned_bytes(&self) -> u64 {
        self.buffers.iter().sum()
    }
}

impl Step {
    /// To which line the step is put down: where the op that it began with was asked for.
    pub fn caller(&self) -> Caller {
        self.asked[0].caller
    }

    /// What was fused into one step: an element-wise chain, or the ops that joined the first; empty without fusion.
    pub fn fused(&self) -> String {
        match self.op.pointwise() {
            Some(chain) if chain.only_step().is_none() => chain.to_string(),
            _ => self.asked[1..].iter().map(|a| a.op).collect::<Vec<_>>().join(" "),
        }
    }

    /// The chunks that the step updates in place.
    pub fn updated<'a>(&'a self, values: &'a [Value]) -> impl Iterator<Item = &'a Arc<Site>> {
        self.op.updates().iter().filter_map(move |&i| match &values[self.inputs[i]].origin {
            Origin::Variable(v) => Some(v),
            _ => None,
        })
    }
}
