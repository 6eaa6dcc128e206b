//! The command line of the course's examples, and opening a device.

// Each example uses a part of this.
#![allow(dead_code)]

use clap::Args;
use recurve::{DEVICE_VARIABLE, Device, Error, Pick};
use std::error::Error as StdError;
use std::path::PathBuf;
use std::process::ExitCode;

/// What every example takes.
#[derive(Args, Debug, Clone)]
pub struct Common {
    /// best, gpu, software, cpu, or part of an adapter's name.
    #[arg(long, default_value = "best")]
    pub device: String,
    /// Folder for the pictures; by default runs/ and the example's name.
    #[arg(long)]
    pub out: Option<PathBuf>,
    /// Seed of weights and order.
    #[arg(long, default_value_t = 0)]
    pub seed: u64,
}

impl Common {
    /// Opens the device and makes the folder for the pictures of the example `name`.
    pub fn start(&self, name: &str) -> Result<(Device, PathBuf), Box<dyn StdError>> {
        let dev = open(&self.device)?;
        println!("device: {}", dev.name());
        let out = self.out.clone().unwrap_or_else(|| PathBuf::from("runs").join(name));
        std::fs::create_dir_all(&out).map_err(|e| format!("{}: {e}", out.display()))?;
        Ok((dev, out))
    }
}

/// Reads a probability of dropping something: at least 0 and below 1.
pub fn probability(text: &str) -> Result<f64, String> {
    let number = text.parse().ok().filter(|p| (0.0..1.0).contains(p));
    number.ok_or_else(|| "a number of at least 0 and below 1 is needed".into())
}

/// Reads a number above 0.
pub fn positive(text: &str) -> Result<f64, String> {
    let number = text.parse().ok().filter(|n: &f64| *n > 0.0 && n.is_finite());
    number.ok_or_else(|| "a number above 0 is needed".into())
}

/// The exit status of a program, after its error has been printed.
pub fn status(result: Result<(), Box<dyn StdError>>) -> ExitCode {
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error}");
            ExitCode::FAILURE
        }
    }
}

/// Opens the device, and says so when that is only the CPU reference.
pub fn open(name: &str) -> Result<Device, Error> {
    let pick: Pick = name.parse().unwrap_or_default();
    let dev = Device::open_blocking(pick.clone())?;
    let asked_for =
        pick == Pick::Cpu || std::env::var(DEVICE_VARIABLE).is_ok_and(|v| v.parse() == Ok(Pick::Cpu));
    if dev.is_reference() && !asked_for {
        println!(
            "No GPU adapter: computing on the CPU reference, on all cores. It is correct but slow; a Vulkan driver \
             makes this several times faster (Debian: apt-get install mesa-vulkan-drivers)."
        );
    }
    Ok(dev)
}
