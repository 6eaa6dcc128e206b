//! How much of the loss's gradient arrives at the state after each step.
//!
//! A sequence is cut into pieces; each begins with the states that the one before it ended with. As later steps know of
//! earlier ones by nothing else, the gradient with respect to the states between two pieces is the whole dL/dh of that
//! step, not only its direct part.

use super::adding::Batch;
use super::net::Net;
use recurve::{Result, Tensor};

/// The smallest norm that says something: below 1e-38 an f32 loses its digits, and then becomes 0.
pub const SMALLEST: f64 = 1e-37;

/// A sequence in pieces.
pub struct Pieces {
    /// How many steps lie before each of `states`.
    pub steps: Vec<usize>,
    /// The states before each piece, and those after the last one: h, and for an LSTM c.
    pub states: Vec<Vec<Tensor>>,
    /// The loss after the last step.
    pub loss: Tensor,
}

impl Pieces {
    /// Computes a batch in `count` pieces, or as many as there are steps.
    pub fn new(net: &Net, batch: &Batch, count: usize) -> Pieces {
        let (t, b) = (batch.x.shape()[0], batch.x.shape()[1]);
        let count = count.clamp(1, t);
        let steps: Vec<usize> = (0..=count).map(|i| i * t / count).collect();
        let first = net.zeros(batch.x.device(), b).iter().map(Tensor::requires_grad).collect();
        let mut states: Vec<Vec<Tensor>> = vec![first];
        for (i, ends) in steps.windows(2).enumerate() {
            states.push(net.states(&batch.x.narrow(0, ends[0], ends[1] - ends[0]), &states[i]));
        }
        Pieces { loss: net.loss_after(&states[count], batch), states, steps }
    }

    /// The gradients of the loss with respect to each of `states`.
    ///
    /// # Errors
    /// Whatever stopped the computation.
    pub fn gradients(&self) -> Result<Vec<Vec<Tensor>>> {
        let all: Vec<&Tensor> = self.states.iter().flatten().collect();
        let one = self.loss.device().full(1.0, self.loss.shape());
        // The answer does not use the last c.
        let none = |like: &Tensor| like.device().full(0.0, like.shape());
        let gradients = self.loss.gradients(&one, &all)?.into_iter().zip(&all);
        let gradients: Vec<Tensor> = gradients.map(|(g, state)| g.unwrap_or_else(|| none(state))).collect();
        Ok(gradients.chunks(self.states[0].len()).map(<[Tensor]>::to_vec).collect())
    }
}

/// Norms of gradients over all units and sequences.
#[derive(Clone, Debug, Default)]
pub struct Flow {
    /// Steps from the state to the end of the sequence, and the norm there: from the first state to the last.
    pub norms: Vec<(usize, f64)>,
}

impl Flow {
    /// The mean norms of some batches, between `count` pieces.
    ///
    /// # Errors
    /// Whatever stopped the computation.
    pub fn of(net: &Net, batches: &[Batch], count: usize) -> Result<Flow> {
        let mut norms: Vec<(usize, f64)> = Vec::new();
        for batch in batches {
            let pieces = Pieces::new(net, batch, count);
            let gradients = pieces.gradients()?;
            let size = gradients[0].iter().map(|g| g.shape().elements()).sum::<usize>();
            let rows: Vec<Tensor> =
                gradients.iter().flatten().map(|g| g.reshape([1, g.shape().elements()])).collect();
            let values = Tensor::concat(&rows.iter().collect::<Vec<_>>(), 0).to_vec()?;
            norms.resize_with(values.len() / size, Default::default);
            for (i, (part, (back, mean))) in values.chunks(size).zip(&mut norms).enumerate() {
                // Squares of what an f32 can hold are often too small for an f32.
                let norm = part.iter().map(|&v| f64::from(v).powi(2)).sum::<f64>().sqrt();
                *back = batch.x.shape()[0] - pieces.steps[i];
                *mean += norm / batches.len() as f64;
            }
        }
        Ok(Flow { norms })
    }

    /// The norm at the states before the first step, and after the last one.
    pub fn ends(&self) -> (f64, f64) {
        let norm = |end: Option<&(usize, f64)>| end.map_or(0.0, |p| p.1);
        (norm(self.norms.first()), norm(self.norms.last()))
    }

    /// By how much a step back changes the norm: the mean over all steps at which there is still a gradient.
    pub fn per_step(&self) -> f64 {
        let (_, last) = self.ends();
        let there = self.norms.iter().find(|(back, norm)| *back > 0 && *norm >= SMALLEST);
        there.map_or(0.0, |&(back, norm)| (norm / last).powf(1.0 / back as f64))
    }
}
