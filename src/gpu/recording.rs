//! A program made ready: pipelines, buffers and bind groups made once, then replayed in one pass and one submit.

use super::buffers::{Cell, OwnBuffer, Region};
use super::pipeline::Pipeline;
use super::profile::Timer;
use super::{Engine, Made};
use crate::device::Storage;
use crate::error::Result;
use crate::kernel::{Access, Bind, Dispatch};
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
    label: String,
    pipeline: Arc<Pipeline>,
    bind_group: wgpu::BindGroup,
    groups: [u32; 3],
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
        let all: Vec<&Dispatch> = jobs.iter().map(|j| j.dispatch).collect();
        let pipelines = engine.pipelines.get(&all)?;
        let mut dispatches = Vec::new();
        for (job, ((this, pipeline), offset)) in jobs.iter().zip(pipelines).zip(offsets).enumerate() {
            let (step, dispatch) = (this.step, this.dispatch);
            if dispatch.groups.contains(&0) {
                continue;
            }
            let nothing = [engine.pool.nothing(Access::Read)?, engine.pool.nothing(Access::ReadWrite)?];
            let bound: Vec<(&wgpu::Buffer, u64, u64)> =
                (dispatch.binds.iter().zip(&*dispatch.kernel.bindings))
                    .enumerate()
                    .map(|(i, (&bind, &(_, access)))| {
                        // Empty operands are bound to something that exists; no kernel touches them.
                        let nothing = nothing[(access == Access::ReadWrite) as usize].buffer();
                        find(program, this, &slots, bind).unwrap_or((nothing, i as u64 * ALIGN, ALIGN))
                    })
                    .collect();
            let params = (uniform.buffer(), offset, dispatch.params.len() as u64);
            let bind_group = bind_group(&engine.device, &engine.made, &pipeline, params, &bound);
            let variant = step.kernels.as_ref().map_or("copy", |k| k.variant);
            let label = format!("{}.{variant} {}", step.op.name(), dispatch.kernel.name);
            dispatches.push(Encoded {
                job,
                label,
                pipeline,
                bind_group,
                groups: dispatch.groups.map(|g| g as u32),
            });
        }
        let written = written_chunks(program);
        Ok(Recording { dispatches, slots, written, uniform, parameters: Mutex::new(parameters) })
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
        for (&value, storage) in program.leaves.iter().zip(leaves) {
            let bytes = program.values[value].spec.bytes();
            if let (Place::Slot(slot), true) = (&program.places[value], bytes > 0) {
                storage.gpu().copy_to(encoder, self.slots[*slot].buffer(), 0, bytes);
            }
        }
        self.parameters.lock().unwrap().upload(engine, &self.uniform, scalars);
        {
            let mut pass = encoder.begin_compute_pass(&wgpu::ComputePassDescriptor::default());
            self.dispatches.iter().for_each(|d| d.encode(&mut pass));
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
        for ((&value, storage), task) in program.leaves.iter().zip(leaves).zip(&tasks.leaves) {
            let bytes = program.values[value].spec.bytes();
            if let (Place::Slot(slot), true) = (&program.places[value], bytes > 0) {
                let target = self.slots[*slot].buffer();
                timer.copy(engine, encoder, task, |e| {
                    storage.gpu().copy_to(e, target, 0, bytes);
                    Ok(())
                })?;
            }
        }
        self.parameters.lock().unwrap().upload(engine, &self.uniform, scalars);
        for dispatch in &self.dispatches {
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
            Some((slots[slot].buffer(), 0, program.buffers[slot]))
        }
        (Some(copy), Bind::Input(_)) => place(copy.value),
        // Into the arena that is input 0.
        (Some(copy), _) => {
            let (buffer, _, _) = place(job.step.inputs[0])?;
            Some((buffer, copy.offset, program.values[copy.value].spec.padded_bytes()))
        }
    }
}

fn bind_group(
    device: &wgpu::Device,
    made: &Made,
    pipeline: &Pipeline,
    params: (&wgpu::Buffer, u64, u64),
    buffers: &[(&wgpu::Buffer, u64, u64)],
) -> wgpu::BindGroup {
    let all = std::iter::once(params).chain(buffers.iter().copied());
    let entries: Vec<_> = all
        .enumerate()
        .map(|(binding, (buffer, offset, size))| wgpu::BindGroupEntry {
            binding: binding as u32,
            resource: wgpu::BindingResource::Buffer(wgpu::BufferBinding {
                buffer,
                offset,
                size: std::num::NonZeroU64::new(size),
            }),
        })
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

impl fmt::Display for Recording {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (i, d) in self.dispatches.iter().enumerate() {
            writeln!(f, "{i:3} {} {:?}", d.label, d.groups)?;
        }
        let bytes: u64 = self.slots.iter().map(|s| s.bytes()).sum();
        writeln!(f, "{} dispatches, {} slots of {bytes} bytes", self.dispatches.len(), self.slots.len())
    }
}
