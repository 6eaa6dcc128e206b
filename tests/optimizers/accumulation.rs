//! Updates with the gradients of several batches.

use super::{constant, first, four};
use crate::support::devices;
use recurve::checkpoint::{self, CheckpointError, Progress};
use recurve::nn::Linear;
use recurve::{Adam, AdamConfig, Clip, Device, Error, Params, Sgd, SgdConfig, Tensor};

/// A small network without batch normalisation, whose batches do not depend on each other.
struct Net {
    params: Params,
    one: Linear,
    two: Linear,
}

impl Net {
    fn new(dev: &Device) -> Net {
        let params = Params::new(dev, 3);
        let (one, two) = (Linear::new(&params.at("one"), 6, 16), Linear::new(&params.at("two"), 16, 3));
        Net { params, one, two }
    }

    fn loss(&self, samples: std::ops::Range<usize>) -> Tensor {
        let dev = self.params.device();
        let n = samples.len();
        let x: Vec<f32> =
            samples.clone().flat_map(|i| (0..6).map(move |j| ((i * 5 + j * 3) % 7) as f32 - 3.0)).collect();
        let y: Vec<i64> = samples.map(|i| (i % 3) as i64).collect();
        self.two.forward(&self.one.forward(&dev.tensor(x, [n, 6])).tanh()).cross_entropy(&dev.labels(y))
    }

    fn values(&self) -> Vec<f32> {
        self.params.named().iter().flat_map(|p| p.tensor().to_vec().unwrap()).collect()
    }
}

#[test]
fn small_batches_make_the_update_of_a_large_one() {
    for dev in devices() {
        for parts in [2, 3, 4] {
            let (large, small) = (Net::new(&dev), Net::new(&dev));
            let config = AdamConfig { lr: 0.02, ..Default::default() };
            let (mut a, mut b) = (Adam::new(&large.params, config.clone()), Adam::new(&small.params, config));
            let clip = Some(Clip::Norm { max_norm: 0.5, norm_type: 2.0 });
            a.set_clip(clip);
            b.set_clip(clip);
            b.set_accumulation(parts as u64);
            for step in 0..4 {
                a.step(&large.loss(step * 24..step * 24 + 24).backward()).unwrap();
                let size = 24 / parts;
                for part in 0..parts {
                    let before = small.values();
                    let from = step * 24 + part * size;
                    b.step(&small.loss(from..from + size).backward()).unwrap();
                    let last = part + 1 == parts;
                    assert_eq!(small.values() == before, !last, "only the last batch updates");
                    assert_eq!(b.accumulated(), if last { 0 } else { part as u64 + 1 });
                }
                for (x, y) in large.values().iter().zip(small.values()) {
                    assert!((x - y).abs() < 2e-5, "{dev:?}, {parts} parts, step {step}: {x} and {y}");
                }
            }
        }
    }
}

#[test]
fn what_a_batch_does_not_reach_counts_as_zero() {
    for dev in devices() {
        let (params, all) = four(&dev);
        let mut opt = Sgd::new(&params, SgdConfig { lr: 1.0, ..Default::default() });
        opt.set_accumulation(2);
        let mut give = |gradients: [Option<f32>; 4]| {
            opt.step_with(|p| {
                let at = all.iter().position(|q| q.name() == p.name()).unwrap();
                gradients[at].and_then(|v| constant(p, v))
            })
        };
        give([Some(1.0), None, Some(4.0), None]).unwrap();
        give([Some(2.0), Some(1.0), None, None]).unwrap();
        // Nothing of one update is left in the next.
        give([None, None, None, Some(0.5)]).unwrap();
        give([None, Some(2.0), None, None]).unwrap();
        assert_eq!(all.iter().map(first).collect::<Vec<_>>(), [-0.5, -0.5, -1.0, 0.75], "{dev:?}");
    }
}

#[test]
fn a_steady_loop_keeps_no_graphs_and_makes_no_new_plans() {
    let dev = Device::cpu();
    let net = Net::new(&dev);
    let mut opt = Sgd::new(&net.params, SgdConfig { lr: 0.1, momentum: 0.9, ..Default::default() });
    opt.set_accumulation(3);
    let mut plans = Vec::new();
    for step in 0..12 {
        opt.step(&net.loss(step * 8..step * 8 + 8).backward()).unwrap();
        plans.push(dev.counters().plans);
    }
    // The three calls of an update each have their plan.
    assert_eq!(plans[3..], [plans[2]; 9]);
}

#[test]
fn checkpoints_are_made_between_updates() {
    let dev = Device::cpu();
    let net = Net::new(&dev);
    let mut opt = Sgd::new(&net.params, SgdConfig { lr: 0.1, momentum: 0.9, ..Default::default() });
    opt.set_accumulation(2);
    opt.step(&net.loss(0..4).backward()).unwrap();
    let save = |opt: &Sgd| pollster::block_on(checkpoint::to_bytes(&net.params, opt, &Progress::default()));
    let Err(Error::Checkpoint(e)) = save(&opt) else { panic!("half an update was saved") };
    assert!(matches!(*e, CheckpointError::Accumulating { batches: 1 }), "{e}");
    opt.step(&net.loss(4..8).backward()).unwrap();
    let bytes = save(&opt).unwrap();
    // A load drops what has been added up since.
    opt.step(&net.loss(8..12).backward()).unwrap();
    checkpoint::load_bytes(&bytes, &net.params, &mut opt).unwrap();
    assert_eq!(opt.accumulated(), 0);
    assert!(save(&opt).unwrap() == bytes);
}
