//! Small nets of random layers through the public methods, forward and gradients: planned programs on every adapter
//! against the reference in f64.

use super::{Devices, runner};
use proptest::collection::vec;
use proptest::prelude::{Strategy, any};
use proptest::prop_oneof;
use proptest::sample::select;
use rand::rngs::ChaCha8Rng;
use rand::{RngExt, SeedableRng};
use recurve::ops::activation::Gelu;
use recurve::ops::avg_pool2d::AvgPool2dConfig;
use recurve::ops::conv_transpose2d::ConvTranspose2dConfig;
use recurve::ops::conv2d::Conv2dConfig;
use recurve::ops::cross_entropy::Reduction;
use recurve::ops::max_pool2d::MaxPool2dConfig;
use recurve::ops::upsample::Interpolation;
use recurve::testing::compare;
use recurve::{Device, Result, Tensor};

/// A layer from images to images. Sizes are taken modulo what fits.
#[derive(Clone, Debug)]
enum Layer {
    Conv {
        results: usize,
        kernel: usize,
        stride: usize,
        dilation: usize,
        padding: [[usize; 2]; 2],
        each: bool,
    },
    ConvTranspose {
        results: usize,
        kernel: usize,
        stride: usize,
    },
    BatchNorm {
        train: bool,
    },
    GroupNorm,
    Activation(Curve),
    MaxPool {
        kernel: usize,
        stride: usize,
    },
    AvgPool {
        kernel: usize,
        stride: usize,
    },
    AdaptiveAvgPool {
        size: [usize; 2],
    },
    Upsample {
        factor: usize,
        linear: bool,
    },
    Skip,
}

/// Functions whose gradients have no jump, and one that has.
#[derive(Clone, Copy, Debug)]
enum Curve {
    Relu,
    Tanh,
    Sigmoid,
    Silu,
    Gelu,
    Softplus,
    Elu,
}

#[derive(Clone, Debug)]
struct Net {
    images: [usize; 4],
    layers: Vec<Layer>,
    loss: Loss,
    seed: u64,
}

#[derive(Clone, Copy, Debug)]
enum Loss {
    CrossEntropy,
    LogSoftmax,
    Mse,
    BinaryCrossEntropy,
}

fn layer() -> impl Strategy<Value = Layer> {
    let padding = select(&[[[0usize, 0usize], [0usize, 0usize]], [[1, 1], [1, 1]], [[0, 2], [1, 0]]][..]);
    let conv =
        (select(&[2usize, 5, 8, 12][..]), select(&[1usize, 2, 3][..]), 1usize..=2, 1usize..=2, padding);
    let conv = (conv, any::<bool>()).prop_map(|((results, kernel, stride, dilation, padding), each)| {
        Layer::Conv { results, kernel, stride, dilation, padding, each }
    });
    let transposed = (select(&[3usize, 8][..]), 1usize..=3, 1usize..=2)
        .prop_map(|(results, kernel, stride)| Layer::ConvTranspose { results, kernel, stride });
    use Curve::*;
    let curve = select(&[Relu, Tanh, Sigmoid, Silu, Gelu, Softplus, Elu][..]).prop_map(Layer::Activation);
    let window = || (2usize..=3, 1usize..=2);
    prop_oneof![
        4 => conv,
        1 => transposed,
        2 => any::<bool>().prop_map(|train| Layer::BatchNorm { train }),
        1 => select(vec![Layer::GroupNorm, Layer::Skip]),
        4 => curve,
        1 => window().prop_map(|(kernel, stride)| Layer::MaxPool { kernel, stride }),
        1 => window().prop_map(|(kernel, stride)| Layer::AvgPool { kernel, stride }),
        1 => [1usize..=4, 1usize..=5].prop_map(|size| Layer::AdaptiveAvgPool { size }),
        1 => (2usize..=3, any::<bool>()).prop_map(|(factor, linear)| Layer::Upsample { factor, linear }),
    ]
}

fn net() -> impl Strategy<Value = Net> {
    let images = (2usize..=3, select(&[1usize, 3, 4][..]), 5usize..=9, 5usize..=9);
    let loss = select(&[Loss::CrossEntropy, Loss::LogSoftmax, Loss::Mse, Loss::BinaryCrossEntropy][..]);
    (images, vec(layer(), 3..=6), loss, any::<u64>().no_shrink())
        .prop_map(|((n, c, h, w), layers, loss, seed)| Net { images: [n, c, h, w], layers, loss, seed })
}

