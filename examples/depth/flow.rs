//! How much of the loss's gradient arrives at each layer.

use super::net::Net;
use recurve::nn::Mode;
use recurve::{Result, Tensor};

/// The smallest norm that says something: below 1e-38 an f32 loses its digits, and then becomes 0.
pub const SMALLEST: f64 = 1e-37;

/// Pictures with their classes.
pub type Batch = (Tensor, Tensor);

/// Norms of gradients, from the first layer on. Layers are counted from 1, the pictures' own convolution.
#[derive(Clone, Debug, Default)]
pub struct Flow {
    /// The layer behind which activations lie, and the norm of the loss's gradient with respect to them.
    pub activations: Vec<(usize, f64)>,
    /// The layer, and the norm of the gradient with respect to its weights as a part of the weights' own.
    pub weights: Vec<(usize, f64)>,
}

/// The gradients of the loss of a batch with respect to what each block gives and to each convolution's weights.
///
/// # Errors
/// Whatever stopped the computation.
pub fn gradients(net: &Net, (x, y): &Batch) -> Result<(Vec<Tensor>, Vec<Tensor>)> {
    let pass = net.pass(x, Mode::Train);
    let weights: Vec<Tensor> = net.convolutions().iter().map(|conv| conv.weight.tensor()).collect();
    let loss = pass.logits.cross_entropy(y);
    let all: Vec<&Tensor> = pass.activations.iter().chain(&weights).collect();
    let found = loss.gradients(&loss.device().full(1.0, loss.shape()), &all)?;
    let mut found: Vec<Tensor> = found.into_iter().map(|g| g.expect("every layer is used")).collect();
    let of_weights = found.split_off(pass.activations.len());
    Ok((found, of_weights))
}

/// The Euclidean norm, in f64: squares of what an f32 can hold are often too small for an f32.
fn norm(values: &Tensor) -> Result<f64> {
    Ok(values.to_vec()?.iter().map(|&v| f64::from(v).powi(2)).sum::<f64>().sqrt())
}

impl Flow {
    /// The mean norms of some batches.
    ///
    /// # Errors
    /// Whatever stopped the computation.
    pub fn of(net: &Net, batches: &[Batch]) -> Result<Flow> {
        let convolutions = net.convolutions();
        let own = convolutions.iter().map(|c| norm(&c.weight.tensor())).collect::<Result<Vec<_>>>()?;
        let layer = |block: usize| 2 * block + 1;
        let mut flow = Flow {
            activations: (0..=own.len() / 2).map(|i| (layer(i), 0.0)).collect(),
            weights: (1..=own.len()).map(|i| (i, 0.0)).collect(),
        };
        for batch in batches {
            let (activations, weights) = gradients(net, batch)?;
            let share = 1.0 / batches.len() as f64;
            for (gradient, (_, mean)) in activations.iter().zip(&mut flow.activations) {
                *mean += share * norm(gradient)?;
            }
            for ((gradient, own), (_, mean)) in weights.iter().zip(&own).zip(&mut flow.weights) {
                *mean += share * norm(gradient)? / own;
            }
        }
        Ok(flow)
    }

    /// The geometric mean of flows through networks of one depth.
    pub fn mean(flows: &[Flow]) -> Flow {
        let mean = |part: fn(&Flow) -> &Vec<(usize, f64)>| {
            let Some(first) = flows.first() else { return Vec::new() };
            let logs = |i: usize| flows.iter().map(move |f| part(f)[i].1.max(SMALLEST).ln());
            let geometric = |i: usize| (logs(i).sum::<f64>() / flows.len() as f64).exp();
            part(first).iter().enumerate().map(|(i, &(layer, _))| (layer, geometric(i))).collect()
        };
        Flow { activations: mean(|f| &f.activations), weights: mean(|f| &f.weights) }
    }

    /// How many times larger the gradient is behind the first layer than behind the last block.
    pub fn growth(&self) -> f64 {
        match self.activations[..] {
            [(_, first), .., (_, last)] => first / last,
            _ => 1.0,
        }
    }

    /// By how much a layer on the way back changes the gradient of activations, on average.
    pub fn per_layer(&self) -> f64 {
        match self.activations[..] {
            [(first, _), .., (last, _)] => self.growth().powf(1.0 / (last - first) as f64),
            _ => 1.0,
        }
    }
}
