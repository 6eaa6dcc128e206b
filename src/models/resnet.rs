//! Residual networks: He et al., Deep Residual Learning for Image Recognition, 2015 (arXiv 1512.03385), and what came of
//! them.
//!
//! | configuration | blocks | parameters at 1,000 classes (CIFAR: 10) |
//! |---|---|---|
//! | [`resnet18`](ResNetConfig::resnet18) | basic, 2 2 2 2 | 11,689,512 |
//! | [`resnet34`](ResNetConfig::resnet34) | basic, 3 4 6 3 | 21,797,672 |
//! | [`resnet50`](ResNetConfig::resnet50) | bottleneck, 3 4 6 3 | 25,557,032 |
//! | [`resnet101`](ResNetConfig::resnet101) | bottleneck, 3 4 23 3 | 44,549,160 |
//! | [`resnet152`](ResNetConfig::resnet152) | bottleneck, 3 8 36 3 | 60,192,808 |
//! | [`cifar`](ResNetConfig::cifar)`(6n + 2)` | basic, n n n, 16 to 64 channels | 0.27 million at 20 to 1.7 million at 110 |
//! | [`resnet18_cifar`](ResNetConfig::resnet18_cifar) | basic, 2 2 2 2, for pictures of 32×32 | 11,173,962 |
//! | [`resnext50_32x4d`](ResNetConfig::resnext50_32x4d) | bottleneck with 32 groups | 25,028,904 |
//! | [`wide_resnet50_2`](ResNetConfig::wide_resnet50_2) | bottleneck, twice as wide | 68,883,240 |
//! | [`wide_cifar`](ResNetConfig::wide_cifar)`(28, 10)` | basic, pre-activation, 160 to 640 channels | 36.5 million |

use crate::nn::residual::{BasicBlock, BlockConfig, BlockOrder, Bottleneck, ShortcutKind, convolution};
use crate::nn::{BatchNorm2d, BatchNormConfig, Conv2d, Linear, Mode};
use crate::ops::max_pool2d::MaxPool2dConfig;
use crate::params::Scope;
use crate::recompute::recompute;
use crate::tensor::Tensor;

/// The kind of a network's blocks.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum BlockKind {
    /// [`BasicBlock`].
    Basic,
    /// [`Bottleneck`].
    Bottleneck,
}

impl BlockKind {
    fn expansion(self) -> usize {
        match self {
            BlockKind::Basic => BasicBlock::EXPANSION,
            BlockKind::Bottleneck => Bottleneck::EXPANSION,
        }
    }
}

/// How a network begins.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Stem {
    /// A convolution of 7×7 pixels at stride 2 and max pooling at stride 2: for pictures of 224×224 pixels.
    ImageNet,
    /// A convolution of 3×3 pixels: for pictures of some 32×32 pixels.
    Cifar,
}

/// What a [`ResNet`] is made of.
#[derive(Clone, Debug, PartialEq)]
pub struct ResNetConfig {
    /// Kind of blocks.
    pub block: BlockKind,
    /// Blocks of each stage. The second stage and those after it begin with stride 2.
    pub layers: Vec<usize>,
    /// The beginning.
    pub stem: Stem,
    /// Channels of the beginning.
    pub stem_channels: usize,
    /// [`BlockConfig::channels`] of the first stage. Each stage has twice those of the one before it.
    pub channels: usize,
    /// Channels of each stage, where they do not double.
    pub stage_channels: Option<Vec<usize>>,
    /// As [`BlockConfig::groups`].
    pub groups: usize,
    /// As [`BlockConfig::width_per_group`].
    pub width_per_group: usize,
    /// Shortcuts.
    pub shortcut: ShortcutKind,
    /// Order within blocks.
    pub order: BlockOrder,
    /// As [`BlockConfig::zero_init_residual`].
    pub zero_init_residual: bool,
    /// Options of all norms.
    pub norm: BatchNormConfig,
    /// Channels of a picture.
    pub in_channels: usize,
    /// Classes.
    pub classes: usize,
    /// Whether blocks are computed again for gradients instead of being kept: about a third more work for much less memory
    /// ([`recompute`](fn@crate::recompute)).
    pub recompute: bool,
}

