//! The examples of recurrent networks, small: each one's claim is asserted on what it computes.

#[path = "../../examples/support/mod.rs"]
mod support;

#[path = "../support/mod.rs"]
mod adapters;

mod abc;
mod chorales;
mod midi;
mod speech;
mod tunes;
mod vowels;

use recurve::{Device, Pick};
use std::path::PathBuf;

/// The device that the examples would choose.
fn device() -> Device {
    Device::open_blocking(Pick::Best).expect("a device")
}

/// A folder for the files of one example.
fn folder(name: &str) -> PathBuf {
    let folder = std::path::Path::new(env!("CARGO_TARGET_TMPDIR")).join("sequences").join(name);
    std::fs::create_dir_all(&folder).expect("the test folder can be made");
    folder
}
