//! Times what a device does: by timestamps around each dispatch and copy, or, where an adapter has none, by submitting
//! each of them alone and waiting for it.

use super::Engine;
use crate::error::{Error, Result};
use crate::profile::{Clock, Event, Task};
use std::sync::Arc;
use std::time::Duration;

/// Queries of one set: wgpu's limit.
const SET: u32 = wgpu::QUERY_SET_MAX_QUERIES;
/// Bytes of one query's result.
const QUERY_BYTES: u64 = 8;
/// A copy of results starts at a multiple of this many bytes.
const RESOLVE_ALIGN: u64 = wgpu::QUERY_RESOLVE_BUFFER_ALIGNMENT;

/// Times of one profile, as they come.
pub(crate) struct Timer {
    method: Method,
    runs: u64,
}

enum Method {
    Timestamps(Timestamps),
    Waits { events: Vec<Event>, origin: Option<Duration> },
    None,
}

/// Queries are written anew in every run; their results are copied behind those of the runs before.
struct Timestamps {
    sets: Vec<wgpu::QuerySet>,
    resolved: Option<wgpu::Buffer>,
    /// The present run's tasks; task `i` owns queries `2i` and `2i + 1`.
    tasks: Vec<Arc<Task>>,
    finished: Vec<Finished>,
    /// Nanoseconds of a tick.
    period: f64,
    /// Whether copies can be timed where they stand.
    inside_encoders: bool,
}

/// A run's tasks, and the buffer that their queries were copied to.
struct Finished {
    run: u64,
    tasks: Vec<Arc<Task>>,
    results: wgpu::Buffer,
}

impl Timer {
    pub fn new(engine: &Engine) -> Self {
        let features = engine.device.features();
        let method = if features.contains(wgpu::Features::TIMESTAMP_QUERY) {
            Method::Timestamps(Timestamps {
                sets: Vec::new(),
                resolved: None,
                tasks: Vec::new(),
                finished: Vec::new(),
                period: f64::from(engine.queue.get_timestamp_period()),
                inside_encoders: features.contains(wgpu::Features::TIMESTAMP_QUERY_INSIDE_ENCODERS),
            })
        } else if cfg!(target_arch = "wasm32") {
            Method::None
        } else {
            Method::Waits { events: Vec::new(), origin: None }
        };
        Timer { method, runs: 0 }
    }

    pub fn clock(&self) -> Clock {
        match &self.method {
            Method::Timestamps(_) => Clock::Timestamps,
            Method::Waits { .. } => Clock::Waits,
            Method::None => Clock::None,
        }
    }

    /// Times what `encode` encodes outside of passes.
    pub fn copy(
        &mut self,
        engine: &Engine,
        encoder: &mut wgpu::CommandEncoder,
        task: &Arc<Task>,
        encode: impl FnOnce(&mut wgpu::CommandEncoder) -> Result<()>,
    ) -> Result<()> {
        match &mut self.method {
            Method::Timestamps(t) => {
                let (set, first) = t.queries(engine, task);
                let set = &t.sets[set];
                let mark = |encoder: &mut wgpu::CommandEncoder, begin: Option<u32>, end: Option<u32>| {
                    if t.inside_encoders {
                        begin.or(end).into_iter().for_each(|query| encoder.write_timestamp(set, query));
                    } else {
                        drop(pass(encoder, Some((set, begin, end))));
                    }
                };
                mark(encoder, None, Some(first));
                encode(encoder)?;
                mark(encoder, Some(first + 1), None);
                Ok(())
            }
            Method::Waits { .. } => self.wait_for(engine, encoder, task, encode),
            Method::None => encode(encoder),
        }
    }

