//! A program made ready: pipelines, buffers and bind groups made once, then replayed in one pass and one submit.

use super::Engine;
use super::buffers::Region;
use super::counted::{Buffer, Made};
use super::layout::Layout;
use super::pipeline::Pipeline;
use super::profile::Timer;
use crate::device::Storage;
use crate::error::Result;
use crate::memory::ProgramMemory;
use crate::op::Scalar;
use crate::profile::{Task, Tasks};
use crate::program::{Place, Program};
use std::sync::Arc;
use std::sync::atomic::Ordering;

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
    layout: Layout,
}

impl Recording {
    pub fn new(engine: &Engine, program: &Program) -> Result<Self> {
        let (layout, bindings) = Layout::new(&engine.pool, &engine.target, program)?;
        let mirrors = &layout.mirrors;
        let textures = |job: usize| {
            let reads = bindings.reads[job].iter();
            reads.map(|&(i, copy)| (i, mirrors[copy].format())).collect()
        };
        let all: Vec<_> = program.jobs().enumerate().map(|(job, j)| (j.dispatch, textures(job))).collect();
        let pipelines = engine.pipelines.get(&all)?;
        let mut dispatches = Vec::new();
        for (job, ((dispatch, _), pipeline)) in all.iter().zip(pipelines).enumerate() {
            if dispatch.groups.contains(&0) {
                continue;
            }
            let bound = &bindings.bound[job];
            let resource = |i: usize| match bindings.reads[job].iter().find(|r| r.0 == i) {
                Some(&(_, copy)) => wgpu::BindingResource::TextureView(mirrors[copy].view()),
                None => buffer(bound[i].buffer.buffer(), bound[i].offset, bound[i].bytes),
            };
            let bytes = dispatch.params.len() as u64;
            let parameters = buffer(layout.uniform.handle(), bindings.offsets[job], bytes);
            let resources = (0..bound.len()).map(resource);
            let resources = std::iter::once(parameters).chain(resources);
            let bind_group = bind_group(&engine.device, &engine.made, &pipeline, resources);
            let groups = dispatch.groups.map(|g| g as u32);
            let mirrors = bindings.mirrors[job].clone();
            dispatches.push(Encoded { job, pipeline, bind_group, groups, mirrors });
        }
        Ok(Recording { dispatches, layout })
    }

    /// What the program needs beside the arenas.
    pub fn memory(&self, program: &Program) -> ProgramMemory {
        self.layout.memory(program)
    }

    /// The buffers that its values share.
    #[cfg(not(target_arch = "wasm32"))]
    pub fn slots(&self) -> &[Arc<Region>] {
        &self.layout.slots
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
        for ((&value, storage), direct) in program.leaves.iter().zip(leaves).zip(&self.layout.direct) {
            let bytes = program.values[value].spec.bytes();
            if let (Place::Slot(slot), true) = (&program.places[value], bytes > 0 && !direct) {
                storage.gpu().copy_to(encoder, self.layout.slots[*slot].buffer(), 0, bytes);
            }
        }
        self.upload_parameters(engine, scalars);
        engine.made.dispatches.fetch_add(self.dispatches.len() as u64, Ordering::Relaxed);
        for part in self.dispatches.chunk_by(|_, next| next.mirrors.is_empty()) {
            self.layout.mirrors[part[0].mirrors.clone()].iter().for_each(|m| m.copy(encoder, leaves));
            let mut pass = encoder.begin_compute_pass(&wgpu::ComputePassDescriptor::default());
            part.iter().for_each(|d| d.encode(&mut pass));
        }
        self.layout.held(&engine.pool, program, leaves)
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
        let moved: u64 = self.layout.overwritten().map(|r| r.resident_bytes()).sum();
        if moved > 0 {
            timer.copy(engine, encoder, &Task::copy("held", moved), |e| self.encode_moves(engine, e))?;
        }
        let leaf_tasks = self.layout.direct.iter().zip(&tasks.leaves);
        for ((&value, storage), (direct, task)) in program.leaves.iter().zip(leaves).zip(leaf_tasks) {
            let bytes = program.values[value].spec.bytes();
            if let (Place::Slot(slot), true) = (&program.places[value], bytes > 0 && !direct) {
                let target = self.layout.slots[*slot].buffer();
                timer.copy(engine, encoder, task, |e| {
                    storage.gpu().copy_to(e, target, 0, bytes);
                    Ok(())
                })?;
            }
        }
        self.upload_parameters(engine, scalars);
        for dispatch in &self.dispatches {
            for mirror in &self.layout.mirrors[dispatch.mirrors.clone()] {
                timer.copy(engine, encoder, &Task::copy("texels", mirror.bytes()), |e| {
                    mirror.copy(e, leaves);
                    Ok(())
                })?;
            }
            timer.dispatch(engine, encoder, &tasks.work[dispatch.job], |pass| dispatch.encode(pass))?;
        }
        timer.finish(engine, encoder)?;
        self.layout.held(&engine.pool, program, leaves)
    }

    fn upload_parameters(&self, engine: &Engine, scalars: &[Scalar]) {
        let upload = |buffer: &Buffer, bytes: &[u8]| {
            engine.queue.write_buffer(buffer.handle(), 0, bytes);
        };
        self.layout.parameters(scalars, upload);
    }

    /// Moves held values out of the way.
    fn encode_moves(&self, engine: &Engine, encoder: &mut wgpu::CommandEncoder) -> Result<()> {
        for region in self.layout.overwritten() {
            region.evict(&engine.pool, |moved| moved.encode(encoder))?;
        }
        Ok(())
    }
}

fn buffer(buffer: &wgpu::Buffer, offset: u64, bytes: u64) -> wgpu::BindingResource<'_> {
    wgpu::BindingResource::Buffer(wgpu::BufferBinding {
        buffer,
        offset,
        size: std::num::NonZeroU64::new(bytes),
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
