//! Optimisers, clipping, parameter groups and skipped parameters, step by step; the proof compares them with PyTorch.

#[path = "optimizers/accumulation.rs"]
mod accumulation;
#[path = "optimizers/ema.rs"]
mod ema;
#[path = "optimizers/guard.rs"]
mod guard;
mod support;

use recurve::{
    Adam, AdamConfig, AdamW, AdamWConfig, Clip, Device, Init, Param, ParamGroup, Params, Sgd, SgdConfig,
    Tensor,
};
use support::devices;

/// Parameters `a` [3], `b` [2, 2], `c` [70], `d` [5], all ones, and the same number as every gradient.
fn four(dev: &Device) -> (Params, Vec<Param>) {
    let params = Params::new(dev, 0);
    let shapes: [(&str, &[usize]); 4] = [("a", &[3]), ("b", &[2, 2]), ("c", &[70]), ("d", &[5])];
    let all = shapes.iter().map(|(name, shape)| params.root().param(name, *shape, Init::Ones)).collect();
    (params, all)
}

fn constant(param: &Param, value: f32) -> Option<Tensor> {
    Some(param.tensor().device().full(value, param.shape()))
}

fn total(x: Tensor) -> Tensor {
    x.sum(&(0..x.shape().rank()).collect::<Vec<_>>())
}

fn first(param: &Param) -> f32 {
    let values = param.tensor().to_vec().unwrap();
    assert!(values.iter().all(|v| *v == values[0]), "{param:?}: {values:?}");
    values[0]
}

#[test]
fn a_parameter_without_gradient_keeps_value_state_and_steps() {
    for dev in devices() {
        let (params, all) = four(&dev);
        let mut opt = Adam::new(&params, AdamConfig { lr: 0.1, betas: (0.5, 0.75), ..Default::default() });
        // The formula by hand, for each parameter on its own.
        let mut want = [(1.0f64, 0.0f64, 0.0f64, 0i32); 4];
        for step in 0..6 {
            let skipped = |name: &str| (name == "c" && step % 2 == 0) || (name == "a" && step < 3);
            let value = 0.5 + step as f32;
            opt.step_with(|p| if skipped(p.name()) { None } else { constant(p, value) }).unwrap();
            for (param, (w, m, v, t)) in all.iter().zip(&mut want) {
                if !skipped(param.name()) {
                    let g = f64::from(value);
                    *t += 1;
                    *m = 0.5 * *m + 0.5 * g;
                    *v = 0.75 * *v + 0.25 * g * g;
                    let (m, v) = (*m / (1.0 - 0.5f64.powi(*t)), *v / (1.0 - 0.75f64.powi(*t)));
                    *w -= 0.1 * m / (v.sqrt() + 1e-8);
                }
                let got = f64::from(first(param));
                assert!((got - *w).abs() < 2e-6, "{dev:?} {param:?} step {step}: {got}, not {w}");
            }
        }
    }
}

#[test]
fn dampening_spares_each_parameters_own_first_gradient() {
    for dev in devices() {
        let (params, all) = four(&dev);
        let config = SgdConfig { lr: 0.5, momentum: 0.5, dampening: 0.75, ..Default::default() };
        let mut opt = Sgd::new(&params, config);
        opt.step_with(|p| if p.name() == "d" { None } else { constant(p, 1.0) }).unwrap();
        opt.step_with(|p| constant(p, 1.0)).unwrap();
        // m = 1, then 0.5 + 0.25; for d only the first.
        assert_eq!(first(&all[0]), 1.0 - 0.5 - 0.375, "{dev:?}");
        assert_eq!(first(&all[3]), 1.0 - 0.5, "{dev:?}");
    }
}

#[test]
fn groups_have_their_own_learning_rate_and_decay() {
    for dev in devices() {
        let (params, all) = four(&dev);
        let groups = vec![
            ParamGroup::new(|p| p.name() == "d").lr_scale(2.0).weight_decay(0.5),
            ParamGroup::vectors().weight_decay(0.0),
        ];
        let config = AdamWConfig { lr: 0.5, weight_decay: 0.25, ..Default::default() };
        let mut opt = AdamW::with_groups(&params, config, groups);
        opt.set_lr(0.25);
        // Adam's first step is the learning rate; before it the decay is taken off.
        opt.step_with(|p| constant(p, 3.0)).unwrap();
        for (param, want) in all.iter().zip([0.75, 1.0 - 0.0625 - 0.25, 0.75, 1.0 - 0.25 - 0.5]) {
            assert!((first(param) - want).abs() < 1e-6, "{dev:?} {param:?}: {}, not {want}", first(param));
        }
    }
}

