//! NumPy's format of one array.
//!
//! ```text
//! \x93NUMPY                       then the version: 1, 2 or 3, and 0
//! length of the header            u16, from version 2 on u32, little-endian
//! {'descr': '<f4', 'fortran_order': False, 'shape': (3, 4), }     padded with spaces, ends with a new line
//! elements                        last axis fastest, or first with fortran_order
//! ```
//! Elements that are Python objects would have to be unpickled, which runs what a file says; they are refused. Source:
//! NumPy enhancement proposal 1, and `numpy.lib.format`.

use super::CheckpointError;
use super::tensor_file::half;

/// The longest header that is read: far beyond what 32 axes need.
pub(super) const MAX_HEADER: u64 = 1 << 16;

/// The array of an `.npy` file, as f32, with the last axis fastest. Archives of them load into a model by name:
/// [`Params::load_npz`](crate::Params::load_npz).
#[derive(Clone, Debug, PartialEq)]
pub struct NpyArray {
    /// Sizes of the axes.
    pub shape: Vec<usize>,
    /// The elements.
    pub values: Vec<f32>,
}

impl NpyArray {
    /// Reads the file at `path`: f2, f4 or f8 in either byte order, in C or Fortran order.
    ///
    /// # Errors
    /// [`CheckpointError::Io`], [`CheckpointError::Array`] when the file is not sound, [`CheckpointError::DType`] for other
    /// elements.
    #[cfg(not(target_arch = "wasm32"))]
    pub fn from_path(path: impl AsRef<std::path::Path>) -> Result<NpyArray, CheckpointError> {
        let path = path.as_ref();
        let bytes = std::fs::read(path).map_err(|error| CheckpointError::io(path, error))?;
        NpyArray::from_bytes(&path.display().to_string(), &bytes)
    }

    /// Reads a file from memory; `name` only names it in errors.
    ///
    /// # Errors
    /// As [`from_path`](NpyArray::from_path), but for `Io`.
    pub fn from_bytes(name: &str, bytes: &[u8]) -> Result<NpyArray, CheckpointError> {
        let header = Header::read(name, bytes, bytes.len() as u64)?;
        let values = header.f32(name, &bytes[header.start..])?;
        Ok(NpyArray { shape: header.shape, values })
    }
}

/// What the header of an array says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Header {
    /// Such as `<f4`.
    descr: String,
    fortran_order: bool,
    pub shape: Vec<usize>,
    /// Where the elements begin.
    start: usize,
}

fn bad(name: &str, reason: impl Into<String>) -> CheckpointError {
    CheckpointError::Array { name: name.to_string(), reason: reason.into() }
}

impl Header {
    /// Reads the header in `bytes`, the start of a file of `size` bytes, and compares both.
    pub fn read(name: &str, bytes: &[u8], size: u64) -> Result<Header, CheckpointError> {
        let (length, text) = match bytes {
            [0x93, b'N', b'U', b'M', b'P', b'Y', 1, 0, a, b, ..] => {
                (u32::from(u16::from_le_bytes([*a, *b])), 10)
            }
            [0x93, b'N', b'U', b'M', b'P', b'Y', 2 | 3, 0, a, b, c, d, ..] => {
                (u32::from_le_bytes([*a, *b, *c, *d]), 12)
            }
            [0x93, b'N', b'U', b'M', b'P', b'Y', version, ..] => {
                return Err(bad(name, format!("version {version} or its length cannot be read")));
            }
            _ => return Err(bad(name, "it does not begin like one")),
        };
        let start = text + length as usize;
        let Some(text) = bytes.get(text..start) else {
            return Err(bad(name, format!("a header of {length} bytes does not fit")));
        };
        let text = std::str::from_utf8(text).map_err(|_| bad(name, "the header is not UTF-8"))?;
        let parsed = Parser(text).header();
        let (descr, fortran_order, shape) =
            parsed.ok_or_else(|| bad(name, format!("the header {:?}", text.trim())))?;
        let header = Header { descr, fortran_order, shape, start };
        let elements = header.shape.iter().try_fold(1u64, |n, &d| n.checked_mul(d as u64));
        // Types that are not loaded are found out where they are asked for.
        if let Some((_, _, width)) = header.dtype() {
            let expected = elements.and_then(|n| n.checked_mul(width as u64)?.checked_add(start as u64));
            if expected != Some(size) {
                let (shape, descr) = (&header.shape, &header.descr);
                return Err(bad(name, format!("{size} bytes for a shape of {shape:?} of {descr}")));
            }
        }
        Ok(header)
    }

    /// Whether the elements are big-endian, their kind, and their bytes; `None` for what is more than a number.
    fn dtype(&self) -> Option<(bool, u8, usize)> {
        let &[order, kind, width] = self.descr.as_bytes() else { return None };
        let width = usize::from(width.checked_sub(b'0')?);
        let known = matches!((kind, width), (b'f', 2 | 4 | 8) | (b'i' | b'u', 1 | 2 | 4 | 8));
        let ordered = matches!(order, b'<' | b'>') || (order == b'|' && width == 1);
        (known && ordered).then_some((order == b'>', kind, width))
    }

    fn refuse(&self, name: &str, expected: &'static str) -> CheckpointError {
        CheckpointError::DType { name: name.to_string(), dtype: self.descr.clone(), expected }
    }

