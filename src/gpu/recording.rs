//! A program made ready: pipelines, buffers and bind groups made once, then replayed in one pass and one submit.

use super::buffers::{Cell, OwnBuffer, Region};
use super::pipeline::Pipeline;
use super::profile::Timer;
use super::shader;
use super::texels::{self, Accesses, Mirror, Range, Texel};
use super::{Engine, Made};
use crate::device::Storage;
use crate::error::Result;
use crate::kernel::{Access, Author, Bind, Dispatch};
use crate::op::Scalar;
use crate::profile::{Task, Tasks};
use crate::program::{Job, Origin, Place, Program, Step, ValueId};
use crate::shape::ALIGN;
use std::fmt;
use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex};

/// One dispatch, ready to be encoded.
struct Encoded {
    /// Its index among the program's jobs.
    job: usize,
    pipeline: Arc<Pipeline>,
    bind_group: wgpu::BindGroup,
    groups: [u32; 3],
    /// Textures that are filled before it.
    mirrors: std::ops::Range<usize>,
}

impl Encoded {
    fn encode(&self, pass: &mut wgpu::ComputePass<'_>) {
        pass.set_pipeline(&self.pipeline.pipeline);
        pass.set_bind_group(0, &self.bind_group, &[]);
        pass.dispatch_workgroups(self.groups[0], self.groups[1], self.groups[2]);
    }
}

/// A program on a GPU.
pub(crate) struct Recording {
    dispatches: Vec<Encoded>,
    /// Copies of what dispatches read through textures, in order.
    mirrors: Vec<Mirror>,
    /// Leaves that need no copy in their slots.
    direct: Vec<bool>,
    slots: Vec<Arc<Region>>,
    /// Arena chunks that the program writes values into, or updates.
    written: Vec<Arc<Region>>,
    uniform: OwnBuffer,
    parameters: Mutex<Parameters>,
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

impl Recording {
    pub fn new(engine: &Engine, program: &Program) -> Result<Self> {
        let slots = engine.pool.slots(&program.buffers)?;
        let jobs: Vec<Job<'_>> = program.jobs().collect();
        let mut parameters = Parameters { bytes: Vec::new(), scalars: Vec::new(), uploaded: false };
        let offsets: Vec<u64> = jobs.iter().map(|j| parameters.push(j.step, j.dispatch)).collect();
        let uniform = engine.pool.uniform(parameters.bytes.len() as u64)?;
        let nothing = [engine.pool.nothing(Access::Read)?, engine.pool.nothing(Access::ReadWrite)?];
        let bound = |job: &Job<'_>| -> Vec<Range<wgpu::Buffer>> {
            let all = job.dispatch.binds.iter().zip(&*job.dispatch.kernel.bindings).enumerate();
            let one = |(i, (&bind, &(_, access))): (usize, (&Bind, &(_, Access)))| {
                // Empty operands are bound to something that exists; no kernel touches them.
                let nothing = nothing[(access == Access::ReadWrite) as usize].buffer();
                let found = find(program, job, &slots, bind);
                let (buffer, offset, bytes) = found.unwrap_or((nothing, i as u64 * ALIGN, ALIGN));
                Range { buffer: buffer.clone(), offset, bytes }
            };
            all.map(one).collect()
        };
        let bound: Vec<_> = jobs.iter().map(bound).collect();
        let accesses: Vec<_> = jobs.iter().zip(&bound).map(|(j, b)| accesses(engine, j, b)).collect();
        let (copies, reads) = texels::plan(&accesses);
        let firsts: Vec<usize> = copies.iter().map(|c| c.first).collect();
        let leaf_slots: Vec<_> = program.leaves.iter().map(|&v| leaf_slot(program, &slots, v)).collect();
        let (direct, of_copy) = texels::direct_leaves(&leaf_slots, &accesses, &bound, &copies);
        let mirrors = Mirror::all(&engine.pool, copies, of_copy)?;
        let textures =
            |r: &[(usize, usize)]| r.iter().map(|&(i, copy)| (i, mirrors[copy].format())).collect();
        let all: Vec<_> = jobs.iter().zip(&reads).map(|(j, r)| (j.dispatch, textures(r))).collect();
        let pipelines = engine.pipelines.get(&all)?;
        let mut dispatches = Vec::new();
        for (job, ((this, pipeline), offset)) in jobs.iter().zip(pipelines).zip(offsets).enumerate() {
            let dispatch = this.dispatch;
            if dispatch.groups.contains(&0) {
                continue;
            }
            let params =
                Range { buffer: uniform.buffer().clone(), offset, bytes: dispatch.params.len() as u64 };
            let resource = |i: usize| match reads[job].iter().find(|r| r.0 == i) {
                Some(&(_, copy)) => wgpu::BindingResource::TextureView(mirrors[copy].view()),
                None => resource(&bound[job][i]),
            };
            let resources = (0..bound[job].len()).map(resource);
            let resources = std::iter::once(self::resource(&params)).chain(resources);
            let bind_group = bind_group(&engine.device, &engine.made, &pipeline, resources);
            dispatches.push(Encoded {
                job,
                pipeline,
                bind_group,
                groups: dispatch.groups.map(|g| g as u32),
                mirrors: firsts.partition_point(|&f| f < job)..firsts.partition_point(|&f| f <= job),
            });
        }
        let written = written_chunks(program);
        Ok(Recording {
            dispatches,
            mirrors,
            direct,
            slots,
            written,
            uniform,
            parameters: Mutex::new(parameters),
        })
    }

