//! The reference engine: runs a planned program op by op in f64, in the planned slots, so a planner or fusion bug
//! fails without a GPU. Debug builds fill freed slots with NaN.

use crate::device::{Chunk, Storage};
use crate::error::{Error, Result};
use crate::op::{RefIo, Scalar, View, ViewMut};
use crate::profile::{Event, Task, Tasks};
use crate::program::{Origin, Place, Program, Step, ValueId};
use crate::shape::Spec;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

/// What the slots' values are rounded to when they outlive a program.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Precision {
    /// As a GPU keeps them.
    F32,
    /// Not rounded: for gradient checks.
    F64,
}

impl Precision {
    /// `value` as it is kept.
    pub fn keep(self, value: f64) -> f64 {
        match self {
            Precision::F32 => value as f32 as f64,
            Precision::F64 => value,
        }
    }
}

/// An arena chunk in host memory.
pub(crate) type HostChunk = Mutex<Vec<f64>>;

/// The buffers of one program, kept from run to run.
#[derive(Default)]
pub(crate) struct Slots(Mutex<Vec<Vec<f64>>>);

/// Runs `program` and returns the held values; [`Error::OutOfMemory`] when there is no memory for its slots. With a
/// timer, every step is timed.
pub(crate) fn run(
    program: &Program,
    slots: &Slots,
    precision: Precision,
    leaves: &[Storage],
    scalars: &[Scalar],
    mut timer: Option<(&mut Timer, &Tasks)>,
) -> Result<Vec<Storage>> {
    // A panic in an op's reference leaves nothing behind in the slots that matters: they are filled anew.
    let mut slots = slots.0.lock().unwrap_or_else(PoisonError::into_inner);
    slots.resize_with(program.buffers.len(), Vec::new);
    for (slot, &bytes) in slots.iter_mut().zip(&program.buffers) {
        let elements = bytes as usize / 4;
        slot.try_reserve_exact(elements.saturating_sub(slot.len())).map_err(|error| {
            let message = format!("{elements} values of a program on the CPU reference: {error}");
            Error::OutOfMemory { message }
        })?;
        slot.resize(elements, 0.0);
        if cfg!(debug_assertions) {
            slot.fill(f64::NAN);
        }
    }
    let mut run = Run { program, precision, slots: &mut slots };
    for (&value, storage) in program.leaves.iter().zip(leaves) {
        if let Place::Slot(slot) = program.places[value] {
            let data = storage.host();
            run.slots[slot][..data.len()].copy_from_slice(data);
        }
    }
    let dies = if cfg!(debug_assertions) { last_uses(program) } else { Vec::new() };
    for (i, step) in program.steps.iter().enumerate() {
        let start = timer.is_some().then(crate::clock::now);
        run.step(step, scalars);
        if let (Some((timer, tasks)), Some(start)) = (&mut timer, start) {
            timer.note(&tasks.work[i], start);
        }
        for &slot in dies.get(i).into_iter().flatten() {
            run.slots[slot].fill(f64::NAN);
        }
    }
    if let Some((timer, _)) = timer {
        timer.runs += 1;
    }
    Ok(program.held.iter().map(|&v| run.held(v, leaves)).collect())
}

/// The times of one profile.
#[derive(Default)]
pub(crate) struct Timer {
    pub events: Vec<Event>,
    origin: Option<Duration>,
    runs: u64,
}

impl Timer {
    /// Notes that `task` has taken from `start` to now.
    fn note(&mut self, task: &Arc<Task>, start: Duration) {
        let time = crate::clock::now() - start;
        let origin = *self.origin.get_or_insert(start);
        self.events.push(Event { task: task.clone(), run: Some(self.runs), start: start - origin, time });
    }
}

/// For each step, the slots whose value is read there for the last time.
fn last_uses(program: &Program) -> Vec<Vec<usize>> {
    let mut last = vec![None; program.values.len()];
    for (i, step) in program.steps.iter().enumerate() {
        for &v in step.inputs.iter().chain(&step.outputs) {
            last[program.root(v)] = Some(i);
        }
    }
    program.held.iter().for_each(|&v| last[program.root(v)] = None);
    let mut dies = vec![Vec::new(); program.steps.len()];
    for (id, at) in last.iter().enumerate() {
        if let (Some(at), Place::Slot(slot)) = (at, &program.places[id]) {
            dies[*at].push(*slot);
        }
    }
    dies
}

struct Run<'a> {
    program: &'a Program,
    precision: Precision,
    slots: &'a mut Vec<Vec<f64>>,
}

