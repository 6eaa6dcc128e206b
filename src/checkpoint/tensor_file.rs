//! Safetensors: a header in JSON that says where each tensor lies, then their bytes. Files may lie about anything.

use super::CheckpointError;
use crate::shape::Shape;
use safetensors::Dtype;
use safetensors::tensor::{Metadata, TensorInfo, TensorView};
use sha2::{Digest, Sha256};
use std::collections::{BTreeMap, HashMap};
use std::io::{Read, Seek, SeekFrom};
use std::sync::Arc;

/// The format's limit for headers.
const MAX_HEADER: u64 = 100_000_000;
/// Bytes in front of the header, which hold its length.
const LENGTH: u64 = 8;
/// The key of the training state among the file's metadata.
const STATE: &str = "recurve";

/// Tensors to be written.
#[derive(Default)]
pub(crate) struct Tensors(BTreeMap<String, (Dtype, Vec<usize>, Vec<u8>)>);

impl Tensors {
    pub fn f32(&mut self, name: &str, shape: Shape, values: &[f32]) {
        let bytes = values.iter().flat_map(|v| v.to_le_bytes()).collect();
        self.0.insert(name.to_string(), (Dtype::F32, shape.dims().to_vec(), bytes));
    }

    /// A number without axes.
    pub fn i64(&mut self, name: &str, value: i64) {
        self.0.insert(name.to_string(), (Dtype::I64, Vec::new(), value.to_le_bytes().to_vec()));
    }

    /// The file, with the training state if there is one. Equal tensors make equal bytes.
    pub fn to_bytes(&self, state: Option<String>) -> Result<Vec<u8>, CheckpointError> {
        let mut views = Vec::new();
        for (name, (dtype, shape, bytes)) in &self.0 {
            views.push((name, TensorView::new(*dtype, shape.clone(), bytes).map_err(invalid)?));
        }
        let metadata = state.map(|state| HashMap::from([(STATE.to_string(), state)]));
        safetensors::serialize(views, metadata).map_err(invalid)
    }

    /// A hash of names, types, shapes and bytes.
    pub fn digest(&self) -> Sha256 {
        let mut hash = Sha256::new();
        for (name, (dtype, shape, bytes)) in &self.0 {
            hash_header(&mut hash, name, *dtype, shape);
            hash.update(bytes);
        }
        hash
    }
}

/// Every part goes with its length, so no two lists of tensors give the same bytes.
fn hash_header(hash: &mut Sha256, name: &str, dtype: Dtype, shape: &[usize]) {
    let mut sized = |bytes: &[u8]| {
        hash.update((bytes.len() as u64).to_le_bytes());
        hash.update(bytes);
    };
    sized(name.as_bytes());
    sized(dtype.to_string().as_bytes());
    let dims: Vec<u8> = shape.iter().flat_map(|&d| (d as u64).to_le_bytes()).collect();
    sized(&dims);
}

fn invalid(error: safetensors::SafeTensorError) -> CheckpointError {
    CheckpointError::Header { reason: error.to_string() }
}

/// A file of named tensors.
pub(crate) trait TensorSource {
    /// Names of all tensors, in alphabetical order.
    fn names(&self) -> impl Iterator<Item = &str>;

    /// The shape of the tensor `name`, if there is one.
    fn shape(&self, name: &str) -> Option<&[usize]>;

    /// The elements of a tensor of floating-point numbers, as f32. The caller has compared its shape with that of a
    /// tensor of its own, so what is allocated here is of a size that it knows.
    ///
    /// # Panics
    /// When there is no such tensor.
    fn f32(&mut self, name: &str) -> Result<Vec<f32>, CheckpointError>;

    /// The number in a tensor without axes.
    ///
    /// # Panics
    /// When there is no such tensor.
    fn count(&mut self, name: &str) -> Result<u64, CheckpointError>;
}

/// A file whose header was read and checked; tensors are read when asked for.
pub(crate) struct TensorFile<R> {
    reader: R,
    path: String,
    /// The header's entries, in the order of their names.
    entries: BTreeMap<String, Entry>,
    state: Option<String>,
}

struct Entry {
    dtype: Dtype,
    shape: Vec<usize>,
    /// Bytes from the beginning of the file.
    start: u64,
    bytes: usize,
}

#[cfg(not(target_arch = "wasm32"))]
impl TensorFile<std::io::BufReader<std::fs::File>> {
    pub fn open(path: &std::path::Path) -> Result<Self, CheckpointError> {
        let io = |error| CheckpointError::io(path, error);
        let file = std::fs::File::open(path).map_err(io)?;
        let bytes = file.metadata().map_err(io)?.len();
        TensorFile::read_header(std::io::BufReader::new(file), bytes, path.display().to_string())
    }
}

impl<R: Read + Seek> TensorFile<R> {
    /// Reads the header of `reader`, which has `bytes` bytes.
    pub fn new(reader: R, bytes: u64) -> Result<Self, CheckpointError> {
        TensorFile::read_header(reader, bytes, String::new())
    }

