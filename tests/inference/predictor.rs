//! What predictors promise: the network's results for any number of samples and from any thread, nothing created on the
//! device, weights as they are now, errors instead of panics.

use crate::devices;
use recurve::nn::{BatchNorm2d, Conv2d, Linear, Mode};
use recurve::ops::conv2d::Conv2dConfig;
use recurve::optim::{Sgd, SgdConfig};
use recurve::params::Match;
use recurve::predict::PredictorError;
use recurve::{Counters, Device, Error, Init, Params, Predictor, Tensor, no_grad};
use std::sync::Barrier;

/// Values of a picture of 6×6.
const SAMPLE: usize = 36;

struct Net {
    conv: Conv2d,
    bn: BatchNorm2d,
    fc: Linear,
}

impl Net {
    fn new(params: &Params) -> Net {
        let config = Conv2dConfig { padding: 1.into(), ..Default::default() };
        Net {
            conv: Conv2d::new(&params.at("conv"), 1, 4, 3, config),
            bn: BatchNorm2d::new(&params.at("bn"), 4, Default::default()),
            fc: Linear::new(&params.at("fc"), 4 * 9, 5),
        }
    }

    fn forward(&self, x: &Tensor, mode: Mode) -> Tensor {
        let h = self.bn.forward(&self.conv.forward(x), mode).relu().max_pool2d(2);
        self.fc.forward(&h.flatten(1))
    }

    fn predictor(&self, dev: &Device, batch: usize) -> Predictor {
        Predictor::new(dev, [batch, 1, 6, 6], |x| self.forward(x, Mode::Eval)).unwrap()
    }

    /// What the predictor must give.
    fn expected(&self, dev: &Device, input: &[f32]) -> Vec<f32> {
        let x = dev.tensor(input, [input.len() / SAMPLE, 1, 6, 6]);
        no_grad(|| self.forward(&x, Mode::Eval)).to_vec().unwrap()
    }
}

/// Pictures that all differ.
fn pictures(count: usize) -> Vec<f32> {
    (0..count * SAMPLE).map(|i| ((i * 7919 % 1009) as f32 / 504.0) - 1.0).collect()
}

fn assert_close(got: &[f32], want: &[f32], what: &str) {
    assert_eq!(got.len(), want.len(), "{what}");
    let far = got.iter().zip(want).fold(0f32, |m, (g, w)| m.max((g - w).abs()));
    assert!(far < 1e-5, "{what}: {far}");
}

/// GPU objects and plans.
fn created(counters: Counters) -> (u64, u64) {
    (counters.objects(), counters.plans)
}

#[test]
fn any_number_of_samples_is_predicted() {
    for dev in devices() {
        let params = Params::new(&dev, 3);
        let net = Net::new(&params);
        let predictor = net.predictor(&dev, 4);
        assert_eq!((predictor.batch(), predictor.sample()), (4, SAMPLE));
        for count in [1, 3, 4, 5, 8, 17] {
            let input = pictures(count);
            let what = format!("{count} samples on {}", dev.name());
            assert_close(&predictor.predict(&input).unwrap(), &net.expected(&dev, &input), &what);
        }
        assert!(predictor.predict(&[]).unwrap().is_empty());
    }
}

