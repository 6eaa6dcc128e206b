//! Guards: a step with values that are not finite is named, skipped or rolled back, on every device.

use crate::support::devices;
use recurve::checkpoint::{self, Progress};
use recurve::nn::recurrent::Nonlinearity;
use recurve::nn::{Linear, Mode, Rnn};
use recurve::optim::{Divergence, Quantity, Rule};
use recurve::{
    Adam, AdamConfig, Clip, Device, Error, Gradients, Guard, Init, Optimizer, Params, RmsProp, RmsPropConfig,
    Sgd, SgdConfig, Tensor,
};
use safetensors::SafeTensors;
use std::collections::BTreeMap;

/// A plain recurrent network with ReLU and a dense layer, and a batch for it.
struct Task {
    params: Params,
    rnn: Rnn,
    fc: Linear,
    x: Tensor,
}

impl Task {
    fn new(dev: &Device) -> Task {
        let params = Params::new(dev, 3);
        let rnn = Rnn::new(&params.at("rnn"), 3, 6, Nonlinearity::Relu, Default::default());
        let fc = Linear::new(&params.at("fc"), 6, 3);
        let x = (0..12 * 4 * 3).map(|i| ((i * 7919 + 13) % 997) as f32 / 498.5 - 1.0).collect::<Vec<_>>();
        Task { params, rnn, fc, x: dev.tensor(x, [12, 4, 3]) }
    }

    /// Gradients for inputs `scale` times as large.
    fn gradients(&self, scale: f64) -> (Tensor, Gradients) {
        let (_, last) = self.rnn.forward(&self.x.mul_scalar(scale), None, Mode::Train);
        let error = self.fc.forward(&last.reshape([4, 6])).add_scalar(-1.0);
        let loss = error.mul(&error).mean(&[0, 1]);
        let gradients = loss.backward();
        (loss, gradients)
    }
}

/// Bits of all parameters and states by name; numbers of steps are left aside.
fn bits<R: Rule>(params: &Params, opt: &Optimizer<R>) -> BTreeMap<String, Vec<u8>> {
    let bytes = pollster::block_on(checkpoint::to_bytes(params, opt, &Progress::default())).unwrap();
    let file = SafeTensors::deserialize(&bytes).unwrap();
    let all = file.tensors().into_iter().filter(|(name, _)| !name.starts_with("optimizer/step/"));
    all.map(|(name, tensor)| (name, tensor.data().to_vec())).collect()
}

fn stopped(result: recurve::Result<()>) -> Option<Divergence> {
    match result {
        Ok(()) => None,
        Err(Error::Diverged(divergence)) => Some(divergence),
        Err(error) => panic!("{error}"),
    }
}

/// Trains without a guard, reading everything, until something is not finite.
fn first_not_finite(dev: &Device, lr: f64) -> Divergence {
    let task = Task::new(dev);
    let mut opt = Sgd::new(&task.params, SgdConfig { lr, ..Default::default() });
    for step in 1..200 {
        let (_, gradients) = task.gradients(1.0);
        let finite = |t: Tensor| t.to_vec().unwrap().iter().all(|v| v.is_finite());
        let named = task.params.named();
        let bad_gradient = named.iter().find(|p| !finite(p.gradient(&gradients).unwrap()));
        opt.step(&gradients).unwrap();
        let bad_weight = named.iter().find(|p| !finite(p.tensor()));
        let of = |what, p: &recurve::Param| Divergence { step, what, parameter: p.name().into(), steps: 1 };
        if let Some(p) = bad_gradient {
            return of(Quantity::Gradient, p);
        }
        if let Some(p) = bad_weight {
            return of(Quantity::Weight, p);
        }
    }
    panic!("nothing diverged")
}

#[test]
fn a_diverging_network_is_stopped_at_the_first_bad_layer() {
    for dev in devices() {
        for (lr, every) in [(1e3, 1), (1e3, 5), (1e38, 3)] {
            let want = first_not_finite(&dev, lr);
            let task = Task::new(&dev);
            let mut opt = Sgd::new(&task.params, SgdConfig { lr, ..Default::default() });
            opt.set_guard(Some(Guard::Stop { every }));
            let mut last = 0;
            let found = loop {
                last += 1;
                assert!(last < 200, "{dev:?}: nothing was found");
                let (_, gradients) = task.gradients(1.0);
                if let Some(found) = stopped(opt.step(&gradients)) {
                    break found;
                }
                assert!(last < want.step || !last.is_multiple_of(every), "{dev:?} step {last}: {want:?}");
            };
            assert_eq!(last, want.step.next_multiple_of(every), "{dev:?}");
            assert_eq!(found, Divergence { steps: found.steps, ..want.clone() }, "{dev:?} at lr {lr}");
            assert_eq!(opt.divergence().unwrap(), Some(found), "{dev:?}");
        }
    }
}