    /// The buffers that its values share.
    #[cfg(not(target_arch = "wasm32"))]
    pub fn slots(&self) -> &[Arc<Region>] {
        &self.slots
    }

    /// Encodes a replay: moves held values out of the way, copies inputs in, runs everything in one pass.
    pub fn encode(
        &self,
        engine: &Engine,
        program: &Program,
        encoder: &mut wgpu::CommandEncoder,
        leaves: &[Storage],
        scalars: &[Scalar],
    ) -> Result<Vec<Storage>> {
        self.encode_moves(engine, encoder)?;
        for ((&value, storage), direct) in program.leaves.iter().zip(leaves).zip(&self.direct) {
            let bytes = program.values[value].spec.bytes();
            if let (Place::Slot(slot), true) = (&program.places[value], bytes > 0 && !direct) {
                storage.gpu().copy_to(encoder, self.slots[*slot].buffer(), 0, bytes);
            }
        }
        self.parameters.lock().unwrap().upload(engine, &self.uniform, scalars);
        engine.made.dispatches.fetch_add(self.dispatches.len() as u64, Ordering::Relaxed);
        for part in self.dispatches.chunk_by(|_, next| next.mirrors.is_empty()) {
            self.mirrors[part[0].mirrors.clone()].iter().for_each(|m| m.copy(encoder, leaves));
            let mut pass = encoder.begin_compute_pass(&wgpu::ComputePassDescriptor::default());
            part.iter().for_each(|d| d.encode(&mut pass));
        }
        program.held.iter().map(|&v| self.held(engine, program, v, leaves)).collect()
    }

    /// [`encode`](Recording::encode), timing every copy and dispatch.
    pub fn encode_timed(
        &self,
        engine: &Engine,
        program: &Program,
        encoder: &mut wgpu::CommandEncoder,
        leaves: &[Storage],
        scalars: &[Scalar],
        (timer, tasks): (&mut Timer, &Tasks),
    ) -> Result<Vec<Storage>> {
        timer.begin_run();
        let moved: u64 = self.overwritten().map(|r| r.resident_bytes()).sum();
        if moved > 0 {
            timer.copy(engine, encoder, &Task::copy("held", moved), |e| self.encode_moves(engine, e))?;
        }
        let leaf_tasks = self.direct.iter().zip(&tasks.leaves);
        for ((&value, storage), (direct, task)) in program.leaves.iter().zip(leaves).zip(leaf_tasks) {
            let bytes = program.values[value].spec.bytes();
            if let (Place::Slot(slot), true) = (&program.places[value], bytes > 0 && !direct) {
                let target = self.slots[*slot].buffer();
                timer.copy(engine, encoder, task, |e| {
                    storage.gpu().copy_to(e, target, 0, bytes);
                    Ok(())
                })?;
            }
        }
        self.parameters.lock().unwrap().upload(engine, &self.uniform, scalars);
        for dispatch in &self.dispatches {
            for mirror in &self.mirrors[dispatch.mirrors.clone()] {
                timer.copy(engine, encoder, &Task::copy("texels", mirror.bytes()), |e| {
                    mirror.copy(e, leaves);
                    Ok(())
                })?;
            }
            timer.dispatch(engine, encoder, &tasks.work[dispatch.job], |pass| dispatch.encode(pass))?;
        }
        timer.finish(engine, encoder)?;
        program.held.iter().map(|&v| self.held(engine, program, v, leaves)).collect()
    }

    /// What a replay writes, where values may still be held.
    fn overwritten(&self) -> impl Iterator<Item = &Arc<Region>> {
        self.slots.iter().chain(&self.written)
    }

    /// Moves held values out of the way.
    fn encode_moves(&self, engine: &Engine, encoder: &mut wgpu::CommandEncoder) -> Result<()> {
        for region in self.overwritten() {
            region.evict(&engine.pool, encoder)?;
        }
        Ok(())
    }

