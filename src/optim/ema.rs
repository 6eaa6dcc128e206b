//! Averages of weights over the course of training.

use crate::checkpoint::{CheckpointError, EMA, TensorFile, TensorSource, Tensors};
use crate::error::Result;
use crate::op::Scalar;
use crate::ops::blend::Blend;
use crate::ops::copy_if::{CopyIf, Wanted};
use crate::params::{Arena, Param, Params};
use crate::tensor::Tensor;
use crate::variable::Variable;
use std::fmt;
use std::io::{Read, Seek};
use std::sync::Arc;

/// An exponential moving average of all parameters: average ← decay · average + (1 − decay) · parameter after every
/// step. It often generalises better than the last weights, above all at a high learning rate. Buffers, such as running
/// statistics, are copied. (B. Polyak, A. Juditsky 1992; PyTorch's `AveragedModel` with `get_ema_multi_avg_fn`.)
///
/// All of it stays on the device, one dispatch per arena, in the program of the step that follows.
///
/// ```
/// use recurve::optim::Ema;
/// use recurve::{Device, Init, Params, Sgd, SgdConfig};
/// let p = Params::new(&Device::cpu(), 0);
/// let w = p.root().param("w", [1], Init::Ones);
/// let mut opt = Sgd::new(&p, SgdConfig { lr: 1.0, ..Default::default() });
/// let mut ema = Ema::new(&p, 0.75);
/// for _ in 0..2 {
///     opt.step_with(|_| Some(p.device().full(-4.0, [1])))?;
///     ema.update()?; // of 5, then of 9
/// }
/// assert_eq!(ema.apply(|| w.tensor().to_vec())??, [6.0]);
/// assert_eq!(w.tensor().to_vec()?, [9.0]);
/// # Ok::<(), recurve::Error>(())
/// ```
pub struct Ema {
    params: Params,
    decay: f64,
    warm_up: bool,
    updates: u64,
    arenas: Vec<Averaged>,
}

/// An arena with the averages of what lies in it.
struct Averaged {
    trainable: bool,
    /// The whole of the model's arena.
    own: Arc<Variable>,
    average: Arena,
    /// Keeps what `own` holds while the averages are in its place.
    aside: Option<Arena>,
    members: Vec<Param>,
    /// Whether the first update is still to come.
    fresh: bool,
}

impl Ema {
    /// Averages of all parameters, those registered later included. The first [`update`](Ema::update) copies them.
    ///
    /// # Panics
    /// When the decay is not in 0..=1.
    #[track_caller]
    pub fn new(params: &Params, decay: f64) -> Ema {
        assert!((0.0..=1.0).contains(&decay), "Ema::new: a decay of {decay}");
        Ema { params: params.clone(), decay, warm_up: false, updates: 0, arenas: Vec::new() }
    }

    /// Whether early averages forget faster: with t updates done, the decay is (1 + t) / (10 + t) as long as that is
    /// less. For trainings that are not much longer than 1 / (1 − decay) steps.
    pub fn warm_up(mut self, warm_up: bool) -> Ema {
        self.warm_up = warm_up;
        self
    }

    /// Updates done.
    pub fn updates(&self) -> u64 {
        self.updates
    }

    /// The decay of the next update.
    pub fn decay(&self) -> f64 {
        let t = self.updates as f64;
        if self.warm_up { self.decay.min((1.0 + t) / (10.0 + t)) } else { self.decay }
    }

    /// Takes in the present weights. Only appends to the trace: the next step runs it.
    ///
    /// # Errors
    /// [`Error::OutOfMemory`](crate::Error::OutOfMemory) at the first one.
    #[track_caller]
    pub fn update(&mut self) -> Result<()> {
        self.cover()?;
        let decay = self.decay();
        for a in &mut self.arenas {
            // An average of nothing yet, and all that is no parameter, becomes what there is now.
            let keep = if a.trainable && !a.fresh { decay } else { 0.0 };
            a.fresh = false;
            let (own, average) = (a.own.tensor(), a.average.flat.tensor());
            if a.trainable {
                Tensor::apply(Blend, &[&own, &average], &[Scalar::F(keep), Scalar::F(1.0 - keep)]);
            } else {
                copy(&own, &average);
            }
        }
        self.updates += 1;
        Ok(())
    }

