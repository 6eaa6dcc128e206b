//! What is measured: gradients at first and after training, how alike they are for neighbouring pictures, and learning.

use super::flow::{Batch, Flow};
use super::net::{Kind, Net, Start};
use super::pictures::Pictures;
use super::shatter::Slopes;
use super::train::{Plan, Run, train};
use crate::support::classifier::Batches;
use recurve::{Device, Params, Result};

/// Batches that norms are averaged over.
const BATCHES: usize = 2;
/// Places on the way from one picture to another, and logits whose slopes are looked at.
pub const PLACES: usize = 256;
const OUTPUTS: usize = 4;
/// Slopes are compared that lie less than so many places apart.
pub const LAGS: usize = 32;

/// A plain and a residual network of each depth.
pub fn kinds(depths: [usize; 2]) -> [Kind; 4] {
    let kind = |i: usize| Kind { depth: depths[i % 2], shortcuts: i >= 2 };
    std::array::from_fn(kind)
}

/// A network with what was measured of it.
#[derive(Clone, Debug)]
pub struct Measured<T> {
    /// The network.
    pub kind: Kind,
    /// What was measured.
    pub what: T,
}

/// A way to start, and the gradients of all networks that start so.
pub type AtFirst = (Start, Vec<Measured<Flow>>);

/// What gradients are measured on: the same pictures before and after training.
fn measured(dev: &Device, data: &Pictures, batch: usize) -> Vec<Batch> {
    let mut batches = Batches::new(&data.train, batch, u64::MAX, data.normalize.clone());
    (0..BATCHES).map(|_| batches.next(dev)).collect()
}

/// The gradients of networks that have learned nothing yet, in the geometric mean over some seeds.
///
/// # Errors
/// Whatever stopped the computation.
pub fn at_first(
    dev: &Device,
    data: &Pictures,
    kind: Kind,
    start: Start,
    plan: Plan,
    seeds: &[u64],
) -> Result<Measured<Flow>> {
    let batches = measured(dev, data, plan.batch);
    let flow = |&seed: &u64| {
        Flow::of(&Net::new(&Params::new(dev, seed), kind, start, plan.width, data.channels())?, &batches)
    };
    let flows = seeds.iter().map(flow).collect::<Result<Vec<_>>>()?;
    Ok(Measured { kind, what: Flow::mean(&flows) })
}

/// Slopes of a network that has learned nothing yet, on the way from the first picture to the next one of another class.
///
/// # Errors
/// Whatever stopped the computation.
pub fn slopes(dev: &Device, data: &Pictures, kind: Kind, plan: Plan, seed: u64) -> Result<Measured<Slopes>> {
    let net = Net::new(&Params::new(dev, seed), kind, Start::BatchNorm, plan.width, data.channels())?;
    let ends = data.two_classes(dev);
    Ok(Measured { kind, what: Slopes::of(&net, [&ends[0], &ends[1]], PLACES, OUTPUTS)? })
}

/// Trainings of one kind of network, one for each seed, and the gradients after them.
#[derive(Clone, Debug)]
pub struct Course {
    /// The trainings.
    pub runs: Vec<Run>,
    /// The gradients, in the geometric mean.
    pub after: Measured<Flow>,
}

/// Trains from each seed.
///
/// # Errors
/// Whatever stopped the computation.
pub fn learn(dev: &Device, data: &Pictures, kind: Kind, plan: Plan, seeds: &[u64]) -> Result<Course> {
    let (mut runs, mut flows) = (Vec::new(), Vec::new());
    let batches = measured(dev, data, plan.batch);
    for &seed in seeds {
        let params = Params::new(dev, seed);
        let net = Net::new(&params, kind, Start::BatchNorm, plan.width, data.channels())?;
        runs.push(train(&params, &net, data, plan, seed)?);
        flows.push(Flow::of(&net, &batches)?);
    }
    Ok(Course { runs, after: Measured { kind, what: Flow::mean(&flows) } })
}
