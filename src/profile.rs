//! Where the time goes: what each kernel took on the device, by op, shape and line of your program.
//!
//! ```no_run
//! # use recurve::{Device, Pick, Result};
//! # fn step() -> Result<()> { Ok(()) }
//! # fn main() -> Result<()> {
//! let dev = Device::open_blocking(Pick::Best)?;
//! let profile = dev.profile(|| step())?; // or start_profile() .. stop_profile()
//! println!("{profile}");
//! profile.write_chrome_trace("step.json")?; // for ui.perfetto.dev or chrome://tracing
//! # Ok(())
//! # }
//! ```
//!
//! A profile takes in whatever the device runs between its start and its end, on any thread. It changes no result:
//! the same kernels run in the same order, but each in a pass of its own, so that the device can be asked for the
//! time before and after it. Nothing is asked for, and nothing is made, while no profile is taken.

mod table;
mod trace_events;

use crate::op::{Cost, Io};
use crate::program::{Job, Program, Step};
use crate::shape::Spec;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

pub use crate::caller::Caller;
pub use table::{Kernel, Row};

/// What a device did between [`Device::start_profile`](crate::Device::start_profile) and
/// [`Device::stop_profile`](crate::Device::stop_profile). `Display` prints it as a table.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Profile {
    /// The device's name.
    pub device: String,
    /// Where the times come from.
    pub clock: Clock,
    /// What the device did, in order.
    pub events: Vec<Event>,
    /// Programs that ran.
    pub runs: u64,
    /// Host time from start to stop, waiting for the device included.
    pub wall: Duration,
}

/// Where the times of a [`Profile`] come from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Clock {
    /// The device's own clock, read before and after each dispatch.
    Timestamps,
    /// The host's clock: the adapter cannot read its own, so each dispatch is submitted by itself and waited for.
    /// Times include the submit and the wait.
    Waits,
    /// The host's clock around each op: the CPU reference.
    Host,
    /// None: a browser whose adapter has no timestamps. There are no events.
    None,
}

impl fmt::Display for Clock {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Clock::Timestamps => "timestamps of the device",
            Clock::Waits => "the host's clock, each dispatch submitted by itself and waited for",
            Clock::Host => "the host's clock",
            Clock::None => "no clock",
        })
    }
}

/// One thing that the device did.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Event {
    /// What it was.
    pub task: Arc<Task>,
    /// In which of the profile's runs, from 0; `None` for a read between runs.
    pub run: Option<u64>,
    /// When it began, from the first event's beginning.
    pub start: Duration,
    /// How long it took.
    pub time: Duration,
}

/// What an [`Event`] is an execution of: a dispatch of a program, or a copy before it.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Task {
    /// The op's name; `copy` for what moves values between buffers.
    pub op: String,
    /// The kernel variant; for a copy, what it is for.
    pub variant: String,
    /// The shader's file; empty for a copy, `reference` on the CPU.
    pub kernel: String,
    /// Workgroups.
    pub groups: [u64; 3],
    /// Operands and results.
    pub shapes: String,
    /// What was fused into the op: a chain of element-wise functions, or the ops that joined it.
    pub fused: String,
    /// Which step of the program it belongs to; `None` for a copy.
    pub step: Option<usize>,
    /// The line that asked for the op, when the program was first run.
    pub caller: Option<Caller>,
    /// Arithmetic and traffic. That of an op is counted with its first kernel.
    pub cost: Cost,
    /// Whether an execution of the op begins with it.
    leads: bool,
}

impl Task {
    /// A copy of `bytes` bytes from one buffer to another.
    pub(crate) fn copy(variant: &str, bytes: u64) -> Arc<Task> {
        Arc::new(Task {
            op: "copy".into(),
            variant: variant.into(),
            kernel: String::new(),
            groups: [0; 3],
            shapes: String::new(),
            fused: String::new(),
            step: None,
            caller: None,
            cost: Cost { flops: 0, bytes: 2 * bytes },
            leads: true,
        })
    }

