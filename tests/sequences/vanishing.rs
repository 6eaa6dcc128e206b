//! Gradients through time vanish, are kept, explode and are clipped as the example says, and are measured rightly.

#[path = "../../examples/vanishing/adding.rs"]
mod adding;
#[path = "../../examples/vanishing/experiments.rs"]
mod experiments;
#[path = "../../examples/vanishing/flow.rs"]
mod flow;
#[path = "../../examples/vanishing/net.rs"]
mod net;
#[path = "../../examples/vanishing/sheets.rs"]
mod sheets;
#[path = "../../examples/vanishing/train.rs"]
mod train;

use crate::{device, folder};
use adding::{Adding, BASELINE, Batch};
use experiments::{
    Course, Curve, Explosion, SGD_CLIP, SGD_RATE, SHORT, Sizes, at_first, descend, learn, learners, networks,
};
use flow::Pieces;
use net::{Kind, Net, Start};
use recurve::{Clip, Device, Params, Sgd, SgdConfig, Tensor};

const SIZES: Sizes = Sizes { hidden: 32, batch: 16, seed: 0 };
const KEEPING: Start = Start::Keeping { steps: 50 };

#[test]
fn two_steps_of_a_sequence_are_marked_and_their_sum_is_asked_for() {
    let (t, b) = (20, 64);
    let dev = Device::cpu();
    let mut data = Adding::new(&dev, t, b, 7, 0);
    let values = |batch: &Batch| (batch.x.to_vec().unwrap(), batch.sum.to_vec().unwrap());
    let (x, sums) = values(&data.next());
    for column in 0..b {
        let at = |step: usize| &x[2 * (step * b + column)..][..2];
        let marked: Vec<usize> = (0..t).filter(|&step| at(step)[1] == 1.0).collect();
        assert_eq!(marked.len(), 2);
        assert!(marked[0] < t / 10 && marked[1] < t / 2, "{marked:?}");
        assert!((0..t).all(|step| (0.0..1.0).contains(&at(step)[0])));
        assert_eq!(sums[column], at(marked[0])[0] + at(marked[1])[0]);
    }
    // The baseline is that of a uniform distribution.
    let mut total = 0.0;
    for _ in 0..100 {
        let sums = data.next().sum.to_vec().unwrap();
        total += sums.iter().map(|&s| f64::from(s - 1.0).powi(2)).sum::<f64>() / sums.len() as f64;
    }
    assert!((total / 100.0 - BASELINE).abs() < 0.01, "{total}");
    // The same seed and stream, the same sequences; another stream, others.
    assert_eq!(values(&Adding::new(&dev, t, b, 7, 0).next()), (x.clone(), sums));
    assert_ne!(values(&Adding::new(&dev, t, b, 7, 1).next()).0, x);
}

/// The loss when the steps from `from` on begin with `states`.
fn loss_from(net: &Net, batch: &Batch, from: usize, states: &[Tensor]) -> f64 {
    let rest = batch.x.narrow(0, from, batch.x.shape()[0] - from);
    net.loss_after(&net.states(&rest, states), batch).to_vec_f64().unwrap()[0]
}

