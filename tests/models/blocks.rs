//! Blocks against the same layers put together by hand, how they start, and networks that compute them again.

use super::{Net, outcome, ramp, same, support};
use recurve::models::resnet::BlockKind;
use recurve::models::{ResNet, ResNetConfig};
use recurve::nn::{
    BasicBlock, BatchNorm2d, BatchNormConfig, BlockConfig, BlockOrder, Bottleneck, Conv2d, Mode, Shortcut,
    ShortcutKind,
};
use recurve::ops::conv2d::Conv2dConfig;
use recurve::params::{Fan, Nonlinearity};
use recurve::{Device, Init, Params, Tensor};

const KINDS: [ShortcutKind; 4] =
    [ShortcutKind::Padding, ShortcutKind::Projection, ShortcutKind::AllProjections, ShortcutKind::Absent];

fn conv(p: &Params, name: &str, [from, to]: [usize; 2], size: usize, stride: usize, groups: usize) -> Conv2d {
    let init = Init::KaimingNormal { fan: Fan::Out, nonlinearity: Nonlinearity::Relu };
    let config =
        Conv2dConfig { stride: [stride; 2], padding: (size / 2).into(), groups, ..Default::default() };
    Conv2d::with_init(&p.at(name), from, to, size, init, config)
}

fn norm(p: &Params, name: &str, channels: usize, config: BlockConfig) -> BatchNorm2d {
    BatchNorm2d::new(&p.at(name), channels, config.norm)
}

fn block(p: &Params, kind: BlockKind, config: BlockConfig) -> Net {
    match kind {
        BlockKind::Basic => {
            let block = BasicBlock::new(&p.root(), config);
            Box::new(move |x, mode| block.forward(x, mode))
        }
        BlockKind::Bottleneck => {
            let block = Bottleneck::new(&p.root(), config);
            Box::new(move |x, mode| block.forward(x, mode))
        }
    }
}

/// Channels between convolutions, first to last, and the convolutions' sizes, strides and groups.
fn plan(kind: BlockKind, c: BlockConfig) -> (Vec<usize>, Vec<[usize; 3]>) {
    match kind {
        BlockKind::Basic => (vec![c.in_channels, c.channels, c.channels], vec![[3, c.stride, 1], [3, 1, 1]]),
        BlockKind::Bottleneck => {
            let width = c.channels * c.width_per_group / 64 * c.groups;
            let sizes = vec![[1, 1, 1], [3, c.stride, c.groups], [1, 1, 1]];
            (vec![c.in_channels, width, width, 4 * c.channels], sizes)
        }
    }
}

/// The block put together by hand: He et al. 2015, figure 5, or He et al. 2016, figure 4 (e).
fn by_hand(p: &Params, kind: BlockKind, config: BlockConfig) -> Net {
    let post = config.order == BlockOrder::PostActivation;
    let (channels, sizes) = plan(kind, config);
    let mut layers = Vec::new();
    for (i, &[size, stride, groups]) in sizes.iter().enumerate() {
        let conv = conv(p, &format!("conv{}", i + 1), [channels[i], channels[i + 1]], size, stride, groups);
        let normalised = channels[if post { i + 1 } else { i }];
        layers.push((conv, norm(p, &format!("bn{}", i + 1), normalised, config)));
    }
    let (from, to) = (channels[0], channels[channels.len() - 1]);
    let changes = config.stride != 1 || from != to;
    let projects = match config.shortcut {
        ShortcutKind::Projection => changes,
        ShortcutKind::AllProjections => true,
        ShortcutKind::Padding | ShortcutKind::Absent => false,
    };
    let projection = projects.then(|| {
        let around = conv(p, "downsample.0", [from, to], 1, config.stride, 1);
        (around, post.then(|| norm(p, "downsample.1", to, config)))
    });
    Box::new(move |x, mode| {
        let around = |x: &Tensor, activated: &Tensor| match (&projection, config.shortcut) {
            (_, ShortcutKind::Absent) => None,
            (Some((conv, Some(norm))), _) => Some(norm.forward(&conv.forward(x), mode)),
            (Some((conv, None)), _) => Some(conv.forward(activated)),
            (None, _) if changes => Some(Shortcut::padding(from, to, config.stride).forward(x, mode)),
            (None, _) => Some(x.clone()),
        };
        let mut y = x.clone();
        if post {
            for (i, (conv, norm)) in layers.iter().enumerate() {
                y = norm.forward(&conv.forward(&y), mode);
                y = if i + 1 < layers.len() { y.relu() } else { y };
            }
            around(x, x).map_or(y.clone(), |s| y.add(&s)).relu()
        } else {
            let activated = layers[0].1.forward(x, mode).relu();
            for (i, (conv, norm)) in layers.iter().enumerate() {
                y = conv.forward(&if i == 0 { activated.clone() } else { norm.forward(&y, mode).relu() });
            }
            around(x, &activated).map_or(y.clone(), |s| y.add(&s))
        }
    })
}

