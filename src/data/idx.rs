//! The IDX format of MNIST: a magic number, the dimensions, then the elements.
//!
//! ```text
//! 0  0  type  rank      type 0x08: unsigned byte, the only one read here
//! dimension 0           u32, big-endian
//! ...                   `rank` of them
//! elements              last dimension fastest
//! ```
//! Files may be gzipped, which is told by their first two bytes and not by their name. Source:
//! "The IDX file format", <http://yann.lecun.com/exdb/mnist/>; gzip: RFC 1952.

use super::DataError;
use flate2::read::MultiGzDecoder;
use std::io::{self, Read};
use std::path::{Path, PathBuf};

/// The most data bytes that a file may declare: 2 GiB − 1, which any target can address.
pub const MAX_BYTES: u64 = i32::MAX as u64;

/// No deflate stream expands more than this: 258 bytes from two bits (RFC 1951, section 3.2.5).
const MAX_DEFLATE_RATIO: u64 = 1032;

const GZIP_MAGIC: [u8; 2] = [0x1f, 0x8b];
const UNSIGNED_BYTE: u8 = 0x08;

/// An array of bytes, as an IDX file holds it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct IdxArray {
    /// Where it was read from; later errors name it.
    pub path: PathBuf,
    /// The dimensions, slowest first.
    pub shape: Vec<usize>,
    /// The elements; as many as the product of `shape`.
    pub data: Vec<u8>,
}

impl IdxArray {
    /// Reads the file at `path`, plain or gzipped, which must hold an array of `rank` dimensions.
    ///
    /// # Errors
    /// [`DataError::Io`] when the file cannot be read; [`CorruptGzip`](DataError::CorruptGzip),
    /// [`BadMagic`](DataError::BadMagic), [`UnsupportedType`](DataError::UnsupportedType),
    /// [`WrongRank`](DataError::WrongRank), [`SizeOverflow`](DataError::SizeOverflow),
    /// [`TooLarge`](DataError::TooLarge), [`ImpossibleRatio`](DataError::ImpossibleRatio),
    /// [`Truncated`](DataError::Truncated) and [`TrailingBytes`](DataError::TrailingBytes) for what is
    /// wrong with its contents; [`OutOfMemory`](DataError::OutOfMemory).
    #[cfg(not(target_arch = "wasm32"))]
    pub fn from_path(path: impl AsRef<Path>, rank: usize) -> Result<IdxArray, DataError> {
        let path = path.as_ref();
        let io_error = |source| DataError::Io { path: path.to_owned(), source };
        let file = std::fs::File::open(path).map_err(io_error)?;
        let metadata = file.metadata().map_err(io_error)?;
        // A pipe has no length of its own.
        let stored = metadata.is_file().then_some(metadata.len());
        decode(path, io::BufReader::new(file), stored, rank)
    }

    /// Reads an IDX file from memory; `path` only names it in errors.
    ///
    /// # Errors
    /// As [`from_path`](IdxArray::from_path), but for [`DataError::Io`].
    pub fn from_bytes(path: impl AsRef<Path>, bytes: &[u8], rank: usize) -> Result<IdxArray, DataError> {
        decode(path.as_ref(), bytes, Some(bytes.len() as u64), rank)
    }

    /// Reads an IDX file from `reader`, to its end; `path` only names it in errors.
    ///
    /// # Errors
    /// As [`from_path`](IdxArray::from_path). [`DataError::ImpossibleRatio`] cannot be told here: a header
    /// that declares too much ends as [`Truncated`](DataError::Truncated), after reading what is there.
    pub fn from_reader(
        path: impl AsRef<Path>,
        reader: impl Read,
        rank: usize,
    ) -> Result<IdxArray, DataError> {
        decode(path.as_ref(), reader, None, rank)
    }
}

/// Reads what `reader` yields; `stored` is the number of its bytes where that is known beforehand.
fn decode(
    path: &Path,
    mut reader: impl Read,
    stored: Option<u64>,
    rank: usize,
) -> Result<IdxArray, DataError> {
    let mut head = [0; 2];
    let n = fill(&mut reader, &mut head).map_err(|source| DataError::Io { path: path.to_owned(), source })?;
    let reader = io::Cursor::new(head).take(n as u64).chain(reader);
    if head == GZIP_MAGIC {
        Decoder { path, reader: MultiGzDecoder::new(reader), stored, gzip: true }.array(rank)
    } else {
        Decoder { path, reader, stored, gzip: false }.array(rank)
    }
}

/// One file while it is read: `reader` yields uncompressed bytes.
struct Decoder<'a, R> {
    path: &'a Path,
    reader: R,
    stored: Option<u64>,
    gzip: bool,
}

