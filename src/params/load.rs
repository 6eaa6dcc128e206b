//! Values of parameters, buffers and counters in files: safetensors, and NumPy's archives.

use super::{Counter, Param, Params};
use crate::checkpoint::{CheckpointError, NpzFile, TensorFile, TensorSource, Tensors, is_state};
use crate::error::Result;
use std::collections::HashSet;
use std::io::Cursor;
#[cfg(not(target_arch = "wasm32"))]
use std::path::Path;

/// How strictly a file must fit the model.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Match {
    /// Every tensor of the model is in the file and the other way round. State of a training is left aside.
    #[default]
    Strict,
    /// What is in both is loaded; shapes must agree.
    Partial,
}

/// What a load found.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Loaded {
    /// Tensors of the model that the file does not have.
    pub missing: Vec<String>,
    /// Tensors of the file that the model does not have.
    pub unexpected: Vec<String>,
}

impl Params {
    /// All values: parameters and buffers as F32, counters as I64, under their names.
    ///
    /// # Errors
    /// Whatever stopped the computation: see [`Error`](crate::Error).
    pub(crate) async fn collect(&self, tensors: &mut Tensors) -> Result<()> {
        self.seal()?;
        let arenas = self.0.registry.lock().unwrap().arenas.clone();
        for arena in arenas {
            let values = arena.flat.tensor().to_vec_async().await?;
            for member in &arena.members {
                if let Some(Ok(variable)) = member.variable.get() {
                    let start = variable.offset() as usize / 4;
                    tensors.f32(&member.name, member.shape, &values[start..start + member.shape.elements()]);
                }
            }
        }
        for counter in self.counters() {
            tensors.i64(&counter.name, counter.get() as i64);
        }
        Ok(())
    }

    /// Saves parameters, buffers and counters as safetensors. The file is replaced in one go.
    ///
    /// # Errors
    /// [`CheckpointError::Io`] when the file cannot be written, and whatever stopped the computation.
    #[cfg(not(target_arch = "wasm32"))]
    pub fn save(&self, path: impl AsRef<Path>) -> Result<()> {
        let bytes = pollster::block_on(self.to_bytes())?;
        crate::checkpoint::write_atomically(path.as_ref(), &bytes)?;
        Ok(())
    }

    /// What [`save`](Params::save) writes.
    ///
    /// # Errors
    /// Whatever stopped the computation: see [`Error`](crate::Error).
    pub async fn to_bytes(&self) -> Result<Vec<u8>> {
        let mut tensors = Tensors::default();
        self.collect(&mut tensors).await?;
        Ok(tensors.to_bytes(None)?)
    }

    /// Loads parameters, buffers and counters from safetensors (F32; F64, F16 and BF16 are converted), or from a
    /// checkpoint. Either all of it is loaded or nothing.
    ///
    /// # Errors
    /// [`CheckpointError`] when the file is not sound or does not fit: [`CheckpointError::Mismatch`] lists every
    /// difference.
    #[cfg(not(target_arch = "wasm32"))]
    pub fn load(&self, path: impl AsRef<Path>) -> Result<()> {
        self.load_matching(path, Match::Strict).map(drop)
    }

    /// [`load`](Params::load) with a choice of how strictly the file must fit.
    ///
    /// # Errors
    /// As `load`.
    #[cfg(not(target_arch = "wasm32"))]
    pub fn load_matching(&self, path: impl AsRef<Path>, how: Match) -> Result<Loaded> {
        self.stage(&mut TensorFile::open(path.as_ref())?, how)?.apply()
    }

    /// [`load`](Params::load) from memory.
    ///
    /// # Errors
    /// As `load`.
    pub fn load_bytes(&self, bytes: &[u8], how: Match) -> Result<Loaded> {
        let mut file = TensorFile::new(Cursor::new(bytes), bytes.len() as u64)?;
        self.stage(&mut file, how)?.apply()
    }

    /// Loads only what `filter` takes, by name: all of that, and nothing else. Other tensors are left alone in the file
    /// and in the model, whatever their shapes. Returns the names.
    ///
    /// A new head on a trained network, for example, is
    /// `params.load_where("trained.safetensors", |name| !name.starts_with("fc."))`.
    ///
    /// # Errors
    /// As `load`, of what `filter` takes.
    #[cfg(not(target_arch = "wasm32"))]
    pub fn load_where(&self, path: impl AsRef<Path>, filter: impl Fn(&str) -> bool) -> Result<Vec<String>> {
        let mut file = TensorFile::open(path.as_ref())?;
        self.load_filtered(&mut file, &filter)
    }