/// Values of parameters and inputs, in the order in which they are asked for.
struct Values<'a> {
    device: &'a Device,
    rng: ChaCha8Rng,
    parameters: Vec<Tensor>,
}

impl Values<'_> {
    /// Uniform values between -1 and 1, times `scale`, around `mean`.
    fn input(&mut self, shape: &[usize], mean: f64, scale: f64) -> Tensor {
        let mut value = || f64::from((mean + scale * (2.0 * self.rng.random::<f64>() - 1.0)) as f32);
        let values: Vec<f64> = (0..shape.iter().product()).map(|_| value()).collect();
        self.device.tensor_f64(&values, shape)
    }

    fn parameter(&mut self, shape: &[usize], mean: f64, scale: f64) -> Tensor {
        let parameter = self.input(shape, mean, scale).requires_grad();
        self.parameters.push(parameter.clone());
        parameter
    }
}

fn curve(curve: Curve, x: &Tensor) -> Tensor {
    match curve {
        Curve::Relu => x.relu(),
        Curve::Tanh => x.tanh(),
        Curve::Sigmoid => x.sigmoid(),
        Curve::Silu => x.silu(),
        Curve::Gelu => x.gelu(Gelu::Tanh),
        Curve::Softplus => x.softplus(),
        Curve::Elu => x.elu(1.0),
    }
}

/// The layer on x. One that does not fit the image is left out.
fn forward(layer: &Layer, x: &Tensor, values: &mut Values<'_>) -> Tensor {
    let [n, c, h, w] = x.shape().dims().try_into().expect("images");
    let fits = |kernel: usize, dilation: usize| h.min(w) > dilation * (kernel - 1);
    match *layer {
        Layer::Conv { results, kernel, stride, dilation, padding, each } if fits(kernel, dilation) => {
            let (k, groups) = if each { (2 * c, c) } else { (results, 1) };
            let fan = (c / groups * kernel * kernel) as f64;
            let weight = values.parameter(&[k, c / groups, kernel, kernel], 0.0, (3.0 / fan).sqrt());
            let bias = values.parameter(&[k], 0.0, 0.5);
            let (stride, dilation) = ([stride; 2], [dilation; 2]);
            x.conv2d(&weight, Some(&bias), Conv2dConfig { stride, padding: padding.into(), dilation, groups })
        }
        Layer::ConvTranspose { results, kernel, stride } if h * w * stride * stride <= 600 => {
            let fan = (c * kernel * kernel) as f64;
            let weight = values.parameter(&[c, results, kernel, kernel], 0.0, (3.0 / fan).sqrt());
            let bias = values.parameter(&[results], 0.0, 0.5);
            let config = ConvTranspose2dConfig { stride: [stride; 2], ..Default::default() };
            x.conv_transpose2d(&weight, Some(&bias), config)
        }
        Layer::BatchNorm { train } if n * h * w > 8 => {
            let (gamma, beta) = (values.parameter(&[c], 1.0, 0.5), values.parameter(&[c], 0.0, 0.5));
            if train {
                return x.batch_norm_train(Some((&gamma, &beta)), 1e-3).0;
            }
            let (mean, var) = (values.input(&[c], 0.0, 0.5), values.input(&[c], 1.0, 0.5));
            x.batch_norm_eval(&mean, &var, Some((&gamma, &beta)), 1e-5)
        }
        Layer::GroupNorm if c * h * w > 8 => {
            let (gamma, beta) = (values.parameter(&[c], 1.0, 0.5), values.parameter(&[c], 0.0, 0.5));
            x.group_norm(1, Some((&gamma, &beta)), 1e-3)
        }
        Layer::Activation(function) => curve(function, x),
        Layer::MaxPool { kernel, stride } if fits(kernel, 1) => {
            let config = MaxPool2dConfig { stride: Some([stride; 2]), ..Default::default() };
            x.max_pool2d_with([kernel; 2], config)
        }
        Layer::AvgPool { kernel, stride } if fits(kernel, 1) => {
            let config = AvgPool2dConfig { stride: Some([stride; 2]), ..Default::default() };
            x.avg_pool2d_with([kernel; 2], config)
        }
        Layer::AdaptiveAvgPool { size } => x.adaptive_avg_pool2d(size),
        Layer::Upsample { factor, linear } if h * w <= 100 => {
            let mode = match linear {
                true => Interpolation::Linear { align_corners: false },
                false => Interpolation::Nearest,
            };
            x.interpolate([h * factor, w * factor], mode)
        }
        Layer::Skip => x.add(&x.tanh().mul_scalar(0.5)),
        _ => x.clone(),
    }
}

