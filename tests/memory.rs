//! Memory stays flat over long runs, and nothing recurses over long graphs. A binary of its own, because it looks at
//! the memory of the process.

use recurve::{Adam, AdamConfig, Device, Init, Params, Pick, Tensor, no_grad};
use std::sync::{Mutex, MutexGuard};

/// Tests of this file run one at a time.
fn alone() -> MutexGuard<'static, ()> {
    static ONE: Mutex<()> = Mutex::new(());
    ONE.lock().unwrap_or_else(|e| e.into_inner())
}

/// Bytes of memory that the process has now, where the system tells.
fn resident() -> Option<u64> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find(|l| l.starts_with("VmRSS:"))?;
    Some(line.split_whitespace().nth(1)?.parse::<u64>().ok()? << 10)
}

fn open() -> Device {
    Device::open_blocking(Pick::Best).expect("an adapter, or the CPU reference")
}

/// Runs `step` `warm` times, then `steps` times, and compares the memory before and after.
fn flat(device: &Device, warm: usize, steps: usize, mut step: impl FnMut(usize)) {
    (0..warm).for_each(&mut step);
    device.wait().unwrap();
    let (before, resident_before) = (device.counters(), resident());
    (warm..warm + steps).for_each(&mut step);
    device.wait().unwrap();
    let (after, resident_after) = (device.counters(), resident());
    assert_eq!(after.plans, before.plans, "plans");
    let grown = after.buffer_bytes.saturating_sub(before.buffer_bytes);
    assert!(grown <= 1 << 20, "buffers grew by {grown} bytes in {steps} steps");
    if let (Some(b), Some(a)) = (resident_before, resident_after) {
        let grown = a.saturating_sub(b) >> 20;
        println!("{}: {grown} MiB more after {steps} steps", device.name());
        assert!(grown <= 24, "the process grew by {grown} MiB in {steps} steps");
    }
}

struct Training {
    device: Device,
    weights: recurve::Param,
    opt: Adam,
}

impl Training {
    fn new(device: &Device) -> Training {
        let params = Params::new(device, 0);
        let weights = params.root().param("w", [32, 10], Init::Uniform { low: -0.1, high: 0.1 });
        let opt = Adam::new(&params, AdamConfig::default());
        Training { device: device.clone(), weights, opt }
    }

    fn step(&mut self, i: usize) -> Tensor {
        let x: Vec<f32> = (0..64 * 32).map(|k| ((k + i) % 13) as f32 * 0.1).collect();
        let labels: Vec<i64> = (0..64).map(|k| ((k + i) % 10) as i64).collect();
        let x = self.device.tensor(x, [64, 32]);
        let loss = x.matmul(&self.weights.tensor()).cross_entropy(&self.device.labels(labels));
        self.opt.step(&loss.backward()).unwrap();
        loss
    }
}

#[test]
fn two_thousand_steps() {
    let _alone = alone();
    for device in [open(), Device::cpu()] {
        let mut training = Training::new(&device);
        let mut last = None;
        flat(&device, 200, 2000, |i| last = Some(training.step(i)));
        assert!(last.unwrap().item().unwrap().is_finite());
    }
}

#[test]
fn evaluating_ten_thousand_times() {
    let _alone = alone();
    let device = open();
    let training = Training::new(&device);
    let x = device.full(0.5, [4, 32]);
    flat(&device, 200, 10_000, |i| {
        let y = match i % 2 {
            0 => no_grad(|| x.matmul(&training.weights.tensor())),
            _ => x.matmul(&training.weights.tensor()),
        };
        if i % 100 == 0 {
            y.to_vec().unwrap();
        } else {
            device.run().unwrap();
        }
    });
}

/// Nothing of earlier runs is kept: their inputs' buffers serve again.
#[test]
fn a_state_carried_on_without_gradients() {
    let _alone = alone();
    let device = open();
    let mut state = device.full(0.0, [256]);
    let mut objects = Vec::new();
    for i in 0..20 {
        let x = device.full(i as f32, [256]);
        state = no_grad(|| state.add(&x).mul_scalar(0.5));
        device.wait().unwrap();
        objects.push(device.counters().objects());
    }
    assert!(objects[2..].iter().all(|o| *o == objects[2]), "objects after each step: {objects:?}");
    assert!((state.to_vec().unwrap()[255] - 18.0).abs() < 1e-4);
}

#[test]
fn keeping_ten_thousand_losses() {
    let _alone = alone();
    let device = open();
    let mut training = Training::new(&device);
    let mut kept = Vec::new();
    flat(&device, 200, 10_000, |i| kept.push(training.step(i)));
    assert!(kept.iter().step_by(997).all(|loss| loss.item().unwrap().is_finite()));
}

#[test]
fn uploading_without_running() {
    let _alone = alone();
    let device = open();
    // Staging memory may pile up to a bound before it is flushed.
    flat(&device, 3000, 6000, |i| drop(device.full(i as f32, [256, 64])));
}

#[test]
fn a_long_chain_is_dropped_without_recursion() {
    let _alone = alone();
    let device = Device::cpu();
    let work = move || {
        let mut x = device.tensor([0.0f32], [1]).requires_grad();
        for _ in 0..200_000 {
            x = x.add_scalar(1.0);
        }
        let y = x.item().unwrap();
        drop(x);
        y
    };
    // A small stack, so that recursion over the chain would show at once.
    let thread = std::thread::Builder::new().stack_size(512 << 10).spawn(work).unwrap();
    assert_eq!(thread.join().unwrap(), 200_000.0);
}

#[test]
fn a_long_chain_that_never_runs_is_dropped_too() {
    let _alone = alone();
    let work = || {
        let device = Device::cpu();
        let mut x = device.tensor([0.0f32], [1]).requires_grad();
        for _ in 0..90_000 {
            x = x.add_scalar(1.0);
        }
        drop(x);
    };
    std::thread::Builder::new().stack_size(512 << 10).spawn(work).unwrap().join().unwrap();
}
