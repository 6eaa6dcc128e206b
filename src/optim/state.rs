//! What a checkpoint keeps of an optimiser: states and numbers of steps.

use super::{Optimizer, Rule};
use crate::checkpoint::{CheckpointError, OPTIMIZER, TensorFile, TensorSource, Tensors};
use crate::error::Result;
use crate::params::Param;
use std::io::{Read, Seek};

impl<R: Rule> Optimizer<R> {
    /// States and steps, for a checkpoint.
    pub(crate) async fn collect(&self, tensors: &mut Tensors) -> Result<()> {
        if self.accumulated() > 0 {
            return Err(CheckpointError::Accumulating { batches: self.accumulated() }.into());
        }
        for flat in &self.arenas {
            for (name, state) in self.rule.states().iter().zip(&flat.states) {
                let values = state.flat.tensor().to_vec_async().await?;
                for m in &flat.members {
                    let elements = m.param.shape().elements();
                    let part = &values[m.start as usize / 4..][..elements];
                    tensors.f32(&state_name(name, &m.param), m.param.shape(), part);
                }
            }
            for m in &flat.members {
                tensors.i64(&state_name(STEP, &m.param), m.steps as i64);
            }
        }
        Ok(())
    }

    /// Reads states and steps without changing anything yet. A checkpoint that was written before the first step has
    /// none.
    pub(crate) fn stage<F: Read + Seek>(&mut self, file: &mut TensorFile<F>) -> Result<Staged> {
        self.cover()?;
        let mut staged = Staged::default();
        let (mut missing, mut misshapen, mut known) = (Vec::new(), Vec::new(), 0);
        let any = file.names().any(|n| n.starts_with(OPTIMIZER));
        for (arena, flat) in self.arenas.iter().enumerate().filter(|_| any) {
            for (index, m) in flat.members.iter().enumerate() {
                let shape = m.param.shape();
                for (state, name) in self.rule.states().iter().map(|s| state_name(s, &m.param)).enumerate() {
                    match file.shape(&name) {
                        None => missing.push(name),
                        Some(found) if found != shape.dims() => {
                            misshapen.push(format!("{name} is {found:?} in the file, {shape} in the model"))
                        }
                        Some(_) => staged.states.push((arena, state, m.start, file.f32(&name)?)),
                    }
                    known += 1;
                }
                let name = state_name(STEP, &m.param);
                known += 1;
                match file.shape(&name) {
                    None => missing.push(name),
                    Some(_) => staged.steps.push((arena, index, file.count(&name)?)),
                }
            }
        }
        let there = file.names().filter(|n| n.starts_with(OPTIMIZER)).count();
        if !missing.is_empty() || !misshapen.is_empty() || there != known {
            let mut ours = std::collections::HashSet::new();
            for m in self.arenas.iter().flat_map(|f| &f.members) {
                ours.extend(self.rule.states().iter().chain([&STEP]).map(|s| state_name(s, &m.param)));
            }
            let foreign = file.names().filter(|n| n.starts_with(OPTIMIZER) && !ours.contains(*n));
            let unexpected = foreign.map(str::to_string).collect();
            return Err(CheckpointError::Mismatch { missing, unexpected, misshapen }.into());
        }
        Ok(staged)
    }

    /// Puts staged states in the place of the present ones.
    pub(crate) fn restore(&mut self, staged: Staged) -> Result<()> {
        let device = self.params.device();
        device.run()?;
        for flat in &mut self.arenas {
            flat.members.iter_mut().for_each(|m| m.steps = 0);
            for state in &flat.states {
                state.flat.set(&vec![0.0; state.chunk.bytes() as usize / 4])?;
            }
        }
        for (arena, state, start, values) in &staged.states {
            device.write_chunk(&self.arenas[*arena].states[*state].chunk, *start, values)?;
        }
        for (arena, member, steps) in staged.steps {
            self.arenas[arena].members[member].steps = steps;
        }
        self.set_accumulation(self.accumulation.batches);
        self.restart_guard()
    }
}

/// The name of step counts in a checkpoint.
const STEP: &str = "step";

fn state_name(state: &str, param: &Param) -> String {
    format!("{OPTIMIZER}{state}/{}", param.name())
}

/// States that were read and fit, not yet put in place.
#[derive(Default)]
pub(crate) struct Staged {
    /// Arena, state, byte offset, values.
    states: Vec<(usize, usize, u64, Vec<f32>)>,
    /// Arena, member, steps.
    steps: Vec<(usize, usize, u64)>,
}
