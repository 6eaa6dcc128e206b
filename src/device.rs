//! A device: an engine that runs programs, its memory, and one place where errors arrive.

mod memory;
mod profile;
mod upload;

pub(crate) use memory::{Chunk, Storage};

use crate::cpu::{self, Precision};
use crate::error::{Error, Result};
use crate::gpu;
use crate::kernel::Target;
use crate::op::Scalar;
use crate::profile::Tasks;
use crate::program::{Listing, Program};
use crate::shape::Spec;
use crate::tensor::{Flow, Tensor};
use crate::trace::{self, Trace};
use std::cell::RefCell;
use std::collections::HashMap;
use std::fmt;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError, Weak};
use std::time::Duration;

/// The environment variable that overrides [`Pick::Best`]; other picks are exact.
pub const DEVICE_VARIABLE: &str = "RECURVE_DEVICE";

/// The mark of a label that a loss ignores, as kernels see it.
pub const IGNORE_INDEX: u32 = u32::MAX;

/// Which device to open.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Pick {
    /// A hardware GPU, else a software adapter, else the CPU reference. `RECURVE_DEVICE` overrides this choice.
    #[default]
    Best,
    /// A hardware GPU.
    Gpu,
    /// An adapter that runs on the CPU (lavapipe, SwiftShader, WARP).
    Software,
    /// The CPU reference.
    Cpu,
    /// The first adapter whose name, driver or backend contains this text, ignoring case.
    Named(String),
}

impl std::str::FromStr for Pick {
    type Err = std::convert::Infallible;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        Ok(match text.trim().to_ascii_lowercase().as_str() {
            "" | "best" => Pick::Best,
            "gpu" => Pick::Gpu,
            "software" => Pick::Software,
            "cpu" => Pick::Cpu,
            _ => Pick::Named(text.trim().to_string()),
        })
    }
}

impl fmt::Display for Pick {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Pick::Best => f.write_str("best"),
            Pick::Gpu => f.write_str("gpu"),
            Pick::Software => f.write_str("software"),
            Pick::Cpu => f.write_str("cpu"),
            Pick::Named(text) => write!(f, "{text:?}"),
        }
    }
}

/// A device that tensors live on. Cheap to clone; all clones are one device.
#[derive(Clone)]
pub struct Device(Arc<Inner>);

struct Inner {
    id: u64,
    engine: Engine,
    plans: Mutex<Plans>,
    deferred: Mutex<Option<Error>>,
    /// Held by the CPU engine while a program runs.
    whole: Mutex<()>,
    one: OnceLock<Arc<trace::Leaf>>,
    /// Set by tests that compare with node-at-a-time execution.
    stepwise: AtomicBool,
    timings: Timings,
    profiler: profile::Profiler,
}

pub(crate) enum Engine {
    Cpu(Precision),
    Gpu(Box<gpu::Engine>),
}

/// Plans that were made, most recently used last.
#[derive(Default)]
struct Plans {
    cached: Vec<Arc<Plan>>,
    made: u64,
}

/// A planned listing with what its engine needs to run it again.
struct Plan {
    fingerprint: u64,
    listing: Listing,
    program: Program,
    ready: Ready,
    /// What a profile calls its dispatches; made by the first.
    tasks: OnceLock<Tasks>,
}

enum Ready {
    Cpu(cpu::Slots),
    Gpu(Box<gpu::Recording>),
}

/// Plans kept per device; the least recently used one goes first.
const MAX_PLANS: usize = 64;

#[derive(Default)]
struct Timings {
    runs: AtomicU64,
    /// Nanoseconds.
    tracing: AtomicU64,
    /// Nanoseconds.
    encoding: AtomicU64,
}

