//! Vanishing and exploding gradients: what is left of the loss's gradient many steps back, in a plain recurrent network,
//! an LSTM and a GRU, and what that does to learning.
//!
//! `cargo run --example vanishing` measures, trains on the adding problem, and draws into runs/vanishing; `--quick` does
//! the same with short sequences.

#[path = "vanishing/adding.rs"]
mod adding;
#[path = "vanishing/experiments.rs"]
mod experiments;
#[path = "vanishing/flow.rs"]
mod flow;
#[path = "vanishing/net.rs"]
mod net;
#[path = "vanishing/sheets.rs"]
mod sheets;
mod support;
#[path = "vanishing/train.rs"]
mod train;

use adding::{BASELINE, SHORTEST};
use clap::Parser;
use experiments::{Course, Curve, Explosion, SGD_CLIP, SGD_RATE, SHORT, Sizes};
use flow::SMALLEST;
use net::name;
use recurve::Device;
use std::error::Error;
use std::process::ExitCode;
use std::time::Instant;
use support::command::{self, Common};

/// Below this loss the adding problem counts as solved.
const SOLVED: f64 = 0.01;
/// Updates of training with exploding gradients.
const DESCENTS: usize = 800;

/// Shows vanishing and exploding gradients.
#[derive(Parser)]
struct Options {
    #[command(flatten)]
    common: Common,
    /// Lengths of sequences through which gradients are measured.
    #[arg(long, value_delimiter = ',', default_values_t = [50, 100, 200, 400], value_parser = at_least::<SHORTEST>)]
    lengths: Vec<usize>,
    /// Length of the sequences that the networks learn from.
    #[arg(long, default_value_t = 100, value_parser = at_least::<SHORTEST>)]
    length: usize,
    /// Training steps.
    #[arg(long, default_value_t = 1200, value_parser = at_least::<1>)]
    steps: usize,
    /// Units of every network.
    #[arg(long, default_value_t = 64, value_parser = at_least::<1>)]
    hidden: usize,
    /// Short sequences and little training.
    #[arg(long, conflicts_with_all = ["lengths", "length", "steps", "hidden"])]
    quick: bool,
}

/// Reads a whole number.
fn at_least<const LEAST: usize>(text: &str) -> Result<usize, String> {
    let number = text.parse().ok().filter(|&n| n >= LEAST);
    number.ok_or_else(|| format!("a whole number of at least {LEAST} is needed"))
}

fn main() -> ExitCode {
    command::status(run(&Options::parse()))
}

fn run(options: &Options) -> Result<(), Box<dyn Error>> {
    let (dev, out) = options.common.start("vanishing")?;
    let seed = options.common.seed;
    let (lengths, length, steps, hidden) = match options.quick {
        true => (vec![30, 60], 30, 400, 32),
        false => (options.lengths.clone(), options.length, options.steps, options.hidden),
    };
    let sizes = Sizes { hidden, batch: 32, seed };
    let start = Instant::now();
    let curves = vanish(&dev, &lengths, sizes)?;
    let courses = learn(&dev, length, steps, sizes)?;
    let explosion = explode(&dev, length, DESCENTS, sizes)?;
    sheets::norms(&out.join("norms.png"), &curves)?;
    sheets::summary(&out.join("vanishing.png"), &curves, &courses, &explosion)?;
    println!("pictures are in {}, after {:.0} s", out.display(), start.elapsed().as_secs_f64());
    Ok(())
}

/// Measures gradients of networks that have learned nothing yet, and prints them.
fn vanish(dev: &Device, lengths: &[usize], sizes: Sizes) -> Result<Vec<Curve>, Box<dyn Error>> {
    println!(
        "norm of the loss's gradient dL/dh at the last and at the first step, before training ({} units):",
        sizes.hidden
    );
    println!("  steps  network                last     first      first / last  per step");
    let mut curves = Vec::new();
    for &length in lengths {
        for (kind, start) in experiments::networks(length) {
            let curve = experiments::at_first(dev, kind, start, length, sizes)?;
            println!("  {length:>5}  {:<21}  {}", name(kind, start), row(&curve));
            curves.push(curve);
        }
    }
    Ok(curves)
}

/// A line of a table: both norms, their ratio, and the factor of a step.
fn row(curve: &Curve) -> String {
    let (first, last) = curve.flow.ends();
    // Where it is too small for an f32, it is not 0 either.
    let (below, first) = if first < SMALLEST { ("< ", SMALLEST) } else { ("", first) };
    let shown = |v: f64| format!("{below}{v:.1e}");
    format!("{last:<7.1e}  {:<9}  {:<12}  {:.3}", shown(first), shown(first / last), curve.flow.per_step())
}

/// Trains on the adding problem, and prints what came of it.
fn learn(dev: &Device, length: usize, steps: usize, sizes: Sizes) -> Result<Vec<Course>, Box<dyn Error>> {
    println!(
        "the adding problem of {length} steps, {steps} updates by {} sequences (always answering 1: {BASELINE:.4}), and gradients after it:",
        sizes.batch
    );
    println!("  network                loss     below {SOLVED} from   seconds   first / last   per step");
    let mut courses = Vec::new();
    for learner in experiments::learners(length) {
        let start = Instant::now();
        let course = experiments::learn(dev, learner, length, steps, sizes)?;
        let (first, last) = course.after.flow.ends();
        let solved = course.run.reaches(SOLVED).map_or("never".into(), |step| format!("step {step}"));
        println!(
            "  {:<21}  {:<7.4}  {solved:<15}   {:<8.1}  {:<12.1e}   {:.3}",
            name(learner.0, learner.1),
            course.run.outcome(steps),
            start.elapsed().as_secs_f64(),
            first / last,
            course.after.flow.per_step()
        );
        courses.push(course);
    }
    Ok(courses)
}

/// Lets gradients grow, trains with and without clipping, and prints what came of it.
fn explode(dev: &Device, length: usize, steps: usize, sizes: Sizes) -> Result<Explosion, Box<dyn Error>> {
    let explosion = Explosion::new(dev, length, steps, sizes)?;
    println!(
        "a ReLU network whose recurrent weights start as a multiple of the identity, through {length} steps:"
    );
    println!("  multiple   first / last   per step");
    for (gain, flow) in &explosion.flows {
        let (first, last) = flow.ends();
        println!("  {gain:<8.1}   {:<12.1e}   {:.3}", first / last, flow.per_step());
    }
    println!(
        "trained from {} times the identity on sequences of {SHORT} steps, {steps} updates of SGD at {SGD_RATE}:",
        explosion.gain
    );
    println!("  clipping   largest gradient   largest loss   loss at the end");
    let clipped = format!("to {SGD_CLIP}");
    for (how, run) in [("none", &explosion.free), (&clipped[..], &explosion.clipped)] {
        let largest = run.losses.iter().copied().fold(0.0, f32::max);
        let end = match run.outcome(steps) {
            loss if loss.is_finite() => format!("{loss:.4}"),
            _ => format!("no number after update {}", run.losses.len()),
        };
        println!("  {how:<8}   {:<16.1e}   {largest:<12.1e}   {end}", run.largest_norm());
    }
    Ok(explosion)
}
