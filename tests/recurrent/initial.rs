//! What recurrent networks start with: their weights, and their states.

use crate::support::devices;
use crate::{close, values};
use recurve::checkpoint::{self, Progress};
use recurve::nn::recurrent::Nonlinearity;
use recurve::nn::{
    Gru, InitialState, Lstm, LstmCell, LstmOptions, LstmState, Mode, RecurrentConfig, RecurrentInit, Reset,
    Rnn,
};
use recurve::{Adam, AdamConfig, Device, Param, Params, Tensor};

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

type Make = fn(&Params, RecurrentConfig);

#[test]
fn recurrent_weights_are_orthogonal_gate_by_gate() {
    let config = RecurrentConfig {
        num_layers: 2,
        bidirectional: true,
        recurrent_init: RecurrentInit::Orthogonal { gain: 1.25 },
        ..Default::default()
    };
    let (input, h) = (3, 6);
    let one: Make = |p, c| drop(Rnn::new(&p.root(), 3, 6, Nonlinearity::Relu, c));
    let nets: [(usize, usize, Make); 4] = [
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

/// Two layers in both directions, from learned states.
fn config() -> RecurrentConfig {
    RecurrentConfig {
        num_layers: 2,
        bidirectional: true,
        initial_state: InitialState::Learned,
        ..Default::default()
    }
}

/// Layers and directions, in the order of the states.
const SUFFIXES: [&str; 4] = ["l0", "l0_reverse", "l1", "l1_reverse"];

fn states(params: &Params) -> Vec<Param> {
    let all = params.named().into_iter();
    all.filter(|p| p.name().starts_with("h0") || p.name().starts_with("c0")).collect()
}

/// Both directions of two layers with projections, from learned states that are not 0 any more.
fn learned(dev: &Device) -> (Params, Lstm) {
    let params = Params::new(dev, 5);
    let options = LstmOptions { proj_size: Some(2), ..Default::default() };
    let net = Lstm::new(&params.root(), 3, 4, options, config());
    for (k, param) in states(&params).iter().enumerate() {
        let n = param.shape().elements();
        // Multiples of 1/64, so that finite differences are exact steps.
        param.set(&(0..n).map(|i| ((5 * k + 3 * i) % 16) as f32 / 16.0 - 0.5).collect::<Vec<_>>()).unwrap();
    }
    (params, net)
}

fn loss(net: &Lstm, x: &Tensor, initial: Option<&LstmState>) -> Tensor {
    let (y, last) = net.forward_lengths(x, &[5, 3, 1], initial, Mode::Train);
    let weighted = |t: &Tensor| t.mul(&values(t.device(), t.shape().dims())).sum(&[0, 1, 2]);
    weighted(&y).add(&weighted(&last.h)).add(&weighted(&last.c))
}

#[test]
fn learned_states_are_parameters() {
    let shape = |params: &Params, name: &str| params.get(name).map(|p| p.shape().dims().to_vec());
    let (params, _) = learned(&Device::cpu());
    for suffix in SUFFIXES {
        assert_eq!(shape(&params, &format!("h0_{suffix}")), Some(vec![2]));
        assert_eq!(shape(&params, &format!("c0_{suffix}")), Some(vec![4]));
    }
    let params = Params::new(&Device::cpu(), 0);
    Gru::new(&params.root(), 3, 4, Reset::AfterProduct, config());
    assert_eq!(shape(&params, "h0_l1_reverse"), Some(vec![4]));
    assert_eq!(shape(&params, "c0_l1_reverse"), None);
    assert_eq!(read(&params, "h0_l0"), [0.0; 4]);
}

#[test]
fn learned_states_are_as_given_ones_for_every_sequence() {
    for dev in devices() {
        let (params, net) = learned(&dev);
        let x = values(&dev, &[5, 3, 3]);
        let given = |state: &str| {
            let all = SUFFIXES.map(|s| params.get(&format!("{state}0_{s}")).unwrap().tensor());
            let rows = all.iter().map(|p| p.detach().expand([1, 3, p.shape()[0]])).collect::<Vec<_>>();
            Tensor::concat(&rows.iter().collect::<Vec<_>>(), 0).detach().requires_grad()
        };
        let given = LstmState { h: given("h"), c: given("c") };
        let (own, other) = (loss(&net, &x, None), loss(&net, &x, Some(&given)));
        let [a, b] = [&own, &other].map(Tensor::backward);
        for (state, given) in [("h", &given.h), ("c", &given.c)] {
            let of_given = b.wrt(given).unwrap();
            for (i, suffix) in SUFFIXES.iter().enumerate() {
                let param = params.get(&format!("{state}0_{suffix}")).unwrap();
                assert!(param.gradient(&b).is_none(), "{param:?} is not used where states are given");
                let sum = of_given.narrow(0, i, 1).sum(&[0, 1]);
                close(param.name(), &param.gradient(&a).unwrap(), &sum, 1e-5);
            }
        }
        assert_eq!(own.item().unwrap(), other.item().unwrap(), "{dev:?}");
    }
}

#[test]
fn gradients_of_learned_states_are_differences() {
    let dev = Device::cpu_f64();
    let (params, net) = learned(&dev);
    let x = values(&dev, &[5, 3, 3]);
    let value = || loss(&net, &x, None).to_vec_f64().unwrap()[0];
    let gradients = loss(&net, &x, None).backward();
    const STEP: f32 = 1.0 / 1024.0;
    for param in states(&params) {
        let gradient = param.gradient(&gradients).unwrap().to_vec_f64().unwrap();
        let before = param.tensor().to_vec().unwrap();
        for (i, gradient) in gradient.iter().enumerate() {
            let moved = |by: f32| {
                let mut values = before.clone();
                values[i] += by;
                param.set(&values).unwrap();
                value()
            };
            let difference = (moved(STEP) - moved(-STEP)) / (2.0 * f64::from(STEP));
            param.set(&before).unwrap();
            assert!((gradient - difference).abs() < 1e-5, "{param:?} {i}: {gradient} and {difference}");
        }
    }
}

#[test]
fn learned_states_are_trained_and_kept_in_checkpoints() {
    for dev in devices() {
        let train = |net: &Lstm, opt: &mut Adam, steps: std::ops::Range<usize>| -> Vec<u32> {
            let step = |s: usize| {
                let x = values(&dev, &[5, 3, 3]).add_scalar(s as f64 * 0.1);
                let loss = loss(net, &x, None);
                opt.step(&loss.backward()).unwrap();
                loss.item().unwrap().to_bits()
            };
            steps.map(step).collect()
        };
        let config = AdamConfig { lr: 0.01, ..Default::default() };
        let (params, net) = learned(&dev);
        let mut opt = Adam::new(&params, config.clone());
        let start = read(&params, "h0_l1");
        train(&net, &mut opt, 0..2);
        assert_ne!(read(&params, "h0_l1"), start);
        let bytes = pollster::block_on(checkpoint::to_bytes(&params, &opt, &Progress::default())).unwrap();
        let want = train(&net, &mut opt, 2..5);
        let (other, net) = learned(&dev);
        let mut opt = Adam::new(&other, config);
        checkpoint::load_bytes(&bytes, &other, &mut opt).unwrap();
        assert_eq!(train(&net, &mut opt, 2..5), want, "{dev:?}");
        assert_eq!(read(&other, "c0_l0_reverse"), read(&params, "c0_l0_reverse"));
    }
}
