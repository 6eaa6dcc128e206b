//! Plans: made when a listing is new, kept, and run again.

use super::{Chunk, Device, Engine, Storage};
use crate::cpu;
use crate::error::{Error, Result};
use crate::gpu;
use crate::memory::ProgramMemory;
use crate::op::Scalar;
use crate::profile::Tasks;
use crate::program::fold::{Folded, fold};
use crate::program::{Listing, Program};
use std::borrow::Cow;
use std::fmt;
use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError, RwLockWriteGuard};
use std::time::Duration;

/// Plans that were made, most recently used last.
#[derive(Default)]
pub(super) struct Plans {
    cached: Vec<Arc<Plan>>,
    pub made: u64,
}

/// A planned listing with what its engine needs to run it again.
pub(crate) struct Plan {
    fingerprint: u64,
    listing: Listing,
    pub(super) program: Program,
    pub(super) ready: Ready,
    /// What a profile calls its dispatches; made by the first.
    pub(super) tasks: OnceLock<Tasks>,
    /// What was taken out of the program because it changes only with variables.
    folded: Option<Kept>,
    /// Of a prelude, what it gave last.
    results: Mutex<Option<Results>>,
    /// The arena chunks that it updates.
    updated: Vec<Arc<Chunk>>,
}

/// A listing in two, and the plan of its prelude once that has run. Programs for other shapes have the same prelude: folded
/// weights are there once for all of them.
struct Kept {
    folded: Folded,
    prelude: OnceLock<Arc<Plan>>,
}

struct Results {
    /// How often each variable's chunk had changed.
    changes: Vec<u64>,
    scalars: Vec<Scalar>,
    values: Vec<Storage>,
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

    /// Makes `plan` the one that was used last, if it is still there.
    fn last(&mut self, plan: &Arc<Plan>) {
        if let Some(at) = self.cached.iter().rposition(|p| Arc::ptr_eq(p, plan)) {
            self.cached[at..].rotate_left(1);
        }
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
        format!("{plan}{}", memory.unwrap_or_default())
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
        self.replay(&plan, leaves, scalars)
    }

    /// Held by whoever changes a chunk until that has been noted: a prelude and the program behind it both come before
    /// or both after.
    pub(super) fn updates(&self) -> RwLockWriteGuard<'_, ()> {
        self.0.updates.write().unwrap_or_else(PoisonError::into_inner)
    }

    /// Runs a plan again: [`execute`](Device::execute) of its listing, also where the plan is no longer cached.
    pub(crate) fn replay(
        &self,
        plan: &Arc<Plan>,
        leaves: &[Storage],
        scalars: &[Scalar],
    ) -> Result<(Vec<Storage>, Duration)> {
        if !plan.updated.is_empty() {
            let _alone = self.updates();
            let results = self.replay_in_turn(plan, leaves, scalars);
            // Also what failed may have begun.
            plan.updated.iter().for_each(|chunk| chunk.note_change());
            return results;
        }
        let between = || self.0.updates.read().unwrap_or_else(PoisonError::into_inner);
        let _between = plan.folded.is_some().then(between);
        self.replay_in_turn(plan, leaves, scalars)
    }

    /// [`replay`](Device::replay) where no variable is changed by somebody else meanwhile that a prelude reads.
    fn replay_in_turn(
        &self,
        plan: &Arc<Plan>,
        leaves: &[Storage],
        scalars: &[Scalar],
    ) -> Result<(Vec<Storage>, Duration)> {
        let (mut all, mut own) = (Cow::Borrowed(leaves), Cow::Borrowed(scalars));
        if let Some(kept) = &plan.folded {
            all.to_mut().extend(self.prelude(kept, scalars)?);
            own = kept.folded.main_scalars(scalars).into();
            // The program that ran last is this one.
            let mut plans = self.plans();
            kept.prelude.get().into_iter().chain([plan]).for_each(|plan| plans.last(plan));
        }
        let (leaves, scalars) = (&*all, &*own);
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

    /// The prelude's results, computed anew where a variable or a scalar has changed.
    fn prelude(&self, kept: &Kept, scalars: &[Scalar]) -> Result<Vec<Storage>> {
        let scalars = kept.folded.prelude_scalars(scalars);
        let changes: Vec<u64> = kept.folded.variables().map(|site| site.chunk.changes()).collect();
        let prelude = match kept.prelude.get() {
            Some(plan) => plan,
            None => {
                let plan = self.plan(&kept.folded.prelude, &scalars)?;
                kept.prelude.get_or_init(|| plan)
            }
        };
        let mut results = prelude.results.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(r) = results.as_ref().filter(|r| r.changes == changes && r.scalars == scalars) {
            return Ok(r.values.clone());
        }
        *results = None;
        let (values, _) = self.replay_in_turn(prelude, &[], &scalars)?;
        *results = Some(Results { changes, scalars, values: values.clone() });
        Ok(values)
    }

    /// The cached plans; an op that panics while it is planned leaves them whole.
    pub(super) fn plans(&self) -> MutexGuard<'_, Plans> {
        self.0.plans.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The plan of `listing`, made if there is none.
    pub(crate) fn plan(&self, listing: &Listing, scalars: &[Scalar]) -> Result<Arc<Plan>> {
        let fingerprint = listing.fingerprint();
        let mut plans = self.plans();
        let found = plans.cached.iter().rposition(|p| p.fingerprint == fingerprint && p.listing == *listing);
        if let Some(at) = found {
            let plan = plans.cached.remove(at);
            plans.cached.push(plan.clone());
            return Ok(plan);
        }
        let folded = if self.runs_node_by_node() { None } else { fold(listing) };
        let program = match (&folded, self.runs_node_by_node()) {
            (_, true) => Program::unfused(listing, self.target())?,
            (None, false) => self.plan_listing(listing, scalars)?,
            (Some(folded), false) => self.plan_listing(&folded.main, &folded.main_scalars(scalars))?,
        };
        let folded = folded.map(|folded| Kept { folded, prelude: OnceLock::new() });
        let ready = match &self.0.engine {
            Engine::Cpu(_) => Ready::Cpu(cpu::Slots::default()),
            Engine::Gpu(gpu) => Ready::Gpu(gpu::Opaque::new(gpu.record(&program)?)),
            Engine::Plan(planner) => Ready::Plan(Box::new(planner.lay_out(&program)?)),
        };
        let updated = program.steps.iter().flat_map(|step| step.updated(&program.values));
        let updated = updated.map(|site| site.chunk.clone()).collect();
        let (listing, tasks, results) = (listing.clone(), OnceLock::new(), Mutex::default());
        let plan = Arc::new(Plan { fingerprint, listing, program, ready, tasks, folded, results, updated });
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

impl fmt::Display for Plan {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.program.explanation())?;
        if let Some(kept) = &self.folded {
            let n = kept.folded.prelude.held.len();
            writeln!(f, "folded: {n} inputs are weights and biases, computed when variables change")?;
        }
        Ok(())
    }
}
