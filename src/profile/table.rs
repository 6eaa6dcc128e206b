//! A profile as a table: events with the same op, variant, shapes and line together.

use super::{Caller, Clock, Profile, Task};
use crate::op::Cost;
use std::collections::HashMap;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

/// All executions of one op by one variant, on the same shapes, with the same ops fused into it, from the same line.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Row {
    /// The op's name; `copy` for what moves values between buffers.
    pub op: String,
    /// The kernel variant.
    pub variant: String,
    /// Operands and results.
    pub shapes: String,
    /// What was fused into the op.
    pub fused: String,
    /// The line that asked for the op.
    pub caller: Option<Caller>,
    /// How often it ran.
    pub count: u64,
    /// Time of all executions together.
    pub time: Duration,
    /// Arithmetic and traffic of all executions together.
    pub cost: Cost,
    /// Its kernels, in the order in which they run.
    pub kernels: Vec<Kernel>,
}

/// All executions of one kernel of a [`Row`].
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Kernel {
    /// The shader's file.
    pub name: String,
    /// Workgroups of one dispatch.
    pub groups: [u64; 3],
    /// How often it was dispatched.
    pub count: u64,
    /// Time of all dispatches together.
    pub time: Duration,
}

impl Row {
    /// Floating-point operations per second.
    pub fn flops_per_second(&self) -> f64 {
        rate(self.cost.flops, self.time)
    }

    /// Bytes per second, each tensor counted once per execution.
    pub fn bytes_per_second(&self) -> f64 {
        rate(self.cost.bytes, self.time)
    }
}

fn rate(amount: u64, time: Duration) -> f64 {
    if time.is_zero() { 0.0 } else { amount as f64 / time.as_secs_f64() }
}

impl Profile {
    /// Events grouped by op, variant, shapes, what is fused and line, the longest time first.
    pub fn rows(&self) -> Vec<Row> {
        let mut known: HashMap<*const Task, usize> = HashMap::new();
        let mut same: HashMap<([&str; 4], Option<Caller>), usize> = HashMap::new();
        let mut rows: Vec<Row> = Vec::new();
        for event in &self.events {
            let task = &event.task;
            let row = *known.entry(Arc::as_ptr(task)).or_insert_with(|| {
                let key = ([&*task.op, &task.variant, &task.shapes, &task.fused], task.caller);
                *same.entry(key).or_insert_with(|| {
                    rows.push(Row::empty(task));
                    rows.len() - 1
                })
            });
            rows[row].add(task, event.time);
        }
        rows.sort_by_key(|r| std::cmp::Reverse(r.time));
        rows
    }
}

impl Row {
    fn empty(task: &Task) -> Row {
        Row {
            op: task.op.clone(),
            variant: task.variant.clone(),
            shapes: task.shapes.clone(),
            fused: task.fused.clone(),
            caller: task.caller,
            count: 0,
            time: Duration::ZERO,
            cost: Cost::default(),
            kernels: Vec::new(),
        }
    }

    fn add(&mut self, task: &Task, time: Duration) {
        self.time += time;
        self.cost.flops += task.cost.flops;
        self.cost.bytes += task.cost.bytes;
        let at = self.kernels.iter().position(|k| k.name == task.kernel && k.groups == task.groups);
        let at = at.unwrap_or_else(|| {
            let (name, groups) = (task.kernel.clone(), task.groups);
            self.kernels.push(Kernel { name, groups, count: 0, time: Duration::ZERO });
            self.kernels.len() - 1
        });
        self.kernels[at].count += 1;
        self.kernels[at].time += time;
        self.count += u64::from(task.leads);
    }
}

/// As a table, the longest time first. A line below a row tells of one of its kernels, where it has several.
impl fmt::Display for Profile {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{} runs on {}, timed by {}", self.runs, self.device, self.clock)?;
        let total = self.total().as_secs_f64();
        writeln!(f, " share         ms  count    ms each  GFLOP/s    GB/s  op")?;
        for row in self.rows() {
            let share = if total > 0.0 { 100.0 * row.time.as_secs_f64() / total } else { 0.0 };
            write!(f, "{share:5.1}% {}", Times(row.time, row.count))?;
            write!(f, "{} {}  ", Giga(row.flops_per_second()), Giga(row.bytes_per_second()))?;
            let dot = if row.variant.is_empty() { "" } else { "." };
            write!(f, "{}{dot}{} {}", row.op, row.variant, row.shapes)?;
            if !row.fused.is_empty() {
                write!(f, " {{{}}}", row.fused)?;
            }
            if let Some(caller) = row.caller {
                write!(f, " at {caller}")?;
            }
            match &row.kernels[..] {
                [only] if only.groups != [0; 3] => writeln!(f, " by {} {:?}", only.name, only.groups)?,
                [_] => writeln!(f)?,
                several => {
                    writeln!(f)?;
                    for k in several {
                        let times = Times(k.time, k.count);
                        writeln!(f, "{:6} {times}{:18}{} {:?}", "", "", k.name, k.groups)?;
                    }
                }
            }
        }
        let (total, busy, span) = (ms(self.total()), ms(self.busy()), ms(self.span()));
        write!(f, "{total:.3} ms together")?;
        if self.clock != Clock::Waits {
            let idle = 100.0 * self.idle_share();
            write!(f, "; busy for {busy:.3} of {span:.3} ms from first to last, {idle:.1}% idle")?;
        }
        writeln!(f, "; {:.3} ms on the host's clock", ms(self.wall))
    }
}

fn ms(time: Duration) -> f64 {
    time.as_secs_f64() * 1e3
}

/// A time of so many executions.
struct Times(Duration, u64);

impl fmt::Display for Times {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:10.3} {:6} {:10.4}", ms(self.0), self.1, ms(self.0) / self.1.max(1) as f64)
    }
}

/// A rate in billions per second; nothing where there is none.
struct Giga(f64);

impl fmt::Display for Giga {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.0 == 0.0 { write!(f, "{:8}", "") } else { write!(f, "{:8.1}", self.0 / 1e9) }
    }
}
