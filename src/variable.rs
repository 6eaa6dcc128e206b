//! State that outlives a program: parameters, gradients, optimiser state, running statistics.

use crate::device::{Chunk, Device};
use crate::error::Result;
use crate::shape::{Shape, Spec};
use crate::tensor::Tensor;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

/// A region of a flat arena chunk under a name and a shape. Updated in place, in program order.
#[derive(Debug)]
pub struct Variable {
    site: Arc<Site>,
    device: Device,
    trainable: bool,
    version: AtomicU64,
}

/// Where a variable lies. Plans keep sites, not variables: a plan must not keep its own device alive.
#[derive(Debug)]
pub(crate) struct Site {
    pub name: String,
    pub spec: Spec,
    pub chunk: Arc<Chunk>,
    /// Bytes from the chunk's start.
    pub offset: u64,
}

impl PartialEq for Site {
    fn eq(&self, other: &Self) -> bool {
        self.chunk.id() == other.chunk.id() && self.offset == other.offset && self.spec == other.spec
    }
}

impl Variable {
    /// A region of `chunk`, `offset` bytes from its start (a multiple of [`ALIGN`](crate::shape::ALIGN)).
    pub(crate) fn new(
        device: &Device,
        chunk: &Arc<Chunk>,
        offset: u64,
        shape: Shape,
        name: impl Into<String>,
        trainable: bool,
    ) -> Arc<Self> {
        let spec = Spec::f32(shape);
        debug_assert!(
            offset + spec.padded_bytes() <= chunk.bytes() && offset.is_multiple_of(crate::shape::ALIGN)
        );
        let site = Arc::new(Site { name: name.into(), spec, chunk: chunk.clone(), offset });
        let variable =
            Arc::new(Variable { site, device: device.clone(), trainable, version: AtomicU64::new(0) });
        chunk.register(&variable);
        variable
    }

    /// The name, as in a checkpoint.
    pub fn name(&self) -> &str {
        &self.site.name
    }

    /// Shape and element type (always f32).
    pub fn spec(&self) -> Spec {
        self.site.spec
    }

    /// Whether gradients are computed for it.
    pub fn trainable(&self) -> bool {
        self.trainable
    }

    /// The present value as a tensor.
    pub fn tensor(self: &Arc<Self>) -> Tensor {
        Tensor::from_variable(&self.device, self)
    }

    /// Replaces the value. Runs what is pending on this thread first, so earlier reads see the old value.
    ///
    /// # Errors
    /// Whatever stopped pending work, or the device's failure.
    ///
    /// # Panics
    /// When the number of values is not the number of elements.
    pub fn set(&self, values: &[f32]) -> Result<()> {
        assert_eq!(values.len(), self.spec().elements(), "values for {:?} {}", self.name(), self.spec());
        self.device.run()?;
        self.device.write_chunk(self.chunk(), self.offset(), values)?;
        self.touch();
        self.device.release_graphs();
        Ok(())
    }

    pub(crate) fn site(&self) -> &Arc<Site> {
        &self.site
    }

    pub(crate) fn chunk(&self) -> &Arc<Chunk> {
        &self.site.chunk
    }

    pub(crate) fn offset(&self) -> u64 {
        self.site.offset
    }

    pub(crate) fn version(&self) -> u64 {
        self.version.load(Ordering::Acquire)
    }

    /// Notes that this value has changed, and with it every variable that shares its bytes: an optimiser updates
    /// a whole arena through one variable.
    pub(crate) fn touch(&self) {
        self.chunk().each_variable(|v| {
            if v.overlaps(self) {
                v.version.fetch_add(1, Ordering::AcqRel);
            }
        });
    }

    /// Whether both have bytes in common.
    pub(crate) fn overlaps(&self, other: &Variable) -> bool {
        let end = |v: &Variable| v.offset() + v.spec().padded_bytes();
        self.chunk().id() == other.chunk().id() && self.offset() < end(other) && other.offset() < end(self)
    }
}
