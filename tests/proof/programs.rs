//! Planned programs against node-at-a-time execution, replays against first runs, and programs as text.

use crate::adapters;
use rand::rngs::ChaCha8Rng;
use rand::{RngExt, SeedableRng};
use recurve::kernel::{Target, TargetClass};
use recurve::ops::conv2d::{Conv2dConfig, Padding};
use recurve::testing::{compare, execute_node_by_node, explain_for};
use recurve::{Device, Result, Tensor};
use std::path::Path;

/// Something to run: uploads values made from the seed, computes, and returns what it holds.
type Model = fn(&Device, u64) -> Vec<Tensor>;

const MODELS: [(&str, Model); 5] =
    [("chains", chains), ("moves", moves), ("mlp", mlp), ("cnn", cnn), ("random", random)];

fn values(seed: u64, n: usize) -> Vec<f64> {
    let mut rng = ChaCha8Rng::seed_from_u64(seed);
    (0..n).map(|_| f64::from(rng.random::<f32>() * 2.0 - 1.0)).collect()
}

fn upload(device: &Device, seed: u64, shape: &[usize]) -> Tensor {
    device.tensor_f64(&values(seed, shape.iter().product()), shape)
}

/// Element-wise chains that branch, broadcast, and are held half-way.
fn chains(device: &Device, seed: u64) -> Vec<Tensor> {
    let x = upload(device, seed, &[7, 5]);
    let row = upload(device, seed + 1, &[5]);
    let a = x.mul(&row).add_scalar(0.25).relu();
    let b = a.exp().mul(&x.sigmoid());
    let c = a.add(&b).tanh().sub(&row.mul_scalar(2.0));
    let small = row.mul(&row).neg();
    vec![a, c.mul(&small).maximum(&c), b.sum(&[0]).mul(&small)]
}

/// Views and copies.
fn moves(device: &Device, seed: u64) -> Vec<Tensor> {
    let x = upload(device, seed, &[4, 6]);
    let y = x.permute(&[1, 0]).reshape([3, 8]).relu();
    let z = Tensor::concat(&[&y, &y.neg()], 0).slice(&[1..5, 2..8]);
    let p = z.pad(&[(1, 0), (0, 2)], 0.5).add(&x.slice(&[0..1, 0..1]));
    vec![x.reshape([24]), p.clone(), y.reshape([24]).add(&x.reshape([24])), p.sum(&[1])]
}

/// Two layers with all their gradients.
fn mlp(device: &Device, seed: u64) -> Vec<Tensor> {
    let x = upload(device, seed, &[9, 12]);
    let w1 = upload(device, seed + 1, &[12, 17]).requires_grad();
    let b1 = upload(device, seed + 2, &[17]).requires_grad();
    let w2 = upload(device, seed + 3, &[17, 4]).requires_grad();
    let b2 = upload(device, seed + 4, &[4]).requires_grad();
    let h = x.matmul(&w1).add(&b1).tanh();
    let loss = h.matmul(&w2).add(&b2).cross_entropy(&device.labels([0, 1, 2, 3, 0, 1, -100, 2, 3]));
    let gradients = loss.backward();
    let mut held: Vec<Tensor> = [&w1, &b1, &w2, &b2].iter().map(|w| gradients.wrt(w).unwrap()).collect();
    held.push(loss);
    held
}

/// Convolution, normalisation, pooling, a dense layer, and all gradients.
fn cnn(device: &Device, seed: u64) -> Vec<Tensor> {
    let x = upload(device, seed, &[3, 2, 8, 8]);
    let w = upload(device, seed + 1, &[5, 2, 3, 3]).requires_grad();
    let b = upload(device, seed + 2, &[5]).requires_grad();
    let gamma = upload(device, seed + 3, &[5]).add_scalar(1.5).detach().requires_grad();
    let beta = upload(device, seed + 4, &[5]).requires_grad();
    let dense = upload(device, seed + 5, &[80, 4]).requires_grad();
    let config = Conv2dConfig { padding: Padding::from(1), ..Conv2dConfig::default() };
    // The bias stands behind the norm: in front of it, its gradient is 0 but for rounding.
    let (y, mean, var) = x.conv2d(&w, None, config).batch_norm_train(Some((&gamma, &beta)), 1e-5);
    let y = y.add(&b.reshape([5, 1, 1])).relu().max_pool2d(2);
    let logits = y.reshape([3, 80]).matmul(&dense);
    let loss = logits.cross_entropy(&device.labels([0, 3, 2]));
    let gradients = loss.backward();
    let mut held: Vec<Tensor> =
        [&w, &b, &gamma, &beta, &dense].iter().map(|w| gradients.wrt(w).unwrap()).collect();
    held.extend([loss, logits, mean, var]);
    held
}

