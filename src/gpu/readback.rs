//! Values on their way back to the host.

use super::buffers::{Cell, Pooled};
use super::{Engine, Timer};
use crate::error::{Error, Result};
use crate::profile::Task;
use crate::shape::{DType, Spec};
use futures_intrusive::channel::shared::{OneshotReceiver, oneshot_channel};
use std::sync::Arc;

/// A buffer that the host will see.
pub(super) struct Mapping {
    buffer: Pooled,
    bytes: u64,
    done: OneshotReceiver<Result<(), wgpu::BufferAsyncError>>,
    /// What filled the buffer; everything submitted where that is not known.
    filled: Option<wgpu::SubmissionIndex>,
}

impl Mapping {
    /// Waits until the buffer is mapped, and has `f` look at its bytes. Later submits are not waited for.
    pub async fn look<T>(self, engine: &Engine, f: impl FnOnce(&[u8]) -> T) -> Result<T> {
        // Elsewhere the host cannot wait: mapping is told of by the browser.
        #[cfg(not(target_arch = "wasm32"))]
        {
            let _turn = engine.turn();
            engine.poll(wgpu::PollType::Wait { submission_index: self.filled.clone(), timeout: None })?;
        }
        match self.done.receive().await {
            Some(Ok(())) => {}
            Some(Err(error)) => engine.funnel.lost(error.to_string()),
            None => engine.funnel.lost("the device dropped a read".into()),
        }
        engine.check()?;
        let view = self.buffer.buffer().slice(..self.bytes).get_mapped_range();
        let view = view.map_err(|e| Error::Validation { message: e.to_string() })?;
        Ok(f(&view))
    }
}

/// Takes the buffer back from the host, also when a read is given up half-way.
impl Drop for Mapping {
    fn drop(&mut self) {
        self.buffer.buffer().unmap();
    }
}

/// A value on its way to the host.
pub(crate) struct Reading {
    /// `None` when the value has no elements.
    mapping: Option<Mapping>,
    spec: Spec,
}

impl Reading {
    /// The value's elements.
    pub async fn values(self, engine: &Engine) -> Result<Vec<f64>> {
        let Some(mapping) = self.mapping else { return Ok(Vec::new()) };
        let word = |b: &[u8]| [b[0], b[1], b[2], b[3]];
        let words = |view: &[u8]| match self.spec.dtype {
            DType::F32 => view.chunks_exact(4).map(|b| f32::from_le_bytes(word(b)) as f64).collect(),
            DType::U32 => view.chunks_exact(4).map(|b| u32::from_le_bytes(word(b)) as f64).collect(),
        };
        mapping.look(engine, words).await
    }
}

impl Engine {
    /// Begins to map the first `bytes` bytes of a staging buffer.
    pub(super) fn map(&self, buffer: Pooled, bytes: u64, filled: Option<wgpu::SubmissionIndex>) -> Mapping {
        let (sender, done) = oneshot_channel();
        let mapping = Mapping { buffer, bytes, done, filled };
        mapping.buffer.buffer().slice(..bytes).map_async(wgpu::MapMode::Read, move |result| {
            let _ = sender.send(result);
        });
        mapping
    }

    /// Begins to copy a value back to the host.
    pub fn read(&self, cell: &Arc<Cell>, spec: Spec, timer: Option<&mut Timer>) -> Result<Reading> {
        self.check()?;
        let bytes = spec.bytes();
        if bytes == 0 {
            return Ok(Reading { mapping: None, spec });
        }
        let _turn = self.turn();
        let staging = self.pool.take_staging(bytes)?;
        let filled = {
            let _queue = self.in_flight.lock().unwrap();
            let mut encoder = self.encoder();
            let copy = |encoder: &mut wgpu::CommandEncoder| {
                cell.copy_to(encoder, staging.buffer(), 0, bytes);
                Ok(())
            };
            match timer {
                None => copy(&mut encoder)?,
                Some(timer) => {
                    timer.copy(self, &mut encoder, &Task::copy("read", bytes), copy)?;
                    timer.finish(self, &mut encoder)?;
                }
            }
            self.submit(encoder)?
        };
        Ok(Reading { mapping: Some(self.map(staging, bytes, Some(filled))), spec })
    }
}