#[test]
fn clipping_leaves_held_gradients_as_they_were() {
    for dev in devices() {
        let (params, all) = four(&dev);
        let mut opt = Sgd::new(&params, SgdConfig { lr: 1.0, ..Default::default() });
        opt.set_clip(Some(Clip::Norm { max_norm: 1.0, norm_type: 2.0 }));
        let loss = all.iter().map(|p| total(p.tensor().mul_scalar(2.0))).reduce(|a, b| a.add(&b)).unwrap();
        let gradients = loss.backward();
        opt.step(&gradients).unwrap();
        let norm = 2.0 * 82f32.sqrt();
        assert!((opt.grad_norm().unwrap().item().unwrap() - norm).abs() < 1e-4);
        assert!((first(&all[2]) - (1.0 - 2.0 / norm)).abs() < 1e-6, "{dev:?}");
        assert_eq!(all[2].gradient(&gradients).unwrap().to_vec().unwrap(), vec![2.0; 70], "{dev:?}");
    }
}

/// One value that is the gradient of two parameters must come to both.
#[test]
fn one_gradient_of_two_parameters() {
    for dev in devices() {
        let params = Params::new(&dev, 0);
        let a = params.root().param("a", [4], Init::Zeros);
        let b = params.root().param("b", [4], Init::Zeros);
        let mut opt = Sgd::new(&params, SgdConfig { lr: 1.0, ..Default::default() });
        let x = dev.tensor([1.0, 2.0, 3.0, 4.0], [4]);
        for step in 1..3 {
            let gradients = a.tensor().add(&b.tensor()).backward_with(&x.mul_scalar(3.0));
            opt.step(&gradients).unwrap();
            let want: Vec<f32> = [3.0f32, 6.0, 9.0, 12.0].iter().map(|v| -v * step as f32).collect();
            assert_eq!(a.tensor().to_vec().unwrap(), want, "{dev:?}");
            assert_eq!(b.tensor().to_vec().unwrap(), want, "{dev:?}");
        }
    }
}

#[test]
fn a_schedule_makes_no_plan_and_no_object() {
    for dev in devices() {
        let (params, all) = four(&dev);
        let mut opt = Adam::new(&params, AdamConfig::default());
        opt.set_clip(Some(Clip::Norm { max_norm: 1.0, norm_type: 2.0 }));
        let mut after_two = None;
        for step in 0..20 {
            opt.set_lr(0.1 / (1.0 + f64::from(step)));
            let loss =
                all.iter().map(|p| total(p.tensor().mul(&p.tensor()))).reduce(|a, b| a.add(&b)).unwrap();
            opt.step(&loss.backward()).unwrap();
            let counters = dev.counters();
            let (plans, objects) = *after_two.get_or_insert((counters.plans, u64::MAX));
            assert_eq!(counters.plans, plans, "{dev:?} step {step}: {}", dev.explain());
            if step == 1 {
                after_two = Some((plans, counters.objects()));
            }
            assert!(counters.objects() <= objects, "{dev:?} step {step} made objects");
        }
    }
}

#[test]
fn neighbours_of_one_group_are_one_dispatch() {
    let dev = Device::cpu();
    let params = Params::new(&dev, 0);
    for layer in 0..5 {
        let scope = params.at(&format!("layer{layer}"));
        scope.param("weight", [3, 3], Init::default_weight());
        scope.param("bias", [3], Init::Zeros);
    }
    let groups = vec![ParamGroup::vectors().weight_decay(0.0)];
    let mut opt = AdamW::with_groups(&params, AdamWConfig::default(), groups);
    opt.step_with(|p| constant(p, 1.0)).unwrap();
    let updates = |program: &str| program.lines().filter(|line| line.contains("adam(")).count();
    assert_eq!(updates(&dev.explain()), 2, "{}", dev.explain());
    opt.step_with(|p| (p.name() != "layer2.weight").then(|| constant(p, 1.0)).flatten()).unwrap();
    assert_eq!(updates(&dev.explain()), 3, "{}", dev.explain());
}
