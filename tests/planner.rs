//! A device that only plans takes, to the byte, what the device that it plans for creates.

#[path = "../examples/memory/plan.rs"]
#[allow(dead_code, reason = "the example compares too")]
mod plan;
mod support;

use plan::{Network, Step};
use recurve::kernel::Target;
use recurve::memory::{Memory, Use};
use recurve::models::resnet::{ResNet, ResNetConfig};
use recurve::nn::Mode;
use recurve::optim::Guard;
use recurve::{Adam, AdamConfig, Device, Error, Params, Sgd, SgdConfig, Tensor, no_grad};

/// Trains a network of convolutions and batch norms, evaluates it in between on batches of another size, and keeps what
/// the device's memory is after the first step, after each evaluation and after ten steps.
fn train(dev: &Device, recompute: bool) -> Vec<Memory> {
    let params = Params::new(dev, 0);
    let net = ResNet::new(&params.root(), ResNetConfig { recompute, ..ResNetConfig::cifar(8) });
    let mut opt = Sgd::new(&params, SgdConfig { momentum: 0.9, ..Default::default() });
    opt.set_guard(Some(Guard::Stop { every: 2 }));
    let pictures = |n: usize| dev.full(0.5, [n, 3, 16, 16]);
    let mut seen = Vec::new();
    let mut held: Vec<Tensor> = Vec::new();
    for step in 0..10 {
        let logits = net.forward(&pictures(4), Mode::Train);
        let loss = logits.cross_entropy(&dev.labels([1, 2, 3, 4]));
        opt.step(&loss.backward()).unwrap();
        held.push(loss);
        if step == 0 {
            seen.push(dev.memory());
        }
        if step % 4 == 1 {
            // Held over the next steps, which need its place.
            held.push(no_grad(|| net.forward(&pictures(6), Mode::Eval)));
            dev.run().unwrap();
            seen.push(dev.memory());
        }
        if step == 5 {
            match held[0].item() {
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
        let before = dev.counters();
        let planner = dev.planner();
        let planned = [false, true].map(|recompute| train(&planner, recompute)).concat();
        assert_eq!(dev.counters(), before, "planning touches the device");
        let created = [false, true].map(|recompute| train(dev, recompute)).concat();
        assert_eq!(planned.len(), created.len());
        for (planned, created) in planned.iter().zip(&created) {
            assert!(planned.planned && !created.planned);
            assert_eq!(planned.parts, created.parts);
            assert_eq!((planned.most, &planned.programs), (created.most, &created.programs));
            if let Some(allocated) = created.allocated {
                // It rounds up, some drivers to 64 KiB a piece.
                let pieces: u64 = created.parts.iter().map(|p| p.pieces).sum();
                let most = created.bytes() + (created.bytes() / 100).max(pieces << 16);
                let range = created.bytes()..=most;
                assert!(range.contains(&allocated), "the allocator gave out {allocated}:\n{created}");
            }
        }
        let (plan, real) = (planner.counters(), dev.counters());
        assert_eq!((plan.submits, plan.pipelines, plan.bind_groups), (0, 0, 0));
        assert_eq!(
            (plan.buffers, plan.buffer_bytes, plan.plans),
            (real.buffers, real.buffer_bytes, real.plans)
        );
        assert_eq!(created.last().unwrap().bytes(), real.buffer_bytes);
    }
}

/// A step of ResNet-152 on two pictures of 224×224 pixels takes, with three blocks at a time computed again, less than half
/// of the memory that keeping every value would take.
#[test]
fn recomputation_halves_what_a_deep_network_takes() {
    let adapters: Vec<Device> = support::devices().into_iter().skip(1).map(|dev| dev.planner()).collect();
    for planner in adapters.iter().chain([&Device::planning(&Target::WEBGPU_DEFAULT)]) {
        let step = |together| {
            let step = Step { network: Network(152), together, batch: 2, size: 224 };
            step.make(&Device::planning(planner.target().unwrap())).unwrap()
        };
        let (plain, again) = (step(0), step(3));
        for memory in [&plain, &again] {
            assert_eq!(memory.programs.len(), 1);
            // 60,192,808 of them, and padding.
            let parameters = memory.bytes_labelled("parameters");
            assert!((240_771_232..=240_900_000).contains(&parameters), "{memory}");
            assert_eq!(memory.bytes_labelled("gradients"), parameters);
            assert_eq!(memory.bytes_labelled("momentum_buffer"), parameters);
            let program = &memory.programs[0];
            assert!(program.at_once <= program.slots && program.slots < program.kept, "{memory}");
            assert!(program.textures_at_once <= program.textures, "{memory}");
        }
        assert!(2 * again.most < plain.if_all_were_kept(), "{plain}{again}");
        assert!(3 * again.programs[0].slots < plain.programs[0].slots, "{plain}{again}");
    }
}

/// On a device of 1.5 GiB, ResNet-50 trains on 16 pictures of 224×224 pixels only with blocks computed again.
#[test]
fn recomputation_lets_a_network_train_where_it_would_not_fit() {
    let adapters: Vec<Device> = support::devices().into_iter().skip(1).map(|dev| dev.planner()).collect();
    for planner in adapters.iter().chain([&Device::planning(&Target::WEBGPU_DEFAULT)]) {
        let [plain, again] = [0, 1].map(|together| {
            let step = Step { network: Network(50), together, batch: 16, size: 224 };
            step.make(&Device::planning(planner.target().unwrap())).unwrap()
        });
        let budget = 3 << 29;
        assert!(plain.most > budget && again.most < budget, "{plain}{again}");
    }
}

#[test]
fn a_planner_has_no_values() {
    let dev = Device::planning(&Target::WEBGPU_DEFAULT);
    let params = Params::new(&dev, 0);
    let w = params.root().param("w", [64, 64], recurve::Init::Orthogonal { gain: 1.0 });
    let mut opt = Adam::new(&params, AdamConfig::default());
    let x = dev.full(1.0, [8, 64]);
    let y = x.matmul(&w.tensor());
    opt.step(&y.square().mean(&[0, 1]).backward()).unwrap();
    w.set(&[0.0; 64 * 64]).unwrap();
    for read in [x.to_vec(), y.to_vec(), w.tensor().to_vec()] {
        assert!(matches!(read, Err(Error::PlanOnly)), "{read:?}");
    }
    assert!(matches!(pollster::block_on(params.to_bytes()), Err(Error::PlanOnly)));
    opt.set_guard(Some(Guard::Skip));
    opt.step(&x.matmul(&w.tensor()).square().mean(&[0, 1]).backward()).unwrap();
    assert!(matches!(opt.divergence(), Err(Error::PlanOnly)));
    let profile = dev.profile(|| dev.wait()).unwrap();
    assert!(profile.events.is_empty());
    let (memory, counters) = (dev.memory(), dev.counters());
    assert_eq!((counters.submits, counters.pipelines, counters.bind_groups), (0, 0, 0));
    assert_eq!(memory.bytes(), counters.buffer_bytes);
    // Weights, gradients and two states, and copies of weights and states for the guard; one word for its report.
    assert_eq!(memory.bytes_for(Use::Arena), (4 + 3) * 64 * 64 * 4 + recurve::ALIGN);
    assert!(memory.planned && memory.allocated.is_none());
    assert!(dev.explain().ends_with(&memory.to_string()), "{}", dev.explain());
}

#[test]
fn limits_hold_on_a_planner_too() {
    let narrow = Target { max_binding: 1 << 16, max_buffer: 1 << 16, ..Target::WEBGPU_DEFAULT };
    let dev = Device::planning(&narrow);
    let large = dev.full(0.0, [1 << 15]);
    assert!(matches!(large.to_vec(), Err(Error::TensorTooLarge { limit: 65_536, .. })));
    let params = Params::new(&dev, 0);
    params.root().param("w", [1 << 15], recurve::Init::Zeros);
    assert!(matches!(params.seal(), Err(Error::TensorTooLarge { .. })));
}

#[test]
fn the_reference_is_planned_for_the_default_limits() {
    let planner = Device::cpu().planner();
    assert_eq!(planner.target(), Some(&Target::WEBGPU_DEFAULT));
    train(&planner, true);
    let memory = Device::cpu().memory();
    assert_eq!((memory.bytes(), memory.programs.len()), (0, 0));
}
