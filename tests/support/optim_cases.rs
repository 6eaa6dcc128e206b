//! Golden cases of optimisers and of gradient clipping: what a case describes, computed on a device.

use recurve::optim::clip_grad_norm;
use recurve::{
    Adam, AdamConfig, AdamW, AdamWConfig, Clip, Device, Init, Optimizer, Param, Params, RmsProp, RmsPropConfig, Sgd,
    SgdConfig, Tensor,
};
use safetensors::SafeTensors;
use serde_json::Value;

/// Outputs of a case, by the names in its file.
pub type Outputs = Vec<(String, Vec<f32>)>;

fn number(hyper: &Value, name: &str, default: f64) -> f64 {
    hyper.get(name).map_or(default, |v| v.as_f64().unwrap_or_else(|| panic!("{name} is not a number: {v}")))
}

fn flag(hyper: &Value, name: &str) -> bool {
    hyper.get(name).is_some_and(|v| v.as_bool().unwrap())
}

fn betas(hyper: &Value) -> (f64, f64) {
    hyper.get("betas").map_or((0.9, 0.999), |b| (b[0].as_f64().unwrap(), b[1].as_f64().unwrap()))
}

fn values(file: &SafeTensors<'_>, name: &str) -> (Vec<usize>, Vec<f32>) {
    let tensor = file.tensor(name).unwrap_or_else(|e| panic!("{name}: {e}"));
    (tensor.shape().to_vec(), bytemuck::pod_collect_to_vec(tensor.data()))
}

pub fn sgd(hyper: &Value) -> SgdConfig {
    let default = SgdConfig::default();
    SgdConfig {
        lr: number(hyper, "lr", default.lr),
        momentum: number(hyper, "momentum", 0.0),
        dampening: number(hyper, "dampening", 0.0),
        weight_decay: number(hyper, "weight_decay", 0.0),
        nesterov: flag(hyper, "nesterov"),
    }
}

pub fn adam(hyper: &Value) -> AdamConfig {
    AdamConfig {
        lr: number(hyper, "lr", 1e-3),
        betas: betas(hyper),
        eps: number(hyper, "eps", 1e-8),
        weight_decay: number(hyper, "weight_decay", 0.0),
        amsgrad: flag(hyper, "amsgrad"),
    }
}

pub fn adamw(hyper: &Value) -> AdamWConfig {
    AdamWConfig {
        lr: number(hyper, "lr", 1e-3),
        betas: betas(hyper),
        eps: number(hyper, "eps", 1e-8),
        weight_decay: number(hyper, "weight_decay", 1e-2),
        amsgrad: flag(hyper, "amsgrad"),
    }
}

pub fn rmsprop(hyper: &Value) -> RmsPropConfig {
    RmsPropConfig {
        lr: number(hyper, "lr", 1e-2),
        alpha: number(hyper, "alpha", 0.99),
        eps: number(hyper, "eps", 1e-8),
        weight_decay: number(hyper, "weight_decay", 0.0),
        momentum: number(hyper, "momentum", 0.0),
        centered: flag(hyper, "centered"),
    }
}

/// The values of each parameter after every step.
pub fn optimizer(dev: &Device, attrs: &Value, file: &SafeTensors<'_>) -> Outputs {
    let params = Params::new(dev, 0);
    let count = attrs["num_params"].as_u64().unwrap();
    let register = |i| {
        let (shape, values) = values(file, &format!("p{i}"));
        params.root().param(&format!("p{i}"), shape, Init::Values(values))
    };
    let all: Vec<Param> = (0..count).map(register).collect();
    let gradients: Vec<_> = (0..count).map(|i| values(file, &format!("g{i}"))).collect();
    let hyper = &attrs["hyper"];
    let steps = attrs["steps"].as_u64().unwrap() as usize;
    match attrs["kind"].as_str().unwrap() {
        "sgd" => trajectory(dev, &all, &gradients, steps, Sgd::new(&params, sgd(hyper))),
        "adam" => trajectory(dev, &all, &gradients, steps, Adam::new(&params, adam(hyper))),
        "adamw" => trajectory(dev, &all, &gradients, steps, AdamW::new(&params, adamw(hyper))),
        "rmsprop" => trajectory(dev, &all, &gradients, steps, RmsProp::new(&params, rmsprop(hyper))),
        other => panic!("a golden case of an unknown optimiser: {other}"),
    }
}

fn trajectory<R: recurve::optim::Rule>(
    dev: &Device,
    params: &[Param],
    gradients: &[(Vec<usize>, Vec<f32>)],
    steps: usize,
    mut optimizer: Optimizer<R>,
) -> Outputs {
    let mut outputs: Outputs = (0..params.len()).map(|i| (format!("traj{i}"), Vec::new())).collect();
    for step in 0..steps {
        let gradient = |param: &Param| {
            let i = params.iter().position(|p| p.name() == param.name())?;
            let n = param.shape().elements();
            Some(dev.tensor(&gradients[i].1[step * n..][..n], param.shape()))
        };
        optimizer.step_with(gradient).unwrap();
        for (param, (_, values)) in params.iter().zip(&mut outputs) {
            values.extend(param.tensor().to_vec().unwrap());
        }
    }
    outputs
}

/// The clipped gradients, and their norm before. They are clipped twice: as values, and by an optimiser that subtracts
/// them from zeros.
pub fn clip_grad(dev: &Device, attrs: &Value, file: &SafeTensors<'_>) -> Outputs {
    let count = attrs["num_params"].as_u64().unwrap();
    let params = Params::new(dev, 0);
    let gradients: Vec<Tensor> = (0..count)
        .map(|i| {
            let (shape, values) = values(file, &format!("g{i}"));
            params.root().param(&format!("p{i}"), shape.clone(), Init::Zeros);
            dev.tensor(values, shape)
        })
        .collect();
    let norm_type = attrs["norm_type"].as_f64().unwrap_or(f64::INFINITY);
    let clip = match attrs["mode"].as_str().unwrap() {
        "norm" => Clip::Norm { max_norm: attrs["max_norm"].as_f64().unwrap(), norm_type },
        "value" => Clip::Value { bound: attrs["clip_value"].as_f64().unwrap() },
        other => panic!("a golden case of an unknown way to clip: {other}"),
    };
    let mut optimizer = Sgd::new(&params, SgdConfig { lr: 1.0, ..Default::default() });
    optimizer.set_clip(Some(clip));
    let of = |param: &Param| Some(gradients[param.name()[1..].parse::<usize>().unwrap()].clone());
    optimizer.step_with(of).unwrap();
    let mut outputs = Outputs::new();
    for (i, param) in params.named().iter().enumerate() {
        let values = param.tensor().to_vec().unwrap().into_iter().map(|v| -v).collect();
        outputs.push((format!("clipped{i}"), values));
    }
    if let Some(norm) = optimizer.grad_norm() {
        outputs.push(("total_norm".into(), norm.to_vec().unwrap()));
    }
    if let Clip::Norm { max_norm, norm_type } = clip {
        let (clipped, norm) = clip_grad_norm(&gradients, max_norm, norm_type);
        for (i, tensor) in clipped.iter().enumerate() {
            outputs.push((format!("clipped{i}"), tensor.to_vec().unwrap()));
        }
        outputs.push(("total_norm".into(), norm.to_vec().unwrap()));
    }
    outputs
}
