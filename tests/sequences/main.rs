//! The examples of recurrent networks, small: each one's claim is asserted on what it computes.

#[path = "../../examples/support/mod.rs"]
mod support;

mod abc;
mod chorales;
mod midi;
mod tunes;

use recurve::{Device, Pick};
use std::path::PathBuf;

/// The device that the examples would choose.
fn device() -> Device {
    Device::open_blocking(Pick::Best).expect("a device")
}

/// An empty folder for the files of one example.
fn folder(name: &str) -> PathBuf {
    let folder = std::path::Path::new(env!("CARGO_TARGET_TMPDIR")).join("sequences").join(name);
    let _ = std::fs::remove_dir_all(&folder);
    std::fs::create_dir_all(&folder).expect("the test folder can be made");
    folder
}
