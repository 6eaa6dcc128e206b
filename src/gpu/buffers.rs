//! Buffers: regions that recordings and arenas write, and a pool for what comes and goes.

use super::Made;
use super::fault::Funnel;
use crate::error::{Error, Result};
use crate::kernel::Access;
use crate::shape::ALIGN;
use std::collections::HashMap;
use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex, Weak};

/// A buffer that programs write: a slot that recordings share, or an arena chunk. It knows which held values still
/// lie in it, so they can be moved out before it is written again.
pub(crate) struct Region {
    buffer: Tracked,
    residents: Mutex<Vec<Weak<Cell>>>,
}

/// A buffer that is counted while it lives.
struct Tracked {
    buffer: wgpu::Buffer,
    made: Arc<Made>,
}

impl Drop for Tracked {
    fn drop(&mut self) {
        self.made.buffer_bytes.fetch_sub(self.buffer.size(), Ordering::Relaxed);
    }
}

/// A texture that recordings copy what they read into. It counts as a buffer.
pub(crate) struct Texture {
    pub texture: wgpu::Texture,
    pub view: wgpu::TextureView,
    bytes: u64,
    made: Arc<Made>,
}

impl Drop for Texture {
    fn drop(&mut self) {
        self.made.buffer_bytes.fetch_sub(self.bytes, Ordering::Relaxed);
    }
}

impl Region {
    pub fn buffer(&self) -> &wgpu::Buffer {
        &self.buffer.buffer
    }

    pub fn bytes(&self) -> u64 {
        self.buffer().size()
    }

    /// Notes that a held value lies here from now on.
    pub fn settle(self: &Arc<Self>, offset: u64, bytes: u64) -> Arc<Cell> {
        let at = At::Region { region: self.clone(), offset, bytes };
        let cell = Arc::new(Cell(Mutex::new(at)));
        let mut residents = self.residents.lock().unwrap();
        residents.retain(|r| r.strong_count() > 0);
        residents.push(Arc::downgrade(&cell));
        cell
    }

    /// Bytes of the values that somebody still holds here.
    pub fn resident_bytes(&self) -> u64 {
        let residents = self.residents.lock().unwrap();
        residents.iter().filter_map(Weak::upgrade).map(|cell| cell.resident_bytes()).sum()
    }

    /// Copies the values that somebody still holds to buffers of their own. Says whether there were any.
    pub fn evict(&self, pool: &Arc<Pool>, encoder: &mut wgpu::CommandEncoder) -> Result<bool> {
        let residents = std::mem::take(&mut *self.residents.lock().unwrap());
        let mut any = false;
        for cell in residents.iter().filter_map(Weak::upgrade) {
            cell.move_out(pool, encoder)?;
            any = true;
        }
        Ok(any)
    }
}

/// Where a tensor's elements are on a GPU. Held values move when their place is needed.
pub(crate) struct Cell(Mutex<At>);

enum At {
    Region { region: Arc<Region>, offset: u64, bytes: u64 },
    Pooled(Pooled),
}

impl Cell {
    pub fn pooled(pooled: Pooled) -> Arc<Self> {
        Arc::new(Cell(Mutex::new(At::Pooled(pooled))))
    }

    /// A look at a region that is read at once.
    pub fn in_region(region: &Arc<Region>, offset: u64) -> Arc<Self> {
        Arc::new(Cell(Mutex::new(At::Region { region: region.clone(), offset, bytes: 0 })))
    }

    /// Encodes a copy of the first `bytes` bytes.
    pub fn copy_to(
        &self,
        encoder: &mut wgpu::CommandEncoder,
        target: &wgpu::Buffer,
        offset: u64,
        bytes: u64,
    ) {
        self.located(|buffer, from| encoder.copy_buffer_to_buffer(buffer, from, target, offset, bytes));
    }

    /// Hands its buffer and offset to `f`.
    pub fn located(&self, f: impl FnOnce(&wgpu::Buffer, u64)) {
        match &*self.0.lock().unwrap() {
            At::Region { region, offset, .. } => f(region.buffer(), *offset),
            At::Pooled(p) => f(p.buffer(), p.offset()),
        }
    }

