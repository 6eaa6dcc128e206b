//! Profiles: they change no result, leave nothing behind, and tell which line of the program took how long.

mod support;

use recurve::nn::{BatchNorm2d, Conv2d, Linear, Mode};
use recurve::ops::conv2d::Conv2dConfig;
use recurve::profile::{Clock, Profile};
use recurve::{Adam, AdamConfig, Clip, Device, Params, Tensor};
use std::collections::BTreeSet;
use support::devices;

/// A small network with every kind of step: products, reductions, element-wise chains, updates.
struct Training {
    dev: Device,
    params: Params,
    net: (Conv2d, BatchNorm2d, Linear),
    opt: Adam,
    step: u32,
}

impl Training {
    fn new(dev: &Device) -> Self {
        let params = Params::new(dev, 3);
        let root = params.root();
        let same = Conv2dConfig { padding: 1.into(), ..Default::default() };
        let net = (
            Conv2d::new(&root.at("conv"), 2, 8, 3, same),
            BatchNorm2d::new(&root.at("bn"), 8, Default::default()),
            Linear::new(&root.at("fc"), 8 * 4 * 4, 5),
        );
        let mut opt = Adam::new(&params, AdamConfig::default());
        opt.set_clip(Some(Clip::Norm { max_norm: 1.0, norm_type: 2.0 }));
        Training { dev: dev.clone(), params, net, opt, step: 0 }
    }

    /// One step; the loss is not read.
    fn step(&mut self) -> recurve::Result<Tensor> {
        self.step += 1;
        let pixels: Vec<f32> = (0..6 * 2 * 64).map(|i| ((i * 7919 + self.step) % 97) as f32 / 97.0).collect();
        let x = self.dev.tensor(pixels, [6, 2, 8, 8]);
        let y = self.dev.labels((0..6).map(|i| i % 5).collect::<Vec<_>>());
        let h = self.net.1.forward(&self.net.0.forward(&x), Mode::Train).relu().max_pool2d(2);
        let loss = self.net.2.forward(&h.flatten(1)).tanh().mul_scalar(2.0).cross_entropy(&y);
        self.opt.step(&loss.backward())?;
        Ok(loss)
    }

    fn weights(&self) -> Vec<u32> {
        let bits = |p: recurve::Param| p.tensor().to_vec().unwrap().into_iter().map(f32::to_bits);
        self.params.named().into_iter().flat_map(bits).collect()
    }
}

/// Three steps after two that warm up, whose losses are kept and read.
fn profiled(training: &mut Training, by_waits: bool) -> (Profile, Vec<u32>) {
    let dev = training.dev.clone();
    for _ in 0..2 {
        training.step().unwrap();
    }
    match by_waits {
        true => dev.start_profile_by_waits().unwrap(),
        false => dev.start_profile().unwrap(),
    }
    let mut losses = Vec::new();
    for _ in 0..3 {
        losses.push(training.step().unwrap());
    }
    let bits = losses.iter().map(|l| l.item().unwrap().to_bits()).collect();
    (dev.stop_profile().unwrap(), bits)
}

#[test]
fn a_profile_changes_no_result() {
    for dev in devices() {
        let mut plain = Training::new(&dev);
        let losses: Vec<u32> =
            (0..5).map(|_| plain.step().unwrap().item().unwrap().to_bits()).skip(2).collect();
        for by_waits in [false, true] {
            let mut watched = Training::new(&dev);
            let (profile, bits) = profiled(&mut watched, by_waits);
            assert_eq!(bits, losses, "{dev:?}");
            assert_eq!(watched.weights(), plain.weights(), "{dev:?}");
            assert_eq!(profile.runs, 3, "{dev:?}");
        }
    }
}

#[test]
fn every_op_is_timed_and_put_down_to_a_line_of_the_program() {
    for dev in devices() {
        let (profile, _) = profiled(&mut Training::new(&dev), false);
        println!("{profile}");
        let expected = if dev.is_reference() { Clock::Host } else { profile.clock };
        assert_eq!(profile.clock, expected);
        assert_ne!(profile.clock, Clock::None);
        for name in ["conv2d", "conv2d_weight_grad", "batch_norm", "matmul", "cross_entropy", "adam"] {
            let rows: Vec<_> = profile.rows().into_iter().filter(|r| r.op == name).collect();
            assert!(!rows.is_empty(), "{dev:?}: no {name}");
            for row in rows {
                let caller = row.caller.expect("an op has a caller");
                assert_eq!(caller.location.file(), file!(), "{dev:?}: {name} at {caller}");
                assert_eq!(row.count % 3, 0, "{dev:?}: {name} ran {} times in 3 steps", row.count);
                assert!(!row.time.is_zero() && row.cost.bytes > 0, "{dev:?}: {row:?}");
            }
        }
        for row in profile.rows() {
            if let Some(caller) = row.caller {
                assert_eq!(caller.location.file(), file!(), "{dev:?}: {} at {caller}", row.op);
                let gradient = row.op.ends_with("_grad") || row.op.ends_with("_backward");
                assert!(caller.backward || !gradient, "{dev:?}: {} at {caller}", row.op);
            }
            let kernels: std::time::Duration = row.kernels.iter().map(|k| k.time).sum();
            assert_eq!(row.time, kernels, "{dev:?}: {row:?}");
        }
        let rows: std::time::Duration = profile.rows().iter().map(|r| r.time).sum();
        assert_eq!(rows, profile.total());
        assert!(profile.busy() <= profile.total() && profile.busy() <= profile.span(), "{dev:?}");
        assert!((0.0..=1.0).contains(&profile.idle_share()), "{dev:?}");
        // Two clocks may differ in pace.
        assert!(profile.span() <= profile.wall.mul_f64(1.1), "{dev:?}: {profile}");
    }
}

