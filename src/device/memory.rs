//! Where values are: the elements of tensors, and the flat arenas of what outlives a program.

use super::{Device, Engine};
use crate::cpu::HostChunk;
use crate::error::Result;
use crate::gpu;
use crate::trace;
use crate::variable::Variable;
use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, Weak};

/// Where the elements of a tensor are.
#[derive(Clone)]
pub(crate) enum Storage {
    Host(Arc<Vec<f64>>),
    Gpu(Arc<gpu::Cell>),
}

impl Storage {
    /// The elements on the CPU engine.
    pub fn host(&self) -> &[f64] {
        match self {
            Storage::Host(data) => data,
            Storage::Gpu(_) => unreachable!("a tensor of the CPU engine lies on the host"),
        }
    }

    pub fn gpu(&self) -> &Arc<gpu::Cell> {
        match self {
            Storage::Gpu(cell) => cell,
            Storage::Host(_) => unreachable!("a tensor of a GPU engine lies on the GPU"),
        }
    }
}

/// A piece of a flat arena: parameters, gradients, optimiser state or running statistics lie here side by side.
pub struct Chunk {
    id: u64,
    label: String,
    bytes: u64,
    memory: Memory,
    variables: Mutex<Vec<Weak<Variable>>>,
    changes: AtomicU64,
}

enum Memory {
    Host(HostChunk),
    Gpu(Arc<gpu::Region>),
}

impl Chunk {
    pub(crate) fn id(&self) -> u64 {
        self.id
    }

    pub(crate) fn label(&self) -> &str {
        &self.label
    }

    pub(crate) fn bytes(&self) -> u64 {
        self.bytes
    }

    pub(crate) fn host(&self) -> &HostChunk {
        match &self.memory {
            Memory::Host(data) => data,
            Memory::Gpu(_) => unreachable!("a chunk of the CPU engine lies on the host"),
        }
    }

    pub(crate) fn gpu(&self) -> &Arc<gpu::Region> {
        match &self.memory {
            Memory::Gpu(region) => region,
            Memory::Host(_) => unreachable!("a chunk of a GPU engine lies on the GPU"),
        }
    }

    pub(crate) fn register(&self, variable: &Arc<Variable>) {
        let mut variables = self.variables.lock().unwrap();
        variables.retain(|v| v.strong_count() > 0);
        variables.push(Arc::downgrade(variable));
    }

    /// How often something in it has changed.
    pub(crate) fn changes(&self) -> u64 {
        self.changes.load(Ordering::Acquire)
    }

    pub(crate) fn note_change(&self) {
        self.changes.fetch_add(1, Ordering::AcqRel);
    }

    pub(crate) fn each_variable(&self, f: impl Fn(&Variable)) {
        self.variables.lock().unwrap().iter().filter_map(Weak::upgrade).for_each(|v| f(&v));
    }
}

impl fmt::Debug for Chunk {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Chunk({} {}, {} bytes)", self.label, self.id, self.bytes)
    }
}

impl Device {
    /// Where a variable's value lies now.
    pub(crate) fn chunk_storage(&self, variable: &Variable) -> Storage {
        let (chunk, offset, spec) = (variable.chunk(), variable.offset(), variable.spec());
        match &chunk.memory {
            Memory::Host(data) => {
                let data = data.lock().unwrap();
                Storage::Host(Arc::new(data[offset as usize / 4..][..spec.elements()].to_vec()))
            }
            Memory::Gpu(region) => Storage::Gpu(gpu::Cell::in_region(region, offset)),
        }
    }

    /// A new arena chunk, filled with zeros.
    pub(crate) fn new_chunk(&self, bytes: u64, label: &str) -> Result<Arc<Chunk>> {
        let memory = match &self.0.engine {
            Engine::Cpu(_) => Memory::Host(Mutex::new(vec![0.0; bytes as usize / 4])),
            Engine::Gpu(gpu) => Memory::Gpu(gpu.new_region(bytes, label)?),
            Engine::Plan(planner) => Memory::Gpu(planner.new_region(bytes, label)?),
        };
        let chunk = Chunk {
            id: trace::next_id(),
            label: label.into(),
            bytes,
            memory,
            variables: Mutex::default(),
            changes: AtomicU64::new(0),
        };
        Ok(Arc::new(chunk))
    }

    /// The most bytes that one arena chunk may have.
    pub(crate) fn max_chunk(&self) -> u64 {
        self.target().map_or(u64::MAX, |t| t.max_binding.min(t.max_buffer))
    }

    /// Writes values, and notes that they have changed.
    pub(crate) fn write_chunk(&self, chunk: &Chunk, offset: u64, values: &[f32]) -> Result<()> {
        self.check()?;
        let _alone = self.updates();
        let written = match (&self.0.engine, &chunk.memory) {
            (Engine::Gpu(gpu), Memory::Gpu(region)) => gpu.write_region(region, offset, values),
            (Engine::Plan(planner), Memory::Gpu(region)) => planner.write_region(region),
            (_, Memory::Host(data)) => {
                let mut data = data.lock().unwrap();
                let target = &mut data[offset as usize / 4..][..values.len()];
                target.iter_mut().zip(values).for_each(|(t, &v)| *t = v as f64);
                Ok(())
            }
            _ => unreachable!("a chunk belongs to its device"),
        };
        chunk.note_change();
        written
    }
}
