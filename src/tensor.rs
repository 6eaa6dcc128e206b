//! The handle that users hold: eager-looking calls that only append to the thread's trace.

use crate::caller;
use crate::device::{Device, Storage};
use crate::error::{Error, Result, ShapeError};
use crate::op::{Op, Scalar};
use crate::shape::{DType, Shape, Spec};
use crate::trace::{self, Labels, Leaf, Node, Source};
use crate::variable::Variable;
use std::fmt;
use std::panic::Location;
use std::sync::Arc;
use std::sync::atomic::Ordering;

/// A value on a device: uploaded, a parameter, or the result of an op that may not have run yet.
///
/// Cheap to clone; `Send + Sync` on native targets. Calls on it only note what is to be computed. Reading
/// ([`to_vec`](Tensor::to_vec), [`item`](Tensor::item)) runs what is pending and waits. What you hold is what is
/// kept: a result that nobody holds when a step runs costs no memory afterwards.
#[derive(Clone)]
pub struct Tensor(Arc<Handle>);

struct Handle {
    device: Device,
    source: Source,
    spec: Spec,
    flow: Flow,
}

/// How far gradients flow through a tensor.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Flow {
    /// Not at all.
    None,
    /// Up to it: a parameter, or a tensor marked by [`Tensor::requires_grad`].
    Here,
    /// Through it, to the operands of its op.
    Through,
}

impl Drop for Handle {
    fn drop(&mut self) {
        if let Source::Node(node, output) = &self.source {
            node.unhold(*output);
        }
    }
}

impl Tensor {
    pub(crate) fn from_source(device: &Device, source: Source, spec: Spec, flow: Flow) -> Self {
        if let Source::Node(node, output) = &source {
            node.outputs[*output].handles.fetch_add(1, Ordering::Relaxed);
        }
        Tensor(Arc::new(Handle { device: device.clone(), source, spec, flow }))
    }

    pub(crate) fn from_leaf(
        device: &Device,
        spec: Spec,
        storage: Result<Storage>,
        labels: Option<Labels>,
    ) -> Self {
        let leaf = Arc::new(Leaf { id: trace::next_id(), spec, storage, labels });
        Tensor::from_source(device, Source::Leaf(leaf), spec, Flow::None)
    }

    pub(crate) fn from_variable(device: &Device, variable: &Arc<Variable>) -> Self {
        let source = Source::Variable(variable.clone(), variable.version());
        let flow = if variable.trainable() { Flow::Here } else { Flow::None };
        Tensor::from_source(device, source, variable.spec(), flow)
    }

    /// A tensor that stands for a failure: every run that needs it returns `error`.
    pub(crate) fn failed(device: &Device, spec: Spec, error: Error) -> Self {
        Tensor::from_leaf(device, spec, Err(error), None)
    }

    pub(crate) fn source(&self) -> &Source {
        &self.0.source
    }

    /// Sizes of the axes.
    pub fn shape(&self) -> Shape {
        self.0.spec.shape
    }

    /// Shape and element type.
    pub fn spec(&self) -> Spec {
        self.0.spec
    }

    /// The device that the tensor lives on.
    pub fn device(&self) -> &Device {
        &self.0.device
    }

    /// Whether gradients flow through this tensor.
    pub fn needs_grad(&self) -> bool {
        self.0.flow != Flow::None
    }

    pub(crate) fn flow(&self) -> Flow {
        self.0.flow
    }

    /// The same value as a tensor whose gradient [`backward`](Tensor::backward) computes
    /// (parameters have theirs without this).
    pub fn requires_grad(&self) -> Tensor {
        let flow = if self.needs_grad() { self.0.flow } else { Flow::Here };
        Tensor::from_source(&self.0.device, self.0.source.clone(), self.0.spec, flow)
    }

    /// The same value, cut off from the graph: no gradient flows through the result.
    pub fn detach(&self) -> Tensor {
        Tensor::from_source(&self.0.device, self.0.source.clone(), self.0.spec, Flow::None)
    }

    /// What was seen of an uploaded tensor of labels, under whatever shape.
    pub(crate) fn labels(&self) -> Option<Labels> {
        match &self.0.source {
            Source::Leaf(leaf) => leaf.labels,
            Source::Node(node, output) => node.outputs[*output].labels,
            Source::Variable(..) => None,
        }
    }

    /// The error of an uploaded tensor of labels with one that is not below `classes`; ignore marks are none.
    pub(crate) fn label_beyond(&self, classes: usize) -> Option<Error> {
        let (label, index) = self.labels()?.largest.filter(|(label, _)| *label as usize >= classes)?;
        Some(Error::Label { label: i64::from(label), index, classes: classes as u64 })
    }

    /// The error of an uploaded tensor of labels with an ignore mark, for ops that ignore nothing.
    pub(crate) fn label_ignored(&self, classes: usize) -> Option<Error> {
        let index = self.labels()?.ignored?;
        Some(Error::Label { label: -100, index, classes: classes as u64 })
    }