#[test]
fn nothing_is_created_for_predictions_from_any_thread() {
    for dev in devices() {
        let params = Params::new(&dev, 3);
        let net = Net::new(&params);
        let input = pictures(10);
        let expected = net.expected(&dev, &input);
        let predictor = net.predictor(&dev, 4);
        let before = dev.counters();
        for count in [1, 4, 10] {
            predictor.predict(&input[..count * SAMPLE]).unwrap();
        }
        // More batches than may be under way.
        assert_eq!(predictor.stream(input.chunks(SAMPLE)).count(), 10);
        // A stream that is given up with batches under way.
        assert!(predictor.stream(input.chunks(SAMPLE)).next().is_some_and(|first| first.is_ok()));
        assert_close(&predictor.predict(&input).unwrap(), &expected, &dev.name());
        assert_eq!(created(dev.counters()), created(before), "one thread on {}", dev.name());
        let (threads, barrier) = (4, Barrier::new(4));
        std::thread::scope(|scope| {
            for _ in 0..threads {
                scope.spawn(|| {
                    barrier.wait();
                    for (picture, expected) in input.chunks(SAMPLE).zip(expected.chunks(5)) {
                        let got = predictor.predict(picture).unwrap();
                        assert_close(&got, expected, &dev.name());
                    }
                });
            }
        });
        let after = dev.counters();
        assert_eq!(created(after), created(before), "{threads} threads on {}", dev.name());
        assert_eq!(after.runs - before.runs, 1 + 1 + 3 + 10 + 3 + 3 + 40, "programs run on {}", dev.name());
        if !dev.is_reference() {
            assert!(after.buffers > 0 && after.submits > before.submits);
        }
    }
}

#[test]
fn streams_keep_the_order_whatever_the_lengths() {
    for dev in devices() {
        let params = Params::new(&dev, 3);
        let net = Net::new(&params);
        let predictor = net.predictor(&dev, 3);
        let lengths = [2, 0, 7, 1, 1, 12, 3];
        let all = pictures(lengths.iter().sum());
        let mut at = 0;
        let mut inputs: Vec<&[f32]> = Vec::new();
        for length in lengths {
            inputs.push(&all[at * SAMPLE..][..length * SAMPLE]);
            at += length;
        }
        // A part of a picture has an error for a result, and what follows is as it was.
        let broken = [1.0; SAMPLE + 1];
        inputs.insert(3, &broken);
        let results: Vec<_> = predictor.stream(&inputs).collect();
        assert_eq!(results.len(), inputs.len());
        for (i, (result, input)) in results.into_iter().zip(inputs).enumerate() {
            match result {
                Err(Error::Predictor(PredictorError::Input { values, sample })) => {
                    assert_eq!((i, values, sample), (3, SAMPLE + 1, SAMPLE));
                }
                result => {
                    let expected = if input.is_empty() { Vec::new() } else { net.expected(&dev, input) };
                    assert_close(&result.unwrap(), &expected, &format!("input {i} on {}", dev.name()));
                }
            }
        }
    }
}

#[test]
fn a_stream_reads_ahead_by_three_batches_at_most() {
    let dev = Device::cpu();
    let predictor = Predictor::new(&dev, [1, 2], |x| x.mul_scalar(2.0)).unwrap();
    let taken = std::cell::Cell::new(0);
    let inputs = (0..10).inspect(|_| taken.set(taken.get() + 1)).map(|i| vec![i as f32; 2]);
    let mut stream = predictor.stream(inputs);
    for i in 0..10 {
        assert_eq!(stream.next().unwrap().unwrap(), [2.0 * i as f32; 2]);
        assert_eq!(taken.get(), (i + 3).min(10));
    }
    assert!(stream.next().is_none() && stream.next().is_none());
}

