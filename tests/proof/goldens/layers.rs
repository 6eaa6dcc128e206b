//! Golden cases of layers and of networks made of them, through the methods of tensors.

use super::{Computed, Golden, Stage};
use crate::optim_cases;
use recurve::nn::{
    BatchNorm1d, BatchNorm2d, BatchNormConfig, Embedding, GroupNorm, LayerNorm, Mode, NormConfig,
    RunningStats,
};
use recurve::ops::conv2d::{Conv2dConfig, Padding};
use recurve::ops::cross_entropy::{CrossEntropyConfig, Reduction};
use recurve::ops::max_pool2d::MaxPool2dConfig;
use recurve::optim::Rule;
use recurve::testing::variable;
use recurve::{Adam, Init, Optimizer, Params, Result, Sgd, Tensor, Variable};
use std::cell::RefCell;
use std::sync::Arc;

/// `x · weightᵀ + bias` for a weight `[out, in]`.
fn dense(x: &Tensor, weight: &Tensor, bias: Option<&Tensor>) -> Tensor {
    let y = x.matmul(&weight.permute(&[1, 0]));
    bias.map_or(y.clone(), |b| y.add(b))
}

pub fn linear(s: &Stage<'_>) -> Result<Computed> {
    let bias = s.golden.flag("bias").then(|| s.input("bias"));
    let y = dense(&s.input("x"), &s.input("weight"), bias.as_ref());
    s.finish(&[("y", &y)])
}

pub fn softmax(s: &Stage<'_>) -> Result<Computed> {
    let x = s.input("x");
    let dim = s.golden.attrs["dim"].as_i64().unwrap();
    let axis = dim.rem_euclid(x.shape().rank() as i64) as usize;
    let y = match s.golden.op.as_str() {
        "softmax" => x.softmax(axis),
        _ => x.log_softmax(axis),
    };
    s.finish(&[("y", &y)])
}

pub fn cross_entropy(s: &Stage<'_>) -> Result<Computed> {
    let g = s.golden;
    let target = match g.flag("soft_targets") {
        true => s.input("target"),
        false => s.labels("target", g.attrs["ignore_index"].as_i64().unwrap()),
    };
    let weight = g.flag("class_weights").then(|| s.input("class_weight"));
    let config = CrossEntropyConfig {
        weight: weight.as_ref(),
        reduction: match g.attrs["reduction"].as_str().unwrap() {
            "mean" => Reduction::Mean,
            "sum" => Reduction::Sum,
            "none" => Reduction::None,
            other => panic!("reduction {other}"),
        },
        label_smoothing: g.number("label_smoothing"),
    };
    let loss = s.input("x").cross_entropy_with(&target, config);
    s.finish(&[("loss", &loss)])
}

/// A batch normalisation with running statistics that are updated in place.
struct Norm {
    affine: Option<(Tensor, Tensor)>,
    running: Option<[Arc<Variable>; 2]>,
    training: bool,
    /// `None` is the cumulative average.
    momentum: Option<f64>,
    eps: f64,
    seen: RefCell<f64>,
}

impl Norm {
    /// The norm whose tensors' names begin with `prefix`.
    fn new(s: &Stage<'_>, prefix: &str, training: bool, momentum: Option<f64>, eps: f64) -> Result<Norm> {
        let named = |name: &str| format!("{prefix}{name}");
        let affine = s.has(&named("weight")).then(|| (s.input(&named("weight")), s.input(&named("bias"))));
        let state =
            |name: &str| variable(s.device, &s.values(&named(name)), &s.stored(&named(name)).shape[..]);
        let running = match s.has(&named("running_mean")) {
            true => Some([state("running_mean")?, state("running_var")?]),
            false => None,
        };
        Ok(Norm { affine, running, training, momentum, eps, seen: RefCell::new(0.0) })
    }