/// A program drawn at random: one shape, any op, some results held.
fn random(device: &Device, seed: u64) -> Vec<Tensor> {
    let mut rng = ChaCha8Rng::seed_from_u64(seed / 1000);
    let shape = [6, 6];
    let mut made: Vec<Tensor> = (0..3).map(|i| upload(device, seed + i, &shape)).collect();
    let mut held = Vec::new();
    for _ in 0..30 {
        let a = made[rng.random_range(0..made.len())].clone();
        let b = made[rng.random_range(0..made.len())].clone();
        let next = match rng.random_range(0..13u32) {
            0 => a.add(&b),
            1 => a.mul(&b).mul_scalar(0.5),
            2 => a.relu(),
            3 => a.tanh(),
            4 => a.sub(&b.sigmoid()),
            5 => a.matmul(&b).mul_scalar(0.1),
            6 => a.permute(&[1, 0]),
            7 => a.reshape([36]).reshape(shape).neg(),
            8 => a.add(&b.sum_keep(&[0]).mul_scalar(0.1)),
            9 => a.matmul(&b).add(&made[0].slice(&[0..1, 0..6]).reshape([6])).tanh(),
            10 => a.slice(&[1..6, 0..6]).pad(&[(0, 1), (0, 0)], 0.25),
            11 => a.maximum(&b).minimum(&made[1]),
            _ => a.detach().reshape([4, 9]).permute(&[1, 0]).reshape(shape),
        };
        if rng.random_range(0..6u32) == 0 {
            held.push(next.clone());
        }
        made.push(next);
    }
    held.push(made.last().unwrap().clone());
    held
}

fn read(tensors: &[Tensor]) -> Result<Vec<Vec<f64>>> {
    tensors.iter().map(Tensor::to_vec_f64).collect()
}

/// Seeds of the programs of a model: the random one is a different program for each thousand.
fn seeds(name: &str) -> Vec<u64> {
    if name == "random" { (0..40).map(|i| 1000 * i).collect() } else { vec![5] }
}

/// Runs every model on `planned` and on `stepwise`.
fn compare_all(planned: &Device, stepwise: &Device, relative: f64) {
    execute_node_by_node(stepwise);
    for (name, model) in MODELS {
        for seed in seeds(name) {
            let got = read(&model(planned, seed)).unwrap();
            let want = read(&model(stepwise, seed)).unwrap();
            for (i, (got, want)) in got.iter().zip(&want).enumerate() {
                let largest = want.iter().fold(1e-3, |m: f64, v| m.max(v.abs()));
                let what = format!("result {i} of {name} on {}", planned.name());
                let bounds = vec![relative * largest; want.len()];
                compare(&what, got, want, &bounds, seed)
                    .unwrap_or_else(|e| panic!("{e}\n{}", planned.explain()));
            }
        }
    }
}

#[test]
fn planned_programs_agree_with_single_ops_on_the_reference() {
    compare_all(&Device::cpu_f64(), &Device::cpu_f64(), 1e-12);
}

#[test]
fn planned_programs_agree_with_single_ops_on_every_adapter() {
    for adapter in adapters::all() {
        compare_all(&adapters::open(&adapter), &adapters::open(&adapter), 1e-5);
    }
}

#[test]
fn node_by_node_fuses_nothing() {
    let device = Device::cpu();
    execute_node_by_node(&device);
    let y = device.tensor([1.0, -2.0], [2]).mul_scalar(2.0).relu();
    assert_eq!(y.to_vec().unwrap(), [2.0, 0.0]);
    assert_eq!(device.counters().runs, 2);
}

