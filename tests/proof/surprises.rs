//! Things that programs do in earnest and that break frameworks: right results, a bounded number of plans.

use crate::adapters;
use recurve::testing::compare;
use recurve::{Adam, AdamConfig, Device, Error, Gradients, Init, Param, Params, Result, Tensor, no_grad};

/// Two dense layers.
struct Net {
    w1: Param,
    b1: Param,
    w2: Param,
    b2: Param,
}

const INPUTS: usize = 6;
const CLASSES: usize = 3;

impl Net {
    fn new(params: &Params) -> Net {
        let root = params.root();
        let wide = || Init::Uniform { low: -0.5, high: 0.5 };
        Net {
            w1: root.param("w1", [INPUTS, 16], wide()),
            b1: root.param("b1", [16], Init::Zeros),
            w2: root.param("w2", [16, CLASSES], wide()),
            b2: root.param("b2", [CLASSES], Init::Zeros),
        }
    }

    fn forward(&self, x: &Tensor) -> Tensor {
        let h = x.matmul(&self.w1.tensor()).add(&self.b1.tensor()).relu();
        h.matmul(&self.w2.tensor()).add(&self.b2.tensor())
    }
}

/// A net in training.
struct Training {
    device: Device,
    params: Params,
    net: Net,
    opt: Adam,
}

impl Training {
    fn new(device: Device) -> Training {
        let params = Params::new(&device, 7);
        let net = Net::new(&params);
        let opt = Adam::new(&params, AdamConfig { lr: 0.01, ..AdamConfig::default() });
        Training { device, params, net, opt }
    }

    fn batch(&self, step: usize, size: usize) -> (Tensor, Tensor) {
        let x: Vec<f32> =
            (0..size * INPUTS).map(|i| ((i * 37 + step * 101) % 97) as f32 / 97.0 - 0.5).collect();
        let labels: Vec<i64> = (0..size).map(|i| ((i * 5 + step) % CLASSES) as i64).collect();
        (self.device.tensor(x, [size, INPUTS]), self.device.labels(labels))
    }

    fn loss(&self, step: usize, size: usize) -> Tensor {
        let (x, labels) = self.batch(step, size);
        self.net.forward(&x).cross_entropy(&labels)
    }

    fn step(&mut self, step: usize, size: usize) -> Result<Tensor> {
        let loss = self.loss(step, size);
        self.opt.step(&loss.backward())?;
        Ok(loss)
    }

    fn weights(&self) -> Vec<f64> {
        self.params.named().iter().flat_map(|p| p.tensor().to_vec_f64().unwrap()).collect()
    }
}

/// Runs `story` on the reference and on every adapter, and compares what it returns and the weights it leaves.
/// `plans` bounds the number of programs that it may take.
fn tell(name: &str, plans: u64, story: impl Fn(&mut Training) -> Vec<f64>) {
    let mut reference: Option<Vec<f64>> = None;
    for device in adapters::engines() {
        let mut training = Training::new(device.clone());
        let mut got = story(&mut training);
        let made = device.counters().plans;
        assert!(made <= plans, "{name} on {}: {made} plans, {plans} were enough", device.name());
        got.extend(training.weights());
        match &reference {
            None => reference = Some(got),
            Some(want) => {
                let bounds: Vec<f64> = want.iter().map(|w| 1e-5 + 1e-4 * w.abs()).collect();
                compare(&format!("{name} on {}", device.name()), &got, want, &bounds, 7).unwrap();
            }
        }
    }
}

fn item(t: &Tensor) -> f64 {
    f64::from(t.item().unwrap())
}

#[test]
fn training_lowers_the_loss() {
    tell("training", 12, |t| {
        let losses: Vec<f64> = (0..30).map(|_| item(&t.step(0, 8).unwrap())).collect();
        assert!(losses[29] < 0.9 * losses[0], "{losses:?}");
        losses
    });
}

