//! Recurrent networks against the same steps made of basic ops, on every device.

#[path = "recurrent/faults.rs"]
mod faults;
#[path = "recurrent/initial.rs"]
mod initial;
#[path = "recurrent/recompute.rs"]
mod recompute;
#[path = "recurrent/replay.rs"]
mod replay;
mod support;

use recurve::nn::recurrent::Nonlinearity;
use recurve::nn::{
    Gru, GruCell, Lstm, LstmCell, LstmOptions, LstmState, Mode, RecurrentConfig, Reset, Rnn, RnnCell,
};
use recurve::ops::matmul::Layout;
use recurve::{Device, Params, Tensor};
use support::devices;

/// Values in -1..1 that look drawn at random.
fn values(dev: &Device, shape: &[usize]) -> Tensor {
    let n: usize = shape.iter().product();
    let value = |i: usize| ((i * 7919 + 13) % 997) as f32 / 498.5 - 1.0;
    dev.tensor((0..n).map(value).collect::<Vec<_>>(), shape)
}

#[track_caller]
fn close(what: &str, a: &Tensor, b: &Tensor, bound: f32) {
    assert_eq!(a.shape(), b.shape(), "{what}");
    for (i, (a, b)) in a.to_vec().unwrap().iter().zip(b.to_vec().unwrap()).enumerate() {
        assert!((a - b).abs() <= bound, "{what}: element {i} is {a} and {b}");
    }
}

/// `x·Wᵀ + b` of the parameters `names`, as a network's step has it.
fn linear(params: &Params, x: &Tensor, [weight, bias]: [&str; 2]) -> Tensor {
    let value = |name: &str| params.get(name).unwrap().tensor();
    x.matmul_stored(Layout::AsIs, &value(weight), Layout::Transposed).add(&value(bias))
}

/// States after each step, joined, of a network whose `step` gives the next states from the gates' two parts.
fn step_by_step(
    params: &Params,
    x: &Tensor,
    mut states: Vec<Tensor>,
    step: impl Fn(&Tensor, &Tensor, &[Tensor]) -> Vec<Tensor>,
) -> Tensor {
    let [t, b, input] = [0, 1, 2].map(|axis| x.shape()[axis]);
    let mut all = Vec::new();
    for t in 0..t {
        let from_x = linear(params, &x.narrow(0, t, 1).reshape([b, input]), ["weight_ih_l0", "bias_ih_l0"]);
        let from_h = linear(params, &states[0], ["weight_hh_l0", "bias_hh_l0"]);
        states = step(&from_x, &from_h, &states);
        all.push(states[0].reshape([1, b, states[0].shape()[1]]));
    }
    Tensor::concat(&all.iter().collect::<Vec<_>>(), 0)
}

/// Compares values, and the gradients of all parameters and of x.
fn compare(what: &str, params: &Params, x: &Tensor, one: &Tensor, other: &Tensor) {
    close(what, one, other, 2e-6);
    let dy = values(x.device(), one.shape().dims());
    let gradients = [one.backward_with(&dy), other.backward_with(&dy)];
    let [a, b] = gradients.each_ref().map(|g| g.wrt(x).unwrap());
    close(&format!("{what}: gradient of x"), &a, &b, 1e-5);
    for param in params.named() {
        let [a, b] = gradients.each_ref().map(|g| g.wrt(&param.tensor()).unwrap());
        close(&format!("{what}: gradient of {}", param.name()), &a, &b, 2e-4);
    }
}

#[test]
fn networks_are_their_steps_one_after_another() {
    let (t, b, input, h) = (9, 3, 4, 5);
    let config = RecurrentConfig::default();
    for dev in devices() {
        let x = values(&dev, &[t, b, input]).requires_grad();
        let zeros = dev.full(0.0, [b, h]);
        let gate = |a: &Tensor, n: usize| a.narrow(1, n * h, h);

        let params = Params::new(&dev, 1);
        let net = Rnn::new(&params.root(), input, h, Nonlinearity::Tanh, config);
        let steps = step_by_step(&params, &x, vec![zeros.clone()], |x, a, _| vec![x.add(a).tanh()]);
        compare("rnn", &params, &x, &net.forward(&x, None, Mode::Train).0, &steps);

        let params = Params::new(&dev, 2);
        let net = Lstm::new(&params.root(), input, h, LstmOptions::default(), config);
        let steps = step_by_step(&params, &x, vec![zeros.clone(), zeros.clone()], |x, a, states| {
            let a = x.add(a);
            let [i, f, o] = [0, 1, 3].map(|n| gate(&a, n).sigmoid());
            let c = f.mul(&states[1]).add(&i.mul(&gate(&a, 2).tanh()));
            vec![o.mul(&c.tanh()), c]
        });
        compare("lstm", &params, &x, &net.forward(&x, None, Mode::Train).0, &steps);

        let params = Params::new(&dev, 3);
        let net = Gru::new(&params.root(), input, h, Reset::AfterProduct, config);
        let steps = step_by_step(&params, &x, vec![zeros.clone()], |x, a, states| {
            let [r, z] = [0, 1].map(|n| gate(x, n).add(&gate(a, n)).sigmoid());
            let n = gate(x, 2).add(&r.mul(&gate(a, 2))).tanh();
            vec![n.add(&z.mul(&states[0].sub(&n)))]
        });
        compare("gru", &params, &x, &net.forward(&x, None, Mode::Train).0, &steps);
    }
}

