//! How the output's slope changes from picture to picture, on the way from one picture to another.
//!
//! Balduzzi et al., The Shattered Gradients Problem, 2017 (arXiv 1702.08591): in deep plain networks gradients of
//! neighbouring inputs have nothing to do with one another; they look like white noise. Shortcuts keep them alike.

use super::net::Net;
use recurve::nn::Mode;
use recurve::{Result, Tensor};

/// Slopes along a line.
#[derive(Clone, Debug)]
pub struct Slopes {
    /// For each of some outputs, its derivative by the way along the line at each place.
    pub of_outputs: Vec<Vec<f64>>,
}

impl Slopes {
    /// At `count` places evenly between two pictures of shape `[1, C, H, W]`, which the network gets as one batch: what batch
    /// norm does to a picture depends on the others, and a slope is that of all pictures' outputs together.
    ///
    /// # Errors
    /// Whatever stopped the computation.
    pub fn of(net: &Net, [from, to]: [&Tensor; 2], count: usize, outputs: usize) -> Result<Slopes> {
        let dev = from.device();
        let places: Vec<f32> = (0..count).map(|i| i as f32 / (count - 1) as f32).collect();
        let t = dev.tensor(places, [count, 1, 1, 1]);
        let way = to.sub(from);
        let x = from.add(&way.mul(&t)).detach().requires_grad();
        let logits = net.forward(&x, Mode::Train);
        let classes = logits.shape()[1];
        let mut of_outputs = Vec::new();
        for output in 0..outputs.min(classes) {
            let one = (0..count * classes).map(|i| f32::from(u8::from(i % classes == output)));
            let dy = dev.tensor(one.collect::<Vec<f32>>(), [count, classes]);
            let gradient = logits.backward_with(&dy).wrt(&x).expect("the output depends on the picture");
            let slopes = gradient.mul(&way).sum(&[1, 2, 3]).to_vec()?;
            of_outputs.push(slopes.into_iter().map(f64::from).collect());
        }
        Ok(Slopes { of_outputs })
    }

    /// The correlation between slopes that lie `0, 1, .., lags - 1` places apart.
    pub fn autocorrelation(&self, lags: usize) -> Vec<f64> {
        let mut mean = vec![0.0; lags];
        for slopes in &self.of_outputs {
            let n = slopes.len();
            let middle = slopes.iter().sum::<f64>() / n as f64;
            let away: Vec<f64> = slopes.iter().map(|s| s - middle).collect();
            let square = away.iter().map(|a| a * a).sum::<f64>().max(f64::MIN_POSITIVE);
            for (lag, mean) in mean.iter_mut().enumerate().take(n) {
                let product = away.iter().zip(&away[lag..]).map(|(a, b)| a * b).sum::<f64>();
                *mean += product / square / self.of_outputs.len() as f64;
            }
        }
        mean
    }
}