/// What a device has done so far; differences between two readings tell what a step costs.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Counters {
    /// GPU buffers created.
    pub buffers: u64,
    /// Bytes of the GPU buffers alive now.
    pub buffer_bytes: u64,
    /// Bind groups created.
    pub bind_groups: u64,
    /// Pipelines and shader modules created.
    pub pipelines: u64,
    /// Command buffers submitted.
    pub submits: u64,
    /// Programs planned.
    pub plans: u64,
    /// Programs run.
    pub runs: u64,
    /// Host time spent on tracing: appending nodes, finding or making their plan, and keeping books.
    pub tracing: Duration,
    /// Host time spent on encoding and submitting; on the CPU reference, on running.
    pub encoding: Duration,
}

impl Counters {
    /// GPU objects created.
    pub fn objects(&self) -> u64 {
        self.buffers + self.bind_groups + self.pipelines
    }
}

/// A thread's traces by the devices' ids. The device is kept weakly: entries of dropped ones are swept.
#[derive(Default)]
struct Traces(HashMap<u64, (Weak<Inner>, Arc<Mutex<Trace>>)>);

thread_local! {
    static TRACES: RefCell<Traces> = RefCell::default();
}

/// Traces of threads that have ended with work pending. Dropping them may destroy wgpu objects, and wgpu cannot do that
/// while a thread's own variables are being destroyed: the process would abort. The next thread to come drops them.
#[cfg(not(target_arch = "wasm32"))]
static LEFT_BEHIND: Mutex<Vec<Box<dyn Send>>> = Mutex::new(Vec::new());

#[cfg(not(target_arch = "wasm32"))]
impl Drop for Traces {
    fn drop(&mut self) {
        let mut left = LEFT_BEHIND.lock().unwrap_or_else(PoisonError::into_inner);
        left.extend(self.0.drain().map(|(_, (_, trace))| Box::new(trace) as Box<dyn Send>));
    }
}

impl Device {
    fn new(engine: Engine) -> Self {
        let inner = Inner {
            id: trace::next_id(),
            engine,
            plans: Mutex::default(),
            deferred: Mutex::default(),
            whole: Mutex::default(),
            one: OnceLock::new(),
            stepwise: AtomicBool::new(false),
            timings: Timings::default(),
            profiler: profile::Profiler::default(),
        };
        Device(Arc::new(inner))
    }

    /// The CPU reference engine: every machine has it.
    pub fn cpu() -> Self {
        Device::new(Engine::Cpu(Precision::F32))
    }

    /// The CPU reference without rounding to f32, for gradient checks.
    pub fn cpu_f64() -> Self {
        Device::new(Engine::Cpu(Precision::F64))
    }

    /// Opens a device. `RECURVE_DEVICE` (`best`, `gpu`, `software`, `cpu` or part of an adapter's name) overrides
    /// [`Pick::Best`].
    ///
    /// # Errors
    /// [`Error::NoAdapter`] when there is none of the kind asked for, [`Error::DeviceRequest`] when it does not open.
    pub async fn open(pick: Pick) -> Result<Self> {
        let asked = std::env::var(DEVICE_VARIABLE).ok();
        let pick = match (pick, asked) {
            (Pick::Best, Some(text)) => text.parse().unwrap_or_default(),
            (pick, _) => pick,
        };
        match pick {
            Pick::Cpu => Ok(Device::cpu()),
            Pick::Best => match gpu::Engine::open(&Pick::Best).await {
                Ok(engine) => Ok(Device::new(Engine::Gpu(Box::new(engine)))),
                Err(Error::NoAdapter { .. }) => Ok(Device::cpu()),
                Err(error) => Err(error),
            },
            pick => Ok(Device::new(Engine::Gpu(Box::new(gpu::Engine::open(&pick).await?)))),
        }
    }

    /// [`open`](Device::open), blocking.
    ///
    /// # Errors
    /// As `open`.
    #[cfg(not(target_arch = "wasm32"))]
    pub fn open_blocking(pick: Pick) -> Result<Self> {
        pollster::block_on(Device::open(pick))
    }

    /// Opens one adapter of [`adapters`](crate::adapters).
    ///
    /// # Errors
    /// [`Error::DeviceRequest`] when it does not open.
    pub async fn open_adapter(adapter: &gpu::AdapterEntry) -> Result<Self> {
        Ok(Device::new(Engine::Gpu(Box::new(adapter.open().await?))))
    }

