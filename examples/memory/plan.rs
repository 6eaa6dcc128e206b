//! One step of training a residual network, planned and really made.

use recurve::memory::{Bytes, Memory};
use recurve::models::resnet::{Block, ResNet, ResNetConfig};
use recurve::nn::Mode;
use recurve::{Device, Params, Sgd, SgdConfig, Tensor, recompute};
use std::error::Error;
use std::fmt;
use std::str::FromStr;
use std::time::Instant;

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
    /// How many blocks are computed again together for gradients; 0 keeps all.
    pub together: usize,
    pub batch: usize,
    pub size: usize,
}

impl Step {
    /// Makes the step on `dev`, a planner or not, and returns the memory that is taken.
    pub fn make(self, dev: &Device) -> Result<Memory, recurve::Error> {
        self.train(dev, 1, |_, _| Ok(()))
    }

    /// Makes so many steps on one batch and hands each loss to `after`.
    fn train(
        self,
        dev: &Device,
        steps: usize,
        mut after: impl FnMut(usize, Tensor) -> Result<(), recurve::Error>,
    ) -> Result<Memory, recurve::Error> {
        let Step { batch, size, .. } = self;
        let params = Params::new(dev, 0);
        let net = ResNet::new(&params.root(), self.network.config());
        let mut opt = Sgd::new(&params, SgdConfig { lr: 0.01, momentum: 0.9, ..Default::default() });
        let pictures: Vec<f32> =
            (0..batch * 3 * size * size).map(|i| (i % 251) as f32 / 125.0 - 1.0).collect();
        let x = dev.tensor(pictures, [batch, 3, size, size]);
        let labels = dev.labels((0..batch as i64).collect::<Vec<_>>());
        for step in 0..steps {
            let loss = forward(&net, &x, self.together).cross_entropy(&labels);
            opt.step(&loss.backward())?;
            after(step, loss)?;
        }
        dev.wait()?;
        Ok(dev.memory())
    }
}

/// The logits, without keeping what is inside of the beginning and of so many blocks at a time; when these are computed
/// again, what is inside of each is not kept either, until its gradients are taken.
fn forward(net: &ResNet, x: &Tensor, together: usize) -> Tensor {
    if together == 0 {
        return net.forward(x, Mode::Train);
    }
    let mut y = recompute(|| net.stem(x, Mode::Train));
    for blocks in net.stages.iter().flat_map(|stage| stage.chunks(together)) {
        let block = |y: Tensor, block: &Block| match together {
            1 => block.forward(&y, Mode::Train),
            _ => recompute(|| block.forward(&y, Mode::Train)),
        };
        y = recompute(|| blocks.iter().fold(y.clone(), block));
    }
    net.fc.forward(&y.mean(&[2, 3]))
}

/// Makes some steps, and compares what was created for them with what was planned for one.
pub fn compare(dev: &Device, step: Step, steps: usize) -> Result<(), Box<dyn Error>> {
    if dev.is_reference() {
        return Err("the CPU reference creates nothing that could be compared".into());
    }
    let planned = step.make(&dev.planner())?;
    let plain = Step { together: 0, ..step }.make(&dev.planner())?;
    let mut start = Instant::now();
    let created = step.train(dev, steps, |step, loss| {
        let (loss, took) = (loss.item()?, start.elapsed().as_secs_f64());
        let kernels = if step == 0 { ", making the kernels included" } else { "" };
        println!("step {}: loss {loss:.4}, {took:.1} s{kernels}", step + 1);
        start = Instant::now();
        Ok(())
    })?;
    print!("{created}");
    let percent = |bytes: u64, of: u64| 100.0 * bytes as f64 / of as f64;
    let share = percent(created.most, planned.most);
    println!("planned {}, created {}: {share:.2} %", Bytes(planned.most), Bytes(created.most));
    if (share - 100.0).abs() > 5.0 {
        return Err("what was created is more than 5 % off what was planned".into());
    }
    let kept = plain.if_all_were_kept();
    let share = percent(created.most, kept);
    println!("that is {share:.0} % of the {} that keeping every value would take", Bytes(kept));
    if let Some(resident) = peak_resident() {
        println!("the process took {} at most", Bytes(resident));
    }
    Ok(())
}

/// The most memory that the process has had, where the system tells.
fn peak_resident() -> Option<u64> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find(|l| l.starts_with("VmHWM:"))?;
    Some(line.split_whitespace().nth(1)?.parse::<u64>().ok()? << 10)
}