impl Run<'_> {
    fn step(&mut self, step: &Step, scalars: &[Scalar]) {
        let program = self.program;
        let spec = |v: ValueId| program.values[v].spec;
        if step.op.places().is_some() {
            return self.copy_unplaced(step);
        }
        let updates = step.op.updates();
        // Arena data is copied: a step may read one part of a chunk while it updates another.
        let copies: Vec<Option<Vec<f64>>> = (step.inputs.iter())
            .map(|&v| match &program.places[v] {
                Place::Chunk(chunk, offset) => Some(copy_from(chunk, *offset, spec(v))),
                _ => None,
            })
            .collect();
        let mut updated: Vec<Vec<f64>> = updates
            .iter()
            .map(|&i| copies[i].clone().expect("only variables are updated in place"))
            .collect();
        let mut outputs: Vec<Vec<f64>> = (step.outputs.iter())
            .map(|&v| match program.places[v] {
                Place::Slot(slot) => std::mem::take(&mut self.slots[slot]),
                _ => vec![0.0; spec(v).elements()],
            })
            .collect();
        let view = |(i, &v): (usize, &ValueId)| {
            let shape = spec(v).shape;
            let data: &[f64] = match (&copies[i], &program.places[v]) {
                _ if updates.contains(&i) => &[],
                (Some(copy), _) => copy,
                (None, Place::Slot(slot)) => &self.slots[*slot][..shape.elements()],
                (None, _) => &[],
            };
            View { shape, data }
        };
        let mut io = RefIo {
            inputs: step.inputs.iter().enumerate().map(view).collect(),
            outputs: (outputs.iter_mut().zip(&step.outputs))
                .map(|(data, &v)| ViewMut { shape: spec(v).shape, data: &mut data[..spec(v).elements()] })
                .collect(),
            updated: (updated.iter_mut().zip(updates))
                .map(|(data, &i)| ViewMut { shape: spec(step.inputs[i]).shape, data })
                .collect(),
            scalars: step.scalars.iter().map(|&s| self.scalar(scalars[s])).collect(),
        };
        step.op.reference(&mut io);
        drop(io);
        for (data, &v) in outputs.into_iter().zip(&step.outputs) {
            match &program.places[v] {
                Place::Slot(slot) => self.slots[*slot] = data,
                Place::Chunk(chunk, offset) => self.write(chunk, *offset, &data),
                Place::Nowhere => {}
            }
        }
        for (data, &i) in updated.iter().zip(updates) {
            if let Place::Chunk(chunk, offset) = &program.places[step.inputs[i]] {
                self.write(chunk, *offset, data);
            }
        }
    }

    /// A scalar as the precision of the run has it: a kernel gets it as f32.
    fn scalar(&self, scalar: Scalar) -> f64 {
        match scalar {
            Scalar::F(v) => self.precision.keep(v),
            Scalar::U(v) => v as f64,
        }
    }

    fn copy_unplaced(&mut self, step: &Step) {
        let Place::Chunk(arena, _) = &self.program.places[step.inputs[0]] else { return };
        for copy in &step.unplaced {
            let spec = self.program.values[copy.value].spec;
            let data = match &self.program.places[copy.value] {
                Place::Slot(slot) => self.slots[*slot][..spec.elements()].to_vec(),
                Place::Chunk(chunk, offset) => copy_from(chunk, *offset, spec),
                Place::Nowhere => Vec::new(),
            };
            self.write(arena, copy.offset, &data);
        }
    }

    fn write(&self, chunk: &Arc<Chunk>, offset: u64, data: &[f64]) {
        let mut memory = chunk.host().lock().unwrap();
        let target = &mut memory[offset as usize / 4..][..data.len()];
        target.iter_mut().zip(data).for_each(|(t, &v)| *t = self.precision.keep(v));
    }

    fn held(&self, value: ValueId, leaves: &[Storage]) -> Storage {
        let program = self.program;
        if let Origin::Leaf(leaf) = program.values[program.root(value)].origin {
            return leaves[leaf].clone();
        }
        let spec = program.values[value].spec;
        let data = match &program.places[value] {
            Place::Slot(slot) => self.slots[*slot][..spec.elements()].to_vec(),
            Place::Chunk(chunk, offset) => copy_from(chunk, *offset, spec),
            Place::Nowhere => Vec::new(),
        };
        Storage::Host(Arc::new(data.into_iter().map(|v| self.precision.keep(v)).collect()))
    }
}

fn copy_from(chunk: &Arc<Chunk>, offset: u64, spec: Spec) -> Vec<f64> {
    chunk.host().lock().unwrap()[offset as usize / 4..][..spec.elements()].to_vec()
}
