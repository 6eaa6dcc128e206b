//! Time since the program's start; zero where there is no clock (browsers without a host's help).

use std::time::Duration;

#[cfg(not(target_arch = "wasm32"))]
pub(crate) fn now() -> Duration {
    use std::sync::OnceLock;
    use std::time::Instant;
    static START: OnceLock<Instant> = OnceLock::new();
    START.get_or_init(Instant::now).elapsed()
}

#[cfg(target_arch = "wasm32")]
pub(crate) fn now() -> Duration {
    Duration::ZERO
}