#[test]
fn stopping_says_what_and_where() {
    let divergence =
        Divergence { step: 12, what: Quantity::Gradient, parameter: "rnn.weight_hh_l0".into(), steps: 1 };
    let text = Error::Diverged(divergence.clone()).to_string();
    assert_eq!(text, "training diverged: the gradient of rnn.weight_hh_l0 is not finite in step 12");
    let state = Divergence { what: Quantity::State("exp_avg_sq"), ..divergence };
    assert!(state.to_string().starts_with("the state exp_avg_sq of rnn.weight_hh_l0 is not finite"));
}

/// Trains with one bad batch; what is skipped leaves no trace, and training goes on.
fn skips<R: Rule + Clone>(dev: &Device, rule: R, clip: Option<Clip>) {
    let task = Task::new(dev);
    let mut opt = Optimizer::new(&task.params, rule.clone());
    opt.set_clip(clip);
    opt.set_guard(Some(Guard::Skip));
    // The same without a guard and without the bad batch.
    let plain = Task::new(dev);
    let mut other = Optimizer::new(&plain.params, rule);
    other.set_clip(clip);
    let what = format!("{} with {clip:?} on {}", R::NAME, dev.name());
    let mut losses = Vec::new();
    for step in 1..=8 {
        let (loss, gradients) = task.gradients(1.0);
        opt.step(&gradients).unwrap();
        if step <= 3 {
            other.step(&plain.gradients(1.0).1).unwrap();
        }
        losses.push(loss);
        if step == 3 {
            let before = bits(&task.params, &opt);
            assert!(before == bits(&plain.params, &other), "{what}: a guard changes what is computed");
            // Squares overflow.
            opt.step(&task.gradients(1e30).1).unwrap();
            assert!(before == bits(&task.params, &opt), "{what}: the step was not skipped");
        }
    }
    let seen = opt.divergence().unwrap().unwrap_or_else(|| panic!("{what}: nothing was seen"));
    assert_eq!((seen.step, seen.steps, seen.what), (4, 1, Quantity::Gradient), "{what}");
    let losses: Vec<f32> = losses.iter().map(|l| l.item().unwrap()).collect();
    assert!(losses.windows(2).all(|w| w[0] != w[1]), "{what}: training goes on: {losses:?}");
    assert!(losses[7] < losses[0], "{what}: {losses:?}");
}

#[test]
fn a_skipped_step_leaves_no_trace() {
    for dev in devices() {
        skips(&dev, SgdConfig { lr: 0.05, ..Default::default() }, None);
        skips(
            &dev,
            SgdConfig { lr: 0.02, momentum: 0.9, ..Default::default() },
            Some(Clip::Value { bound: 1.0 }),
        );
        let norm = Some(Clip::Norm { max_norm: 1.0, norm_type: 2.0 });
        skips(&dev, AdamConfig { lr: 0.01, amsgrad: true, ..Default::default() }, norm);
        skips(&dev, RmsPropConfig { lr: 0.003, momentum: 0.5, centered: true, ..Default::default() }, None);
    }
}

/// Two parameters of each kind: those with two axes lie before the vectors, which were registered in between.
fn layers(dev: &Device) -> Params {
    let params = Params::new(dev, 0);
    for layer in ["one", "two"] {
        params.at(layer).param("weight", [20, 30], Init::Ones);
        params.at(layer).param("bias", [70], Init::Ones);
    }
    params
}

/// A gradient of ones, but `value` in the middle of the parameters `bad`.
fn ones_but(param: &recurve::Param, bad: &[&str], value: f32) -> Option<Tensor> {
    let n = param.shape().elements();
    let at = |i: usize| if bad.contains(&param.name()) && i == n / 2 { value } else { 1.0 };
    Some(param.tensor().device().tensor((0..n).map(at).collect::<Vec<_>>(), param.shape()))
}

#[test]
fn the_first_layer_is_the_one_that_was_registered_first() {
    for dev in devices() {
        for (bad, want) in [
            (&["two.weight", "one.bias"][..], "one.bias"),
            (&["two.bias", "two.weight"], "two.weight"),
            (&["two.bias"], "two.bias"),
        ] {
            for value in [f32::NAN, f32::INFINITY, f32::NEG_INFINITY] {
                let params = layers(&dev);
                let mut opt = Sgd::new(&params, SgdConfig::default());
                opt.set_guard(Some(Guard::Stop { every: 1 }));
                opt.step_with(|p| ones_but(p, &[], 0.0)).unwrap();
                let found = stopped(opt.step_with(|p| ones_but(p, bad, value))).expect("a divergence");
                assert_eq!((found.parameter.as_str(), found.what), (want, Quantity::Gradient), "{dev:?}");
                assert_eq!(found.step, 2);
            }
        }
    }
}