#[test]
fn a_host_condition_in_forward() {
    tell("host condition", 16, |t| {
        let mut losses = Vec::new();
        for step in 0..12 {
            let (x, labels) = t.batch(step, 8);
            let mut y = t.net.forward(&x);
            if step % 3 == 0 {
                y = y.mul_scalar(0.5).tanh();
            }
            let loss = y.cross_entropy(&labels);
            t.opt.step(&loss.backward()).unwrap();
            losses.push(item(&loss));
        }
        losses
    });
}

#[test]
fn a_changing_batch_size_and_a_last_partial_batch() {
    tell("batch sizes", 20, |t| {
        let sizes = [8, 8, 5, 8, 3, 8, 8, 5, 1, 8, 3, 5, 8, 1];
        sizes.iter().enumerate().map(|(i, &size)| item(&t.step(i, size).unwrap())).collect()
    });
}

#[test]
fn a_learning_rate_schedule_makes_no_plans() {
    tell("schedule", 12, |t| {
        let mut losses = Vec::new();
        for step in 0..20 {
            t.opt.set_lr(0.02 / (1.0 + step as f64));
            losses.push(item(&t.step(step, 8).unwrap()));
        }
        losses
    });
}

#[test]
fn a_loss_read_before_backward_gives_the_same_gradients() {
    let read_first = |t: &mut Training, first: bool| -> Vec<f64> {
        let mut losses = Vec::new();
        for step in 0..6 {
            let loss = t.loss(step, 8);
            if first {
                losses.push(item(&loss));
            }
            t.opt.step(&loss.backward()).unwrap();
            if !first {
                losses.push(item(&loss));
            }
        }
        losses.extend(t.weights());
        losses
    };
    tell("loss read first", 16, |t| read_first(t, true));
    for device in adapters::engines() {
        let early = read_first(&mut Training::new(device.clone()), true);
        let late = read_first(&mut Training::new(device.clone()), false);
        let bounds = vec![1e-6; late.len()];
        compare(&device.name(), &early, &late, &bounds, 7).unwrap();
    }
}

#[test]
fn evaluation_between_steps() {
    tell("evaluation", 16, |t| {
        let mut seen = Vec::new();
        for step in 0..8 {
            seen.push(item(&t.step(step, 8).unwrap()));
            let (x, _) = t.batch(100 + step, 4);
            let logits = no_grad(|| t.net.forward(&x));
            seen.extend(logits.to_vec_f64().unwrap());
        }
        seen
    });
}

#[test]
fn tensors_and_gradients_held_across_steps() {
    tell("held", 24, |t| {
        let mut losses = Vec::new();
        let mut held: Vec<(Tensor, Tensor, Gradients)> = Vec::new();
        for step in 0..6 {
            let (x, labels) = t.batch(step, 8);
            let logits = t.net.forward(&x);
            let loss = logits.cross_entropy(&labels);
            let gradients = loss.backward();
            t.opt.step(&gradients).unwrap();
            losses.push(loss.clone());
            held.push((logits, loss, gradients));
        }
        let mut seen: Vec<f64> = losses.iter().map(item).collect();
        for (logits, loss, gradients) in &held {
            seen.extend(logits.to_vec_f64().unwrap());
            seen.push(item(loss));
            let gradient = t.net.w2.gradient(gradients).unwrap();
            seen.extend(gradient.to_vec_f64().unwrap());
        }
        seen
    });
}

#[test]
fn a_value_without_gradients_outlives_its_handle_in_a_graph() {
    tell("a value without gradients", 8, |t| {
        let (x, labels) = t.batch(0, 8);
        let scaled = no_grad(|| x.mul_scalar(2.0).add_scalar(0.1));
        scaled.to_vec().unwrap();
        drop(x);
        let mut losses = vec![t.net.forward(&scaled).cross_entropy(&labels)];
        losses.push(losses[0].mul_scalar(3.0));
        let mut values: Vec<f64> = losses.iter().map(item).collect();
        drop(scaled);
        // Another program of the same shapes takes the places that became free.
        values.push(item(&t.loss(1, 8)));
        let gradients = losses[1].backward();
        values.extend(gradients.wrt(&t.net.w1.tensor()).unwrap().to_vec_f64().unwrap());
        values
    });
}