    fn resident_bytes(&self) -> u64 {
        match &*self.0.lock().unwrap() {
            At::Region { bytes, .. } => *bytes,
            At::Pooled(_) => 0,
        }
    }

    fn move_out(&self, pool: &Arc<Pool>, encoder: &mut wgpu::CommandEncoder) -> Result<()> {
        let mut at = self.0.lock().unwrap();
        if let At::Region { region, offset, bytes } = &*at {
            let own = pool.take(*bytes)?;
            encoder.copy_buffer_to_buffer(region.buffer(), *offset, own.buffer(), own.offset(), *bytes);
            *at = At::Pooled(own);
        }
        Ok(())
    }
}

/// Makes buffers and takes them back.
pub(crate) struct Pool {
    device: wgpu::Device,
    funnel: Arc<Funnel>,
    made: Arc<Made>,
    max_buffer: u64,
    shelf: Mutex<Shelf>,
    slots: Mutex<Vec<Weak<Region>>>,
    textures: Mutex<Vec<Weak<Texture>>>,
    nothing: Mutex<[Option<Arc<Region>>; 2]>,
}

#[derive(Default)]
struct Shelf {
    /// Idle buffers by kind and size.
    idle: HashMap<(Kind, u64), Vec<Tracked>>,
    idle_bytes: u64,
    /// Pages of small cells, for held scalars.
    pages: Vec<Arc<Page>>,
    free_cells: Vec<(usize, u64)>,
}

struct Page {
    buffer: Tracked,
}

#[derive(Clone, Copy, PartialEq, Eq, Hash)]
enum Kind {
    /// Uploads and held values.
    Data,
    /// Mapped by the host.
    Staging,
}

/// Idle buffers above this are given back to the driver.
const MAX_IDLE_BYTES: u64 = 1 << 30;
/// Values of at most this many bytes share pages, so that ten thousand kept losses are not ten thousand buffers.
const CELL: u64 = 16;
/// No kernel has more bindings than this.
const EMPTY_BINDINGS: u64 = 64;
const PAGE: u64 = 64 << 10;

impl Pool {
    pub fn new(device: &wgpu::Device, funnel: &Arc<Funnel>, made: &Arc<Made>, max_buffer: u64) -> Arc<Self> {
        Arc::new(Pool {
            device: device.clone(),
            funnel: funnel.clone(),
            made: made.clone(),
            max_buffer,
            shelf: Mutex::default(),
            slots: Mutex::default(),
            textures: Mutex::default(),
            nothing: Mutex::default(),
        })
    }

    fn create(&self, bytes: u64, usage: wgpu::BufferUsages, label: &str) -> Result<Tracked> {
        if bytes > self.max_buffer {
            let message = format!("a buffer of {bytes} bytes is above the limit of {}", self.max_buffer);
            return Err(Error::OutOfMemory { message });
        }
        let descriptor =
            wgpu::BufferDescriptor { label: Some(label), size: bytes, usage, mapped_at_creation: false };
        let buffer = self.device.create_buffer(&descriptor);
        self.made.buffers.fetch_add(1, Ordering::Relaxed);
        self.made.buffer_bytes.fetch_add(bytes, Ordering::Relaxed);
        let tracked = Tracked { buffer, made: self.made.clone() };
        self.funnel.check()?;
        Ok(tracked)
    }

    /// A new region of its own, filled with zeros.
    pub fn region(&self, bytes: u64, label: &str) -> Result<Arc<Region>> {
        use wgpu::BufferUsages as U;
        let buffer = self.create(bytes.max(ALIGN), U::STORAGE | U::COPY_SRC | U::COPY_DST, label)?;
        Ok(Arc::new(Region { buffer, residents: Mutex::default() }))
    }

    /// A buffer for the uniform parameters of a recording.
    pub fn uniform(&self, bytes: u64) -> Result<OwnBuffer> {
        use wgpu::BufferUsages as U;
        Ok(OwnBuffer(self.create(bytes.max(ALIGN), U::UNIFORM | U::COPY_DST, "parameters")?))
    }