#[test]
fn the_gradient_between_pieces_is_that_of_finite_differences() {
    const STEP: f64 = 1e-5;
    let dev = Device::cpu_f64();
    let (t, b, h) = (7, 2, 3);
    let all = [
        (Kind::Tanh, Start::Uniform),
        (Kind::Relu, Start::Identity { gain: 1.1 }),
        (Kind::Lstm, Start::Keeping { steps: t }),
        (Kind::Gru, Start::Uniform),
    ];
    for (kind, start) in all {
        let net = Net::new(&Params::new(&dev, 3), kind, start, h, 3).unwrap();
        let batch = Adding::new(&dev, t, b, 3, 0).next();
        // Single steps, and pieces of two and three.
        for count in [t, 3] {
            let pieces = Pieces::new(&net, &batch, count);
            assert_eq!(pieces.steps.len(), count + 1);
            let gradients = pieces.gradients().unwrap();
            for ((from, states), found) in pieces.steps.iter().zip(&pieces.states).zip(&gradients) {
                if *from == t {
                    continue;
                }
                let values: Vec<Vec<f64>> = states.iter().map(|s| s.to_vec_f64().unwrap()).collect();
                for which in 0..states.len() {
                    let found = found[which].to_vec_f64().unwrap();
                    let mut largest: f64 = 0.0;
                    for i in 0..b * h {
                        let moved = |by: f64| {
                            let state = |(s, values): (usize, &Vec<f64>)| {
                                let mut values = values.clone();
                                if s == which {
                                    values[i] += by;
                                }
                                dev.tensor_f64(&values, [1, b, h])
                            };
                            let states: Vec<Tensor> = values.iter().enumerate().map(state).collect();
                            loss_from(&net, &batch, *from, &states)
                        };
                        let expected = (moved(STEP) - moved(-STEP)) / (2.0 * STEP);
                        let error = (found[i] - expected).abs();
                        assert!(error < 1e-8, "{kind:?} at {from}, {which}, {i}: {} {expected}", found[i]);
                        largest = largest.max(expected.abs());
                    }
                    assert!(largest > 1e-6, "{kind:?} at {from}, {which}: {largest} cannot be told from 0");
                }
            }
        }
    }
}

#[test]
fn gradients_vanish_in_plain_networks_and_not_behind_open_gates() {
    let dev = device();
    let ratio = |curve: &Curve| {
        let (first, last) = curve.flow.ends();
        assert!(last > 1e-3, "{:?} learns from its last step: {last}", curve.kind);
        first / last
    };
    let mut curves = Vec::new();
    for length in [20, 50] {
        for (kind, start) in networks(length) {
            curves.push(at_first(&dev, kind, start, length, SIZES).unwrap());
        }
    }
    let of = |length, kind, start| {
        let is = |c: &&Curve| c.length == length && c.kind == kind && c.start == start;
        curves.iter().find(is).unwrap()
    };
    let plain = of(50, Kind::Tanh, Start::Uniform);
    assert!(ratio(plain) < 1e-9, "{}", ratio(plain));
    // Each further step costs the same factor.
    assert!(ratio(plain) < 1e-4 * ratio(of(20, Kind::Tanh, Start::Uniform)));
    assert!((0.4..0.75).contains(&plain.flow.per_step()), "{}", plain.flow.per_step());
    for kind in [Kind::Lstm, Kind::Gru] {
        let (usual, open) = (ratio(of(50, kind, Start::Uniform)), ratio(of(50, kind, KEEPING)));
        assert!(usual < 1e-7, "{kind:?} with usual biases: {usual}");
        assert!(open > 1e-2, "{kind:?} with open gates: {open}");
    }
    assert!(ratio(of(50, Kind::Tanh, Start::Orthogonal)) > 1e3 * ratio(plain));
    sheets::norms(&folder("vanishing").join("norms.png"), &curves).unwrap();
}

