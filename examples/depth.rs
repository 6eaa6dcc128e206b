//! What shortcuts do for depth: plain networks of 20 and 56 layers against residual ones of the same layers.
//!
//! `cargo run --example depth` measures gradients, trains on MNIST at half its size, and draws into runs/depth; `--quick`
//! does the same with small networks.

// The pictures of the example cifar, without its names of classes.
#[allow(dead_code)]
#[path = "cifar/data.rs"]
mod cifar;
#[path = "depth/experiments.rs"]
mod experiments;
#[path = "depth/flow.rs"]
mod flow;
#[path = "depth/net.rs"]
mod net;
#[path = "depth/pictures.rs"]
mod pictures;
#[path = "depth/shatter.rs"]
mod shatter;
#[path = "depth/sheets.rs"]
mod sheets;
mod support;
#[path = "depth/train.rs"]
mod train;

use clap::Parser;
use experiments::{AtFirst, Course, Measured, kinds};
use flow::Flow;
use net::Start;
use pictures::Pictures;
use recurve::Device;
use shatter::Slopes;
use std::error::Error;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Instant;
use support::classifier;
use support::command::{self, Common};
use train::Plan;

/// Shows what shortcuts do for depth.
#[derive(Parser)]
struct Options {
    #[command(flatten)]
    common: Common,
    /// Layers of the shallow networks: 6n + 2.
    #[arg(long, default_value_t = 20, value_parser = depth)]
    shallow: usize,
    /// Layers of the deep networks: 6n + 2.
    #[arg(long, default_value_t = 56, value_parser = depth)]
    deep: usize,
    /// Channels of the first third of a network; then come twice and four times as many.
    #[arg(long, default_value_t = 8, value_parser = at_least::<1>)]
    width: usize,
    /// Pictures of a step.
    #[arg(long, default_value_t = 64, value_parser = at_least::<2>)]
    batch: usize,
    /// Training steps.
    #[arg(long, default_value_t = 150, value_parser = at_least::<1>)]
    steps: usize,
    /// The learning rate at its highest.
    #[arg(long, default_value_t = 0.03, value_parser = command::positive)]
    lr: f64,
    /// Trainings of each network, from different seeds.
    #[arg(long, default_value_t = 1, value_parser = at_least::<1>)]
    seeds: usize,
    /// CIFAR-10 in its binary form instead of MNIST: its folder, or one of its files, of which a quarter is held out.
    #[arg(long)]
    data: Option<PathBuf>,
    /// Pictures to learn from.
    #[arg(long, default_value_t = 4000, value_parser = at_least::<2>)]
    train: usize,
    /// Pictures to test on.
    #[arg(long, default_value_t = 500, value_parser = at_least::<1>)]
    test: usize,
    /// Small networks and little training.
    #[arg(long, conflicts_with_all = ["shallow", "deep", "width", "batch", "steps", "seeds"])]
    quick: bool,
}

/// Reads a whole number.
fn at_least<const LEAST: usize>(text: &str) -> Result<usize, String> {
    let number = text.parse().ok().filter(|&n| n >= LEAST);
    number.ok_or_else(|| format!("a whole number of at least {LEAST} is needed"))
}

/// Reads a number of layers.
fn depth(text: &str) -> Result<usize, String> {
    let number = text.parse().ok().filter(|&n: &usize| n >= 8 && n % 6 == 2);
    number.ok_or_else(|| "a number of layers 6n + 2, from 8 on, is needed".into())
}

fn main() -> ExitCode {
    command::status(run(&Options::parse()))
}

fn run(options: &Options) -> Result<(), Box<dyn Error>> {
    let (dev, out) = options.common.start("depth")?;
    let (train, test) = match &options.data {
        Some(path) => cifar::load(Some(path)).map(|data| (data.train, data.test))?,
        None => classifier::load_mnist().map(|data| (data.train, data.test))?,
    };
    let data = Pictures::new(&train.first(options.train), &test.first(options.test));
    let Options { width, batch, steps, lr, .. } = *options;
    let plan = Plan { width, batch, steps, lr, test_every: (steps / 6).max(1) };
    let (plan, depths, count) = match options.quick {
        true => (Plan { width: 4, batch: 32, steps: 60, test_every: 20, ..plan }, [8, 32], 1),
        false => (plan, [options.shallow, options.deep], options.seeds),
    };
    if data.train.len() < plan.batch || data.test.is_empty() {
        return Err(format!("{} pictures are too few for batches of {}", data.train.len(), plan.batch).into());
    }
    let seeds: Vec<u64> = (0..count as u64).map(|i| options.common.seed.wrapping_add(i)).collect();
    let start = Instant::now();
    let flows = measure(&dev, &data, depths, plan, &seeds)?;
    let slopes = shatter(&dev, &data, depths, plan, seeds[0])?;
    let courses = learn(&dev, &data, depths, plan, &seeds)?;
    sheets::details(&out.join("details.png"), &flows, &courses)?;
    sheets::slopes(&out.join("slopes.png"), &slopes)?;
    sheets::summary(&out.join("depth.png"), &flows, &slopes, &courses)?;
    println!("pictures are in {}, after {:.0} s", out.display(), start.elapsed().as_secs_f64());
    Ok(())
}

