//! Buffers: regions that recordings and arenas write, and a pool for what comes and goes.

use super::counted::{Buffer, Creator, Texture};
use crate::error::Result;
use crate::kernel::Access;
use crate::memory::Use;
use crate::shape::ALIGN;
use std::collections::HashMap;
use std::sync::{Arc, Mutex, Weak};

/// A buffer that programs write: a slot that recordings share, or an arena chunk. It knows which held values still
/// lie in it, so they can be moved out before it is written again.
pub(crate) struct Region {
    buffer: Buffer,
    residents: Mutex<Vec<Weak<Cell>>>,
}

/// No two regions are equal.
impl PartialEq for Region {
    fn eq(&self, other: &Self) -> bool {
        std::ptr::eq(self, other)
    }
}

/// A copy of a held value out of a region: to a place of its own, and how many bytes.
pub(crate) struct Move<'a> {
    pub region: &'a Region,
    pub offset: u64,
    pub to: &'a Pooled,
    pub bytes: u64,
}

impl Move<'_> {
    pub fn encode(&self, encoder: &mut wgpu::CommandEncoder) {
        let (from, to) = (self.region.buffer(), self.to.buffer());
        encoder.copy_buffer_to_buffer(from, self.offset, to, self.to.offset(), self.bytes);
    }
}

impl Region {
    pub fn buffer(&self) -> &wgpu::Buffer {
        self.buffer.handle()
    }