#[test]
fn gradients_explode_and_clipping_bounds_updates() {
    let dev = device();
    // Behind units that stay positive, a step back multiplies by the factor.
    let relu = |gain| at_first(&dev, Kind::Relu, Start::Identity { gain }, 50, SIZES).unwrap().flow;
    let (shrinks, grows) = (relu(0.9), relu(1.2));
    assert!(shrinks.ends().0 < 0.1 * shrinks.ends().1, "{:?}", shrinks.ends());
    assert!(grows.ends().0 > 1e3 * grows.ends().1, "{:?}", grows.ends());
    assert!((grows.per_step() - 1.2).abs() < 0.05, "{}", grows.per_step());

    // An update by SGD is not longer than the learning rate times the norm that gradients are clipped to.
    let updated = |clip: Option<f64>| {
        let params = Params::new(&dev, 0);
        let net = Net::new(&params, Kind::Relu, Start::Identity { gain: 1.2 }, 32, 0).unwrap();
        let values =
            || params.named().iter().flat_map(|p| p.tensor().to_vec().unwrap()).collect::<Vec<f32>>();
        let mut opt = Sgd::new(&params, SgdConfig { lr: SGD_RATE, ..Default::default() });
        opt.set_clip(clip.map(|max_norm| Clip::Norm { max_norm, norm_type: 2.0 }));
        let before = values();
        opt.step(&net.loss(&Adding::new(&dev, 30, 16, 0, 0).next()).backward()).unwrap();
        let moved = values().iter().zip(&before).map(|(a, b)| f64::from(a - b).powi(2)).sum::<f64>();
        moved.sqrt()
    };
    let (free, clipped) = (updated(None), updated(Some(SGD_CLIP)));
    let bound = SGD_RATE * SGD_CLIP;
    assert!((clipped / bound - 1.0).abs() < 0.01, "{clipped} instead of {bound}");
    assert!(free > 100.0 * bound, "{free}");
}

#[test]
fn training_breaks_down_without_clipping() {
    const STEPS: usize = 60;
    let dev = device();
    let explosion = Explosion::new(&dev, 20, STEPS, SIZES).unwrap();
    let largest = |losses: &[f32]| losses.iter().copied().fold(0.0, f32::max);
    let (free, clipped) = (&explosion.free, &explosion.clipped);
    assert!(free.losses.len() < STEPS || largest(&free.losses) > 1e3, "{:?}", free.losses);
    assert_eq!(clipped.losses.len(), STEPS);
    assert!(clipped.outcome(STEPS).is_finite() && largest(&clipped.losses) < 100.0, "{:?}", clipped.losses);
    let (early, late) = (largest(&clipped.losses[..10]), largest(&clipped.losses[STEPS - 10..]));
    assert!(late < 0.5 * early, "{early} {late}");
    // What does not explode needs no clipping.
    let tame = descend(&dev, 0.9, None, STEPS, SIZES).unwrap();
    assert!(tame.losses.len() == STEPS && largest(&tame.losses) < 100.0, "{:?}", tame.losses);
    assert!(clipped.largest_norm() > 10.0 * SGD_CLIP as f32, "{}", clipped.largest_norm());
}

#[test]
fn open_gates_learn_what_a_plain_network_does_not() {
    const STEPS: usize = 250;
    let dev = device();
    let course = |kind: Kind| -> Course {
        let learner = learners(12).into_iter().find(|l| l.0 == kind).unwrap();
        learn(&dev, learner, 12, STEPS, SIZES).unwrap()
    };
    let (plain, gated) = (course(Kind::Tanh), course(Kind::Gru));
    let outcome = plain.run.outcome(STEPS);
    assert!((0.9..1.15).contains(&(outcome / BASELINE)), "{outcome}");
    assert_eq!(plain.run.reaches(0.9 * BASELINE), None);
    assert!(gated.run.outcome(STEPS) < 0.4 * BASELINE, "{}", gated.run.outcome(STEPS));
    assert!(gated.run.reaches(0.4 * BASELINE).is_some_and(|step| step <= STEPS));
    let ratio = |c: &Course| c.after.flow.ends().0 / c.after.flow.ends().1;
    assert!(ratio(&gated) > 100.0 * ratio(&plain), "{} {}", ratio(&gated), ratio(&plain));
    let explosion = Explosion::new(&dev, SHORT, 20, SIZES).unwrap();
    let courses = [plain, gated];
    let curves: Vec<Curve> = courses.iter().map(|c| c.after.clone()).collect();
    sheets::summary(&folder("vanishing").join("vanishing.png"), &curves, &courses, &explosion).unwrap();
}
