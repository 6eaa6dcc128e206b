//! Where everything of a program lies on a device, and what its reads are served from: all of a recording that no handle
//! of the device is needed for, so that a planner has it too.

use super::buffers::{Cell, Pool, Region};
use super::counted::Buffer;
use super::shader;
use super::texels::{self, Accesses, Mirror, Planned, Range, Reads, Texel};
use crate::device::Storage;
use crate::error::Result;
use crate::kernel::{Access, Author, Bind, Dispatch, Target};
use crate::memory::ProgramMemory;
use crate::op::Scalar;
use crate::program::{Job, Origin, Place, Program, Step, ValueId};
use crate::shape::ALIGN;
use std::sync::{Arc, Mutex};

/// The memory of a program on a device.
pub(crate) struct Layout {
    pub slots: Vec<Arc<Region>>,
    /// Arena chunks that the program writes values into, or updates.
    written: Vec<Arc<Region>>,
    /// Leaves that need no copy in their slots.
    pub direct: Vec<bool>,
    /// Copies of what dispatches read through textures, in order.
    pub(super) mirrors: Vec<Mirror>,
    /// The most bytes of textures that are needed at once.
    textures_at_once: u64,
    pub uniform: Buffer,
    parameters: Mutex<Parameters>,
}

/// What each of a program's dispatches is bound to, by job.
pub(super) struct Bindings {
    /// Where its parameters begin.
    pub offsets: Vec<u64>,
    pub bound: Vec<Vec<Range<Arc<Region>>>>,
    pub reads: Vec<Reads>,
    /// Textures that are filled before it.
    pub mirrors: Vec<std::ops::Range<usize>>,
}

/// The uniform parameters of all dispatches, as they are on the GPU.
struct Parameters {
    bytes: Vec<u8>,
    /// `(byte offset, index of the run's scalar)`
    scalars: Vec<(usize, usize)>,
    uploaded: bool,
}

/// Uniform bindings start at multiples of this many bytes.
const UNIFORM_ALIGN: usize = 256;

