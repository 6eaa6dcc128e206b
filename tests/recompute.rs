//! What is computed again gives the same bits in less memory.

mod support;

use recurve::nn::{BatchNorm2d, Conv2d, Dropout, GroupNorm, LayerNorm, Linear, Mode};
use recurve::ops::activation::Gelu;
use recurve::ops::conv2d::Conv2dConfig;
use recurve::testing::{execute_node_by_node, explanation_for};
use recurve::{Device, Error, Init, Params, Sgd, SgdConfig, Tensor, recompute};
use support::devices;

fn values(dev: &Device, shape: &[usize]) -> Tensor {
    let n: usize = shape.iter().product();
    let value = |i: usize| ((i * 7919 + 13) % 997) as f32 / 498.5 - 1.0;
    dev.tensor((0..n).map(value).collect::<Vec<_>>(), shape)
}

/// Where segments are.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Segments {
    None,
    Blocks,
    /// Each block, and its halves within it.
    Nested,
    /// The whole network with its loss.
    All,
}

impl Segments {
    fn block<T>(self, f: impl FnOnce() -> T) -> T {
        if matches!(self, Segments::Blocks | Segments::Nested) { recompute(f) } else { f() }
    }

    fn half<T>(self, f: impl FnOnce() -> T) -> T {
        if self == Segments::Nested { recompute(f) } else { f() }
    }
}

struct Block {
    conv: Conv2d,
    bn: BatchNorm2d,
    gn: GroupNorm,
    dropout: Dropout,
}

/// Residual blocks with everything that could differ the second time: batch statistics, dropout, normalisation.
struct Net {
    params: Params,
    blocks: Vec<Block>,
    norm: LayerNorm,
    fc: Linear,
}

impl Net {
    fn new(dev: &Device) -> Net {
        let params = Params::new(dev, 11);
        let config = Conv2dConfig { padding: 1.into(), ..Default::default() };
        let block = |i: usize| {
            let scope = params.at(&format!("block{i}"));
            Block {
                conv: Conv2d::new(&scope.at("conv"), 4, 4, 3, config),
                bn: BatchNorm2d::new(&scope.at("bn"), 4, Default::default()),
                gn: GroupNorm::new(&scope.at("gn"), 2, 4, Default::default()),
                dropout: Dropout::new(&scope, 0.3),
            }
        };
        let blocks = (0..4).map(block).collect();
        let norm = LayerNorm::new(&params.at("norm"), [4 * 36], Default::default());
        let fc = Linear::new(&params.at("fc"), 4 * 36, 3);
        Net { params, blocks, norm, fc }
    }

    fn loss(&self, x: &Tensor, segments: Segments) -> Tensor {
        let labels = x.device().labels([0, 2, 1, 1, 0]);
        let whole = || {
            let mut x = x.clone();
            for block in &self.blocks {
                x = segments.block(|| {
                    let h = segments
                        .half(|| block.bn.forward(&block.conv.forward(&x), Mode::Train).gelu(Gelu::Erf));
                    let h = segments.half(|| block.dropout.forward(&h, Mode::Train).silu());
                    block.gn.forward(&h).add(&x)
                });
            }
            let h = segments.block(|| self.norm.forward(&x.flatten(1)).tanh());
            self.fc.forward(&h).cross_entropy(&labels)
        };
        if segments == Segments::All { recompute(whole) } else { whole() }
    }
}

fn bits(x: &Tensor) -> Vec<u32> {
    x.to_vec().unwrap().iter().map(|v| v.to_bits()).collect()
}

/// Bits of the loss, all gradients, and all that is kept of the batches.
fn step(dev: &Device, segments: Segments, read_first: bool) -> Vec<(String, Vec<u32>)> {
    let net = Net::new(dev);
    let x = values(dev, &[5, 4, 6, 6]).requires_grad();
    let loss = net.loss(&x, segments);
    if read_first {
        // Nothing but the loss is kept from here on.
        loss.item().unwrap();
    }
    let gradients = loss.backward();
    let mut all = vec![("loss".to_string(), bits(&loss)), ("x".into(), bits(&gradients.wrt(&x).unwrap()))];
    for param in net.params.named() {
        if param.trainable() {
            all.push((param.name().into(), bits(&param.gradient(&gradients).unwrap())));
        } else {
            all.push((param.name().into(), bits(&param.tensor())));
        }
    }
    for counter in net.params.counters() {
        all.push((counter.name().into(), vec![counter.get() as u32]));
    }
    all
}