    fn forward(&self, x: &Tensor) -> Tensor {
        let affine = self.affine.as_ref().map(|(w, b)| (w, b));
        if let (false, Some([mean, var])) = (self.training, &self.running) {
            return x.batch_norm_eval(&mean.tensor(), &var.tensor(), affine, self.eps);
        }
        let (y, mean, var) = x.batch_norm_train(affine, self.eps);
        if let Some([running_mean, running_var]) = &self.running {
            *self.seen.borrow_mut() += 1.0;
            let momentum = self.momentum.unwrap_or(1.0 / *self.seen.borrow());
            let n = x.shape().elements() / x.shape()[1];
            running_mean.tensor().batch_norm_update(&running_var.tensor(), &mean, &var, momentum, n);
        }
        y
    }

    fn statistics(&self, prefix: &str) -> Vec<(String, Tensor)> {
        let names = [format!("{prefix}running_mean_out"), format!("{prefix}running_var_out")];
        names.into_iter().zip(self.running.iter().flatten().map(|v| v.tensor())).collect()
    }
}

/// A batch normalisation as a layer, for any number of axes.
enum BatchNorm {
    Vectors(BatchNorm1d),
    Images(BatchNorm2d),
}

impl BatchNorm {
    fn forward(&self, x: &Tensor, mode: Mode) -> Tensor {
        match self {
            BatchNorm::Vectors(layer) => layer.forward(x, mode),
            BatchNorm::Images(layer) => layer.forward(x, mode),
        }
    }

    fn running(&self) -> Option<&RunningStats> {
        match self {
            BatchNorm::Vectors(layer) => layer.running.as_ref(),
            BatchNorm::Images(layer) => layer.running.as_ref(),
        }
    }
}

pub fn batch_norm(s: &Stage<'_>) -> Result<Computed> {
    let g = s.golden;
    let steps = g.count("steps");
    let x = s.input("x");
    let shape = x.shape();
    let dims = &shape.dims()[usize::from(steps > 1)..];
    let config = BatchNormConfig {
        eps: g.number("eps"),
        momentum: g.attrs["momentum"].as_f64(),
        affine: g.flag("affine"),
        track_running_stats: g.flag("track_running_stats"),
    };
    let params = Params::new(s.device, 0);
    let norm = match g.count("ndim") {
        4 => BatchNorm::Images(BatchNorm2d::new(&params.root(), dims[1], config)),
        _ => BatchNorm::Vectors(BatchNorm1d::new(&params.root(), dims[1], config)),
    };
    s.load(&params)?;
    if let Some(running) = norm.running() {
        running.num_batches_tracked.set(g.number("num_batches_tracked") as u64);
    }
    let mode = if g.flag("training") { Mode::Train } else { Mode::Eval };
    let y = match steps {
        1 => norm.forward(&x, mode),
        steps => {
            let of_step = |step: usize| {
                let ranges: Vec<_> =
                    std::iter::once(step..step + 1).chain(dims.iter().map(|&d| 0..d)).collect();
                norm.forward(&x.slice(&ranges).reshape(dims), mode)
            };
            let ys: Vec<Tensor> = (0..steps).map(of_step).collect();
            Tensor::concat(&ys.iter().collect::<Vec<_>>(), 0).reshape(shape)
        }
    };
    let statistics = norm.running().map(|r| [r.running_mean.tensor(), r.running_var.tensor()]);
    let mut outputs = vec![("y", &y)];
    if let Some([mean, var]) = &statistics {
        outputs.extend([("running_mean_out", mean), ("running_var_out", var)]);
    }
    s.finish(&outputs)
}

/// Layer and group normalisation.
pub fn row_norm(s: &Stage<'_>) -> Result<Computed> {
    let g = s.golden;
    let config = NormConfig { eps: g.number("eps"), affine: g.flag("affine") };
    let params = Params::new(s.device, 0);
    let x = s.input("x");
    let y = match g.op.as_str() {
        "layer_norm" => {
            let axes = g.attrs["normalized_shape"].as_array().unwrap();
            let shape: Vec<usize> = axes.iter().map(|d| d.as_u64().unwrap() as usize).collect();
            let layer = LayerNorm::new(&params.root(), shape, config);
            s.load(&params)?;
            layer.forward(&x)
        }
        _ => {
            let layer = GroupNorm::new(&params.root(), g.count("num_groups"), x.shape()[1], config);
            s.load(&params)?;
            layer.forward(&x)
        }
    };
    s.finish(&[("y", &y)])
}

