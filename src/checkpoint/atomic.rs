//! Replaces a file in one go.

use super::CheckpointError;
use std::fs::OpenOptions;
use std::io::Write;
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};

/// Writes `bytes` under another name in the same folder, forces them to disk, renames, and forces the folder to disk.
/// (A rename replaces a file atomically on POSIX systems and on NTFS, but only within one file system.)
pub(crate) fn write_atomically(path: &Path, bytes: &[u8]) -> Result<(), CheckpointError> {
    static COUNT: AtomicU64 = AtomicU64::new(0);
    let io = |error| CheckpointError::io(path, error);
    let name = path.file_name().ok_or_else(|| io(std::io::ErrorKind::InvalidFilename.into()))?;
    let folder = match path.parent() {
        Some(folder) if !folder.as_os_str().is_empty() => folder,
        _ => Path::new("."),
    };
    let unique = format!("{}-{}", std::process::id(), COUNT.fetch_add(1, Ordering::Relaxed));
    let partial = folder.join(format!(".{}.{unique}.partial", name.to_string_lossy()));
    let written = write_through(&partial, bytes).and_then(|()| std::fs::rename(&partial, path));
    if let Err(error) = written {
        // What is left over harms nobody; the first error is the one to report.
        let _ = std::fs::remove_file(&partial);
        return Err(io(error));
    }
    sync_folder(folder).map_err(|error| CheckpointError::io(folder, error))
}

fn write_through(path: &Path, bytes: &[u8]) -> std::io::Result<()> {
    let mut file = OpenOptions::new().write(true).create(true).truncate(true).open(path)?;
    file.write_all(bytes)?;
    file.sync_all()
}

/// Only after this is the new name on disk too.
#[cfg(unix)]
fn sync_folder(folder: &Path) -> std::io::Result<()> {
    std::fs::File::open(folder)?.sync_all()
}

/// Folders cannot be opened as files there; NTFS keeps a journal of names.
#[cfg(not(unix))]
fn sync_folder(_folder: &Path) -> std::io::Result<()> {
    Ok(())
}