#[test]
fn gradients_are_the_same_bits() {
    for dev in devices() {
        let want = step(&dev, Segments::None, false);
        for segments in [Segments::Blocks, Segments::Nested, Segments::All] {
            for read_first in [false, true] {
                for (got, want) in step(&dev, segments, read_first).iter().zip(&want) {
                    assert!(got == want, "{segments:?} on {dev:?}: {} differs", want.0);
                }
            }
        }
    }
}

#[test]
fn gradients_are_the_same_when_every_node_runs_by_itself() {
    // In f64, because the reference rounds what is held after a run.
    for dev in devices().into_iter().skip(1).chain([Device::cpu_f64()]) {
        execute_node_by_node(&dev);
        let [want, got] = [Segments::None, Segments::Nested].map(|s| step(&dev, s, false));
        assert!(got == want, "{dev:?}");
    }
}

#[test]
fn chains_take_the_root_of_their_memory() {
    let dev = Device::cpu();
    let (layers, width) = (64, 1000);
    let run = |pieces: usize, nested: bool| {
        let mut x = values(&dev, &[width]).requires_grad();
        let start = x.clone();
        let part = |x: &Tensor, n: usize| {
            // No two neighbours join: each takes its input for its gradient.
            (0..n).fold(x.clone(), |x, _| x.exp().softmax(0).reshape([width]))
        };
        for _ in 0..pieces {
            let n = layers / pieces;
            x = match (pieces, nested) {
                (1, _) => part(&x, n),
                (_, false) => recompute(|| part(&x, n)),
                (_, true) => recompute(|| recompute(|| part(&recompute(|| part(&x, n / 2)), n - n / 2))),
            };
        }
        let gradient = x.backward_with(&values(&dev, &[width])).wrt(&start).unwrap();
        let bits = bits(&gradient);
        let last = dev.memory().programs.pop().expect("a program has run");
        (bits, last.at_once, last.slots)
    };
    let (want, all, all_planned) = run(1, false);
    let (got, some, some_planned) = run(8, false);
    assert!(got == want, "other gradients");
    println!("{all} bytes at once, {some} in 8 pieces; buffers {all_planned} and {some_planned}");
    // 64 layers, or 8 pieces and one of them of 8 layers, with two values each.
    assert!(4 * some < all && 4 * some_planned < all_planned);
    let (got, nested, _) = run(8, true);
    assert!(got == want && nested <= some, "nested: {nested} bytes at once");
}

#[test]
fn any_result_may_be_used_anywhere() {
    for dev in devices() {
        let x = values(&dev, &[6, 5]).requires_grad();
        let w = values(&dev, &[5, 5]).requires_grad();
        let run = |segment: bool| {
            let mut inner = None;
            let mut parts = || {
                let a = x.matmul(&w).tanh();
                let b = a.mul(&a).exp();
                inner = Some(b.sigmoid());
                // One is not used, one does not depend on anything.
                (a.clone(), b.clone(), a.neg(), dev.full(2.0, [6, 5]))
            };
            let (a, b, _, two) = if segment { recompute(parts) } else { parts() };
            let early = b.mul(&two);
            let again = || early.add(&a).mul(&b).softplus();
            let last = if segment { recompute(again) } else { again() };
            let inner = inner.unwrap();
            let loss = last.add(&inner).mul(&a).sum(&[0, 1]);
            // Twice, and with respect to results.
            let first = loss.backward();
            let one = dev.full(1.0, ());
            let of_results = loss.gradients(&one, &[&b, &inner, &early]).unwrap();
            let second = loss.backward().wrt(&w).unwrap();
            // The reference keeps more digits within a program, so all is asked for before anything is read.
            let mut all = vec![loss, first.wrt(&x).unwrap(), first.wrt(&w).unwrap(), second];
            all.extend(of_results.into_iter().flatten());
            all.iter().map(bits).collect::<Vec<_>>()
        };
        assert!(run(true) == run(false), "{dev:?}");
    }
}

