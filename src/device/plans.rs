//! Plans: made when a listing is new, kept, and run again.

use super::{Device, Engine, Storage};
use crate::cpu;
use crate::error::Result;
use crate::gpu;
use crate::op::Scalar;
use crate::profile::Tasks;
use crate::program::fold::{Folded, fold};
use crate::program::{Listing, Program};
use std::borrow::Cow;
use std::fmt;
use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
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
    /// What was taken out of the program because it changes only with variables.
    folded: Option<Kept>,
}

/// A prelude with its results.
struct Kept {
    folded: Folded,
    results: Mutex<Option<Results>>,
}

struct Results {
    /// How often each variable's chunk had changed.
    changes: Vec<u64>,
    scalars: Vec<Scalar>,
    values: Vec<Storage>,
}

pub(super) enum Ready {
    Cpu(cpu::Slots),
    Gpu(Box<gpu::Recording>),
}

/// Plans kept per device; the least recently used one goes first.
const MAX_PLANS: usize = 64;

impl Plans {
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
    /// the slots, with the values that take turns in each, and the memory.
    pub fn explain(&self) -> String {
        let plans = self.plans();
        plans.cached.last().map_or_else(|| "no program has run yet\n".into(), |plan| plan.to_string())
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
        let (mut all, mut own) = (Cow::Borrowed(leaves), Cow::Borrowed(scalars));
        if let Some(kept) = &plan.folded {
            all.to_mut().extend(self.prelude(kept, scalars)?);
            own = kept.folded.main_scalars(scalars).into();
            // The program that ran last is this one.
            self.plans().last(&plan);
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
        // Looked at before anything is read: a change in between makes the results old, never wrongly new.
        let changes: Vec<u64> = kept.folded.variables().map(|site| site.chunk.changes()).collect();
        let mut results = kept.results.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(r) = results.as_ref().filter(|r| r.changes == changes && r.scalars == scalars) {
            return Ok(r.values.clone());
        }
        *results = None;
        let (values, _) = self.execute(&kept.folded.prelude, &[], &scalars)?;
        *results = Some(Results { changes, scalars, values: values.clone() });
        Ok(values)
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
        let folded = if self.runs_node_by_node() { None } else { fold(listing) };
        let program = match (&folded, self.runs_node_by_node()) {
            (_, true) => Program::unfused(listing, self.target())?,
            (None, false) => self.plan_listing(listing, scalars)?,
            (Some(folded), false) => self.plan_listing(&folded.main, &folded.main_scalars(scalars))?,
        };
        let folded = folded.map(|folded| Kept { folded, results: Mutex::default() });
        let ready = match &self.0.engine {
            Engine::Cpu(_) => Ready::Cpu(cpu::Slots::default()),
            Engine::Gpu(gpu) => Ready::Gpu(Box::new(gpu.record(&program)?)),
        };
        let (listing, tasks) = (listing.clone(), OnceLock::new());
        let plan = Arc::new(Plan { fingerprint, listing, program, ready, tasks, folded });
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
        match &self.ready {
            Ready::Cpu(_) => Ok(()),
            Ready::Gpu(recording) => write!(f, "{recording}"),
        }
    }
}
