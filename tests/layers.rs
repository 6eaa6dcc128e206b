//! Layers: PyTorch's names and shapes, modes, running statistics, dropout.

mod support;

use recurve::nn::{
    AvgPool2d, BatchNorm1d, BatchNorm2d, BatchNormConfig, Conv1d, Conv2d, ConvTranspose1d, ConvTranspose2d,
    Dropout, Embedding, Flatten, GroupNorm, InstanceNorm, LayerNorm, Linear, MaxPool2d, Mode, NormConfig,
    RunningStats,
};
use recurve::ops::conv_transpose1d::ConvTranspose1dConfig;
use recurve::ops::conv_transpose2d::ConvTranspose2dConfig;
use recurve::ops::conv1d::{Conv1dConfig, Padding1d};
use recurve::ops::conv2d::{Conv2dConfig, Padding};
use recurve::{Device, Error, Params, Tensor, no_grad};

fn ramp(dev: &Device, shape: &[usize]) -> Tensor {
    let n: usize = shape.iter().product();
    dev.tensor((0..n).map(|i| ((i * 7) % 11) as f32 - 4.0).collect::<Vec<_>>(), shape)
}

fn running(bn: &BatchNorm2d) -> (Vec<f32>, Vec<f32>, u64) {
    let RunningStats { running_mean, running_var, num_batches_tracked } = bn.running.as_ref().unwrap();
    let read = |p: &recurve::Param| p.tensor().to_vec().unwrap();
    (read(running_mean), read(running_var), num_batches_tracked.get())
}

#[test]
fn names_and_shapes_are_pytorchs() {
    let p = Params::new(&Device::cpu(), 0);
    let block = p.at("layer1.0");
    Conv2d::without_bias(&block.at("conv1"), 6, 8, [3, 5], Conv2dConfig { groups: 2, ..Default::default() });
    BatchNorm2d::new(&block.at("bn1"), 8, Default::default());
    Linear::new(&p.at("fc"), 8, 10);
    LayerNorm::new(&p.at("ln"), [3, 4], Default::default());
    GroupNorm::new(&p.at("gn"), 2, 6, Default::default());
    InstanceNorm::new(&p.at("in"), 5, NormConfig { affine: false, ..Default::default() });
    BatchNorm1d::new(&p.at("bn"), 2, BatchNormConfig { track_running_stats: false, ..Default::default() });
    Embedding::new(&p.at("emb"), 7, 3);
    let named: Vec<String> = p.named().iter().map(|p| format!("{p:?}")).collect();
    let want = [
        "layer1.0.conv1.weight [8, 3, 3, 5]",
        "layer1.0.bn1.weight [8]",
        "layer1.0.bn1.bias [8]",
        "layer1.0.bn1.running_mean [8]",
        "layer1.0.bn1.running_var [8]",
        "fc.weight [10, 8]",
        "fc.bias [10]",
        "ln.weight [3, 4]",
        "ln.bias [3, 4]",
        "gn.weight [6]",
        "gn.bias [6]",
        "bn.weight [2]",
        "bn.bias [2]",
        "emb.weight [7, 3]",
    ];
    assert_eq!(named, want);
    assert_eq!(p.counters()[0].name(), "layer1.0.bn1.num_batches_tracked");
    assert_eq!(p.elements(), 8 * 3 * 15 + 16 + 90 + 24 + 12 + 4 + 21);
}

