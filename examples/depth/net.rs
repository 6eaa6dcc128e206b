//! Plain and residual networks of the same layers, with and without batch normalisation.

use recurve::models::resnet::{Block, ResNet, ResNetConfig};
use recurve::nn::residual::{BasicBlock, ShortcutKind};
use recurve::nn::{Conv2d, Mode};
use recurve::{Params, Result, Tensor};

/// How a network is kept in bounds at first.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Start {
    /// Batch normalisation behind each convolution; weights by He et al. (arXiv 1502.01852).
    BatchNorm,
    /// No normalisation; weights by He et al., which make up for what ReLU takes away.
    He,
    /// No normalisation; weights as small as PyTorch's convolutions have them by default.
    Small,
}

impl Start {
    /// What to call it.
    pub fn name(self) -> &'static str {
        match self {
            Start::BatchNorm => "batch norm",
            Start::He => "no norm, He's weights",
            Start::Small => "no norm, PyTorch's weights",
        }
    }

    /// The heading of what was measured before training.
    pub fn heading(self) -> &'static str {
        match self {
            Start::BatchNorm => "Gradients with batch norm, before training",
            Start::He => "Gradients, no norm, He's weights, before training",
            Start::Small => "Gradients, no norm, PyTorch's weights, before training",
        }
    }
}

/// A network of 6n + 2 layers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Kind {
    /// Layers with weights.
    pub depth: usize,
    /// Whether two convolutions at a time have a shortcut around them.
    pub shortcuts: bool,
}

impl Kind {
    /// As the paper calls it.
    pub fn name(self) -> String {
        format!("{}-{}", if self.shortcuts { "ResNet" } else { "plain" }, self.depth)
    }
}

/// A network whose layers can be looked at.
pub struct Net {
    inner: ResNet,
    start: Start,
}

/// What a network computes from pictures.
pub struct Pass {
    /// What the first convolution gives and what each block gives, activated.
    pub activations: Vec<Tensor>,
    /// `[N, classes]`.
    pub logits: Tensor,
}

impl Net {
    /// Registers the parameters. Shortcuts have none (option A of He et al. 2015), so for one seed a plain network starts
    /// with the same weights as the residual one.
    ///
    /// # Errors
    /// Whatever stopped the computation.
    pub fn new(params: &Params, kind: Kind, start: Start, width: usize, in_channels: usize) -> Result<Net> {
        let config = ResNetConfig {
            channels: width,
            stem_channels: width,
            in_channels,
            shortcut: if kind.shortcuts { ShortcutKind::Padding } else { ShortcutKind::Absent },
            ..ResNetConfig::cifar(kind.depth)
        };
        let net = Net { inner: ResNet::new(&params.root(), config), start };
        if start == Start::Small {
            // He's variance is 2 / fan, PyTorch's 1 / (3 fan).
            for conv in net.convolutions() {
                let values = conv.weight.tensor().to_vec()?;
                conv.weight.set(&values.iter().map(|v| v / 6f32.sqrt()).collect::<Vec<_>>())?;
            }
        }
        Ok(net)
    }

    fn blocks(&self) -> impl Iterator<Item = &BasicBlock> {
        self.inner.stages.iter().flatten().map(|block| match block {
            Block::Basic(block) => block,
            Block::Bottleneck(_) => unreachable!("networks for CIFAR have basic blocks"),
        })
    }

    /// The convolutions of 3×3 pixels, from the pictures on.
    pub fn convolutions(&self) -> Vec<&Conv2d> {
        let first = std::iter::once(&self.inner.conv1);
        first.chain(self.blocks().flat_map(|b| [&b.conv1, &b.conv2])).collect()
    }

    /// Pictures `[N, C, H, W]` to logits.
    pub fn forward(&self, x: &Tensor, mode: Mode) -> Tensor {
        self.pass(x, mode).logits
    }

    /// Pictures `[N, C, H, W]` to logits, with all that lies between.
    pub fn pass(&self, x: &Tensor, mode: Mode) -> Pass {
        let first = match self.start {
            Start::BatchNorm => self.inner.stem(x, mode),
            _ => self.inner.conv1.forward(x).relu(),
        };
        let mut activations = vec![first];
        for block in self.blocks() {
            let next = self.block(block, activations.last().expect("there is a first"), mode);
            activations.push(next);
        }
        Pass { logits: self.classify(activations.last().expect("there is a first")), activations }
    }

    // The example itself needs no such part; the test of its gradients does.
    #[allow(dead_code)]
    /// What blocks from `from` on and the dense layer make of the activations before them.
    pub fn rest(&self, from: usize, x: &Tensor, mode: Mode) -> Tensor {
        let behind = self.blocks().skip(from).fold(x.clone(), |y, block| self.block(block, &y, mode));
        self.classify(&behind)
    }

    fn classify(&self, maps: &Tensor) -> Tensor {
        self.inner.fc.forward(&maps.mean(&[2, 3]))
    }

    fn block(&self, block: &BasicBlock, x: &Tensor, mode: Mode) -> Tensor {
        if self.start == Start::BatchNorm {
            return block.forward(x, mode);
        }
        let y = block.conv2.forward(&block.conv1.forward(x).relu());
        block.shortcut.as_ref().map_or_else(|| y.clone(), |s| y.add(&s.forward(x, mode))).relu()
    }
}
