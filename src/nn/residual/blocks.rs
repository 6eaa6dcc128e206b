//! The blocks of residual networks.

use super::{Shortcut, convolution, join};
use crate::nn::{BatchNorm2d, Conv2d, Mode};
use crate::params::{Init, Scope};
use crate::tensor::Tensor;

/// Where norms and activations of a block stand.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum BlockOrder {
    /// Convolution, norm, ReLU; the last ReLU comes behind the sum (He et al. 2015, arXiv 1512.03385).
    #[default]
    PostActivation,
    /// Norm, ReLU, convolution; nothing is behind the sum, so identities reach through the whole network (He et al.,
    /// Identity Mappings in Deep Residual Networks, 2016, arXiv 1603.05027). A projection takes what the first ReLU gives,
    /// and has no norm.
    PreActivation,
}

/// The shortcuts of a network's blocks: options A, B and C of He et al. 2015, section 4.1.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum ShortcutKind {
    /// Option A: identities; where the shape changes, channels of zeros. No parameters.
    Padding,
    /// Option B: identities; where the shape changes, projections.
    #[default]
    Projection,
    /// Option C: projections everywhere.
    AllProjections,
    /// None: a plain network of the same layers.
    Absent,
}

/// What a [`BasicBlock`] or [`Bottleneck`] is made of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BlockConfig {
    /// Channels that come in.
    pub in_channels: usize,
    /// Channels of the block's width: those that go out of a basic block, a quarter of those that go out of a bottleneck.
    pub channels: usize,
    /// Stride of the first convolution of 3×3 pixels, and of the shortcut.
    pub stride: usize,
    /// Groups of the bottleneck's convolution of 3×3 pixels (Xie et al., Aggregated Residual Transformations, 2016, arXiv
    /// 1611.05431: the cardinality). Basic blocks have one.
    pub groups: usize,
    /// Channels per group of the bottleneck's convolution of 3×3 pixels, where `channels` is 64: more make wide networks
    /// (Zagoruyko and Komodakis, 2016, arXiv 1605.07146).
    pub width_per_group: usize,
    /// The way around.
    pub shortcut: ShortcutKind,
    /// Where norms and activations stand.
    pub order: BlockOrder,
    /// Whether the weight of the last norm starts at 0, so that the block begins as its shortcut (Goyal et al. 2017, arXiv
    /// 1706.02677, section 5.1). For [`BlockOrder::PostActivation`]; pre-activation blocks have no norm there.
    pub zero_init_residual: bool,
}

impl Default for BlockConfig {
    /// 64 channels in, 64 wide, stride 1, one group, option B, post-activation.
    fn default() -> Self {
        BlockConfig {
            in_channels: 64,
            channels: 64,
            stride: 1,
            groups: 1,
            width_per_group: 64,
            shortcut: ShortcutKind::Projection,
            order: BlockOrder::PostActivation,
            zero_init_residual: false,
        }
    }
}

/// A convolution with the norm behind it (in front of it, before activation) and its ReLU.
type Layer<'a> = (&'a Conv2d, &'a BatchNorm2d);

impl BlockConfig {
    #[track_caller]
    fn shortcut(&self, scope: &Scope, out_channels: usize) -> Option<Shortcut> {
        let changes = self.stride != 1 || self.in_channels != out_channels;
        let project = || match self.order {
            BlockOrder::PostActivation => {
                Shortcut::projection(&scope.at("downsample"), self.in_channels, out_channels, self.stride)
            }
            BlockOrder::PreActivation => Shortcut::Projection {
                conv: convolution(
                    &scope.at("downsample").at("0"),
                    self.in_channels,
                    out_channels,
                    1,
                    self.stride,
                    1,
                ),
                norm: None,
            },
        };
        match self.shortcut {
            ShortcutKind::Absent => None,
            ShortcutKind::AllProjections => Some(project()),
            _ if !changes => Some(Shortcut::Identity),
            ShortcutKind::Projection => Some(project()),
            ShortcutKind::Padding => Some(Shortcut::padding(self.in_channels, out_channels, self.stride)),
        }
    }

    /// The norm `name` of a convolution with these channels.
    #[track_caller]
    fn norm(&self, scope: &Scope, name: &str, [before, behind]: [usize; 2], last: bool) -> BatchNorm2d {
        let post = self.order == BlockOrder::PostActivation;
        let weight = if last && post && self.zero_init_residual { Init::Zeros } else { Init::Ones };
        let channels = if post { behind } else { before };
        BatchNorm2d::with_init(&scope.at(name), channels, weight, Default::default())
    }

