//! Trained networks in use: a fixed program that any thread may run, on any number of samples.
//!
//! A [`Predictor`] calls the network once, when it is made, and keeps the program. From then on a prediction uploads
//! samples, replays the program and reads the results: nothing is traced, planned, compiled or allocated on the device.
//!
//! | for | use |
//! |---|---|
//! | a request | [`predict`](Predictor::predict), from any thread |
//! | many samples | the same: they are cut into batches, the last one is filled up |
//! | a stream of inputs | [`stream`](Predictor::stream): a few are under way at once, results come in order |
//!
//! ```
//! use recurve::nn::Linear;
//! use recurve::{Device, Params, Predictor};
//!
//! let dev = Device::cpu();
//! let params = Params::new(&dev, 0);
//! let net = Linear::new(&params.at("fc"), 4, 3);
//! // Two samples of four values at once. Three results come back for each.
//! let predictor = Predictor::new(&dev, [2, 4], |x| net.forward(x).softmax(1))?;
//! let one = predictor.predict(&[1.0, 0.0, 0.0, 0.0])?;
//! assert_eq!(one.len(), 3);
//! let five = predictor.predict(&[0.5; 5 * 4])?;
//! assert_eq!(five.len(), 5 * 3);
//!
//! // Several results: here the two most probable classes and their probabilities.
//! let best = Predictor::new(&dev, [2, 4], |x| net.forward(x).softmax(1).topk(2, 1))?;
//! let (probabilities, classes) = best.predict(&[1.0, 0.0, 0.0, 0.0])?;
//! assert!(probabilities[0] >= probabilities[1] && classes.len() == 2);
//!
//! // One predictor serves all threads.
//! std::thread::scope(|scope| {
//!     let request = |value: f32| predictor.predict(&[value; 4]);
//!     let all = [1.0, 2.0].map(|value| scope.spawn(move || request(value)));
//!     all.map(|thread| thread.join().expect("no panic").expect("a result"));
//! });
//!
//! // What comes in one by one, of any length, comes out in the same order.
//! let recordings = (1..9).map(|samples| vec![0.1; samples * 4]);
//! for (i, result) in predictor.stream(recordings).enumerate() {
//!     assert_eq!(result?.len(), (i + 1) * 3);
//! }
//! # Ok::<(), recurve::Error>(())
//! ```

mod outputs;
mod stream;

pub use outputs::Outputs;
pub use stream::Stream;

use crate::device::{Device, Plan, Reading, Storage};
use crate::error::Result;
use crate::op::Scalar;
use crate::ops::reshape::Reshape;
use crate::shape::{Shape, Spec};
use crate::tensor::Tensor;
use crate::trace::{self, Source};
use std::borrow::Cow;
use std::fmt;
use std::marker::PhantomData;
use std::sync::Arc;

/// Predictions that may be under way at once without a GPU object being created, unless [`Predictor::warm`] asks for more.
const READY: usize = 4;

/// Why a predictor cannot be made, or cannot take an input.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum PredictorError {
    /// Axis 0 of the input's shape counts samples, and each must have an element.
    #[error("an input of shape {shape} has no samples")]
    NoSamples {
        /// The shape.
        shape: Shape,
    },
    /// A result without one row for each sample cannot be cut.
    #[error("result {index} of the network is {spec}, which is not a row for each of {samples} samples")]
    Rows {
        /// Which result.
        index: usize,
        /// What it is.
        spec: Spec,
        /// Samples of a batch.
        samples: usize,
    },
    /// Predictions change nothing: a network in use takes `Mode::Eval`.
    #[error("the network would update {variable:?} with each prediction; does it run in Mode::Train?")]
    Updates {
        /// The variable.
        variable: String,
    },
    /// The network read a value (or had something run) while it was called, but it is called only once.
    #[error("the network has something run while it is called; a predictor's program is fixed")]
    Runs,
    /// A result lies on another device than the predictor's.
    #[error("result {index} of the network is on another device")]
    Device {
        /// Which result.
        index: usize,
    },
    /// An input that is no whole number of samples.
    #[error("{values} values are not a whole number of samples of {sample} values")]
    Input {
        /// Values of the input.
        values: usize,
        /// Values of a sample.
        sample: usize,
    },
}

