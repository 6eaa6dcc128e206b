//! Plans: made when a listing is new, kept, and run again.

use super::{Device, Engine, Storage};
use crate::cpu;
use crate::error::{Error, Result};
use crate::gpu;
use crate::memory::ProgramMemory;
use crate::op::Scalar;
use crate::profile::Tasks;
use crate::program::{Listing, Program};
use std::sync::atomic::Ordering;
use std::sync::{Arc, MutexGuard, OnceLock, PoisonError};
use std::time::Duration;

/// Plans that were made, most recently used last.
#[derive(Default)]
pub(super) struct Plans {
    cached: Vec<Arc<Plan>>,
    pub made: u64,
}

/// A planned listing with what its engine needs to run it again.
pub(super) struct Plan {
    fingerprint: u64,
    listing: Listing,
    pub program: Program,
    pub ready: Ready,
    /// What a profile calls its dispatches; made by the first.
    pub tasks: OnceLock<Tasks>,
}

pub(super) enum Ready {
    Cpu(cpu::Slots),
    Gpu(gpu::Opaque<gpu::Recording>),
    Plan(Box<gpu::Layout>),
}

/// Plans kept per device; the least recently used one goes first.
const MAX_PLANS: usize = 64;

impl Plan {
    /// What it needs beside the arenas.
    pub fn memory(&self) -> ProgramMemory {
        match &self.ready {
            Ready::Cpu(_) => self.program.memory(),
            Ready::Gpu(recording) => recording.memory(&self.program),
            Ready::Plan(layout) => layout.memory(&self.program),
        }
    }
}

impl Plans {
    /// The memory of all plans, the most recently used last.
    pub fn memory(&self) -> Vec<ProgramMemory> {
        self.cached.iter().map(|plan| plan.memory()).collect()
    }

    /// What comes is planned anew.
    #[cfg(not(target_arch = "wasm32"))]
    pub fn forget(&mut self) {
        self.cached.clear();
    }
}

impl Device {
    /// The program that ran last on this device, as text: every step with its operands, the line that asked for it,
    /// what was fused into it, the kernels that were chosen and the candidates that were not, with the reason; then
    /// the slots, with the values that take turns in each, and the memory that the program needs; at the end, where the
    /// device is a GPU or plans for one, all [`memory`](Device::memory) of the device.
    pub fn explain(&self) -> String {
        let last = self.plans().cached.last().cloned();
        let Some(plan) = last else { return "no program has run yet\n".into() };
        let memory = (!self.is_reference()).then(|| format!("\n{}", self.memory()));
        format!("{}{}", plan.program.explanation(), memory.unwrap_or_default())
    }

    /// Runs the program of `listing`, planning it if it is new, and returns where the held values are,
    /// and how long the engine took.
    pub(crate) fn execute(
        &self,
        listing: &Listing,
        leaves: &[Storage],
        scalars: &[Scalar],
    ) -> Result<(Vec<Storage>, Duration)> {
        let plan = self.plan(listing, scalars)?;
        let planned = crate::clock::now();
        let mut session = self.0.profiler.session();
        let session = session.as_mut().and_then(|s| s.as_mut());
        let results = match (&self.0.engine, &plan.ready) {
            (Engine::Cpu(precision), Ready::Cpu(slots)) => {
                // As on a GPU, a program sees the variables before or after another thread's update, never between.
                let _whole = self.0.whole.lock().unwrap_or_else(PoisonError::into_inner);
                let timer = session.map(|s| s.host(plan.tasks()));
                cpu::run(&plan.program, slots, *precision, leaves, scalars, timer)?
            }
            (Engine::Gpu(gpu), Ready::Gpu(recording)) => {
                let timer = session.map(|s| s.gpu(plan.tasks()));
                gpu.run(&plan.program, recording, leaves, scalars, timer)?
            }
            (Engine::Plan(planner), Ready::Plan(layout)) => planner.run(&plan.program, layout, leaves)?,
            _ => unreachable!("a plan belongs to its device"),
        };
        self.0.timings.runs.fetch_add(1, Ordering::Relaxed);
        let encoding = crate::clock::now() - planned;
        self.0.timings.encoding.fetch_add(encoding.as_nanos() as u64, Ordering::Relaxed);
        Ok((results, encoding))
    }

    /// The cached plans; an op that panics while it is planned leaves them whole.
    pub(super) fn plans(&self) -> MutexGuard<'_, Plans> {
        self.0.plans.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn plan(&self, listing: &Listing, scalars: &[Scalar]) -> Result<Arc<Plan>> {
        let fingerprint = listing.fingerprint();
        let mut plans = self.plans();
        let found = plans.cached.iter().rposition(|p| p.fingerprint == fingerprint && p.listing == *listing);
        if let Some(at) = found {
            let plan = plans.cached.remove(at);
            plans.cached.push(plan.clone());
            return Ok(plan);
        }
        let program = match self.runs_node_by_node() {
            false => self.plan_listing(listing, scalars)?,
            true => Program::unfused(listing, self.target())?,
        };
        let ready = match &self.0.engine {
            Engine::Cpu(_) => Ready::Cpu(cpu::Slots::default()),
            Engine::Gpu(gpu) => Ready::Gpu(gpu::Opaque::new(gpu.record(&program)?)),
            Engine::Plan(planner) => Ready::Plan(Box::new(planner.lay_out(&program)?)),
        };
        let plan =
            Arc::new(Plan { fingerprint, listing: listing.clone(), program, ready, tasks: OnceLock::new() });
        if plans.cached.len() == MAX_PLANS {
            plans.cached.remove(0);
        }
        plans.cached.push(plan.clone());
        plans.made += 1;
        Ok(plan)
    }

    /// Runs a program once, without keeping anything of it. On a GPU its slots hold NaNs before.
    #[cfg(not(target_arch = "wasm32"))]
    pub(crate) fn run_once(
        &self,
        program: &Program,
        leaves: &[Storage],
        scalars: &[Scalar],
    ) -> Result<Vec<Storage>> {
        match &self.0.engine {
            Engine::Cpu(precision) => {
                cpu::run(program, &cpu::Slots::default(), *precision, leaves, scalars, None)
            }
            Engine::Gpu(gpu) => {
                let recording = gpu.record(program)?;
                gpu.fill_slots(&recording, crate::testing::POISON)?;
                gpu.run(program, &recording, leaves, scalars, None)
            }
            Engine::Plan(_) => Err(Error::PlanOnly),
        }
    }

    /// Plans a listing.
    #[cfg(target_arch = "wasm32")]
    fn plan_listing(&self, listing: &Listing, _: &[Scalar]) -> Result<Program> {
        Program::plan(listing, self.target())
    }

    /// Runs every node as soon as it is appended, without fusion, from now on.
    #[cfg(not(target_arch = "wasm32"))]
    pub(crate) fn run_node_by_node(&self) {
        self.0.stepwise.store(true, Ordering::Relaxed);
        self.plans().forget();
    }

    pub(crate) fn runs_node_by_node(&self) -> bool {
        self.0.stepwise.load(Ordering::Relaxed)
    }

    /// What the program that ran last was planned from.
    #[cfg(not(target_arch = "wasm32"))]
    pub(crate) fn last_listing(&self) -> Option<Listing> {
        self.plans().cached.last().map(|plan| plan.listing.clone())
    }
}
