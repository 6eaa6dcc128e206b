//! Initial values, names, and weights in files.

mod support;

use recurve::params::{Fan, Match, Nonlinearity};
use recurve::{Device, Error, Init, Params, Shape};

fn moments(values: &[f32]) -> (f64, f64) {
    let n = values.len() as f64;
    let mean = values.iter().map(|&v| f64::from(v)).sum::<f64>() / n;
    let variance = values.iter().map(|&v| (f64::from(v) - mean).powi(2)).sum::<f64>() / n;
    (mean, variance.sqrt())
}

/// Means and deviations within five standard errors, and all values within the bound of a uniform distribution.
#[test]
fn initial_values_have_the_stated_distribution() {
    let shape = Shape::new(&[64, 32, 3, 3]);
    let (fan_in, fan_out) = (32.0 * 9.0f64, 64.0 * 9.0f64);
    let relu = Nonlinearity::Relu;
    let uniform = |bound: f64| (bound / 3f64.sqrt(), bound);
    let normal = |std: f64| (std, f64::INFINITY);
    let cases = [
        (Init::Uniform { low: -0.5, high: 0.5 }, uniform(0.5)),
        (Init::Normal { mean: 0.0, std: 2.0 }, normal(2.0)),
        (Init::default_weight(), uniform(1.0 / fan_in.sqrt())),
        (Init::default_bias(shape), uniform(1.0 / fan_in.sqrt())),
        (Init::KaimingUniform { fan: Fan::In, nonlinearity: relu }, uniform((6.0 / fan_in).sqrt())),
        (Init::KaimingNormal { fan: Fan::Out, nonlinearity: relu }, normal((2.0 / fan_out).sqrt())),
        (Init::XavierUniform { gain: 5.0 / 3.0 }, uniform(5.0 / 3.0 * (6.0 / (fan_in + fan_out)).sqrt())),
        (Init::XavierNormal { gain: 1.0 }, normal((2.0 / (fan_in + fan_out)).sqrt())),
    ];
    for (init, (std, bound)) in cases {
        let values = init.values(shape, 7, "conv.weight");
        let n = values.len() as f64;
        let (mean, found) = moments(&values);
        assert!(mean.abs() < 5.0 * std / n.sqrt(), "{init:?}: mean {mean}");
        assert!((found / std - 1.0).abs() < 5.0 / n.sqrt(), "{init:?}: standard deviation {found}, not {std}");
        assert!(values.iter().all(|v| f64::from(v.abs()) <= bound * (1.0 + 1e-6)), "{init:?} stays within {bound}");
        assert!(values.iter().any(|v| f64::from(v.abs()) > 0.95 * bound.min(2.0 * std)), "{init:?} fills its range");
    }
}

#[test]
fn a_normal_distribution_has_the_tails_of_one() {
    let values = Init::Normal { mean: 1.0, std: 1.0 }.values(Shape::new(&[200_000]), 3, "x");
    for (sigma, share) in [(1.0, 0.317_311), (2.0, 0.045_500), (3.0, 0.002_700)] {
        let beyond = values.iter().filter(|v| f64::from(*v - 1.0).abs() > sigma).count() as f64 / 2e5;
        let bound = 5.0 * (share * (1.0 - share) / 2e5f64).sqrt();
        assert!((beyond - share).abs() < bound, "{beyond} beyond {sigma} standard deviations, not {share}");
    }
}

#[test]
fn orthogonal_rows_or_columns() {
    for dims in [&[5, 12][..], &[12, 5], &[8, 8], &[4, 2, 3, 3]] {
        let shape = Shape::new(dims);
        let (rows, columns) = (shape[0], shape.span(1, shape.rank()));
        let values = Init::Orthogonal { gain: 2.0 }.values(shape, 1, "w");
        let at = |r: usize, c: usize| f64::from(values[r * columns + c]);
        let (count, len) = (rows.min(columns), rows.max(columns));
        for a in 0..count {
            for b in 0..count {
                let term = |i| if rows <= columns { at(a, i) * at(b, i) } else { at(i, a) * at(i, b) };
                let product: f64 = (0..len).map(term).sum();
                let want = if a == b { 4.0 } else { 0.0 };
                assert!((product - want).abs() < 1e-5, "{shape}: vectors {a} and {b}: {product}");
            }
        }
    }
}