/// Measures gradients of networks that have learned nothing yet, and prints them.
fn measure(
    dev: &Device,
    data: &Pictures,
    depths: [usize; 2],
    plan: Plan,
    seeds: &[u64],
) -> Result<Vec<AtFirst>, Box<dyn Error>> {
    println!(
        "norms of gradients before training: dL/da of activations, behind the first layer against behind the last block;"
    );
    println!("dL/dW of weights as a part of their own, in the first and in the last convolution:");
    println!("  start                       network     dL/da     per layer   dL/dW: first   last");
    let mut all = Vec::new();
    for start in [Start::BatchNorm, Start::He, Start::Small] {
        let mut of_start = Vec::new();
        for kind in kinds(depths) {
            let measured = experiments::at_first(dev, data, kind, start, plan, seeds)?;
            println!("  {:<26}  {:<10}  {}", start.name(), kind.name(), row(&measured.what));
            of_start.push(measured);
        }
        all.push((start, of_start));
    }
    Ok(all)
}

fn row(flow: &Flow) -> String {
    let weight = |end: Option<&(usize, f64)>| end.map_or(0.0, |w| w.1);
    let (first, last) = (weight(flow.weights.first()), weight(flow.weights.last()));
    format!("{:<8.1e}  {:<9.3}   {first:<12.1e}   {last:.1e}", flow.growth(), flow.per_layer())
}

/// Measures how alike gradients of neighbouring pictures are, and prints it.
fn shatter(
    dev: &Device,
    data: &Pictures,
    depths: [usize; 2],
    plan: Plan,
    seed: u64,
) -> Result<Vec<Measured<Slopes>>, Box<dyn Error>> {
    println!(
        "correlation of the logits' slopes at {} places from one picture to another, before training:",
        experiments::PLACES
    );
    println!("  network     1 place apart   4       16");
    let mut all = Vec::new();
    for kind in kinds(depths) {
        let slopes = experiments::slopes(dev, data, kind, plan, seed)?;
        let r = slopes.what.autocorrelation(experiments::LAGS);
        println!("  {:<10}  {:<13.2}   {:<5.2}   {:.2}", kind.name(), r[1], r[4], r[16]);
        all.push(slopes);
    }
    Ok(all)
}

/// Trains, and prints what came of it.
fn learn(
    dev: &Device,
    data: &Pictures,
    depths: [usize; 2],
    plan: Plan,
    seeds: &[u64],
) -> Result<Vec<Course>, Box<dyn Error>> {
    println!(
        "{} steps of SGD (momentum 0.9, learning rate up to {}) by {} pictures of {}, with batch norm, and gradients after them:",
        plan.steps,
        plan.lr,
        plan.batch,
        data.train.len()
    );
    println!("  network     seed   loss    training error   test error   seconds   dL/da (mean)");
    let mut courses = Vec::new();
    for kind in kinds(depths) {
        let start = Instant::now();
        let course = experiments::learn(dev, data, kind, plan, seeds)?;
        let seconds = start.elapsed().as_secs_f64() / seeds.len() as f64;
        for (seed, run) in seeds.iter().zip(&course.runs) {
            let (loss, error) = run.outcome(plan.steps);
            println!(
                "  {:<10}  {seed:<4}   {loss:<6.3}  {:<14}   {:<10}   {seconds:<7.1}   {:.1e}",
                kind.name(),
                format!("{error:.1} %"),
                format!("{:.1} %", run.test_error()),
                course.after.what.growth()
            );
        }
        courses.push(course);
    }
    Ok(courses)
}
