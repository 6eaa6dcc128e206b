//! Arenas of parameters with their gradients and states, and the runs of neighbours that are updated together.

use super::accumulate::Accumulated;
use super::guard::Guarded;
use crate::ops::place_gradients::PlaceGradients;
use crate::params::{Arena, Param, Params};
use crate::tensor::Tensor;
use crate::variable::Variable;
use std::collections::HashMap;
use std::fmt;
use std::sync::Arc;

/// An arena of parameters, with its gradients and states.
pub(super) struct Flat {
    pub weights: Arc<Arena>,
    pub gradients: Arena,
    pub states: Vec<Arena>,
    pub members: Vec<Member>,
    pub runs: HashMap<(u64, u64), Arc<RunVariables>>,
    pub guarded: Guarded,
    pub accumulated: Accumulated,
}

pub(super) struct Member {
    pub param: Param,
    /// Bytes in the arena, and where the next one begins.
    pub start: u64,
    pub end: u64,
    pub group: usize,
    pub steps: u64,
}

/// A run's parts of parameters, gradients and states.
pub(super) struct RunVariables(Vec<Arc<Variable>>);

/// Runs remembered per arena; a program that skips other parameters at every step must not collect them for ever.
const MAX_RUNS: usize = 1024;

/// A run that is to be made: its arena, group, number of steps and variables.
pub(super) struct Due {
    pub arena: usize,
    /// Bytes from the arena's start.
    pub start: u64,
    pub group: usize,
    pub steps: u64,
    pub operands: Vec<Tensor>,
}

impl Flat {
    /// Appends the placing of all gradients, and says which members have one.
    #[track_caller]
    pub fn place(&self, gradient: &impl Fn(&Param) -> Option<Tensor>) -> Vec<usize> {
        let (mut placed, mut offsets, mut operands) =
            (Vec::new(), Vec::new(), vec![self.gradients.flat.tensor()]);
        for (index, m) in self.members.iter().enumerate() {
            let Some(gradient) = gradient(&m.param) else { continue };
            let (name, shape) = (m.param.name(), m.param.shape());
            assert_eq!(gradient.shape(), shape, "the gradient of {name} has the parameter's shape");
            placed.push(index);
            offsets.push(m.start);
            operands.push(gradient);
        }
        if !placed.is_empty() {
            Tensor::apply(PlaceGradients { offsets }, &operands.iter().collect::<Vec<_>>(), &[]);
        }
        placed
    }

    /// The longest runs of members that are `placed` and have the same key.
    pub fn runs<K: PartialEq>(
        &mut self,
        params: &Params,
        arena: usize,
        placed: &[usize],
        key: impl Fn(&Member) -> K,
    ) -> Vec<Due> {
        let members = &self.members;
        let joined = |a: &usize, b: &usize| a + 1 == *b && key(&members[*a]) == key(&members[*b]);
        let mut due = Vec::new();
        for run in placed.chunk_by(joined) {
            let (first, last) = (&members[run[0]], &members[run[run.len() - 1]]);
            if self.runs.len() >= MAX_RUNS {
                self.runs.clear();
            }
            let arenas = [&*self.weights, &self.gradients].into_iter().chain(&self.states);
            let part = |a: &Arena| a.part(params.device(), first.start, last.end);
            let made = || Arc::new(RunVariables(arenas.map(part).collect()));
            let variables = self.runs.entry((first.start, last.end)).or_insert_with(made);
            let operands = variables.0.iter().map(Variable::tensor).collect();
            let (start, group, steps) = (first.start, first.group, first.steps);
            due.push(Due { arena, start, group, steps, operands });
        }
        due
    }
}

impl fmt::Debug for Flat {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.members.iter().map(|m| (&m.param, m.steps))).finish()
    }
}
