//! Complete networks and their blocks: sizes, names, shapes, results.

#[path = "models/agreement.rs"]
mod agreement;
#[path = "models/blocks.rs"]
mod blocks;
#[path = "models/names.rs"]
mod names;
#[path = "models/refusals.rs"]
mod refusals;
#[path = "models/residual.rs"]
mod residual;
mod support;
#[path = "models/weights.rs"]
mod weights;

use recurve::models::{AlexNet, AlexNetConfig, LeNet, LeNetConfig, ResNet, ResNetConfig, Vgg, VggConfig};
use recurve::nn::{Mode, ShortcutKind};
use recurve::{Device, Param, Params, Tensor};

/// A network, by what it makes of pictures.
type Net = Box<dyn Fn(&Tensor, Mode) -> Tensor>;

/// Numbers from -1 to 1.
fn ramp(dev: &Device, shape: &[usize]) -> Tensor {
    let n: usize = shape.iter().product();
    let value = |i: usize| ((i * 7919 + 13) % 997) as f32 / 498.5 - 1.0;
    dev.tensor((0..n).map(value).collect::<Vec<_>>(), shape)
}

/// Values of `y`, of its gradients by `x` and all parameters, and of what is kept of the batches, by name.
fn outcome(params: &Params, x: &Tensor, y: &Tensor) -> Vec<(String, Vec<f32>)> {
    let read = |t: &Tensor| t.to_vec().unwrap();
    let gradients = y.backward_with(&ramp(y.device(), y.shape().dims()));
    let of = |param: &Param| match param.trainable() {
        true => read(&param.gradient(&gradients).unwrap()),
        false => read(&param.tensor()),
    };
    let mut all = vec![("y".to_string(), read(y)), ("x".into(), read(&gradients.wrt(x).unwrap()))];
    all.extend(params.named().iter().map(|param| (param.name().to_string(), of(param))));
    all.extend(params.counters().iter().map(|c| (c.name().to_string(), vec![c.get() as f32])));
    all
}

/// The same names with the same numbers.
#[track_caller]
fn same(what: &str, got: &[(String, Vec<f32>)], want: &[(String, Vec<f32>)]) {
    let names = |all: &[(String, Vec<f32>)]| all.iter().map(|(name, _)| name.clone()).collect::<Vec<_>>();
    assert_eq!(names(got), names(want), "{what}");
    for ((name, got), (_, want)) in got.iter().zip(want) {
        assert!(want.iter().all(|v| v.is_finite()), "{what}: {name} is not finite");
        assert!(got == want, "{what}: {name} differs");
    }
}

fn parameters(config: ResNetConfig) -> usize {
    let params = Params::new(&Device::cpu(), 0);
    ResNet::new(&params.root(), config);
    params.elements()
}

/// torchvision's published numbers, and those of the papers.
#[test]
fn parameter_counts() {
    assert_eq!(parameters(ResNetConfig::resnet18()), 11_689_512);
    assert_eq!(parameters(ResNetConfig::resnet34()), 21_797_672);
    assert_eq!(parameters(ResNetConfig::resnet50()), 25_557_032);
    assert_eq!(parameters(ResNetConfig::resnet101()), 44_549_160);
    assert_eq!(parameters(ResNetConfig::resnet152()), 60_192_808);
    assert_eq!(parameters(ResNetConfig::resnext50_32x4d()), 25_028_904);
    assert_eq!(parameters(ResNetConfig::resnext101_32x8d()), 88_791_336);
    assert_eq!(parameters(ResNetConfig::wide_resnet50_2()), 68_883_240);
    assert_eq!(parameters(ResNetConfig::wide_resnet101_2()), 126_886_696);
    assert_eq!(parameters(ResNetConfig::resnet18_cifar()), 11_173_962);
    assert_eq!(parameters(ResNetConfig::wide_cifar(28, 10)), 36_479_194);
    // He et al. 2015, table 6: 0.27, 0.46, 0.66, 0.85 and 1.7 million.
    for (depth, count) in [(20, 269_722), (32, 464_154), (44, 658_586), (56, 853_018), (110, 1_727_962)] {
        let config = ResNetConfig { shortcut: ShortcutKind::Padding, ..ResNetConfig::cifar(depth) };
        assert_eq!(parameters(config), count, "{depth}");
    }
    let with = |build: &dyn Fn(&Params)| {
        let params = Params::new(&Device::cpu(), 0);
        build(&params);
        params.elements()
    };
    assert_eq!(with(&|p| drop(LeNet::new(&p.root(), LeNetConfig::default()))), 61_706);
    assert_eq!(with(&|p| drop(AlexNet::new(&p.root(), AlexNetConfig::default()))), 61_100_840);
    let vgg = [
        (VggConfig::vgg11(), 132_863_336, 132_868_840),
        (VggConfig::vgg13(), 133_047_848, 133_053_736),
        (VggConfig::vgg16(), 138_357_544, 138_365_992),
        (VggConfig::vgg19(), 143_667_240, 143_678_248),
    ];
    for (config, plain, normalised) in vgg {
        assert_eq!(with(&|p| drop(Vgg::new(&p.root(), config.clone()))), plain);
        assert_eq!(with(&|p| drop(Vgg::new(&p.root(), config.clone().with_norms()))), normalised);
    }
}

