//! Prints every adapter of this machine with what it offers, and runs a self-test on each: five training steps of a
//! small network, compared with the CPU reference.
//!
//! `--any` only says, by its exit status, whether there is an adapter.

use recurve::nn::{BatchNorm2d, Conv2d, Linear, Mode};
use recurve::ops::conv2d::Conv2dConfig;
use recurve::optim::{Sgd, SgdConfig};
use recurve::{Device, Params, Result, Tensor, adapters};

fn main() -> std::process::ExitCode {
    let all = pollster::block_on(adapters());
    if std::env::args().any(|a| a == "--any") {
        return if all.is_empty() {
            std::process::ExitCode::FAILURE
        } else {
            std::process::ExitCode::SUCCESS
        };
    }
    let expected = losses(&Device::cpu()).expect("the CPU reference always works");
    println!("CPU reference: always there; losses of the self-test {expected:.6?}");
    let mut failed = all.is_empty();
    if all.is_empty() {
        println!("no adapter: install a Vulkan driver (Debian: apt-get install mesa-vulkan-drivers)");
    }
    for (i, adapter) in all.iter().enumerate() {
        let target = adapter.target();
        println!(
            "\n{i}: {}\n   {:?}, {} backend, driver {}",
            adapter.name(),
            target.class,
            adapter.backend(),
            adapter.driver()
        );
        let subgroup =
            target.subgroup.map_or("no".to_string(), |(low, high)| format!("{low} to {high} lanes"));
        println!("   subgroups: {subgroup}; 64-bit integers: {}", if target.int64 { "yes" } else { "no" });
        println!(
            "   {} storage buffers per shader, {} MiB per binding, {} KiB workgroup memory, {} invocations per group",
            target.max_storage_buffers,
            target.max_binding >> 20,
            target.max_workgroup_memory >> 10,
            target.max_invocations
        );
        let outcome = pollster::block_on(Device::open_adapter(adapter)).and_then(|device| losses(&device));
        match outcome {
            Err(error) => {
                failed = true;
                println!("   self-test FAILED: {error}");
            }
            Ok(found) => {
                let worst = found.iter().zip(&expected).map(|(a, b)| ((a - b) / b).abs()).fold(0.0, f32::max);
                let verdict = if worst < 1e-4 { "passed" } else { "FAILED" };
                failed |= worst >= 1e-4;
                println!(
                    "   self-test {verdict}: losses differ from the reference by {worst:.1e} at most (relative)"
                );
            }
        }
    }
    if failed { std::process::ExitCode::FAILURE } else { std::process::ExitCode::SUCCESS }
}

/// Losses of five steps on fixed data: 3 classes of 8×8 pictures.
fn losses(device: &Device) -> Result<Vec<f32>> {
    let params = Params::new(device, 7);
    let root = params.root();
    let padded = Conv2dConfig { padding: 1.into(), ..Default::default() };
    let conv = Conv2d::new(&root.at("conv"), 1, 8, 3, padded);
    let bn = BatchNorm2d::new(&root.at("bn"), 8, Default::default());
    let fc = Linear::new(&root.at("fc"), 8 * 4 * 4, 3);
    let mut opt = Sgd::new(&params, SgdConfig { lr: 0.1, momentum: 0.9, ..Default::default() });
    let pixels: Vec<f32> =
        (0..16 * 64).map(|i| ((i * 37 % 101) as f32 / 50.0 - 1.0) * (1 + i / 64 % 3) as f32).collect();
    let x = device.tensor(&pixels, [16, 1, 8, 8]);
    let y = device.labels((0..16).map(|i| i % 3).collect::<Vec<i64>>());
    let forward = |x: &Tensor| {
        let h = bn.forward(&conv.forward(x), Mode::Train).relu().max_pool2d(2);
        fc.forward(&h.flatten(1)).cross_entropy(&y)
    };
    let mut losses = Vec::new();
    for _ in 0..5 {
        let loss = forward(&x);
        opt.step(&loss.backward())?;
        losses.push(loss.item()?);
    }
    Ok(losses)
}
