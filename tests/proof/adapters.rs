//! The adapters that tests run on.

use recurve::{AdapterEntry, Device};

/// Part of the name of an adapter that tests leave out.
const SKIP_VARIABLE: &str = "RECURVE_TEST_SKIP";

/// Every adapter of this machine.
pub fn all() -> Vec<AdapterEntry> {
    let mut entries = pollster::block_on(recurve::adapters());
    if let Some(skipped) = std::env::var(SKIP_VARIABLE).ok().filter(|s| !s.is_empty()) {
        entries.retain(|entry| {
            let skip = entry.to_string().to_lowercase().contains(&skipped.to_lowercase());
            if skip {
                println!("left out by {SKIP_VARIABLE}: {entry}");
            }
            !skip
        });
    }
    assert!(
        !entries.is_empty(),
        "these tests compare GPU kernels with the reference and need at least one adapter. Install a software one \
         (Debian: apt-get install mesa-vulkan-drivers) or a GPU driver with Vulkan"
    );
    entries
}

/// A device of its own on `adapter`.
pub fn open(adapter: &AdapterEntry) -> Device {
    let opened = pollster::block_on(Device::open_adapter(adapter));
    opened.unwrap_or_else(|e| panic!("{adapter} is listed but does not open: {e}"))
}

/// A device of its own on the first adapter: hardware before software.
pub fn first() -> Device {
    open(&all()[0])
}

/// A device of its own on every adapter, and the CPU reference.
pub fn engines() -> Vec<Device> {
    std::iter::once(Device::cpu()).chain(all().iter().map(open)).collect()
}
