//! Where the pictures come from.

use recurve::data::cifar::{self, Cifar10};
use recurve::data::{Dataset, Normalize};
use std::error::Error;
use std::path::{Path, PathBuf};

/// Pictures to train with and others to test on.
pub struct Data {
    pub train: Dataset,
    pub test: Dataset,
    /// How their bytes become numbers.
    pub normalize: Normalize,
    /// Names of the classes.
    pub classes: Vec<&'static str>,
}

/// The folder that the data set is unpacked to.
const FOLDER: &str = "cifar-10-batches-bin";

const HOW_TO_GET_IT: &str = "no CIFAR-10 found; it is 170 MB and has no licence to be copied here. Get it with\n\
    \x20 curl -O https://www.cs.toronto.edu/~kriz/cifar-10-binary.tar.gz && tar xzf cifar-10-binary.tar.gz\n\
    or say with --data where it lies: that folder, or a single file of it, plain or gzipped";

/// The data set at `path`, or at one of the usual places. Of a single file the last quarter is held out as test.
pub fn load(path: Option<&Path>) -> Result<Data, Box<dyn Error>> {
    let path = match path {
        Some(path) => path.to_owned(),
        None => usual_places().into_iter().find(|p| p.exists()).ok_or(HOW_TO_GET_IT)?,
    };
    let (train, test) = if path.is_dir() {
        let nested = path.join(FOLDER);
        let whole = Cifar10::load(if nested.is_dir() { nested } else { path })?;
        (whole.train, whole.test)
    } else {
        let all = cifar::from_path(&path)?;
        let held_out = all.len() / 4;
        let first = all.len() - held_out;
        (all.first(first), all.subset(first..all.len()))
    };
    if test.is_empty() {
        return Err(format!("{} pictures are not enough to train and test", train.len()).into());
    }
    Ok(Data { train, test, normalize: cifar::normalize(), classes: cifar::CLASSES.to_vec() })
}

fn usual_places() -> Vec<PathBuf> {
    let home = std::env::var_os("HOME").map(PathBuf::from);
    let folders = [Some("".into()), Some("data".into()), home.clone(), home.map(|h| h.join("data"))];
    folders.into_iter().flatten().map(|folder: PathBuf| folder.join(FOLDER)).collect()
}
