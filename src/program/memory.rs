//! Gives every value a place. Whole buffers are shared by liveness, largest first (Pisarchyk & Lee 2020,
//! arXiv 2001.03288, "greedy by size"); not one arena, because WebGPU tracks usage per whole buffer and refuses a
//! dispatch that reads one part of a buffer while it writes another.

use super::{Origin, Place, Program, Unplaced, ValueId};
use crate::device::Chunk;
use crate::shape::ALIGN;
use std::sync::Arc;

/// A buffer's demand: bytes, and the first and last step that need it.
#[derive(Clone, Copy)]
struct Interval {
    bytes: u64,
    first: usize,
    last: usize,
}

/// Plans the places of all values and scratch buffers.
pub(crate) fn plan(p: &mut Program) {
    p.places = vec![Place::Nowhere; p.values.len()];
    place_gradients(p);
    let intervals = intervals(p);
    let mut order: Vec<usize> = (0..intervals.len()).collect();
    order.sort_by_key(|&i| (std::cmp::Reverse(intervals[i].0.bytes), i));
    let mut buffers: Vec<(u64, Vec<Interval>)> = Vec::new();
    for i in order {
        let (interval, owner) = intervals[i];
        let free =
            |taken: &[Interval]| taken.iter().all(|t| t.last < interval.first || interval.last < t.first);
        let buffer = buffers.iter().position(|(_, taken)| free(taken)).unwrap_or_else(|| {
            buffers.push((interval.bytes, Vec::new()));
            buffers.len() - 1
        });
        buffers[buffer].1.push(interval);
        p.unshared_bytes += interval.bytes;
        match owner {
            Owner::Value(v) => p.places[v] = Place::Slot(buffer),
            Owner::Scratch { step, index } => p.steps[step].scratch[index] = buffer,
        }
    }
    p.peak = peak(intervals.iter().map(|(i, _)| (i.bytes, i.first, i.last)), p.steps.len());
    p.buffers = buffers.into_iter().map(|(bytes, _)| bytes).collect();
    for id in 0..p.values.len() {
        let root = p.root(id);
        match &p.values[root].origin {
            Origin::Variable(v) => p.places[id] = Place::Chunk(v.chunk.clone(), v.offset),
            _ if root != id => p.places[id] = p.places[root].clone(),
            _ => {}
        }
    }
}

/// The most bytes that are needed at once, of demands with their first and last moment, and the first moment that needs
/// them.
pub(crate) fn peak(demands: impl Iterator<Item = (u64, usize, usize)>, moments: usize) -> (u64, usize) {
    let mut change = vec![0i64; moments + 2];
    for (bytes, first, last) in demands {
        change[first] += bytes as i64;
        change[last + 1] -= bytes as i64;
    }
    let (mut now, mut most) = (0, (0, 0));
    for (moment, change) in change[..moments].iter().enumerate() {
        now += change;
        if now > most.0 {
            most = (now, moment);
        }
    }
    (most.0 as u64, most.1)
}

#[derive(Clone, Copy)]
enum Owner {
    Value(ValueId),
    Scratch { step: usize, index: usize },
}

/// The demand of every value that needs a buffer of its own, and of all scratch.
fn intervals(p: &mut Program) -> Vec<(Interval, Owner)> {
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
            out.push((Interval { bytes: value.spec.padded_bytes(), first, last }, Owner::Value(id)));
        }
    }
    for (step, s) in p.steps.iter_mut().enumerate() {
        let scratch = s.kernels.as_ref().map_or(&[][..], |k| &k.scratch[..]);
        s.scratch = vec![usize::MAX; scratch.len()];
        for (index, &bytes) in scratch.iter().enumerate() {
            let bytes = bytes.next_multiple_of(ALIGN).max(ALIGN);
            out.push((Interval { bytes, first: step, last: step }, Owner::Scratch { step, index }));
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
