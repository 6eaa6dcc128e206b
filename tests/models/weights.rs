//! Weights that torchvision saved load as they are, and give what torchvision computed from them.
//!
//! `small.safetensors` is the `state_dict()` of torchvision's own `ResNet` of grouped bottlenecks with a 32nd of the
//! channels, `small-results.safetensors` what it computes in f64 in evaluation and in a step of training; `export.py` made
//! both. `RECURVE_TORCHVISION` names a folder with such files of complete networks, from `export.py cases`.

use super::{Net, names, support};
use recurve::checkpoint::CheckpointError;
use recurve::models::{ResNet, ResNetConfig};
use recurve::nn::Mode;
use recurve::params::Match;
use recurve::{Device, Error, Params, Tensor};
use safetensors::SafeTensors;
use safetensors::tensor::{Dtype, TensorView};
use std::path::{Path, PathBuf};

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/models")
}

fn small() -> ResNetConfig {
    ResNetConfig {
        layers: vec![2, 1, 1, 1],
        channels: 2,
        stem_channels: 8,
        groups: 2,
        classes: 6,
        ..ResNetConfig::resnet50()
    }
}

fn small_net(params: &Params) -> Net {
    let net = ResNet::new(&params.root(), small());
    Box::new(move |x, mode| net.forward(x, mode))
}

fn floats(view: &TensorView<'_>) -> Vec<f32> {
    bytemuck::pod_collect_to_vec(view.data())
}

/// The largest error, in units of the largest of the values.
fn error(got: &Tensor, want: &TensorView<'_>) -> f64 {
    let (got, want) = (got.to_vec_f64().unwrap(), floats(want));
    assert_eq!(got.len(), want.len());
    let largest = want.iter().fold(0f64, |m, v| m.max(f64::from(*v).abs()));
    let off = got.iter().zip(&want).map(|(g, w)| (g - f64::from(*w)).abs());
    off.fold(0.0, |m: f64, d| if d.is_nan() { f64::INFINITY } else { m.max(d) }) / largest
}

/// Loads `name` strictly and compares everything in its results. Errors are in units of a tensor's largest value.
fn check(dev: &Device, folder: &Path, name: &str, build: &dyn Fn(&Params) -> Net, [forward, back]: [f64; 2]) {
    let params = Params::new(dev, 0);
    let net = build(&params);
    match params.load(folder.join(format!("{name}.safetensors"))) {
        // The first dense layers of AlexNet and VGG are above WebGPU's guaranteed 128 MiB.
        Err(Error::TensorTooLarge { bytes, limit, .. }) if !dev.is_reference() => {
            return println!("{name} on {}: a tensor of {bytes} bytes, the limit is {limit}", dev.name());
        }
        loaded => loaded.unwrap(),
    }
    let bytes = std::fs::read(folder.join(format!("{name}-results.safetensors"))).unwrap();
    let file = SafeTensors::deserialize(&bytes).unwrap();
    let stored = |name: &str| file.tensor(name).unwrap();
    let x = dev.tensor(floats(&stored("x")), stored("x").shape());
    let target: Vec<i64> = bytemuck::pod_collect_to_vec(stored("target").data());
    let mut errors =
        vec![("eval.logits".to_string(), error(&net(&x, Mode::Eval), &stored("eval.logits")), forward)];
    let counted: Vec<u64> = params.counters().iter().map(|c| c.get()).collect();
    let logits = net(&x, Mode::Train);
    let loss = logits.cross_entropy(&dev.labels(target));
    let gradients = loss.backward();
    errors.push(("train.logits".into(), error(&logits, &stored("train.logits")), forward));
    errors.push(("train.loss".into(), error(&loss, &stored("train.loss")), forward));
    for name in file.names() {
        if let Some(param) = name.strip_prefix("grad.") {
            let gradient = params.get(param).unwrap().gradient(&gradients).unwrap();
            errors.push((name.to_string(), error(&gradient, &stored(name)), back));
        } else if let Some(buffer) = name.strip_prefix("after.") {
            let buffer = params.get(buffer).unwrap().tensor();
            errors.push((name.to_string(), error(&buffer, &stored(name)), forward));
        }
    }
    for (counter, before) in params.counters().iter().zip(counted) {
        assert_eq!((before, counter.get()), (1234, 1235), "{}", counter.name());
    }
    let worst = |start: &str| {
        let of = errors.iter().filter(|(name, ..)| name.starts_with(start));
        of.fold(0.0, |m: f64, (_, error, _)| m.max(*error))
    };
    println!(
        "{name} on {}, largest errors: logits {:.1e}, in training {:.1e}, loss {:.1e}, gradients {:.1e}, statistics {:.1e}",
        dev.name(),
        worst("eval.logits"),
        worst("train.logits"),
        worst("train.loss"),
        worst("grad."),
        worst("after.")
    );
    for (what, error, bound) in errors {
        assert!(error <= bound, "{name} on {}: {what} is off by {error:e}", dev.name());
    }
}