/// Values, gradients and statistics, with odd sizes; a norm's options reach all norms.
#[test]
fn blocks_are_what_they_are_made_of() {
    let options = BatchNormConfig { eps: 1e-3, momentum: Some(0.3), ..BatchNormConfig::default() };
    let base = BlockConfig { in_channels: 4, channels: 4, norm: options, ..BlockConfig::default() };
    let changed = BlockConfig { channels: 5, stride: 2, ..base };
    let deep = BlockConfig { channels: 1, ..base };
    let grouped =
        BlockConfig { in_channels: 6, channels: 4, stride: 2, groups: 2, width_per_group: 32, ..base };
    let cases = [
        (BlockKind::Basic, base),
        (BlockKind::Basic, changed),
        (BlockKind::Bottleneck, deep),
        (BlockKind::Bottleneck, grouped),
    ];
    for dev in support::devices() {
        for (kind, config) in cases {
            for order in [BlockOrder::PostActivation, BlockOrder::PreActivation] {
                for shortcut in KINDS {
                    let config = BlockConfig { order, shortcut, ..config };
                    for mode in [Mode::Train, Mode::Eval] {
                        let run = |build: &dyn Fn(&Params) -> Net| {
                            let params = Params::new(&dev, 4);
                            let net = build(&params);
                            let x = ramp(&dev, &[2, config.in_channels, 7, 5]).requires_grad();
                            outcome(&params, &x, &net(&x, mode))
                        };
                        let (got, want) =
                            (run(&|p| block(p, kind, config)), run(&|p| by_hand(p, kind, config)));
                        same(&format!("{kind:?}, {config:?}, {mode:?} on {}", dev.name()), &got, &want);
                    }
                }
            }
        }
    }
}

/// With the last norm's weight at 0, a block is the ReLU of its shortcut, and its body's gradients begin there.
#[test]
fn a_block_can_begin_as_its_shortcut() {
    for dev in support::devices() {
        for kind in [BlockKind::Basic, BlockKind::Bottleneck] {
            for (in_channels, stride, shortcut) in [
                (8, 1, ShortcutKind::Projection),
                (5, 2, ShortcutKind::Projection),
                (5, 2, ShortcutKind::Padding),
                (8, 1, ShortcutKind::AllProjections),
            ] {
                let channels = if kind == BlockKind::Basic { 8 } else { 2 };
                let config = BlockConfig {
                    in_channels,
                    channels,
                    stride,
                    shortcut,
                    zero_init_residual: true,
                    ..BlockConfig::default()
                };
                let x = ramp(&dev, &[2, in_channels, 5, 7]);
                let run = |config: BlockConfig| {
                    let params = Params::new(&dev, 2);
                    block(&params, kind, config)(&x, Mode::Train).to_vec().unwrap()
                };
                // A set of its own: the shortcut's values depend on the seed and its names alone.
                let params = Params::new(&dev, 2);
                let around = match (in_channels == 8, shortcut) {
                    (true, ShortcutKind::Projection) => Shortcut::Identity,
                    (_, ShortcutKind::Padding) => Shortcut::padding(in_channels, 8, stride),
                    _ => Shortcut::projection(&params.at("downsample"), in_channels, 8, stride),
                };
                let want = around.forward(&x, Mode::Train).relu().to_vec().unwrap();
                let what = format!("{kind:?}, {shortcut:?}, stride {stride} on {}", dev.name());
                assert_eq!(run(config), want, "{what}");
                assert_ne!(run(BlockConfig { zero_init_residual: false, ..config }), want, "{what}");
            }
        }
    }
}

/// A network that computes its blocks again gives the same bits: loss, gradients, statistics.
#[test]
fn recomputed_blocks_give_the_same_bits() {
    let small = ResNetConfig {
        layers: vec![2, 1],
        channels: 4,
        stem_channels: 4,
        classes: 3,
        ..ResNetConfig::cifar(8)
    };
    let configs = [
        small.clone(),
        ResNetConfig { shortcut: ShortcutKind::Padding, zero_init_residual: true, ..small.clone() },
        ResNetConfig { order: BlockOrder::PreActivation, ..small.clone() },
        ResNetConfig { block: BlockKind::Bottleneck, channels: 2, groups: 2, ..small },
    ];
    for dev in support::devices() {
        for config in &configs {
            let run = |recompute: bool| {
                let params = Params::new(&dev, 9);
                let net = ResNet::new(&params.root(), ResNetConfig { recompute, ..config.clone() });
                let x = ramp(&dev, &[3, 3, 9, 9]).requires_grad();
                let loss = net.forward(&x, Mode::Train).cross_entropy(&dev.labels([2, 0, 1]));
                outcome(&params, &x, &loss)
            };
            same(&format!("{config:?} on {}", dev.name()), &run(true), &run(false));
        }
    }
}

/// The last map of a pre-activation network is normalised and activated; the others are as they go on.
#[test]
fn maps_lead_to_the_features() {
    let dev = Device::cpu();
    for order in [BlockOrder::PostActivation, BlockOrder::PreActivation] {
        let params = Params::new(&dev, 1);
        let net = ResNet::new(&params.root(), ResNetConfig { order, ..ResNetConfig::cifar(8) });
        let x = ramp(&dev, &[2, 3, 9, 11]);
        let maps = net.maps(&x, Mode::Eval);
        let shapes: Vec<_> = maps.iter().map(|map| map.shape().dims().to_vec()).collect();
        assert_eq!(shapes, [[2, 16, 9, 11], [2, 32, 5, 6], [2, 64, 3, 3]]);
        let read = |t: &Tensor| t.to_vec().unwrap();
        // What is read on the way is rounded to f32, in the reference too.
        let near = |got: &Tensor, want: &Tensor| {
            let (got, want) = (read(got), read(want));
            assert_eq!(got.len(), want.len());
            let bound = 1e-5 * want.iter().fold(0f32, |m, v| m.max(v.abs()));
            assert!(got.iter().zip(&want).all(|(g, w)| (g - w).abs() <= bound), "{got:?}, not {want:?}");
        };
        let features = net.features(&x, Mode::Eval);
        near(&maps[2].mean(&[2, 3]), &features);
        near(&net.fc.forward(&features), &net.forward(&x, Mode::Eval));
        assert!(read(&maps[2]).iter().all(|v| *v >= 0.0));
        let raw = read(&maps[1]).iter().any(|v| *v < 0.0);
        assert_eq!(raw, order == BlockOrder::PreActivation);
    }
}