    /// Times the dispatch that `encode` encodes, in a pass of its own.
    pub fn dispatch(
        &mut self,
        engine: &Engine,
        encoder: &mut wgpu::CommandEncoder,
        task: &Arc<Task>,
        encode: impl FnOnce(&mut wgpu::ComputePass<'_>),
    ) -> Result<()> {
        match &mut self.method {
            Method::Timestamps(t) => {
                let (set, first) = t.queries(engine, task);
                encode(&mut pass(encoder, Some((&t.sets[set], Some(first), Some(first + 1)))));
                Ok(())
            }
            Method::Waits { .. } => self.wait_for(engine, encoder, task, |encoder| {
                encode(&mut pass(encoder, None));
                Ok(())
            }),
            Method::None => {
                encode(&mut pass(encoder, None));
                Ok(())
            }
        }
    }

    fn wait_for(
        &mut self,
        engine: &Engine,
        encoder: &mut wgpu::CommandEncoder,
        task: &Arc<Task>,
        encode: impl FnOnce(&mut wgpu::CommandEncoder) -> Result<()>,
    ) -> Result<()> {
        let Method::Waits { events, origin } = &mut self.method else { unreachable!("times by waiting") };
        // What was encoded or is on its way must not count.
        let before = std::mem::replace(encoder, engine.encoder());
        let index = engine.submit(before)?;
        engine.wait_for(index)?;
        encode(encoder)?;
        let work = std::mem::replace(encoder, engine.encoder());
        let start = crate::clock::now();
        let index = engine.submit(work)?;
        engine.wait_for(index)?;
        let origin = *origin.get_or_insert(start);
        let time = crate::clock::now() - start;
        events.push(Event { task: task.clone(), run: self.runs, start: start - origin, time });
        Ok(())
    }

    /// Ends a run: nothing more is timed in `encoder`.
    pub fn finish_run(&mut self, engine: &Engine, encoder: &mut wgpu::CommandEncoder) -> Result<()> {
        if let Method::Timestamps(t) = &mut self.method {
            t.finish_run(engine, encoder, self.runs)?;
        }
        self.runs += 1;
        Ok(())
    }

    /// The events of all runs. The device has been waited for where that is possible.
    pub async fn events(self, engine: &Engine) -> Result<Vec<Event>> {
        match self.method {
            Method::Timestamps(t) => t.events(engine).await,
            Method::Waits { events, .. } => Ok(events),
            Method::None => Ok(Vec::new()),
        }
    }
}

fn pass<'e>(
    encoder: &'e mut wgpu::CommandEncoder,
    queries: Option<(&wgpu::QuerySet, Option<u32>, Option<u32>)>,
) -> wgpu::ComputePass<'e> {
    encoder.begin_compute_pass(&wgpu::ComputePassDescriptor {
        label: None,
        timestamp_writes: queries.map(|(query_set, begin, end)| wgpu::ComputePassTimestampWrites {
            query_set,
            beginning_of_pass_write_index: begin,
            end_of_pass_write_index: end,
        }),
    })
}

impl Timestamps {
    /// The next task's set and the first of its two queries there.
    fn queries(&mut self, engine: &Engine, task: &Arc<Task>) -> (usize, u32) {
        let query = 2 * self.tasks.len() as u32;
        let set = (query / SET) as usize;
        if set == self.sets.len() {
            self.sets.push(engine.device.create_query_set(&wgpu::QuerySetDescriptor {
                label: Some("profile"),
                ty: wgpu::QueryType::Timestamp,
                count: SET,
            }));
        }
        self.tasks.push(task.clone());
        (set, query % SET)
    }

    fn finish_run(&mut self, engine: &Engine, encoder: &mut wgpu::CommandEncoder, run: u64) -> Result<()> {
        let tasks = std::mem::take(&mut self.tasks);
        if tasks.is_empty() {
            return Ok(());
        }
        let queries = 2 * tasks.len() as u32;
        let bytes = u64::from(queries) * QUERY_BYTES;
        let buffer = |usage, bytes: u64| {
            let size = bytes.next_multiple_of(RESOLVE_ALIGN);
            engine.device.create_buffer(&wgpu::BufferDescriptor {
                label: Some("profile"),
                size,
                usage,
                mapped_at_creation: false,
            })
        };
        if self.resolved.as_ref().is_none_or(|b| b.size() < bytes) {
            use wgpu::BufferUsages as U;
            self.resolved = Some(buffer(U::QUERY_RESOLVE | U::COPY_SRC, bytes));
        }
        let resolved = self.resolved.as_ref().expect("made above");
        let results = buffer(wgpu::BufferUsages::MAP_READ | wgpu::BufferUsages::COPY_DST, bytes);
        for (i, set) in self.sets.iter().enumerate().take(queries.div_ceil(SET) as usize) {
            let first = i as u32 * SET;
            let offset = u64::from(first) * QUERY_BYTES;
            encoder.resolve_query_set(set, 0..(queries - first).min(SET), resolved, offset);
        }
        encoder.copy_buffer_to_buffer(resolved, 0, &results, 0, bytes);
        self.finished.push(Finished { run, tasks, results });
        engine.check()
    }

    async fn events(self, engine: &Engine) -> Result<Vec<Event>> {
        let mut ticks: Vec<(Arc<Task>, u64, u64, u64)> = Vec::new();
        for finished in &self.finished {
            let slice = finished.results.slice(..);
            let mapping = {
                let _turn = engine.turn();
                engine.map(slice)?
            };
            engine.mapped(mapping).await?;
            let view = slice.get_mapped_range().map_err(|e| Error::Validation { message: e.to_string() })?;
            let mut values =
                view.chunks_exact(8).map(|b| u64::from_le_bytes(b.try_into().expect("eight bytes")));
            for task in &finished.tasks {
                let (begin, end) = (values.next().unwrap_or(0), values.next().unwrap_or(0));
                ticks.push((task.clone(), finished.run, begin, end));
            }
        }
        let origin = ticks.iter().map(|t| t.2).min().unwrap_or(0);
        let time = |ticks: u64| Duration::from_nanos((ticks as f64 * self.period) as u64);
        let event = |(task, run, begin, end): (_, _, u64, u64)| Event {
            task,
            run,
            start: time(begin - origin),
            time: time(end.saturating_sub(begin)),
        };
        Ok(ticks.into_iter().map(event).collect())
    }
}