impl ResNetConfig {
    fn imagenet(block: BlockKind, layers: &[usize]) -> Self {
        ResNetConfig {
            block,
            layers: layers.to_vec(),
            stem: Stem::ImageNet,
            stem_channels: 64,
            channels: 64,
            stage_channels: None,
            groups: 1,
            width_per_group: 64,
            shortcut: ShortcutKind::Projection,
            order: BlockOrder::PostActivation,
            zero_init_residual: false,
            norm: BatchNormConfig::default(),
            in_channels: 3,
            classes: 1000,
            recompute: false,
        }
    }

    /// ResNet-18.
    pub fn resnet18() -> Self {
        ResNetConfig::imagenet(BlockKind::Basic, &[2, 2, 2, 2])
    }

    /// ResNet-34.
    pub fn resnet34() -> Self {
        ResNetConfig::imagenet(BlockKind::Basic, &[3, 4, 6, 3])
    }

    /// ResNet-50, with the stride on convolutions of 3×3 pixels ("v1.5").
    pub fn resnet50() -> Self {
        ResNetConfig::imagenet(BlockKind::Bottleneck, &[3, 4, 6, 3])
    }

    /// ResNet-101.
    pub fn resnet101() -> Self {
        ResNetConfig::imagenet(BlockKind::Bottleneck, &[3, 4, 23, 3])
    }

    /// ResNet-152.
    pub fn resnet152() -> Self {
        ResNetConfig::imagenet(BlockKind::Bottleneck, &[3, 8, 36, 3])
    }

    /// ResNeXt-50 of 32 groups of 4 channels (Xie et al. 2016, arXiv 1611.05431).
    pub fn resnext50_32x4d() -> Self {
        ResNetConfig { groups: 32, width_per_group: 4, ..ResNetConfig::resnet50() }
    }

    /// ResNeXt-101 of 32 groups of 8 channels.
    pub fn resnext101_32x8d() -> Self {
        ResNetConfig { groups: 32, width_per_group: 8, ..ResNetConfig::resnet101() }
    }

    /// ResNet-50 with bottlenecks twice as wide (Zagoruyko and Komodakis 2016, arXiv 1605.07146).
    pub fn wide_resnet50_2() -> Self {
        ResNetConfig { width_per_group: 128, ..ResNetConfig::resnet50() }
    }

    /// ResNet-101 with bottlenecks twice as wide.
    pub fn wide_resnet101_2() -> Self {
        ResNetConfig { width_per_group: 128, ..ResNetConfig::resnet101() }
    }

    /// The network of `depth` layers for CIFAR-10, He et al. 2015, section 4.2: 20, 32, 44, 56, 110, with projections. The
    /// paper's own shortcuts are [`ShortcutKind::Padding`], its plain networks [`ShortcutKind::Absent`].
    ///
    /// # Panics
    /// When `depth` is not 6n + 2 for n of at least 1.
    #[track_caller]
    pub fn cifar(depth: usize) -> Self {
        assert!(
            depth >= 8 && (depth - 2).is_multiple_of(6),
            "a network for CIFAR has 6n + 2 layers, not {depth}"
        );
        ResNetConfig {
            stem: Stem::Cifar,
            stem_channels: 16,
            channels: 16,
            classes: 10,
            ..ResNetConfig::imagenet(BlockKind::Basic, &[(depth - 2) / 6; 3])
        }
    }

    /// ResNet-18 for pictures of 32×32 pixels: its beginning is a convolution of 3×3 pixels.
    pub fn resnet18_cifar() -> Self {
        ResNetConfig { stem: Stem::Cifar, classes: 10, ..ResNetConfig::resnet18() }
    }

