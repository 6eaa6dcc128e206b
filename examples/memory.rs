//! What training a residual network takes in memory, known before anything runs: the planner of a device plans the very
//! program that the device would run, and creates nothing.
//!
//! `cargo run --example memory` prints a table for ResNet-18, -50 and -152. With `--run`, what stands in its last line makes
//! a step, and what was created for it is compared with the plan.

#[path = "memory/plan.rs"]
mod plan;
mod support;

use clap::Parser;
use plan::{Network, Step};
use recurve::memory::{Bytes, Use};
use std::error::Error;
use std::process::ExitCode;
use support::command;

/// Prints what training residual networks takes in memory, with and without computing blocks again for gradients.
#[derive(Parser)]
struct Options {
    /// best, gpu, software, cpu, or part of an adapter's name.
    #[arg(long, default_value = "best")]
    device: String,
    /// Networks: 18, 34, 50, 101 or 152.
    #[arg(long, value_delimiter = ',', default_values_t = [Network(18), Network(50), Network(152)])]
    networks: Vec<Network>,
    /// Pictures of a batch.
    #[arg(long, default_value_t = 2, value_parser = clap::value_parser!(u16).range(1..))]
    batch: u16,
    /// Height and width of a picture.
    #[arg(long, default_value_t = 224, value_parser = clap::value_parser!(u16).range(32..=4096))]
    size: u16,
    /// Blocks that are computed again together for gradients instead of being kept; 0 keeps all.
    #[arg(long, value_delimiter = ',', default_values_t = [0, 1, 3])]
    together: Vec<usize>,
    /// Makes so many steps of the last line of the table, and compares.
    #[arg(long, default_value_t = 0, default_missing_value = "1", num_args = 0..=1, value_name = "STEPS")]
    run: usize,
    /// Prints the whole account of each plan.
    #[arg(long)]
    parts: bool,
}

fn main() -> ExitCode {
    command::status(run(&Options::parse()))
}

fn run(options: &Options) -> Result<(), Box<dyn Error>> {
    let dev = command::open(&options.device)?;
    let (batch, size) = (usize::from(options.batch), usize::from(options.size));
    println!("planned for {}: SGD with momentum, {batch} × 3 × {size} × {size}", dev.planner().name());
    println!(
        "network     computed again  arenas       slots        textures     together     all kept     planned in"
    );
    for &network in &options.networks {
        for &together in &options.together {
            let step = Step { network, together, batch, size };
            let start = std::time::Instant::now();
            let memory = step.make(&dev.planner())?;
            let time = start.elapsed().as_secs_f64();
            let [arenas, slots, textures] =
                [Use::Arena, Use::Slots, Use::Textures].map(|used_for| Bytes(memory.bytes_for(used_for)));
            let (all, kept) = (Bytes(memory.most), Bytes(memory.if_all_were_kept()));
            let name = network.to_string();
            let again = match together {
                0 => String::from("nothing"),
                1 => "blocks".into(),
                n => format!("{n} blocks"),
            };
            println!(
                "{name:<11} {again:<15} {arenas:<12} {slots:<12} {textures:<12} {all:<12} {kept:<12} {time:.1} s"
            );
            if options.parts {
                print!("{memory}");
            }
        }
    }
    match (options.networks.last(), options.together.last()) {
        (Some(&network), Some(&together)) if options.run > 0 => {
            plan::compare(&dev, Step { network, together, batch, size }, options.run)
        }
        _ => Ok(()),
    }
}
