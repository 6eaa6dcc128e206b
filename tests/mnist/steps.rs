//! What a training step promises: replay creates nothing, both engines agree, the same seed gives the same bits.

use crate::train::Training;
use crate::{devices, mnist, options};
use recurve::Device;
use std::process::Command;
use std::time::{Duration, Instant};

/// Set in the second process of the test that compares two.
const CHILD: &str = "RECURVE_TEST_CHILD";

#[test]
fn from_the_second_step_on_nothing_is_created() {
    for dev in devices() {
        let mut training = Training::new(&dev, &options("replay", &[]), mnist(), &mnist().train).unwrap();
        // Two steps warm up: the first plans, the second uploads its batch while the first's is still in use.
        let mut kept = Vec::new();
        for _ in 0..2 {
            kept.push(training.train_step().unwrap().unwrap().0);
        }
        dev.wait().unwrap();
        let before = dev.counters();
        let mut host = Duration::ZERO;
        const STEPS: u64 = 40;
        for _ in 0..STEPS {
            let start = Instant::now();
            let (loss, _) = training.train_step().unwrap().unwrap();
            host += start.elapsed();
            kept.push(loss);
            dev.wait().unwrap();
        }
        let after = dev.counters();
        assert_eq!(after.objects() - before.objects(), 0, "{}: objects created by {STEPS} steps", dev.name());
        assert_eq!(after.submits - before.submits, STEPS, "{}: one submit per step", dev.name());
        assert_eq!(after.plans, before.plans, "{}: no new plan", dev.name());
        let per_step = |d: Duration| d.as_secs_f64() * 1e3 / STEPS as f64;
        println!(
            "{}: per step {:.3} ms on the host, of these {:.3} tracing and {:.3} encoding and submitting",
            dev.name(),
            per_step(host),
            per_step(after.tracing - before.tracing),
            per_step(after.encoding - before.encoding),
        );
        assert!(kept.iter().all(|loss| loss.item().unwrap().is_finite()));
    }
}

#[test]
fn both_engines_give_the_same_losses() {
    let losses = |dev: &Device| -> Vec<f32> {
        let mut training =
            Training::new(dev, &options("engines", &["--epochs", "3"]), mnist(), &mnist().train).unwrap();
        (0..20).map(|_| training.train_step().unwrap().unwrap().0.item().unwrap()).collect()
    };
    let start = Instant::now();
    let expected = losses(&Device::cpu());
    println!("CPU reference: {:.2} steps per second", 20.0 / start.elapsed().as_secs_f64());
    for dev in devices() {
        for (step, (a, b)) in losses(&dev).iter().zip(&expected).enumerate() {
            assert!((a - b).abs() <= 1e-4 * b.abs(), "{}: step {step}: {a} instead of {b}", dev.name());
        }
    }
}

/// Bits of 50 losses and of the weights after them.
fn fingerprint(dev: &Device, name: &str) -> String {
    let mut training =
        Training::new(dev, &options(name, &["--batch", "32"]), mnist(), &mnist().train).unwrap();
    let losses: Vec<_> = (0..50).map(|_| training.train_step().unwrap().unwrap().0).collect();
    let mut words: Vec<u32> = losses.iter().map(|l| l.item().unwrap().to_bits()).collect();
    for param in training.params.named() {
        words.extend(param.tensor().to_vec().unwrap().iter().map(|v| v.to_bits()));
    }
    let hash =
        words.iter().fold(0xcbf2_9ce4_8422_2325u64, |h, &w| (h ^ w as u64).wrapping_mul(0x0100_0000_01b3));
    format!("fingerprint {hash:016x}")
}

#[test]
fn two_processes_give_the_same_bits() {
    let all = devices();
    if let Ok(index) = std::env::var(CHILD) {
        let index: usize = index.parse().unwrap();
        println!("{}", fingerprint(&all[index], &format!("child{index}")));
        return;
    }
    for (index, dev) in all.iter().enumerate() {
        let child = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "steps::two_processes_give_the_same_bits", "--nocapture"])
            .env(CHILD, index.to_string())
            .output()
            .unwrap();
        let text = String::from_utf8_lossy(&child.stdout);
        assert!(child.status.success(), "{text}{}", String::from_utf8_lossy(&child.stderr));
        let theirs = text
            .lines()
            .find_map(|l| l.find("fingerprint").map(|at| &l[at..]))
            .expect("the child prints one");
        assert_eq!(fingerprint(dev, &format!("parent{index}")), theirs, "{}", dev.name());
    }
}
