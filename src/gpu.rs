//! The GPU engine: adapters, buffers, pipelines and recordings. Names no op.

pub(crate) mod adapter;
mod buffers;
mod counted;
pub(crate) mod fault;
mod layout;
mod opaque;
mod pipeline;
mod planner;
mod profile;
mod readback;
mod recording;
pub mod shader;
mod texels;

pub use adapter::AdapterEntry;
pub(crate) use buffers::{Cell, Region};
pub(crate) use layout::Layout;
pub(crate) use opaque::Opaque;
pub(crate) use planner::Planner;
pub(crate) use profile::Timer;
pub(crate) use readback::Reading;
pub(crate) use recording::Recording;

use crate::device::{Counters, Pick, Storage};
use crate::error::{Error, Result};
use crate::kernel::Target;
use crate::memory::{Part, Use};
use crate::op::Scalar;
use crate::profile::Tasks;
use crate::program::Program;
use crate::shape::Spec;
use buffers::Pool;
use counted::{Creator, Made};
use fault::Funnel;
use pipeline::Pipelines;
use std::collections::VecDeque;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// Steps that may be on their way before the host waits for the oldest.
const MAX_IN_FLIGHT: usize = 3;

/// An opened adapter.
pub(crate) struct Engine {
    name: String,
    target: Target,
    device: wgpu::Device,
    queue: wgpu::Queue,
    funnel: Arc<Funnel>,
    pool: Arc<Pool>,
    pipelines: Pipelines,
    /// Held while slots are written and submitted: recordings share them.
    in_flight: Mutex<VecDeque<wgpu::SubmissionIndex>>,
    /// Comes when the last step given to [`throttle`](Engine::throttle) has finished.
    #[cfg(target_arch = "wasm32")]
    submitted: Mutex<Option<futures_intrusive::channel::shared::OneshotReceiver<()>>>,
    made: Arc<Made>,
    /// Bytes written since the last submit.
    staged: AtomicU64,
    /// Whether calls from several threads must take turns.
    takes_turns: bool,
}

/// OpenGL has one context per instance; wgpu panics in a thread that waits for it while another waits for the GPU.
static TURN: Mutex<()> = Mutex::new(());

/// Whether a tensor fits one binding.
fn check_size(target: &Target, spec: Spec) -> Result<()> {
    let (bytes, limit) = (spec.padded_bytes(), target.max_binding.min(target.max_buffer));
    if bytes > limit { Err(Error::TensorTooLarge { spec, bytes, limit }) } else { Ok(()) }
}

impl Engine {
    /// Opens the adapter that `pick` names.
    pub async fn open(pick: &Pick) -> Result<Self> {
        adapter::find(pick).await?.open().await
    }

    fn new(
        name: String,
        target: Target,
        takes_turns: bool,
        device: wgpu::Device,
        queue: wgpu::Queue,
    ) -> Self {
        let funnel = Funnel::attach(&device);
        let made = Arc::<Made>::default();
        let pool = Pool::new(Creator::new(Some(device.clone()), &funnel, &made, target.max_buffer));
        let pipelines = Pipelines::new(&device, &funnel, &made, takes_turns, target.class);
        Engine {
            name,
            target,
            device,
            queue,
            funnel,
            pool,
            pipelines,
            in_flight: Mutex::default(),
            #[cfg(target_arch = "wasm32")]
            submitted: Mutex::default(),
            made,
            staged: AtomicU64::new(0),
            takes_turns,
        }
    }