    /// Byte order and width of the elements, which must be floating-point numbers.
    pub fn float(&self, name: &str) -> Result<(bool, usize), CheckpointError> {
        match self.dtype() {
            Some((big, b'f', width)) => Ok((big, width)),
            _ => Err(self.refuse(name, "f2, f4 or f8")),
        }
    }

    /// Byte order, kind and width of the one element, which must be an integer.
    pub fn integer(&self, name: &str) -> Result<(bool, u8, usize), CheckpointError> {
        match self.dtype() {
            Some((big, kind @ (b'i' | b'u'), width)) if self.shape.is_empty() => Ok((big, kind, width)),
            _ => Err(self.refuse(name, "an integer")),
        }
    }

    /// The elements in `bytes`, all that follows the header, as f32 with the last axis fastest.
    pub fn f32(&self, name: &str, bytes: &[u8]) -> Result<Vec<f32>, CheckpointError> {
        let (big, width) = self.float(name)?;
        let convert = |bits: u64| match width {
            2 => half(bits as u16),
            4 => f32::from_bits(bits as u32),
            _ => f64::from_bits(bits) as f32,
        };
        let stored: Vec<f32> = bytes.chunks_exact(width).map(|b| convert(word(b, big))).collect();
        Ok(if self.fortran_order { last_axis_fastest(&stored, &self.shape) } else { stored })
    }

    /// The one number that `bytes` hold.
    pub fn count(&self, name: &str, bytes: &[u8]) -> Result<u64, CheckpointError> {
        let (big, kind, width) = self.integer(name)?;
        let bits = word(bytes, big);
        let spare = 64 - 8 * width as u32;
        let value = if kind == b'i' { (bits << spare) as i64 >> spare } else { bits as i64 };
        u64::try_from(value).map_err(|_| CheckpointError::Count { name: name.to_string(), value })
    }

    /// Where the elements begin.
    pub fn start(&self) -> usize {
        self.start
    }
}

/// Up to eight bytes as a number.
fn word(bytes: &[u8], big: bool) -> u64 {
    let join = |word: u64, &byte: &u8| word << 8 | u64::from(byte);
    if big { bytes.iter().fold(0, join) } else { bytes.iter().rev().fold(0, join) }
}

/// Brings values whose first axis is fastest into the usual order.
fn last_axis_fastest(stored: &[f32], shape: &[usize]) -> Vec<f32> {
    let mut index = vec![0; shape.len()];
    let mut values = Vec::with_capacity(stored.len());
    for _ in 0..stored.len() {
        let place = index.iter().zip(shape).rev().fold(0, |place, (i, size)| place * size + i);
        values.push(stored[place]);
        for axis in (0..shape.len()).rev() {
            index[axis] += 1;
            if index[axis] < shape[axis] {
                break;
            }
            index[axis] = 0;
        }
    }
    values
}

/// Reads the dictionary of a header: what `numpy.save` writes of Python's syntax.
struct Parser<'t>(&'t str);

impl<'t> Parser<'t> {
    /// The three entries, each exactly once; `None` for anything else.
    fn header(&mut self) -> Option<(String, bool, Vec<usize>)> {
        let (mut descr, mut fortran_order, mut shape) = (None, None, None);
        self.token('{')?;
        while self.token('}').is_none() {
            let key = self.string()?;
            self.token(':')?;
            let new = match key {
                "descr" => descr.replace(self.descr()?).is_none(),
                "fortran_order" => fortran_order.replace(self.bool()?).is_none(),
                "shape" => shape.replace(self.tuple()?).is_none(),
                _ => false,
            };
            if !new || (self.token(',').is_none() && !self.0.trim_start().starts_with('}')) {
                return None;
            }
        }
        self.0.trim().is_empty().then_some(())?;
        Some((descr?, fortran_order?, shape?))
    }

    fn token(&mut self, token: char) -> Option<()> {
        self.0 = self.0.trim_start().strip_prefix(token)?;
        Some(())
    }

    fn string(&mut self) -> Option<&'t str> {
        let rest = self.0.trim_start();
        let quote = rest.chars().next().filter(|c| matches!(c, '\'' | '"'))?;
        let (text, rest) = rest[1..].split_once(quote)?;
        self.0 = rest;
        Some(text)
    }

    /// A type's name; a list of fields is taken as it stands, so that an error can name it.
    fn descr(&mut self) -> Option<String> {
        if !self.0.trim_start().starts_with('[') {
            return self.string().map(str::to_string);
        }
        let end = self.0.find(']')? + 1;
        let (list, rest) = self.0.split_at(end);
        self.0 = rest;
        Some(list.trim().to_string())
    }

    fn bool(&mut self) -> Option<bool> {
        let rest = self.0.trim_start();
        let (value, rest) = match rest.strip_prefix("True") {
            Some(rest) => (true, rest),
            None => (false, rest.strip_prefix("False")?),
        };
        self.0 = rest;
        Some(value)
    }

    fn tuple(&mut self) -> Option<Vec<usize>> {
        let mut all = Vec::new();
        self.token('(')?;
        while self.token(')').is_none() {
            let rest = self.0.trim_start();
            let digits = rest.find(|c: char| !c.is_ascii_digit())?;
            all.push(rest[..digits].parse().ok()?);
            self.0 = &rest[digits..];
            if self.token(',').is_none() && !self.0.trim_start().starts_with(')') {
                return None;
            }
        }
        Some(all)
    }
}
