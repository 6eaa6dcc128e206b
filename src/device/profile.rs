//! Starting and ending a profile.

use super::plans::{Plan, Ready};
use super::{Device, Engine};
use crate::cpu;
use crate::error::Result;
use crate::gpu;
use crate::profile::{Clock, Profile, Tasks};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

/// A device's profile under way, if there is one.
#[derive(Default)]
pub(super) struct Profiler {
    /// Set while there is a session, so that a run without one takes no lock.
    on: AtomicBool,
    session: Mutex<Option<Session>>,
}

/// What a profile has seen so far.
pub(super) struct Session {
    started: Duration,
    /// The device's count of runs at the start.
    runs: u64,
    timer: Timer,
}

enum Timer {
    Host(cpu::Timer),
    Gpu(gpu::Opaque<gpu::Timer>),
}

impl Profiler {
    /// The session, held for one run.
    pub fn session(&self) -> Option<MutexGuard<'_, Option<Session>>> {
        let on = self.on.load(Ordering::Acquire);
        on.then(|| self.session.lock().unwrap_or_else(PoisonError::into_inner))
    }

    fn replace(&self, session: Option<Session>) -> Option<Session> {
        let mut held = self.session.lock().unwrap_or_else(PoisonError::into_inner);
        self.on.store(session.is_some(), Ordering::Release);
        std::mem::replace(&mut held, session)
    }
}

impl Session {
    pub fn host<'a>(&'a mut self, tasks: &'a Tasks) -> (&'a mut cpu::Timer, &'a Tasks) {
        match &mut self.timer {
            Timer::Host(timer) => (timer, tasks),
            Timer::Gpu(_) => unreachable!("a session belongs to its device"),
        }
    }

    pub fn gpu<'a>(&'a mut self, tasks: &'a Tasks) -> (&'a mut gpu::Timer, &'a Tasks) {
        (self.gpu_timer(), tasks)
    }

    pub fn gpu_timer(&mut self) -> &mut gpu::Timer {
        match &mut self.timer {
            Timer::Gpu(timer) => timer,
            Timer::Host(_) => unreachable!("a session belongs to its device"),
        }
    }
}

impl Plan {
    pub(super) fn tasks(&self) -> &Tasks {
        self.tasks.get_or_init(|| match &self.ready {
            Ready::Cpu(_) => Tasks::of_steps(&self.program),
            Ready::Gpu(_) | Ready::Plan(_) => Tasks::of_dispatches(&self.program),
        })
    }
}

impl Device {
    /// Profiles what `f` has the device do: see [`profile`](crate::profile).
    ///
    /// # Errors
    /// `f`'s error, or whatever stopped the computation.
    #[cfg(not(target_arch = "wasm32"))]
    pub fn profile(&self, f: impl FnOnce() -> Result<()>) -> Result<Profile> {
        /// Gives the profile up where `f` panics.
        struct Guard<'a>(&'a Device);
        impl Drop for Guard<'_> {
            fn drop(&mut self) {
                self.0.0.profiler.replace(None);
            }
        }
        self.start_profile()?;
        let _guard = Guard(self);
        f()?;
        self.stop_profile()
    }

    /// Starts a profile, after what is pending on this thread. One that is under way is given up.
    ///
    /// # Errors
    /// As [`run`](Device::run).
    pub fn start_profile(&self) -> Result<()> {
        self.start_profile_timed(false)
    }

    /// [`start_profile`](Device::start_profile) as on an adapter without timestamps, for tests of that way.
    ///
    /// # Errors
    /// As `start_profile`.
    #[doc(hidden)]
    pub fn start_profile_by_waits(&self) -> Result<()> {
        self.start_profile_timed(true)
    }

    fn start_profile_timed(&self, by_waits: bool) -> Result<()> {
        self.run()?;
        #[cfg(not(target_arch = "wasm32"))]
        self.wait()?;
        let timer = match &self.0.engine {
            Engine::Cpu(_) | Engine::Plan(_) => Timer::Host(cpu::Timer::default()),
            Engine::Gpu(gpu) => Timer::Gpu(gpu::Opaque::new(gpu::Timer::new(gpu, by_waits))),
        };
        let runs = self.0.timings.runs.load(Ordering::Relaxed);
        self.0.profiler.replace(Some(Session { started: crate::clock::now(), runs, timer }));
        Ok(())
    }

    /// Runs what is pending on this thread, waits for the device and ends the profile. Without one, the result is
    /// empty.
    ///
    /// # Errors
    /// Whatever stopped the computation: see [`Error`](crate::Error).
    #[cfg(not(target_arch = "wasm32"))]
    pub fn stop_profile(&self) -> Result<Profile> {
        pollster::block_on(self.stop_profile_async())
    }

    /// [`stop_profile`](Device::stop_profile) without blocking the thread.
    ///
    /// # Errors
    /// As `stop_profile`.
    pub async fn stop_profile_async(&self) -> Result<Profile> {
        let ran = self.run();
        #[cfg(not(target_arch = "wasm32"))]
        let ran = ran.and_then(|()| self.wait());
        let session = self.0.profiler.replace(None);
        ran?;
        let device = self.name();
        let Some(session) = session else {
            return Ok(Profile { device, clock: Clock::None, events: vec![], runs: 0, wall: Duration::ZERO });
        };
        let wall = crate::clock::now() - session.started;
        let runs = self.0.timings.runs.load(Ordering::Relaxed) - session.runs;
        let (clock, events) = match (session.timer, &self.0.engine) {
            (Timer::Gpu(timer), Engine::Gpu(gpu)) => (timer.clock(), timer.take().events(gpu).await?),
            (Timer::Host(timer), _) => (Clock::Host, timer.events),
            (Timer::Gpu(_), _) => unreachable!("a session belongs to its device"),
        };
        Ok(Profile { device, clock, events, runs, wall })
    }
}
