//! MNIST: 70,000 handwritten digits of 28×28 grey pixels, white on black.
//!
//! Source: Y. LeCun, C. Cortes, C. J. C. Burges, "The MNIST database of handwritten digits",
//! <http://yann.lecun.com/exdb/mnist/>.

use super::{DataError, Dataset, IdxArray, Normalize};
#[cfg(not(target_arch = "wasm32"))]
use std::path::Path;

/// The digits 0 to 9.
pub const CLASSES: u8 = 10;

/// The shape of one digit: `[C, H, W]`.
pub const SAMPLE_SHAPE: [usize; 3] = [1, 28, 28];

/// Mean of all training pixels, scaled to 0..=1.
pub const MEAN: f32 = 0.1307;

/// Standard deviation of all training pixels, scaled to 0..=1.
pub const STD: f32 = 0.3081;

/// The normalisation that is usual for MNIST: [`MEAN`] and [`STD`].
pub fn normalize() -> Normalize {
    Normalize { mean: vec![MEAN], std: vec![STD] }
}

/// The complete data set, in memory.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mnist {
    /// 60,000 digits to train with, of shape [`SAMPLE_SHAPE`].
    pub train: Dataset,
    /// 10,000 digits by other writers, to test with.
    pub test: Dataset,
}

impl Mnist {
    /// Reads `train-images-idx3-ubyte`, `train-labels-idx1-ubyte`, `t10k-images-idx3-ubyte` and
    /// `t10k-labels-idx1-ubyte` from `folder`; each may be there as it is or with `.gz` appended.
    ///
    /// # Errors
    /// [`DataError::Missing`] names the first file that is not there; otherwise the errors of
    /// [`IdxArray::from_path`] and of [`digits`].
    #[cfg(not(target_arch = "wasm32"))]
    pub fn load(folder: impl AsRef<Path>) -> Result<Mnist, DataError> {
        let folder = folder.as_ref();
        let part = |part: &str| {
            let images = open(folder, &format!("{part}-images-idx3-ubyte"), 3)?;
            let labels = open(folder, &format!("{part}-labels-idx1-ubyte"), 1)?;
            digits(images, labels)
        };
        Ok(Mnist { train: part("train")?, test: part("t10k")? })
    }
}

/// Joins `images` of shape `[N, 28, 28]` and `labels` of shape `[N]` into a data set of samples of shape
/// [`SAMPLE_SHAPE`].
///
/// # Errors
/// [`DataError::WrongShape`] when the images are not 28×28, [`DataError::CountMismatch`] when there is not
/// one label per image, [`DataError::LabelOutOfRange`] when a label is not a digit.
pub fn digits(images: IdxArray, labels: IdxArray) -> Result<Dataset, DataError> {
    if images.shape.len() != 3 || images.shape[1..] != SAMPLE_SHAPE[1..] {
        let found = images.shape.get(1..).unwrap_or_default().to_vec();
        return Err(DataError::WrongShape { path: images.path, found, expected: SAMPLE_SHAPE[1..].to_vec() });
    }
    if images.shape[..1] != labels.shape[..] {
        return Err(DataError::CountMismatch {
            images: images.shape[0],
            images_path: images.path,
            labels: labels.data.len(),
            labels_path: labels.path,
        });
    }
    if let Some(index) = labels.data.iter().position(|&label| label >= CLASSES) {
        let label = labels.data[index];
        return Err(DataError::LabelOutOfRange { path: labels.path, index, label, classes: CLASSES });
    }
    Ok(Dataset::new(images.data, &SAMPLE_SHAPE, labels.data))
}

/// Reads `folder/name` or, where that does not exist, `folder/name.gz`.
#[cfg(not(target_arch = "wasm32"))]
fn open(folder: &Path, name: &str, rank: usize) -> Result<IdxArray, DataError> {
    let plain = folder.join(name);
    if plain.exists() {
        return IdxArray::from_path(plain, rank);
    }
    let gzipped = folder.join(format!("{name}.gz"));
    if gzipped.exists() {
        IdxArray::from_path(gzipped, rank)
    } else {
        Err(DataError::Missing { path: plain })
    }
}
