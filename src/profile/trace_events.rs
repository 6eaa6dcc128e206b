//! A profile in the trace event format that Chrome and Perfetto read ("Trace Event Format", Google, 2016).

use super::Profile;
use crate::checkpoint::write_atomically;
use crate::error::Result;
use serde_json::{Value, json};
use std::path::Path;
use std::time::Duration;

impl Profile {
    /// The events as JSON for `ui.perfetto.dev` or `chrome://tracing`: one bar for each, and one over them for each
    /// run.
    pub fn chrome_trace(&self) -> String {
        let us = |t: Duration| t.as_nanos() as f64 / 1e3;
        let name = |tid: u32, kind: &str, name: &str| json!({"ph": "M", "pid": 1, "tid": tid, "name": kind, "args": {"name": name}});
        let mut events: Vec<Value> = vec![
            name(0, "process_name", &self.device),
            name(1, "thread_name", "runs"),
            name(2, "thread_name", "dispatches and copies"),
        ];
        let mut runs: Vec<(u64, Duration, Duration)> = Vec::new();
        for event in &self.events {
            let end = event.start + event.time;
            match (event.run, runs.last_mut()) {
                (Some(index), Some(run)) if run.0 == index => run.2 = end,
                (Some(index), _) => runs.push((index, event.start, end)),
                (None, _) => {}
            }
            let task = &event.task;
            let title = match task.variant.is_empty() {
                true => task.op.clone(),
                false => format!("{}.{}", task.op, task.variant),
            };
            events.push(json!({
                "ph": "X", "pid": 1, "tid": 2, "name": title, "cat": task.op,
                "ts": us(event.start), "dur": us(event.time),
                "args": {
                    "kernel": task.kernel,
                    "workgroups": task.groups,
                    "shapes": task.shapes,
                    "fused": task.fused,
                    "step": task.step,
                    "line": task.caller.map(|c| c.to_string()),
                    "flops": task.cost.flops,
                    "bytes": task.cost.bytes,
                },
            }));
        }
        for (run, start, end) in runs {
            events.push(json!({
                "ph": "X", "pid": 1, "tid": 1, "name": format!("run {run}"), "cat": "run",
                "ts": us(start), "dur": us(end - start),
            }));
        }
        json!({"displayTimeUnit": "ms", "traceEvents": events}).to_string()
    }

    /// Writes [`chrome_trace`](Profile::chrome_trace) to a file.
    ///
    /// # Errors
    /// [`Error::Checkpoint`](crate::Error::Checkpoint) when the file cannot be written.
    pub fn write_chrome_trace(&self, path: impl AsRef<Path>) -> Result<()> {
        Ok(write_atomically(path.as_ref(), self.chrome_trace().as_bytes())?)
    }
}
