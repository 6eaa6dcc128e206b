//! Plans what an engine would create, down to the last buffer, and creates nothing. It takes buffers from the same pool by
//! the same layout as an engine does; only the pool has no device to create them on.

use super::buffers::{Cell, Pool, Region};
use super::check_size;
use super::counted::{Creator, Made};
use super::fault::Funnel;
use super::layout::Layout;
use crate::device::{Counters, Storage};
use crate::error::{Error, Result};
use crate::kernel::Target;
use crate::memory::{Part, Use};
use crate::program::Program;
use crate::shape::Spec;
use std::sync::Arc;

/// An engine that only plans.
pub(crate) struct Planner {
    name: String,
    target: Target,
    pool: Arc<Pool>,
    made: Arc<Made>,
}

impl Planner {
    /// Plans for `target`.
    pub fn new(name: String, target: Target) -> Self {
        let made = Arc::<Made>::default();
        let pool = Pool::new(Creator::new(None, &Funnel::silent(), &made, target.max_buffer));
        Planner { name, target, pool, made }
    }

    pub fn name(&self) -> &str {
        &self.name
    }

    pub fn target(&self) -> &Target {
        &self.target
    }

    pub fn counters(&self) -> Counters {
        self.made.counters()
    }

    /// What there would be now, and the most bytes that there would have been.
    pub fn memory(&self) -> (Vec<Part>, u64) {
        self.made.memory()
    }

    pub fn upload(&self, spec: Spec) -> Result<Storage> {
        check_size(&self.target, spec)?;
        Ok(Storage::Gpu(Cell::pooled(self.pool.take(spec.bytes())?)))
    }

    pub fn new_region(&self, bytes: u64, label: &str) -> Result<Arc<Region>> {
        self.pool.region(bytes, Use::Arena, label)
    }

    pub fn write_region(&self, region: &Region) -> Result<()> {
        region.evict(&self.pool, |_| ()).map(drop)
    }

    pub fn lay_out(&self, program: &Program) -> Result<Layout> {
        Ok(Layout::new(&self.pool, &self.target, program)?.0)
    }

    /// Where the held values would lie after a run.
    pub fn run(&self, program: &Program, layout: &Layout, leaves: &[Storage]) -> Result<Vec<Storage>> {
        for region in layout.overwritten() {
            region.evict(&self.pool, |_| ())?;
        }
        layout.held(&self.pool, program, leaves)
    }

    /// Takes what a read would take, and says that there is nothing to read.
    pub fn read(&self, spec: Spec) -> Error {
        match spec.bytes() {
            0 => Error::PlanOnly,
            bytes => self.pool.take_staging(bytes).map_or_else(|error| error, |_| Error::PlanOnly),
        }
    }
}
