//! The course's examples, small: each one's claim is asserted on what it computes.

#[path = "../../examples/support/mod.rs"]
mod support;

#[path = "../../examples/support/net.rs"]
mod net;

mod batch_norm;
mod cifar;
mod convolution;
mod depth;
mod feature_maps;
mod motions;
mod pooling;
mod shift;
mod transfer;

use recurve::data::mnist::Mnist;
use recurve::{Device, Pick};
use std::path::PathBuf;
use std::sync::OnceLock;

/// The device that the examples would choose.
fn device() -> Device {
    Device::open_blocking(Pick::Best).expect("a device")
}

/// A folder for the pictures of one example.
fn folder(name: &str) -> PathBuf {
    let folder = std::path::Path::new(env!("CARGO_TARGET_TMPDIR")).join("course").join(name);
    std::fs::create_dir_all(&folder).expect("the test folder can be made");
    folder
}

/// The complete data set of the repository.
fn mnist() -> &'static Mnist {
    static DATA: OnceLock<Mnist> = OnceLock::new();
    DATA.get_or_init(|| support::classifier::load_mnist().expect("MNIST"))
}