    /// A buffer that results of queries are put into.
    pub fn queries(&self, bytes: u64) -> Result<OwnBuffer> {
        use wgpu::BufferUsages as U;
        Ok(OwnBuffer(self.create(bytes, U::QUERY_RESOLVE | U::COPY_SRC, "queries")?))
    }

    /// Slots of at least the given sizes for one recording. All recordings share them, each takes the best fit.
    pub fn slots(&self, sizes: &[u64]) -> Result<Vec<Arc<Region>>> {
        let mut shared = self.slots.lock().unwrap();
        shared.retain(|s| s.strong_count() > 0);
        let mut free: Vec<Arc<Region>> = shared.iter().filter_map(Weak::upgrade).collect();
        let mut taken = Vec::new();
        for &bytes in sizes {
            let fits =
                |r: &&Arc<Region>| r.bytes() >= bytes && r.bytes() <= bytes.saturating_mul(4).max(1 << 16);
            let best = free.iter().filter(fits).min_by_key(|r| r.bytes()).cloned();
            let region = match best {
                Some(region) => {
                    free.retain(|r| !Arc::ptr_eq(r, &region));
                    region
                }
                None => {
                    let region = self.region(bytes, "slot")?;
                    shared.push(Arc::downgrade(&region));
                    region
                }
            };
            taken.push(region);
        }
        Ok(taken)
    }

    /// A texture of at least `size`, not one of those that are `busy`. All recordings share them.
    pub fn texture(
        &self,
        format: wgpu::TextureFormat,
        [width, height]: [u32; 2],
        busy: impl Fn(&Arc<Texture>) -> bool,
    ) -> Result<Arc<Texture>> {
        let mut shared = self.textures.lock().unwrap();
        shared.retain(|t| t.strong_count() > 0);
        let fits = |t: &Arc<Texture>| {
            let t = &t.texture;
            t.format() == format && t.width() == width && (height..=2 * height).contains(&t.height())
        };
        let free = shared.iter().filter_map(Weak::upgrade).filter(|t| fits(t) && !busy(t));
        if let Some(best) = free.min_by_key(|t| t.texture.height()) {
            return Ok(best);
        }
        let texture = self.device.create_texture(&wgpu::TextureDescriptor {
            label: Some("texels"),
            size: wgpu::Extent3d { width, height, depth_or_array_layers: 1 },
            mip_level_count: 1,
            sample_count: 1,
            dimension: wgpu::TextureDimension::D2,
            format,
            usage: wgpu::TextureUsages::STORAGE_BINDING | wgpu::TextureUsages::COPY_DST,
            view_formats: &[],
        });
        let bytes = width as u64 * height as u64 * format.block_copy_size(None).unwrap_or(0) as u64;
        self.made.buffers.fetch_add(1, Ordering::Relaxed);
        self.made.buffer_bytes.fetch_add(bytes, Ordering::Relaxed);
        self.funnel.check()?;
        let view = texture.create_view(&wgpu::TextureViewDescriptor::default());
        let texture = Arc::new(Texture { texture, view, bytes, made: self.made.clone() });
        shared.push(Arc::downgrade(&texture));
        Ok(texture)
    }

    /// What empty operands are bound to: binding `i` gets [`ALIGN`] bytes at `i` times that. A buffer for reading and
    /// one for writing, because no dispatch may use one buffer for both.
    pub fn nothing(&self, access: Access) -> Result<Arc<Region>> {
        let mut nothing = self.nothing.lock().unwrap();
        let side = &mut nothing[(access == Access::ReadWrite) as usize];
        if side.is_none() {
            *side = Some(self.region(EMPTY_BINDINGS * ALIGN, "nothing")?);
        }
        Ok(side.clone().expect("made above"))
    }

