//! Gradients of several batches for one update.

use super::flat::Flat;
use super::{Optimizer, Rule};
use crate::device::Device;
use crate::error::Result;
use crate::op::Scalar;
use crate::ops::blend::Blend;
use crate::ops::place_gradients::PlaceGradients;
use crate::params::{Arena, Param};
use crate::tensor::Tensor;

/// How many batches an update takes, and how many have come.
#[derive(Clone, Copy, Debug)]
pub(super) struct Accumulation {
    pub batches: u64,
    pub taken: u64,
}

impl Default for Accumulation {
    fn default() -> Self {
        Accumulation { batches: 1, taken: 0 }
    }
}

impl Accumulation {
    /// Whether the next batch brings an update.
    pub fn is_last(&self) -> bool {
        self.taken + 1 >= self.batches
    }
}

/// What an arena keeps while gradients are accumulated.
#[derive(Default)]
pub(super) struct Accumulated {
    /// Gradients of one batch, beside the sum of the earlier ones.
    incoming: Option<Arena>,
    /// Which members have had a gradient since the last update.
    seen: Vec<bool>,
}

impl<R: Rule> Optimizer<R> {
    /// Makes every `batches`-th call of [`step`](Optimizer::step) an update, with the mean of all gradients since the
    /// last one (0 counts as 1); the calls in between only add to a sum on the device. So batches that do not fit the
    /// memory at once can be taken one after the other: each call runs its batch, and nothing of its graph is kept. Of
    /// losses that are means over equal batches, this makes the gradient of the mean over all of them. A parameter that
    /// some of the batches do not reach has a gradient of 0 there.
    ///
    /// Clipping, guards and numbers of steps see updates only. Batch normalisation sees each batch alone. This call drops
    /// what has been added up for an update that is still to come. Checkpoints do not hold it: saving one before that
    /// update is [`CheckpointError::Accumulating`](crate::checkpoint::CheckpointError::Accumulating).
    ///
    /// ```
    /// use recurve::{Device, Init, Params, Sgd, SgdConfig};
    /// let p = Params::new(&Device::cpu(), 0);
    /// let w = p.root().param("w", [1], Init::Ones);
    /// let mut opt = Sgd::new(&p, SgdConfig { lr: 0.5, ..Default::default() });
    /// opt.set_accumulation(2);
    /// for gradient in [1.0, 3.0] {
    ///     assert_eq!(w.tensor().to_vec()?, [1.0]);
    ///     opt.step_with(|_| Some(p.device().full(gradient, [1])))?;
    /// }
    /// assert_eq!(w.tensor().to_vec()?, [0.0]);
    /// # Ok::<(), recurve::Error>(())
    /// ```
    pub fn set_accumulation(&mut self, batches: u64) {
        self.accumulation = Accumulation { batches: batches.max(1), taken: 0 };
        self.arenas.iter_mut().for_each(|flat| flat.accumulated = Accumulated::default());
    }

    /// Batches that have been added up for the next update.
    pub fn accumulated(&self) -> u64 {
        self.accumulation.taken
    }
}

impl Flat {
    /// Appends the adding of a batch's gradients; with the last batch it makes their mean and says which members have
    /// one.
    #[track_caller]
    pub fn accumulate(
        &mut self,
        device: &Device,
        gradient: &impl Fn(&Param) -> Option<Tensor>,
        accumulation: Accumulation,
    ) -> Result<Vec<usize>> {
        let Accumulated { incoming, seen } = &mut self.accumulated;
        let first = accumulation.taken == 0;
        if first {
            *seen = vec![false; self.members.len()];
        }
        seen.resize(self.members.len(), false);
        if !first && incoming.is_none() {
            *incoming = Some(Arena::new(device, self.weights.chunk.bytes(), "gradients")?);
        }
        let sum = self.gradients.flat.tensor();
        let place = incoming.as_ref().filter(|_| !first).map_or(sum.clone(), |arena| arena.flat.tensor());
        let (mut offsets, mut gradients) = (Vec::new(), vec![place.clone()]);
        for (m, seen) in self.members.iter().zip(seen.iter_mut()) {
            let (name, shape) = (m.param.name(), m.param.shape());
            let own = gradient(&m.param);
            *seen |= own.is_some();
            // All are written, so that nothing of an earlier update is left in the sum.
            let own = own.unwrap_or_else(|| device.full(0.0, shape));
            assert_eq!(own.shape(), shape, "the gradient of {name} has the parameter's shape");
            offsets.push(m.start);
            gradients.push(own);
        }
        Tensor::apply(PlaceGradients { offsets }, &gradients.iter().collect::<Vec<_>>(), &[]);
        if !first {
            let share = if accumulation.is_last() { 1.0 / accumulation.batches as f64 } else { 1.0 };
            Tensor::apply(Blend, &[&place, &sum], &[Scalar::F(share), Scalar::F(share)]);
        }
        let with_gradient = seen.iter().enumerate().filter(|(_, seen)| **seen);
        Ok(if accumulation.is_last() {
            with_gradient.map(|(member, _)| member).collect()
        } else {
            Vec::new()
        })
    }
}
