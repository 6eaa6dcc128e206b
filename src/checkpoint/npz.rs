//! NumPy's archives: a zip file with an array `NAME.npy` for each name.

use super::CheckpointError;
use super::npy::{Header, MAX_HEADER};
use super::tensor_file::TensorSource;
use super::zip::Zip;
use std::collections::BTreeMap;
use std::io::{Read, Seek};

/// What a member's name has behind the array's.
const SUFFIX: &str = ".npy";

/// An archive whose headers were read and checked; arrays are read when asked for.
pub(crate) struct NpzFile<R> {
    zip: Zip<R>,
    /// By the names of the arrays.
    headers: BTreeMap<String, Header>,
}

#[cfg(not(target_arch = "wasm32"))]
impl NpzFile<std::io::BufReader<std::fs::File>> {
    pub fn open(path: &std::path::Path) -> Result<Self, CheckpointError> {
        let io = |error| CheckpointError::io(path, error);
        let file = std::fs::File::open(path).map_err(io)?;
        let bytes = file.metadata().map_err(io)?.len();
        NpzFile::read(std::io::BufReader::new(file), bytes, path.display().to_string())
    }
}

impl<R: Read + Seek> NpzFile<R> {
    /// Reads the headers of an archive of `bytes` bytes.
    pub fn new(reader: R, bytes: u64) -> Result<Self, CheckpointError> {
        NpzFile::read(reader, bytes, String::new())
    }

    fn read(reader: R, bytes: u64, path: String) -> Result<Self, CheckpointError> {
        let mut zip = Zip::read(reader, bytes, path)?;
        let members: Vec<String> = zip.names().map(str::to_string).collect();
        let mut headers = BTreeMap::new();
        for member in members {
            let Some(name) = member.strip_suffix(SUFFIX) else {
                return Err(CheckpointError::Archive { reason: format!("{member} is no array") });
            };
            let start = zip.start_of(&member, MAX_HEADER)?;
            headers.insert(name.to_string(), Header::read(name, &start, zip.size(&member))?);
        }
        Ok(NpzFile { zip, headers })
    }

    /// The array's header, and all that follows it.
    fn array(&mut self, name: &str) -> Result<(&Header, Vec<u8>), CheckpointError> {
        let header = &self.headers[name];
        let mut bytes = self.zip.start_of(&format!("{name}{SUFFIX}"), u64::MAX)?;
        bytes.drain(..header.start());
        Ok((header, bytes))
    }
}

impl<R: Read + Seek> TensorSource for NpzFile<R> {
    fn names(&self) -> impl Iterator<Item = &str> {
        self.headers.keys().map(String::as_str)
    }

    fn shape(&self, name: &str) -> Option<&[usize]> {
        self.headers.get(name).map(|h| &h.shape[..])
    }

    fn f32(&mut self, name: &str) -> Result<Vec<f32>, CheckpointError> {
        // Only what can be used is read.
        self.headers[name].float(name)?;
        let (header, bytes) = self.array(name)?;
        header.f32(name, &bytes)
    }

    fn count(&mut self, name: &str) -> Result<u64, CheckpointError> {
        self.headers[name].integer(name)?;
        let (header, bytes) = self.array(name)?;
        header.count(name, &bytes)
    }
}
