//! Batch normalisation in evaluation is folded into convolutions, and follows the variables that it came from.

mod beside;
#[path = "../support/mod.rs"]
mod support;

use recurve::nn::{BatchNorm2d, Conv2d, Mode};
use recurve::ops::conv2d::Conv2dConfig;
use recurve::{Device, Param, Params, Result, Tensor, no_grad};

/// A convolution, a batch norm with statistics that do something, a ReLU.
struct Net {
    params: Params,
    conv: Conv2d,
    bn: BatchNorm2d,
    x: Tensor,
}

fn values(n: usize, from: f32, step: f32) -> Vec<f32> {
    (0..n).map(|i| from + step * ((i * 7) % 13) as f32).collect()
}

impl Net {
    fn new(dev: &Device, with_bias: bool) -> Result<Net> {
        let params = Params::new(dev, 3);
        let config = Conv2dConfig { padding: 1.into(), ..Default::default() };
        let conv = match with_bias {
            true => Conv2d::new(&params.at("conv"), 3, 8, 3, config),
            false => Conv2d::without_bias(&params.at("conv"), 3, 8, 3, config),
        };
        let bn = BatchNorm2d::new(&params.at("bn"), 8, Default::default());
        let running = bn.running.as_ref().unwrap();
        running.running_mean.set(&values(8, -0.4, 0.1))?;
        running.running_var.set(&values(8, 0.3, 0.2))?;
        let (weight, bias) = bn.affine.as_ref().unwrap();
        weight.set(&values(8, -1.0, 0.3))?;
        bias.set(&values(8, 0.5, -0.2))?;
        let x = dev.tensor(values(2 * 3 * 6 * 7, -1.0, 0.17), [2, 3, 6, 7]);
        Ok(Net { params, conv, bn, x })
    }

    fn forward(&self) -> Tensor {
        no_grad(|| self.bn.forward(&self.conv.forward(&self.x), Mode::Eval).relu())
    }

    /// The same from values that were read, so nothing can be folded.
    fn by_hand(&self) -> Result<Vec<f64>> {
        let running = self.bn.running.as_ref().unwrap();
        let (weight, bias) = self.bn.affine.as_ref().unwrap();
        let of = |p: &Param| p.tensor().to_vec_f64();
        let (mean, var) = (of(&running.running_mean)?, of(&running.running_var)?);
        let (weight, bias) = (of(weight)?, of(bias)?);
        let y = self.conv.forward(&self.x).to_vec_f64()?;
        let normalise = |(i, y): (usize, f64)| {
            let c = i / 42 % 8;
            ((y - mean[c]) / (var[c] + 1e-5).sqrt() * weight[c] + bias[c]).max(0.0)
        };
        Ok(y.into_iter().enumerate().map(normalise).collect())
    }

    fn check(&self) -> Result<()> {
        let (folded, expected) = (self.forward().to_vec_f64()?, self.by_hand()?);
        assert!(expected.iter().any(|&v| v > 0.5), "the case has something to compare");
        for (i, (a, b)) in folded.iter().zip(&expected).enumerate() {
            assert!((a - b).abs() < 2e-5, "element {i}: {a} folded, {b} by hand");
        }
        Ok(())
    }
}

#[test]
fn folded_values_are_those_of_both_layers() -> Result<()> {
    for dev in support::devices() {
        for with_bias in [false, true] {
            let net = Net::new(&dev, with_bias)?;
            net.check()?;
            net.forward().to_vec()?;
            let text = dev.explain();
            assert!(
                text.starts_with("1 steps,"),
                "{}: nothing but a convolution is left:\n{text}",
                dev.name()
            );
        }
    }
    Ok(())
}

#[test]
fn changed_variables_are_seen() -> Result<()> {
    for dev in support::devices() {
        let net = Net::new(&dev, true)?;
        net.check()?;
        for param in net.params.named() {
            let n = param.shape().elements();
            param.set(&values(n, 0.35, 0.07))?;
            net.check()?;
        }
    }
    Ok(())
}

/// Between two evaluations an optimiser's step and statistics of a batch change everything.
#[test]
fn training_is_seen() -> Result<()> {
    for dev in support::devices() {
        let net = Net::new(&dev, false)?;
        let mut opt = recurve::Sgd::new(&net.params, recurve::SgdConfig { lr: 0.05, ..Default::default() });
        for _ in 0..3 {
            net.check()?;
            let y = net.bn.forward(&net.conv.forward(&net.x), Mode::Train).relu();
            opt.step(&y.mul(&y).mean(&[0, 1, 2, 3]).backward())?;
        }
        net.check()?;
    }
    Ok(())
}

/// From the second evaluation on, nothing is folded again and nothing is created.
#[test]
fn the_prelude_runs_once() -> Result<()> {
    for dev in support::devices().into_iter().filter(|d| !d.is_reference()) {
        let net = Net::new(&dev, false)?;
        let first = dev.counters();
        net.forward().to_vec()?;
        net.forward().to_vec()?;
        let warm = dev.counters();
        net.forward().to_vec()?;
        let after = dev.counters();
        assert_eq!(after.objects(), warm.objects(), "{}", dev.name());
        let (again, both) = (after.dispatches - warm.dispatches, warm.dispatches - first.dispatches);
        assert!(2 * again < both, "{}: {again} dispatches, {both} of the first two runs", dev.name());
    }
    Ok(())
}

/// A value that somebody else needs stays what it is, and its gradient too.
#[test]
fn what_others_need_is_not_folded() -> Result<()> {
    for dev in support::devices() {
        let net = Net::new(&dev, false)?;
        let conv = net.conv.forward(&net.x);
        let y = net.bn.forward(&conv, Mode::Eval);
        let gradients = y.mul(&y).sum(&[0, 1, 2, 3]).backward();
        let weight = net.conv.weight.gradient(&gradients).unwrap().to_vec()?;
        assert!(weight.iter().all(|v| v.is_finite()) && weight.iter().any(|v| v.abs() > 1e-3));
        let by_hand = net.by_hand()?;
        let seen = y.relu().to_vec_f64()?;
        assert!(seen.iter().zip(&by_hand).all(|(a, b)| (a - b).abs() < 2e-5));
        let (held, again) = (conv.to_vec()?, net.conv.forward(&net.x).to_vec()?);
        assert!(held == again, "{}: the held convolution is what it is alone", dev.name());
    }
    Ok(())
}
