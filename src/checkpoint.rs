//! Weights and training state in files.
//!
//! A checkpoint is one safetensors file. Weights, buffers and counters have their own names, so any reader of
//! safetensors (and [`Params::load`]) finds them; optimiser state lies next to them as `optimizer/<state>/<parameter>`,
//! averages of an [`Ema`] as `ema/average/<parameter>`.
//! The one entry of `__metadata__`, `recurve`, is a JSON object with the numbers of a [`Progress`], and a SHA-256 of all of
//! this, which is checked before anything is loaded. A file is written under another name in the same folder, forced to
//! disk and renamed, so there is always one that is whole.
//!
//! Weights also come from NumPy: [`Params::load_npz`] and [`NpyArray`]. `examples/weights/convert.py` turns files of
//! PyTorch into safetensors.

#[cfg(not(target_arch = "wasm32"))]
mod atomic;
mod npy;
mod npz;
mod progress;
mod tensor_file;
mod zip;

#[cfg(not(target_arch = "wasm32"))]
pub(crate) use atomic::write_atomically;
pub use npy::NpyArray;
pub(crate) use npz::NpzFile;
pub use progress::Progress;
pub(crate) use tensor_file::{TensorFile, TensorSource, Tensors};

use crate::error::Result;
use crate::optim::{Ema, Optimizer, Rule};
use crate::params::{Match, Params};
use std::io::{Read, Seek};
#[cfg(not(target_arch = "wasm32"))]
use std::path::Path;
use std::sync::Arc;

/// What names of optimiser state begin with; no parameter's name has a slash.
pub(crate) const OPTIMIZER: &str = "optimizer/";
/// What names of averages begin with.
pub(crate) const EMA: &str = "ema/";

/// Whether a tensor of this name is state of the training rather than of the model.
pub(crate) fn is_state(name: &str) -> bool {
    name.starts_with(OPTIMIZER) || name.starts_with(EMA)
}

/// Why weights or a checkpoint could not be read or written.
#[derive(Clone, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum CheckpointError {
    /// The system refused to read or write.
    #[error("{path}: {error}")]
    Io {
        /// The file or folder; empty when the data is in memory.
        path: String,
        /// The system's error.
        error: Arc<std::io::Error>,
    },
    /// The file ends before its header does, or is shorter or longer than its header says.
    #[error("the file has {found} bytes, but its header asks for {expected}")]
    Length {
        /// Bytes of the file.
        found: u64,
        /// Bytes that there should be.
        expected: u64,
    },
    /// The header is longer than the format allows.
    #[error("a header of {bytes} bytes is above the limit of {limit}")]
    HeaderTooLarge {
        /// What the file says.
        bytes: u64,
        /// The format's limit.
        limit: u64,
    },
    /// The header is no safetensors header.
    #[error("the header is not valid: {reason}")]
    Header {
        /// What is wrong with it.
        reason: String,
    },
    /// The file is no sound archive of arrays (.npz).
    #[error("the archive is not valid: {reason}")]
    Archive {
        /// What is wrong with it.
        reason: String,
    },
    /// An array of NumPy (.npy) is not sound.
    #[error("{name} is no valid array: {reason}")]
    Array {
        /// Its name in the archive, or the file.
        name: String,
        /// What is wrong with it.
        reason: String,
    },
    /// A tensor has elements of a type that cannot be loaded.
    #[error("{name} has elements of type {dtype}, expected {expected}")]
    DType {
        /// The tensor.
        name: String,
        /// Its type.
        dtype: String,
        /// What can be loaded.
        expected: &'static str,
    },
    /// A count is negative.
    #[error("{name} is {value}, but counts are not negative")]
    Count {
        /// The tensor.
        name: String,
        /// Its value.
        value: i64,
    },
    /// The file does not fit the model.
    #[error(
        "the file does not fit the model: missing {missing:?}, not in the model {unexpected:?}, other shapes {misshapen:?}"
    )]
    Mismatch {
        /// Tensors of the model that the file does not have.
        missing: Vec<String>,
        /// Tensors of the file that the model does not have.
        unexpected: Vec<String>,
        /// Tensors of other shapes, with both.
        misshapen: Vec<String>,
    },
    /// The file holds weights only, or comes from elsewhere.
    #[error("the file has no training state: it is not a checkpoint")]
    NotACheckpoint,
    /// The training state is not what was written.
    #[error("the training state is damaged: {field}")]
    State {
        /// The part that cannot be read.
        field: &'static str,
    },
    /// The checkpoint was written by a later version.
    #[error("the checkpoint has format {found}, known is {known}")]
    Format {
        /// The file's format.
        found: u64,
        /// The format that this version reads.
        known: u64,
    },
    /// The contents are not what was written.
    #[error("the checkpoint is damaged: its SHA-256 is {found}, written was {expected}")]
    Hash {
        /// The hash of what is there.
        found: String,
        /// The hash that the file names.
        expected: String,
    },
    /// Gradients have been accumulated for an update that is still to come; they are not kept.
    #[error("{batches} batches are accumulated for the next update: save after it")]
    Accumulating {
        /// How many batches.
        batches: u64,
    },
    /// The checkpoint belongs to another kind of optimiser.
    #[error("the checkpoint has state of {found}, not of {expected}")]
    Optimizer {
        /// The optimiser that wrote it.
        found: String,
        /// The one that should go on.
        expected: String,
    },
}