    /// [`load_where`](Params::load_where) from memory.
    ///
    /// # Errors
    /// As `load_where`.
    pub fn load_bytes_where(&self, bytes: &[u8], filter: impl Fn(&str) -> bool) -> Result<Vec<String>> {
        let mut file = TensorFile::new(Cursor::new(bytes), bytes.len() as u64)?;
        self.load_filtered(&mut file, &filter)
    }

    /// [`load_matching`](Params::load_matching) from a NumPy archive (`numpy.savez`, compressed or not) whose arrays
    /// have the same names: f2, f4 or f8 in either byte order, in C or Fortran order; integers for counters. Nothing is
    /// unpickled: an archive with arrays of objects is refused.
    ///
    /// # Errors
    /// As `load`.
    #[cfg(not(target_arch = "wasm32"))]
    pub fn load_npz(&self, path: impl AsRef<Path>, how: Match) -> Result<Loaded> {
        self.stage(&mut NpzFile::open(path.as_ref())?, how)?.apply()
    }

    /// [`load_npz`](Params::load_npz) from memory.
    ///
    /// # Errors
    /// As `load`.
    pub fn load_npz_bytes(&self, bytes: &[u8], how: Match) -> Result<Loaded> {
        self.stage(&mut NpzFile::new(Cursor::new(bytes), bytes.len() as u64)?, how)?.apply()
    }

    fn load_filtered(
        &self,
        file: &mut impl TensorSource,
        filter: &dyn Fn(&str) -> bool,
    ) -> Result<Vec<String>> {
        let staged = self.stage_where(file, Match::Strict, filter)?;
        let values = staged.values.iter().map(|(param, _)| param.name());
        let names = values.chain(staged.counts.iter().map(|(counter, _)| counter.name()));
        let names = names.map(str::to_string).collect();
        staged.apply()?;
        Ok(names)
    }

    /// Reads and checks everything without changing anything yet.
    pub(crate) fn stage(&self, file: &mut impl TensorSource, how: Match) -> Result<Staged> {
        self.stage_where(file, how, &|_| true)
    }

    fn stage_where(
        &self,
        file: &mut impl TensorSource,
        how: Match,
        filter: &dyn Fn(&str) -> bool,
    ) -> Result<Staged> {
        self.seal()?;
        let mut staged = Staged::default();
        let mut known = HashSet::new();
        let mut misshapen = Vec::new();
        for param in self.named().into_iter().filter(|p| filter(p.name())) {
            known.insert(param.name().to_string());
            match file.shape(param.name()) {
                None => staged.loaded.missing.push(param.name().to_string()),
                Some(shape) if shape != param.shape().dims() => {
                    let (file, model) = (shape.to_vec(), param.shape());
                    misshapen.push(format!("{} is {file:?} in the file, {model} in the model", param.name()));
                }
                Some(_) => staged.values.push((param.clone(), file.f32(param.name())?)),
            }
        }
        for counter in self.counters().into_iter().filter(|c| filter(&c.name)) {
            known.insert(counter.name.clone());
            match file.shape(&counter.name) {
                None => staged.loaded.missing.push(counter.name.clone()),
                Some([]) => staged.counts.push((counter.clone(), file.count(&counter.name)?)),
                Some(shape) => {
                    misshapen.push(format!("{} is {shape:?} in the file, [] in the model", counter.name))
                }
            }
        }
        let foreign = file.names().filter(|n| !is_state(n) && filter(n) && !known.contains(*n));
        staged.loaded.unexpected = foreign.map(str::to_string).collect();
        let Loaded { missing, unexpected } = &staged.loaded;
        let strict = how == Match::Strict && !(missing.is_empty() && unexpected.is_empty());
        if strict || !misshapen.is_empty() {
            let (missing, unexpected) = (missing.clone(), unexpected.clone());
            return Err(CheckpointError::Mismatch { missing, unexpected, misshapen }.into());
        }
        Ok(staged)
    }
}

/// Values that were read and fit, not yet loaded.
#[derive(Default)]
pub(crate) struct Staged {
    values: Vec<(Param, Vec<f32>)>,
    counts: Vec<(Counter, u64)>,
    loaded: Loaded,
}

impl Staged {
    pub fn apply(self) -> Result<Loaded> {
        for (param, values) in &self.values {
            param.set(values)?;
        }
        self.counts.iter().for_each(|(counter, value)| counter.set(*value));
        Ok(self.loaded)
    }
}