#[test]
fn convolutions_start_within_pytorchs_bounds() {
    let dev = Device::cpu();
    let p = Params::new(&dev, 5);
    let grouped = ConvTranspose2dConfig { groups: 2, ..Default::default() };
    Conv1d::new(&p.at("conv1d"), 6, 64, 5, Conv1dConfig { groups: 2, ..Default::default() });
    ConvTranspose2d::new(&p.at("up2d"), 6, 64, [2, 3], grouped);
    ConvTranspose1d::new(&p.at("up1d"), 6, 64, 4, Default::default());
    let named: Vec<String> = p.named().iter().map(|p| format!("{p:?}")).collect();
    let want = [
        "conv1d.weight [64, 3, 5]",
        "conv1d.bias [64]",
        "up2d.weight [6, 32, 2, 3]",
        "up2d.bias [64]",
        "up1d.weight [6, 64, 4]",
        "up1d.bias [64]",
    ];
    assert_eq!(named, want);
    // PyTorch takes the fan of axis 1, which for a transposed weight is that of the results.
    for (layer, fan) in [("conv1d", 3.0 * 5.0), ("up2d", 32.0 * 6.0), ("up1d", 64.0 * 4.0f32)] {
        for name in ["weight", "bias"] {
            let values = p.get(&format!("{layer}.{name}")).unwrap().tensor().to_vec().unwrap();
            let largest = values.iter().fold(0.0f32, |m, v| m.max(v.abs()));
            let bound = 1.0 / fan.sqrt();
            assert!((0.85 * bound..=bound).contains(&largest), "{layer}.{name}: {largest}, not {bound}");
        }
    }
}

#[test]
fn an_autoencoder_gives_its_inputs_shape() {
    for dev in support::devices() {
        let p = Params::new(&dev, 1);
        let same = Conv2dConfig { padding: Padding::Same, ..Default::default() };
        let down = Conv2dConfig { stride: [2, 2], padding: 1.into(), ..Default::default() };
        let double = ConvTranspose2dConfig { stride: [2, 2], padding: [1, 1], ..Default::default() };
        let first = Conv2d::new(&p.at("first"), 1, 3, 4, same);
        let encode = Conv2d::new(&p.at("encode"), 3, 4, 3, down);
        let decode = ConvTranspose2d::new(&p.at("decode"), 4, 1, 4, double);
        let x = ramp(&dev, &[2, 1, 8, 10]);
        let y = decode.forward(&encode.forward(&first.forward(&x)).relu());
        assert_eq!(y.shape(), x.shape());

        let same = Conv1dConfig { padding: Padding1d::Same, ..Default::default() };
        let double = ConvTranspose1dConfig { stride: 2, padding: 1, output_padding: 1, ..Default::default() };
        let rows = Conv1d::without_bias(&p.at("rows"), 2, 3, 4, same);
        let up = ConvTranspose1d::without_bias(&p.at("up"), 3, 2, 3, double);
        let z = up.forward(&rows.forward(&ramp(&dev, &[2, 2, 7])));
        assert_eq!(z.shape().dims(), [2, 2, 14]);
        let gradients = y.square().sum(&[0, 1, 2, 3]).add(&z.square().sum(&[0, 1, 2])).backward();
        for param in p.named() {
            let gradient = param.gradient(&gradients).unwrap().to_vec().unwrap();
            assert!(gradient.iter().any(|&g| g != 0.0), "{dev:?} {param:?}");
        }
    }
}

#[test]
fn a_stack_of_layers() {
    for dev in support::devices() {
        let p = Params::new(&dev, 3);
        let conv =
            Conv2d::new(&p.at("conv"), 2, 4, 3, Conv2dConfig { padding: 1.into(), ..Default::default() });
        let fc = Linear::new(&p.at("fc"), 4 * 2 * 2, 3);
        let x = ramp(&dev, &[2, 2, 8, 8]);
        let h = MaxPool2d::new(2, Default::default()).forward(&conv.forward(&x).relu());
        let h = AvgPool2d::new([2, 2], Default::default()).forward(&h);
        let y = fc.forward(&Flatten::default().forward(&h));
        assert_eq!(y.shape().dims(), [2, 3]);
        let gradients = y.sum(&[0, 1]).backward();
        for param in p.named() {
            let gradient = param.gradient(&gradients).unwrap().to_vec().unwrap();
            assert!(gradient.iter().any(|&g| g != 0.0), "{dev:?} {param:?}");
        }
        // The bias of the last layer is added once per sample.
        assert_eq!(p.get("fc.bias").unwrap().gradient(&gradients).unwrap().to_vec().unwrap(), [2.0; 3]);
    }
}