/// What is held after a run is read as it is: it may have let go of what it was made of.
#[test]
fn results_that_have_been_read_are_not_computed_again() {
    for dev in devices() {
        let x = values(&dev, &[6, 5]).requires_grad();
        let mask = values(&dev, &[6, 5]);
        let run = |segment: bool| {
            let mut inner = None;
            let mut part = || {
                let factor = mask.exp().softmax(1);
                let a = x.exp().softmax(1);
                inner = Some((factor.clone(), a.clone()));
                a.mul(&factor).mul(&a).tanh()
            };
            let y = if segment { recompute(part) } else { part() };
            let (factor, a) = inner.unwrap();
            let read = [factor.to_vec().unwrap(), a.to_vec().unwrap()];
            let gradient = y.sum(&[0, 1]).backward().wrt(&x).unwrap();
            (read, bits(&gradient))
        };
        let want = run(false);
        assert!(run(true) == want, "{dev:?}");
        let program = dev.explain();
        assert!(!["= softmax(", "= softmax."].iter().any(|op| program.contains(op)), "{dev:?}: {program}");
    }
}

#[test]
fn training_makes_no_new_plan_and_no_object() {
    for dev in devices() {
        let net = Net::new(&dev);
        let mut opt = Sgd::new(&net.params, SgdConfig { lr: 0.1, ..Default::default() });
        let x = values(&dev, &[5, 4, 6, 6]);
        let mut train = || {
            let loss = net.loss(&x, Segments::Nested);
            opt.step(&loss.backward()).unwrap();
            dev.wait().unwrap();
            loss
        };
        let mut losses = vec![train(), train()];
        let before = dev.counters();
        losses.extend((0..10).map(|_| train()));
        let after = dev.counters();
        assert_eq!((after.plans, after.objects()), (before.plans, before.objects()), "{dev:?}");
        let losses: Vec<f32> = losses.iter().map(|l| l.item().unwrap()).collect();
        assert!(losses[11] < losses[0], "{dev:?}: {losses:?}");
        assert_eq!(net.params.counters()[0].get(), 12, "each batch is counted once");
    }
}

#[test]
fn nothing_is_computed_again_without_gradients() {
    let dev = Device::cpu();
    let w = Params::new(&dev, 0).root().param("w", [4, 4], Init::Ones);
    let y = recompute(|| values(&dev, &[3, 4]).matmul(&w.tensor()).softmax(1));
    y.to_vec().unwrap();
    let steps = explanation_for(&dev, None).unwrap();
    assert_eq!(steps.matches("softmax").count(), 2, "a step and the line that asked for it: {steps}");
}

#[test]
fn what_was_read_must_not_have_changed() {
    for dev in devices() {
        let x = values(&dev, &[5, 4, 6, 6]).requires_grad();
        let bn = |params: &Params| BatchNorm2d::new(&params.at("bn"), 4, Default::default());
        let params = Params::new(&dev, 0);
        let bn = bn(&params);
        // Running statistics are read, then moved, before or after a run.
        for read in [false, true] {
            let y = recompute(|| bn.forward(&x, Mode::Eval).tanh()).sum(&[0, 1, 2, 3]);
            if read {
                y.item().unwrap();
            }
            bn.forward(&x, Mode::Train);
            let gradients = y.backward();
            let error = gradients.check().unwrap_err();
            assert!(
                matches!(&error, Error::Updated { variable } if variable.starts_with("bn.running_")),
                "{error}"
            );
            assert!(gradients.wrt(&x).unwrap().to_vec().is_err());
            dev.run().unwrap();
        }
        // The other way round they are as they are read.
        bn.forward(&x, Mode::Train);
        let y = recompute(|| bn.forward(&x, Mode::Eval).tanh()).sum(&[0, 1, 2, 3]);
        y.backward().check().unwrap();

        let y = recompute(|| x.mul(&params.get("bn.weight").unwrap().tensor().reshape([4, 1, 1])).tanh());
        let y = y.sum(&[0, 1, 2, 3]);
        y.item().unwrap();
        params.get("bn.weight").unwrap().set(&[2.0; 4]).unwrap();
        assert!(matches!(y.backward().check().unwrap_err(), Error::Released { .. } | Error::Updated { .. }));
    }
}

#[test]
fn a_panic_inside_leaves_nothing_behind() {
    let dev = Device::cpu();
    let x = values(&dev, &[3]).requires_grad();
    let caught = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| recompute(|| x.reshape([2]))));
    assert!(caught.is_err());
    // Outside again: the next value is kept, and nothing is computed twice.
    x.exp().sum(&[0]).backward().wrt(&x).unwrap().to_vec().unwrap();
    assert_eq!(dev.explain().matches("= exp(").count(), 1, "{}", dev.explain());
}