#[test]
fn finite_gradients_can_ruin_weights_and_states() {
    for dev in devices() {
        // The largest numbers are still numbers.
        let params = layers(&dev);
        let mut opt = Sgd::new(&params, SgdConfig { lr: 0.5, ..Default::default() });
        opt.set_guard(Some(Guard::Skip));
        opt.step_with(|p| ones_but(p, &["one.bias"], f32::MAX)).unwrap();
        assert_eq!(opt.divergence().unwrap(), None, "{dev:?}");
        opt.set_lr(3.0);
        let before = bits(&params, &opt);
        opt.step_with(|p| ones_but(p, &["two.weight"], f32::MAX)).unwrap();
        let seen = opt.divergence().unwrap().expect("a divergence");
        assert_eq!((seen.parameter.as_str(), seen.what, seen.step), ("two.weight", Quantity::Weight, 2));
        assert!(bits(&params, &opt) == before, "{dev:?}");

        // The square of a gradient is too large: the weight would stand still from then on.
        let params = layers(&dev);
        let mut opt = Adam::new(&params, AdamConfig::default());
        opt.set_guard(Some(Guard::Skip));
        opt.step_with(|p| ones_but(p, &[], 0.0)).unwrap();
        let before = bits(&params, &opt);
        opt.step_with(|p| ones_but(p, &["two.bias"], 1e25)).unwrap();
        let seen = opt.divergence().unwrap().expect("a divergence");
        assert_eq!((seen.parameter.as_str(), seen.what), ("two.bias", Quantity::State("exp_avg_sq")));
        assert!(bits(&params, &opt) == before, "{dev:?}");
    }
}

#[test]
fn rolling_back_restores_the_copy() {
    for dev in devices() {
        let task = Task::new(&dev);
        let mut opt = RmsProp::new(&task.params, RmsPropConfig { momentum: 0.9, ..Default::default() });
        opt.set_guard(Some(Guard::RollBack { every: 3 }));
        let mut states = Vec::new();
        // Copies are made before steps 0, 3, 6 and so on.
        for (step, scale) in [1.0, 1.0, 1.0, 1.0, 1.0, 1e30, 1e30, 1.0, 1.0].into_iter().enumerate() {
            states.push(bits(&task.params, &opt));
            opt.step(&task.gradients(scale).1).unwrap();
            let now = bits(&task.params, &opt);
            match step {
                5 => assert!(now == states[3] && now != states[5], "{dev:?}: back to the copy"),
                // The copy from before this step is of what the step before it left.
                6 => assert!(now == states[3], "{dev:?}: back to the new copy"),
                // From there it goes the same way again.
                7 | 8 => assert!(now == states[step - 3], "{dev:?}: step {step} goes on"),
                _ => assert!(states.iter().all(|s| *s != now), "{dev:?}: step {step} goes on"),
            }
        }
        let seen = opt.divergence().unwrap().expect("a divergence");
        assert_eq!((seen.step, seen.steps), (6, 2), "{dev:?}");
    }
}

#[test]
fn parameters_without_a_gradient_are_not_looked_at() {
    for dev in devices() {
        let params = layers(&dev);
        let mut opt = Sgd::new(&params, SgdConfig { momentum: 0.9, ..Default::default() });
        opt.set_guard(Some(Guard::Skip));
        opt.step_with(|p| ones_but(p, &["one.bias"], f32::NAN)).unwrap();
        // The bad gradient still lies in the arena.
        opt.step_with(|p| if p.name() == "one.bias" { None } else { ones_but(p, &[], 0.0) }).unwrap();
        let seen = opt.divergence().unwrap().expect("a divergence");
        assert_eq!((seen.steps, seen.parameter.as_str()), (1, "one.bias"), "{dev:?}");
        let first = |name: &str| params.get(name).unwrap().tensor().to_vec().unwrap()[0];
        assert_eq!((first("one.bias"), first("two.bias")), (1.0, 1.0 - 1e-3), "{dev:?}");
    }
}