pub fn embedding(s: &Stage<'_>) -> Result<Computed> {
    let params = Params::new(s.device, 0);
    let &[rows, columns] = &s.stored("weight").shape[..] else { panic!("a table has two axes") };
    let layer = match s.golden.attrs["padding_idx"].as_u64() {
        None => Embedding::new(&params.root(), rows, columns),
        Some(row) => Embedding::with_padding(&params.root(), rows, columns, row as usize),
    };
    s.load(&params)?;
    let y = layer.forward(&s.input("ids"));
    s.finish(&[("y", &y)])
}

/// Norms of a network, in the order of their use, with the prefixes of their names.
struct Norms<'a> {
    stage: &'a Stage<'a>,
    all: RefCell<Vec<(String, Norm)>>,
}

impl Norms<'_> {
    fn apply(&self, x: &Tensor, prefix: &str) -> Result<Tensor> {
        let g: &Golden = self.stage.golden;
        let momentum = Some(g.number("bn_momentum"));
        let norm = Norm::new(self.stage, prefix, g.flag("training"), momentum, g.number("bn_eps"))?;
        let y = norm.forward(x);
        self.all.borrow_mut().push((prefix.into(), norm));
        Ok(y)
    }

    fn convolve(&self, x: &Tensor, name: &str, stride: usize, padding: usize) -> Tensor {
        let config =
            Conv2dConfig { stride: [stride; 2], padding: Padding::from(padding), ..Conv2dConfig::default() };
        x.conv2d(&self.stage.input(&format!("{name}.weight")), None, config)
    }

    /// He et al. 2015 (arXiv 1512.03385), figure 5; the stride of a bottleneck lies on its 3 x 3 convolution, as in
    /// torchvision.
    fn block(&self, x: &Tensor, prefix: &str, kind: &str, stride: usize) -> Result<Tensor> {
        let at = |name: &str| format!("{prefix}{name}");
        let (strides, sizes): (&[usize], &[usize]) = match kind {
            "basic" => (&[stride, 1], &[3, 3]),
            "bottleneck" => (&[1, stride, 1], &[1, 3, 1]),
            other => panic!("a block of kind {other}"),
        };
        let mut y = x.clone();
        for (i, (&stride, &size)) in strides.iter().zip(sizes).enumerate() {
            let y_conv = self.convolve(&y, &at(&format!("conv{}", i + 1)), stride, size / 2);
            y = self.apply(&y_conv, &at(&format!("bn{}.", i + 1)))?;
            if i + 1 < strides.len() {
                y = y.relu();
            }
        }
        let around = match self.stage.has(&at("downsample.0.weight")) {
            true => self.apply(&self.convolve(x, &at("downsample.0"), stride, 0), &at("downsample.1."))?,
            false => x.clone(),
        };
        Ok(y.add(&around).relu())
    }

    fn finish(&self, outputs: &[(&str, &Tensor)]) -> Result<Computed> {
        let all = self.all.borrow();
        let statistics: Vec<(String, Tensor)> = match self.stage.golden.flag("training") {
            true => all.iter().flat_map(|(prefix, norm)| norm.statistics(prefix)).collect(),
            false => Vec::new(),
        };
        let mut named: Vec<(&str, &Tensor)> = statistics.iter().map(|(n, t)| (n.as_str(), t)).collect();
        named.extend_from_slice(outputs);
        self.stage.finish(&named)
    }
}

pub fn residual_block(s: &Stage<'_>) -> Result<Computed> {
    let norms = Norms { stage: s, all: RefCell::default() };
    let kind = s.golden.attrs["kind"].as_str().unwrap();
    let y = norms.block(&s.input("x"), "", kind, s.golden.count("stride"))?;
    norms.finish(&[("y", &y)])
}

