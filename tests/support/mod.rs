//! What several tests need.
#![allow(dead_code, reason = "not every test needs all of it")]

pub mod optim_cases;
pub mod scale;

use recurve::{Device, adapters};

/// The CPU reference and every adapter that there is.
pub fn devices() -> Vec<Device> {
    let all = pollster::block_on(adapters());
    let open =
        |entry| pollster::block_on(Device::open_adapter(entry)).expect("an adapter that was listed opens");
    let opened: Vec<Device> = all.iter().map(open).collect();
    assert!(!opened.is_empty(), "no adapter found: install Debian's mesa-vulkan-drivers");
    std::iter::once(Device::cpu()).chain(opened).collect()
}
