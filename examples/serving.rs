//! A network in use: requests from several threads, batches, a stream, new weights under way.
//!
//! `cargo run --example serving` makes a predictor of a small network and measures how many predictions it gives.

mod support;

use clap::Parser;
use recurve::nn::{BatchNorm2d, Conv2d, Linear, Mode};
use recurve::ops::conv2d::Conv2dConfig;
use recurve::params::Match;
use recurve::{Device, Params, Predictor, Result, Scope, Tensor};
use std::error::Error;
use std::process::ExitCode;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};
use support::command;

/// Values of a picture.
const PICTURE: usize = 28 * 28;
/// The most probable classes that a request gets.
const BEST: usize = 3;

/// Measures a predictor.
#[derive(Parser)]
struct Options {
    /// best, gpu, software, cpu, or part of an adapter's name.
    #[arg(long, default_value = "best")]
    device: String,
    /// Seconds of each measurement.
    #[arg(long, default_value_t = 2.0, value_parser = command::positive)]
    seconds: f64,
}

/// Two convolutions, each with batch normalisation, and a dense layer.
struct Net {
    convs: Vec<(Conv2d, BatchNorm2d)>,
    fc: Linear,
}

impl Net {
    fn new(root: &Scope) -> Net {
        let config = Conv2dConfig { padding: 1.into(), ..Default::default() };
        let conv = |i: usize, from: usize, to: usize| {
            let at = root.at(&format!("conv{i}"));
            (Conv2d::new(&at, from, to, 3, config), BatchNorm2d::new(&at.at("bn"), to, Default::default()))
        };
        Net { convs: vec![conv(1, 1, 8), conv(2, 8, 16)], fc: Linear::new(&root.at("fc"), 16 * 49, 10) }
    }

    fn forward(&self, x: &Tensor) -> Tensor {
        let block = |h: Tensor, (conv, bn): &(Conv2d, BatchNorm2d)| {
            bn.forward(&conv.forward(&h), Mode::Eval).relu().max_pool2d(2)
        };
        self.fc.forward(&self.convs.iter().fold(x.clone(), block).flatten(1)).softmax(1)
    }

    /// The probabilities of the best classes, and which these are.
    fn predictor(&self, dev: &Device, batch: usize) -> Result<Predictor<(Tensor, Tensor)>> {
        Predictor::new(dev, [batch, 1, 28, 28], |x| self.forward(x).topk(BEST, 1))
    }
}

fn main() -> ExitCode {
    command::status(run(&Options::parse()))
}

fn run(options: &Options) -> Result<(), Box<dyn Error>> {
    let dev = command::open(&options.device)?;
    println!("device: {}", dev.name());
    let (params, time) = (Params::new(&dev, 0), Duration::from_secs_f64(options.seconds));
    let net = Net::new(&params.root());
    let start = Instant::now();
    let (one, many) = (net.predictor(&dev, 1)?, net.predictor(&dev, 32)?);
    println!("two predictors, for 1 picture and for 32, were made in {:.2} s", start.elapsed().as_secs_f64());
    let before = dev.counters();
    let picture: Vec<f32> = (0..PICTURE).map(|i| (i % 28) as f32 / 28.0).collect();
    let (probabilities, classes) = one.predict(&picture)?;
    println!("a picture's {BEST} best classes: {classes:?} with {probabilities:.3?}");
    for threads in [1, 2, 4] {
        let each = per_second(time, threads, || one.predict(&picture).map(|_| 1))?;
        println!("{each:8.0} pictures per second, one per request, from {threads} threads");
    }
    let each = streamed(time, 1, || one.stream(std::iter::repeat(&picture)))?;
    println!("{each:8.0} pictures per second, one by one in a stream");
    let batch = picture.repeat(32);
    let each = per_second(time, 1, || many.predict(&batch).map(|_| 32))?;
    println!("{each:8.0} pictures per second, 32 per request");
    let each = streamed(time, 32, || many.stream(std::iter::repeat(&batch)))?;
    println!("{each:8.0} pictures per second, 32 at once in a stream");
    let objects = dev.counters().objects() - before.objects();
    // Weights of another network: the same predictor, the same program.
    let other = Params::new(&dev, 1);
    drop(Net::new(&other.root()));
    let bytes = pollster::block_on(other.to_bytes())?;
    params.load_bytes(&bytes, Match::Strict)?;
    let (probabilities, classes) = one.predict(&picture)?;
    println!("with other weights: {classes:?} with {probabilities:.3?}");
    let plans = dev.counters().plans - before.plans;
    println!(
        "meanwhile {plans} programs were planned, and {objects} objects created on the device for predictions"
    );
    Ok(())
}

/// How much per second several threads get done by `call`, which says how much it did.
fn per_second(time: Duration, threads: usize, call: impl Fn() -> Result<usize> + Sync) -> Result<f64> {
    let (start, done) = (Instant::now(), AtomicUsize::new(0));
    let work = || -> Result<()> {
        while start.elapsed() < time {
            done.fetch_add(call()?, Ordering::Relaxed);
        }
        Ok(())
    };
    std::thread::scope(|scope| {
        let all: Vec<_> = (0..threads).map(|_| scope.spawn(work)).collect();
        all.into_iter().try_for_each(|thread| thread.join().expect("no panic"))
    })?;
    Ok(done.into_inner() as f64 / start.elapsed().as_secs_f64())
}

/// How much per second a stream gives, `each` at once.
fn streamed<T>(time: Duration, each: usize, stream: impl FnOnce() -> T) -> Result<f64>
where
    T: Iterator<Item = Result<(Vec<f32>, Vec<f32>)>>,
{
    let (start, mut done) = (Instant::now(), 0);
    for result in stream().take_while(|_| start.elapsed() < time) {
        result?;
        done += each;
    }
    Ok(done as f64 / start.elapsed().as_secs_f64())
}