pub fn resnet(s: &Stage<'_>) -> Result<Computed> {
    let g = s.golden;
    let norms = Norms { stage: s, all: RefCell::default() };
    let stem = &g.attrs["stem"];
    let count = |name: &str| stem[name].as_u64().unwrap() as usize;
    let mut x = norms.convolve(&s.input("x"), "conv1", count("stride"), count("padding"));
    x = norms.apply(&x, "bn1.")?.relu();
    if stem["maxpool"].as_bool().unwrap() {
        let config = MaxPool2dConfig { stride: Some([2, 2]), padding: [1, 1], ..Default::default() };
        x = x.max_pool2d_with([3, 3], config);
    }
    let kind = g.attrs["kind"].as_str().unwrap();
    for (layer, blocks) in g.attrs["layers"].as_array().unwrap().iter().enumerate() {
        for block in 0..blocks.as_u64().unwrap() {
            let stride = if layer > 0 && block == 0 { 2 } else { 1 };
            x = norms.block(&x, &format!("layer{}.{block}.", layer + 1), kind, stride)?;
        }
    }
    let logits = dense(&x.mean(&[2, 3]), &s.input("fc.weight"), Some(&s.input("fc.bias")));
    let loss = logits.cross_entropy(&s.labels("target", -100));
    norms.finish(&[("logits", &logits), ("loss", &loss)])
}

/// Convolution, norm, relu and pooling twice, then a dense layer; losses of each step, and what training leaves.
pub fn train_cnn(s: &Stage<'_>) -> Result<Computed> {
    let g = s.golden;
    let hyper = &g.attrs["hyper"];
    let params = Params::new(s.device, 0);
    let names: Vec<String> =
        g.attrs["params"].as_array().unwrap().iter().map(|n| n.as_str().unwrap().to_string()).collect();
    for name in &names {
        params.root().param(name, &s.stored(name).shape[..], Init::Values(s.values(name)));
    }
    let value = |name: &str| params.get(name).expect("a parameter of the case").tensor();
    let state = |name: &str| variable(s.device, &s.values(name), &s.stored(name).shape[..]);
    let mut norms = Vec::new();
    for prefix in ["bn1", "bn2"] {
        let running = [state(&format!("{prefix}.running_mean"))?, state(&format!("{prefix}.running_var"))?];
        norms.push((prefix, running));
    }
    let (x, target) = (s.input("x"), s.input("target"));
    let loss = || {
        let mut y = x.clone();
        for (i, (prefix, running)) in norms.iter().enumerate() {
            let config = Conv2dConfig { padding: Padding::from(1), ..Conv2dConfig::default() };
            let affine = (value(&format!("{prefix}.weight")), value(&format!("{prefix}.bias")));
            let norm = Norm {
                affine: Some(affine),
                running: Some(running.clone()),
                training: true,
                momentum: Some(0.1),
                eps: 1e-5,
                seen: RefCell::new(0.0),
            };
            y = norm
                .forward(&y.conv2d(&value(&format!("conv{}.weight", i + 1)), None, config))
                .relu()
                .max_pool2d(2);
        }
        let flat = y.reshape([y.shape()[0], y.shape().span(1, 4)]);
        dense(&flat, &value("fc.weight"), Some(&value("fc.bias"))).cross_entropy(&target)
    };
    let steps = g.count("steps");
    let losses = match g.attrs["optimizer"].as_str().unwrap() {
        "sgd" => train(steps, loss, Sgd::new(&params, optim_cases::sgd(hyper)))?,
        "adam" => train(steps, loss, Adam::new(&params, optim_cases::adam(hyper)))?,
        other => panic!("optimiser {other}"),
    };
    let mut computed: Computed = vec![("losses".into(), losses)];
    for name in &names {
        computed.push((format!("final.{name}"), value(name).to_vec_f64()?));
    }
    for (prefix, [mean, var]) in &norms {
        computed.push((format!("final.{prefix}.running_mean"), mean.tensor().to_vec_f64()?));
        computed.push((format!("final.{prefix}.running_var"), var.tensor().to_vec_f64()?));
    }
    Ok(computed)
}

fn train<R: Rule>(steps: usize, loss: impl Fn() -> Tensor, mut optimizer: Optimizer<R>) -> Result<Vec<f64>> {
    let mut losses = Vec::new();
    for _ in 0..steps {
        let loss = loss();
        optimizer.step(&loss.backward())?;
        losses.push(loss.to_vec_f64()?[0]);
    }
    Ok(losses)
}