#[test]
fn initial_values_depend_on_seed_and_name_alone() {
    let dev = Device::cpu();
    let value = |seed: u64, names: &[&str], name: &str| {
        let p = Params::new(&dev, seed);
        names.iter().for_each(|n| drop(p.root().param(n, [40], Init::Normal { mean: 0.0, std: 1.0 })));
        p.get(name).unwrap().tensor().to_vec().unwrap()
    };
    assert_eq!(value(5, &["a", "b"], "b"), value(5, &["b", "c", "a"], "b"));
    assert_ne!(value(5, &["a", "b"], "b"), value(5, &["a", "b"], "a"));
    assert_ne!(value(5, &["a"], "a"), value(6, &["a"], "a"));
    // A change of these numbers makes other models of old seeds.
    let known = Init::Uniform { low: 0.0, high: 1.0 }.values(Shape::new(&[3]), 0, "fc.weight");
    assert_eq!(known, KNOWN);
}

const KNOWN: [f32; 3] = [0.24181402, 0.11264079, 0.380157];

#[test]
#[should_panic(expected = "two parameters are called \"conv1.weight\"")]
fn a_name_is_given_once() {
    let p = Params::new(&Device::cpu(), 0);
    p.at("conv1").param("weight", [1], Init::Zeros);
    p.root().buffer("conv1.weight", [1], Init::Zeros);
}

fn model(p: &Params) {
    p.at("layer1.0").at("conv1").param("weight", [4, 3, 3, 3], Init::default_weight());
    p.at("bn").param("weight", [4], Init::Ones);
    p.at("bn").buffer("running_mean", [4], Init::Zeros);
    p.at("bn").counter("num_batches_tracked");
    p.root().param("empty", [0, 3], Init::Zeros);
    p.root().param("scalar", (), Init::Constant(0.5));
}

#[test]
fn weights_survive_a_file() {
    let folder = std::env::temp_dir().join(format!("recurve-weights-{}", std::process::id()));
    std::fs::create_dir_all(&folder).unwrap();
    for (i, dev) in support::devices().iter().enumerate() {
        let path = folder.join(format!("{i}.safetensors"));
        let (a, b) = (Params::new(dev, 1), Params::new(dev, 2));
        model(&a);
        model(&b);
        a.counters()[0].set(77);
        a.get("bn.running_mean").unwrap().set(&[1.0, -0.0, f32::NAN, f32::INFINITY]).unwrap();
        a.save(&path).unwrap();
        b.load(&path).unwrap();
        for param in a.named() {
            let values = |p: &Params| p.get(param.name()).unwrap().tensor().to_vec().unwrap();
            let bits = |p: &Params| values(p).iter().map(|v| v.to_bits()).collect::<Vec<_>>();
            assert_eq!(bits(&a), bits(&b), "{dev:?} {param:?}");
        }
        assert_eq!(b.counters()[0].get(), 77);
        let bytes = std::fs::read(&path).unwrap();
        let file = safetensors::SafeTensors::deserialize(&bytes).unwrap();
        assert_eq!(file.tensor("layer1.0.conv1.weight").unwrap().shape(), [4, 3, 3, 3]);
        assert_eq!(file.tensor("bn.num_batches_tracked").unwrap().dtype(), safetensors::Dtype::I64);
    }
    std::fs::remove_dir_all(folder).unwrap();
}

