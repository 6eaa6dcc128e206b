//! Data sets: readers of real file formats, and the loader that cuts them into batches.
//!
//! Files are hostile until proven otherwise: a reader checks every length before it allocates, and says
//! with a [`DataError`] what is wrong with which file. Opening files exists on native targets only; every
//! reader also takes bytes, so a browser can hand over what it fetched.
//!
//! ```no_run
//! use recurve::data::{Loader, LoaderConfig, Order, mnist::{self, Mnist}};
//!
//! let mnist = Mnist::load("examples/mnist-data")?;
//! let config = LoaderConfig { order: Order::Shuffled, normalize: mnist::normalize(), ..Default::default() };
//! let mut loader = Loader::new(&mnist.train, config);
//! while let Some(batch) = loader.next_batch() {
//!     assert_eq!(batch.shape[1..], [1, 28, 28]);
//! }
//! # Ok::<(), recurve::data::DataError>(())
//! ```
//!
//! For training, a loader also changes samples at random and makes batches ahead, on a thread. Neither the size of batches
//! nor the thread changes what becomes of a sample, and four numbers say where a loader stands:
//!
//! ```
//! use recurve::data::{Augment, Dataset, Loader, LoaderConfig, Order};
//!
//! let set = Dataset::new(vec![7; 6 * 3 * 8 * 8], &[3, 8, 8], vec![0, 1, 2, 0, 1, 2]);
//! let augment = Augment { crop_padding: 2, horizontal_flip: 0.5, ..Default::default() };
//! let config = LoaderConfig { batch_size: 2, order: Order::Shuffled, augment, prefetch: 3, ..Default::default() };
//! let mut loader = Loader::new(&set, config.clone());
//! loader.next_batch();
//! let state = loader.state(); // goes into a checkpoint
//! let next = loader.next_batch().map(|batch| batch.images.to_vec());
//! let mut resumed = Loader::new(&set, LoaderConfig { prefetch: 0, ..config });
//! resumed.restore(state)?;
//! assert_eq!(resumed.next_batch().map(|batch| batch.images.to_vec()), next);
//! # Ok::<(), recurve::data::DataError>(())
//! ```

pub mod cifar;
pub mod idx;
pub mod loader;
pub mod mnist;
pub mod ts;
pub mod wav;

pub use cifar::Cifar10;
pub use idx::IdxArray;
pub use loader::{Augment, Batch, LastBatch, Loader, LoaderConfig, LoaderState, Mix, Normalize, Order};
pub use ts::{Series, TimeSeries};
pub use wav::Wav;

use std::path::PathBuf;
use std::sync::Arc;

