//! The one funnel for what goes wrong on a device: without it, wgpu panics on validation errors, and calls after a
//! loss look successful. The first failure is kept; every later check returns it.

use crate::error::{Error, Result};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};

/// Collects a device's failures.
pub(crate) struct Funnel {
    failed: AtomicBool,
    first: Mutex<Option<Error>>,
}

impl Funnel {
    /// Listens to nothing: nothing can fail where nothing is created.
    pub fn silent() -> Arc<Self> {
        Arc::new(Funnel { failed: AtomicBool::new(false), first: Mutex::new(None) })
    }

    /// Listens to `device`.
    pub fn attach(device: &wgpu::Device) -> Arc<Self> {
        let funnel = Funnel::silent();
        let errors = funnel.clone();
        device.on_uncaptured_error(Arc::new(move |error| errors.record(from_wgpu(error))));
        let losses = funnel.clone();
        device.set_device_lost_callback(move |reason, message| {
            losses.lost(format!("{reason:?}: {message}"));
        });
        funnel
    }

    /// Notes that the device is gone. A loss outranks what was noted before: later calls must say so.
    pub fn lost(&self, reason: String) {
        let mut first = self.first.lock().unwrap();
        if !matches!(*first, Some(Error::DeviceLost { .. })) {
            *first = Some(Error::DeviceLost { reason });
        }
        self.failed.store(true, Ordering::Release);
    }

    fn record(&self, error: Error) {
        log::error!("{error}");
        self.first.lock().unwrap().get_or_insert(error);
        self.failed.store(true, Ordering::Release);
    }

    /// The first failure, if any.
    pub fn check(&self) -> Result<()> {
        if !self.failed.load(Ordering::Acquire) {
            return Ok(());
        }
        self.first.lock().unwrap().clone().map_or(Ok(()), Err)
    }
}

/// A wgpu error as ours.
pub(crate) fn from_wgpu(error: wgpu::Error) -> Error {
    match error {
        wgpu::Error::OutOfMemory { source } => Error::OutOfMemory { message: source.to_string() },
        wgpu::Error::Validation { description, .. } => Error::Validation { message: description },
        wgpu::Error::Internal { description, .. } => Error::Validation { message: description },
    }
}
