//! Residual connections around bodies of any kind, and the shortcuts themselves.

use super::{outcome, ramp, same, support};
use recurve::nn::{
    BasicBlock, BatchNorm2d, BlockConfig, Conv2d, Gru, LayerNorm, Linear, Lstm, LstmOptions, Mode,
    RecurrentConfig, Reset, Residual, Shortcut, ShortcutKind,
};
use recurve::ops::conv2d::Conv2dConfig;
use recurve::params::{Fan, Nonlinearity};
use recurve::{Device, Init, Params, Tensor};

/// Both ways of writing one thing, registered under the same names in sets of their own.
fn both(
    what: &str,
    dev: &Device,
    shape: &[usize],
    layer: &dyn Fn(&Params) -> super::Net,
    by_hand: &dyn Fn(&Params) -> super::Net,
) {
    for mode in [Mode::Train, Mode::Eval] {
        let run = |build: &dyn Fn(&Params) -> super::Net| {
            let params = Params::new(dev, 11);
            let net = build(&params);
            let x = ramp(dev, shape).requires_grad();
            outcome(&params, &x, &net(&x, mode))
        };
        same(&format!("{what} on {}, {mode:?}", dev.name()), &run(layer), &run(by_hand));
    }
}

fn dense(params: &Params, sizes: [usize; 3]) -> impl Fn(&Tensor) -> Tensor + 'static {
    let norm = LayerNorm::new(&params.at("norm"), [sizes[0]], Default::default());
    let up = Linear::new(&params.at("up"), sizes[0], sizes[1]);
    let down = Linear::new(&params.at("down"), sizes[1], sizes[2]);
    move |x| down.forward(&up.forward(&norm.forward(x)).relu())
}

#[test]
fn around_dense_bodies() {
    for dev in support::devices() {
        let identity = |p: &Params| -> super::Net {
            let body = dense(p, [6, 9, 6]);
            let layer = Residual::new(move |x: &Tensor, _| body(x), Shortcut::Identity);
            Box::new(move |x, mode| layer.forward(x, mode))
        };
        let by_hand = |p: &Params| -> super::Net {
            let body = dense(p, [6, 9, 6]);
            Box::new(move |x, _| body(x).add(x))
        };
        both("dense, identity", &dev, &[5, 6], &identity, &by_hand);

        let linear = |p: &Params| -> super::Net {
            let body = dense(p, [6, 9, 4]);
            let layer =
                Residual::new(move |x: &Tensor, _| body(x), Shortcut::linear(&p.at("shortcut"), 6, 4));
            Box::new(move |x, mode| layer.forward(x, mode))
        };
        let by_hand = |p: &Params| -> super::Net {
            let body = dense(p, [6, 9, 4]);
            let matrix = p.at("shortcut").param("weight", [4, 6], Init::default_weight());
            Box::new(move |x, _| body(x).add(&x.linear(&matrix.tensor(), None)))
        };
        both("dense, matrix", &dev, &[5, 6], &linear, &by_hand);
    }
}

/// A network of several layers with connections around each: what makes deep recurrent networks trainable.
#[test]
fn around_recurrent_bodies() {
    let lstm = |p: &Params, name: &str, from: usize, to: usize| {
        Lstm::new(&p.at(name), from, to, LstmOptions::default(), RecurrentConfig::default())
    };
    for dev in support::devices() {
        let stack = |p: &Params| -> super::Net {
            let (a, b) = (lstm(p, "a", 3, 5), lstm(p, "b", 5, 5));
            let a = Residual::new(
                move |x: &Tensor, mode| a.forward(x, None, mode).0,
                Shortcut::linear(&p.at("shortcut"), 3, 5),
            );
            let b = Residual::new(move |x: &Tensor, mode| b.forward(x, None, mode).0, Shortcut::Identity);
            Box::new(move |x, mode| b.forward(&a.forward(x, mode), mode))
        };
        let by_hand = |p: &Params| -> super::Net {
            let (a, b) = (lstm(p, "a", 3, 5), lstm(p, "b", 5, 5));
            let matrix = p.at("shortcut").param("weight", [5, 3], Init::default_weight());
            Box::new(move |x, mode| {
                let y = a.forward(x, None, mode).0.add(&x.linear(&matrix.tensor(), None));
                b.forward(&y, None, mode).0.add(&y)
            })
        };
        both("LSTM", &dev, &[7, 2, 3], &stack, &by_hand);

        let wide = RecurrentConfig { bidirectional: true, ..RecurrentConfig::default() };
        let gru = move |p: &Params| Gru::new(&p.at("gru"), 4, 2, Reset::AfterProduct, wide);
        let layer = |p: &Params| -> super::Net {
            let gru = gru(p);
            let layer =
                Residual::new(move |x: &Tensor, mode| gru.forward(x, None, mode).0, Shortcut::Identity);
            Box::new(move |x, mode| layer.forward(x, mode))
        };
        let by_hand = |p: &Params| -> super::Net {
            let gru = gru(p);
            Box::new(move |x, mode| gru.forward(x, None, mode).0.add(x))
        };
        both("GRU of both directions", &dev, &[6, 3, 4], &layer, &by_hand);
    }
}