#[test]
fn results_may_be_several_and_of_any_kind() {
    for dev in devices() {
        let params = Params::new(&dev, 3);
        let rows = params.root().param("rows", [2, 1], Init::Ones);
        let input = [1.0, 5.0, 3.0, 9.0, 8.0, 7.0, 4.0, 4.0, 6.0];
        let best = Predictor::new(&dev, [2, 3], |x| x.topk(2, 1)).unwrap();
        let (values, indices) = best.predict(&input).unwrap();
        assert_eq!(values, [5.0, 3.0, 9.0, 8.0, 6.0, 4.0]);
        assert_eq!(indices, [1.0, 2.0, 0.0, 1.0, 2.0, 0.0]);
        // The input itself, a parameter, the same tensor twice, and one that is known beforehand.
        let kept = dev.tensor([7.0, 8.0], [2, 1]).add_scalar(1.0);
        let all = Predictor::new(&dev, [2, 3], |x| {
            let sum = x.sum(&[1]);
            vec![x.clone(), rows.tensor(), sum.clone(), sum, kept.clone()]
        });
        let all = all.unwrap().predict(&input).unwrap();
        assert_eq!(all[0], input);
        assert_eq!(all[1], [1.0; 3]);
        assert_eq!([&all[2], &all[3]], [&vec![9.0, 24.0, 14.0]; 2]);
        assert_eq!(all[4], [8.0, 9.0, 8.0]);
        let [double, half] = Predictor::new(&dev, [2, 3], |x| [2.0, 0.5].map(|f| x.mul_scalar(f)))
            .unwrap()
            .predict(&input)
            .unwrap();
        assert_eq!((double[8], half[8]), (12.0, 3.0));
    }
}

#[test]
fn weights_are_those_of_now() {
    for dev in devices() {
        let (params, other) = (Params::new(&dev, 3), Params::new(&dev, 4));
        let (net, others) = (Net::new(&params), Net::new(&other));
        let predictor = net.predictor(&dev, 2);
        let input = pictures(2);
        let at_first = predictor.predict(&input).unwrap();
        assert_close(&at_first, &net.expected(&dev, &input), &dev.name());
        let bytes = pollster::block_on(other.to_bytes()).unwrap();
        let before = dev.counters();
        params.load_bytes(&bytes, Match::Strict).unwrap();
        let loaded = predictor.predict(&input).unwrap();
        assert_eq!(created(dev.counters()), created(before), "{}", dev.name());
        assert_close(&loaded, &others.expected(&dev, &input), &dev.name());
        assert!(at_first.iter().zip(&loaded).any(|(a, b)| (a - b).abs() > 1e-2));
        // An update that has been asked for, and running statistics that are still pending.
        let x = dev.tensor(&input, [2, 1, 6, 6]);
        let loss = net.forward(&x, Mode::Train).sum(&[0, 1]);
        Sgd::new(&params, SgdConfig { lr: 0.01, ..Default::default() }).step(&loss.backward()).unwrap();
        let updated = predictor.predict(&input).unwrap();
        assert_close(&updated, &net.expected(&dev, &input), &dev.name());
        assert!(updated.iter().zip(&loaded).any(|(a, b)| (a - b).abs() > 1e-3));
        drop(no_grad(|| net.forward(&x, Mode::Train)));
        let moved = predictor.predict(&input).unwrap();
        assert!(moved.iter().zip(&updated).any(|(a, b)| (a - b).abs() > 1e-3), "{}", dev.name());
        assert_close(&moved, &net.expected(&dev, &input), &dev.name());
    }
}

#[test]
fn predictions_between_the_halves_of_a_step_change_nothing_of_it() {
    for dev in devices() {
        let train = |between: bool| {
            let params = Params::new(&dev, 3);
            let net = Net::new(&params);
            let mut opt = Sgd::new(&params, SgdConfig { lr: 0.01, ..Default::default() });
            let predictor = net.predictor(&dev, 2);
            let x = dev.tensor(pictures(4), [4, 1, 6, 6]);
            let mut plans = Vec::new();
            for _ in 0..4 {
                let h = net.fc.forward(&net.conv.forward(&x).relu().max_pool2d(2).flatten(1));
                if between {
                    predictor.predict(&pictures(1)).unwrap();
                }
                opt.step(&h.mul(&h).sum(&[0, 1]).backward()).unwrap();
                plans.push(dev.counters().plans);
            }
            assert!(plans.iter().all(|p| *p == plans[0]), "plans on {}: {plans:?}", dev.name());
            net.fc.weight.tensor().to_vec().unwrap()
        };
        assert_eq!(train(false), train(true), "{}", dev.name());
    }
}

