//! Golden cases of residual blocks and networks, through the blocks and networks themselves: parameters by their names.

use super::{Computed, Golden, Stage};
use recurve::models::resnet::{BlockKind, ResNet, ResNetConfig, Stem};
use recurve::nn::{BasicBlock, BatchNormConfig, BlockConfig, Bottleneck, Mode};
use recurve::{Params, Result, Tensor};

fn norm(g: &Golden) -> BatchNormConfig {
    BatchNormConfig {
        eps: g.number("bn_eps"),
        momentum: Some(g.number("bn_momentum")),
        ..BatchNormConfig::default()
    }
}

fn mode(g: &Golden) -> Mode {
    if g.flag("training") { Mode::Train } else { Mode::Eval }
}

fn kind(g: &Golden) -> BlockKind {
    match g.attrs["kind"].as_str().unwrap() {
        "basic" => BlockKind::Basic,
        "bottleneck" => BlockKind::Bottleneck,
        other => panic!("a block of kind {other}"),
    }
}

/// Loads everything, and refuses a case with parameters or statistics that the network does not have.
fn load(s: &Stage<'_>, params: &Params) -> Result<()> {
    for (name, about) in s.golden.entry["tensors"].as_object().unwrap() {
        let parameter =
            about["role"] == "param" || name.ends_with("running_mean") || name.ends_with("running_var");
        assert!(!parameter || params.get(name).is_some(), "{}: {name} is not registered", s.golden.name);
    }
    s.load(params)
}

/// Outputs, and the running statistics after training.
fn finish(s: &Stage<'_>, params: &Params, outputs: &[(&str, &Tensor)]) -> Result<Computed> {
    let statistics = params.named().into_iter().filter(|p| !p.trainable() && s.golden.flag("training"));
    let statistics: Vec<(String, Tensor)> =
        statistics.map(|p| (format!("{}_out", p.name()), p.tensor())).collect();
    let statistics = statistics.iter().map(|(name, tensor)| (name.as_str(), tensor));
    s.finish(&outputs.iter().copied().chain(statistics).collect::<Vec<_>>())
}

pub fn block(s: &Stage<'_>) -> Result<Computed> {
    let g = s.golden;
    let config = BlockConfig {
        in_channels: g.count("in_channels"),
        channels: g.count("mid_channels"),
        stride: g.count("stride"),
        norm: norm(g),
        ..BlockConfig::default()
    };
    let params = Params::new(s.device, 0);
    let y = match kind(g) {
        BlockKind::Basic => {
            let block = BasicBlock::new(&params.root(), config);
            load(s, &params)?;
            block.forward(&s.input("x"), mode(g))
        }
        BlockKind::Bottleneck => {
            let block = Bottleneck::new(&params.root(), config);
            load(s, &params)?;
            block.forward(&s.input("x"), mode(g))
        }
    };
    finish(s, &params, &[("y", &y)])
}

pub fn network(s: &Stage<'_>) -> Result<Computed> {
    let g = s.golden;
    let counts = |name: &str| -> Vec<usize> {
        g.attrs[name].as_array().unwrap().iter().map(|n| n.as_u64().unwrap() as usize).collect()
    };
    let stem = &g.attrs["stem"];
    let about_stem = ["kernel", "stride", "padding"].map(|name| stem[name].as_u64().unwrap());
    let config = ResNetConfig {
        block: kind(g),
        layers: counts("layers"),
        stage_channels: Some(counts("widths")),
        stem_channels: counts("widths")[0],
        stem: match (about_stem, stem["maxpool"].as_bool().unwrap()) {
            ([3, 1, 1], false) => Stem::Cifar,
            ([7, 2, 3], true) => Stem::ImageNet,
            other => panic!("{}: a stem of {other:?}", g.name),
        },
        classes: s.stored("fc.bias").shape[0],
        in_channels: s.stored("x").shape[1],
        norm: norm(g),
        ..ResNetConfig::resnet18()
    };
    let params = Params::new(s.device, 0);
    let net = ResNet::new(&params.root(), config);
    load(s, &params)?;
    let logits = net.forward(&s.input("x"), mode(g));
    let loss = logits.cross_entropy(&s.labels("target", -100));
    finish(s, &params, &[("logits", &logits), ("loss", &loss)])
}