    /// Where a held value lies after the run.
    fn held(
        &self,
        engine: &Engine,
        program: &Program,
        value: ValueId,
        leaves: &[Storage],
    ) -> Result<Storage> {
        let bytes = program.values[value].spec.bytes();
        let cell = match (&program.values[program.root(value)].origin, &program.places[value]) {
            (Origin::Leaf(leaf), _) => return Ok(leaves[*leaf].clone()),
            (_, Place::Slot(slot)) => self.slots[*slot].settle(0, bytes),
            (_, Place::Chunk(chunk, offset)) => chunk.gpu().settle(*offset, bytes),
            (_, Place::Nowhere) => Cell::pooled(engine.pool.take(bytes)?),
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

    /// Fills in the run's scalars, and uploads if anything changed.
    fn upload(&mut self, engine: &Engine, buffer: &OwnBuffer, scalars: &[Scalar]) {
        let mut changed = !self.uploaded;
        for &(at, index) in &self.scalars {
            let bytes = scalars[index].bytes();
            if self.bytes[at..at + 4] != bytes {
                self.bytes[at..at + 4].copy_from_slice(&bytes);
                changed = true;
            }
        }
        if changed && !self.bytes.is_empty() {
            engine.queue.write_buffer(buffer.buffer(), 0, &self.bytes);
            self.uploaded = true;
        }
    }
}

/// The buffer, offset and size that a binding gets; `None` for an operand without elements.
fn find<'s>(
    program: &'s Program,
    job: &Job<'s>,
    slots: &'s [Arc<Region>],
    bind: Bind,
) -> Option<(&'s wgpu::Buffer, u64, u64)> {
    let place = |value: ValueId| -> Option<(&'s wgpu::Buffer, u64, u64)> {
        let bytes = program.values[value].spec.padded_bytes();
        match &program.places[value] {
            _ if bytes == 0 => None,
            Place::Slot(slot) => Some((slots[*slot].buffer(), 0, bytes)),
            Place::Chunk(chunk, offset) => Some((chunk.gpu().buffer(), *offset, bytes)),
            Place::Nowhere => None,
        }
    };
    match (job.copy, bind) {
        (None, Bind::Input(i)) => place(job.step.inputs[i]),
        (None, Bind::Output(i)) => place(job.step.outputs[i]),
        (None, Bind::Scratch(i)) => {
            let slot = job.step.scratch[i];
            let bytes = job.step.kernels.as_ref().map_or(program.buffers[slot], |k| k.scratch[i]);
            Some((slots[slot].buffer(), 0, bytes))
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
fn leaf_slot(program: &Program, slots: &[Arc<Region>], value: ValueId) -> Option<(wgpu::Buffer, u64)> {
    match &program.places[value] {
        Place::Slot(slot) => Some((slots[*slot].buffer().clone(), program.values[value].spec.bytes())),
        _ => None,
    }
}

/// What a dispatch reads through textures, and what it writes.
fn accesses(engine: &Engine, job: &Job<'_>, bound: &[Range<wgpu::Buffer>]) -> Accesses<wgpu::Buffer> {
    let kernel = &job.dispatch.kernel;
    let writes = (kernel.bindings.iter().zip(bound))
        .filter(|((_, access), _)| *access == Access::ReadWrite)
        .map(|(_, range)| range.buffer.clone());
    let writes: Vec<_> = writes.collect();
    let mut reads = Vec::new();
    let own = kernel.author == Author::Recurve;
    if own && engine.target.texel_loads && !job.dispatch.groups.contains(&0) {
        let text = shader::included(&kernel.source);
        for (i, (&(name, access), range)) in kernel.bindings.iter().zip(bound).enumerate() {
            let texel = (access == Access::Read).then(|| texels::texel(&text, name)).flatten();
            let pays = |t: &Texel| {
                (*t != Texel::Pair || engine.pair_texels)
                    && t.holds(range.bytes)
                    && texels::pays(job.dispatch, *t, range.bytes)
            };
            if let Some(texel) = texel.filter(pays) {
                reads.push((i, range.clone(), texel));
            }
        }
    }
    Accesses { reads, writes }
}

fn resource(range: &Range<wgpu::Buffer>) -> wgpu::BindingResource<'_> {
    wgpu::BindingResource::Buffer(wgpu::BufferBinding {
        buffer: &range.buffer,
        offset: range.offset,
        size: std::num::NonZeroU64::new(range.bytes),
    })
}

fn bind_group<'a>(
    device: &wgpu::Device,
    made: &Made,
    pipeline: &Pipeline,
    resources: impl Iterator<Item = wgpu::BindingResource<'a>>,
) -> wgpu::BindGroup {
    let entries: Vec<_> = resources
        .enumerate()
        .map(|(binding, resource)| wgpu::BindGroupEntry { binding: binding as u32, resource })
        .collect();
    made.bind_groups.fetch_add(1, Ordering::Relaxed);
    device.create_bind_group(&wgpu::BindGroupDescriptor {
        label: None,
        layout: &pipeline.layout,
        entries: &entries,
    })
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

/// The memory that it takes on the device.
impl fmt::Display for Recording {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let bytes: u64 = self.slots.iter().map(|s| s.bytes()).sum();
        let uniform = self.uniform.buffer().size();
        writeln!(f, "on the device: {bytes} bytes of slots that all programs share, {uniform} of parameters")
    }
}