/// What can be wrong with a data file, or with a saved position in a data set.
///
/// `path` is the file's path, or the name that the caller gave to bytes from elsewhere.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum DataError {
    /// The file does not exist, neither plain nor gzipped.
    #[error("no such file: {} (nor {}.gz)", path.display(), path.display())]
    Missing {
        /// The path of the plain file that was looked for.
        path: PathBuf,
    },
    /// The operating system could not open or read the file.
    #[error("cannot read {}", path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// The operating system's reason.
        source: std::io::Error,
    },
    /// The gzip stream around the data is damaged.
    #[error("{}: damaged gzip stream", path.display())]
    CorruptGzip {
        /// The file.
        path: PathBuf,
        /// The decoder's reason.
        source: std::io::Error,
    },
    /// The file does not start like an IDX file, whose first two bytes are zero.
    #[error("{}: not an IDX file: it starts with {found:02x?} instead of two zero bytes", path.display())]
    BadMagic {
        /// The file.
        path: PathBuf,
        /// The first four bytes.
        found: [u8; 4],
    },
    /// The elements are not unsigned bytes (IDX type 0x08).
    #[error("{}: elements of IDX type 0x{found:02x}; only unsigned bytes (0x08) are supported", path.display())]
    UnsupportedType {
        /// The file.
        path: PathBuf,
        /// The type byte found.
        found: u8,
    },
    /// The array has another number of dimensions than asked for.
    #[error("{}: an array of {found} dimensions where {expected} were expected", path.display())]
    WrongRank {
        /// The file.
        path: PathBuf,
        /// Dimensions that the file declares.
        found: usize,
        /// Dimensions asked for.
        expected: usize,
    },
    /// The product of the declared dimensions does not fit into 64 bits.
    #[error("{}: the size of an array of shape {shape:?} overflows", path.display())]
    SizeOverflow {
        /// The file.
        path: PathBuf,
        /// The declared dimensions.
        shape: Vec<u32>,
    },
    /// The file declares more data than this library reads into memory.
    #[error("{}: declares {declared} bytes, more than the limit of {limit}", path.display())]
    TooLarge {
        /// The file.
        path: PathBuf,
        /// Bytes declared by the header.
        declared: u64,
        /// The most that is accepted: [`idx::MAX_BYTES`].
        limit: u64,
    },
    /// The file declares more data than its compressed bytes can hold.
    #[error("{}: declares {declared} bytes, but {compressed} bytes of gzip cannot hold that many", path.display())]
    ImpossibleRatio {
        /// The file.
        path: PathBuf,
        /// Bytes declared by the header.
        declared: u64,
        /// Size of the compressed file in bytes.
        compressed: u64,
    },
    /// The file ends too early.
    #[error("{}: truncated: {found} of at least {expected} bytes", path.display())]
    Truncated {
        /// The file.
        path: PathBuf,
        /// Uncompressed bytes needed, header included, as far as could be told.
        expected: u64,
        /// Uncompressed bytes there.
        found: u64,
    },
    /// The file goes on after the data that its header declares.
    #[error("{}: more bytes follow after the {expected} declared ones", path.display())]
    TrailingBytes {
        /// The file.
        path: PathBuf,
        /// Uncompressed bytes expected, header included.
        expected: u64,
    },
    /// A line of a text file says what it must not.
    #[error("{}, line {line}: {what}", path.display())]
    BadLine {
        /// The file.
        path: PathBuf,
        /// The line, from 1.
        line: usize,
        /// What is wrong.
        what: String,
    },
    /// The file does not start like a WAV file, with `RIFF`.
    #[error("{}: not a WAV file: it starts with {found:02x?} instead of \"RIFF\"", path.display())]
    NotWav {
        /// The file.
        path: PathBuf,
        /// The first four bytes.
        found: [u8; 4],
    },
    /// A WAV file says what it must not.
    #[error("{}, byte {at}: {what}", path.display())]
    BadWav {
        /// The file.
        path: PathBuf,
        /// Where in the file.
        at: u64,
        /// What is wrong.
        what: String,
    },
    /// The samples of a WAV file are stored in a way that is not read.
    #[error(
        "{}: samples of encoding 0x{encoding:04x} with {bits} bits; 8 and 16 bits of encoding 1 and 32 of encoding 3 are supported",
        path.display()
    )]
    UnsupportedWav {
        /// The file.
        path: PathBuf,
        /// The format's number for what samples are.
        encoding: u16,
        /// Bits of a sample.
        bits: u16,
    },
    /// There is not enough memory for the data.
    #[error("{}: no memory for {bytes} bytes", path.display())]
    OutOfMemory {
        /// The file.
        path: PathBuf,
        /// Bytes asked for.
        bytes: u64,
    },
    /// The samples have another shape than the data set's.
    #[error("{}: samples of shape {found:?} where {expected:?} was expected", path.display())]
    WrongShape {
        /// The file.
        path: PathBuf,
        /// Shape of one sample in the file.
        found: Vec<usize>,
        /// Shape of one sample in the data set asked for.
        expected: Vec<usize>,
    },
    /// Two files that belong together hold different numbers of samples.
    #[error("{} holds {images} images, but {} holds {labels} labels", images_path.display(), labels_path.display())]
    CountMismatch {
        /// The file of images.
        images_path: PathBuf,
        /// Images in it.
        images: usize,
        /// The file of labels.
        labels_path: PathBuf,
        /// Labels in it.
        labels: usize,
    },
    /// A label names a class that the data set does not have.
    #[error("{}: label {label} at index {index} is not below {classes}", path.display())]
    LabelOutOfRange {
        /// The file of labels.
        path: PathBuf,
        /// Where in the file, counted in labels.
        index: usize,
        /// The label found.
        label: u8,
        /// The number of classes.
        classes: u8,
    },
    /// A saved position belongs to a data set of another size, or lies outside of it.
    #[error(
        "a position at sample {next} of {samples} does not belong to a data set of {expected_samples} samples"
    )]
    StateMismatch {
        /// The saved index of the next sample.
        next: u64,
        /// The saved number of samples.
        samples: u64,
        /// The number of samples in the data set at hand.
        expected_samples: u64,
    },
}