#[test]
fn gradients_of_two_batches_added() {
    tell("accumulated", 16, |t| {
        for step in 0..5 {
            let first = t.loss(2 * step, 4).backward();
            let second = t.loss(2 * step + 1, 4).backward();
            let sum = |p: &Param| Some(p.gradient(&first)?.add(&p.gradient(&second)?));
            t.opt.step_with(sum).unwrap();
        }
        t.weights()
    });
}

#[test]
fn a_batch_uploaded_in_advance() {
    tell("prefetch", 12, |t| {
        let mut losses = Vec::new();
        let mut next = t.batch(0, 8);
        for step in 0..8 {
            let (x, labels) = std::mem::replace(&mut next, t.batch(step + 1, 8));
            let loss = t.net.forward(&x).cross_entropy(&labels);
            t.opt.step(&loss.backward()).unwrap();
            losses.push(item(&loss));
        }
        losses
    });
}

#[test]
fn another_thread_predicts_while_this_one_trains() {
    for device in adapters::engines() {
        let alone = {
            let mut t = Training::new(device.clone());
            (0..20).map(|step| item(&t.step(step, 8).unwrap())).collect::<Vec<f64>>()
        };
        let mut t = Training::new(device.clone());
        let (x, _) = t.batch(500, 4);
        let fixed = Training::new(device.clone());
        let want = fixed.net.forward(&x).to_vec().unwrap();
        let together = std::thread::scope(|scope| {
            let predictor = scope.spawn(|| {
                for _ in 0..20 {
                    // Weights that nobody updates give the same answer each time, those in training a finite one.
                    assert_eq!(fixed.net.forward(&x).to_vec().unwrap(), want);
                }
            });
            let losses: Vec<f64> = (0..20).map(|step| item(&t.step(step, 8).unwrap())).collect();
            predictor.join().unwrap();
            losses
        });
        assert_eq!(alone, together, "{}", device.name());
        assert!(device.counters().plans <= 24);
    }
}

#[test]
fn a_tensor_that_crosses_threads_is_run_first() {
    for device in adapters::engines() {
        let y = device.tensor([1.0, 2.0], [2]).mul_scalar(3.0);
        let sum = std::thread::scope(|s| s.spawn(|| y.add_scalar(1.0).to_vec().unwrap()).join().unwrap());
        assert_eq!(sum, [4.0, 7.0]);
        assert_eq!(y.to_vec().unwrap(), [3.0, 6.0]);
    }
}

#[test]
fn a_backward_through_an_updated_parameter_is_an_error_that_names_it() {
    for device in adapters::engines() {
        let mut t = Training::new(device.clone());
        let stale = t.loss(0, 8);
        item(&stale);
        t.step(1, 8).unwrap();
        let gradients = stale.backward();
        let error = t.opt.step(&gradients).unwrap_err();
        assert!(matches!(error, Error::Released { .. } | Error::Updated { .. }), "{error}");
        // The value itself is still there, and training goes on.
        item(&stale);
        t.step(2, 8).unwrap();
    }
}

#[test]
fn the_same_training_twice_gives_the_same_bits() {
    for adapter in adapters::all() {
        let run = || {
            let mut t = Training::new(adapters::open(&adapter));
            let losses: Vec<f64> = (0..50).map(|step| item(&t.step(step, 8).unwrap())).collect();
            (losses, t.weights())
        };
        assert_eq!(run(), run(), "{adapter}");
    }
}

