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
        assert!(
            (found / std - 1.0).abs() < 5.0 / n.sqrt(),
            "{init:?}: standard deviation {found}, not {std}"
        );
        assert!(
            values.iter().all(|v| f64::from(v.abs()) <= bound * (1.0 + 1e-6)),
            "{init:?} stays within {bound}"
        );
        assert!(
            values.iter().any(|v| f64::from(v.abs()) > 0.95 * bound.min(2.0 * std)),
            "{init:?} fills its range"
        );
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

/// Products of the rows (or columns, whichever are fewer) of a matrix with each other.
fn products(values: &[f32], rows: usize, columns: usize) -> Vec<Vec<f64>> {
    let (count, len) = (rows.min(columns), rows.max(columns));
    let at = |vector: usize, i: usize| {
        let (r, c) = if rows <= columns { (vector, i) } else { (i, vector) };
        f64::from(values[r * columns + c])
    };
    let product = |a: usize, b: usize| (0..len).map(|i| at(a, i) * at(b, i)).sum();
    (0..count).map(|a| (0..count).map(|b| product(a, b)).collect()).collect()
}

#[track_caller]
fn orthonormal(what: &str, values: &[f32], rows: usize, columns: usize, gain: f64) {
    for (a, row) in products(values, rows, columns).iter().enumerate() {
        for (b, product) in row.iter().enumerate() {
            let want = if a == b { gain * gain } else { 0.0 };
            assert!((product - want).abs() < 1e-6 * gain * gain, "{what}: vectors {a} and {b}: {product}");
        }
    }
}

#[test]
fn orthogonal_rows_or_columns() {
    for dims in [&[5, 12][..], &[12, 5], &[8, 8], &[1, 7], &[4, 2, 3, 3], &[40, 3, 2], &[130, 130]] {
        let shape = Shape::new(dims);
        let (rows, columns) = (shape[0], shape.span(1, shape.rank()));
        for gain in [1.0, 2.0, 5.0 / 3.0] {
            let init = Init::Orthogonal { gain };
            let values = init.values(shape, 1, "w");
            orthonormal(&format!("{shape}"), &values, rows, columns, gain);
            assert_eq!(values, init.values(shape, 1, "w"));
            assert_ne!(values, init.values(shape, 2, "w"));
        }
    }
}

/// A matrix that is uniform among the orthogonal ones (Haar's measure) has a trace of mean 0 and variance 1, and turns as
/// often as it mirrors. A QR decomposition whose signs are not made the same favours one of them.
#[test]
fn orthogonal_matrices_favour_no_sign() {
    let count = 4000;
    let (mut trace, mut square, mut turns) = (0.0, 0.0, 0);
    for seed in 0..count {
        let m = Init::Orthogonal { gain: 1.0 }.values(Shape::new(&[3, 3]), seed, "w");
        let m: Vec<f64> = m.iter().map(|&v| f64::from(v)).collect();
        let t = m[0] + m[4] + m[8];
        let minor = |a: usize, b: usize, c: usize, d: usize| m[a] * m[d] - m[b] * m[c];
        let determinant = m[0] * minor(4, 5, 7, 8) - m[1] * minor(3, 5, 6, 8) + m[2] * minor(3, 4, 6, 7);
        assert!((determinant.abs() - 1.0).abs() < 1e-5);
        (trace, square) = (trace + t, square + t * t);
        turns += usize::from(determinant > 0.0);
    }
    let n = count as f64;
    // Five standard errors; the square's own variance is 2.
    assert!((trace / n).abs() < 5.0 / n.sqrt(), "mean trace {}", trace / n);
    assert!((square / n - 1.0).abs() < 5.0 * (2.0 / n).sqrt(), "mean square of the trace {}", square / n);
    assert!((turns as f64 / n - 0.5).abs() < 2.5 / n.sqrt(), "{turns} of {count} have determinant 1");
}

#[test]
fn parts_along_the_first_axis_are_started_each_by_itself() {
    let orthogonal = Init::Orthogonal { gain: 1.0 };
    let init = Init::Stacked(vec![(4, orthogonal.clone()), (4, orthogonal), (2, Init::Constant(0.5))]);
    let values = init.values(Shape::new(&[10, 4]), 3, "w");
    let (first, rest) = values.split_at(16);
    let (second, last) = rest.split_at(16);
    orthonormal("first", first, 4, 4, 1.0);
    orthonormal("second", second, 4, 4, 1.0);
    assert_ne!(first, second);
    assert_eq!(last, [0.5; 8]);
    let bias = Init::Stacked(vec![(1, Init::Zeros), (0, Init::Ones), (2, Init::Ones)]);
    assert_eq!(bias.values(Shape::new(&[3]), 0, "b"), [0.0, 1.0, 1.0]);
}

#[test]
#[should_panic(expected = "parts of 3 rows together for shape [4, 2]")]
fn parts_must_fill_the_shape() {
    let init = Init::Stacked(vec![(1, Init::Zeros), (2, Init::Ones)]);
    Params::new(&Device::cpu(), 0).root().param("w", [4, 2], init);
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
    for part in [
        "missing [\"other\"]",
        "layer1.0.conv1.weight",
        "bn.running_mean",
        "bn.weight is [4] in the file, [5]",
    ] {
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