impl CheckpointError {
    #[cfg(not(target_arch = "wasm32"))]
    pub(crate) fn io(path: &Path, error: std::io::Error) -> Self {
        CheckpointError::Io { path: path.display().to_string(), error: Arc::new(error) }
    }
}

/// Writes a checkpoint to `path`, replacing the file there in one go. After a crash at any moment the old file or the new
/// one is there; a left-over `.<name>.<number>.partial` next to it can be deleted.
///
/// # Errors
/// [`CheckpointError::Io`] when it cannot be written, and whatever stopped the computation.
#[cfg(not(target_arch = "wasm32"))]
pub fn save<R: Rule>(
    path: impl AsRef<Path>,
    params: &Params,
    optimizer: &Optimizer<R>,
    progress: &Progress,
) -> Result<()> {
    let bytes = pollster::block_on(to_bytes(params, optimizer, progress))?;
    write_atomically(path.as_ref(), &bytes)?;
    Ok(())
}

/// [`save`] with averages of the weights.
///
/// # Errors
/// As `save`.
#[cfg(not(target_arch = "wasm32"))]
pub fn save_with_ema<R: Rule>(
    path: impl AsRef<Path>,
    params: &Params,
    optimizer: &Optimizer<R>,
    ema: &Ema,
    progress: &Progress,
) -> Result<()> {
    let bytes = pollster::block_on(to_bytes_with_ema(params, optimizer, Some(ema), progress))?;
    write_atomically(path.as_ref(), &bytes)?;
    Ok(())
}

/// What [`save`] writes: the same bytes for the same state.
///
/// # Errors
/// Whatever stopped the computation: see [`Error`](crate::Error).
pub async fn to_bytes<R: Rule>(
    params: &Params,
    optimizer: &Optimizer<R>,
    progress: &Progress,
) -> Result<Vec<u8>> {
    to_bytes_with_ema(params, optimizer, None, progress).await
}

/// What [`save_with_ema`] writes, or [`save`] where there are no averages.
///
/// # Errors
/// As [`to_bytes`].
pub async fn to_bytes_with_ema<R: Rule>(
    params: &Params,
    optimizer: &Optimizer<R>,
    ema: Option<&Ema>,
    progress: &Progress,
) -> Result<Vec<u8>> {
    let mut tensors = Tensors::default();
    params.collect(&mut tensors).await?;
    optimizer.collect(&mut tensors).await?;
    if let Some(ema) = ema {
        ema.collect(&mut tensors).await?;
    }
    let state = progress.to_json(R::NAME, params.stream(), &tensors.digest());
    Ok(tensors.to_bytes(Some(state))?)
}

