//! The one place where a device's memory is created: every buffer and texture is counted from here until it is dropped.
//! Without a device nothing is created and everything is counted: that is how memory is planned.

use super::fault::Funnel;
use super::opaque::Opaque;
use crate::device::Counters;
use crate::error::{Error, Result};
use crate::memory::{Part, Use};
use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// Counts of objects created; see [`Counters`].
#[derive(Default)]
pub(crate) struct Made {
    pub bind_groups: AtomicU64,
    pub pipelines: AtomicU64,
    pub submits: AtomicU64,
    pub dispatches: AtomicU64,
    tally: Mutex<Tally>,
}

/// The memory that there is.
#[derive(Default)]
struct Tally {
    /// Bytes and pieces.
    parts: BTreeMap<(Use, Arc<str>), (u64, u64)>,
    bytes: u64,
    most: u64,
    /// Pieces that were ever made.
    made: u64,
}

impl Made {
    fn tally(&self) -> MutexGuard<'_, Tally> {
        self.tally.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub fn counters(&self) -> Counters {
        let get = |n: &AtomicU64| n.load(Ordering::Relaxed);
        let (buffers, buffer_bytes) = {
            let tally = self.tally();
            (tally.made, tally.bytes)
        };
        Counters {
            buffers,
            buffer_bytes,
            bind_groups: get(&self.bind_groups),
            pipelines: get(&self.pipelines),
            submits: get(&self.submits),
            dispatches: get(&self.dispatches),
            ..Counters::default()
        }
    }

    /// What there is, and the most bytes that there were.
    pub fn memory(&self) -> (Vec<Part>, u64) {
        let tally = self.tally();
        let part = |((used_for, label), &(bytes, pieces)): (&(Use, Arc<str>), &(u64, u64))| Part {
            used_for: *used_for,
            label: label.to_string(),
            bytes,
            pieces,
        };
        (tally.parts.iter().map(part).collect(), tally.most)
    }

    fn count(self: &Arc<Self>, used_for: Use, label: &str, bytes: u64) -> Counted {
        let key = (used_for, Arc::from(label));
        let mut tally = self.tally();
        let part = tally.parts.entry(key.clone()).or_default();
        *part = (part.0 + bytes, part.1 + 1);
        tally.bytes += bytes;
        tally.most = tally.most.max(tally.bytes);
        tally.made += 1;
        Counted { key, bytes, made: self.clone() }
    }
}

/// One piece of memory in the account, until it is dropped.
struct Counted {
    key: (Use, Arc<str>),
    bytes: u64,
    made: Arc<Made>,
}

impl Drop for Counted {
    fn drop(&mut self) {
        let mut tally = self.made.tally();
        tally.bytes -= self.bytes;
        if let Some(part) = tally.parts.get_mut(&self.key) {
            *part = (part.0 - self.bytes, part.1 - 1);
            if part.1 == 0 {
                tally.parts.remove(&self.key);
            }
        }
    }
}

/// A buffer; one that was only planned has no handle.
pub(crate) struct Buffer {
    handle: Option<Opaque<wgpu::Buffer>>,
    counted: Counted,
}

impl Buffer {
    /// # Panics
    /// When it was only planned: whoever plans encodes nothing.
    pub fn handle(&self) -> &wgpu::Buffer {
        self.handle.as_ref().expect("a planned buffer is not used")
    }

    pub fn bytes(&self) -> u64 {
        self.counted.bytes
    }
}

/// A texture that recordings copy what they read into; one that was only planned has no handle.
pub(crate) struct Texture {
    handle: Option<Opaque<(wgpu::Texture, wgpu::TextureView)>>,
    pub format: wgpu::TextureFormat,
    pub height: u32,
    counted: Counted,
}

impl Texture {
    /// # Panics
    /// When it was only planned: whoever plans encodes nothing.
    pub fn handle(&self) -> &(wgpu::Texture, wgpu::TextureView) {
        self.handle.as_ref().expect("a planned texture is not used")
    }

    pub fn bytes(&self) -> u64 {
        self.counted.bytes
    }
}

/// The driver that textures are made for gives out rows of texels by so many.
const TEXTURE_ROWS: u32 = 4;

/// Creates memory, or, without a device, plans it.
pub(crate) struct Creator {
    device: Option<Opaque<wgpu::Device>>,
    pub funnel: Arc<Funnel>,
    made: Arc<Made>,
    pub max_buffer: u64,
}

impl Creator {
    /// Creates buffers and textures of `device`, counts them in `made`, and reports what went wrong by `funnel`.
    pub fn new(
        device: Option<wgpu::Device>,
        funnel: &Arc<Funnel>,
        made: &Arc<Made>,
        max_buffer: u64,
    ) -> Self {
        let device = device.map(Opaque::new);
        Creator { device, funnel: funnel.clone(), made: made.clone(), max_buffer }
    }

    fn device(&self) -> Option<&wgpu::Device> {
        self.device.as_deref()
    }

    /// A new buffer, filled with zeros.
    pub fn buffer(
        &self,
        bytes: u64,
        usage: wgpu::BufferUsages,
        used_for: Use,
        label: &str,
    ) -> Result<Buffer> {
        if bytes > self.max_buffer {
            let message = format!("a buffer of {bytes} bytes is above the limit of {}", self.max_buffer);
            return Err(Error::OutOfMemory { message });
        }
        let descriptor =
            wgpu::BufferDescriptor { label: Some(label), size: bytes, usage, mapped_at_creation: false };
        let handle = self.device().map(|device| Opaque::new(device.create_buffer(&descriptor)));
        let buffer = Buffer { handle, counted: self.made.count(used_for, label, bytes) };
        self.funnel.check()?;
        Ok(buffer)
    }

    /// A new texture.
    pub fn texture(&self, format: wgpu::TextureFormat, width: u32, height: u32) -> Result<Texture> {
        let label = "textures";
        let descriptor = wgpu::TextureDescriptor {
            label: Some(label),
            size: wgpu::Extent3d { width, height, depth_or_array_layers: 1 },
            mip_level_count: 1,
            sample_count: 1,
            dimension: wgpu::TextureDimension::D2,
            format,
            usage: wgpu::TextureUsages::STORAGE_BINDING | wgpu::TextureUsages::COPY_DST,
            view_formats: &[],
        };
        let handle = self.device().map(|device| device.create_texture(&descriptor));
        let rows = u64::from(height.next_multiple_of(TEXTURE_ROWS));
        let bytes = u64::from(width) * rows * format.block_copy_size(None).map_or(0, u64::from);
        let counted = self.made.count(Use::Textures, label, bytes);
        self.funnel.check()?;
        let viewed = |texture: wgpu::Texture| {
            let view = texture.create_view(&wgpu::TextureViewDescriptor::default());
            (texture, view)
        };
        let handle = handle.map(|texture| Opaque::new(viewed(texture)));
        Ok(Texture { handle, format, height, counted })
    }

    /// Bytes that the driver's allocator has given out for what was created here, where it tells.
    pub fn allocated(&self) -> Option<u64> {
        let report = self.device()?.generate_allocator_report()?;
        let own = report.allocations.iter().filter(|a| !a.name.starts_with("(wgpu internal)"));
        Some(own.map(|a| a.size).sum())
    }
}