/// Mean and unbiased variance of each channel.
fn statistics(values: &[f32], channels: usize, per_image: usize) -> Vec<(f64, f64)> {
    let of = |c| {
        let picked = values.iter().enumerate().filter(move |(i, _)| i / per_image % channels == c);
        let picked: Vec<f64> = picked.map(|(_, &v)| f64::from(v)).collect();
        let n = picked.len() as f64;
        let mean = picked.iter().sum::<f64>() / n;
        (mean, picked.iter().map(|v| (v - mean).powi(2)).sum::<f64>() / (n - 1.0))
    };
    (0..channels).map(of).collect()
}

#[test]
fn running_statistics_move_in_training_only() {
    for dev in support::devices() {
        for momentum in [Some(0.25), None] {
            let p = Params::new(&dev, 0);
            let config = BatchNormConfig { momentum, ..Default::default() };
            let bn = BatchNorm2d::new(&p.at("bn"), 3, config);
            let mut want = [(0.0, 1.0); 3];
            for step in 1..4 {
                let x = ramp(&dev, &[step + 1, 3, 2, 5]).mul_scalar(step as f64);
                // Reading the result twice must not count the batch twice.
                let y = bn.forward(&x, Mode::Train);
                y.to_vec().unwrap();
                y.add_scalar(1.0).to_vec().unwrap();
                bn.forward(&x.mul_scalar(100.0), Mode::Eval).to_vec().unwrap();
                let m = momentum.unwrap_or(1.0 / step as f64);
                for (want, of) in want.iter_mut().zip(statistics(&x.to_vec().unwrap(), 3, 10)) {
                    want.0 += m * (of.0 - want.0);
                    want.1 += m * (of.1 - want.1);
                }
                let (mean, var, batches) = running(&bn);
                assert_eq!(batches, step as u64);
                for (c, want) in want.iter().enumerate() {
                    assert!(
                        (f64::from(mean[c]) - want.0).abs() < 1e-5 * (1.0 + want.0.abs()),
                        "{dev:?} {mean:?}"
                    );
                    assert!(
                        (f64::from(var[c]) - want.1).abs() < 1e-5 * (1.0 + want.1.abs()),
                        "{dev:?} {var:?}"
                    );
                }
            }
            let x = ramp(&dev, &[1, 3, 1, 2]);
            let got = no_grad(|| bn.forward(&x, Mode::Eval)).to_vec().unwrap();
            for (i, (got, x)) in got.iter().zip(x.to_vec().unwrap()).enumerate() {
                let (mean, var) = want[i / 2];
                let want = (f64::from(x) - mean) / (var + 1e-5).sqrt();
                assert!((f64::from(*got) - want).abs() < 1e-5, "{dev:?}: {got}, not {want}");
            }
        }
    }
}

#[test]
fn without_running_statistics_evaluation_uses_the_batch() {
    let dev = Device::cpu();
    let p = Params::new(&dev, 0);
    let config = BatchNormConfig { track_running_stats: false, affine: false, ..Default::default() };
    let bn = BatchNorm2d::new(&p.at("bn"), 2, config);
    assert!(p.named().is_empty() && p.counters().is_empty());
    let x = ramp(&dev, &[3, 2, 2, 2]);
    let (train, eval) = (bn.forward(&x, Mode::Train), bn.forward(&x, Mode::Eval));
    assert_eq!(train.to_vec().unwrap(), eval.to_vec().unwrap());
}

#[test]
#[should_panic(expected = "one value per channel")]
fn batch_statistics_of_one_value() {
    let dev = Device::cpu();
    let bn = BatchNorm2d::new(&Params::new(&dev, 0).at("bn"), 2, Default::default());
    bn.forward(&ramp(&dev, &[1, 2, 1, 1]), Mode::Train);
}