    /// A place for `bytes` bytes; dropping it gives it back.
    pub fn take(self: &Arc<Self>, bytes: u64) -> Result<Pooled> {
        use wgpu::BufferUsages as U;
        if bytes > CELL {
            return self.take_whole(Kind::Data, bytes, U::COPY_SRC | U::COPY_DST, "values");
        }
        let mut shelf = self.shelf.lock().unwrap();
        if shelf.free_cells.is_empty() {
            let buffer = self.create(PAGE, U::COPY_SRC | U::COPY_DST, "scalars")?;
            let page = shelf.pages.len();
            shelf.pages.push(Arc::new(Page { buffer }));
            shelf.free_cells.extend((0..PAGE / CELL).rev().map(|i| (page, i * CELL)));
        }
        let (page, offset) = shelf.free_cells.pop().expect("a new page has free cells");
        let at = Taken::Cell { page: shelf.pages[page].clone(), index: page, offset };
        Ok(Pooled { at: Some(at), pool: Arc::downgrade(self) })
    }

    /// A buffer that the host can map.
    pub fn take_staging(self: &Arc<Self>, bytes: u64) -> Result<Pooled> {
        use wgpu::BufferUsages as U;
        self.take_whole(Kind::Staging, bytes, U::MAP_READ | U::COPY_DST, "readback")
    }

    fn take_whole(
        self: &Arc<Self>,
        kind: Kind,
        bytes: u64,
        usage: wgpu::BufferUsages,
        label: &str,
    ) -> Result<Pooled> {
        let size = size_class(bytes).min(self.max_buffer).max(bytes);
        let idle = {
            let mut shelf = self.shelf.lock().unwrap();
            let found = shelf.idle.get_mut(&(kind, size)).and_then(Vec::pop);
            if found.is_some() {
                shelf.idle_bytes -= size;
            }
            found
        };
        let buffer = match idle {
            Some(buffer) => buffer,
            None => self.create(size, usage, label)?,
        };
        Ok(Pooled { at: Some(Taken::Whole { kind, buffer }), pool: Arc::downgrade(self) })
    }
}

/// Sizes are rounded up to an eighth of their power of two, so that batches of almost equal size share buffers.
fn size_class(bytes: u64) -> u64 {
    let step = (bytes.next_power_of_two() / 8).max(ALIGN);
    bytes.next_multiple_of(step)
}

/// A buffer of one recording or profile.
pub(crate) struct OwnBuffer(Tracked);

impl OwnBuffer {
    pub fn buffer(&self) -> &wgpu::Buffer {
        &self.0.buffer
    }
}

/// A place in the pool.
pub(crate) struct Pooled {
    at: Option<Taken>,
    pool: Weak<Pool>,
}

enum Taken {
    Whole { kind: Kind, buffer: Tracked },
    Cell { page: Arc<Page>, index: usize, offset: u64 },
}

impl Pooled {
    pub fn buffer(&self) -> &wgpu::Buffer {
        match self.at.as_ref().expect("taken until dropped") {
            Taken::Whole { buffer, .. } => &buffer.buffer,
            Taken::Cell { page, .. } => &page.buffer.buffer,
        }
    }

    pub fn offset(&self) -> u64 {
        match self.at.as_ref().expect("taken until dropped") {
            Taken::Whole { .. } => 0,
            Taken::Cell { offset, .. } => *offset,
        }
    }
}

impl Drop for Pooled {
    fn drop(&mut self) {
        let Some(pool) = self.pool.upgrade() else { return };
        let mut shelf = pool.shelf.lock().unwrap();
        match self.at.take() {
            Some(Taken::Whole { kind, buffer }) => {
                let size = buffer.buffer.size();
                // A mapped buffer is in the host's hands after a failed read; it is not used again.
                if shelf.idle_bytes + size <= MAX_IDLE_BYTES && pool.funnel.check().is_ok() {
                    shelf.idle_bytes += size;
                    shelf.idle.entry((kind, size)).or_default().push(buffer);
                }
            }
            Some(Taken::Cell { index, offset, .. }) => shelf.free_cells.push((index, offset)),
            None => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn size_classes_waste_little() {
        for bytes in [17, 256, 257, 1000, 50_000, 200_704, 1 << 20, (1 << 20) + 1] {
            let class = size_class(bytes);
            assert!(class >= bytes && class.is_multiple_of(ALIGN));
            assert!(class <= bytes + bytes / 3 + ALIGN, "{bytes} takes {class}");
        }
    }
}