/// A network in use: a program for a fixed number of samples, made and run once when the predictor is made.
///
/// - `Send + Sync`, and all calls take `&self`: any number of threads may share one.
/// - Parameters are those of the moment: after an update or [`Params::load`](crate::Params::load) the next call uses the new
///   ones. A call that runs on another thread in the meantime may see some of either.
/// - Everything else that the network took up when it was called (other tensors, numbers, which branch an `if` took,
///   seeds) stays as it was.
/// - Gradients are not built. A prediction leaves what is pending on the calling thread pending, unless it updates
///   variables: then it runs first.
/// - After [`Device::tune`], make it anew to use what was found.
///
/// See the [module](crate::predict) for examples.
pub struct Predictor<O = Tensor> {
    device: Device,
    plan: Arc<Plan>,
    /// That of the input is replaced.
    leaves: Vec<Storage>,
    input: Option<usize>,
    scalars: Vec<Scalar>,
    shape: Shape,
    results: Vec<Spec>,
    outputs: PhantomData<fn() -> O>,
}

/// A batch that is under way.
struct Batch {
    readings: Vec<Reading>,
    samples: usize,
}

impl<O: Outputs> Predictor<O> {
    /// Calls `network` on an input of shape `shape` (axis 0 counts the samples), plans what it asks for and runs that on
    /// zeros, so that nothing is left to be done at the first call. Results are tensors with one row for each sample. What
    /// is pending on the calling thread runs before.
    ///
    /// # Errors
    /// [`PredictorError`] when the network's results are not of this kind, or when it reads values or updates variables;
    /// or whatever stopped the computation: see [`Error`](crate::Error).
    ///
    /// # Panics
    /// Where the network does, on shapes that do not fit.
    pub fn new(
        device: &Device,
        shape: impl Into<Shape>,
        network: impl FnOnce(&Tensor) -> O,
    ) -> Result<Predictor<O>> {
        let shape = shape.into();
        if shape.rank() == 0 || shape.elements() == 0 {
            return Err(PredictorError::NoSamples { shape }.into());
        }
        device.run()?;
        let runs = trace::runs(device);
        let input = device.tensor(vec![0.0; shape.elements()], shape);
        let results = trace::no_grad(|| network(&input)).tensors();
        let captured = capture(device, &input, &results, runs);
        let specs = results.iter().map(Tensor::spec).collect();
        drop(results);
        // Updates among it are not to happen.
        trace::discard(device);
        let captured = captured?;
        let predictor = Predictor {
            device: device.clone(),
            plan: device.plan(&captured.listing, &captured.scalars)?,
            leaves: captured.leaves,
            input: captured.input,
            scalars: captured.scalars,
            shape,
            results: specs,
            outputs: PhantomData,
        };
        predictor.warm(READY)?;
        Ok(predictor)
    }

    /// Runs the program, and makes the buffers that `calls` calls need at once. As many threads may then predict without
    /// a GPU object being created; [`new`](Predictor::new) has done this for 4. A [`stream`](Predictor::stream) counts for
    /// 3. More calls make their buffers when they come.
    ///
    /// # Errors
    /// Whatever stopped the computation: see [`Error`](crate::Error).
    pub fn warm(&self, calls: usize) -> Result<()> {
        let zeros = vec![0.0; self.shape.elements()];
        if self.device.is_reference() {
            // It has no buffers that calls would share.
            return self.run(&self.upload(&zeros)?).map(drop);
        }
        let mut kept = Vec::new();
        for _ in 0..calls {
            let input = self.upload(&zeros)?;
            let results = self.run(&input)?;
            kept.push((input, results));
        }
        if let Some((input, _)) = kept.last() {
            // The results of the last run are moved out of its way by one more.
            self.run(input)?;
        }
        let readings: Vec<_> = kept.iter().map(|(_, results)| self.read(results)).collect::<Result<_>>()?;
        // A browser's thread cannot wait; errors come with the first prediction there.
        #[cfg(not(target_arch = "wasm32"))]
        for reading in readings.into_iter().flatten() {
            pollster::block_on(self.device.finish_read(reading))?;
        }
        #[cfg(target_arch = "wasm32")]
        drop(readings);
        Ok(())
    }

    /// The device that it runs on.
    pub fn device(&self) -> &Device {
        &self.device
    }

    /// Samples of a batch.
    pub fn batch(&self) -> usize {
        self.shape[0]
    }

    /// Values of a sample.
    pub fn sample(&self) -> usize {
        self.shape.span(1, self.shape.rank())
    }

    /// The program, as [`Device::explain`] prints one.
    pub fn explain(&self) -> String {
        self.plan.to_string()
    }

    /// The network's results for any number of samples, one after the other in `input`. A part of a batch takes the time of
    /// a whole one: choose the batch by how many samples come at once.
    ///
    /// # Errors
    /// [`PredictorError::Input`] for a part of a sample, or whatever stopped the computation: see
    /// [`Error`](crate::Error).
    #[cfg(not(target_arch = "wasm32"))]
    pub fn predict(&self, input: &[f32]) -> Result<O::Values> {
        pollster::block_on(self.predict_async(input))
    }