    /// What the device is, in a line.
    pub fn name(&self) -> String {
        match &self.0.engine {
            Engine::Cpu(Precision::F32) => "CPU reference".into(),
            Engine::Cpu(Precision::F64) => "CPU reference in f64".into(),
            Engine::Gpu(gpu) => gpu.name().into(),
        }
    }

    /// Whether this is the CPU reference.
    pub fn is_reference(&self) -> bool {
        matches!(self.0.engine, Engine::Cpu(_))
    }

    /// What kernels are chosen for; `None` on the CPU reference.
    pub fn target(&self) -> Option<&Target> {
        match &self.0.engine {
            Engine::Cpu(_) => None,
            Engine::Gpu(gpu) => Some(gpu.target()),
        }
    }

    /// The scalar 1, uploaded once: where every backward pass starts.
    pub(crate) fn one(&self) -> Tensor {
        // The tensor must not keep the device alive, or neither would ever be dropped.
        let made = || {
            let one = self.tensor([1.0f32], ());
            match one.source() {
                trace::Source::Leaf(leaf) => leaf.clone(),
                _ => unreachable!("an uploaded tensor is a leaf"),
            }
        };
        let leaf = self.0.one.get_or_init(made).clone();
        Tensor::from_source(self, trace::Source::Leaf(leaf), Spec::f32(()), Flow::None)
    }

    /// Runs what is pending on this thread, without waiting for the device. A thread that ends without it gives up
    /// its pending effects (updates of running statistics, say), unless somebody holds what they go with.
    ///
    /// # Errors
    /// Whatever stopped the computation: see [`Error`].
    pub fn run(&self) -> Result<()> {
        trace::run(self, &self.trace(), &[])
    }

    /// Runs what is pending and waits until the device has finished all of it.
    ///
    /// # Errors
    /// As [`run`](Device::run).
    #[cfg(not(target_arch = "wasm32"))]
    pub fn wait(&self) -> Result<()> {
        self.run()?;
        match &self.0.engine {
            Engine::Cpu(_) => Ok(()),
            Engine::Gpu(gpu) => gpu.wait(),
        }
    }

    /// Waits, without blocking the thread, until no more than a few steps are on their way.
    pub(crate) async fn throttle(&self) -> Result<()> {
        match &self.0.engine {
            Engine::Cpu(_) => Ok(()),
            Engine::Gpu(gpu) => gpu.throttle().await,
        }
    }

    /// What the device has done so far.
    pub fn counters(&self) -> Counters {
        let mut counters = match &self.0.engine {
            Engine::Cpu(_) => Counters::default(),
            Engine::Gpu(gpu) => gpu.counters(),
        };
        let timings = &self.0.timings;
        let time = |n: &AtomicU64| Duration::from_nanos(n.load(Ordering::Relaxed));
        counters.plans = self.plans().made;
        counters.runs = timings.runs.load(Ordering::Relaxed);
        counters.tracing = time(&timings.tracing);
        counters.encoding = time(&timings.encoding);
        counters
    }

    /// The program that ran last on this device, as text: steps, kernels, places, memory.
    pub fn explain(&self) -> String {
        let plans = self.plans();
        plans.cached.last().map_or_else(|| "no program has run yet\n".into(), |plan| plan.to_string())
    }

    /// Destroys the device under the program's feet, for tests of what happens then.
    #[doc(hidden)]
    pub fn destroy(&self) {
        if let Engine::Gpu(gpu) = &self.0.engine {
            gpu.destroy();
        }
    }

    pub(crate) fn trace(&self) -> Arc<Mutex<Trace>> {
        if let Some(trace) = TRACES.with_borrow(|t| t.0.get(&self.0.id).map(|(_, trace)| trace.clone())) {
            return trace;
        }
        let trace = Arc::<Mutex<Trace>>::default();
        let swept: Vec<_> = TRACES.with_borrow_mut(|Traces(traces)| {
            let swept = traces.extract_if(|_, (device, _)| device.strong_count() == 0).collect();
            traces.insert(self.0.id, (Arc::downgrade(&self.0), trace.clone()));
            swept
        });
        // What they hold may be the last handle of another device: nothing is borrowed or locked here.
        drop(swept);
        #[cfg(not(target_arch = "wasm32"))]
        drop(std::mem::take(&mut *LEFT_BEHIND.lock().unwrap_or_else(PoisonError::into_inner)));
        trace
    }