    /// The wide network of `depth` layers for CIFAR-10 (Zagoruyko and Komodakis 2016): pre-activation, `widening` times 16
    /// to 64 channels.
    ///
    /// # Panics
    /// When `depth` is not 6n + 4 for n of at least 1.
    #[track_caller]
    pub fn wide_cifar(depth: usize, widening: usize) -> Self {
        let fits = depth >= 10 && (depth - 4).is_multiple_of(6);
        assert!(fits, "a wide network for CIFAR has 6n + 4 layers, not {depth}");
        ResNetConfig {
            channels: 16 * widening,
            order: BlockOrder::PreActivation,
            ..ResNetConfig::cifar(depth - 2)
        }
    }

    /// Channels of the pooled features.
    ///
    /// # Panics
    /// When there is no stage.
    #[track_caller]
    pub fn features(&self) -> usize {
        self.widths().last().expect("a network has at least one stage") * self.block.expansion()
    }

    /// Channels of each stage.
    fn widths(&self) -> Vec<usize> {
        let doubled = || (0..self.layers.len()).map(|stage| self.channels << stage).collect();
        self.stage_channels.clone().unwrap_or_else(doubled)
    }

    #[track_caller]
    fn check(&self) {
        let (layers, channels) = (&self.layers, self.widths().len());
        assert!(
            !layers.is_empty() && !layers.contains(&0),
            "a network has at least one stage, and a stage at least one block, unlike {layers:?}"
        );
        assert!(layers.len() == channels, "{} stages of blocks and {channels} of channels", layers.len());
    }
}

/// A block of either kind.
#[derive(Clone, Debug)]
#[expect(clippy::large_enum_variant, reason = "a network has few of them, and all of one kind")]
pub enum Block {
    /// Two convolutions.
    Basic(BasicBlock),
    /// Three.
    Bottleneck(Bottleneck),
}

impl Block {
    #[track_caller]
    fn new(scope: &Scope, kind: BlockKind, config: BlockConfig) -> Self {
        match kind {
            BlockKind::Basic => Block::Basic(BasicBlock::new(scope, config)),
            BlockKind::Bottleneck => Block::Bottleneck(Bottleneck::new(scope, config)),
        }
    }

    /// As [`BasicBlock::forward`] and [`Bottleneck::forward`].
    ///
    /// # Panics
    /// When `x` has another number of axes or channels.
    #[track_caller]
    pub fn forward(&self, x: &Tensor, mode: Mode) -> Tensor {
        match self {
            Block::Basic(block) => block.forward(x, mode),
            Block::Bottleneck(block) => block.forward(x, mode),
        }
    }
}

/// A residual network: beginning, stages of blocks, mean over all pixels, dense layer.
///
/// ```
/// use recurve::models::{ResNet, ResNetConfig};
/// use recurve::nn::Mode;
/// use recurve::{Device, Params};
/// let dev = Device::cpu();
/// let params = Params::new(&dev, 0);
/// let net = ResNet::new(&params.root(), ResNetConfig { in_channels: 1, ..ResNetConfig::cifar(8) });
/// let logits = net.forward(&dev.tensor([0.5; 128], [2, 1, 8, 8]), Mode::Eval);
/// assert_eq!(logits.shape().dims(), [2, 10]);
/// ```
#[derive(Clone, Debug)]
pub struct ResNet {
    /// The first convolution.
    pub conv1: Conv2d,
    /// Behind `conv1`; of a pre-activation network, behind the last block.
    pub bn1: BatchNorm2d,
    /// `layer1`, `layer2` and so on.
    pub stages: Vec<Vec<Block>>,
    /// `[classes, features]`.
    pub fc: Linear,
    /// What it is made of.
    pub config: ResNetConfig,
}

