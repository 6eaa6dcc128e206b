//! What recurrent networks start with: their weights, and their states.

use recurve::nn::recurrent::Nonlinearity;
use recurve::nn::{Gru, Lstm, LstmCell, LstmOptions, RecurrentConfig, RecurrentInit, Reset, Rnn};
use recurve::{Device, Params};

fn read(params: &Params, name: &str) -> Vec<f32> {
    params.get(name).unwrap_or_else(|| panic!("no {name}")).tensor().to_vec().unwrap()
}

/// Columns (all matrices here are square or tall) are orthonormal, times `gain`.
#[track_caller]
fn orthogonal(what: &str, values: &[f32], columns: usize, gain: f64) {
    for a in 0..columns {
        for b in 0..columns {
            let rows = values.chunks_exact(columns);
            let product: f64 = rows.map(|row| f64::from(row[a]) * f64::from(row[b])).sum();
            let want = if a == b { gain * gain } else { 0.0 };
            assert!((product - want).abs() < 2e-6, "{what}: columns {a} and {b}: {product}");
        }
    }
}

#[test]
fn recurrent_weights_are_orthogonal_gate_by_gate() {
    let config = RecurrentConfig {
        num_layers: 2,
        bidirectional: true,
        recurrent_init: RecurrentInit::Orthogonal { gain: 1.25 },
        ..Default::default()
    };
    let (input, h) = (3, 6);
    let one: fn(&Params, RecurrentConfig) = |p, c| drop(Rnn::new(&p.root(), 3, 6, Nonlinearity::Relu, c));
    let nets: [(usize, usize, fn(&Params, RecurrentConfig)); 4] = [
        (1, h, one),
        (3, h, |p, c| drop(Gru::new(&p.root(), 3, 6, Reset::AfterProduct, c))),
        (4, h, |p, c| drop(Lstm::new(&p.root(), 3, 6, LstmOptions::default(), c))),
        (4, 2, |p, c| {
            let options = LstmOptions { proj_size: Some(2), ..Default::default() };
            drop(Lstm::new(&p.root(), 3, 6, options, c))
        }),
    ];
    for (gates, columns, net) in nets {
        let params = Params::new(&Device::cpu(), 3);
        net(&params, config);
        let mut seen: Vec<Vec<f32>> = Vec::new();
        for suffix in ["l0", "l0_reverse", "l1", "l1_reverse"] {
            let w = read(&params, &format!("weight_hh_{suffix}"));
            assert_eq!(w.len(), gates * h * columns);
            for (gate, w) in w.chunks_exact(h * columns).enumerate() {
                orthogonal(&format!("gate {gate} of {suffix}"), w, columns, 1.25);
                assert!(!seen.contains(&w.to_vec()), "two gates are equal");
                seen.push(w.to_vec());
            }
        }
        // All else is as without the option.
        let plain = Params::new(&Device::cpu(), 3);
        net(&plain, RecurrentConfig { recurrent_init: RecurrentInit::Uniform, ..config });
        let others = plain.named().into_iter().filter(|p| !p.name().contains("weight_hh"));
        others.for_each(|p| assert_eq!(read(&params, p.name()), p.tensor().to_vec().unwrap(), "{p:?}"));
        assert_ne!(read(&params, "weight_hh_l0"), read(&plain, "weight_hh_l0"));
        assert_eq!(params.get("weight_ih_l0").unwrap().shape().dims(), [gates * h, input]);
    }
}

#[test]
fn the_forget_gate_starts_with_its_bias() {
    let options = LstmOptions { forget_bias: Some(1.0), ..Default::default() };
    let params = Params::new(&Device::cpu(), 4);
    Lstm::new(&params.at("net"), 2, 5, options, RecurrentConfig { num_layers: 2, ..Default::default() });
    LstmCell::new(&params.at("cell"), 2, 5, options);
    for (scope, suffix) in [("net", "_l0"), ("net", "_l1"), ("cell", "")] {
        let [ih, hh] = ["bias_ih", "bias_hh"].map(|name| read(&params, &format!("{scope}.{name}{suffix}")));
        assert_eq!(ih[5..10], [1.0; 5]);
        assert_eq!(hh[5..10], [0.0; 5]);
        let bound = 1.0 / 5f32.sqrt();
        for gates in [&ih[..5], &ih[10..], &hh[..5], &hh[10..]] {
            assert!(gates.iter().all(|v| *v != 0.0 && v.abs() < bound), "{gates:?}");
        }
    }
}

#[test]
#[should_panic(expected = "a bias of the forget gate in a network without biases")]
fn a_forget_bias_needs_biases() {
    let options = LstmOptions { forget_bias: Some(1.0), ..Default::default() };
    let config = RecurrentConfig { bias: false, ..Default::default() };
    Lstm::new(&Params::new(&Device::cpu(), 0).root(), 2, 5, options, config);
}
