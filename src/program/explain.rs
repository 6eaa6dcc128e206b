//! A program in words: what runs, by which kernels and why by these, where values lie, and what memory that takes.

use super::choose::Found;
use super::{Origin, Place, Program, Step, ValueId, Why};
use crate::memory::Bytes;
use std::collections::BTreeMap;
use std::fmt;

/// One line for each step, and one for the memory.
impl fmt::Display for Program {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (i, step) in self.steps.iter().enumerate() {
            self.step(f, i, step)?;
        }
        writeln!(
            f,
            "{} steps, {} buffers, {} bytes planned of {} unshared",
            self.steps.len(),
            self.buffers.len(),
            self.planned_bytes(),
            self.unshared_bytes
        )
    }
}

/// The whole explanation.
pub(crate) struct Explanation<'a>(&'a Program);

impl Program {
    /// The program with its reasons.
    pub fn explanation(&self) -> Explanation<'_> {
        Explanation(self)
    }

    fn value(&self, f: &mut fmt::Formatter<'_>, id: ValueId) -> fmt::Result {
        let value = &self.values[id];
        match (&value.origin, &self.places[id]) {
            (Origin::Variable(v), _) => write!(f, "{}{}", v.name, value.spec.shape),
            (_, Place::Slot(b)) => write!(f, "%{id}:{}@{b}", value.spec),
            (_, Place::Chunk(c, offset)) => write!(f, "%{id}:{}@{}+{offset}", value.spec, c.label()),
            (_, Place::Nowhere) => write!(f, "%{id}:{}", value.spec),
        }
    }

    fn step(&self, f: &mut fmt::Formatter<'_>, index: usize, step: &Step) -> fmt::Result {
        write!(f, "{index:3} ")?;
        for (k, &o) in step.outputs.iter().enumerate() {
            f.write_str(if k > 0 { ", " } else { "" })?;
            self.value(f, o)?;
        }
        write!(f, "{}{}", if step.outputs.is_empty() { "" } else { " = " }, step.op.name())?;
        if let Some(candidate) = &step.kernels {
            write!(f, ".{}", candidate.variant)?;
        }
        f.write_str("(")?;
        for (k, &v) in step.inputs.iter().enumerate() {
            f.write_str(if k > 0 { ", " } else { "" })?;
            f.write_str(if step.op.updates().contains(&k) { "&" } else { "" })?;
            self.value(f, v)?;
        }
        f.write_str(")")?;
        if let Some(p) = step.op.pointwise() {
            write!(f, " {p}")?;
        }
        if !step.scalars.is_empty() {
            write!(f, " scalars {:?}", step.scalars)?;
        }
        writeln!(f)
    }

    /// What was asked for, what runs, and what was passed over.
    fn reasons(&self, f: &mut fmt::Formatter<'_>, index: usize, step: &Step) -> fmt::Result {
        const INDENT: &str = "        ";
        let lines = step.asked.chunk_by(|a, b| a.caller == b.caller);
        let lines: Vec<String> = lines
            .map(|line| {
                let names: Vec<&str> = line.iter().map(|a| a.op).collect();
                format!("{} at {}", names.join(", "), line[0].caller)
            })
            .collect();
        let fused = if step.asked.len() > 1 { "fused: " } else { "" };
        writeln!(f, "{INDENT}{fused}{}", lines.join("; "))?;
        for job in self.jobs().filter(|j| j.index == index) {
            let what = if job.copy.is_some() { "copies by" } else { "runs" };
            writeln!(f, "{INDENT}{what} {} {:?}", job.dispatch.kernel.name, job.dispatch.groups)?;
        }
        if let Some(candidate) = step.kernels.as_ref().filter(|c| !c.scratch.is_empty()) {
            let scratch = candidate.scratch.iter().zip(&step.scratch);
            let all: Vec<String> = scratch.map(|(b, slot)| format!("{b} bytes@{slot}")).collect();
            writeln!(f, "{INDENT}scratch: {}", all.join(", "))?;
        }
        if let Some(Found::Microseconds(time)) = step.found {
            writeln!(f, "{INDENT}measured: {time:.1} µs")?;
        }
        for passed in &step.passed_over {
            write!(f, "{INDENT}not {}: ", passed.variant)?;
            match passed.why {
                Why::Misfit(misfit) => writeln!(f, "{misfit}")?,
                Why::Later => writeln!(f, "fits too, and comes later")?,
                Why::Found(Found::Microseconds(time)) => writeln!(f, "measured: {time:.1} µs")?,
                Why::Found(Found::Wrong) => writeln!(f, "failed, or did not agree with the reference")?,
            }
        }
        Ok(())
    }

    /// Which values lie in which slot, one after the other.
    fn slots(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut owners: Vec<Vec<String>> = vec![Vec::new(); self.buffers.len()];
        for (id, place) in self.places.iter().enumerate() {
            if let (Place::Slot(slot), true) = (place, self.root(id) == id) {
                owners[*slot].push(format!("%{id}"));
            }
        }
        for (i, step) in self.steps.iter().enumerate() {
            step.scratch.iter().for_each(|&slot| owners[slot].push(format!("scratch of step {i}")));
        }
        for (slot, (bytes, owners)) in self.buffers.iter().zip(owners).enumerate() {
            writeln!(f, "@{slot}: {bytes} bytes for {}", owners.join(", "))?;
        }
        Ok(())
    }

    fn memory_lines(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (shared, alone) = (self.planned_bytes(), self.unshared_bytes);
        let saved = 100.0 * (1.0 - shared as f64 / alone.max(1) as f64);
        let (buffers, scratch, at_once) =
            (self.buffers.len(), Bytes(self.scratch_bytes()), Bytes(self.peak.0));
        writeln!(f, "slots: {} in {buffers} buffers; each value alone: {}", Bytes(shared), Bytes(alone))?;
        writeln!(f, "saved by sharing: {saved:.0}%; scratch among them: {scratch} before sharing")?;
        writeln!(f, "needed at once: {at_once}, in step {}", self.peak.1)?;
        let mut arenas: BTreeMap<u64, (&str, u64)> = BTreeMap::new();
        for value in &self.values {
            if let Origin::Variable(site) = &value.origin {
                arenas.insert(site.chunk.id(), (site.chunk.label(), site.chunk.bytes()));
            }
        }
        if !arenas.is_empty() {
            let all: Vec<String> =
                arenas.values().map(|(label, bytes)| format!("{label} {}", Bytes(*bytes))).collect();
            let sum: u64 = arenas.values().map(|a| a.1).sum();
            writeln!(f, "arenas: {}: {}", Bytes(sum), all.join(", "))?;
        }
        Ok(())
    }
}

impl fmt::Display for Explanation<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let program = self.0;
        writeln!(f, "{} steps, {} dispatches", program.steps.len(), program.jobs().count())?;
        for (i, step) in program.steps.iter().enumerate() {
            program.step(f, i, step)?;
            program.reasons(f, i, step)?;
        }
        program.slots(f)?;
        program.memory_lines(f)
    }
}
