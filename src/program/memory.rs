//! Gives every value a place. Whole buffers are shared by liveness ([`turns`](super::turns)); not one arena, because WebGPU tracks usage per whole buffer and refuses a
//! dispatch that reads one part of a buffer while it writes another.

use super::turns::{Demand, peak, share};
use super::{Origin, Place, Program, Unplaced, ValueId};
use crate::device::Chunk;
use crate::shape::ALIGN;
use std::sync::Arc;

/// Plans the places of all values and scratch buffers.
pub(crate) fn plan(p: &mut Program) {
    p.places = vec![Place::Nowhere; p.values.len()];
    place_gradients(p);
    let intervals = intervals(p);
    let demands: Vec<Demand> = intervals.iter().map(|(demand, _)| *demand).collect();
    let (taken, buffers) = share(&demands);
    for ((demand, owner), buffer) in intervals.into_iter().zip(taken) {
        p.unshared_bytes += demand.bytes;
        match owner {
            Owner::Value(v) => p.places[v] = Place::Slot(buffer),
            Owner::Scratch { step, index } => p.steps[step].scratch[index] = buffer,
        }
    }
    p.peak = peak(&demands);
    p.buffers = buffers;
    for id in 0..p.values.len() {
        let root = p.root(id);
        match &p.values[root].origin {
            Origin::Variable(v) => p.places[id] = Place::Chunk(v.chunk.clone(), v.offset),
            _ if root != id => p.places[id] = p.places[root].clone(),
            _ => {}
        }
    }
}

#[derive(Clone, Copy)]
enum Owner {
    Value(ValueId),
    Scratch { step: usize, index: usize },
}

/// Bytes of a buffer for so many bytes of scratch.
pub(super) fn scratch(bytes: u64) -> u64 {
    bytes.next_multiple_of(ALIGN).max(ALIGN)
}

/// The demand of every value that needs a buffer of its own, and of all scratch.
fn intervals(p: &mut Program) -> Vec<(Demand, Owner)> {
    let end = p.steps.len();
    let mut live: Vec<Option<(usize, usize)>> = vec![None; p.values.len()];
    let mut touch = |v: ValueId, at: usize| {
        let range = live[v].get_or_insert((at, at));
        *range = (range.0.min(at), range.1.max(at));
    };
    for (i, step) in p.steps.iter().enumerate() {
        step.outputs.iter().for_each(|&v| touch(v, i));
        step.inputs.iter().for_each(|&v| touch(p.root(v), i));
    }
    p.leaves.iter().for_each(|&v| touch(v, 0));
    p.held.iter().for_each(|&v| touch(p.root(v), end));
    let mut out = Vec::new();
    for (id, range) in live.iter().enumerate() {
        let value = &p.values[id];
        let own =
            matches!(value.origin, Origin::Leaf(_) | Origin::Step) && matches!(p.places[id], Place::Nowhere);
        if let (Some((first, last)), true) = (*range, own && value.spec.elements() > 0) {
            out.push((Demand { bytes: value.spec.padded_bytes(), first, last }, Owner::Value(id)));
        }
    }
    for (step, s) in p.steps.iter_mut().enumerate() {
        let scratch = s.kernels.as_ref().map_or(&[][..], |k| &k.scratch[..]);
        s.scratch = vec![usize::MAX; scratch.len()];
        for (index, &bytes) in scratch.iter().enumerate() {
            let bytes = self::scratch(bytes);
            out.push((Demand { bytes, first: step, last: step }, Owner::Scratch { step, index }));
        }
    }
    out
}

/// Lets gradients be written straight into their arena, where nothing else touches the arena in between and no step
/// would read and write it at once. The others are copied when the placing step runs.
fn place_gradients(p: &mut Program) {
    for at in 0..p.steps.len() {
        let Some(offsets) = p.steps[at].op.places().map(<[u64]>::to_vec) else { continue };
        let Origin::Variable(arena) = p.values[p.root(p.steps[at].inputs[0])].origin.clone() else {
            panic!("{} places into a variable", p.steps[at].op.name())
        };
        let mut unplaced = Vec::new();
        for (i, &offset) in offsets.iter().enumerate() {
            let (value, offset) = (p.root(p.steps[at].inputs[i + 1]), arena.offset + offset);
            // A value that is the gradient of two parameters is copied to both: a copy within the arena is not allowed.
            let once = p.steps[at].inputs[1..].iter().filter(|&&v| p.root(v) == value).count() == 1;
            let clear = once && placeable(p, value, at, &arena.chunk);
            match clear {
                true => p.places[value] = Place::Chunk(arena.chunk.clone(), offset),
                false => unplaced.push(Unplaced { value, offset, dispatches: Vec::new() }),
            }
        }
        p.steps[at].unplaced = unplaced;
    }
}

fn placeable(p: &Program, value: ValueId, at: usize, chunk: &Arc<Chunk>) -> bool {
    if !matches!(p.values[value].origin, Origin::Step) || !matches!(p.places[value], Place::Nowhere) {
        return false;
    }
    let Some(made) = p.steps[..at].iter().position(|s| s.outputs.contains(&value)) else { return false };
    let in_chunk = |v: ValueId| {
        let root = p.root(v);
        let variable = matches!(&p.values[root].origin, Origin::Variable(v) if v.chunk.id() == chunk.id());
        variable || matches!(&p.places[root], Place::Chunk(c, _) if c.id() == chunk.id())
    };
    // Until the gradients are complete, nobody may see the arena as a whole, or write another value of it while
    // reading this one.
    let untouched = p.steps[made..at].iter().all(|s| {
        let reads_value = s.inputs.iter().any(|&v| p.root(v) == value);
        let uses_arena = s.inputs.iter().any(|&v| p.is_variable(v) && in_chunk(v));
        let writes_arena = s.outputs.iter().any(|&v| in_chunk(v));
        !(uses_arena || reads_value && writes_arena)
    });
    untouched && !p.steps[made].inputs.iter().any(|&v| in_chunk(v))
}
