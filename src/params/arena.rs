//! Tensors side by side on the device.

use super::{Registered, Shared};
use crate::device::{Chunk, Device};
use crate::error::{Error, Result};
use crate::shape::{ALIGN, Shape, Spec};
use crate::variable::Variable;
use std::sync::Arc;

/// Tensors side by side in one chunk.
pub(crate) struct Arena {
    pub chunk: Arc<Chunk>,
    /// The whole chunk as one vector.
    pub flat: Arc<Variable>,
    pub trainable: bool,
    pub(super) members: Vec<Arc<Registered>>,
}

impl Arena {
    /// An arena without members, filled with zeros.
    pub fn new(device: &Device, bytes: u64, label: &str) -> Result<Self> {
        let chunk = device.new_chunk(bytes, label)?;
        let flat = Variable::new(device, &chunk, 0, Shape::from(bytes as usize / 4), label, false);
        Ok(Arena { chunk, flat, trainable: false, members: Vec::new() })
    }

    /// The part from byte `start` to byte `end` as a vector.
    pub fn part(&self, device: &Device, start: u64, end: u64) -> Arc<Variable> {
        let shape = Shape::from((end - start) as usize / 4);
        Variable::new(device, &self.chunk, start, shape, self.chunk.label(), self.trainable)
    }
}

impl Shared {
    pub(super) fn seal(&self) -> Result<()> {
        let mut registry = self.registry.lock().unwrap();
        let open = |r: &&Arc<Registered>| r.variable.get().is_none();
        let mut open: Vec<Arc<Registered>> = registry.params.iter().filter(open).cloned().collect();
        if open.is_empty() {
            return registry.params.iter().try_for_each(|r| match r.variable.get() {
                Some(Err(error)) => Err(error.clone()),
                _ => Ok(()),
            });
        }
        // Buffers last, matrices and filters before vectors; stable, so in the order of registration otherwise.
        open.sort_by_key(|r| (!r.trainable, r.shape.rank() < 2));
        let mut rest = &open[..];
        while !rest.is_empty() {
            let members = self.next_arena(rest);
            match self.lay_out(members) {
                Ok(arena) => registry.arenas.push(Arc::new(arena)),
                Err(error) => {
                    for r in rest {
                        let _ = r.variable.set(Err(error.clone()));
                    }
                    return Err(error);
                }
            }
            rest = &rest[members.len()..];
        }
        Ok(())
    }

    /// The longest start of `rest` that fits one chunk and is of one kind; at least one tensor.
    fn next_arena<'r>(&self, rest: &'r [Arc<Registered>]) -> &'r [Arc<Registered>] {
        let limit = self.device.max_chunk();
        let mut bytes = 0u64;
        let fits = |r: &&Arc<Registered>| {
            bytes = bytes.saturating_add(r.bytes());
            r.trainable == rest[0].trainable && bytes <= limit
        };
        let count = rest.iter().take_while(fits).count();
        &rest[..count.max(1)]
    }

    fn lay_out(&self, members: &[Arc<Registered>]) -> Result<Arena> {
        let bytes: u64 = members.iter().map(|r| r.bytes()).sum();
        let limit = self.device.max_chunk();
        if bytes > limit {
            return Err(Error::TensorTooLarge { spec: Spec::f32(members[0].shape), bytes, limit });
        }
        let trainable = members[0].trainable;
        let mut arena = Arena::new(&self.device, bytes, if trainable { "parameters" } else { "buffers" })?;
        let drawn = !self.device.only_plans();
        let mut values = Vec::with_capacity(if drawn { bytes as usize / 4 } else { 0 });
        let mut offset = 0;
        for r in members {
            let init = r.init.lock().unwrap().take().filter(|_| drawn);
            values.extend(init.map(|init| init.values(r.shape, self.seed, &r.name)).unwrap_or_default());
            let variable = Variable::new(&self.device, &arena.chunk, offset, r.shape, &r.name, trainable);
            let _ = r.variable.set(Ok(variable));
            offset += r.bytes();
            if drawn {
                values.resize(offset as usize / 4, 0.0);
            }
        }
        self.device.write_chunk(&arena.chunk, 0, &values)?;
        arena.trainable = trainable;
        arena.members = members.to_vec();
        Ok(arena)
    }
}

impl Registered {
    /// Bytes in an arena; at least one unit, so that no two tensors start at the same place.
    fn bytes(&self) -> u64 {
        Spec::f32(self.shape).padded_bytes().max(ALIGN)
    }
}
