//! CIFAR-10: 60,000 colour pictures of 32×32 pixels in ten classes.
//!
//! ```text
//! label                 one byte, below 10
//! pixels                3,072 bytes: red, green and blue planes of 32 rows each
//! ...                   the next picture; the file has no header
//! ```
//! Files may be gzipped, which is told by their first two bytes and not by their name. Source: A. Krizhevsky, "Learning
//! multiple layers of features from tiny images", 2009, <https://www.cs.toronto.edu/~kriz/cifar.html> ("binary version").

use super::{DataError, Dataset, Normalize};
use flate2::read::MultiGzDecoder;
use std::io::{self, BufRead, Read};
use std::path::Path;

/// Names of the classes, in the order of their labels.
pub const CLASSES: [&str; 10] =
    ["airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck"];

/// The shape of one picture: `[C, H, W]`.
pub const SAMPLE_SHAPE: [usize; 3] = [3, 32, 32];

/// Mean of red, green and blue over all training pixels, scaled to 0..=1.
pub const MEAN: [f32; 3] = [0.4914, 0.4822, 0.4465];

/// Standard deviation of red, green and blue over all training pixels, scaled to 0..=1.
pub const STD: [f32; 3] = [0.2470, 0.2435, 0.2616];

/// Pictures in each file of the data set.
pub const PER_FILE: usize = 10_000;

/// Bytes of one picture with its label.
const RECORD: usize = 1 + 3 * 32 * 32;

/// The most bytes that a file may have, decompressed: some 87,000 pictures.
pub const MAX_BYTES: u64 = 1 << 28;

const GZIP_MAGIC: [u8; 2] = [0x1f, 0x8b];

/// The normalisation that is usual for CIFAR-10: [`MEAN`] and [`STD`].
pub fn normalize() -> Normalize {
    Normalize { mean: MEAN.to_vec(), std: STD.to_vec() }
}

/// The complete data set, in memory.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Cifar10 {
    /// 50,000 pictures to train with, of shape [`SAMPLE_SHAPE`].
    pub train: Dataset,
    /// 10,000 others to test with.
    pub test: Dataset,
}

impl Cifar10 {
    /// Reads `data_batch_1.bin` to `data_batch_5.bin` and `test_batch.bin` from `folder`; each may be there as it is or
    /// with `.gz` appended, and must hold [`PER_FILE`] pictures.
    ///
    /// # Errors
    /// [`DataError::Missing`] names the first file that is not there; [`DataError::Truncated`] and
    /// [`DataError::TrailingBytes`] for files of other lengths; otherwise the errors of [`from_path`].
    #[cfg(not(target_arch = "wasm32"))]
    pub fn load(folder: impl AsRef<Path>) -> Result<Cifar10, DataError> {
        let folder = folder.as_ref();
        let file = |name: String| {
            let plain = folder.join(&name);
            let gzipped = folder.join(format!("{name}.gz"));
            let path = match (plain.exists(), gzipped.exists()) {
                (true, _) => plain,
                (false, true) => gzipped,
                (false, false) => return Err(DataError::Missing { path: plain }),
            };
            let set = from_path(&path)?;
            let (expected, found) = ((PER_FILE * RECORD) as u64, (set.len() * RECORD) as u64);
            match found.cmp(&expected) {
                std::cmp::Ordering::Less => Err(DataError::Truncated { path, expected, found }),
                std::cmp::Ordering::Equal => Ok(set),
                std::cmp::Ordering::Greater => Err(DataError::TrailingBytes { path, expected }),
            }
        };
        let (mut images, mut labels) = (Vec::new(), Vec::new());
        for i in 1..=5 {
            let part = file(format!("data_batch_{i}.bin"))?;
            labels.extend_from_slice(part.labels());
            (0..part.len()).for_each(|i| images.extend_from_slice(part.image(i)));
        }
        let train = Dataset::new(images, &SAMPLE_SHAPE, labels);
        Ok(Cifar10 { train, test: file("test_batch.bin".into())? })
    }
}

/// Reads the file at `path`, plain or gzipped: any number of pictures, but at least one.
///
/// # Errors
/// [`DataError::Io`] and [`DataError::CorruptGzip`] when it cannot be read, [`DataError::TooLarge`] above
/// [`MAX_BYTES`], [`DataError::Truncated`] when it ends within a picture or has none, [`DataError::LabelOutOfRange`].
#[cfg(not(target_arch = "wasm32"))]
pub fn from_path(path: impl AsRef<Path>) -> Result<Dataset, DataError> {
    let path = path.as_ref();
    let file = std::fs::File::open(path).map_err(|source| DataError::Io { path: path.into(), source })?;
    from_reader(path, io::BufReader::new(file))
}

/// Reads a file from memory; `path` only names it in errors.
///
/// # Errors
/// As [`from_path`].
pub fn from_bytes(path: impl AsRef<Path>, bytes: &[u8]) -> Result<Dataset, DataError> {
    from_reader(path, bytes)
}

/// Reads what `reader` yields, to its end; `path` only names it in errors.
///
/// # Errors
/// As [`from_path`].
pub fn from_reader(path: impl AsRef<Path>, mut reader: impl BufRead) -> Result<Dataset, DataError> {
    let path = path.as_ref();
    let read_error = |source| DataError::Io { path: path.into(), source };
    let mut bytes = Vec::new();
    if reader.fill_buf().map_err(read_error)?.starts_with(&GZIP_MAGIC) {
        let mut decoder = MultiGzDecoder::new(reader).take(MAX_BYTES + 1);
        if let Err(source) = decoder.read_to_end(&mut bytes) {
            return Err(match source.kind() {
                io::ErrorKind::UnexpectedEof => truncated(path, bytes.len()),
                _ => DataError::CorruptGzip { path: path.into(), source },
            });
        }
    } else {
        reader.take(MAX_BYTES + 1).read_to_end(&mut bytes).map_err(read_error)?;
    }
    if bytes.len() as u64 > MAX_BYTES {
        let declared = bytes.len() as u64;
        return Err(DataError::TooLarge { path: path.into(), declared, limit: MAX_BYTES });
    }
    if bytes.is_empty() || !bytes.len().is_multiple_of(RECORD) {
        return Err(truncated(path, bytes.len()));
    }
    let labels: Vec<u8> = bytes.iter().step_by(RECORD).copied().collect();
    if let Some(index) = labels.iter().position(|&label| usize::from(label) >= CLASSES.len()) {
        let (label, classes) = (labels[index], CLASSES.len() as u8);
        return Err(DataError::LabelOutOfRange { path: path.into(), index, label, classes });
    }
    // The pixels move to the front, over the labels, so that nothing is held twice.
    for i in 0..labels.len() {
        bytes.copy_within(i * RECORD + 1..(i + 1) * RECORD, i * (RECORD - 1));
    }
    bytes.truncate(labels.len() * (RECORD - 1));
    Ok(Dataset::new(bytes, &SAMPLE_SHAPE, labels))
}

/// The file ends within a picture, or before its first.
fn truncated(path: &Path, found: usize) -> DataError {
    let expected = (found / RECORD + 1) * RECORD;
    DataError::Truncated { path: path.into(), expected: expected as u64, found: found as u64 }
}
