//! What the networks register is what torchvision's have: every name, kind and shape, in the same order.
//!
//! `torchvision.txt.gz` lists the entries of `state_dict()` of each model of torchvision 0.28.0, one a line: kind, name,
//! shape. `export.py` made it.

use recurve::models::{AlexNet, AlexNetConfig, ResNet, ResNetConfig, Vgg, VggConfig};
use recurve::{Device, Params};
use std::io::Read;

fn listed() -> String {
    let packed =
        std::fs::read(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/models/torchvision.txt.gz")).unwrap();
    let mut text = String::new();
    flate2::read::GzDecoder::new(&packed[..]).read_to_string(&mut text).unwrap();
    text
}

/// Registers the network that torchvision calls `name`. `-256` behind it are the hidden features of its dense layers.
pub fn build(params: &Params, name: &str) -> super::Net {
    let root = params.root();
    let (name, hidden) = name.split_once('-').map_or((name, 4096), |(name, n)| (name, n.parse().unwrap()));
    let resnet = match name {
        "resnet18" => Some(ResNetConfig::resnet18()),
        "resnet34" => Some(ResNetConfig::resnet34()),
        "resnet50" => Some(ResNetConfig::resnet50()),
        "resnet101" => Some(ResNetConfig::resnet101()),
        "resnet152" => Some(ResNetConfig::resnet152()),
        "resnext50_32x4d" => Some(ResNetConfig::resnext50_32x4d()),
        "resnext101_32x8d" => Some(ResNetConfig::resnext101_32x8d()),
        "wide_resnet50_2" => Some(ResNetConfig::wide_resnet50_2()),
        "wide_resnet101_2" => Some(ResNetConfig::wide_resnet101_2()),
        _ => None,
    };
    if let Some(config) = resnet {
        let net = ResNet::new(&root, config);
        return Box::new(move |x, mode| net.forward(x, mode));
    }
    // Dropout has no parameters, and torchvision's random numbers are others.
    if name == "alexnet" {
        let net = AlexNet::new(&root, AlexNetConfig { hidden, dropout: 0.0, ..AlexNetConfig::default() });
        return Box::new(move |x, mode| net.forward(x, mode));
    }
    let (depth, normalised) = match name.strip_suffix("_bn") {
        Some(depth) => (depth, true),
        None => (name, false),
    };
    let config = match depth {
        "vgg11" => VggConfig::vgg11(),
        "vgg13" => VggConfig::vgg13(),
        "vgg16" => VggConfig::vgg16(),
        "vgg19" => VggConfig::vgg19(),
        _ => panic!("no network is called {name}"),
    };
    let config = if normalised { config.with_norms() } else { config };
    let net = Vgg::new(&root, VggConfig { hidden, dropout: 0.0, ..config });
    Box::new(move |x, mode| net.forward(x, mode))
}

#[test]
fn torchvision_has_the_same_names_kinds_and_shapes() {
    let text = listed();
    let mut models = 0;
    for part in text.split("\nmodel ").skip(1) {
        let mut lines = part.lines();
        let (name, count) = lines.next().unwrap().split_once(' ').unwrap();
        let (counters, tensors): (Vec<&str>, Vec<&str>) =
            lines.partition(|line| line.starts_with("counter "));
        let params = Params::new(&Device::cpu(), 0);
        drop(build(&params, name));
        let line = |p: recurve::Param| {
            let kind = if p.trainable() { "parameter" } else { "buffer" };
            format!("{kind} {} {:?}", p.name(), p.shape().dims()).replace(", ", ",")
        };
        assert_eq!(params.named().into_iter().map(line).collect::<Vec<_>>(), tensors, "{name}");
        let counted: Vec<String> =
            params.counters().iter().map(|c| format!("counter {} []", c.name())).collect();
        assert_eq!(counted, counters, "{name}");
        assert_eq!(params.elements().to_string(), count, "{name}");
        models += 1;
    }
    assert_eq!(models, 18);
}