/// Loads a checkpoint into a model and its optimiser. Training goes on with the very bits it would have gone on with.
/// Either all of it is loaded or nothing.
///
/// # Errors
/// [`CheckpointError`] when the file is damaged or does not fit, and the device's failure.
#[cfg(not(target_arch = "wasm32"))]
pub fn load<R: Rule>(
    path: impl AsRef<Path>,
    params: &Params,
    optimizer: &mut Optimizer<R>,
) -> Result<Progress> {
    load_from(&mut TensorFile::open(path.as_ref())?, params, optimizer, None)
}

/// [`load`] with averages of the weights, which the checkpoint must have. (`load` leaves them aside.)
///
/// # Errors
/// As `load`.
#[cfg(not(target_arch = "wasm32"))]
pub fn load_with_ema<R: Rule>(
    path: impl AsRef<Path>,
    params: &Params,
    optimizer: &mut Optimizer<R>,
    ema: &mut Ema,
) -> Result<Progress> {
    load_from(&mut TensorFile::open(path.as_ref())?, params, optimizer, Some(ema))
}

/// [`load`] from memory.
///
/// # Errors
/// As `load`.
pub fn load_bytes<R: Rule>(bytes: &[u8], params: &Params, optimizer: &mut Optimizer<R>) -> Result<Progress> {
    let mut file = TensorFile::new(std::io::Cursor::new(bytes), bytes.len() as u64)?;
    load_from(&mut file, params, optimizer, None)
}

/// [`load_with_ema`] from memory.
///
/// # Errors
/// As `load`.
pub fn load_bytes_with_ema<R: Rule>(
    bytes: &[u8],
    params: &Params,
    optimizer: &mut Optimizer<R>,
    ema: &mut Ema,
) -> Result<Progress> {
    let mut file = TensorFile::new(std::io::Cursor::new(bytes), bytes.len() as u64)?;
    load_from(&mut file, params, optimizer, Some(ema))
}

/// The numbers of the checkpoint at `path` alone: what a program needs to know before it can make the model that the
/// rest is of.
///
/// # Errors
/// [`CheckpointError`] when the file is damaged or no checkpoint.
#[cfg(not(target_arch = "wasm32"))]
pub fn read_progress(path: impl AsRef<Path>) -> Result<Progress> {
    Ok(checked(&mut TensorFile::open(path.as_ref())?)?.0)
}

/// The training state of a file whose contents are what was written.
fn checked<F: Read + Seek>(file: &mut TensorFile<F>) -> Result<(Progress, progress::Saved), CheckpointError> {
    let text = file.state().ok_or(CheckpointError::NotACheckpoint)?.to_string();
    let (progress, saved) = Progress::from_json(&text)?;
    // The hash covers the text of the state as it would be written again.
    let found = progress.hash(&saved.optimizer, saved.stream, &file.digest()?);
    if found != saved.sha256 {
        return Err(CheckpointError::Hash { found, expected: saved.sha256 });
    }
    Ok((progress, saved))
}

fn load_from<F: Read + Seek, R: Rule>(
    file: &mut TensorFile<F>,
    params: &Params,
    optimizer: &mut Optimizer<R>,
    ema: Option<&mut Ema>,
) -> Result<Progress> {
    let (progress, saved) = checked(file)?;
    if saved.optimizer != R::NAME {
        return Err(CheckpointError::Optimizer { found: saved.optimizer, expected: R::NAME.into() }.into());
    }
    let weights = params.stage(file, Match::Strict)?;
    let state = optimizer.stage(file)?;
    let ema = match ema {
        Some(ema) => Some((ema.stage(file)?, ema)),
        None => None,
    };
    weights.apply()?;
    optimizer.restore(state)?;
    if let Some((averages, ema)) = ema {
        ema.restore(averages)?;
    }
    params.set_stream(saved.stream);
    Ok(progress)
}