#[test]
fn from_the_second_step_on_nothing_is_created() {
    for adapter in adapters::all() {
        let mut t = Training::new(adapters::open(&adapter));
        let mut loss = t.step(0, 8).unwrap();
        // The second step moves the first loss, which is still held, into a page of scalars.
        for step in 1..4 {
            loss = t.step(step, 8).unwrap();
        }
        let before = t.device.counters();
        for step in 4..12 {
            let next = t.step(step, 8).unwrap();
            loss = next;
        }
        let after = t.device.counters();
        assert_eq!(after.objects(), before.objects(), "objects were created on {adapter}");
        assert_eq!(after.submits - before.submits, 8, "submits on {adapter}");
        assert_eq!(after.plans, before.plans);
        let each = (after.tracing - before.tracing + after.encoding - before.encoding) / 8;
        println!("{adapter}: tracing and encoding take {each:?} per step");
        item(&loss);
    }
}

/// Set in the second process of [`two_processes_give_the_same_bits`].
const CHILD: &str = "RECURVE_TEST_SECOND_PROCESS";

/// Bits of the losses of fifty steps and of the weights after them, on every adapter.
fn fifty_steps() -> String {
    let mut bits = String::new();
    for adapter in adapters::all() {
        let mut t = Training::new(adapters::open(&adapter));
        let mut values: Vec<f64> = (0..50).map(|step| item(&t.step(step, 8).unwrap())).collect();
        values.extend(t.weights());
        values.iter().for_each(|v| bits.push_str(&format!("{:08x}", (*v as f32).to_bits())));
    }
    bits
}

#[test]
fn two_processes_give_the_same_bits() {
    let here = fifty_steps();
    if std::env::var_os(CHILD).is_some() {
        println!("bits: {here}.");
        return;
    }
    let output = std::process::Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "surprises::two_processes_give_the_same_bits", "--nocapture"])
        .env(CHILD, "1")
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&output.stdout);
    assert!(said.contains(&format!("bits: {here}.")), "another process computes other bits: {said}");
}

/// A second thread predicts with the very weights that this one trains: each answer is that of some step, whole.
#[test]
fn a_second_thread_predicts_with_the_weights_in_training() {
    use recurve::nn::Linear;
    use recurve::optim::{Sgd, SgdConfig};
    use recurve::{Params, no_grad};
    const STEPS: usize = 30;
    for dev in adapters::engines() {
        let data: Vec<f32> = (0..8 * 16).map(|i| ((i * 29 % 31) as f32 - 15.0) / 15.0).collect();
        let labels: Vec<i64> = (0..8).map(|i| i % 4).collect();
        let build = || {
            let params = Params::new(&dev, 3);
            let layers = (Linear::new(&params.at("a"), 16, 32), Linear::new(&params.at("b"), 32, 4));
            let opt = Sgd::new(&params, SgdConfig { lr: 0.2, momentum: 0.9, ..Default::default() });
            (layers, opt)
        };
        type Net = (Linear, Linear);
        let forward = |net: &Net| net.1.forward(&net.0.forward(&dev.tensor(&data, [8, 16])).tanh());
        let predict = |net: &Net| -> Vec<u32> {
            let y = no_grad(|| forward(net)).to_vec().unwrap();
            y.iter().map(|v| v.to_bits()).collect()
        };
        let step = |net: &Net, opt: &mut Sgd| {
            let loss = forward(net).cross_entropy(&dev.labels(&labels));
            opt.step(&loss.backward()).unwrap();
        };
        // Alone first: what each step's weights answer.
        let (net, mut opt) = build();
        let mut answers = vec![predict(&net)];
        for _ in 0..STEPS {
            step(&net, &mut opt);
            answers.push(predict(&net));
        }
        let (net, mut opt) = build();
        let seen = std::thread::scope(|scope| {
            let predictor = scope.spawn(|| (0..STEPS).map(|_| predict(&net)).collect::<Vec<_>>());
            for _ in 0..STEPS {
                step(&net, &mut opt);
            }
            predictor.join().unwrap()
        });
        for answer in seen {
            assert!(answers.contains(&answer), "{}: an answer of no step", dev.name());
        }
        assert_eq!(predict(&net), answers[STEPS], "{}", dev.name());
    }
}