    /// [`predict`](Predictor::predict) for browsers, where a thread cannot wait.
    ///
    /// # Errors
    /// As `predict`.
    pub async fn predict_async(&self, input: &[f32]) -> Result<O::Values> {
        let next = Stream::new(self, std::iter::once(input)).advance().await;
        next.expect("a result for the only input")
    }

    /// Predictions for a stream of inputs, of any number of samples each, in their order. Up to three batches are under way
    /// at once, so the device computes while the next input is made and results are read; the stream takes that many inputs
    /// ahead at most.
    ///
    /// An input that cannot be taken gives an error in its place; the stream goes on behind it.
    #[cfg(not(target_arch = "wasm32"))]
    pub fn stream<I>(&self, inputs: I) -> Stream<'_, O, I::IntoIter>
    where
        I: IntoIterator,
        I::Item: AsRef<[f32]>,
    {
        Stream::new(self, inputs.into_iter())
    }

    /// Puts a batch on its way: at most [`batch`](Predictor::batch) samples.
    fn begin(&self, samples: &[f32]) -> Result<Batch> {
        // In program order: updates that this thread has asked for come before.
        if !trace::pending_updates(&self.device).is_empty() {
            self.device.run()?;
        }
        let mut whole = Cow::Borrowed(samples);
        if samples.len() < self.shape.elements() {
            whole.to_mut().resize(self.shape.elements(), 0.0);
        }
        let input = self.upload(&whole)?;
        let results = self.run(&input)?;
        Ok(Batch { readings: self.read(&results)?, samples: samples.len() / self.sample() })
    }

    /// The rows of each result of a batch, without those that it was filled up with.
    async fn finish(&self, batch: Batch) -> Result<Vec<Vec<f32>>> {
        let mut all = Vec::new();
        for (reading, spec) in batch.readings.into_iter().zip(&self.results) {
            let values = self.device.finish_read(reading).await?;
            let kept = batch.samples * spec.shape.span(1, spec.shape.rank());
            all.push(values[..kept].iter().map(|&v| v as f32).collect());
        }
        Ok(all)
    }

    fn upload(&self, values: &[f32]) -> Result<Storage> {
        match self.device.tensor(values, self.shape).source() {
            Source::Leaf(leaf) => leaf.storage.clone(),
            _ => unreachable!("an uploaded tensor is a leaf"),
        }
    }

    fn run(&self, input: &Storage) -> Result<Vec<Storage>> {
        let mut leaves = self.leaves.clone();
        if let Some(at) = self.input {
            leaves[at] = input.clone();
        }
        Ok(self.device.replay(&self.plan, &leaves, &self.scalars)?.0)
    }

    fn read(&self, results: &[Storage]) -> Result<Vec<Reading>> {
        let all = results.iter().zip(&self.results);
        all.map(|(storage, &spec)| self.device.begin_read(storage, spec)).collect()
    }
}

/// The program of a network's results, if it is one that can be run again and again.
fn capture(device: &Device, input: &Tensor, results: &[Tensor], runs: u64) -> Result<trace::Captured> {
    let samples = input.shape()[0];
    for (index, result) in results.iter().enumerate() {
        let spec = result.spec();
        if result.device() != device {
            return Err(PredictorError::Device { index }.into());
        }
        if spec.shape.rank() == 0 || spec.shape[0] != samples {
            return Err(PredictorError::Rows { index, spec, samples }.into());
        }
    }
    if let Some((_, variable)) = trace::pending_updates(device).first() {
        return Err(PredictorError::Updates { variable: variable.name().into() }.into());
    }
    if trace::runs(device) != runs {
        return Err(PredictorError::Runs.into());
    }
    // Results may be parameters, the input, or each other: an alias of each is a node of its own.
    let alias = |result: &Tensor| Tensor::apply1(Reshape { shape: result.shape() }, &[result], &[]);
    let aliases: Vec<Tensor> = results.iter().map(alias).collect();
    let nodes = aliases.iter().map(|alias| match alias.source() {
        Source::Node(node, output) => (node.clone(), *output),
        _ => unreachable!("the result of an op is a node's"),
    });
    trace::capture(input, &nodes.collect::<Vec<_>>())
}

impl<O> fmt::Debug for Predictor<O> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Predictor({} to ", self.shape)?;
        f.debug_list().entries(self.results.iter().map(|spec| spec.shape)).finish()?;
        write!(f, " on {})", self.device.name())
    }
}
