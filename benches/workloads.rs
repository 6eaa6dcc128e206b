//! The benchmark workloads, each as a ratio to a yardstick: f32 sgemm 1024³ by the crate `matrixmultiply` on all cores.
//! It is measured again between the executions of each workload, for machines change their speed from second to second.
//!
//! `cargo bench --bench workloads -- W1 W8 [--json FILE] [--device NAME] [--profile] [--tune FILE]`; without names, all
//! of them. `--profile` prints where each workload's time goes, from three executions more; `--tune` chooses kernels by
//! measurement, and keeps the choice in the file.

#[path = "../examples/support/net.rs"]
mod net;

use net::Net;
use recurve::models::{ResNet, ResNetConfig};
use recurve::nn::{Embedding, Gru, Linear, Lstm, LstmOptions, Mode, RecurrentConfig, Reset};
use recurve::ops::conv2d::Conv2dConfig;
use recurve::optim::{Adam, AdamConfig, Sgd, SgdConfig};
use recurve::tune::TuneConfig;
use recurve::{Device, Params, Pick, Result, Tensor, no_grad};
use std::fmt::Write as _;
use std::process::Command;
use std::time::{Duration, Instant};

/// The argument that makes this program take one training step and leave: what a fresh process needs for it.
const FIRST_STEP: &str = "--first-step";

/// Replays whose costs are averaged.
const REPLAYS: u32 = 5;
/// Executions of which a median is taken.
const ROUNDS: usize = 9;
/// Executions that a profile takes in.
const PROFILED: usize = 3;

fn main() -> Result<()> {
    env_logger::init();
    let args: Vec<String> = std::env::args().skip(1).filter(|a| a != "--bench").collect();
    let after = |name: &str| args.iter().position(|a| a == name).and_then(|i| args.get(i + 1)).cloned();
    let pick: Pick = after("--device").map_or(Pick::Best, |name| name.parse().unwrap_or_default());
    let dev = Device::open_blocking(pick)?;
    if let Some(file) = after("--tune") {
        dev.tune(&TuneConfig { file: Some(file.into()), ..Default::default() })?;
    }
    if args.iter().any(|a| a == FIRST_STEP) {
        return mnist_step(&dev)();
    }
    let names: Vec<&String> = args.iter().filter(|a| a.starts_with('W')).collect();
    let wanted = |name: &str| names.is_empty() || names.iter().any(|n| *n == name);
    let profiled = args.iter().any(|a| a == "--profile").then(|| dev.clone());
    let mut report = Report { yardstick: Yardstick::new(), lines: Vec::new(), profiled };
    println!("device {}", dev.name());
    report.yardstick()?;
    if wanted("W1") {
        matmul(&dev, &mut report)?;
    }
    if wanted("W2") {
        convolution(&dev, &mut report, "W2 conv2d_3x3", [16, 64, 56, 56], 64, 3)?;
    }
    if wanted("W3") {
        convolution(&dev, &mut report, "W3 conv2d_1x1", [16, 256, 56, 56], 64, 1)?;
    }
    if wanted("W4") {
        let params = Params::new(&dev, 0);
        let net = Lstm::new(&params.root(), 128, 256, LstmOptions::default(), RecurrentConfig::default());
        let y = move |x: &Tensor| net.forward(x, None, Mode::Train).0;
        recurrent(&dev, &mut report, "W4 lstm", 4, &params, &y)?;
        replays(&dev, &mut report, "W4 lstm", &params, &y)?;
    }
    if wanted("W5") {
        let params = Params::new(&dev, 0);
        let net = Gru::new(&params.root(), 128, 256, Reset::AfterProduct, RecurrentConfig::default());
        let y = move |x: &Tensor| net.forward(x, None, Mode::Train).0;
        recurrent(&dev, &mut report, "W5 gru", 3, &params, &y)?;
        replays(&dev, &mut report, "W5 gru", &params, &y)?;
    }
    if wanted("W6") {
        batch_norm(&dev, &mut report)?;
    }
    if wanted("W7a") {
        max_pool(&dev, &mut report)?;
    }
    if wanted("W7b") {
        softmax(&dev, &mut report)?;
    }
    if wanted("W8") {
        report.measure("W8 mnist_step train", 30, mnist_step(&dev), Work::default())?;
    }
    if wanted("W9") {
        report.measure("W9 resnet18_cifar train", ROUNDS, resnet_step(&dev), Work::default())?;
    }
    if wanted("W10") {
        report.measure("W10 resnet50 eval", ROUNDS, resnet_eval(&dev), Work::default())?;
    }
    if wanted("W11") {
        report.measure("W11 characters train", ROUNDS, character_step(&dev), Work::default())?;
    }
    if wanted("W12") {
        cold_start(&mut report, dev.name())?;
    }
    if let Some(path) = after("--json") {
        std::fs::write(&path, report.json()).unwrap_or_else(|e| eprintln!("{path}: {e}"));
    }
    Ok(())
}