/// Where the gradients begin in what [`run`] returns.
const GRADIENTS: usize = 2;

/// Loss, result of the layers, and gradients of images and parameters.
fn run(net: &Net, device: &Device) -> Result<Vec<Vec<f64>>> {
    let rng = ChaCha8Rng::seed_from_u64(net.seed);
    let mut values = Values { device, rng, parameters: Vec::new() };
    let x = values.parameter(&net.images, 0.0, 1.0);
    let y = net.layers.iter().fold(x, |x, layer| forward(layer, &x, &mut values));
    let shape = y.shape();
    let (n, width, classes) = (shape[0], shape.span(1, 4), 5);
    let dense = values.parameter(&[width, classes], 0.0, (3.0 / width as f64).sqrt());
    let logits = y.reshape([n, width]).matmul(&dense).add(&values.parameter(&[classes], 0.0, 0.5));
    let labels = device.labels((0..n as i64).map(|i| (7 * i + 3) % 5).collect::<Vec<_>>());
    let loss = match net.loss {
        Loss::CrossEntropy => logits.cross_entropy(&labels),
        Loss::LogSoftmax => logits.log_softmax(1).mean(&[0, 1]).neg(),
        Loss::Mse => logits.mse_loss(&values.input(&[n, classes], 0.0, 1.0), Reduction::Mean),
        Loss::BinaryCrossEntropy => {
            let target = values.input(&[n, classes], 0.5, 0.5);
            logits.binary_cross_entropy_with_logits(&target, Default::default())
        }
    };
    let gradients = loss.backward();
    let mut held = vec![loss, y.clone()];
    held.extend(values.parameters.iter().filter_map(|p| gradients.wrt(p)));
    held.iter().map(Tensor::to_vec_f64).collect()
}

/// The bounds of golden files, `20·err + 1e-6·max`, where the error in f32 is that of rounding each op's results. Terms
/// of a gradient may cancel in front of a normalisation, so gradients are measured by the largest of all; and those that
/// are 0, as a bias has there, are only to be small.
fn bounds(exact: &[Vec<f64>], rounded: &[Vec<f64>]) -> Vec<Vec<f64>> {
    let largest = |values: &[Vec<f64>]| values.iter().flatten().fold(0.0, |m: f64, v| m.max(v.abs()));
    let bound = |(k, (want, rounded)): (usize, (&Vec<f64>, &Vec<f64>))| {
        let error = want.iter().zip(rounded).fold(0.0, |m: f64, (a, b)| m.max((a - b).abs()));
        let max = if k < GRADIENTS { largest(&exact[k..=k]) } else { largest(&exact[GRADIENTS..]) };
        let roundings = if largest(&exact[k..=k]) < 1e-9 * max { 1e-4 } else { 1e-6 };
        vec![20.0 * error + roundings * max; want.len()]
    };
    exact.iter().zip(rounded).enumerate().map(bound).collect()
}

#[test]
fn random_nets_compute_on_every_adapter_what_the_reference_does() {
    if !crate::selected("nets") {
        return;
    }
    let devices = Devices::open();
    let outcome = runner(20).run(&net(), |net| {
        let exact = run(&net, &Device::cpu_f64()).map_err(|e| e.to_string());
        let rounded = run(&net, &Device::cpu()).map_err(|e| e.to_string());
        devices.each(|device| {
            let (exact, rounded) = (exact.clone()?, rounded.clone()?);
            let got = run(&net, device).map_err(|e| format!("{e} on {}", device.name()))?;
            assert_eq!(got.len(), exact.len());
            for (k, (bounds, (got, want))) in
                bounds(&exact, &rounded).iter().zip(got.iter().zip(&exact)).enumerate()
            {
                let what = format!("value {k} on {}", device.name());
                compare(&what, got, want, bounds, net.seed).map_err(|e| e.to_string())?;
            }
            Ok(())
        })
    });
    outcome.unwrap_or_else(|failure| panic!("{failure}"));
}