/// A labelled data set in memory: `len` samples of unsigned bytes, all of one shape, with one label each.
///
/// Bytes stay bytes until a [`Loader`] turns one batch of them into `f32`: MNIST takes 47 MB, not 188 MB. Clones share
/// them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Dataset {
    images: Arc<Vec<u8>>,
    labels: Arc<Vec<u8>>,
    sample_shape: Vec<usize>,
    sample_len: usize,
}

impl Dataset {
    /// A data set of `labels.len()` samples; `images` has the shape `[labels.len(), ..sample_shape]`, as
    /// in `[N, C, H, W]` for a `sample_shape` of `[C, H, W]`.
    ///
    /// # Panics
    /// When `images` has not exactly one sample per label.
    #[track_caller]
    pub fn new(images: Vec<u8>, sample_shape: &[usize], labels: Vec<u8>) -> Dataset {
        let sample_len = sample_shape.iter().try_fold(1usize, |n, &d| n.checked_mul(d));
        let needed = sample_len.and_then(|n| n.checked_mul(labels.len()));
        assert!(
            needed == Some(images.len()),
            "Dataset::new: {} bytes are not {} samples of shape {sample_shape:?}",
            images.len(),
            labels.len(),
        );
        Dataset {
            images: Arc::new(images),
            labels: Arc::new(labels),
            sample_shape: sample_shape.to_vec(),
            sample_len: sample_len.unwrap_or_default(),
        }
    }

    /// The number of samples.
    pub fn len(&self) -> usize {
        self.labels.len()
    }

    /// Whether there is no sample at all.
    pub fn is_empty(&self) -> bool {
        self.labels.is_empty()
    }

    /// The shape of one sample, such as `[C, H, W]`.
    pub fn sample_shape(&self) -> &[usize] {
        &self.sample_shape
    }

    /// The bytes of sample `index`, of shape [`sample_shape`](Dataset::sample_shape).
    ///
    /// # Panics
    /// When `index` is not below [`len`](Dataset::len).
    #[track_caller]
    pub fn image(&self, index: usize) -> &[u8] {
        assert!(index < self.len(), "Dataset::image: sample {index} of {}", self.len());
        &self.images[index * self.sample_len..][..self.sample_len]
    }

    /// All labels, in the order of the samples.
    pub fn labels(&self) -> &[u8] {
        &self.labels
    }

    /// The first `n` samples, or all when there are fewer.
    pub fn first(&self, n: usize) -> Dataset {
        self.subset(0..n.min(self.len()))
    }

    /// The samples at `indices`, in that order.
    ///
    /// # Panics
    /// When an index is not below [`len`](Dataset::len).
    #[track_caller]
    pub fn subset(&self, indices: impl IntoIterator<Item = usize>) -> Dataset {
        let (mut images, mut labels) = (Vec::new(), Vec::new());
        for index in indices {
            images.extend_from_slice(self.image(index));
            labels.push(self.labels[index]);
        }
        Dataset::new(images, &self.sample_shape, labels)
    }
}
