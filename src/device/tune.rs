//! Choosing kernels by measurement: see [`tune`](crate::tune).

use super::{Device, Engine, Storage};
use crate::checkpoint::CheckpointError;
use crate::error::Result;
use crate::gpu;
use crate::op::Scalar;
use crate::profile::{Clock, Tasks};
use crate::program::{Listing, Program};
use crate::tune::{TuneConfig, Tuner, Tuning, default_file};
use std::sync::{Arc, PoisonError};
use std::time::Duration;

/// A program that no plan keeps, ready to be run and timed.
pub(crate) struct Once {
    program: Program,
    recording: gpu::Recording,
    tasks: Tasks,
}

impl Device {
    /// From now on chooses kernels by measurement, and keeps what it finds in a file: see [`tune`](crate::tune). The
    /// CPU reference has no kernels to choose among.
    ///
    /// # Errors
    /// [`Error::Checkpoint`](crate::Error::Checkpoint) when the file's folder cannot be made, or when no file is named
    /// and the environment names no folder for caches.
    pub fn tune(&self, config: &TuneConfig) -> Result<()> {
        let file = config.file.clone().or_else(default_file).ok_or_else(|| {
            let error = std::io::Error::new(std::io::ErrorKind::NotFound, "no folder for caches is known");
            CheckpointError::io("kernels.json".as_ref(), error)
        })?;
        if let (Some(folder), true) = (file.parent(), config.measure) {
            std::fs::create_dir_all(folder).map_err(|error| CheckpointError::io(folder, error))?;
        }
        self.run()?;
        if let Engine::Gpu(gpu) = &self.0.engine {
            let tuner = Tuner::new(gpu.name().into(), &file, config.measure);
            *self.0.tuner.lock().unwrap_or_else(PoisonError::into_inner) = Some(Arc::new(tuner));
            self.plans().forget();
        }
        Ok(())
    }

    /// Knows from now on what `other` knows.
    pub(super) fn tune_as(&self, other: &Device) {
        let tuner = other.0.tuner.lock().unwrap_or_else(PoisonError::into_inner).clone();
        *self.0.tuner.lock().unwrap_or_else(PoisonError::into_inner) = tuner;
    }

    /// Plans a listing, by measurement where that was asked for.
    pub(super) fn plan_listing(&self, listing: &Listing, scalars: &[Scalar]) -> Result<Program> {
        let tuner = self.0.tuner.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let tuning = tuner.as_deref().map(|tuner| Tuning { device: self, tuner });
        Program::plan_with(listing, self.target(), tuning.as_ref().map(|t| (t as _, scalars)))
    }

    /// Makes a program ready that is to be timed.
    ///
    /// # Panics
    /// On the CPU reference, and where nothing runs.
    pub(crate) fn ready_once(&self, program: Program) -> Result<Once> {
        let recording = self.timed_gpu().record(&program)?;
        let tasks = Tasks::of_dispatches(&program);
        Ok(Once { program, recording, tasks })
    }

    /// Runs a program and returns what its kernels took: by the device's clock, where it has one, else by the host's,
    /// copies of inputs and the way to the device and back included.
    ///
    /// # Panics
    /// On the CPU reference, and where nothing runs.
    pub(crate) fn time_once(&self, once: &Once, leaves: &[Storage], scalars: &[Scalar]) -> Result<Duration> {
        let gpu = self.timed_gpu();
        gpu.wait()?;
        let mut timer = gpu::Timer::new(gpu, false);
        if timer.clock() != Clock::Timestamps {
            let start = crate::clock::now();
            gpu.run(&once.program, &once.recording, leaves, scalars, None)?;
            gpu.wait()?;
            return Ok(crate::clock::now() - start);
        }
        gpu.run(&once.program, &once.recording, leaves, scalars, Some((&mut timer, &once.tasks)))?;
        gpu.wait()?;
        let events = pollster::block_on(timer.events(gpu))?;
        Ok(events.iter().filter(|e| e.task.step.is_some()).map(|e| e.time).sum())
    }

    fn timed_gpu(&self) -> &gpu::Engine {
        match &self.0.engine {
            Engine::Gpu(gpu) => gpu,
            Engine::Cpu(_) | Engine::Plan(_) => panic!("there is nothing to time"),
        }
    }
}