/// What a workload does, as far as it is counted.
#[derive(Clone, Copy, Default)]
struct Work {
    flops: Option<f64>,
    bytes: Option<f64>,
}

impl Work {
    fn flops(flops: f64) -> Work {
        Work { flops: Some(flops), bytes: None }
    }

    fn bytes(bytes: f64) -> Work {
        Work { bytes: Some(bytes), flops: None }
    }
}

/// Prints figures as they come, and keeps them for `--json`.
struct Report {
    yardstick: Yardstick,
    lines: Vec<(String, Vec<(&'static str, f64)>)>,
    /// The device, where profiles are wanted.
    profiled: Option<Device>,
}

impl Report {
    /// The yardstick at the start of the run.
    fn yardstick(&mut self) -> Result<()> {
        let (_, yardstick) = self.medians(7, || Ok(()))?;
        self.print("yardstick sgemm_1024", vec![("gflops", yardstick)]);
        Ok(())
    }

    /// The median time of `rounds` executions, and where it goes.
    fn measure(
        &mut self,
        name: &str,
        rounds: usize,
        mut step: impl FnMut() -> Result<()>,
        work: Work,
    ) -> Result<()> {
        let (time, yardstick) = self.medians(rounds, &mut step)?;
        self.time(name, time, yardstick, work);
        if let Some(dev) = &self.profiled {
            let profile = dev.profile(|| (0..PROFILED).try_for_each(|_| step()))?;
            println!("{profile}");
        }
        Ok(())
    }

    /// The median time of `rounds` calls, after three to warm up, and the yardstick's median GFLOP/s between them.
    fn medians(&mut self, rounds: usize, mut f: impl FnMut() -> Result<()>) -> Result<(Duration, f64)> {
        for _ in 0..3 {
            f()?;
            self.yardstick.sample();
        }
        let (mut times, mut gflops) = (Vec::new(), Vec::new());
        for _ in 0..rounds {
            let start = Instant::now();
            f()?;
            times.push(start.elapsed());
            gflops.push(self.yardstick.sample());
        }
        times.sort();
        gflops.sort_by(f64::total_cmp);
        Ok((times[rounds / 2], gflops[rounds / 2]))
    }

    /// Prints a time with the yardstick measured beside it.
    fn time(&mut self, name: &str, time: Duration, yardstick: f64, work: Work) {
        let seconds = time.as_secs_f64();
        let mut figures = vec![("ms", seconds * 1e3)];
        if let Some(flops) = work.flops {
            let gflops = flops / seconds / 1e9;
            figures.extend([("gflops", gflops), ("ratio", gflops / yardstick)]);
        }
        figures.extend(work.bytes.map(|b| ("gbps", b / seconds / 1e9)));
        figures.push(("yardstick", yardstick));
        self.print(name, figures);
    }

    fn print(&mut self, name: &str, figures: Vec<(&'static str, f64)>) {
        let mut line = name.to_string();
        for (key, value) in &figures {
            let digits = if *key == "ratio" { 3 } else { 1 };
            let _ = write!(line, " {key}={value:.digits$}");
        }
        println!("{line}");
        self.lines.push((name.into(), figures));
    }

    fn json(&self) -> String {
        let figures =
            |f: &[(&str, f64)]| f.iter().map(|(k, v)| format!("\"{k}\": {v}")).collect::<Vec<_>>().join(", ");
        let lines = self.lines.iter().map(|(n, f)| format!("  {{\"name\": \"{n}\", {}}}", figures(f)));
        format!("[\n{}\n]\n", lines.collect::<Vec<_>>().join(",\n"))
    }
}

/// A 1024³ product on all cores of the host.
struct Yardstick {
    a: Vec<f32>,
    b: Vec<f32>,
    c: Vec<f32>,
}

impl Yardstick {
    const N: usize = 1024;

    fn new() -> Yardstick {
        let cores = std::thread::available_parallelism().map_or(1, |n| n.get());
        if std::env::var_os("MATMUL_NUM_THREADS").is_none() {
            // The crate reads its setting at first use, and it can only be set from outside: say what it was.
            println!("MATMUL_NUM_THREADS is not set; {cores} cores");
        }
        let n = Yardstick::N * Yardstick::N;
        Yardstick { a: random(n, 1), b: random(n, 2), c: vec![0.0; n] }
    }

    /// GFLOP/s of one product, after one that brings the operands back into the caches.
    fn sample(&mut self) -> f64 {
        gemm(&self.a, &self.b, &mut self.c);
        let start = Instant::now();
        gemm(&self.a, &self.b, &mut self.c);
        2.0 * (Yardstick::N as f64).powi(3) / start.elapsed().as_secs_f64() / 1e9
    }
}

/// C = A·B for square row-major matrices.
#[allow(
    unsafe_code,
    reason = "the crate's interface takes pointers; the slices are as long as the sizes say"
)]
fn gemm(a: &[f32], b: &[f32], c: &mut [f32]) {
    let n = a.len().isqrt();
    assert!(a.len() == n * n && b.len() == n * n && c.len() == n * n);
    let (row, col) = (n as isize, 1);
    unsafe {
        matrixmultiply::sgemm(
            n,
            n,
            n,
            1.0,
            a.as_ptr(),
            row,
            col,
            b.as_ptr(),
            row,
            col,
            0.0,
            c.as_mut_ptr(),
            row,
            col,
        );
    }
}

/// Numbers in (-1, 1), never all zero: a linear congruential generator (Knuth, MMIX).
fn random(n: usize, seed: u64) -> Vec<f32> {
    let mut state = seed;
    let mut next = || {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        ((state >> 40) as f32 / (1u64 << 23) as f32) - 1.0
    };
    (0..n).map(|_| next()).collect()
}

/// Computing what `f` returns, from inputs that lie on the device.
fn computing(dev: &Device, f: impl Fn() -> Vec<Tensor>) -> impl FnMut() -> Result<()> {
    move || {
        let held = f();
        dev.wait()?;
        drop(held);
        Ok(())
    }
}

/// Values and all gradients of `y = f(inputs)` for a fixed dy.
fn forward_backward(inputs: &[Tensor], dy: &Tensor, f: impl Fn(&[Tensor]) -> Tensor) -> Vec<Tensor> {
    let y = f(inputs);
    let gradients = y.backward_with(dy);
    let mut all: Vec<Tensor> = inputs.iter().filter_map(|x| gradients.wrt(x)).collect();
    all.push(y);
    all
}

fn uploaded(dev: &Device, shape: &[usize], seed: u64) -> Tensor {
    dev.tensor(random(shape.iter().product(), seed), shape).requires_grad()
}

fn matmul(dev: &Device, report: &mut Report) -> Result<()> {
    let (a, b) = (uploaded(dev, &[1024, 1024], 1), uploaded(dev, &[1024, 1024], 2));
    let flops = 2.0 * 1024f64.powi(3);
    report.measure(
        "W1 matmul_1024 forward",
        ROUNDS,
        computing(dev, || vec![a.matmul(&b)]),
        Work::flops(flops),
    )
}

fn convolution(
    dev: &Device,
    report: &mut Report,
    name: &str,
    x: [usize; 4],
    k: usize,
    r: usize,
) -> Result<()> {
    let [n, c, h, w] = x;
    let inputs = [uploaded(dev, &x, 1), uploaded(dev, &[k, c, r, r], 2)];
    let dy = dev.tensor(random(n * k * h * w, 3), [n, k, h, w]);
    let config = || Conv2dConfig { padding: (r / 2).into(), ..Default::default() };
    let apply = |i: &[Tensor]| i[0].conv2d(&i[1], None, config());
    let flops = (2 * n * k * h * w * c * r * r) as f64;
    let forward = computing(dev, || vec![apply(&inputs)]);
    report.measure(&format!("{name} forward"), ROUNDS, forward, Work::flops(flops))?;
    let both = computing(dev, || forward_backward(&inputs, &dy, apply));
    report.measure(&format!("{name} train"), ROUNDS, both, Work::flops(3.0 * flops))
}

/// A recurrent layer of `gates` gates: batch 32, 64 steps, 128 inputs, 256 hidden; x and all parameters get gradients.
fn recurrent(
    dev: &Device,
    report: &mut Report,
    name: &str,
    gates: usize,
    params: &Params,
    y: &impl Fn(&Tensor) -> Tensor,
) -> Result<()> {
    let (t, b, input, hidden) = (64, 32, 128, 256);
    let x = uploaded(dev, &[t, b, input], 1);
    let flops = (2 * t * b * gates * hidden * (input + hidden)) as f64;
    let forward = computing(dev, || vec![no_grad(|| y(&x))]);
    report.measure(&format!("{name} forward"), ROUNDS, forward, Work::flops(flops))?;
    let both = through_time(dev, &x, hidden, params, y);
    report.measure(&format!("{name} train"), ROUNDS, both, Work::flops(3.0 * flops))
}

/// Results and all gradients of a recurrent layer, for a fixed dy.
fn through_time(
    dev: &Device,
    x: &Tensor,
    hidden: usize,
    params: &Params,
    y: &impl Fn(&Tensor) -> Tensor,
) -> impl FnMut() -> Result<()> {
    let shape = [x.shape()[0], x.shape()[1], hidden];
    let dy = dev.tensor(random(shape.iter().product(), 2), shape);
    computing(dev, move || {
        let y = y(x);
        let gradients = y.backward_with(&dy);
        let of_params = params.named().into_iter().filter_map(|p| gradients.wrt(&p.tensor()));
        of_params.chain(gradients.wrt(x)).chain([y.clone()]).collect()
    })
}

/// What a replay of forward and backward costs the host, and whether it creates anything, for two lengths of sequences.
fn replays(
    dev: &Device,
    report: &mut Report,
    name: &str,
    params: &Params,
    y: &impl Fn(&Tensor) -> Tensor,
) -> Result<()> {
    for t in [64, 512] {
        let x = uploaded(dev, &[t, 32, 128], 1);
        let mut both = through_time(dev, &x, 256, params, y);
        let start = Instant::now();
        both()?;
        let first = start.elapsed();
        both()?;
        let before = dev.counters();
        for _ in 0..REPLAYS {
            both()?;
        }
        let after = dev.counters();
        let each = |n: u64| n as f64 / REPLAYS as f64;
        let ms = |d: Duration| 1e3 * d.as_secs_f64() / REPLAYS as f64;
        report.print(
            &format!("{name} replay T={t}"),
            vec![
                ("dispatches", each(after.dispatches - before.dispatches)),
                ("submits", each(after.submits - before.submits)),
                ("created", each(after.objects() - before.objects())),
                ("trace_ms", ms(after.tracing - before.tracing)),
                ("encode_ms", ms(after.encoding - before.encoding)),
                ("first_ms", 1e3 * first.as_secs_f64()),
            ],
        );
    }
    Ok(())
}

/// A training step of ResNet-18 for pictures of 32×32: batch 16, SGD with momentum.
fn resnet_step(dev: &Device) -> impl FnMut() -> Result<()> {
    let params = Params::new(dev, 0);
    let net = ResNet::new(&params.root(), ResNetConfig::resnet18_cifar());
    let mut opt = Sgd::new(&params, SgdConfig { lr: 1e-3, momentum: 0.9, ..Default::default() });
    let (pictures, dev) = (random(16 * 3 * 32 * 32, 1), dev.clone());
    move || {
        let x = dev.tensor(&pictures, [16, 3, 32, 32]);
        let loss = net
            .forward(&x, Mode::Train)
            .cross_entropy(&dev.labels((0..16).map(|i| i % 10).collect::<Vec<_>>()));
        opt.step(&loss.backward())?;
        dev.wait()
    }
}

/// ResNet-50 on one picture of 224×224.
fn resnet_eval(dev: &Device) -> impl FnMut() -> Result<()> {
    let params = Params::new(dev, 0);
    let net = ResNet::new(&params.root(), ResNetConfig::resnet50());
    let (picture, dev) = (random(3 * 224 * 224, 1), dev.clone());
    move || {
        let x = dev.tensor(&picture, [1, 3, 224, 224]);
        no_grad(|| net.forward(&x, Mode::Eval)).to_vec().map(drop)
    }
}

/// A training step of a character model: vocabulary 65, embedding 256, two LSTMs of 256, 64 steps, batch 32, Adam.
fn character_step(dev: &Device) -> impl FnMut() -> Result<()> {
    let (t, b, vocabulary, hidden) = (64, 32, 65, 256);
    let params = Params::new(dev, 0);
    let embedding = Embedding::new(&params.at("embedding"), vocabulary, hidden);
    let config = RecurrentConfig { num_layers: 2, ..RecurrentConfig::default() };
    let net = Lstm::new(&params.at("lstm"), hidden, hidden, LstmOptions::default(), config);
    let dense = Linear::new(&params.at("dense"), hidden, vocabulary);
    let mut opt = Adam::new(&params, AdamConfig { lr: 1e-3, ..Default::default() });
    let characters: Vec<i64> = (0..(t * b) as i64).map(|i| i * i % vocabulary as i64).collect();
    let next: Vec<i64> = characters.iter().map(|c| (c + 1) % vocabulary as i64).collect();
    let dev = dev.clone();
    move || {
        let x = embedding.forward(&dev.indices(&characters, [t, b]));
        let y = dense.forward(&net.forward(&x, None, Mode::Train).0).reshape([t * b, vocabulary]);
        opt.step(&y.cross_entropy(&dev.labels(&next)).backward())?;
        dev.wait()
    }
}

fn batch_norm(dev: &Device, report: &mut Report) -> Result<()> {
    let shape = [16, 64, 56, 56];
    let inputs = [uploaded(dev, &shape, 1), uploaded(dev, &[64], 2), uploaded(dev, &[64], 3)];
    let dy = dev.tensor(random(16 * 64 * 56 * 56, 4), shape);
    let apply = |i: &[Tensor]| i[0].batch_norm_train(Some((&i[1], &i[2])), 1e-5).0;
    // Read x twice and write y; read dy and x twice and write dx.
    let bytes = 8.0 * 4.0 * (16 * 64 * 56 * 56) as f64;
    let both = computing(dev, || forward_backward(&inputs, &dy, apply));
    report.measure("W6 batch_norm train", ROUNDS, both, Work::bytes(bytes))
}

fn max_pool(dev: &Device, report: &mut Report) -> Result<()> {
    let inputs = [uploaded(dev, &[16, 64, 56, 56], 1)];
    let dy = dev.tensor(random(16 * 64 * 28 * 28, 2), [16, 64, 28, 28]);
    let both = computing(dev, || forward_backward(&inputs, &dy, |i| i[0].max_pool2d(2)));
    // Read x and write y; read x and dy and write dx.
    let bytes = 3.5 * 4.0 * (16 * 64 * 56 * 56) as f64;
    report.measure("W7a max_pool2d train", ROUNDS, both, Work::bytes(bytes))
}

fn softmax(dev: &Device, report: &mut Report) -> Result<()> {
    let inputs = [uploaded(dev, &[4096, 1000], 1)];
    let dy = dev.tensor(random(4096 * 1000, 2), [4096, 1000]);
    let both = computing(dev, || forward_backward(&inputs, &dy, |i| i[0].softmax(1)));
    report.measure("W7b softmax train", ROUNDS, both, Work::bytes(5.0 * 4.0 * 4096.0 * 1000.0))
}

/// A training step of the MNIST network at batch 64: upload, forward, backward, Adam, finished.
fn mnist_step(dev: &Device) -> impl FnMut() -> Result<()> {
    let params = Params::new(dev, 0);
    let net = Net::new(&params);
    let mut opt = Adam::new(&params, AdamConfig { lr: 1e-3, ..Default::default() });
    let pixels = random(64 * 28 * 28, 1);
    let labels: Vec<i64> = (0..64).map(|i| i % 10).collect();
    move || {
        let x = dev.tensor(&pixels, [64, 1, 28, 28]);
        let loss = net.forward(&x, Mode::Train).cross_entropy(&dev.labels(&labels));
        opt.step(&loss.backward())?;
        dev.wait()
    }
}

/// Time of a fresh process until its first training step is finished: without, and with, the driver's shader cache.
fn cold_start(report: &mut Report, device: String) -> Result<()> {
    let path = std::env::current_exe().expect("this program has a path");
    let first_step = |cache: bool| {
        let mut command = Command::new(&path);
        command.args([FIRST_STEP, "--device", device.split(" (").next().unwrap_or(&device)]);
        if !cache {
            command.env("MESA_SHADER_CACHE_DISABLE", "true");
        }
        let status = command.status().expect("this program can be started");
        assert!(status.success(), "the first step failed");
        Ok(())
    };
    let (cold, yardstick) = report.medians(3, || first_step(false))?;
    report.time("W12 cold_start cold", cold, yardstick, Work::default());
    // The calls to warm up fill the cache.
    let (warm, yardstick) = report.medians(3, || first_step(true))?;
    report.time("W12 cold_start warm", warm, yardstick, Work::default());
    Ok(())
}