    pub fn bytes(&self) -> u64 {
        self.buffer.bytes()
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

    /// Moves the values that somebody still holds to buffers of their own, by copies that `copy` encodes. Says whether
    /// there were any.
    pub fn evict(&self, pool: &Arc<Pool>, mut copy: impl FnMut(Move<'_>)) -> Result<bool> {
        let residents = std::mem::take(&mut *self.residents.lock().unwrap());
        let mut any = false;
        for cell in residents.iter().filter_map(Weak::upgrade) {
            cell.move_out(pool, &mut copy)?;
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

    fn move_out(&self, pool: &Arc<Pool>, copy: impl FnOnce(Move<'_>)) -> Result<()> {
        let mut at = self.0.lock().unwrap();
        if let At::Region { region, offset, bytes } = &*at {
            let own = pool.take(*bytes)?;
            copy(Move { region, offset: *offset, to: &own, bytes: *bytes });
            *at = At::Pooled(own);
        }
        Ok(())
    }
}

/// Makes buffers and takes them back.
pub(crate) struct Pool {
    creator: Creator,
    shelf: Mutex<Shelf>,
    slots: Mutex<Vec<Weak<Region>>>,
    textures: Mutex<Vec<Weak<Texture>>>,
    nothing: Mutex<[Option<Arc<Region>>; 2]>,
}

#[derive(Default)]
struct Shelf {
    /// Idle buffers by kind and size.
    idle: HashMap<(Kind, u64), Vec<Buffer>>,
    idle_bytes: u64,
    /// Pages of small cells, for held scalars.
    pages: Vec<Arc<Page>>,
    free_cells: Vec<(usize, u64)>,
}

struct Page {
    buffer: Buffer,
}

#[derive(Clone, Copy, PartialEq, Eq, Hash)]
enum Kind {
    /// Uploads and held values.
    Data,
    /// Mapped by the host.
    Staging,
}

impl Kind {
    fn used_for(self) -> Use {
        match self {
            Kind::Data => Use::Values,
            Kind::Staging => Use::Readback,
        }
    }
}

/// Idle buffers above this are given back to the driver.
const MAX_IDLE_BYTES: u64 = 1 << 30;
/// Values of at most this many bytes share pages, so that ten thousand kept losses are not ten thousand buffers.
const CELL: u64 = 16;
/// No kernel has more bindings than this.
const EMPTY_BINDINGS: u64 = 64;
const PAGE: u64 = 64 << 10;

impl Pool {
    pub fn new(creator: Creator) -> Arc<Self> {
        Arc::new(Pool {
            creator,
            shelf: Mutex::default(),
            slots: Mutex::default(),
            textures: Mutex::default(),
            nothing: Mutex::default(),
        })
    }

    /// Bytes that the driver's allocator has given out for what is counted, where it tells.
    pub fn allocated(&self) -> Option<u64> {
        self.creator.allocated()
    }

    /// A new region of its own, filled with zeros.
    pub fn region(&self, bytes: u64, used_for: Use, label: &str) -> Result<Arc<Region>> {
        use wgpu::BufferUsages as U;
        let usage = U::STORAGE | U::COPY_SRC | U::COPY_DST;
        let buffer = self.creator.buffer(bytes.max(ALIGN), usage, used_for, label)?;
        Ok(Arc::new(Region { buffer, residents: Mutex::default() }))
    }

    /// A buffer for the uniform parameters of a recording.
    pub fn uniform(&self, bytes: u64) -> Result<Buffer> {
        use wgpu::BufferUsages as U;
        self.creator.buffer(bytes.max(ALIGN), U::UNIFORM | U::COPY_DST, Use::Kernels, "kernel parameters")
    }

    /// A buffer that results of queries are put into.
    pub fn queries(&self, bytes: u64) -> Result<Buffer> {
        use wgpu::BufferUsages as U;
        self.creator.buffer(bytes, U::QUERY_RESOLVE | U::COPY_SRC, Use::Readback, "queries")
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
                    let region = self.region(bytes, Use::Slots, "slots")?;
                    shared.push(Arc::downgrade(&region));
                    region
                }
            };
            taken.push(region);
        }
        Ok(taken)
    }

    /// Textures of at least so many rows for one recording. All recordings share them, each takes the best fit.
    pub fn textures(
        &self,
        format: wgpu::TextureFormat,
        width: u32,
        rows: &[u32],
    ) -> Result<Vec<Arc<Texture>>> {
        let mut shared = self.textures.lock().unwrap();
        shared.retain(|t| t.strong_count() > 0);
        let mut free: Vec<Arc<Texture>> = shared.iter().filter_map(Weak::upgrade).collect();
        let mut taken = Vec::new();
        for &rows in rows {
            let fits = |t: &&Arc<Texture>| t.format == format && (rows..=2 * rows).contains(&t.height);
            let best = free.iter().filter(fits).min_by_key(|t| t.height).cloned();
            let texture = match best {
                Some(texture) => {
                    free.retain(|t| !Arc::ptr_eq(t, &texture));
                    texture
                }
                None => {
                    let texture = Arc::new(self.creator.texture(format, width, rows)?);
                    shared.push(Arc::downgrade(&texture));
                    texture
                }
            };
            taken.push(texture);
        }
        Ok(taken)
    }

    /// What empty operands are bound to: binding `i` gets [`ALIGN`] bytes at `i` times that. A buffer for reading and
    /// one for writing, because no dispatch may use one buffer for both.
    pub fn nothing(&self, access: Access) -> Result<Arc<Region>> {
        let mut nothing = self.nothing.lock().unwrap();
        let side = &mut nothing[(access == Access::ReadWrite) as usize];
        if side.is_none() {
            *side = Some(self.region(EMPTY_BINDINGS * ALIGN, Use::Empty, "empty operands")?);
        }
        Ok(side.clone().expect("made above"))
    }

    /// A place for `bytes` bytes; dropping it gives it back.
    pub fn take(self: &Arc<Self>, bytes: u64) -> Result<Pooled> {
        use wgpu::BufferUsages as U;
        if bytes > CELL {
            return self.take_whole(Kind::Data, bytes, U::COPY_SRC | U::COPY_DST, "uploads and held");
        }
        let mut shelf = self.shelf.lock().unwrap();
        if shelf.free_cells.is_empty() {
            let buffer = self.creator.buffer(PAGE, U::COPY_SRC | U::COPY_DST, Use::Values, "held scalars")?;
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
        let size = size_class(bytes).min(self.creator.max_buffer).max(bytes);
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
            None => self.creator.buffer(size, usage, kind.used_for(), label)?,
        };
        Ok(Pooled { at: Some(Taken::Whole { kind, buffer }), pool: Arc::downgrade(self) })
    }
}

/// Sizes are rounded up to an eighth of their power of two, so that batches of almost equal size share buffers.
fn size_class(bytes: u64) -> u64 {
    let step = (bytes.next_power_of_two() / 8).max(ALIGN);
    bytes.next_multiple_of(step)
}

/// A place in the pool.
pub(crate) struct Pooled {
    at: Option<Taken>,
    pool: Weak<Pool>,
}

enum Taken {
    Whole { kind: Kind, buffer: Buffer },
    Cell { page: Arc<Page>, index: usize, offset: u64 },
}

impl Pooled {
    pub fn buffer(&self) -> &wgpu::Buffer {
        match self.at.as_ref().expect("taken until dropped") {
            Taken::Whole { buffer, .. } => buffer.handle(),
            Taken::Cell { page, .. } => page.buffer.handle(),
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
                let size = buffer.bytes();
                // A mapped buffer is in the host's hands after a failed read; it is not used again.
                if shelf.idle_bytes + size <= MAX_IDLE_BYTES && pool.creator.funnel.check().is_ok() {
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