impl ResNet {
    /// Registers torchvision's names: `conv1.weight`, `bn1.weight`, `layer1.0.conv1.weight`,
    /// `layer2.0.downsample.0.weight`, `fc.weight` and so on. Convolutions start normally distributed (He et al., arXiv
    /// 1502.01852, by the way back), norms at 1 and 0.
    ///
    /// # Panics
    /// When a name is taken, a stage has no blocks or no number of channels, or the configuration is none that
    /// [`BasicBlock::new`] and [`Bottleneck::new`] accept.
    #[track_caller]
    pub fn new(scope: &Scope, config: ResNetConfig) -> Self {
        config.check();
        let (kernel_size, stride) = match config.stem {
            Stem::ImageNet => (7, 2),
            Stem::Cifar => (3, 1),
        };
        let stem = config.stem_channels;
        let conv1 = convolution(&scope.at("conv1"), config.in_channels, stem, kernel_size, stride, 1);
        let normalised = match config.order {
            BlockOrder::PostActivation => stem,
            BlockOrder::PreActivation => config.features(),
        };
        let bn1 = BatchNorm2d::new(&scope.at("bn1"), normalised, config.norm);
        let mut in_channels = stem;
        let mut stages = Vec::new();
        for (stage, (&blocks, channels)) in config.layers.iter().zip(config.widths()).enumerate() {
            let scope = scope.at(&format!("layer{}", stage + 1));
            let mut block = |index: usize| {
                let block = BlockConfig {
                    in_channels,
                    channels,
                    stride: if index == 0 && stage > 0 { 2 } else { 1 },
                    groups: config.groups,
                    width_per_group: config.width_per_group,
                    shortcut: config.shortcut,
                    order: config.order,
                    zero_init_residual: config.zero_init_residual,
                    norm: config.norm,
                };
                in_channels = channels * config.block.expansion();
                Block::new(&scope.at(&index.to_string()), config.block, block)
            };
            stages.push((0..blocks).map(&mut block).collect());
        }
        let fc = Linear::new(&scope.at("fc"), in_channels, config.classes);
        ResNet { conv1, bn1, stages, fc, config }
    }

    /// The beginning: `[N, in_channels, H, W]` to what the first stage takes. A pre-activation network normalises nothing
    /// here, with either stem: its first block begins with a norm.
    ///
    /// # Panics
    /// When `x` has another number of axes or channels.
    #[track_caller]
    pub fn stem(&self, x: &Tensor, mode: Mode) -> Tensor {
        let y = self.conv1.forward(x);
        let y = match self.config.order {
            BlockOrder::PostActivation => self.bn1.forward(&y, mode).relu(),
            BlockOrder::PreActivation => y,
        };
        match self.config.stem {
            Stem::Cifar => y,
            Stem::ImageNet => {
                let config = MaxPool2dConfig { stride: Some([2, 2]), padding: [1, 1], ..Default::default() };
                y.max_pool2d_with([3, 3], config)
            }
        }
    }

    /// What each stage gives, `[N, C, H, W]` each; the last one's is normalised and activated in any case.
    ///
    /// # Panics
    /// When `x` has another number of axes or channels.
    #[track_caller]
    pub fn maps(&self, x: &Tensor, mode: Mode) -> Vec<Tensor> {
        let mut y = self.stem(x, mode);
        let mut maps = Vec::new();
        for stage in &self.stages {
            for block in stage {
                y = match self.config.recompute {
                    true => recompute(|| block.forward(&y, mode)),
                    false => block.forward(&y, mode),
                };
            }
            maps.push(y.clone());
        }
        if self.config.order == BlockOrder::PreActivation {
            let last = self.bn1.forward(&y, mode).relu();
            maps.pop();
            maps.push(last);
        }
        maps
    }

    /// Pooled features `[N, features]`: what a new head is trained on.
    ///
    /// # Panics
    /// When `x` has another number of axes or channels.
    #[track_caller]
    pub fn features(&self, x: &Tensor, mode: Mode) -> Tensor {
        let maps = self.maps(x, mode);
        maps.last().expect("a network has a stage").mean(&[2, 3])
    }

    /// `[N, in_channels, H, W]` to logits `[N, classes]`.
    ///
    /// # Panics
    /// When `x` has another number of axes or channels.
    #[track_caller]
    pub fn forward(&self, x: &Tensor, mode: Mode) -> Tensor {
        self.fc.forward(&self.features(x, mode))
    }
}