    /// Appends `op` to the trace and returns its results.
    ///
    /// # Panics
    /// When the operands do not fit the op, or live on different devices.
    #[track_caller]
    pub fn apply(op: impl Op, inputs: &[&Tensor], scalars: &[Scalar]) -> Vec<Tensor> {
        Tensor::try_apply(op, inputs, scalars).unwrap_or_else(|e| panic!("{e}"))
    }

    /// [`apply`](Tensor::apply) for ops with one result.
    ///
    /// # Panics
    /// As `apply`.
    #[track_caller]
    pub fn apply1(op: impl Op, inputs: &[&Tensor], scalars: &[Scalar]) -> Tensor {
        let mut results = Tensor::apply(op, inputs, scalars);
        assert_eq!(results.len(), 1, "apply1 is for ops with one result");
        results.remove(0)
    }

    /// Appends `op` to the trace, or says why its operands do not fit.
    ///
    /// # Errors
    /// [`ShapeError`] when the shape rule refuses the operands, or when they live on different devices.
    ///
    /// # Panics
    /// When there are no operands.
    #[track_caller]
    pub fn try_apply(op: impl Op, inputs: &[&Tensor], scalars: &[Scalar]) -> Result<Vec<Tensor>, ShapeError> {
        let caller = Location::caller();
        let device = inputs.first().expect("an op has at least one operand").device();
        let specs: Vec<Spec> = inputs.iter().map(|t| t.spec()).collect();
        let refuse = |expected: String| {
            let caller = caller::of(caller).location;
            ShapeError { op: op.name(), operands: specs.clone(), expected, caller }
        };
        if inputs.iter().any(|t| t.device() != device) {
            return Err(refuse("operands on one device".into()));
        }
        let outputs = op.outputs(&specs).map_err(|e| refuse(e.0))?;
        Ok(trace::append(device, op.share(), inputs, scalars, &outputs, caller))
    }

    /// The elements in row-major order. Runs what is pending on this thread and waits.
    ///
    /// # Errors
    /// Whatever stopped the computation: see [`Error`].
    #[cfg(not(target_arch = "wasm32"))]
    pub fn to_vec(&self) -> Result<Vec<f32>> {
        pollster::block_on(self.to_vec_async())
    }

    /// The elements in row-major order, without blocking the thread.
    ///
    /// # Errors
    /// As [`to_vec`](Tensor::to_vec).
    pub async fn to_vec_async(&self) -> Result<Vec<f32>> {
        let values = self.to_vec_f64_async().await?;
        Ok(values.into_iter().map(|v| v as f32).collect())
    }

    /// The elements in f64: exact for u32, and for f32 on every device.
    ///
    /// # Errors
    /// As [`to_vec`](Tensor::to_vec).
    #[cfg(not(target_arch = "wasm32"))]
    pub fn to_vec_f64(&self) -> Result<Vec<f64>> {
        pollster::block_on(self.to_vec_f64_async())
    }

    /// The elements in f64, without blocking the thread.
    ///
    /// # Errors
    /// As [`to_vec`](Tensor::to_vec).
    pub async fn to_vec_f64_async(&self) -> Result<Vec<f64>> {
        let storage = trace::materialise(self)?;
        self.0.device.read(&storage, self.spec()).await
    }

    /// The elements of a tensor of indices.
    ///
    /// # Errors
    /// As [`to_vec`](Tensor::to_vec).
    #[cfg(not(target_arch = "wasm32"))]
    pub fn to_vec_u32(&self) -> Result<Vec<u32>> {
        Ok(self.to_vec_f64()?.into_iter().map(|v| v as u32).collect())
    }

    /// The value of a tensor with one element. Runs what is pending and waits.
    ///
    /// # Errors
    /// As [`to_vec`](Tensor::to_vec).
    ///
    /// # Panics
    /// When there is not exactly one element.
    #[cfg(not(target_arch = "wasm32"))]
    #[track_caller]
    pub fn item(&self) -> Result<f32> {
        assert_eq!(self.shape().elements(), 1, "item() of a tensor of shape {}", self.shape());
        Ok(self.to_vec()?[0])
    }

    /// The value of a tensor with one element, without blocking the thread.
    ///
    /// # Errors
    /// As [`to_vec`](Tensor::to_vec).
    pub async fn item_async(&self) -> Result<f32> {
        assert_eq!(self.shape().elements(), 1, "item() of a tensor of shape {}", self.shape());
        Ok(self.to_vec_async().await?[0])
    }

    /// Whether the elements are floating-point numbers.
    pub(crate) fn is_f32(&self) -> bool {
        self.0.spec.dtype == DType::F32
    }
}

impl fmt::Debug for Tensor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let kind = match &self.0.source {
            Source::Leaf(_) => "uploaded",
            Source::Variable(v, _) => v.name(),
            Source::Node(node, _) => node.op.name(),
        };
        write!(f, "Tensor({kind}: {})", self.0.spec)
    }
}

/// Where a result of a node stands.
pub(crate) type NodeResult = (Arc<Node>, usize);