#[test]
fn dropout_drops_others_at_every_call_and_none_in_evaluation() {
    for dev in support::devices() {
        let mask = |seed: u64| {
            let p = Params::new(&dev, seed);
            let dropout = Dropout::new(&p.root(), 0.25);
            let x = dev.full(3.0, [1000]);
            assert_eq!(dropout.forward(&x, Mode::Eval).to_vec().unwrap(), vec![3.0; 1000]);
            [(); 2].map(|()| dropout.forward(&x, Mode::Train).to_vec().unwrap())
        };
        let [first, second] = mask(1);
        assert!(first.iter().all(|&v| v == 0.0 || v == 4.0), "{dev:?}");
        let dropped = first.iter().filter(|&&v| v == 0.0).count();
        assert!((180..320).contains(&dropped), "{dev:?}: {dropped} of 1000");
        assert_ne!(first, second);
        assert_eq!(mask(1), [first.clone(), second]);
        assert_ne!(mask(2)[0], first);
    }
}

/// Mean and biased variance.
fn moments(values: &[f32]) -> (f64, f64) {
    let n = values.len() as f64;
    let mean = values.iter().map(|&v| f64::from(v)).sum::<f64>() / n;
    (mean, values.iter().map(|&v| (f64::from(v) - mean).powi(2)).sum::<f64>() / n)
}

#[test]
fn rows_come_out_with_mean_0_and_variance_1() {
    let plain = NormConfig { affine: false, ..Default::default() };
    for dev in support::devices() {
        let p = Params::new(&dev, 0);
        let x = ramp(&dev, &[3, 4, 5, 6]).mul_scalar(3.0).add_scalar(20.0);
        let layer = LayerNorm::new(&p.at("ln"), [5, 6], plain).forward(&x);
        let group = GroupNorm::new(&p.at("gn"), 2, 4, plain).forward(&x);
        let instance = InstanceNorm::new(&p.at("in"), 4, plain).forward(&x);
        for (y, row) in [(&layer, 30), (&group, 60), (&instance, 30)] {
            for row in y.to_vec().unwrap().chunks(row) {
                let (mean, var) = moments(row);
                assert!(
                    mean.abs() < 1e-5 && (var - 1.0).abs() < 1e-4,
                    "{dev:?}: mean {mean}, variance {var}"
                );
            }
        }
        assert_eq!(layer.to_vec().unwrap(), instance.to_vec().unwrap());
    }
}

#[test]
fn one_dimensional_batch_norm_takes_vectors_and_sequences() {
    for dev in support::devices() {
        let p = Params::new(&dev, 0);
        let bn = BatchNorm1d::new(&p.at("bn"), 3, Default::default());
        let (vectors, sequences) = (ramp(&dev, &[7, 3]), ramp(&dev, &[2, 3, 5]));
        for x in [&vectors, &sequences] {
            let y = bn.forward(x, Mode::Train);
            let l = x.shape().dims().get(2).copied().unwrap_or(1);
            for (mean, var) in statistics(&y.to_vec().unwrap(), 3, l) {
                let n = (x.shape().elements() / 3) as f64;
                assert!(
                    mean.abs() < 1e-5 && (var * (n - 1.0) / n - 1.0).abs() < 1e-3,
                    "{dev:?}: {mean} {var}"
                );
            }
        }
        assert_eq!(bn.running.as_ref().unwrap().num_batches_tracked.get(), 2);
    }
}

#[test]
#[should_panic(expected = "BatchNorm1d takes")]
fn one_dimensional_batch_norm_takes_no_images() {
    let dev = Device::cpu();
    let bn = BatchNorm1d::new(&Params::new(&dev, 0).at("bn"), 2, Default::default());
    bn.forward(&ramp(&dev, &[1, 2, 3, 3]), Mode::Train);
}