#[test]
fn output_shapes() {
    let dev = Device::cpu();
    let shape = |config: ResNetConfig, side: usize| {
        let params = Params::new(&dev, 0);
        let channels = config.in_channels;
        let net = ResNet::new(&params.root(), config);
        let x = dev.tensor(vec![0.0; 2 * channels * side * side], [2, channels, side, side]);
        net.forward(&x, Mode::Eval).shape()
    };
    assert_eq!(shape(ResNetConfig::resnet18(), 224).dims(), [2, 1000]);
    assert_eq!(shape(ResNetConfig::resnet152(), 224).dims(), [2, 1000]);
    assert_eq!(shape(ResNetConfig::cifar(110), 32).dims(), [2, 10]);
    assert_eq!(shape(ResNetConfig::wide_cifar(28, 10), 32).dims(), [2, 10]);
    let params = Params::new(&dev, 0);
    let net = ResNet::new(&params.root(), ResNetConfig::resnet50());
    let x = dev.tensor(vec![0.0; 3 * 65 * 97], [1, 3, 65, 97]);
    let maps: Vec<_> = net.maps(&x, Mode::Eval).iter().map(|map| map.shape().dims().to_vec()).collect();
    assert_eq!(maps, [[1, 256, 17, 25], [1, 512, 9, 13], [1, 1024, 5, 7], [1, 2048, 3, 4]]);
    assert_eq!(net.features(&x, Mode::Eval).shape().dims(), [1, net.config.features()]);

    let params = Params::new(&dev, 0);
    let net = AlexNet::new(&params.root(), AlexNetConfig::default());
    let picture =
        |height: usize, width: usize| dev.tensor(vec![0.0; 3 * height * width], [1, 3, height, width]);
    assert_eq!(net.features(&picture(224, 224)).shape().dims(), [1, 256, 6, 6]);
    assert_eq!(net.features(&picture(63, 100)).shape().dims(), [1, 256, 1, 2]);
    assert_eq!(net.forward(&picture(63, 100), Mode::Eval).shape().dims(), [1, 1000]);
    let params = Params::new(&dev, 0);
    let net = AlexNet::new(&params.root(), AlexNetConfig::cifar());
    assert_eq!(net.features(&picture(32, 32)).shape().dims(), [1, 256, 3, 3]);
    assert_eq!(net.forward(&picture(15, 15), Mode::Train).shape().dims(), [1, 10]);

    let params = Params::new(&dev, 0);
    let net = Vgg::new(&params.root(), VggConfig::vgg19());
    let maps: Vec<_> =
        net.maps(&picture(224, 97), Mode::Eval).iter().map(|map| map.shape().dims().to_vec()).collect();
    let want = [[1, 64, 112, 48], [1, 128, 56, 24], [1, 256, 28, 12], [1, 512, 14, 6], [1, 512, 7, 3]];
    assert_eq!(maps, want);
    assert_eq!(net.forward(&picture(224, 97), Mode::Eval).shape().dims(), [1, 1000]);

    let params = Params::new(&dev, 0);
    let config =
        LeNetConfig { input_size: [36, 50].into(), in_channels: 3, classes: 7, ..LeNetConfig::default() };
    let net = LeNet::new(&params.root(), config);
    assert_eq!(params.get("f6.weight").unwrap().shape().dims(), [84, 120 * 2 * 5]);
    assert_eq!(net.forward(&picture(36, 50)).shape().dims(), [1, 7]);
}