    /// Runs `evaluate` with the averages in the place of the parameters and buffers, which are back to the bit afterwards,
    /// also when it panics. What it changes of them itself is lost. Before the first update there is nothing to put there.
    ///
    /// To save the averages alone: `ema.apply(|| params.save(path))`.
    ///
    /// # Errors
    /// [`Error::OutOfMemory`](crate::Error::OutOfMemory) at the first one.
    #[track_caller]
    pub fn apply<T>(&mut self, evaluate: impl FnOnce() -> T) -> Result<T> {
        self.cover()?;
        let device = self.params.device();
        for a in self.arenas.iter_mut().filter(|a| !a.fresh && a.aside.is_none()) {
            a.aside = Some(Arena::new(device, a.average.chunk.bytes(), "weights set aside")?);
        }
        let exchanged = || self.arenas.iter().filter(|a| !a.fresh);
        for a in exchanged() {
            a.aside.iter().for_each(|aside| copy(&a.own.tensor(), &aside.flat.tensor()));
            copy(&a.average.flat.tensor(), &a.own.tensor());
        }
        let back = Back(exchanged().collect());
        let result = evaluate();
        drop(back);
        Ok(result)
    }

    /// Makes averages for arenas that have come since.
    fn cover(&mut self) -> Result<()> {
        let device = self.params.device();
        for (own, members) in self.params.arenas()?.into_iter().skip(self.arenas.len()) {
            let bytes = own.chunk.bytes();
            let average = Arena::new(device, bytes, "averages")?;
            let (trainable, own) = (own.trainable, own.part(device, 0, bytes));
            self.arenas.push(Averaged { trainable, own, average, aside: None, members, fresh: true });
        }
        Ok(())
    }

    /// Averages and number of updates, for a checkpoint.
    pub(crate) async fn collect(&self, tensors: &mut Tensors) -> Result<()> {
        for a in &self.arenas {
            let values = a.average.flat.tensor().to_vec_async().await?;
            for param in &a.members {
                let start = param.variable()?.offset() as usize / 4;
                let part = &values[start..start + param.shape().elements()];
                tensors.f32(&average_name(param), param.shape(), part);
            }
        }
        tensors.i64(UPDATES, self.updates as i64);
        Ok(())
    }

    /// Reads averages without changing anything yet. A checkpoint that was written before the first update has none.
    pub(crate) fn stage<F: Read + Seek>(&mut self, file: &mut TensorFile<F>) -> Result<Staged> {
        self.cover()?;
        let mut staged = Staged { updates: 0, values: Vec::new() };
        let (mut missing, mut misshapen) = (Vec::new(), Vec::new());
        match file.shape(UPDATES) {
            None => missing.push(UPDATES.to_string()),
            Some(_) => staged.updates = file.count(UPDATES)?,
        }
        let mut known = std::collections::HashSet::from([UPDATES.to_string()]);
        for (arena, a) in self.arenas.iter().enumerate().filter(|_| staged.updates > 0) {
            for param in &a.members {
                let (name, shape) = (average_name(param), param.shape());
                match file.shape(&name) {
                    None => missing.push(name.clone()),
                    Some(found) if found != shape.dims() => {
                        misshapen.push(format!("{name} is {found:?} in the file, {shape} in the model"))
                    }
                    Some(_) => staged.values.push((arena, param.variable()?.offset(), file.f32(&name)?)),
                }
                known.insert(name);
            }
        }
        let foreign =
            file.names().filter(|n| n.starts_with(EMA) && !known.contains(*n) && staged.updates > 0);
        let unexpected: Vec<String> = foreign.map(str::to_string).collect();
        if !(missing.is_empty() && misshapen.is_empty() && unexpected.is_empty()) {
            return Err(CheckpointError::Mismatch { missing, unexpected, misshapen }.into());
        }
        Ok(staged)
    }

    /// Puts staged averages in the place of the present ones.
    pub(crate) fn restore(&mut self, staged: Staged) -> Result<()> {
        let device = self.params.device();
        device.run()?;
        for a in &mut self.arenas {
            a.average.flat.set(&vec![0.0; a.average.chunk.bytes() as usize / 4])?;
            a.fresh = staged.updates == 0;
        }
        for (arena, start, values) in &staged.values {
            device.write_chunk(&self.arenas[*arena].average.chunk, *start, values)?;
        }
        self.updates = staged.updates;
        Ok(())
    }
}

/// Gives the model its own weights back.
struct Back<'a>(Vec<&'a Averaged>);

impl Drop for Back<'_> {
    fn drop(&mut self) {
        for a in &self.0 {
            a.aside.iter().for_each(|aside| copy(&aside.flat.tensor(), &a.own.tensor()));
        }
    }
}

/// Appends a copy of all words.
#[track_caller]
fn copy(from: &Tensor, to: &Tensor) {
    Tensor::apply(CopyIf { wanted: Wanted::Scalar }, &[from, to], &[Scalar::U(1)]);
}

/// The number of updates in a checkpoint.
const UPDATES: &str = "ema/updates";

fn average_name(param: &Param) -> String {
    format!("{EMA}average/{}", param.name())
}

/// Averages that were read and fit, not yet put in place.
pub(crate) struct Staged {
    updates: u64,
    /// Arena, byte offset, values.
    values: Vec<(usize, u64, Vec<f32>)>,
}

impl fmt::Debug for Ema {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Ema(decay {}, {} updates)", self.decay, self.updates)
    }
}
