//! Files, plain or gzipped.

// Each example uses a part of this.
#![allow(dead_code)]

use flate2::read::MultiGzDecoder;
use recurve::data::DataError;
use std::io::Read;
use std::path::Path;

/// The most that is read, in bytes after decompression.
pub const MAX_BYTES: u64 = 1 << 28;

/// The contents of a file, decompressed where they are gzipped.
pub fn read(path: &Path) -> Result<Vec<u8>, DataError> {
    let io = |source| DataError::Io { path: path.into(), source };
    let mut file = std::fs::File::open(path).map_err(io)?;
    let mut bytes = Vec::new();
    file.by_ref().take(MAX_BYTES + 1).read_to_end(&mut bytes).map_err(io)?;
    if bytes.starts_with(&[0x1f, 0x8b]) {
        let gzipped = std::mem::take(&mut bytes);
        let corrupt = |source| DataError::CorruptGzip { path: path.into(), source };
        MultiGzDecoder::new(&gzipped[..]).take(MAX_BYTES + 1).read_to_end(&mut bytes).map_err(corrupt)?;
    }
    if bytes.len() as u64 > MAX_BYTES {
        return Err(DataError::TooLarge {
            path: path.into(),
            declared: bytes.len() as u64,
            limit: MAX_BYTES,
        });
    }
    Ok(bytes)
}
