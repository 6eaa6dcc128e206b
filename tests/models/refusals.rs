//! Configurations that make no network are refused with a text that says why.

use recurve::models::resnet::BlockKind;
use recurve::models::{AlexNet, AlexNetConfig, LeNet, LeNetConfig, ResNet, ResNetConfig, Vgg, VggConfig};
use recurve::nn::{
    BasicBlock, BatchNormConfig, BlockConfig, BlockOrder, Bottleneck, Conv2d, Shortcut, ShortcutKind,
};
use recurve::ops::conv2d::Conv2dConfig;
use recurve::{Device, Params};
use std::panic::{AssertUnwindSafe, catch_unwind};

/// The text that `f` panics with.
#[track_caller]
fn text(f: impl FnOnce(&Params)) -> String {
    let params = Params::new(&Device::cpu(), 0);
    let panic = catch_unwind(AssertUnwindSafe(|| f(&params))).expect_err("it is refused");
    match panic.downcast::<String>() {
        Ok(text) => *text,
        Err(panic) => panic.downcast_ref::<&str>().expect("a text").to_string(),
    }
}

#[test]
fn blocks() {
    let basic = |config: BlockConfig| text(|p| drop(BasicBlock::new(&p.root(), config)));
    let bottleneck = |config: BlockConfig| text(|p| drop(Bottleneck::new(&p.root(), config)));
    let base = BlockConfig::default();
    let one = "a basic block has 1 group and width_per_group 64, not";
    assert_eq!(basic(BlockConfig { groups: 2, ..base }), format!("{one} 2 and 64"));
    assert_eq!(basic(BlockConfig { width_per_group: 128, ..base }), format!("{one} 1 and 128"));
    assert_eq!(basic(BlockConfig { stride: 0, ..base }), "a stride of 0");
    assert_eq!(bottleneck(BlockConfig { stride: 0, ..base }), "a stride of 0");
    assert_eq!(
        bottleneck(BlockConfig { channels: 8, groups: 4, width_per_group: 4, ..base }),
        "a bottleneck of 8 channels, 4 groups and width_per_group 4 has no width"
    );
    let fewer = BlockConfig { channels: 32, shortcut: ShortcutKind::Padding, ..base };
    assert_eq!(basic(fewer), "64 channels cannot be padded to 32");
    let zero = BlockConfig { zero_init_residual: true, ..base };
    let no_norm = "zero_init_residual is about the weight of a last norm, and there is none";
    assert_eq!(basic(BlockConfig { order: BlockOrder::PreActivation, ..zero }), no_norm);
    let plain = BatchNormConfig { affine: false, ..BatchNormConfig::default() };
    assert_eq!(bottleneck(BlockConfig { norm: plain, ..zero }), no_norm);
    assert_eq!(
        bottleneck(BlockConfig { shortcut: ShortcutKind::Absent, ..zero }),
        "zero_init_residual without a shortcut leaves nothing of the input"
    );
}

#[test]
fn shortcuts() {
    assert_eq!(text(|_| drop(Shortcut::padding(3, 4, 0))), "a stride of 0");
    assert_eq!(text(|p| drop(Shortcut::projection(&p.root(), 3, 4, 0))), "a stride of 0");
    assert_eq!(text(|_| drop(Shortcut::padding(4, 3, 1))), "4 channels cannot be padded to 3");
}

#[test]
fn residual_networks() {
    let refused = |config: ResNetConfig| text(|p| drop(ResNet::new(&p.root(), config)));
    let base = ResNetConfig::resnet18;
    let none = "a network has at least one stage, and a stage at least one block, unlike";
    assert_eq!(refused(ResNetConfig { layers: vec![], ..base() }), format!("{none} []"));
    assert_eq!(refused(ResNetConfig { layers: vec![2, 0, 2, 2], ..base() }), format!("{none} [2, 0, 2, 2]"));
    assert_eq!(
        refused(ResNetConfig { stage_channels: Some(vec![8, 16]), ..base() }),
        "4 stages of blocks and 2 of channels"
    );
    assert_eq!(
        refused(ResNetConfig { block: BlockKind::Basic, ..ResNetConfig::resnext50_32x4d() }),
        "a basic block has 1 group and width_per_group 64, not 32 and 4"
    );
    let taken = text(|p| {
        ResNet::new(&p.root(), base());
        ResNet::new(&p.root(), base());
    });
    assert_eq!(taken, "two parameters are called \"conv1.weight\"");
    assert_eq!(text(|_| drop(ResNetConfig::cifar(21))), "a network for CIFAR has 6n + 2 layers, not 21");
    assert_eq!(
        text(|_| drop(ResNetConfig::wide_cifar(26, 10))),
        "a wide network for CIFAR has 6n + 4 layers, not 26"
    );
    let uneven = text(|p| {
        let config = Conv2dConfig { groups: 4, ..Conv2dConfig::default() };
        Conv2d::without_bias(&p.root(), 6, 8, 3, config);
    });
    assert_eq!(uneven, "4 groups do not divide 6 and 8 channels");
}

#[test]
fn networks_without_shortcuts() {
    let lenet = |config: LeNetConfig| text(|p| drop(LeNet::new(&p.root(), config)));
    assert_eq!(
        lenet(LeNetConfig { input_size: 28.into(), ..LeNetConfig::default() }),
        "LeNet-5 needs 32 pixels with the padding, not 28"
    );
    assert_eq!(
        lenet(LeNetConfig { input_size: [40, 2].into(), ..LeNetConfig::default() }),
        "LeNet-5 needs 32 pixels with the padding, not 2"
    );
    let empty = VggConfig { stages: vec![vec![8], vec![]], ..VggConfig::vgg11() };
    assert_eq!(
        text(|p| drop(Vgg::new(&p.root(), empty))),
        "a network has at least one stage, and a stage at least one convolution"
    );
    let surely = AlexNetConfig { dropout: 1.5, ..AlexNetConfig::default() };
    assert_eq!(text(|p| drop(AlexNet::new(&p.root(), surely))), "a dropout probability of 1.5");
}
