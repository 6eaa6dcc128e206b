//! What a step of a sequence costs: one dispatch forward and one backward, and nothing that is created.

use super::support::devices;
use super::values;
use recurve::nn::{Gru, Lstm, LstmOptions, Mode, RecurrentConfig, Reset};
use recurve::optim::{Sgd, SgdConfig};
use recurve::{Device, Params, Tensor};

/// Results of a sequence.
type Net = Box<dyn Fn(&Tensor) -> Tensor>;

/// Dispatches of a training step with sequences of `steps` steps. The width chooses among the kernels.
fn dispatches(dev: &Device, steps: usize, width: usize, make: &dyn Fn(&Params) -> Net) -> u64 {
    let params = Params::new(dev, 7);
    let net = make(&params);
    let mut opt = Sgd::new(&params, SgdConfig { lr: 1e-3, ..Default::default() });
    let (x, dy) = (values(dev, &[steps, 3, width]), values(dev, &[steps, 3, width]));
    let mut losses = Vec::new();
    let mut run = || {
        let loss = net(&x).mul(&dy).sum(&[0, 1, 2]);
        opt.step(&loss.backward()).unwrap();
        losses.push(loss);
        dev.wait().unwrap();
    };
    (0..3).for_each(|_| run());
    let before = dev.counters();
    run();
    let after = dev.counters();
    assert_eq!(after.objects() - before.objects(), 0, "{}: {steps} steps create objects", dev.name());
    after.dispatches - before.dispatches
}

#[test]
fn a_step_is_one_dispatch_each_way() {
    for dev in devices() {
        if dev.is_reference() {
            continue;
        }
        // Wide enough that a GPU does not stay in one dispatch for many steps; of whole octets and not.
        for width in [160, 165] {
            let config = RecurrentConfig::default();
            let lstm = |params: &Params| -> Net {
                let net = Lstm::new(&params.root(), width, width, LstmOptions::default(), config);
                Box::new(move |x| net.forward(x, None, Mode::Train).0)
            };
            let gru = |reset: Reset| {
                move |params: &Params| -> Net {
                    let net = Gru::new(&params.root(), width, width, reset, config);
                    Box::new(move |x| net.forward(x, None, Mode::Train).0)
                }
            };
            let more = |make: &dyn Fn(&Params) -> Net| {
                dispatches(&dev, 56, width, make) - dispatches(&dev, 48, width, make)
            };
            let name = dev.name();
            assert_eq!(more(&lstm), 16, "{name}: dispatches of 8 more steps of an LSTM of {width}");
            assert_eq!(more(&gru(Reset::AfterProduct)), 16, "{name}: of a GRU of {width}");
            assert_eq!(
                more(&gru(Reset::BeforeProduct)),
                32,
                "{name}: of a GRU that resets before, of {width}"
            );
        }
    }
}
