//! Weights and training state in files.

/// Why weights or a checkpoint could not be read or written.
#[derive(Clone, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum CheckpointError {}