/// Three layers in both directions, where fused implementations have been wrong before: finite differences.
#[test]
fn gradients_through_three_layers_in_both_directions() {
    let dev = Device::cpu();
    let params = Params::new(&dev, 4);
    let config = RecurrentConfig { num_layers: 3, bidirectional: true, ..Default::default() };
    let net = Gru::new(&params.root(), 2, 3, Reset::BeforeProduct, config);
    let x = values(&dev, &[3, 2, 2]);
    let loss = || {
        let (y, last) = net.forward_lengths(&x, &[3, 2], None, Mode::Train);
        y.mul(&values(&dev, y.shape().dims())).sum(&[0, 1, 2]).add(&last.mul(&last).sum(&[0, 1, 2]))
    };
    let gradients = loss().backward();
    for param in params.named() {
        let gradient = gradients.wrt(&param.tensor()).unwrap().to_vec().unwrap();
        let at = gradient.len() / 2;
        let before = param.tensor().to_vec().unwrap();
        let moved = |by: f32| {
            let mut values = before.clone();
            values[at] += by;
            param.set(&values).unwrap();
            f64::from(loss().item().unwrap())
        };
        let difference = (moved(1e-2) - moved(-1e-2)) / 2e-2;
        param.set(&before).unwrap();
        let gradient = f64::from(gradient[at]);
        assert!(
            (gradient - difference).abs() < 2e-3 * (1.0 + difference.abs()),
            "{}: {gradient} and {difference}",
            param.name()
        );
    }
}

#[test]
fn a_sequence_in_pieces_gives_what_the_whole_gives() {
    for dev in devices() {
        let params = Params::new(&dev, 5);
        let config = RecurrentConfig { num_layers: 2, batch_first: true, ..Default::default() };
        let net = Lstm::new(&params.root(), 3, 4, LstmOptions::default(), config);
        let x = values(&dev, &[2, 7, 3]);
        let (whole, last) = net.forward(&x, None, Mode::Eval);
        let mut state: Option<LstmState> = None;
        let mut pieces = Vec::new();
        for (start, len) in [(0, 3), (3, 1), (4, 3)] {
            let (y, next) = net.forward(&x.narrow(1, start, len), state.as_ref(), Mode::Eval);
            pieces.push(y);
            state = Some(next.detach());
        }
        let joined = Tensor::concat(&pieces.iter().collect::<Vec<_>>(), 1);
        close("results", &joined, &whole, 1e-6);
        close("h", &state.as_ref().unwrap().h, &last.h, 1e-6);
        close("c", &state.unwrap().c, &last.c, 1e-6);
    }
}

#[test]
fn a_sequence_does_not_see_what_fills_it_up() {
    for dev in devices() {
        let params = Params::new(&dev, 6);
        let config = RecurrentConfig { bidirectional: true, ..Default::default() };
        let options = LstmOptions { proj_size: Some(2), peepholes: true, ..Default::default() };
        let net = Lstm::new(&params.root(), 3, 4, options, config);
        let x = values(&dev, &[6, 2, 3]);
        let initial = LstmState { h: values(&dev, &[2, 2, 2]), c: values(&dev, &[2, 2, 4]) };
        let (y, last) = net.forward_lengths(&x, &[6, 4], Some(&initial), Mode::Eval);
        let of_second = |t: &Tensor| t.narrow(1, 1, 1);
        let short = of_second(&x).narrow(0, 0, 4);
        let state = LstmState { h: of_second(&initial.h), c: of_second(&initial.c) };
        let (alone, alone_last) = net.forward(&short, Some(&state), Mode::Eval);
        close("results", &of_second(&y).narrow(0, 0, 4), &alone, 1e-6);
        close("h", &of_second(&last.h), &alone_last.h, 1e-6);
        close("c", &of_second(&last.c), &alone_last.c, 1e-6);
        assert!(of_second(&y).narrow(0, 4, 2).to_vec().unwrap().iter().all(|&v| v == 0.0));
    }
}

