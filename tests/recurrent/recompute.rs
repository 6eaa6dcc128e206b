//! Networks that compute pieces of their sequences again: the same results in less memory.

use crate::support::devices;
use crate::{close, values};
use recurve::nn::recurrent::Nonlinearity;
use recurve::nn::{Gru, InitialState, Lstm, LstmOptions, LstmState, Mode, RecurrentConfig, Reset, Rnn};
use recurve::{Adam, AdamConfig, Device, Params, Tensor, no_grad};

/// A network, by its results and last states for a sequence.
type Net = Box<dyn Fn(&Tensor, Option<&[usize]>, Mode) -> Vec<Tensor>>;
type Make = fn(&Params, RecurrentConfig) -> Net;

fn lstm(params: &Params, options: LstmOptions, config: RecurrentConfig) -> Net {
    let net = Lstm::new(&params.root(), 3, 5, options, config);
    Box::new(move |x, lengths, mode| {
        let (y, LstmState { h, c }) = match lengths {
            Some(lengths) => net.forward_lengths(x, lengths, None, mode),
            None => net.forward(x, None, mode),
        };
        vec![y, h, c]
    })
}

macro_rules! one_state {
    ($net:expr) => {{
        let net = $net;
        Box::new(move |x, lengths, mode| {
            let (y, h) = match lengths {
                Some(lengths) => net.forward_lengths(x, lengths, None, mode),
                None => net.forward(x, None, mode),
            };
            vec![y, h]
        })
    }};
}

const NETS: [(&str, Make); 5] = [
    ("rnn", |p, c| one_state!(Rnn::new(&p.root(), 3, 5, Nonlinearity::Tanh, c))),
    ("gru", |p, c| one_state!(Gru::new(&p.root(), 3, 5, Reset::AfterProduct, c))),
    ("gru_reset_before", |p, c| one_state!(Gru::new(&p.root(), 3, 5, Reset::BeforeProduct, c))),
    ("lstm", |p, c| lstm(p, LstmOptions::default(), c)),
    ("lstm with everything", |p, c| {
        lstm(p, LstmOptions { proj_size: Some(2), peepholes: true, ..Default::default() }, c)
    }),
];

/// Results, and gradients of all parameters and of x, of two layers in both directions.
fn run(
    dev: &Device,
    make: Make,
    lengths: Option<&[usize]>,
    recompute: Option<usize>,
) -> (Vec<Tensor>, Vec<Tensor>) {
    let params = Params::new(dev, 21);
    let config = RecurrentConfig {
        num_layers: 2,
        bidirectional: true,
        dropout: 0.4,
        initial_state: InitialState::Learned,
        recompute,
        ..Default::default()
    };
    let net = make(&params, config);
    for param in params.named().iter().filter(|p| p.name().contains("0_l")) {
        let n = param.shape().elements();
        param.set(&(0..n).map(|i| 0.3 - 0.1 * i as f32).collect::<Vec<_>>()).unwrap();
    }
    let x = values(dev, &[11, 3, 3]).requires_grad();
    let results = net(&x, lengths, Mode::Train);
    let weighted = |y: &Tensor| y.mul(&values(dev, y.shape().dims())).sum(&[0, 1, 2]);
    let loss = results.iter().map(weighted).reduce(|a, b| a.add(&b)).unwrap();
    let gradients = loss.backward();
    let mut all = vec![gradients.wrt(&x).unwrap()];
    all.extend(params.named().iter().map(|p| p.gradient(&gradients).unwrap()));
    // All in one program.
    dev.run().unwrap();
    (results, all)
}

#[test]
fn pieces_give_what_the_whole_gives() {
    for dev in devices() {
        for (name, make) in NETS {
            for lengths in [None, Some(&[11, 4, 1][..])] {
                let (want, want_gradients) = run(&dev, make, lengths, None);
                // 11 steps in pieces of 4, 4 and 3; of one; all in one.
                for steps in [4, 1, 100] {
                    let what = format!("{name} in pieces of {steps} on {}", dev.name());
                    let (got, gradients) = run(&dev, make, lengths, Some(steps));
                    for (got, want) in got.iter().zip(&want) {
                        assert_eq!(got.to_vec().unwrap(), want.to_vec().unwrap(), "{what}");
                    }
                    for (got, want) in gradients.iter().zip(&want_gradients) {
                        close(&what, got, want, 1e-5);
                    }
                }
            }
        }
    }
}

