//! What memory a device takes, and for what, as plain data: [`Device::memory`](crate::Device::memory) of a device says
//! what was created, that of its [`planner`](crate::Device::planner) what would be.
//!
//! ```
//! use recurve::kernel::Target;
//! use recurve::{Device, Error, Init, Params, Sgd, SgdConfig};
//!
//! // The same code as on a GPU, without one: nothing is drawn, uploaded, created or computed.
//! let dev = Device::planning(&Target::WEBGPU_DEFAULT);
//! let params = Params::new(&dev, 0);
//! let w = params.root().param("w", [512, 512], Init::default_weight());
//! let mut opt = Sgd::new(&params, SgdConfig { momentum: 0.9, ..Default::default() });
//! let x = dev.full(1.0, [64, 512]);
//! let loss = x.matmul(&w.tensor()).square().mean(&[0, 1]);
//! opt.step(&loss.backward())?;
//!
//! let memory = dev.memory();
//! assert_eq!(memory.bytes_labelled("parameters"), 512 * 512 * 4);
//! assert_eq!(memory.bytes_labelled("momentum_buffer"), 512 * 512 * 4);
//! assert!(matches!(loss.item(), Err(Error::PlanOnly)));
//! println!("{memory}");
//! # Ok::<(), Error>(())
//! ```

use std::fmt;

/// What a piece of memory is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
pub enum Use {
    /// What outlives programs: parameters, gradients, states of optimisers, running statistics.
    Arena,
    /// Buffers that values take turns in. All programs share them.
    Slots,
    /// Textures that reads are served from, where that is faster than from buffers. All programs share them.
    Textures,
    /// Parameters of kernels.
    Kernels,
    /// Uploaded tensors, and held ones that were moved out of a program's way; idle buffers are kept for the next ones.
    Values,
    /// Values on their way to the host, and times of profiles.
    Readback,
    /// What empty operands are bound to.
    Empty,
}

/// One line of the account.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Part {
    /// What it is for.
    pub used_for: Use,
    /// The arena's name, or another word for the use.
    pub label: String,
    /// Bytes.
    pub bytes: u64,
    /// Buffers or textures.
    pub pieces: u64,
}

/// What one program needs beside the arenas.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct ProgramMemory {
    /// Steps.
    pub steps: usize,
    /// Dispatches; none on the CPU reference.
    pub dispatches: usize,
    /// Bytes of the slots that its values and scratch take turns in.
    pub slots: u64,
    /// The most bytes that values and scratch need at once: no sharing can take less.
    pub at_once: u64,
    /// Bytes that values would take if each were kept in a buffer of its own; without scratch, which nobody would keep.
    pub kept: u64,
    /// Bytes of the textures that its reads take turns in.
    pub textures: u64,
    /// Bytes of the largest set of textures that are needed at once.
    pub textures_at_once: u64,
}

/// What memory a device takes.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Memory {
    /// The device's name.
    pub device: String,
    /// Whether the device only plans, so that nothing of this exists.
    pub planned: bool,
    /// What there is now, by use and label.
    pub parts: Vec<Part>,
    /// The most bytes that there were at once so far.
    pub most: u64,
    /// The programs that were planned, the one that ran last at the end.
    pub programs: Vec<ProgramMemory>,
    /// Bytes that the driver's allocator says it has given out for what is counted here, its own rounding included; where
    /// there is such a report.
    pub allocated: Option<u64>,
}

impl Memory {
    /// All bytes that there are now.
    pub fn bytes(&self) -> u64 {
        self.parts.iter().map(|p| p.bytes).sum()
    }

    /// The bytes that are there for one use.
    pub fn bytes_for(&self, used_for: Use) -> u64 {
        self.parts.iter().filter(|p| p.used_for == used_for).map(|p| p.bytes).sum()
    }

    /// The bytes of the parts with this label: `gradients`, say.
    pub fn bytes_labelled(&self, label: &str) -> u64 {
        self.parts.iter().filter(|p| p.label == label).map(|p| p.bytes).sum()
    }

    /// What there would be if every value of the largest program were kept in a buffer of its own: that takes the place of
    /// slots and textures, with nothing for scratch.
    pub fn if_all_were_kept(&self) -> u64 {
        let kept = self.programs.iter().map(|p| p.kept).max().unwrap_or(0);
        self.bytes() - self.bytes_for(Use::Slots) - self.bytes_for(Use::Textures) + kept
    }
}

/// A number of bytes in a unit that fits.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Bytes(pub u64);

impl fmt::Display for Bytes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let text = match self.0 {
            0..10_240 => format!("{} B", self.0),
            10_240..10_485_760 => format!("{:.1} KiB", self.0 as f64 / 1024.0),
            _ => format!("{:.1} MiB", self.0 as f64 / 1_048_576.0),
        };
        f.pad(&text)
    }
}

impl fmt::Display for ProgramMemory {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (slots, at_once, kept) = (Bytes(self.slots), Bytes(self.at_once), Bytes(self.kept));
        write!(f, "{} steps: slots {slots}, needed at once {at_once}, each value alone {kept}", self.steps)?;
        if self.textures > 0 {
            let (textures, at_once) = (Bytes(self.textures), Bytes(self.textures_at_once));
            write!(f, "; textures {textures}, at once {at_once}")?;
        }
        Ok(())
    }
}

impl fmt::Display for Memory {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let planned = if self.planned { "planned memory" } else { "memory" };
        writeln!(f, "{planned} of {}", self.device)?;
        for part in &self.parts {
            let bytes = Bytes(part.bytes).to_string();
            let kind = if part.used_for == Use::Textures { "textures" } else { "buffers" };
            writeln!(f, "  {:<20} {bytes:>12} in {} {kind}", part.label, part.pieces)?;
        }
        let (now, most) = (Bytes(self.bytes()).to_string(), Bytes(self.most));
        writeln!(f, "  {:<20} {now:>12}, at most {most} so far", "together")?;
        if let Some(allocated) = self.allocated {
            writeln!(f, "  {:<20} {:>12}", "by the allocator", Bytes(allocated).to_string())?;
        }
        for program in &self.programs {
            writeln!(f, "  program of {program}")?;
        }
        Ok(())
    }
}