    /// Releases the graphs of this thread that lead through variables which have changed.
    pub(crate) fn release_graphs(&self) {
        self.trace().lock().unwrap_or_else(PoisonError::into_inner).release_updated();
    }

    /// Keeps an error for the next call that can return it.
    pub(crate) fn defer(&self, error: Error) {
        self.0.deferred.lock().unwrap().get_or_insert(error);
    }

    /// The first error that has not been returned yet, or the device's failure.
    pub(crate) fn check(&self) -> Result<()> {
        if let Some(error) = self.0.deferred.lock().unwrap().take() {
            return Err(error);
        }
        match &self.0.engine {
            Engine::Cpu(_) => Ok(()),
            Engine::Gpu(gpu) => gpu.check(),
        }
    }

    pub(crate) async fn read(&self, storage: &Storage, spec: Spec) -> Result<Vec<f64>> {
        match (&self.0.engine, storage) {
            (_, Storage::Host(data)) => Ok(data.to_vec()),
            (Engine::Gpu(gpu), Storage::Gpu(cell)) => {
                let reading = {
                    let mut session = self.0.profiler.session();
                    let timer = session.as_mut().and_then(|s| s.as_mut()).map(|s| s.gpu_timer());
                    gpu.read(cell, spec, timer)?
                };
                reading.values(gpu).await
            }
            (Engine::Cpu(_), Storage::Gpu(_)) => unreachable!("operands are on one device"),
        }
    }

    /// Runs the program of `listing`, planning it if it is new, and returns where the held values are,
    /// and how long the engine took.
    pub(crate) fn execute(
        &self,
        listing: &Listing,
        leaves: &[Storage],
        scalars: &[Scalar],
    ) -> Result<(Vec<Storage>, Duration)> {
        let plan = self.plan(listing)?;
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

    /// Adds to the time spent on tracing.
    pub(crate) fn count_tracing(&self, time: Duration) {
        self.0.timings.tracing.fetch_add(time.as_nanos() as u64, Ordering::Relaxed);
    }

    /// The cached plans; an op that panics while it is planned leaves them whole.
    fn plans(&self) -> MutexGuard<'_, Plans> {
        self.0.plans.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn plan(&self, listing: &Listing) -> Result<Arc<Plan>> {
        let fingerprint = listing.fingerprint();
        let mut plans = self.plans();
        let found = plans.cached.iter().rposition(|p| p.fingerprint == fingerprint && p.listing == *listing);
        if let Some(at) = found {
            let plan = plans.cached.remove(at);
            plans.cached.push(plan.clone());
            return Ok(plan);
        }
        let program = match self.runs_node_by_node() {
            false => Program::plan(listing, self.target())?,
            true => Program::unfused(listing, self.target())?,
        };
        let ready = match &self.0.engine {
            Engine::Cpu(_) => Ready::Cpu(cpu::Slots::default()),
            Engine::Gpu(gpu) => Ready::Gpu(Box::new(gpu.record(&program)?)),
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
        }
    }

    /// Runs every node as soon as it is appended, without fusion, from now on.
    #[cfg(not(target_arch = "wasm32"))]
    pub(crate) fn run_node_by_node(&self) {
        self.0.stepwise.store(true, Ordering::Relaxed);
        self.plans().cached.clear();
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
        write!(f, "{}", self.program)?;
        match &self.ready {
            Ready::Cpu(_) => Ok(()),
            Ready::Gpu(recording) => write!(f, "{recording}"),
        }
    }
}

impl PartialEq for Device {
    fn eq(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.0, &other.0)
    }
}

impl Eq for Device {}

impl fmt::Debug for Device {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Device({})", self.name())
    }
}
