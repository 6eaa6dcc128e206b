//! Kernels chosen by measurement, for those who ask for it.
//!
//! Left to itself, Recurve takes the first kernel of each op that fits the device: a rule, the same everywhere. After
//! [`Device::tune`] each op that has several fitting kernels is measured by all of them when it is first planned, on
//! its real shapes, and the fastest one is taken, of those that agree with the op's reference. What was found is kept
//! in a file, so the next process measures nothing and chooses the same; with `measure: false` a file is used as it
//! is, and the choice depends on nothing else.
//!
//! An entry of the file belongs to one adapter with its driver, one op with its shapes, and the text of all its shaders:
//! when any of these changes, the entry is ignored.
//!
//! ```no_run
//! # fn main() -> recurve::Result<()> {
//! use recurve::tune::TuneConfig;
//! let dev = recurve::Device::open_blocking(recurve::Pick::Best)?;
//! dev.tune(&TuneConfig { file: Some("kernels.json".into()), ..Default::default() })?;
//! # Ok(())
//! # }
//! ```

mod check;
mod shrink;
mod table;
mod time;

use crate::device::Device;
use crate::gpu::shader;
use crate::kernel::Candidate;
use crate::op::Op;
use crate::program::choose::{Choice, Choose, Found, Question};
use crate::shape::Spec;
use check::Judge;
use sha2::{Digest, Sha256};
use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};
use table::{Entry, Table};
use time::time;

/// How [`Device::tune`] chooses kernels.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TuneConfig {
    /// Where choices are kept; `None` is [`default_file`]. What cannot be read is ignored, with a line in the log.
    pub file: Option<PathBuf>,
    /// Measure what the file does not know, and add it. Otherwise the rule stands for it, and the file is only read.
    pub measure: bool,
}

impl Default for TuneConfig {
    fn default() -> Self {
        TuneConfig { file: None, measure: true }
    }
}

/// `recurve/kernels.json` in the user's folder for caches; `None` where the environment does not name one.
pub fn default_file() -> Option<PathBuf> {
    let folder = |name: &str| std::env::var_os(name).filter(|v| !v.is_empty()).map(PathBuf::from);
    let home = |path: &str| folder("HOME").map(|home| home.join(path));
    let caches = if cfg!(windows) {
        folder("LOCALAPPDATA")
    } else if cfg!(target_os = "macos") {
        home("Library/Caches")
    } else {
        folder("XDG_CACHE_HOME").or_else(|| home(".cache"))
    };
    caches.map(|caches| caches.join("recurve").join("kernels.json"))
}

/// What a device knows about its kernels.
pub(crate) struct Tuner {
    /// The adapter and its driver.
    adapter: String,
    file: PathBuf,
    measure: bool,
    table: Mutex<Table>,
}

impl Tuner {
    /// Reads what `file` knows.
    pub fn new(adapter: String, file: &Path, measure: bool) -> Self {
        Tuner { adapter, file: file.into(), measure, table: Mutex::new(Table::read(file)) }
    }

    /// The kept choice, if it still holds.
    fn known(&self, question: &Question<'_>, key: &str, shaders: &str) -> Option<Choice> {
        let table = self.table.lock().unwrap_or_else(PoisonError::into_inner);
        let entry = table.get(&self.adapter, key)?;
        let choice = (entry.shaders == shaders).then(|| entry.choice(&question.candidates)).flatten();
        if choice.is_none() {
            log::info!("{}: {key} was measured with other kernels: ignored", self.file.display());
        }
        choice
    }
}

/// A device's tuner at work.
pub(crate) struct Tuning<'a> {
    pub device: &'a Device,
    pub tuner: &'a Tuner,
}

impl Choose for Tuning<'_> {
    fn choose(&self, question: &Question<'_>) -> Option<Choice> {
        let (key, shaders) = (key(question.op, question.inputs), digest(&question.candidates));
        if let Some(choice) = self.tuner.known(question, &key, &shaders) {
            return Some(choice);
        }
        if !self.tuner.measure || self.device.only_plans() {
            return None;
        }
        let start = crate::clock::now();
        let entry = match self.measure(question, &shaders) {
            Ok(entry) => entry,
            Err(reason) => {
                log::warn!("{key} has the kernel of the rule: {reason}");
                return None;
            }
        };
        log::info!("{key} measured in {:?}: {entry:?}", crate::clock::now() - start);
        let choice = entry.choice(&question.candidates);
        let mut table = self.tuner.table.lock().unwrap_or_else(PoisonError::into_inner);
        table.insert(&self.tuner.adapter, &key, entry);
        table.write(&self.tuner.file);
        choice
    }
}

impl Tuning<'_> {
    /// The fastest candidate that is right. Only those are judged that would be taken.
    fn measure(&self, question: &Question<'_>, shaders: &str) -> Result<Entry, String> {
        let judge = Judge::new(self.device, question)?;
        let mut found = time(self.device, question).map_err(|e| e.to_string())?;
        loop {
            let entry =
                Entry::new(shaders, &question.candidates, &found).ok_or("none of its kernels is right")?;
            let choice = entry.choice(&question.candidates).expect("it was chosen among them");
            if judge.agrees(question.candidates[choice.taken].variant) {
                return Ok(entry);
            }
            found[choice.taken] = Found::Wrong;
        }
    }
}

/// What an op is called in a file: the same in every process.
fn key(op: &dyn Op, inputs: &[Spec]) -> String {
    let shapes: Vec<String> = inputs.iter().map(Spec::to_string).collect();
    format!("{} {op:?} {}", op.name(), shapes.join(" "))
}

/// A hash of all that the candidates would run.
fn digest(candidates: &[&Candidate]) -> String {
    let mut hash = Sha256::new();
    for candidate in candidates {
        hash.update(format!("{} {:?} {:?}", candidate.variant, candidate.scratch, candidate.needs));
        for d in &candidate.dispatches {
            hash.update(format!(
                "{} {:?} {:?} {:?} {:?}",
                d.kernel.name, d.params, d.scalars, d.binds, d.groups
            ));
            match shader::expand(&d.kernel.source, &d.consts) {
                Ok(text) => hash.update(text),
                // Such a kernel cannot run, whatever it is called.
                Err(error) => hash.update(error.to_string()),
            }
        }
    }
    hash.finalize().iter().fold(String::new(), |mut text, byte| {
        let _ = write!(text, "{byte:02x}");
        text
    })
}