    /// Nothing is allocated before it is known that the file has as many bytes.
    fn read_header(mut reader: R, bytes: u64, path: String) -> Result<Self, CheckpointError> {
        let io = |error| CheckpointError::Io { path: path.clone(), error: Arc::new(error) };
        if bytes < LENGTH {
            return Err(CheckpointError::Length { found: bytes, expected: LENGTH });
        }
        let mut length = [0; LENGTH as usize];
        reader.read_exact(&mut length).map_err(io)?;
        let length = u64::from_le_bytes(length);
        if length > MAX_HEADER {
            return Err(CheckpointError::HeaderTooLarge { bytes: length, limit: MAX_HEADER });
        }
        let start = LENGTH + length;
        if bytes < start {
            return Err(CheckpointError::Length { found: bytes, expected: start });
        }
        let mut text = vec![0; length as usize];
        reader.read_exact(&mut text).map_err(io)?;
        // This checks that the tensors lie one after the other, and that their sizes are those of their shapes.
        let header: Metadata = serde_json::from_slice(&text)
            .map_err(|error| CheckpointError::Header { reason: error.to_string() })?;
        let expected = start.saturating_add(header.data_len() as u64);
        if bytes != expected {
            return Err(CheckpointError::Length { found: bytes, expected });
        }
        let entry = |info: &TensorInfo| {
            let (from, to) = info.data_offsets;
            Entry {
                dtype: info.dtype,
                shape: info.shape.clone(),
                start: start + from as u64,
                bytes: to - from,
            }
        };
        let entries = header.tensors().into_iter().map(|(name, info)| (name, entry(info))).collect();
        let state = header.metadata().as_ref().and_then(|m| m.get(STATE)).cloned();
        Ok(TensorFile { reader, path, entries, state })
    }

    /// The text of the training state, if the file has one.
    pub fn state(&self) -> Option<&str> {
        self.state.as_deref()
    }

    fn refuse(&self, name: &str, expected: &'static str) -> CheckpointError {
        let dtype = self.entries[name].dtype.to_string();
        CheckpointError::DType { name: name.to_string(), dtype, expected }
    }

    fn read(&mut self, name: &str) -> Result<Vec<u8>, CheckpointError> {
        let entry = &self.entries[name];
        let mut bytes = vec![0; entry.bytes];
        let read =
            self.reader.seek(SeekFrom::Start(entry.start)).and_then(|_| self.reader.read_exact(&mut bytes));
        read.map_err(|error| CheckpointError::Io { path: self.path.clone(), error: Arc::new(error) })?;
        Ok(bytes)
    }

    /// The hash of all tensors, as [`Tensors::digest`] forms it; reads piece by piece.
    pub fn digest(&mut self) -> Result<Sha256, CheckpointError> {
        let io = |error| CheckpointError::Io { path: self.path.clone(), error: Arc::new(error) };
        let mut hash = Sha256::new();
        let mut piece = vec![0; 1 << 16];
        for (name, entry) in &self.entries {
            hash_header(&mut hash, name, entry.dtype, &entry.shape);
            self.reader.seek(SeekFrom::Start(entry.start)).map_err(io)?;
            let mut left = entry.bytes;
            while left > 0 {
                let part = left.min(piece.len());
                self.reader.read_exact(&mut piece[..part]).map_err(io)?;
                hash.update(&piece[..part]);
                left -= part;
            }
        }
        Ok(hash)
    }
}

impl<R: Read + Seek> TensorSource for TensorFile<R> {
    fn names(&self) -> impl Iterator<Item = &str> {
        self.entries.keys().map(String::as_str)
    }

    fn shape(&self, name: &str) -> Option<&[usize]> {
        self.entries.get(name).map(|e| &e.shape[..])
    }

    fn f32(&mut self, name: &str) -> Result<Vec<f32>, CheckpointError> {
        let dtype = self.entries[name].dtype;
        let convert: fn(&[u8]) -> f32 = match dtype {
            Dtype::F32 => |b| f32::from_le_bytes([b[0], b[1], b[2], b[3]]),
            Dtype::F64 => |b| f64::from_le_bytes([b[0], b[1], b[2], b[3], b[4], b[5], b[6], b[7]]) as f32,
            Dtype::F16 => |b| half(u16::from_le_bytes([b[0], b[1]])),
            Dtype::BF16 => |b| f32::from_bits(u32::from(u16::from_le_bytes([b[0], b[1]])) << 16),
            _ => return Err(self.refuse(name, "F32, F64, F16 or BF16")),
        };
        let bytes = self.read(name)?;
        Ok(bytes.chunks_exact(dtype.bitsize() / 8).map(convert).collect())
    }

    fn count(&mut self, name: &str) -> Result<u64, CheckpointError> {
        let entry = &self.entries[name];
        if entry.dtype != Dtype::I64 || !entry.shape.is_empty() {
            return Err(self.refuse(name, "I64"));
        }
        let bytes = self.read(name)?;
        let value = i64::from_le_bytes(std::array::from_fn(|i| bytes[i]));
        u64::try_from(value).map_err(|_| CheckpointError::Count { name: name.to_string(), value })
    }
}

/// IEEE 754 binary16.
pub(super) fn half(bits: u16) -> f32 {
    let sign = if bits >> 15 == 1 { -1.0 } else { 1.0 };
    let (exponent, fraction) = (i32::from(bits >> 10 & 31), f32::from(bits & 1023));
    match exponent {
        0 => sign * fraction * 2f32.powi(-24),
        31 if fraction == 0.0 => sign * f32::INFINITY,
        31 => f32::NAN,
        e => sign * (1.0 + fraction / 1024.0) * 2f32.powi(e - 15),
    }
}

#[cfg(test)]
mod tests {
    #[test]
    fn half_precision_is_read_exactly() {
        let cases = [
            (0x0000, 0.0),
            (0x8001, -(2f32.powi(-24))),
            (0x03ff, 1023.0 * 2f32.powi(-24)),
            (0x0400, 2f32.powi(-14)),
            (0x3c01, 1.0 + 1.0 / 1024.0),
            (0xc500, -5.0),
            (0x7bff, 65504.0),
            (0xfc00, f32::NEG_INFINITY),
        ];
        for (bits, value) in cases {
            assert_eq!(super::half(bits), value, "{bits:#x}");
        }
        assert!(super::half(0x7e00).is_nan());
    }
}
