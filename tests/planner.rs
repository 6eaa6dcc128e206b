//! A device that only plans takes, to the byte, what the device that it plans for creates.

mod support;

use recurve::kernel::Target;
use recurve::memory::{Memory, Use};
use recurve::models::resnet::{ResNet, ResNetConfig};
use recurve::nn::Mode;
use recurve::optim::Guard;
use recurve::{Adam, AdamConfig, Device, Error, Params, Sgd, SgdConfig, Tensor, no_grad};

/// Trains a network of convolutions and batch norms, evaluates it in between on batches of another size, and keeps what
/// the device's memory is after the first step, after the first evaluation and after ten steps.
fn train(dev: &Device, recompute: bool) -> Vec<Memory> {
    let params = Params::new(dev, 0);
    let net = ResNet::new(&params.root(), ResNetConfig { recompute, ..ResNetConfig::cifar(8) });
    let mut opt = Sgd::new(&params, SgdConfig { momentum: 0.9, ..Default::default() });
    opt.set_guard(Some(Guard::Stop { every: 2 }));
    let pictures = |n: usize| dev.full(0.5, [n, 3, 16, 16]);
    let mut seen = Vec::new();
    let mut losses: Vec<Tensor> = Vec::new();
    for step in 0..10 {
        let logits = net.forward(&pictures(4), Mode::Train);
        let loss = logits.cross_entropy(&dev.labels([1, 2, 3, 4]));
        opt.step(&loss.backward()).unwrap();
        losses.push(loss);
        if step == 0 {
            seen.push(dev.memory());
        }
        if step % 4 == 1 {
            let logits = no_grad(|| net.forward(&pictures(6), Mode::Eval));
            // Held over the next steps, which need its place.
            losses.push(logits);
            dev.run().unwrap();
            seen.push(dev.memory());
        }
        if step == 5 {
            match losses[0].item() {
                Ok(loss) => assert!(loss.is_finite() && !dev.only_plans()),
                Err(error) => assert!(matches!(error, Error::PlanOnly) && dev.only_plans(), "{error}"),
            }
        }
    }
    seen.push(dev.memory());
    seen
}

#[test]
fn what_is_planned_is_what_is_created() {
    for dev in &support::devices()[1..] {
        for recompute in [false, true] {
            let planner = dev.planner();
            let before = dev.counters();
            let planned = train(&planner, recompute);
            assert_eq!(dev.counters(), before, "planning touches the device");
            let own = Device::open_blocking(recurve::Pick::Named(dev.name())).unwrap();
            assert_eq!(own.name(), dev.name());
            let created = train(&own, recompute);
            for (planned, created) in planned.iter().zip(&created) {
                println!("{created}");
                assert!(planned.planned && !created.planned);
                assert_eq!(planned.parts, created.parts);
                assert_eq!((planned.most, &planned.programs), (created.most, &created.programs));
                assert_eq!(created.bytes(), own_bytes(created));
            }
            let counters = planner.counters();
            assert_eq!((counters.submits, counters.pipelines, counters.bind_groups), (0, 0, 0));
            assert_eq!(counters.buffers, own.counters().buffers);
            assert_eq!(created.last().unwrap().bytes(), own.counters().buffer_bytes);
        }
    }
}

/// The driver's account of the same memory, where it gives one, else ours.
fn own_bytes(created: &Memory) -> u64 {
    created.allocated.unwrap_or(created.bytes())
}