    /// Held while calls to wgpu may touch the driver. Never held across an await.
    fn turn(&self) -> Option<MutexGuard<'static, ()>> {
        self.takes_turns.then(|| TURN.lock().unwrap_or_else(PoisonError::into_inner))
    }

    pub fn name(&self) -> &str {
        &self.name
    }

    pub fn target(&self) -> &Target {
        &self.target
    }

    /// The device's failure, if it has failed.
    pub fn check(&self) -> Result<()> {
        self.funnel.check()
    }

    pub fn counters(&self) -> Counters {
        self.made.counters()
    }

    /// What there is now, the most bytes that there were, and what the driver's allocator says.
    pub fn memory(&self) -> (Vec<Part>, u64, Option<u64>) {
        let (parts, most) = self.made.memory();
        (parts, most, self.pool.allocated())
    }

    pub fn destroy(&self) {
        self.device.destroy();
    }

    /// Copies `data` into a buffer of the pool.
    pub fn upload(&self, spec: Spec, data: &[u8]) -> Result<Storage> {
        self.check()?;
        check_size(&self.target, spec)?;
        let _turn = self.turn();
        let pooled = self.pool.take(spec.bytes())?;
        if !data.is_empty() {
            self.write(pooled.buffer(), pooled.offset(), data)?;
        }
        Ok(Storage::Gpu(Cell::pooled(pooled)))
    }

    pub fn write_region(&self, region: &Arc<Region>, offset: u64, values: &[f32]) -> Result<()> {
        // Values that somebody holds in the region are moved out first, in a submit of their own.
        let _turn = self.turn();
        let _queue = self.in_flight.lock().unwrap();
        let mut encoder = self.encoder();
        if region.evict(&self.pool, |moved| moved.encode(&mut encoder))? {
            self.submit(encoder)?;
        }
        self.write(region.buffer(), offset, bytemuck::cast_slice(values))?;
        self.check()
    }

    /// `write_buffer` keeps staging memory until the next submit, so large uploads are cut, and after much has been
    /// written without a submit there is an empty one.
    fn write(&self, buffer: &wgpu::Buffer, offset: u64, data: &[u8]) -> Result<()> {
        const PART: usize = 32 << 20;
        // What a write of a few bytes was measured to keep.
        const OVERHEAD: u64 = 8 << 10;
        for (i, part) in data.chunks(PART).enumerate() {
            self.queue.write_buffer(buffer, offset + (i * PART) as u64, part);
            let staged = part.len() as u64 + OVERHEAD;
            if self.staged.fetch_add(staged, Ordering::Relaxed) + staged >= PART as u64 {
                self.staged.store(0, Ordering::Relaxed);
                self.queue.submit([]);
                self.poll(wgpu::PollType::Poll)?;
            }
        }
        self.check()
    }

    pub fn new_region(&self, bytes: u64, label: &str) -> Result<Arc<Region>> {
        self.check()?;
        let _turn = self.turn();
        self.pool.region(bytes, Use::Arena, label)
    }

    /// Makes pipelines, buffers and bind groups for a program.
    pub fn record(&self, program: &Program) -> Result<Recording> {
        self.check()?;
        let _turn = self.turn();
        let recording = Recording::new(self, program)?;
        self.check()?;
        Ok(recording)
    }

    /// Replays a recording and returns where the held values are. With a timer, everything is timed.
    pub fn run(
        &self,
        program: &Program,
        recording: &Recording,
        leaves: &[Storage],
        scalars: &[Scalar],
        timer: Option<(&mut Timer, &Tasks)>,
    ) -> Result<Vec<Storage>> {
        self.check()?;
        let _turn = self.turn();
        let mut in_flight = self.in_flight.lock().unwrap();
        let mut encoder = self.encoder();
        let held = match timer {
            None => recording.encode(self, program, &mut encoder, leaves, scalars)?,
            Some(timer) => recording.encode_timed(self, program, &mut encoder, leaves, scalars, timer)?,
        };
        let index = self.submit(encoder)?;
        in_flight.push_back(index);
        if in_flight.len() > MAX_IN_FLIGHT
            && let Some(oldest) = in_flight.pop_front()
        {
            self.wait_for(oldest)?;
        }
        Ok(held)
    }

    /// Fills the slots of a recording with one word.
    #[cfg(not(target_arch = "wasm32"))]
    pub fn fill_slots(&self, recording: &Recording, word: u32) -> Result<()> {
        let _turn = self.turn();
        let _queue = self.in_flight.lock().unwrap();
        let mut encoder = self.encoder();
        for slot in recording.slots() {
            slot.evict(&self.pool, |moved| moved.encode(&mut encoder))?;
        }
        self.submit(encoder)?;
        for slot in recording.slots() {
            let words = vec![word; slot.bytes() as usize / 4];
            self.write(slot.buffer(), 0, bytemuck::cast_slice(&words))?;
        }
        Ok(())
    }

    fn encoder(&self) -> wgpu::CommandEncoder {
        self.device.create_command_encoder(&wgpu::CommandEncoderDescriptor { label: Some("recurve") })
    }

    fn submit(&self, encoder: wgpu::CommandEncoder) -> Result<wgpu::SubmissionIndex> {
        let index = self.queue.submit([encoder.finish()]);
        self.made.submits.fetch_add(1, Ordering::Relaxed);
        self.staged.store(0, Ordering::Relaxed);
        self.check()?;
        Ok(index)
    }

    #[cfg(not(target_arch = "wasm32"))]
    fn wait_for(&self, index: wgpu::SubmissionIndex) -> Result<()> {
        self.poll(wgpu::PollType::Wait { submission_index: Some(index), timeout: None })
    }

    /// A browser must not be made to wait: its own queue bounds what is in flight.
    #[cfg(target_arch = "wasm32")]
    fn wait_for(&self, _index: wgpu::SubmissionIndex) -> Result<()> {
        self.poll(wgpu::PollType::Poll)
    }

    /// A run has waited for the oldest step already.
    #[cfg(not(target_arch = "wasm32"))]
    pub async fn throttle(&self) -> Result<()> {
        self.check()
    }

    /// Waits for the last but one step: a browser goes on with others in the meantime.
    #[cfg(target_arch = "wasm32")]
    pub async fn throttle(&self) -> Result<()> {
        let (sender, receiver) = futures_intrusive::channel::shared::oneshot_channel();
        self.queue.on_submitted_work_done(move || {
            let _ = sender.send(());
        });
        let earlier = self.submitted.lock().unwrap().replace(receiver);
        if let Some(earlier) = earlier {
            earlier.receive().await;
        }
        self.check()
    }

    /// Waits until everything submitted has finished.
    #[cfg(not(target_arch = "wasm32"))]
    pub fn wait(&self) -> Result<()> {
        let _turn = self.turn();
        self.poll(wgpu::PollType::Wait { submission_index: None, timeout: None })?;
        self.in_flight.lock().unwrap().clear();
        Ok(())
    }

    /// The one place that polls: drivers may report a lost device by a panic here.
    fn poll(&self, how: wgpu::PollType) -> Result<()> {
        let poll = std::panic::AssertUnwindSafe(|| self.device.poll(how));
        match std::panic::catch_unwind(poll) {
            Ok(Ok(_)) => {}
            Ok(Err(error)) => self.funnel.lost(error.to_string()),
            Err(_) => self.funnel.lost("the driver failed while the device was polled".into()),
        }
        self.check()
    }
}
