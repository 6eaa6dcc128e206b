//! Averages of weights.

use crate::support::devices;
use recurve::checkpoint::{self, Progress};
use recurve::nn::{BatchNorm2d, Conv2d, Linear, Mode};
use recurve::optim::Ema;
use recurve::{Device, Params, Sgd, SgdConfig, no_grad};

struct Net {
    params: Params,
    conv: Conv2d,
    bn: BatchNorm2d,
    fc: Linear,
}

impl Net {
    fn new(dev: &Device, seed: u64) -> Net {
        let params = Params::new(dev, seed);
        Net {
            conv: Conv2d::new(&params.at("conv"), 1, 3, 3, Default::default()),
            bn: BatchNorm2d::new(&params.at("bn"), 3, Default::default()),
            fc: Linear::new(&params.at("fc"), 12, 2),
            params,
        }
    }

    fn forward(&self, mode: Mode, step: u64) -> recurve::Tensor {
        let x: Vec<f32> = (0..64).map(|i| ((i * 7 + step * 13) % 11) as f32 / 11.0).collect();
        let x = self.params.device().tensor(x, [4, 1, 4, 4]);
        self.fc.forward(&self.bn.forward(&self.conv.forward(&x), mode).relu().flatten(1))
    }

    fn step(&self, opt: &mut Sgd, step: u64) {
        let y = self.params.device().labels([0i64, 1, 1, 0]);
        opt.step(&self.forward(Mode::Train, step).cross_entropy(&y).backward()).unwrap();
    }

    /// All parameters and buffers.
    fn values(&self) -> Vec<Vec<f32>> {
        self.params.named().iter().map(|p| p.tensor().to_vec().unwrap()).collect()
    }
}

fn sgd(params: &Params) -> Sgd {
    Sgd::new(params, SgdConfig { lr: 0.1, momentum: 0.9, ..Default::default() })
}

#[test]
fn parameters_are_averaged_and_buffers_copied() {
    for dev in devices() {
        let net = Net::new(&dev, 1);
        let (mut opt, mut ema) = (sgd(&net.params), Ema::new(&net.params, 0.75));
        // Before the first update there is nothing to put in the place of the weights.
        let start = net.values();
        assert_eq!(ema.apply(|| net.values()).unwrap(), start);
        let mut expected: Vec<Vec<f64>> = Vec::new();
        for step in 0..5 {
            net.step(&mut opt, step);
            ema.update().unwrap();
            for (i, (param, now)) in net.params.named().iter().zip(net.values()).enumerate() {
                let now = now.iter().map(|&v| f64::from(v));
                if step == 0 {
                    expected.push(now.collect());
                } else if param.trainable() {
                    expected[i].iter_mut().zip(now).for_each(|(a, v)| *a = 0.75 * *a + 0.25 * v);
                } else {
                    expected[i] = now.collect();
                }
            }
        }
        let before = net.values();
        let (averages, logits) =
            ema.apply(|| (net.values(), no_grad(|| net.forward(Mode::Eval, 9)).to_vec().unwrap())).unwrap();
        for ((average, expected), param) in averages.iter().zip(&expected).zip(net.params.named()) {
            for (a, e) in average.iter().zip(expected) {
                assert!((f64::from(*a) - e).abs() < 1e-5, "{param:?}: {a} for {e}");
            }
        }
        assert_eq!(net.values(), before, "the weights are back to the bit");
        assert_ne!(no_grad(|| net.forward(Mode::Eval, 9)).to_vec().unwrap(), logits);
        assert_eq!(ema.updates(), 5);
    }
}

#[test]
fn a_panic_leaves_the_weights_in_place() {
    let net = Net::new(&Device::cpu(), 1);
    let (mut opt, mut ema) = (sgd(&net.params), Ema::new(&net.params, 0.5));
    for step in 0..2 {
        net.step(&mut opt, step);
        ema.update().unwrap();
    }
    let before = net.values();
    let caught = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
        ema.apply(|| {
            assert_ne!(net.values(), before);
            panic!("in the middle")
        })
    }));
    assert!(caught.is_err());
    assert_eq!(net.values(), before);
}

#[test]
fn early_averages_forget_faster() {
    let net = Net::new(&Device::cpu(), 1);
    let mut ema = Ema::new(&net.params, 0.25).warm_up(true);
    let mut decays = Vec::new();
    for _ in 0..4 {
        decays.push(ema.decay());
        ema.update().unwrap();
    }
    assert_eq!(decays, [0.1, 2.0 / 11.0, 0.25, 0.25]);
}

#[test]
fn it_is_kept_in_checkpoints_to_the_bit() {
    let path = std::env::temp_dir().join(format!("recurve-ema-{}.safetensors", std::process::id()));
    for dev in devices() {
        for before in [0, 3] {
            let net = Net::new(&dev, 1);
            let (mut opt, mut ema) = (sgd(&net.params), Ema::new(&net.params, 0.9));
            let train = |net: &Net, opt: &mut Sgd, ema: &mut Ema, steps: std::ops::Range<u64>| {
                for step in steps {
                    net.step(opt, step);
                    ema.update().unwrap();
                }
                (net.values(), ema.apply(|| net.values()).unwrap())
            };
            train(&net, &mut opt, &mut ema, 0..before);
            checkpoint::save_with_ema(&path, &net.params, &opt, &ema, &Progress::default()).unwrap();
            let expected = train(&net, &mut opt, &mut ema, before..6);

            let other = Net::new(&dev, 2);
            let (mut opt, mut ema) = (sgd(&other.params), Ema::new(&other.params, 0.9));
            // What came before the load must not matter.
            train(&other, &mut opt, &mut ema, 20..22);
            checkpoint::load_with_ema(&path, &other.params, &mut opt, &mut ema).unwrap();
            assert_eq!(ema.updates(), before);
            assert!(train(&other, &mut opt, &mut ema, before..6) == expected, "{dev:?} after {before} steps");

            // Weights and training state can be had without the averages.
            checkpoint::load(&path, &other.params, &mut opt).unwrap();
            other.params.load(&path).unwrap();
        }
        let net = Net::new(&dev, 1);
        let mut opt = sgd(&net.params);
        checkpoint::save(&path, &net.params, &opt, &Progress::default()).unwrap();
        let e = checkpoint::load_with_ema(&path, &net.params, &mut opt, &mut Ema::new(&net.params, 0.9));
        assert!(e.unwrap_err().to_string().contains("ema/updates"));
    }
    let _ = std::fs::remove_file(path);
}

#[test]
fn a_steady_loop_makes_no_new_plans() {
    let dev = Device::cpu();
    let net = Net::new(&dev, 1);
    let (mut opt, mut ema) = (sgd(&net.params), Ema::new(&net.params, 0.9).warm_up(true));
    let mut plans = Vec::new();
    for step in 0..6 {
        net.step(&mut opt, step);
        ema.update().unwrap();
        plans.push(dev.counters().plans);
    }
    // The first step has no update in front of it; the second one has, and all later ones are like it.
    assert_eq!(plans[2..], [plans[1]; 4]);
}