#[test]
fn batch_first_and_states_given() {
    for dev in devices() {
        let run = |recompute| {
            let params = Params::new(&dev, 3);
            let config = RecurrentConfig { batch_first: true, recompute, ..Default::default() };
            let options = LstmOptions { proj_size: Some(2), ..Default::default() };
            let net = Lstm::new(&params.root(), 3, 4, options, config);
            let state = |size: usize| values(&dev, &[1, 2, size]).mul_scalar(0.7).detach().requires_grad();
            let initial = LstmState { h: state(2), c: state(4) };
            let x = values(&dev, &[2, 7, 3]);
            let (y, last) = net.forward(&x, Some(&initial), Mode::Train);
            let loss = y.mul(&values(&dev, &[2, 7, 2])).sum(&[0, 1, 2]).add(&last.c.sum(&[0, 1, 2]));
            let gradients = loss.backward();
            let all = vec![gradients.wrt(&initial.h).unwrap(), gradients.wrt(&initial.c).unwrap(), y];
            dev.run().unwrap();
            all
        };
        for (got, want) in run(Some(3)).iter().zip(&run(None)) {
            close("given states", got, want, 1e-6);
        }
    }
}

#[test]
fn without_gradients_a_sequence_is_one_piece() {
    let dev = Device::cpu();
    let params = Params::new(&dev, 0);
    let config = RecurrentConfig { recompute: Some(2), ..Default::default() };
    let net = Lstm::new(&params.root(), 3, 4, LstmOptions::default(), config);
    let x = values(&dev, &[8, 2, 3]);
    let ops = |y: Tensor| {
        y.to_vec().unwrap();
        dev.explain().matches("= lstm(").count()
    };
    assert_eq!(ops(no_grad(|| net.forward(&x, None, Mode::Eval).0)), 1);
    assert_eq!(ops(net.forward(&x, None, Mode::Train).0), 4);
}

/// Bytes that the last program needs at once, and those of its buffers.
fn memory(dev: &Device) -> [u64; 2] {
    let last = dev.memory().programs.pop().expect("a program has run");
    [last.at_once, last.slots]
}

/// A step of 512 steps through an LSTM: of what it keeps without the option, the gates are most.
#[test]
fn a_long_sequence_takes_less_memory() {
    let (t, b, input, h) = (512, 2, 8, 32);
    let step = |dev: &Device, recompute| {
        let params = Params::new(dev, 0);
        let net = Lstm::new(
            &params.root(),
            input,
            h,
            LstmOptions::default(),
            RecurrentConfig { recompute, ..Default::default() },
        );
        let mut opt = Adam::new(&params, AdamConfig::default());
        let x = values(dev, &[t, b, input]);
        let (_, last) = net.forward(&x, None, Mode::Train);
        let loss = last.h.mul(&last.h).sum(&[0, 1, 2]);
        opt.step(&loss.backward()).unwrap();
        (loss.item().unwrap(), params.get("weight_hh_l0").unwrap().tensor())
    };
    for dev in devices() {
        let (want, weights) = step(&dev, None);
        let [all, all_planned] = memory(&dev);
        drop(weights);
        let (got, _) = step(&dev, Some(32));
        let [some, some_planned] = memory(&dev);
        assert_eq!(got, want, "{}", dev.name());
        println!(
            "{}: {all} bytes at once, {some} in pieces of 32: {:.1} times less; buffers {all_planned} and {some_planned}",
            dev.name(),
            all as f64 / some as f64
        );
        assert!(4 * some < all && 4 * some_planned < all_planned, "{}", dev.name());
    }
}

#[test]
#[should_panic(expected = "pieces of 0 steps")]
fn pieces_have_steps() {
    let config = RecurrentConfig { recompute: Some(0), ..Default::default() };
    Rnn::new(&Params::new(&Device::cpu(), 0).root(), 3, 2, Nonlinearity::Tanh, config);
}
