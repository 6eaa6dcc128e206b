//! A profile as a table: events with the same op, variant, shapes and line together.

use super::{Profile, Task};
use crate::op::Cost;
use std::collections::HashMap;
use std::fmt;
use std::panic::Location;
use std::sync::Arc;
use std::time::Duration;

/// All executions of one op by one variant, on the same shapes, from the same line.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Row {
    /// The op's name; `copy` for what moves values between buffers.
    pub op: String,
    /// The kernel variant.
    pub variant: String,
    /// Operands and results.
    pub shapes: String,
    /// The line that asked for the op.
    pub caller: Option<&'static Location<'static>>,
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
    /// Events grouped by op, variant, shapes and line, the longest time first.
    pub fn rows(&self) -> Vec<Row> {
        let mut known: HashMap<*const Task, usize> = HashMap::new();
        let mut same: HashMap<(&str, &str, &str, Option<&Location<'_>>), usize> = HashMap::new();
        let mut rows: Vec<Row> = Vec::new();
        for event in &self.events {
            let task = &event.task;
            let row = *known.entry(Arc::as_ptr(task)).or_insert_with(|| {
                *same.entry((&task.op, &task.variant, &task.shapes, task.caller)).or_insert_with(|| {
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
        self.count = self.kernels[0].count;
    }
}

impl fmt::Display for Profile {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{} runs on {}, timed by {}", self.runs, self.device, self.clock)?;
        let busy = self.busy().as_secs_f64();
        let ms = |t: Duration| t.as_secs_f64() * 1e3;
        writeln!(
            f,
            "{:>10} {:>6} {:>5} {:>10} {:>8} {:>7}  what",
            "ms", "share", "count", "ms each", "GFLOP/s", "GB/s"
        )?;
        for row in self.rows() {
            let share = if busy > 0.0 { 100.0 * row.time.as_secs_f64() / busy } else { 0.0 };
            let dot = if row.variant.is_empty() { "" } else { "." };
            write!(
                f,
                "{:10.3} {share:5.1}% {:5} {:10.4} {:8.1} {:7.1}  {}{dot}{} {}",
                ms(row.time),
                row.count,
                ms(row.time) / row.count.max(1) as f64,
                row.flops_per_second() / 1e9,
                row.bytes_per_second() / 1e9,
                row.op,
                row.variant,
                row.shapes,
            )?;
            match row.caller {
                Some(caller) => writeln!(f, " at {}:{}", caller.file(), caller.line())?,
                None => writeln!(f)?,
            }
            for kernel in row.kernels.iter().filter(|k| k.groups != [0; 3]) {
                writeln!(
                    f,
                    "{:10.3} {:6} {:5} {:10.4} {:16}    {} {:?}",
                    ms(kernel.time),
                    "",
                    kernel.count,
                    ms(kernel.time) / kernel.count as f64,
                    "",
                    kernel.name,
                    kernel.groups
                )?;
            }
        }
        writeln!(
            f,
            "{:10.3} ms busy of {:.3} from first to last, idle {:.1} %; {:.3} ms on the host's clock",
            busy * 1e3,
            ms(self.span()),
            100.0 * self.idle_share(),
            ms(self.wall)
        )
    }
}