#[test]
fn parameters_that_come_later_are_guarded_too() {
    for dev in devices() {
        let params = layers(&dev);
        let mut opt = Sgd::new(&params, SgdConfig { lr: 0.5, ..Default::default() });
        opt.set_guard(Some(Guard::RollBack { every: 100 }));
        opt.step_with(|p| ones_but(p, &[], 0.0)).unwrap();
        let late = params.at("three").param("weight", [5], Init::Constant(3.0));
        opt.step_with(|p| ones_but(p, &[], 0.0)).unwrap();
        opt.step_with(|p| ones_but(p, &["three.weight"], f32::NAN)).unwrap();
        assert_eq!(opt.divergence().unwrap().expect("a divergence").parameter, "three.weight", "{dev:?}");
        // Each goes back to its own first copy.
        assert_eq!(late.tensor().to_vec().unwrap(), [3.0; 5], "{dev:?}");
        assert_eq!(params.get("one.bias").unwrap().tensor().to_vec().unwrap(), [1.0; 70], "{dev:?}");
    }
}

#[test]
fn a_guard_reads_nothing_and_makes_nothing_from_the_second_step_on() {
    for dev in devices() {
        for guard in [Guard::Stop { every: 1000 }, Guard::Skip, Guard::RollBack { every: 4 }] {
            let task = Task::new(&dev);
            let mut opt = Adam::new(&task.params, AdamConfig { lr: 1e-3, ..Default::default() });
            opt.set_guard(Some(guard));
            let mut step = |scale: f64| {
                let (loss, gradients) = task.gradients(scale);
                opt.step(&gradients).unwrap();
                drop(gradients);
                loss
            };
            let mut kept = vec![step(1.0), step(1.0)];
            dev.wait().unwrap();
            let before = dev.counters();
            for i in 0..20 {
                kept.push(step(if i == 9 { 1e30 } else { 1.0 }));
                dev.wait().unwrap();
            }
            let after = dev.counters();
            assert_eq!(after.plans, before.plans, "{guard:?} on {dev:?}: a new plan");
            assert_eq!(after.objects(), before.objects(), "{guard:?} on {dev:?}: objects were made");
            let submits = if dev.is_reference() { 0 } else { 20 };
            assert_eq!(after.submits - before.submits, submits, "{guard:?} on {dev:?}: one submit per step");
            assert!(kept[0].item().unwrap().is_finite());
            assert_eq!(opt.divergence().unwrap().expect("a divergence").step, 12, "{guard:?} on {dev:?}");
        }
    }
}

#[test]
fn a_guard_begins_anew_when_it_is_set_and_when_a_checkpoint_is_loaded() {
    for dev in devices() {
        let params = layers(&dev);
        let mut opt = Adam::new(&params, AdamConfig::default());
        assert_eq!((opt.guard(), opt.divergence().unwrap()), (None, None));
        opt.set_guard(Some(Guard::RollBack { every: 10 }));
        opt.step_with(|p| ones_but(p, &[], 0.0)).unwrap();
        let saved = pollster::block_on(checkpoint::to_bytes(&params, &opt, &Progress::default())).unwrap();
        let state = bits(&params, &opt);
        opt.step_with(|p| ones_but(p, &["one.weight"], f32::NAN)).unwrap();
        assert!(opt.divergence().unwrap().is_some());
        checkpoint::load_bytes(&saved, &params, &mut opt).unwrap();
        assert_eq!(opt.divergence().unwrap(), None, "{dev:?}");
        // The copy is of what was loaded.
        opt.step_with(|p| ones_but(p, &["one.weight"], f32::NAN)).unwrap();
        assert_eq!(opt.divergence().unwrap().map(|d| (d.step, d.steps)), Some((2, 1)), "{dev:?}");
        assert!(bits(&params, &opt) == state, "{dev:?}");
        opt.set_guard(Some(Guard::Skip));
        assert_eq!(opt.divergence().unwrap(), None, "{dev:?}");
        opt.set_guard(None);
        opt.step_with(|p| ones_but(p, &["one.weight"], f32::NAN)).unwrap();
        assert!(params.get("one.weight").unwrap().tensor().to_vec().unwrap().iter().any(|v| v.is_nan()));
    }
}

#[test]
fn a_step_that_does_not_block_stops_too() {
    let params = layers(&Device::cpu());
    let mut opt = Sgd::new(&params, SgdConfig::default());
    opt.set_guard(Some(Guard::Stop { every: 1 }));
    let sum = |p: &recurve::Param| p.tensor().sum(&(0..p.shape().rank()).collect::<Vec<_>>());
    let loss = params.named().iter().map(sum).reduce(|a, b| a.add(&b)).unwrap();
    pollster::block_on(opt.step_async(&loss.backward())).unwrap();
    let loss = sum(&params.get("two.weight").unwrap()).mul_scalar(f64::INFINITY);
    let found = stopped(pollster::block_on(opt.step_async(&loss.backward()))).expect("a divergence");
    assert_eq!((found.step, found.parameter.as_str()), (2, "two.weight"));
}
