//! The main job, small: the MNIST network on the real data, on every adapter.

#[path = "../../examples/support/net.rs"]
mod net;
#[path = "../../examples/mnist/options.rs"]
mod options;
#[path = "../../examples/mnist/report.rs"]
mod report;
#[path = "../../examples/support/mod.rs"]
mod support;
#[path = "../../examples/mnist/train.rs"]
mod train;

mod job;
mod steps;

use clap::Parser;
use options::Options;
use recurve::data::mnist::Mnist;
use recurve::{Device, adapters};
use std::sync::OnceLock;

/// Every adapter of this machine. The test command promises one, so none is a failure.
fn devices() -> Vec<Device> {
    let all = pollster::block_on(adapters());
    assert!(
        !all.is_empty(),
        "no GPU adapter: install a Vulkan driver (Debian: apt-get install mesa-vulkan-drivers)"
    );
    all.iter().map(|a| pollster::block_on(Device::open_adapter(a)).expect("a listed adapter opens")).collect()
}

/// The complete data set of the repository.
fn mnist() -> &'static Mnist {
    static DATA: OnceLock<Mnist> = OnceLock::new();
    DATA.get_or_init(|| {
        Mnist::load(concat!(env!("CARGO_MANIFEST_DIR"), "/examples/mnist-data")).expect("MNIST")
    })
}

/// Options of a run whose files go to a folder of its own.
fn options(name: &str, arguments: &[&str]) -> Options {
    let out = std::path::Path::new(env!("CARGO_TARGET_TMPDIR")).join(name);
    let _ = std::fs::remove_dir_all(&out);
    std::fs::create_dir_all(&out).expect("the test folder can be made");
    let out = out.to_str().expect("the test folder has a plain name");
    Options::parse_from(["mnist", "--out", out].iter().chain(arguments))
}
