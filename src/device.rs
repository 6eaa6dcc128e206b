//! A device: an engine that runs programs, its memory, and one place where errors arrive.

mod memory;
mod planner;
mod plans;
mod profile;
#[cfg(not(target_arch = "wasm32"))]
mod tune;
mod upload;

pub(crate) use memory::{Chunk, Storage};
pub(crate) use plans::Plan;
#[cfg(not(target_arch = "wasm32"))]
pub(crate) use tune::Once;

use crate::cpu::Precision;
use crate::error::{Error, Result};
use crate::gpu;
use crate::kernel::Target;
use crate::shape::Spec;
use crate::tensor::{Flow, Tensor};
use crate::trace::{self, Trace};
use std::cell::RefCell;
use std::collections::HashMap;
use std::fmt;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, OnceLock, PoisonError, RwLock, Weak};
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
    plans: Mutex<plans::Plans>,
    deferred: Mutex<Option<Error>>,
    /// Held by the CPU engine while a program runs.
    whole: Mutex<()>,
    /// Held alone while a chunk is changed, and in common from a prelude to the program that takes its results.
    updates: RwLock<()>,
    one: OnceLock<Arc<trace::Leaf>>,
    /// Set by tests that compare with node-at-a-time execution.
    stepwise: AtomicBool,
    timings: Timings,
    profiler: profile::Profiler,
    /// Looked at when a program is planned.
    #[cfg(not(target_arch = "wasm32"))]
    tuner: Mutex<Option<Arc<crate::tune::Tuner>>>,
}

/// A value on its way to the host.
pub(crate) enum Reading {
    Host(Arc<Vec<f64>>),
    Gpu(gpu::Reading),
}

pub(crate) enum Engine {
    Cpu(Precision),
    Gpu(gpu::Opaque<gpu::Engine>),
    /// Plans for a GPU.
    Plan(Box<gpu::Planner>),
}

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
    /// Dispatches encoded, those of profiles aside.
    pub dispatches: u64,
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
            updates: RwLock::default(),
            one: OnceLock::new(),
            stepwise: AtomicBool::new(false),
            timings: Timings::default(),
            profiler: profile::Profiler::default(),
            #[cfg(not(target_arch = "wasm32"))]
            tuner: Mutex::default(),
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
                Ok(engine) => Ok(Device::new(Engine::Gpu(gpu::Opaque::new(engine)))),
                Err(Error::NoAdapter { .. }) => Ok(Device::cpu()),
                Err(error) => Err(error),
            },
            pick => Ok(Device::new(Engine::Gpu(gpu::Opaque::new(gpu::Engine::open(&pick).await?)))),
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
        Ok(Device::new(Engine::Gpu(gpu::Opaque::new(adapter.open().await?))))
    }

    /// What the device is, in a line.
    pub fn name(&self) -> String {
        match &self.0.engine {
            Engine::Cpu(Precision::F32) => "CPU reference".into(),
            Engine::Cpu(Precision::F64) => "CPU reference in f64".into(),
            Engine::Gpu(gpu) => gpu.name().into(),
            Engine::Plan(planner) => planner.name().into(),
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
            Engine::Plan(planner) => Some(planner.target()),
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
            Engine::Cpu(_) | Engine::Plan(_) => Ok(()),
            Engine::Gpu(gpu) => gpu.wait(),
        }
    }

    /// Waits, without blocking the thread, until no more than a few steps are on their way.
    pub(crate) async fn throttle(&self) -> Result<()> {
        match &self.0.engine {
            Engine::Cpu(_) | Engine::Plan(_) => Ok(()),
            Engine::Gpu(gpu) => gpu.throttle().await,
        }
    }

    /// What the device has done so far.
    pub fn counters(&self) -> Counters {
        let mut counters = match &self.0.engine {
            Engine::Cpu(_) => Counters::default(),
            Engine::Gpu(gpu) => gpu.counters(),
            Engine::Plan(planner) => planner.counters(),
        };
        let timings = &self.0.timings;
        let time = |n: &AtomicU64| Duration::from_nanos(n.load(Ordering::Relaxed));
        counters.plans = self.plans().made;
        counters.runs = timings.runs.load(Ordering::Relaxed);
        counters.tracing = time(&timings.tracing);
        counters.encoding = time(&timings.encoding);
        counters
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
            Engine::Cpu(_) | Engine::Plan(_) => Ok(()),
            Engine::Gpu(gpu) => gpu.check(),
        }
    }

    pub(crate) async fn read(&self, storage: &Storage, spec: Spec) -> Result<Vec<f64>> {
        let reading = self.begin_read(storage, spec)?;
        self.finish_read(reading).await
    }

    /// Has a value copied to where the host can see it, without waiting for that.
    pub(crate) fn begin_read(&self, storage: &Storage, spec: Spec) -> Result<Reading> {
        match (&self.0.engine, storage) {
            (_, Storage::Host(data)) => Ok(Reading::Host(data.clone())),
            (Engine::Gpu(gpu), Storage::Gpu(cell)) => {
                let mut session = self.0.profiler.session();
                let timer = session.as_mut().and_then(|s| s.as_mut()).map(|s| s.gpu_timer());
                Ok(Reading::Gpu(gpu.read(cell, spec, timer)?))
            }
            (Engine::Plan(planner), Storage::Gpu(_)) => Err(planner.read(spec)),
            (Engine::Cpu(_), Storage::Gpu(_)) => unreachable!("operands are on one device"),
        }
    }

    /// The elements of a value that is being read, once they are there.
    pub(crate) async fn finish_read(&self, reading: Reading) -> Result<Vec<f64>> {
        match (&self.0.engine, reading) {
            (_, Reading::Host(data)) => Ok(data.to_vec()),
            (Engine::Gpu(gpu), Reading::Gpu(reading)) => reading.values(gpu).await,
            (Engine::Cpu(_) | Engine::Plan(_), Reading::Gpu(_)) => {
                unreachable!("a reading belongs to its device")
            }
        }
    }

    /// Adds to the time spent on tracing.
    pub(crate) fn count_tracing(&self, time: Duration) {
        self.0.timings.tracing.fetch_add(time.as_nanos() as u64, Ordering::Relaxed);
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