#[test]
fn replays_agree_with_first_runs_bit_for_bit() {
    for device in adapters::engines() {
        for (name, model) in MODELS {
            let first = read(&model(&device, 11)).unwrap();
            let plans = device.counters().plans;
            let other = read(&model(&device, 12)).unwrap();
            let again = read(&model(&device, 11)).unwrap();
            assert_eq!(first, again, "{name} on {}", device.name());
            assert_ne!(first, other, "{name} on {} does not look at its input", device.name());
            assert_eq!(device.counters().plans, plans, "{name} on {} was planned again", device.name());
        }
    }
}

#[test]
fn replays_on_other_inputs_agree_with_a_fresh_device() {
    for adapter in adapters::all() {
        let (used, fresh) = (adapters::open(&adapter), adapters::open(&adapter));
        for (name, model) in MODELS {
            read(&model(&used, 21)).unwrap();
            let got = read(&model(&used, 22)).unwrap();
            let want = read(&model(&fresh, 22)).unwrap();
            assert_eq!(got, want, "{name} on {}", used.name());
        }
    }
}

#[test]
fn programs_print_themselves() {
    let software = Target {
        class: TargetClass::Software,
        subgroup: Some((8, 8)),
        int64: true,
        texel_loads: false,
        pair_texels: false,
        max_storage_buffers: 32,
        ..Target::WEBGPU_DEFAULT
    };
    for (name, model) in [("mlp", mlp as Model), ("cnn", cnn as Model)] {
        let device = Device::cpu();
        let held = model(&device, 5);
        device.run().unwrap();
        drop(held);
        snapshot(&format!("{name}.cpu"), &explain_for(&device, None).unwrap());
        let base = explain_for(&device, Some(&Target::WEBGPU_DEFAULT)).unwrap();
        snapshot(&format!("{name}.webgpu"), &base);
        snapshot(&format!("{name}.software"), &explain_for(&device, Some(&software)).unwrap());
    }
}

/// Compares with tests/snapshots; `RECURVE_BLESS=1` writes them instead.
fn snapshot(name: &str, text: &str) {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("tests/snapshots/{name}.txt"));
    if std::env::var_os("RECURVE_BLESS").is_some() {
        std::fs::write(&path, text).unwrap();
        return;
    }
    let kept = std::fs::read_to_string(&path).unwrap_or_else(|e| panic!("{}: {e}", path.display()));
    if kept != text {
        let line = kept.lines().zip(text.lines()).position(|(k, t)| k != t);
        panic!(
            "the program of {name} has changed, first in line {line:?}. If it is meant to, run the tests with \
             RECURVE_BLESS=1 and look at the difference.\n{text}"
        );
    }
}

/// Who may name whom (ARCHITECTURE.md, invariant 2), by the sources themselves.
#[test]
fn the_layers_name_only_what_they_may() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut files = Vec::new();
    let mut open = vec![root.clone()];
    while let Some(folder) = open.pop() {
        for entry in std::fs::read_dir(folder).unwrap().map(|e| e.unwrap().path()) {
            if entry.is_dir() { open.push(entry) } else { files.push(entry) }
        }
    }
    let code = |file: &Path| -> String {
        let text = std::fs::read_to_string(file).unwrap();
        text.lines().filter(|l| !l.trim_start().starts_with("//")).collect::<Vec<_>>().join("\n")
    };
    let mut seen = [0; 3];
    for file in &files {
        let name = file.strip_prefix(&root).unwrap().to_str().unwrap().replace('\\', "/");
        let (layer, forbidden): (usize, &[&str]) = match &name {
            n if n.starts_with("ops") || n.starts_with("pointwise") => (0, &["wgpu"]),
            n if n.starts_with("gpu") => (1, &["crate::ops", "crate::pointwise"]),
            n if n.starts_with("program") => (2, &["wgpu", "crate::ops", "crate::gpu"]),
            _ => continue,
        };
        seen[layer] += 1;
        for word in forbidden {
            assert!(!code(file).contains(word), "{name} names {word}");
        }
    }
    assert!(seen.iter().all(|&n| n > 2), "{seen:?}");
}
