//! Everything that can go wrong, as types.

use crate::checkpoint::CheckpointError;
use crate::data::DataError;
use crate::kernel::Misfit;
use crate::optim::Divergence;
use crate::predict::PredictorError;
use crate::shape::Spec;
use std::fmt;
use std::panic::Location;
use std::sync::Arc;

/// What a call that depends on the world can fail with.
#[derive(Clone, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// No adapter that was asked for can be had.
    #[error("no adapter for {wanted}: {advice}")]
    NoAdapter {
        /// What was asked for.
        wanted: String,
        /// What can be done about it.
        advice: String,
    },
    /// The adapter would not open.
    #[error("adapter {adapter} cannot be opened: {message}")]
    DeviceRequest {
        /// The adapter's name.
        adapter: String,
        /// The driver's message.
        message: String,
    },
    /// A tensor is larger than the device can hold in one piece.
    #[error("a tensor {spec} of {bytes} bytes is above the device's limit of {limit} bytes for one tensor")]
    TensorTooLarge {
        /// The tensor.
        spec: Spec,
        /// Its size.
        bytes: u64,
        /// The limit.
        limit: u64,
    },
    /// No variant of an op's kernels can run on the device for these shapes.
    #[error("no kernel of {op} fits the device for {shapes}: {misfit}")]
    NoKernel {
        /// The op.
        op: &'static str,
        /// Shapes of its operands.
        shapes: String,
        /// Why the base variant does not fit.
        misfit: Misfit,
    },
    /// A shader was refused; a fault of Recurve or of a custom op.
    #[error("the kernel {kernel} is not valid: {message}")]
    Shader {
        /// The kernel's name.
        kernel: String,
        /// What the compiler says.
        message: String,
    },
    /// The device's memory does not suffice.
    #[error("the device is out of memory ({message})")]
    OutOfMemory {
        /// The driver's message.
        message: String,
    },
    /// The driver refused a call; everything on the device is in doubt from here on.
    #[error("the device refused a call: {message}")]
    Validation {
        /// The driver's message.
        message: String,
    },
    /// The device is gone; nothing on it can be used again.
    #[error("the device is lost: {reason}")]
    DeviceLost {
        /// The driver's reason.
        reason: String,
    },
    /// A value was asked for on a device that only plans: see [`Device::planner`](crate::Device::planner).
    #[error("there are no values on a device that only plans")]
    PlanOnly,
    /// A value would have to be computed again from a parameter that has changed since.
    #[error("{variable:?} was updated since this value was computed: call backward() before the update")]
    Updated {
        /// The parameter's name.
        variable: String,
    },
    /// The graph behind a value was given up: by an update of a parameter that it leads through, or because 64 runs
    /// have come since. Add losses up before they are read, or take their gradients one by one.
    #[error("the graph of {op} (called at {caller}) was released by an update or by later runs")]
    Released {
        /// The op.
        op: &'static str,
        /// Where it was called.
        caller: &'static Location<'static>,
    },
    /// A label is not a class and not the ignore mark.
    #[error("label {label} at index {index} is not in 0..{classes}")]
    Label {
        /// The label.
        label: i64,
        /// Where it stands.
        index: usize,
        /// The number of classes.
        classes: u64,
    },
    /// Training diverged, and the optimiser's [`Guard`](crate::optim::Guard) stops there.
    #[error("training diverged: {0}")]
    Diverged(Divergence),
    /// A predictor could not be made, or was given what it does not take.
    #[error(transparent)]
    Predictor(#[from] PredictorError),
    /// Operands that do not fit an op.
    #[error(transparent)]
    Shape(#[from] ShapeError),
    /// A data set could not be read.
    #[error(transparent)]
    Data(Arc<DataError>),
    /// Weights or a checkpoint could not be read or written.
    #[error(transparent)]
    Checkpoint(Arc<CheckpointError>),
}

impl From<DataError> for Error {
    fn from(error: DataError) -> Self {
        Error::Data(Arc::new(error))
    }
}

impl From<CheckpointError> for Error {
    fn from(error: CheckpointError) -> Self {
        Error::Checkpoint(Arc::new(error))
    }
}

/// Operands that do not fit an op. Wrong shapes are programming errors, so methods panic with this text;
/// [`Tensor::try_apply`](crate::Tensor::try_apply) returns it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ShapeError {
    /// The op.
    pub op: &'static str,
    /// Every operand.
    pub operands: Vec<Spec>,
    /// What was expected.
    pub expected: String,
    /// The call.
    pub caller: &'static Location<'static>,
}

impl fmt::Display for ShapeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}(", self.op)?;
        for (i, spec) in self.operands.iter().enumerate() {
            write!(f, "{}{spec}", if i == 0 { "" } else { ", " })?;
        }
        write!(f, "): expected {} (called at {})", self.expected, self.caller)
    }
}

impl std::error::Error for ShapeError {}

/// `Result` with [`Error`].
pub type Result<T, E = Error> = std::result::Result<T, E>;