/// A convolution as blocks have them: He's initial values by the way back.
fn conv(p: &Params, name: &str, from: usize, to: usize, size: usize, stride: usize) -> Conv2d {
    let init = Init::KaimingNormal { fan: Fan::Out, nonlinearity: Nonlinearity::Relu };
    let config = Conv2dConfig { stride: [stride; 2], padding: (size / 2).into(), ..Default::default() };
    Conv2d::with_init(&p.at(name), from, to, size, init, config)
}

#[test]
fn around_convolutional_bodies() {
    for dev in support::devices() {
        let layer = |p: &Params| -> super::Net {
            let body = conv(p, "conv", 3, 4, 3, 2);
            let shortcut = Shortcut::projection(&p.at("shortcut"), 3, 4, 2);
            let layer = Residual::new(move |x: &Tensor, _| body.forward(x).tanh(), shortcut);
            Box::new(move |x, mode| layer.forward(x, mode))
        };
        let by_hand = |p: &Params| -> super::Net {
            let body = conv(p, "conv", 3, 4, 3, 2);
            let around = conv(p, "shortcut.0", 3, 4, 1, 2);
            let norm = BatchNorm2d::new(&p.at("shortcut.1"), 4, Default::default());
            Box::new(move |x, mode| body.forward(x).tanh().add(&norm.forward(&around.forward(x), mode)))
        };
        both("convolution, projection", &dev, &[3, 3, 7, 6], &layer, &by_hand);

        // A block is a body like any other.
        let layer = |p: &Params| -> super::Net {
            let config = BlockConfig { in_channels: 4, channels: 4, ..BlockConfig::default() };
            let block = BasicBlock::new(&p.at("block"), config);
            let layer = Residual::new(move |x: &Tensor, mode| block.forward(x, mode), Shortcut::Identity);
            Box::new(move |x, mode| layer.forward(x, mode))
        };
        let by_hand = |p: &Params| -> super::Net {
            let config = BlockConfig {
                in_channels: 4,
                channels: 4,
                shortcut: ShortcutKind::Projection,
                ..BlockConfig::default()
            };
            let block = BasicBlock::new(&p.at("block"), config);
            Box::new(move |x, mode| block.forward(x, mode).add(x))
        };
        both("block", &dev, &[2, 4, 5, 5], &layer, &by_hand);
    }
}

/// Option A against its definition, element by element: values and gradients, with odd sizes and numbers of channels.
#[test]
fn padding_keeps_some_pixels_and_adds_zeros() {
    for dev in support::devices() {
        for ([n, c, h, w], out, stride) in [
            ([2, 3, 7, 5], 6, 2),
            ([1, 2, 6, 4], 2, 2),
            ([2, 2, 3, 3], 5, 1),
            ([1, 1, 8, 7], 4, 3),
            ([1, 3, 4, 4], 3, 1),
            ([2, 1, 1, 1], 3, 2),
        ] {
            let x = ramp(&dev, &[n, c, h, w]).requires_grad();
            let y = Shortcut::padding(c, out, stride).forward(&x, Mode::Train);
            let (p, q) = (h.div_ceil(stride), w.div_ceil(stride));
            assert_eq!(y.shape().dims(), [n, out, p, q]);
            let dy = ramp(&dev, &[n, out, p, q]);
            let dx = y.backward_with(&dy).wrt(&x).unwrap().to_vec().unwrap();
            let (x, y, dy) = (x.to_vec().unwrap(), y.to_vec().unwrap(), dy.to_vec().unwrap());
            let before = (out - c) / 2;
            let mut want = vec![0.0; y.len()];
            let mut want_dx = vec![0.0; x.len()];
            for (i, channel) in (0..n).flat_map(|i| (0..c).map(move |channel| (i, channel))) {
                for (row, column) in (0..p).flat_map(|row| (0..q).map(move |column| (row, column))) {
                    let from = ((i * c + channel) * h + row * stride) * w + column * stride;
                    let to = ((i * out + before + channel) * p + row) * q + column;
                    want[to] = x[from];
                    want_dx[from] = dy[to];
                }
            }
            assert_eq!(y, want, "{n}x{c}x{h}x{w} to {out} channels at stride {stride} on {}", dev.name());
            assert_eq!(dx, want_dx, "gradient of {n}x{c}x{h}x{w} at stride {stride} on {}", dev.name());
        }
    }
}

#[test]
#[should_panic(expected = "residual connection: the body gives [2, 8], its shortcut [2, 1]")]
fn ways_of_other_shapes_are_not_stretched() {
    let dev = Device::cpu();
    let wide = dev.tensor([0.0; 16], [2, 8]);
    Residual::new(move |_: &Tensor, _| wide.clone(), Shortcut::Identity)
        .forward(&dev.tensor([0.0; 2], [2, 1]), Mode::Train);
}