/// Bounds for results and gradients: those of the reference, whose values are in f64 but rounded where they are stored, and
/// those of f32, behind norms over eight values of a channel.
fn bounds(dev: &Device) -> [f64; 2] {
    if dev.is_reference() { [1e-6, 1e-6] } else { [2e-5, 1e-4] }
}

#[test]
fn a_network_of_torchvision_gives_the_same() {
    for dev in support::devices() {
        check(&dev, &folder(), "small", &small_net, bounds(&dev));
    }
}

#[test]
fn complete_networks_of_torchvision_give_the_same() {
    let Some(folder) = std::env::var_os("RECURVE_TORCHVISION").map(PathBuf::from) else {
        return eprintln!("skipped: RECURVE_TORCHVISION names no folder with weights of complete networks");
    };
    let mut found = 0;
    for entry in std::fs::read_dir(&folder).unwrap() {
        let file = entry.unwrap().file_name().into_string().unwrap();
        let Some(name) = file.strip_suffix("-results.safetensors") else { continue };
        for dev in support::devices() {
            check(&dev, &folder, name, &|params| names::build(params, name), [2e-4, 0.0]);
        }
        found += 1;
    }
    assert!(found > 0, "no networks in {}", folder.display());
}

/// A file that does not fit is refused with the names of what is wrong, and changes nothing.
#[test]
fn what_does_not_fit_is_named() {
    let bytes = std::fs::read(folder().join("small.safetensors")).unwrap();
    let file = SafeTensors::deserialize(&bytes).unwrap();
    let dev = Device::cpu();
    let load = |tensors: Vec<(String, TensorView<'_>)>| {
        let params = Params::new(&dev, 3);
        drop(small_net(&params));
        let read = |params: &Params| params.get("conv1.weight").unwrap().tensor().to_vec().unwrap();
        let before = read(&params);
        let bytes = safetensors::serialize(tensors, None).unwrap();
        let error = params.load_bytes(&bytes, Match::Strict).unwrap_err();
        assert_eq!(read(&params), before);
        assert!(params.counters().iter().all(|c| c.get() == 0));
        match &error {
            Error::Checkpoint(inner) => match &**inner {
                CheckpointError::Mismatch { missing, unexpected, misshapen } => {
                    let text = error.to_string();
                    assert!(
                        [missing, unexpected, misshapen].iter().all(|l| l.iter().all(|n| text.contains(n)))
                    );
                    [missing.clone(), unexpected.clone(), misshapen.clone()]
                }
                other => panic!("{other}"),
            },
            other => panic!("{other}"),
        }
    };
    let none: [&str; 0] = [];
    let all = || -> Vec<(String, TensorView<'_>)> { file.tensors().into_iter().collect() };

    for gone in ["layer2.0.downsample.0.weight", "bn1.running_var", "layer4.0.bn3.num_batches_tracked"] {
        let [missing, unexpected, misshapen] = load(all().into_iter().filter(|(n, _)| n != gone).collect());
        assert_eq!(missing, [gone]);
        assert_eq!((unexpected.len(), misshapen.len()), (0, 0));
    }

    let zeros = [0u8; 8];
    let mut more = all();
    more.push(("layer1.2.conv1.weight".into(), TensorView::new(Dtype::F32, vec![2], &zeros).unwrap()));
    more.push(("bn2.num_batches_tracked".into(), TensorView::new(Dtype::I64, vec![], &zeros).unwrap()));
    let [missing, mut unexpected, misshapen] = load(more);
    unexpected.sort();
    assert_eq!(unexpected, ["bn2.num_batches_tracked", "layer1.2.conv1.weight"]);
    assert_eq!([missing, misshapen], [none, none]);

    let mut other = all();
    let weight = other.iter_mut().find(|(n, _)| n == "fc.weight").unwrap();
    // As many elements, so that only the shape tells.
    weight.1 = TensorView::new(Dtype::F32, vec![64, 6], file.tensor("fc.weight").unwrap().data()).unwrap();
    other.retain(|(n, _)| n != "fc.bias");
    let [missing, unexpected, misshapen] = load(other);
    assert_eq!(misshapen, ["fc.weight is [64, 6] in the file, [6, 64] in the model"]);
    assert_eq!((missing, unexpected), (vec!["fc.bias".to_string()], vec![]));
}