#[test]
fn copies_are_timed_too() {
    for dev in devices().into_iter().filter(|d| !d.is_reference()) {
        for by_waits in [false, true] {
            let (profile, _) = profiled(&mut Training::new(&dev), by_waits);
            let copies = profile.events.iter().filter(|e| e.task.op == "copy");
            let kinds: BTreeSet<&str> = copies.map(|e| &*e.task.variant).collect();
            // The losses are held while the next step overwrites their slot, and then read.
            assert_eq!(kinds, BTreeSet::from(["held", "input", "read"]), "{dev:?}");
            let reads = profile.events.iter().filter(|e| e.run.is_none()).count();
            assert_eq!(reads, 3, "{dev:?}");
        }
    }
}

#[test]
fn both_clocks_time_the_same_things() {
    for dev in devices().into_iter().filter(|d| !d.is_reference()) {
        let of = |by_waits| profiled(&mut Training::new(&dev), by_waits).0;
        let (by_device, by_waits) = (of(false), of(true));
        assert_eq!(by_waits.clock, Clock::Waits, "{dev:?}");
        let tasks = |p: &Profile| p.events.iter().map(|e| (*e.task).clone()).collect::<Vec<_>>();
        assert_eq!(tasks(&by_device), tasks(&by_waits), "{dev:?}");
    }
}

#[test]
fn a_profile_leaves_nothing_behind() {
    for dev in devices() {
        let mut training = Training::new(&dev);
        profiled(&mut training, false);
        training.step().unwrap();
        dev.wait().unwrap();
        let before = dev.counters();
        for _ in 0..4 {
            training.step().unwrap();
            dev.wait().unwrap();
        }
        let after = dev.counters();
        assert_eq!(after.objects(), before.objects(), "{dev:?}");
        assert_eq!(after.plans, before.plans, "{dev:?}");
        assert!(dev.is_reference() || after.submits - before.submits == 4, "{dev:?}");
        assert!(dev.stop_profile().unwrap().events.is_empty(), "{dev:?}: no profile is under way");
    }
}

#[test]
fn long_programs_need_more_than_one_set_of_queries() {
    for dev in devices() {
        let x = dev.tensor([1.0, 2.0], [2]);
        let profile = dev
            .profile(|| {
                let mut y = x.clone();
                for _ in 0..2500 {
                    y = y.softmax(0).add(&x);
                }
                assert!(y.to_vec()?[0].is_finite());
                Ok(())
            })
            .unwrap();
        let count = profile.events.iter().filter(|e| e.task.op == "softmax").count();
        assert_eq!(count, 2500, "{dev:?}");
        assert!(profile.events.iter().all(|e| e.start + e.time <= profile.span()), "{dev:?}");
    }
}

#[test]
fn one_plan_serves_two_lines() {
    let dev = Device::cpu();
    let x = dev.tensor([1.0, 2.0], [2]);
    let first = x.exp();
    first.to_vec().unwrap();
    let plans = dev.counters().plans;
    let second = x.exp();
    second.to_vec().unwrap();
    assert_eq!(dev.counters().plans, plans);
}

#[test]
fn an_error_or_a_panic_ends_the_profile() {
    let dev = Device::cpu();
    let error = || recurve::Error::OutOfMemory { message: "asked for".into() };
    assert!(dev.profile(|| Err(error())).is_err());
    let panics = std::panic::AssertUnwindSafe(|| dev.profile(|| panic!("asked for")));
    assert!(std::panic::catch_unwind(panics).is_err());
    dev.tensor([1.0], [1]).exp().to_vec().unwrap();
    assert!(dev.stop_profile().unwrap().events.is_empty());
}

#[test]
fn traces_are_what_perfetto_reads() {
    for dev in devices() {
        let (profile, _) = profiled(&mut Training::new(&dev), false);
        let folder = std::env::temp_dir().join(format!("recurve-profile-{}", std::process::id()));
        std::fs::create_dir_all(&folder).unwrap();
        let path = folder.join("trace.json");
        profile.write_chrome_trace(&path).unwrap();
        let trace: serde_json::Value = serde_json::from_slice(&std::fs::read(&path).unwrap()).unwrap();
        std::fs::remove_dir_all(&folder).unwrap();
        let events = trace["traceEvents"].as_array().unwrap();
        let bars: Vec<_> = events.iter().filter(|e| e["ph"] == "X").collect();
        assert_eq!(bars.len(), profile.events.len() + 3, "{dev:?}: a bar for each event and each run");
        for bar in &bars {
            assert!(bar["ts"].as_f64().unwrap() >= 0.0 && bar["dur"].as_f64().unwrap() >= 0.0);
            assert!(bar["pid"].is_u64() && bar["tid"].is_u64() && bar["name"].is_string());
        }
        let conv = bars.iter().find(|e| e["cat"] == "conv2d").unwrap();
        assert!(conv["args"]["line"].as_str().unwrap().starts_with(file!()), "{conv}");
        assert!(conv["args"]["flops"].as_u64().unwrap() > 0);
    }
}