#[test]
fn a_file_that_does_not_fit_is_refused_with_every_reason_and_changes_nothing() {
    let dev = Device::cpu();
    let (a, b) = (Params::new(&dev, 1), Params::new(&dev, 2));
    model(&a);
    b.at("bn").param("weight", [5], Init::Ones);
    b.at("bn").counter("num_batches_tracked");
    b.root().param("scalar", (), Init::Constant(0.25));
    b.root().param("other", [2], Init::Ones);
    let bytes = pollster::block_on(a.to_bytes()).unwrap();
    let error = b.load_bytes(&bytes, Match::Strict).unwrap_err();
    let Error::Checkpoint(error) = &error else { panic!("{error}") };
    let text = error.to_string();
    for part in ["missing [\"other\"]", "layer1.0.conv1.weight", "bn.running_mean", "bn.weight is [4] in the file, [5]"] {
        assert!(text.contains(part), "{text}");
    }
    assert_eq!(b.get("scalar").unwrap().tensor().item().unwrap(), 0.25);

    let c = Params::new(&dev, 3);
    c.root().param("scalar", (), Init::Constant(0.25));
    c.root().param("other", [2], Init::Ones);
    let loaded = c.load_bytes(&bytes, Match::Partial).unwrap();
    assert_eq!(loaded.missing, ["other"]);
    assert_eq!(loaded.unexpected.len(), 5);
    assert_eq!(c.get("scalar").unwrap().tensor().item().unwrap(), 0.5);
}

#[test]
fn other_floating_point_types_are_converted() {
    use safetensors::{Dtype, tensor::TensorView};
    let dev = Device::cpu();
    let p = Params::new(&dev, 0);
    let names = ["double", "half", "brain"];
    names.iter().for_each(|n| drop(p.root().param(n, [2], Init::Zeros)));
    let double: Vec<u8> = [1.5f64, -0.1].iter().flat_map(|v| v.to_le_bytes()).collect();
    let half: Vec<u8> = [0x3e00u16, 0xae66].iter().flat_map(|v| v.to_le_bytes()).collect();
    let brain: Vec<u8> = [0x3fc0u16, 0xbdcd].iter().flat_map(|v| v.to_le_bytes()).collect();
    let tensors = [
        ("double", TensorView::new(Dtype::F64, vec![2], &double).unwrap()),
        ("half", TensorView::new(Dtype::F16, vec![2], &half).unwrap()),
        ("brain", TensorView::new(Dtype::BF16, vec![2], &brain).unwrap()),
    ];
    p.load_bytes(&safetensors::serialize(tensors, None).unwrap(), Match::Strict).unwrap();
    for (name, error) in names.iter().zip([1e-8, 1e-4, 1e-3]) {
        let values = p.get(name).unwrap().tensor().to_vec().unwrap();
        assert_eq!(values[0], 1.5, "{name}");
        assert!((values[1] + 0.1).abs() < error, "{name}: {}", values[1]);
    }

    let integers = [0u8; 8];
    let tensor = TensorView::new(Dtype::I32, vec![2], &integers).unwrap();
    let bytes = safetensors::serialize([("half", tensor)], None).unwrap();
    let error = p.load_bytes(&bytes, Match::Partial).unwrap_err().to_string();
    assert!(error.contains("half has elements of type I32"), "{error}");
}

#[test]
fn a_tensor_above_the_limit_is_an_error_of_the_next_call() {
    for dev in support::devices().into_iter().filter(|d| !d.is_reference()) {
        let p = Params::new(&dev, 0);
        let limit = dev.target().unwrap().max_binding.min(dev.target().unwrap().max_buffer);
        let small = p.root().param("small", [4], Init::Ones);
        let large = p.root().param("large", [limit as usize / 4 + 1, 1], Init::Zeros);
        let error = large.tensor().to_vec().unwrap_err();
        assert!(matches!(error, Error::TensorTooLarge { .. }), "{error}");
        assert!(small.tensor().add_scalar(1.0).to_vec().is_err());
    }
}