#[test]
#[should_panic(
    expected = "batch_norm_eval of [2, 1, 2, 2]: mean, var, gamma and beta have shape [1], not [3]"
)]
fn statistics_of_other_channels() {
    let dev = Device::cpu();
    let statistics = dev.full(1.0, [3]);
    ramp(&dev, &[2, 1, 2, 2]).batch_norm_eval(&statistics, &statistics, None, 1e-5);
}

#[test]
#[should_panic(expected = "BatchNorm2d of 1 channels does not take a tensor of shape [2, 3, 2, 2]")]
fn batch_norm_does_not_spread_one_channel_over_many() {
    let dev = Device::cpu();
    let bn = BatchNorm2d::new(&Params::new(&dev, 0).at("bn"), 1, Default::default());
    bn.forward(&ramp(&dev, &[2, 3, 2, 2]), Mode::Eval);
}

#[test]
#[should_panic(expected = "one value per channel")]
fn instance_statistics_of_one_value() {
    let dev = Device::cpu();
    let norm = InstanceNorm::new(&Params::new(&dev, 0).at("in"), 2, Default::default());
    norm.forward(&ramp(&dev, &[3, 2, 1]));
}

#[test]
#[should_panic(expected = "LayerNorm takes tensors that end with [4]")]
fn layer_norm_of_another_shape() {
    let dev = Device::cpu();
    let norm = LayerNorm::new(&Params::new(&dev, 0).at("ln"), 4, Default::default());
    norm.forward(&ramp(&dev, &[4, 3]));
}

#[test]
fn embeddings_leave_the_padding_row_alone() {
    for dev in support::devices() {
        let p = Params::new(&dev, 5);
        let layer = Embedding::with_padding(&p.at("emb"), 50, 8, 2);
        let table = layer.weight.tensor().to_vec().unwrap();
        assert_eq!(table[16..24], [0.0; 8]);
        let (mean, var) = moments(&[&table[..16], &table[24..]].concat());
        assert!(mean.abs() < 0.2 && (var - 1.0).abs() < 0.3, "{dev:?}: {mean} {var}");
        let ids = dev.indices(&[2, 4, 4, 2, 49, 4], [2, 3]);
        let y = layer.forward(&ids);
        assert_eq!(y.shape().dims(), [2, 3, 8]);
        assert_eq!(y.to_vec().unwrap()[8..16], table[32..40]);
        let gradients = y.sum(&[0, 1, 2]).backward();
        let gradient = layer.weight.gradient(&gradients).unwrap().to_vec().unwrap();
        let counts: Vec<f32> = gradient.chunks(8).map(|row| row[0]).collect();
        let mut want = [0.0; 50];
        (want[4], want[49]) = (3.0, 1.0);
        assert_eq!(counts, want, "{dev:?}");
    }
}

#[test]
fn indices_that_name_no_row_are_errors() {
    for dev in support::devices() {
        let layer = Embedding::new(&Params::new(&dev, 5).at("emb"), 4, 2);
        let beyond = dev.indices(&[0, 3, 4, 1], [4]);
        let error = layer.forward(&beyond).to_vec().unwrap_err();
        assert!(matches!(error, Error::Label { label: 4, index: 2, classes: 4 }), "{dev:?}: {error}");
        // Nothing is ignored here; one_hot has zeros for the mark.
        let marked = dev.indices(&[0, -100], [2]);
        let error = layer.forward(&marked).to_vec().unwrap_err();
        assert!(matches!(error, Error::Label { label: -100, index: 1, .. }), "{dev:?}: {error}");
        assert_eq!(marked.one_hot(2).to_vec().unwrap(), [1.0, 0.0, 0.0, 0.0]);
        let error = beyond.one_hot(4).to_vec().unwrap_err();
        assert!(matches!(error, Error::Label { label: 4, .. }), "{dev:?}: {error}");
    }
}