impl<R: Read> Decoder<'_, R> {
    fn array(mut self, rank: usize) -> Result<IdxArray, DataError> {
        let dims = self.header(rank)?;
        let header_bytes = 4 + 4 * rank as u64;
        let data_bytes = self.checked_size(&dims, header_bytes)?;
        let data = self.data(data_bytes, header_bytes)?;
        let shape = dims.iter().map(|&d| d as usize).collect();
        Ok(IdxArray { path: self.path.to_owned(), shape, data })
    }

    /// The dimensions, after the magic number was checked.
    fn header(&mut self, rank: usize) -> Result<Vec<u32>, DataError> {
        let path = self.path.to_owned();
        let magic: [u8; 4] = self.exactly(0)?;
        if magic[..2] != [0, 0] {
            return Err(DataError::BadMagic { path, found: magic });
        }
        if magic[2] != UNSIGNED_BYTE {
            return Err(DataError::UnsupportedType { path, found: magic[2] });
        }
        if usize::from(magic[3]) != rank {
            return Err(DataError::WrongRank { path, found: magic[3].into(), expected: rank });
        }
        (0..rank as u64).map(|i| Ok(u32::from_be_bytes(self.exactly(4 + 4 * i)?))).collect()
    }

    /// The number of data bytes, which was checked against the limit and against what is stored.
    fn checked_size(&self, dims: &[u32], header_bytes: u64) -> Result<u64, DataError> {
        let path = self.path.to_owned();
        let Some(declared) = dims.iter().try_fold(1u64, |n, &d| n.checked_mul(d.into())) else {
            return Err(DataError::SizeOverflow { path, shape: dims.to_vec() });
        };
        if declared > MAX_BYTES {
            return Err(DataError::TooLarge { path, declared, limit: MAX_BYTES });
        }
        let expected = header_bytes + declared;
        match self.stored {
            Some(compressed) if self.gzip && expected > compressed.saturating_mul(MAX_DEFLATE_RATIO) => {
                Err(DataError::ImpossibleRatio { path, declared, compressed })
            }
            Some(found) if !self.gzip && found < expected => {
                Err(DataError::Truncated { path, expected, found })
            }
            Some(found) if !self.gzip && found > expected => Err(DataError::TrailingBytes { path, expected }),
            _ => Ok(declared),
        }
    }

    /// `len` data bytes, after which the file must end.
    fn data(&mut self, len: u64, header_bytes: u64) -> Result<Vec<u8>, DataError> {
        let expected = header_bytes + len;
        let mut data = Vec::new();
        // Only a plain file of known length has proved that it holds what it declares. Otherwise the
        // vector grows with what was really read, so a lie in the header costs nothing.
        if self.stored.is_some() && !self.gzip {
            data.try_reserve_exact(len as usize)
                .map_err(|_| DataError::OutOfMemory { path: self.path.to_owned(), bytes: len })?;
        }
        if let Err(source) = self.reader.by_ref().take(len).read_to_end(&mut data) {
            return Err(match source.kind() {
                io::ErrorKind::OutOfMemory => {
                    DataError::OutOfMemory { path: self.path.to_owned(), bytes: len }
                }
                _ => self.read_error(source, expected, header_bytes + data.len() as u64),
            });
        }
        let found = header_bytes + data.len() as u64;
        if found < expected {
            return Err(DataError::Truncated { path: self.path.to_owned(), expected, found });
        }
        // Reading past the end also makes the gzip decoder compare its checksum.
        match fill(&mut self.reader, &mut [0]) {
            Ok(0) => Ok(data),
            Ok(_) => Err(DataError::TrailingBytes { path: self.path.to_owned(), expected }),
            Err(source) if self.gzip => Err(DataError::CorruptGzip { path: self.path.to_owned(), source }),
            Err(source) => Err(DataError::Io { path: self.path.to_owned(), source }),
        }
    }

    /// The next `N` bytes of the header, `before` of which were read already.
    fn exactly<const N: usize>(&mut self, before: u64) -> Result<[u8; N], DataError> {
        let expected = before + N as u64;
        let mut bytes = [0; N];
        match fill(&mut self.reader, &mut bytes) {
            Ok(n) if n == N => Ok(bytes),
            Ok(n) => {
                Err(DataError::Truncated { path: self.path.to_owned(), expected, found: before + n as u64 })
            }
            Err(source) => Err(self.read_error(source, expected, before)),
        }
    }

    /// Sorts out what `source` says about the file, of which `found` of `expected` bytes were read.
    fn read_error(&self, source: io::Error, expected: u64, found: u64) -> DataError {
        let path = self.path.to_owned();
        match source.kind() {
            io::ErrorKind::UnexpectedEof if self.gzip => DataError::Truncated { path, expected, found },
            io::ErrorKind::InvalidInput | io::ErrorKind::InvalidData if self.gzip => {
                DataError::CorruptGzip { path, source }
            }
            _ => DataError::Io { path, source },
        }
    }
}

/// Reads until `buffer` is full or the data ends; returns how many bytes that were.
fn fill(reader: &mut impl Read, buffer: &mut [u8]) -> io::Result<usize> {
    let mut n = 0;
    while n < buffer.len() {
        match reader.read(&mut buffer[n..]) {
            Ok(0) => break,
            Ok(more) => n += more,
            Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
            Err(e) => return Err(e),
        }
    }
    Ok(n)
}
