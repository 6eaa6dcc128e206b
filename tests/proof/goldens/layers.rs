//! Golden cases of layers and of networks made of them, through the methods of tensors.

use super::{Computed, Stage};
use crate::optim_cases;
use recurve::nn::{
    BatchNorm1d, BatchNorm2d, BatchNormConfig, Conv2d, Embedding, GroupNorm, LayerNorm, Linear, Mode,
    NormConfig, RunningStats,
};
use recurve::ops::conv2d::{Conv2dConfig, Padding};
use recurve::ops::cross_entropy::{CrossEntropyConfig, Reduction};
use recurve::optim::Rule;
use recurve::{Adam, Optimizer, Params, Result, Sgd, Tensor};

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

/// Convolution, norm, relu and pooling twice, then a dense layer; losses of each step, and what training leaves.
pub fn train_cnn(s: &Stage<'_>) -> Result<Computed> {
    let g = s.golden;
    let hyper = &g.attrs["hyper"];
    let params = Params::new(s.device, 0);
    let [c1, c2] = [1, 2].map(|i| s.stored(&format!("conv{i}.weight")).shape.clone());
    let padded = Conv2dConfig { padding: Padding::from(1), ..Conv2dConfig::default() };
    let layers: Vec<(Conv2d, BatchNorm2d)> = [("conv1", "bn1", c1), ("conv2", "bn2", c2)]
        .map(|(conv, norm, shape)| {
            let conv = Conv2d::without_bias(&params.at(conv), shape[1], shape[0], 3, padded);
            (conv, BatchNorm2d::new(&params.at(norm), shape[0], BatchNormConfig::default()))
        })
        .into();
    let fc = &s.stored("fc.weight").shape;
    let fc = Linear::new(&params.at("fc"), fc[1], fc[0]);
    s.load(&params)?;
    let (x, target) = (s.input("x"), s.input("target"));
    let loss = || {
        let block = |y: Tensor, (conv, norm): &(Conv2d, BatchNorm2d)| {
            norm.forward(&conv.forward(&y), Mode::Train).relu().max_pool2d(2)
        };
        fc.forward(&layers.iter().fold(x.clone(), block).flatten(1)).cross_entropy(&target)
    };
    let steps = g.count("steps");
    let losses = match g.attrs["optimizer"].as_str().unwrap() {
        "sgd" => train(steps, loss, Sgd::new(&params, optim_cases::sgd(hyper)))?,
        "adam" => train(steps, loss, Adam::new(&params, optim_cases::adam(hyper)))?,
        other => panic!("optimiser {other}"),
    };
    let mut computed: Computed = vec![("losses".into(), losses)];
    for param in params.named() {
        computed.push((format!("final.{}", param.name()), param.tensor().to_vec_f64()?));
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
