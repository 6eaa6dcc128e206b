//! Every named network on every adapter against the reference, from the same seed.

use super::{Net, ramp, support};
use recurve::models::lenet::{Activation, Subsampling};
use recurve::models::resnet::Stem;
use recurve::models::{AlexNet, AlexNetConfig, LeNet, LeNetConfig, ResNet, ResNetConfig, Vgg, VggConfig};
use recurve::nn::{BlockOrder, Mode, ShortcutKind};
use recurve::{Device, Params, no_grad};

/// Name, what registers the network, side of a picture.
type Named = (String, Box<dyn Fn(&Params) -> Net>, usize);

fn resnet(name: &str, config: ResNetConfig, side: usize) -> Named {
    let build = move |params: &Params| -> Net {
        let net = ResNet::new(&params.root(), config.clone());
        Box::new(move |x, mode| net.forward(x, mode))
    };
    (name.into(), Box::new(build), side)
}

fn vgg(name: &str, config: VggConfig) -> Named {
    let config = VggConfig { hidden: 64, ..config.cifar().narrowed(4) };
    let build = move |params: &Params| -> Net {
        let net = Vgg::new(&params.root(), config.clone());
        Box::new(move |x, mode| net.forward(x, mode))
    };
    (name.into(), Box::new(build), 32)
}

/// A quarter of the channels: as deep, with a sixteenth of the parameters.
fn quarter(config: ResNetConfig) -> ResNetConfig {
    ResNetConfig { stem_channels: 16, channels: 16, ..config }
}

fn all() -> Vec<Named> {
    let cifar = ResNetConfig::cifar;
    let mut all = vec![
        resnet("resnet18", ResNetConfig::resnet18(), 64),
        resnet("resnet34", ResNetConfig::resnet34(), 32),
        resnet("resnet50", ResNetConfig::resnet50(), 32),
        resnet("resnet101", ResNetConfig::resnet101(), 32),
        resnet("resnet152", ResNetConfig::resnet152(), 32),
        resnet("resnext50_32x4d", quarter(ResNetConfig::resnext50_32x4d()), 32),
        resnet("resnext101_32x8d", quarter(ResNetConfig::resnext101_32x8d()), 32),
        resnet("wide_resnet50_2", quarter(ResNetConfig::wide_resnet50_2()), 32),
        resnet("wide_resnet101_2", quarter(ResNetConfig::wide_resnet101_2()), 32),
        resnet("resnet18_cifar", ResNetConfig::resnet18_cifar(), 32),
        resnet("cifar 20", cifar(20), 32),
        resnet("cifar 20, padding", ResNetConfig { shortcut: ShortcutKind::Padding, ..cifar(20) }, 19),
        resnet("cifar 20, plain", ResNetConfig { shortcut: ShortcutKind::Absent, ..cifar(20) }, 19),
        resnet("cifar 20, all", ResNetConfig { shortcut: ShortcutKind::AllProjections, ..cifar(20) }, 19),
        resnet("cifar 32", cifar(32), 16),
        resnet("cifar 44", cifar(44), 16),
        resnet("cifar 56", cifar(56), 16),
        resnet("cifar 110", cifar(110), 16),
        resnet("wide_cifar 16 2", ResNetConfig::wide_cifar(16, 2), 19),
        resnet(
            "resnet50, pre-activation",
            ResNetConfig { order: BlockOrder::PreActivation, ..quarter(ResNetConfig::resnet50()) },
            32,
        ),
    ];
    for (name, config) in [
        ("vgg11", VggConfig::vgg11()),
        ("vgg13", VggConfig::vgg13()),
        ("vgg16", VggConfig::vgg16()),
        ("vgg19", VggConfig::vgg19()),
    ] {
        all.push(vgg(name, config.clone()));
        all.push(vgg(&format!("{name}_bn"), config.with_norms()));
    }
    let alexnet = |name: &str, config: AlexNetConfig, side: usize| -> Named {
        let config = AlexNetConfig { hidden: 64, ..config };
        let build = move |params: &Params| -> Net {
            let net = AlexNet::new(&params.root(), config.clone());
            Box::new(move |x, mode| net.forward(x, mode))
        };
        (name.into(), Box::new(build), side)
    };
    all.push(alexnet("alexnet", AlexNetConfig::default(), 64));
    all.push(alexnet("alexnet, cifar", AlexNetConfig::cifar(), 32));
    for (name, subsampling, activation) in [
        ("lenet", Subsampling::Mean, Activation::Tanh),
        ("lenet, largest", Subsampling::Max, Activation::Relu),
    ] {
        let build = move |params: &Params| -> Net {
            let config = LeNetConfig { in_channels: 3, subsampling, activation, ..LeNetConfig::mnist() };
            let net = LeNet::new(&params.root(), config);
            Box::new(move |x, _| net.forward(x))
        };
        all.push((name.into(), Box::new(build), 28));
    }
    all
}

#[test]
fn adapters_agree_with_the_reference() {
    let devices = support::devices();
    let run = |dev: &Device, (_, build, side): &Named| {
        let params = Params::new(dev, 5);
        let net = build(&params);
        no_grad(|| net(&ramp(dev, &[1, 3, *side, *side]), Mode::Eval)).to_vec_f64().unwrap()
    };
    for named in all() {
        let start = std::time::Instant::now();
        let want = run(&devices[0], &named);
        let largest = want.iter().fold(0f64, |m, v| m.max(v.abs()));
        assert!(largest.is_finite() && largest > 0.0, "{}", named.0);
        for dev in &devices[1..] {
            let got = run(dev, &named);
            let off = got.iter().zip(&want).map(|(g, w)| (g - w).abs());
            let error =
                off.fold(0.0, |m: f64, d| if d.is_nan() { f64::INFINITY } else { m.max(d) }) / largest;
            println!("{} on {}: {error:.1e} of {largest:.3}, {:?}", named.0, dev.name(), start.elapsed());
            assert!(error <= 1e-5, "{} on {}: {error:e}", named.0, dev.name());
        }
    }
}

/// The stems differ, as far as pictures are concerned: at 32×32 one is left with a single pixel, the other with four.
#[test]
fn a_small_stem_keeps_pictures_large() {
    let dev = Device::cpu();
    let last = |stem: Stem| {
        let params = Params::new(&dev, 0);
        let net = ResNet::new(&params.root(), ResNetConfig { stem, ..quarter(ResNetConfig::resnet18()) });
        net.maps(&ramp(&dev, &[1, 3, 32, 32]), Mode::Eval)[3].shape()
    };
    assert_eq!(last(Stem::ImageNet).dims(), [1, 128, 1, 1]);
    assert_eq!(last(Stem::Cifar).dims(), [1, 128, 4, 4]);
}
