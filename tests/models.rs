//! Complete networks: sizes, names, shapes.

use recurve::models::{ResNet, ResNetConfig};
use recurve::nn::Mode;
use recurve::{Device, Params};

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
}