#[test]
fn cells_are_networks_of_one_step() {
    for dev in devices() {
        let (x, h, c) =
            (values(&dev, &[3, 4]), values(&dev, &[3, 5]), values(&dev, &[3, 5]).mul_scalar(-0.5));
        // Parameters are registered in the same order, under names that differ by `_l0`.
        let (one, other) = (Params::new(&dev, 7), Params::new(&dev, 7));
        let copy = || {
            for (a, b) in one.named().iter().zip(other.named()) {
                b.set(&a.tensor().to_vec().unwrap()).unwrap();
            }
        };
        let row = |t: &Tensor| t.reshape([1, t.shape()[0], t.shape()[1]]);

        let cell = LstmCell::new(&one.at("lstm"), 4, 5, LstmOptions::default());
        let net = Lstm::new(&other.at("lstm"), 4, 5, LstmOptions::default(), Default::default());
        copy();
        let (h1, c1) = cell.forward(&x, Some((&h, &c)));
        let (_, last) = net.forward(&row(&x), Some(&LstmState { h: row(&h), c: row(&c) }), Mode::Eval);
        close("h of an LSTM", &row(&h1), &last.h, 0.0);
        close("c of an LSTM", &row(&c1), &last.c, 0.0);

        let cell = GruCell::new(&one.at("gru"), 4, 5, Reset::BeforeProduct);
        let net = Gru::new(&other.at("gru"), 4, 5, Reset::BeforeProduct, Default::default());
        copy();
        close(
            "a GRU",
            &row(&cell.forward(&x, Some(&h))),
            &net.forward(&row(&x), Some(&row(&h)), Mode::Eval).1,
            0.0,
        );

        let cell = RnnCell::new(&one.at("rnn"), 4, 5, Nonlinearity::Relu);
        let net = Rnn::new(&other.at("rnn"), 4, 5, Nonlinearity::Relu, Default::default());
        copy();
        close("an RNN", &row(&cell.forward(&x, None)), &net.forward(&row(&x), None, Mode::Eval).1, 0.0);
    }
}

#[test]
fn long_sequences_agree_with_the_reference() {
    let run = |dev: &Device| {
        let params = Params::new(dev, 8);
        let net = Lstm::new(&params.root(), 1, 3, LstmOptions::default(), Default::default());
        let x = values(dev, &[2000, 1, 1]).requires_grad();
        let (y, _) = net.forward(&x, None, Mode::Train);
        let gradient = y.sum(&[0, 1, 2]).backward().wrt(&x).unwrap();
        (y.to_vec().unwrap(), gradient.to_vec().unwrap())
    };
    let devices = devices();
    let (y, dx) = run(&devices[0]);
    for dev in &devices[1..] {
        let (other_y, other_dx) = run(dev);
        for (name, a, b) in [("results", &y, &other_y), ("gradient", &dx, &other_dx)] {
            let far = a.iter().zip(b).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max);
            assert!(far < 1e-4, "{name} on {}: {far}", dev.name());
        }
    }
}

#[test]
fn dropout_lies_between_layers_and_only_in_training() {
    let dev = Device::cpu();
    let params = Params::new(&dev, 9);
    let config = RecurrentConfig { num_layers: 2, dropout: 0.5, ..Default::default() };
    let net = Rnn::new(&params.root(), 3, 8, Nonlinearity::Tanh, config);
    let x = values(&dev, &[4, 2, 3]);
    let run = |mode| net.forward(&x, None, mode).0.to_vec().unwrap();
    assert_eq!(run(Mode::Eval), run(Mode::Eval));
    assert_ne!(run(Mode::Train), run(Mode::Train));
}

#[test]
fn names_and_shapes_are_pytorchs() {
    let params = Params::new(&Device::cpu(), 0);
    let config = RecurrentConfig { num_layers: 2, bidirectional: true, ..Default::default() };
    let options = LstmOptions { proj_size: Some(3), ..Default::default() };
    Lstm::new(&params.root(), 5, 4, options, config);
    let shape = |name: &str| params.get(name).unwrap_or_else(|| panic!("no {name}")).shape().dims().to_vec();
    assert_eq!(shape("weight_ih_l0"), [16, 5]);
    assert_eq!(shape("weight_ih_l1_reverse"), [16, 6]);
    assert_eq!(shape("weight_hh_l0"), [16, 3]);
    assert_eq!(shape("weight_hr_l1"), [3, 4]);
    assert_eq!(shape("bias_hh_l0_reverse"), [16]);
    assert_eq!(params.named().len(), 20);
}

#[test]
#[should_panic(expected = "2 lengths of 1 to 4 steps are needed")]
fn a_sequence_without_steps() {
    let dev = Device::cpu();
    let params = Params::new(&dev, 0);
    let net = Rnn::new(&params.root(), 3, 2, Nonlinearity::Tanh, Default::default());
    net.forward_lengths(&values(&dev, &[4, 2, 3]), &[4, 0], None, Mode::Eval);
}