    #[track_caller]
    fn run(&self, layers: &[Layer<'_>], shortcut: Option<&Shortcut>, x: &Tensor, mode: Mode) -> Tensor {
        match self.order {
            BlockOrder::PostActivation => {
                let mut y = x.clone();
                for (i, (conv, norm)) in layers.iter().enumerate() {
                    y = norm.forward(&conv.forward(&y), mode);
                    if i + 1 < layers.len() {
                        y = y.relu();
                    }
                }
                shortcut.map_or_else(|| y.clone(), |s| join(&y, &s.forward(x, mode))).relu()
            }
            BlockOrder::PreActivation => {
                let first = layers[0].1.forward(x, mode).relu();
                let mut y = layers[0].0.forward(&first);
                for (conv, norm) in &layers[1..] {
                    y = conv.forward(&norm.forward(&y, mode).relu());
                }
                match shortcut {
                    None => y,
                    Some(s @ Shortcut::Projection { .. }) => join(&y, &s.forward(&first, mode)),
                    Some(s) => join(&y, &s.forward(x, mode)),
                }
            }
        }
    }
}

/// Two convolutions of 3×3 pixels: He et al. 2015, figure 5, left. torchvision's `BasicBlock`.
#[derive(Clone, Debug)]
pub struct BasicBlock {
    /// Carries the stride.
    pub conv1: Conv2d,
    /// Behind `conv1`, or in front of it.
    pub bn1: BatchNorm2d,
    /// The second convolution.
    pub conv2: Conv2d,
    /// Behind `conv2`, or in front of it.
    pub bn2: BatchNorm2d,
    /// The way around; `None` in a plain network.
    pub shortcut: Option<Shortcut>,
    /// What it is made of.
    pub config: BlockConfig,
}

impl BasicBlock {
    /// Channels that go out, in units of [`BlockConfig::channels`].
    pub const EXPANSION: usize = 1;

    /// Registers `conv1`, `bn1`, `conv2`, `bn2`, and `downsample` for a projection.
    ///
    /// # Panics
    /// When a name is taken, when there are groups or another width, or when channels of zeros cannot make up for a
    /// change of shape.
    #[track_caller]
    pub fn new(scope: &Scope, config: BlockConfig) -> Self {
        let BlockConfig { in_channels, channels, stride, groups, width_per_group, .. } = config;
        assert!((groups, width_per_group) == (1, 64), "a basic block has one group and its channels' width");
        let [first, second] = [[in_channels, channels], [channels, channels]];
        BasicBlock {
            conv1: convolution(&scope.at("conv1"), in_channels, channels, 3, stride, 1),
            bn1: config.norm(scope, "bn1", first, false),
            conv2: convolution(&scope.at("conv2"), channels, channels, 3, 1, 1),
            bn2: config.norm(scope, "bn2", second, true),
            shortcut: config.shortcut(scope, channels),
            config,
        }
    }

    /// `[N, in_channels, H, W]` becomes `[N, channels, ⌈H / stride⌉, ⌈W / stride⌉]`.
    ///
    /// # Panics
    /// When `x` has another number of axes or channels.
    #[track_caller]
    pub fn forward(&self, x: &Tensor, mode: Mode) -> Tensor {
        let layers = [(&self.conv1, &self.bn1), (&self.conv2, &self.bn2)];
        self.config.run(&layers, self.shortcut.as_ref(), x, mode)
    }
}

/// Convolutions of 1×1, 3×3 and 1×1 pixels, the middle one narrow: He et al. 2015, figure 5, right. The stride is that of
/// the convolution of 3×3 pixels. torchvision's `Bottleneck`.
#[derive(Clone, Debug)]
pub struct Bottleneck {
    /// To the narrow width.
    pub conv1: Conv2d,
    /// Behind `conv1`, or in front of it.
    pub bn1: BatchNorm2d,
    /// Carries the stride and the groups.
    pub conv2: Conv2d,
    /// Behind `conv2`, or in front of it.
    pub bn2: BatchNorm2d,
    /// To four times [`BlockConfig::channels`].
    pub conv3: Conv2d,
    /// Behind `conv3`, or in front of it.
    pub bn3: BatchNorm2d,
    /// The way around; `None` in a plain network.
    pub shortcut: Option<Shortcut>,
    /// What it is made of.
    pub config: BlockConfig,
}

impl Bottleneck {
    /// Channels that go out, in units of [`BlockConfig::channels`].
    pub const EXPANSION: usize = 4;

    /// Registers `conv1`, `bn1` to `conv3`, `bn3`, and `downsample` for a projection.
    ///
    /// # Panics
    /// When a name is taken, the groups do not divide the width, or channels of zeros cannot make up for a change of shape.
    #[track_caller]
    pub fn new(scope: &Scope, config: BlockConfig) -> Self {
        let BlockConfig { in_channels, channels, stride, groups, .. } = config;
        let width = channels * config.width_per_group / 64 * groups;
        let out = channels * Bottleneck::EXPANSION;
        Bottleneck {
            conv1: convolution(&scope.at("conv1"), in_channels, width, 1, 1, 1),
            bn1: config.norm(scope, "bn1", [in_channels, width], false),
            conv2: convolution(&scope.at("conv2"), width, width, 3, stride, groups),
            bn2: config.norm(scope, "bn2", [width, width], false),
            conv3: convolution(&scope.at("conv3"), width, out, 1, 1, 1),
            bn3: config.norm(scope, "bn3", [width, out], true),
            shortcut: config.shortcut(scope, out),
            config,
        }
    }

    /// `[N, in_channels, H, W]` becomes `[N, 4·channels, ⌈H / stride⌉, ⌈W / stride⌉]`.
    ///
    /// # Panics
    /// When `x` has another number of axes or channels.
    #[track_caller]
    pub fn forward(&self, x: &Tensor, mode: Mode) -> Tensor {
        let layers = [(&self.conv1, &self.bn1), (&self.conv2, &self.bn2), (&self.conv3, &self.bn3)];
        self.config.run(&layers, self.shortcut.as_ref(), x, mode)
    }
}
