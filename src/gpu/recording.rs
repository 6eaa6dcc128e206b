//! A program made ready: pipelines, buffers and bind groups made once, then replayed in one pass and one submit.

use super::buffers::{Cell, Region, UniformBuffer};
use super::pipeline::Pipeline;
use super::{Engine, Made};
use crate::device::Storage;
use crate::error::Result;
use crate::kernel::{Access, Bind, Dispatch};
use crate::op::Scalar;
use crate::program::{Origin, Place, Program, Step, ValueId};
use crate::shape::ALIGN;
use std::fmt;
use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex};

/// One dispatch, ready to be encoded.
struct Encoded {
    label: String,
    pipeline: Arc<Pipeline>,
    bind_group: wgpu::BindGroup,
    groups: [u32; 3],
}

/// A program on a GPU.
pub(crate) struct Recording {
    dispatches: Vec<Encoded>,
    slots: Vec<Arc<Region>>,
    /// Arena chunks that the program writes values into, or updates.
    written: Vec<Arc<Region>>,
    uniform: UniformBuffer,
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
        let mut jobs: Vec<(&Step, &Dispatch, Buffers<'_>)> = Vec::new();
        for step in &program.steps {
            for copy in &step.unplaced {
                let buffers =
                    |d| (step, d, Buffers::Copy { input: copy.value, offset: copy.offset, program, step });
                jobs.extend(copy.dispatches.iter().map(buffers));
            }
            for dispatch in step.kernels.iter().flat_map(|k| &k.dispatches) {
                jobs.push((step, dispatch, Buffers::Step { program, step }));
            }
        }
        let mut parameters = Parameters { bytes: Vec::new(), scalars: Vec::new(), uploaded: false };
        let offsets: Vec<u64> = jobs.iter().map(|(step, d, _)| parameters.push(step, d)).collect();
        let uniform = engine.pool.uniform(parameters.bytes.len() as u64)?;
        let all: Vec<&Dispatch> = jobs.iter().map(|(_, d, _)| *d).collect();
        let pipelines = engine.pipelines.get(&all)?;
        let mut dispatches = Vec::new();
        for (((step, dispatch, buffers), pipeline), offset) in jobs.iter().zip(pipelines).zip(offsets) {
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
                        buffers.find(&slots, bind).unwrap_or((nothing, i as u64 * ALIGN, ALIGN))
                    })
                    .collect();
            let params = (uniform.buffer(), offset, dispatch.params.len() as u64);
            let bind_group = bind_group(&engine.device, &engine.made, &pipeline, params, &bound);
            let variant = step.kernels.as_ref().map_or("copy", |k| k.variant);
            let label = format!("{}.{variant} {}", step.op.name(), dispatch.kernel.name);
            dispatches.push(Encoded {
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
        for region in self.slots.iter().chain(&self.written) {
            region.evict(&engine.pool, encoder)?;
        }
        for (&value, storage) in program.leaves.iter().zip(leaves) {
            let bytes = program.values[value].spec.bytes();
            if let (Place::Slot(slot), true) = (&program.places[value], bytes > 0) {
                storage.gpu().copy_to(encoder, self.slots[*slot].buffer(), 0, bytes);
            }
        }
        self.parameters.lock().unwrap().upload(engine, &self.uniform, scalars);
        {
            let mut pass = encoder.begin_compute_pass(&wgpu::ComputePassDescriptor::default());
            for d in &self.dispatches {
                pass.set_pipeline(&d.pipeline.pipeline);
                pass.set_bind_group(0, &d.bind_group, &[]);
                pass.dispatch_workgroups(d.groups[0], d.groups[1], d.groups[2]);
            }
        }
        program.held.iter().map(|&v| self.held(engine, program, v, leaves)).collect()
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
    fn upload(&mut self, engine: &Engine, buffer: &UniformBuffer, scalars: &[Scalar]) {
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

/// Whose buffers a dispatch's bindings name.
enum Buffers<'a> {
    Step {
        program: &'a Program,
        step: &'a Step,
    },
    /// A copy of `input` into the arena that is input 0, at `offset` in the arena's chunk.
    Copy {
        input: ValueId,
        offset: u64,
        program: &'a Program,
        step: &'a Step,
    },
}

impl Buffers<'_> {
    /// The buffer, offset and size that a binding gets; `None` for an operand without elements.
    fn find<'s>(&'s self, slots: &'s [Arc<Region>], bind: Bind) -> Option<(&'s wgpu::Buffer, u64, u64)> {
        let place = |program: &'s Program, value: ValueId| -> Option<(&'s wgpu::Buffer, u64, u64)> {
            let bytes = program.values[value].spec.padded_bytes();
            match &program.places[value] {
                _ if bytes == 0 => None,
                Place::Slot(slot) => Some((slots[*slot].buffer(), 0, bytes)),
                Place::Chunk(chunk, offset) => Some((chunk.gpu().buffer(), *offset, bytes)),
                Place::Nowhere => None,
            }
        };
        match (self, bind) {
            (Buffers::Step { program, step }, Bind::Input(i)) => place(program, step.inputs[i]),
            (Buffers::Step { program, step }, Bind::Output(i)) => place(program, step.outputs[i]),
            (Buffers::Step { program, step }, Bind::Scratch(i)) => {
                let slot = step.scratch[i];
                Some((slots[slot].buffer(), 0, program.buffers[slot]))
            }
            (Buffers::Copy { input, program, .. }, Bind::Input(_)) => place(program, *input),
            (Buffers::Copy { input, offset, program, step }, _) => {
                let (buffer, _, _) = place(program, step.inputs[0])?;
                Some((buffer, *offset, program.values[*input].spec.padded_bytes()))
            }
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