    fn of_step(program: &Program, index: usize, step: &Step) -> Task {
        let (inputs, outputs) = program.specs(step);
        let list = |specs: &[Spec]| specs.iter().map(|s| s.shape.to_string()).collect::<Vec<_>>().join(" ");
        let arrow = if outputs.is_empty() { "" } else { " -> " };
        Task {
            op: step.op.name().into(),
            variant: String::new(),
            kernel: "reference".into(),
            groups: [0; 3],
            shapes: format!("{}{arrow}{}", list(&inputs), list(&outputs)),
            fused: step.fused(),
            step: Some(index),
            caller: Some(step.caller()),
            cost: step.op.cost(Io { inputs: &inputs, outputs: &outputs }),
            leads: true,
        }
    }

    fn of_job(program: &Program, job: &Job<'_>, first: bool) -> Task {
        let mut task = Task::of_step(program, job.index, job.step);
        task.kernel = job.dispatch.kernel.name.to_string();
        task.groups = job.dispatch.groups;
        match job.copy {
            Some(copy) => {
                let spec = program.values[copy.value].spec;
                task.variant = "copy".into();
                task.shapes = spec.shape.to_string();
                task.fused = String::new();
                task.cost = Cost { flops: 0, bytes: 2 * spec.bytes() };
            }
            None => {
                task.variant = job.step.kernels.as_ref().map_or("", |k| k.variant).into();
                if !first {
                    task.cost = Cost::default();
                    task.leads = false;
                }
            }
        }
        task
    }
}

/// The tasks of one program.
pub(crate) struct Tasks {
    /// By leaf: its copy into the program's slot.
    pub leaves: Vec<Arc<Task>>,
    /// On a GPU, by dispatch in the order of [`Program::jobs`]; on the CPU engine, by step.
    pub work: Vec<Arc<Task>>,
}

impl Tasks {
    /// What the CPU engine does, op by op.
    pub fn of_steps(program: &Program) -> Self {
        let steps = program.steps.iter().enumerate();
        Tasks {
            leaves: Vec::new(),
            work: steps.map(|(i, s)| Arc::new(Task::of_step(program, i, s))).collect(),
        }
    }

    /// What a GPU does, dispatch by dispatch.
    pub fn of_dispatches(program: &Program) -> Self {
        let mut last = None;
        let mut work = Vec::new();
        for job in program.jobs() {
            let first = job.copy.is_none() && last != Some(job.index);
            if job.copy.is_none() {
                last = Some(job.index);
            }
            work.push(Arc::new(Task::of_job(program, &job, first)));
        }
        let leaf = |&v: &usize| {
            let mut task = Task::clone(&Task::copy("input", program.values[v].spec.bytes()));
            task.shapes = program.values[v].spec.shape.to_string();
            Arc::new(task)
        };
        Tasks { leaves: program.leaves.iter().map(leaf).collect(), work }
    }
}

impl Profile {
    /// The events' times together.
    pub fn total(&self) -> Duration {
        self.events.iter().map(|e| e.time).sum()
    }

    /// Time in which the device did something that is listed: less than [`total`](Profile::total) where it did two
    /// things at once.
    pub fn busy(&self) -> Duration {
        let mut spans: Vec<(Duration, Duration)> =
            self.events.iter().map(|e| (e.start, e.start + e.time)).collect();
        spans.sort();
        let (mut busy, mut until) = (Duration::ZERO, Duration::ZERO);
        for (start, end) in spans {
            busy += end.saturating_sub(start.max(until));
            until = until.max(end);
        }
        busy
    }

    /// Time from the first event's beginning to the last one's end.
    pub fn span(&self) -> Duration {
        self.events.iter().map(|e| e.start + e.time).max().unwrap_or_default()
    }

    /// The part of [`span`](Profile::span) in which the device did nothing that is listed, from 0 to 1: it waited for
    /// the host, or took in what the host uploaded. By [`Clock::Waits`], submits and waits are most of it.
    pub fn idle_share(&self) -> f64 {
        let span = self.span().as_secs_f64();
        if span == 0.0 { 0.0 } else { 1.0 - self.busy().as_secs_f64() / span }
    }
}