impl Layout {
    /// Takes what the program needs from `pool`.
    pub(super) fn new(pool: &Pool, target: &Target, program: &Program) -> Result<(Self, Bindings)> {
        let slots = pool.slots(&program.buffers)?;
        let jobs: Vec<Job<'_>> = program.jobs().collect();
        let mut parameters = Parameters { bytes: Vec::new(), scalars: Vec::new(), uploaded: false };
        let offsets: Vec<u64> = jobs.iter().map(|j| parameters.push(j.step, j.dispatch)).collect();
        let uniform = pool.uniform(parameters.bytes.len() as u64)?;
        let nothing = [pool.nothing(Access::Read)?, pool.nothing(Access::ReadWrite)?];
        let bound = |job: &Job<'_>| -> Vec<Range<Arc<Region>>> {
            let all = job.dispatch.binds.iter().zip(&*job.dispatch.kernel.bindings).enumerate();
            let one = |(i, (&bind, &(_, access))): (usize, (&Bind, &(_, Access)))| {
                // Empty operands are bound to something that exists; no kernel touches them.
                let nothing = &nothing[(access == Access::ReadWrite) as usize];
                let found = find(program, job, &slots, bind);
                let (buffer, offset, bytes) = found.unwrap_or((nothing, i as u64 * ALIGN, ALIGN));
                Range { buffer: buffer.clone(), offset, bytes }
            };
            all.map(one).collect()
        };
        let bound: Vec<_> = jobs.iter().map(bound).collect();
        let accesses: Vec<_> =
            jobs.iter().zip(&bound).map(|(j, b)| accesses(program, target, j, b)).collect();
        let (copies, reads) = texels::plan(&accesses);
        let leaf_slots: Vec<_> = program.leaves.iter().map(|&v| leaf_slot(program, &slots, v)).collect();
        let (direct, of_copy) = texels::direct_leaves(&leaf_slots, &accesses, &bound, &copies);
        let firsts: Vec<usize> = copies.iter().map(|c| c.first).collect();
        let before = |job| firsts.partition_point(|&f| f < job)..firsts.partition_point(|&f| f <= job);
        let mirrors = (0..jobs.len()).map(before).collect();
        let textures_at_once = Planned::at_once(&copies);
        let layout = Layout {
            mirrors: Mirror::all(pool, copies, of_copy)?,
            written: written_chunks(program),
            parameters: Mutex::new(parameters),
            slots,
            direct,
            textures_at_once,
            uniform,
        };
        Ok((layout, Bindings { offsets, bound, reads, mirrors }))
    }

    /// What the program needs beside the arenas.
    pub fn memory(&self, program: &Program) -> ProgramMemory {
        ProgramMemory {
            textures: texels::bytes(&self.mirrors),
            textures_at_once: self.textures_at_once,
            ..program.memory()
        }
    }

    /// What a replay writes, where values may still be held.
    pub fn overwritten(&self) -> impl Iterator<Item = &Arc<Region>> {
        self.slots.iter().chain(&self.written)
    }

    /// Fills in the run's scalars, and has `upload` bring the parameters to the device if anything changed.
    pub fn parameters(&self, scalars: &[Scalar], upload: impl FnOnce(&Buffer, &[u8])) {
        let mut parameters = self.parameters.lock().unwrap();
        if parameters.fill(scalars) {
            upload(&self.uniform, &parameters.bytes);
        }
    }

    /// Where the held values lie after the run.
    pub fn held(&self, pool: &Arc<Pool>, program: &Program, leaves: &[Storage]) -> Result<Vec<Storage>> {
        program.held.iter().map(|&v| self.held_at(pool, program, v, leaves)).collect()
    }

    fn held_at(
        &self,
        pool: &Arc<Pool>,
        program: &Program,
        value: ValueId,
        leaves: &[Storage],
    ) -> Result<Storage> {
        let bytes = program.values[value].spec.bytes();
        let cell = match (&program.values[program.root(value)].origin, &program.places[value]) {
            (Origin::Leaf(leaf), _) => return Ok(leaves[*leaf].clone()),
            (_, Place::Slot(slot)) => self.slots[*slot].settle(0, bytes),
            (_, Place::Chunk(chunk, offset)) => chunk.gpu().settle(*offset, bytes),
            (_, Place::Nowhere) => Cell::pooled(pool.take(bytes)?),
        };
        Ok(Storage::Gpu(cell))
    }
}

impl Parameters {
    /// Appends a dispatch's parameters and returns their offset.
    fn push(&mut self, step: &Step, dispatch: &Dispatch) -> u64 {
        let offset = self.bytes.len();
        self.bytes.extend_from_slice(&dispatch.params);
        self.bytes.resize(self.bytes.len().next_multiple_of(UNIFORM_ALIGN).max(offset + UNIFORM_ALIGN), 0);
        self.scalars.extend(dispatch.scalars.iter().map(|&(at, index)| (offset + at, step.scalars[index])));
        offset as u64
    }

    /// Fills in the run's scalars. Says whether the device lacks anything of what there is now.
    fn fill(&mut self, scalars: &[Scalar]) -> bool {
        let mut changed = !self.uploaded;
        for &(at, index) in &self.scalars {
            let bytes = scalars[index].bytes();
            if self.bytes[at..at + 4] != bytes {
                self.bytes[at..at + 4].copy_from_slice(&bytes);
                changed = true;
            }
        }
        self.uploaded = true;
        changed && !self.bytes.is_empty()
    }
}

