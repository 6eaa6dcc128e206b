//! Parameters, buffers, counters and seeds after their registration.

use super::{Counter, Param, Seeds};
use crate::error::Result;
use crate::grad::Gradients;
use crate::shape::{Shape, Spec};
use crate::tensor::Tensor;
use crate::variable::Variable;
use std::fmt;
use std::sync::Arc;
use std::sync::atomic::Ordering;

impl Param {
    /// The full name, such as `layer1.0.conv1.weight`.
    pub fn name(&self) -> &str {
        &self.registered.name
    }

    /// Sizes of the axes.
    pub fn shape(&self) -> Shape {
        self.registered.shape
    }

    /// Whether it is trained; buffers are not.
    pub fn trainable(&self) -> bool {
        self.registered.trainable
    }

    /// The variable on the device. Lays out everything registered so far when that has not happened yet.
    ///
    /// # Errors
    /// As [`Params::seal`](crate::Params::seal).
    pub fn variable(&self) -> Result<Arc<Variable>> {
        if self.registered.variable.get().is_none() {
            // An error is kept in the cell too; each parameter returns its own.
            let _ = self.shared.seal();
        }
        self.registered.variable.get().expect("sealing settles every parameter").clone()
    }

    /// The present value. A failure to lay out the parameters is returned by the next call on the tensor that returns
    /// a `Result`.
    pub fn tensor(&self) -> Tensor {
        match self.variable() {
            Ok(variable) => variable.tensor(),
            Err(error) => Tensor::failed(&self.shared.device, Spec::f32(self.shape()), error),
        }
    }

    /// The gradient with respect to this parameter; `None` when the value does not depend on it.
    pub fn gradient(&self, gradients: &Gradients) -> Option<Tensor> {
        gradients.wrt(&self.tensor())
    }

    /// Replaces the value; earlier reads on this thread see the old one.
    ///
    /// # Errors
    /// Whatever stopped pending work, or the device's failure.
    ///
    /// # Panics
    /// When the number of values is not the number of elements.
    pub fn set(&self, values: &[f32]) -> Result<()> {
        self.variable()?.set(values)
    }
}

impl Counter {
    /// The full name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The present value.
    pub fn get(&self) -> u64 {
        self.value.load(Ordering::Acquire)
    }

    /// Replaces the value.
    pub fn set(&self, value: u64) {
        self.value.store(value, Ordering::Release);
    }

    /// Counts one more, and returns the new value.
    pub fn increment(&self) -> u64 {
        self.value.fetch_add(1, Ordering::AcqRel) + 1
    }
}

impl Seeds {
    /// The next seed: a function of the seed of [`Params::new`](crate::Params::new) and of how many came before
    /// (SplitMix64, Steele et al., 2014).
    pub fn draw(&self) -> u64 {
        let mut stream = self.0.stream.lock().unwrap();
        stream.drawn = stream.drawn.wrapping_add(1);
        let mut z = stream.seed.wrapping_add(stream.drawn.wrapping_mul(0x9e37_79b9_7f4a_7c15));
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }
}

impl fmt::Debug for Param {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.name(), self.shape())
    }
}

impl fmt::Debug for Counter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} = {}", self.name, self.get())
    }
}

impl fmt::Debug for Seeds {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Seeds({:?})", self.0.stream.lock().unwrap())
    }
}
