//! Times what a device does: by timestamps around each dispatch and copy, or, where an adapter has none, by submitting
//! each of them alone and waiting for it.

use super::Engine;
use super::buffers::Pooled;
use super::counted::Buffer;
use crate::error::Result;
use crate::profile::{Clock, Event, Task};
use std::sync::Arc;
use std::time::Duration;

/// Queries of one set: wgpu's limit.
const SET: u32 = wgpu::QUERY_SET_MAX_QUERIES;
/// Bytes of one query's result.
const QUERY_BYTES: u64 = 8;
/// A copy of results starts at a multiple of this many bytes.
const RESOLVE_ALIGN: u64 = wgpu::QUERY_RESOLVE_BUFFER_ALIGNMENT;

/// Bytes of a staging buffer for the results of several runs.
const PAGE: u64 = 64 << 10;

/// Times of one profile, as they come.
pub(crate) struct Timer {
    method: Method,
    runs: u64,
    /// The run that is being encoded; `None` for what happens between runs.
    run: Option<u64>,
}

enum Method {
    Timestamps(Timestamps),
    Waits { events: Vec<Event>, origin: Option<Duration> },
    None,
}

/// Queries are written anew in every submit; their results are copied behind those of the submits before.
struct Timestamps {
    sets: Vec<wgpu::QuerySet>,
    resolved: Option<Buffer>,
    /// What the present submit does; task `i` owns queries `2i` and `2i + 1`.
    tasks: Vec<Arc<Task>>,
    pages: Vec<Page>,
    /// Nanoseconds of a tick.
    period: f64,
    /// Whether copies can be timed where they stand.
    inside_encoders: bool,
}

/// Results of queries, and whose they are.
struct Page {
    results: Pooled,
    used: u64,
    tasks: Vec<(Option<u64>, Arc<Task>)>,
}

impl Timer {
    /// A timer by the device's clock, if it has one and `by_waits` is not set.
    pub fn new(engine: &Engine, by_waits: bool) -> Self {
        let features = engine.device.features();
        let method = if features.contains(wgpu::Features::TIMESTAMP_QUERY) && !by_waits {
            Method::Timestamps(Timestamps {
                sets: Vec::new(),
                resolved: None,
                tasks: Vec::new(),
                pages: Vec::new(),
                period: f64::from(engine.queue.get_timestamp_period()),
                inside_encoders: features.contains(wgpu::Features::TIMESTAMP_QUERY_INSIDE_ENCODERS),
            })
        } else if cfg!(target_arch = "wasm32") {
            Method::None
        } else {
            Method::Waits { events: Vec::new(), origin: None }
        };
        Timer { method, runs: 0, run: None }
    }

    pub fn clock(&self) -> Clock {
        match &self.method {
            Method::Timestamps(_) => Clock::Timestamps,
            Method::Waits { .. } => Clock::Waits,
            Method::None => Clock::None,
        }
    }

    /// From here to [`finish`](Timer::finish), what is timed belongs to the next run.
    pub fn begin_run(&mut self) {
        self.run = Some(self.runs);
        self.runs += 1;
        if let Method::Timestamps(t) = &mut self.method {
            t.tasks.clear();
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
        events.push(Event { task: task.clone(), run: self.run, start: start - origin, time });
        Ok(())
    }

    /// Nothing more is timed in `encoder`.
    pub fn finish(&mut self, engine: &Engine, encoder: &mut wgpu::CommandEncoder) -> Result<()> {
        let run = self.run.take();
        match &mut self.method {
            Method::Timestamps(t) => t.finish(engine, encoder, run),
            _ => Ok(()),
        }
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

    /// Copies the results of the queries to a page.
    fn finish(
        &mut self,
        engine: &Engine,
        encoder: &mut wgpu::CommandEncoder,
        run: Option<u64>,
    ) -> Result<()> {
        let queries = 2 * self.tasks.len() as u32;
        let bytes = u64::from(queries) * QUERY_BYTES;
        if queries == 0 {
            return Ok(());
        }
        if self.resolved.as_ref().is_none_or(|b| b.bytes() < bytes) {
            self.resolved = Some(engine.pool.queries(bytes.next_multiple_of(RESOLVE_ALIGN).max(PAGE))?);
        }
        if self.pages.last().is_none_or(|p| p.used + bytes > p.results.buffer().size()) {
            let results = engine.pool.take_staging(bytes.max(PAGE))?;
            self.pages.push(Page { results, used: 0, tasks: Vec::new() });
        }
        let resolved = self.resolved.as_ref().expect("made above").handle();
        let page = self.pages.last_mut().expect("made above");
        for (set, first) in self.sets.iter().zip((0..queries).step_by(SET as usize)) {
            let here = (queries - first).min(SET);
            encoder.resolve_query_set(set, 0..here, resolved, u64::from(first) * QUERY_BYTES);
        }
        encoder.copy_buffer_to_buffer(resolved, 0, page.results.buffer(), page.used, bytes);
        page.used += bytes;
        page.tasks.extend(self.tasks.drain(..).map(|task| (run, task)));
        engine.check()
    }

    async fn events(self, engine: &Engine) -> Result<Vec<Event>> {
        let mut events: Vec<(Option<u64>, Arc<Task>, u64, u64)> = Vec::new();
        for page in self.pages {
            let mapping = {
                let _turn = engine.turn();
                engine.map(page.results, page.used, None)
            };
            let ticks = |bytes: &[u8]| -> Vec<u64> {
                bytes
                    .chunks_exact(QUERY_BYTES as usize)
                    .map(|b| u64::from_le_bytes(b.try_into().expect("eight bytes")))
                    .collect()
            };
            let ticks = mapping.look(engine, ticks).await?;
            let pairs = ticks.chunks_exact(2).map(|pair| (pair[0], pair[1]));
            events.extend(page.tasks.into_iter().zip(pairs).map(|((run, task), (b, e))| (run, task, b, e)));
        }
        let origin = events.iter().map(|e| e.2).min().unwrap_or(0);
        let time = |ticks: u64| Duration::from_nanos((ticks as f64 * self.period) as u64);
        let event = |(run, task, begin, end): (_, _, u64, u64)| Event {
            task,
            run,
            start: time(begin - origin),
            // Browsers blur their clocks: an end may lie before its beginning.
            time: time(end.saturating_sub(begin)),
        };
        Ok(events.into_iter().map(event).collect())
    }
}