/// The buffer, offset and size that a binding gets; `None` for an operand without elements.
fn find<'s>(
    program: &'s Program,
    job: &Job<'s>,
    slots: &'s [Arc<Region>],
    bind: Bind,
) -> Option<(&'s Arc<Region>, u64, u64)> {
    let place = |value: ValueId| -> Option<(&'s Arc<Region>, u64, u64)> {
        let bytes = program.values[value].spec.padded_bytes();
        match &program.places[value] {
            _ if bytes == 0 => None,
            Place::Slot(slot) => Some((&slots[*slot], 0, bytes)),
            Place::Chunk(chunk, offset) => Some((chunk.gpu(), *offset, bytes)),
            Place::Nowhere => None,
        }
    };
    match (job.copy, bind) {
        (None, Bind::Input(i)) => place(job.step.inputs[i]),
        (None, Bind::Output(i)) => place(job.step.outputs[i]),
        (None, Bind::Scratch(i)) => {
            let slot = job.step.scratch[i];
            let bytes = job.step.kernels.as_ref().map_or(program.buffers[slot], |k| k.scratch[i]);
            Some((&slots[slot], 0, bytes))
        }
        (Some(copy), Bind::Input(_)) => place(copy.value),
        // Into the arena that is input 0.
        (Some(copy), _) => {
            let (buffer, _, _) = place(job.step.inputs[0])?;
            Some((buffer, copy.offset, program.values[copy.value].spec.padded_bytes()))
        }
    }
}

/// The buffer and bytes of a leaf that is copied into a slot.
fn leaf_slot(program: &Program, slots: &[Arc<Region>], value: ValueId) -> Option<(Arc<Region>, u64)> {
    match &program.places[value] {
        Place::Slot(slot) => Some((slots[*slot].clone(), program.values[value].spec.bytes())),
        _ => None,
    }
}

/// What a dispatch reads through textures, and what it writes.
fn accesses(
    program: &Program,
    target: &Target,
    job: &Job<'_>,
    bound: &[Range<Arc<Region>>],
) -> Accesses<Arc<Region>> {
    let kernel = &job.dispatch.kernel;
    let writes = (kernel.bindings.iter().zip(bound))
        .filter(|((_, access), _)| *access == Access::ReadWrite)
        .map(|(_, range)| range.buffer.clone());
    let writes: Vec<_> = writes.collect();
    let mut reads: Vec<(usize, Range<Arc<Region>>, Texel)> = Vec::new();
    let own = kernel.author == Author::Recurve;
    if own && target.texel_loads && !job.dispatch.groups.contains(&0) {
        let text = shader::included(&kernel.source);
        for (i, (&(name, access), range)) in kernel.bindings.iter().zip(bound).enumerate() {
            let texel = (access == Access::Read).then(|| texels::texel(&text, name)).flatten();
            let arena = in_arena(program, job, job.dispatch.binds[i]);
            let pays = |t: &Texel| {
                (*t != Texel::Pair || target.pair_texels)
                    && t.holds(range.bytes)
                    && texels::pays(job.dispatch, *t, range.bytes, arena)
            };
            // One copy is enough: what is bound once more in another form is mostly there to fill a binding that is not
            // read.
            let again = |t: &Texel| reads.iter().any(|r| r.1 == *range && r.2.format() != t.format());
            if let Some(texel) = texel.filter(pays).filter(|t| !again(t)) {
                reads.push((i, range.clone(), texel));
            }
        }
    }
    Accesses { reads, writes }
}

/// Whether a binding is a variable, or lies among those.
fn in_arena(program: &Program, job: &Job<'_>, bind: Bind) -> bool {
    let value = match (job.copy, bind) {
        (Some(copy), Bind::Input(_)) => Some(copy.value),
        (None, Bind::Input(i)) => Some(job.step.inputs[i]),
        _ => None,
    };
    value.is_some_and(|v| matches!(program.places[v], Place::Chunk(..)))
}

/// The chunks whose held values must be moved out before the program runs.
fn written_chunks(program: &Program) -> Vec<Arc<Region>> {
    let mut written: Vec<Arc<Region>> = Vec::new();
    for step in &program.steps {
        let updated = step.op.updates().iter().map(|&i| step.inputs[i]);
        for value in step.outputs.iter().copied().chain(updated) {
            if let Place::Chunk(chunk, _) = &program.places[value]
                && !written.iter().any(|w| Arc::ptr_eq(w, chunk.gpu()))
            {
                written.push(chunk.gpu().clone());
            }
        }
    }
    written
}
