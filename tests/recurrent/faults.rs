//! Operands that do not fit: what is said, and of which line.

use super::values;
use recurve::nn::{Lstm, LstmCell, LstmOptions, LstmState, Mode, RecurrentConfig};
use recurve::{Device, Params};
use std::panic::{AssertUnwindSafe, catch_unwind};

/// What `f` panics with.
fn message<T>(f: impl FnOnce() -> T) -> String {
    let panic = catch_unwind(AssertUnwindSafe(|| drop(f()))).expect_err("it panics");
    panic.downcast_ref::<String>().expect("a message").clone()
}

#[test]
fn a_wrong_input_is_put_down_to_the_line_that_called() {
    let dev = Device::cpu();
    let params = Params::new(&dev, 0);
    let config = RecurrentConfig { num_layers: 2, ..Default::default() };
    let net = Lstm::new(&params.at("net"), 4, 3, LstmOptions::default(), config);
    let cell = LstmCell::new(&params.at("cell"), 4, 3, LstmOptions::default());
    let text = message(|| net.forward(&values(&dev, &[5, 2, 7]), None, Mode::Train));
    assert!(text.contains("tests/recurrent/faults.rs") && text.contains('7'), "{text}");
    let text = message(|| net.forward(&values(&dev, &[0, 2, 4]), None, Mode::Train));
    assert!(text.contains("tests/recurrent/faults.rs") && text.contains("one step"), "{text}");
    let text = message(|| cell.forward(&values(&dev, &[2, 7]), None));
    assert!(text.contains("tests/recurrent/faults.rs"), "{text}");
}

#[test]
fn states_are_those_of_all_layers() {
    let dev = Device::cpu();
    let params = Params::new(&dev, 0);
    let options = LstmOptions { proj_size: Some(2), ..Default::default() };
    let config = RecurrentConfig { num_layers: 2, bidirectional: true, ..Default::default() };
    let net = Lstm::new(&params.root(), 4, 3, options, config);
    let x = values(&dev, &[5, 2, 4]);
    let run = |h: &[usize], c: &[usize]| {
        let state = LstmState { h: values(&dev, h), c: values(&dev, c) };
        net.forward(&x, Some(&state), Mode::Train).0.to_vec().unwrap()
    };
    assert_eq!(run(&[4, 2, 2], &[4, 2, 3]).len(), 5 * 2 * 4);
    for (h, c) in [
        (&[7, 2, 2][..], &[4, 2, 3][..]),
        (&[4, 2, 2], &[3, 2, 3]),
        (&[4, 1, 2], &[4, 2, 3]),
        (&[4, 2, 3], &[4, 2, 3]),
        (&[4, 2], &[4, 2, 3]),
    ] {
        let text = message(|| run(h, c));
        assert!(text.contains("initial states"), "{text}");
    }
}

#[test]
#[should_panic(expected = "a dropout probability of -0.5")]
fn a_probability_is_not_negative() {
    let params = Params::new(&Device::cpu(), 0);
    let config = RecurrentConfig { num_layers: 2, dropout: -0.5, ..Default::default() };
    Lstm::new(&params.root(), 4, 3, LstmOptions::default(), config);
}

#[test]
#[should_panic(expected = "a bias [O]")]
fn a_linear_layer_takes_one_number_per_result() {
    let dev = Device::cpu();
    values(&dev, &[2, 2, 3]).linear(&values(&dev, &[4, 3]), Some(&values(&dev, &[4, 4])));
}
