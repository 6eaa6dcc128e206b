//! The chain of proof: every op, every kernel variant, every adapter.
//!
//! One binary, because each links wgpu. Set `RECURVE_TEST_SKIP` to part of an adapter's name to leave it out.

mod adapters;
mod conformance;
mod faults;
mod goldens;
mod gradients;
mod programs;
mod schedules;
mod shaders;
mod surprises;
