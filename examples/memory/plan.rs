//! One step of training a residual network, planned and really made.

use recurve::memory::{Bytes, Memory};
use recurve::models::resnet::{ResNet, ResNetConfig};
use recurve::nn::Mode;
use recurve::{Device, Params, Sgd, SgdConfig};
use std::error::Error;
use std::fmt;
use std::str::FromStr;

/// A network by its depth.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Network(pub usize);

impl FromStr for Network {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let depth = text.trim().parse().ok().filter(|depth| [18, 34, 50, 101, 152].contains(depth));
        depth.map(Network).ok_or_else(|| "one of 18, 34, 50, 101, 152 is needed".into())
    }
}

impl fmt::Display for Network {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.0)
    }
}

impl Network {
    fn config(self) -> ResNetConfig {
        match self.0 {
            18 => ResNetConfig::resnet18(),
            34 => ResNetConfig::resnet34(),
            50 => ResNetConfig::resnet50(),
            101 => ResNetConfig::resnet101(),
            _ => ResNetConfig::resnet152(),
        }
    }
}

/// A step of training.
#[derive(Clone, Copy)]
pub struct Step {
    pub network: Network,
    pub recompute: bool,
    pub batch: usize,
    pub size: usize,
}

impl Step {
    /// Makes the step on `dev`, a planner or not, and returns the memory that it took.
    pub fn make(self, dev: &Device) -> Result<Memory, recurve::Error> {
        let params = Params::new(dev, 0);
        let config = ResNetConfig { recompute: self.recompute, ..self.network.config() };
        let classes = config.classes as i64;
        let net = ResNet::new(&params.root(), config);
        let mut opt = Sgd::new(&params, SgdConfig { momentum: 0.9, ..Default::default() });
        let pictures: Vec<f32> =
            (0..self.batch * 3 * self.size * self.size).map(|i| (i % 251) as f32 / 125.0 - 1.0).collect();
        let x = dev.tensor(pictures, [self.batch, 3, self.size, self.size]);
        let labels: Vec<i64> = (0..self.batch as i64).map(|i| i % classes).collect();
        let loss = net.forward(&x, Mode::Train).cross_entropy(&dev.labels(labels));
        opt.step(&loss.backward())?;
        dev.wait()?;
        let memory = dev.memory();
        if !dev.only_plans() {
            println!("loss: {:.4}", loss.item()?);
        }
        Ok(memory)
    }
}

/// Makes the step, and compares what was created for it with what was planned.
pub fn compare(dev: &Device, step: Step) -> Result<(), Box<dyn Error>> {
    if dev.is_reference() {
        return Err("the CPU reference creates nothing that could be compared".into());
    }
    let (planned, all_kept) = {
        let planned = step.make(&dev.planner())?;
        let plain = Step { recompute: false, ..step }.make(&dev.planner())?;
        (planned, plain.if_all_were_kept())
    };
    let start = std::time::Instant::now();
    let created = step.make(dev)?;
    println!("the step took {:.1} s, making its kernels included", start.elapsed().as_secs_f64());
    print!("{created}");
    let share = |bytes: u64, of: u64| 100.0 * bytes as f64 / of as f64;
    let (bytes, most) = (Bytes(planned.most), Bytes(created.most));
    println!("planned {bytes}, created {most}: {:.2} %", share(created.most, planned.most));
    println!(
        "that is {:.0} % of the {} that it takes to keep every value, without recomputation",
        share(created.most, all_kept),
        Bytes(all_kept)
    );
    if let Some(resident) = peak_resident() {
        println!("the process: {} at most", Bytes(resident));
    }
    Ok(())
}

/// The most memory that the process has had, where the system tells.
fn peak_resident() -> Option<u64> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find(|l| l.starts_with("VmHWM:"))?;
    Some(line.split_whitespace().nth(1)?.parse::<u64>().ok()? << 10)
}