#[test]
fn a_predictor_outlives_the_cache_of_plans() {
    let dev = Device::cpu();
    let predictor = Predictor::new(&dev, [2, 3], |x| x.sum(&[1])).unwrap();
    for n in 1..100 {
        dev.full(1.0, [n]).add_scalar(1.0).to_vec().unwrap();
    }
    let plans = dev.counters().plans;
    assert_eq!(predictor.predict(&[1.0; 6]).unwrap(), [3.0; 2]);
    assert_eq!(dev.counters().plans, plans);
    assert!(predictor.explain().contains("= sum("), "{}", predictor.explain());
}

/// What a predictor cannot be made of.
fn refused(made: Result<Predictor<impl recurve::predict::Outputs>, Error>) -> PredictorError {
    match made {
        Err(Error::Predictor(error)) => error,
        Err(error) => panic!("{error}"),
        Ok(predictor) => panic!("{predictor:?}"),
    }
}

#[test]
fn networks_that_have_no_fixed_program_are_refused() {
    for dev in devices() {
        let params = Params::new(&dev, 3);
        let net = Net::new(&params);
        let mean = || params.get("bn.running_mean").unwrap().tensor().to_vec().unwrap();
        let before = mean();
        let error = refused(Predictor::new(&dev, [2, 1, 6, 6], |x| net.forward(x, Mode::Train)));
        assert!(
            matches!(&error, PredictorError::Updates { variable } if variable.starts_with("bn.")),
            "{error}"
        );
        // Nothing of it happens later.
        dev.run().unwrap();
        assert_eq!(mean(), before);
        let error =
            refused(Predictor::new(&dev, [2, 3], |x| x.mul_scalar(x.sum(&[0, 1]).item().unwrap().into())));
        assert_eq!(error, PredictorError::Runs);
        let error = refused(Predictor::new(&dev, [2, 3], |x| vec![x.clone(), x.sum(&[0])]));
        assert!(matches!(error, PredictorError::Rows { index: 1, samples: 2, .. }), "{error}");
        let error = refused(Predictor::new(&dev, [2, 3], |x| x.sum(&[0, 1])));
        assert!(matches!(error, PredictorError::Rows { index: 0, .. }), "{error}");
        let error = refused(Predictor::new(&dev, [0, 3], Tensor::clone));
        assert!(matches!(error, PredictorError::NoSamples { .. }), "{error}");
        assert_eq!(
            refused(Predictor::new(&dev, (), Tensor::clone)).to_string(),
            "an input of shape [] has no samples"
        );
        let elsewhere = Device::cpu().full(1.0, [2, 3]);
        assert_eq!(refused(Predictor::new(&dev, [2, 3], |_| elsewhere)), PredictorError::Device { index: 0 });
    }
}

#[test]
fn errors_of_the_device_come_from_the_call() {
    for dev in devices().into_iter().filter(|d| !d.is_reference()) {
        let predictor = Predictor::new(&dev, [2, 3], |x| x.mul_scalar(2.0)).unwrap();
        assert_eq!(predictor.predict(&[1.0; 3]).unwrap(), [2.0; 3]);
        dev.destroy();
        for _ in 0..2 {
            assert!(predictor.predict(&[1.0; 3]).is_err(), "{}", dev.name());
        }
        assert!(predictor.stream([[1.0; 3]; 4]).all(|result| result.is_err()), "{}", dev.name());
        let too_large =
            Predictor::new(&Device::cpu(), [2, 3], |x| x.mul_scalar(2.0)).unwrap().predict(&[1.0; 4]);
        assert!(matches!(too_large, Err(Error::Predictor(PredictorError::Input { values: 4, sample: 3 }))));
    }
}

#[test]
fn predictors_are_shared_among_threads() {
    fn shared<T: Send + Sync>() {}
    shared::<Predictor>();
    shared::<Predictor<(Tensor, Tensor)>>();
}
