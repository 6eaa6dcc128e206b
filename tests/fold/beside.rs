//! Folding beside whatever else a program may do: values are those of the same program node by node.

use recurve::ops::conv2d::Conv2dConfig;
use recurve::testing::execute_node_by_node;
use recurve::{Device, Init, Param, Params, Predictor, Result, Sgd, SgdConfig, Tensor, no_grad};
use std::sync::atomic::{AtomicBool, Ordering};

/// Variables of a small convolution's size, with values of their own each.
struct Vars {
    params: Params,
    w: Param,
    v: Param,
    a: Param,
    b: Param,
    c: Param,
    x: Tensor,
}

fn values(n: usize, from: f32, step: f32) -> Vec<f32> {
    (0..n).map(|i| from + step * ((i * 5) % 11) as f32).collect()
}

impl Vars {
    fn new(dev: &Device) -> Result<Vars> {
        let params = Params::new(dev, 1);
        let root = params.root();
        let w = root.param("w", [4, 4, 3, 3], Init::Zeros);
        let v = root.param("v", [4, 4, 3, 3], Init::Zeros);
        let a = root.param("a", [1, 4, 1, 1], Init::Zeros);
        let b = root.param("b", [4, 1, 1], Init::Zeros);
        let c = root.param("c", [1, 4, 1, 1], Init::Zeros);
        w.set(&values(144, -0.5, 0.1))?;
        v.set(&values(144, 0.4, -0.07))?;
        a.set(&values(4, 0.5, 0.2))?;
        b.set(&values(4, -1.3, 0.31))?;
        c.set(&values(4, 2.0, -0.3))?;
        let x = dev.tensor(values(2 * 4 * 5 * 6, -1.0, 0.2), [2, 4, 5, 6]);
        Ok(Vars { params, w, v, a, b, c, x })
    }

    fn conv(&self, x: &Tensor, w: &Tensor) -> Tensor {
        x.conv2d(w, None, Conv2dConfig { padding: 1.into(), ..Default::default() })
    }

    fn results(&self, what: fn(&Vars) -> Vec<Tensor>) -> Result<Vec<Vec<f64>>> {
        no_grad(|| what(self)).iter().map(Tensor::to_vec_f64).collect()
    }
}

/// The same on all devices, twice and after a change, as node by node.
fn check(name: &str, what: fn(&Vars) -> Vec<Tensor>) -> Result<()> {
    let single = Device::cpu();
    execute_node_by_node(&single);
    let expected = Vars::new(&single)?;
    for dev in crate::support::devices() {
        let vars = Vars::new(&dev)?;
        let same = |when: &str| -> Result<()> {
            let (seen, wanted) = (vars.results(what)?, expected.results(what)?);
            for (k, (seen, wanted)) in seen.iter().zip(&wanted).enumerate() {
                let largest = wanted.iter().fold(1.0f64, |m, v| m.max(v.abs()));
                for (i, (s, w)) in seen.iter().zip(wanted).enumerate() {
                    assert!(
                        (s - w).abs() < 1e-5 * largest,
                        "{name} {when} on {}: result {k}[{i}] is {s}, not {w}",
                        dev.name()
                    );
                }
            }
            Ok(())
        };
        same("at first")?;
        same("again")?;
        for p in vars.params.named() {
            let n = p.shape().elements();
            let new = values(n, 0.9, -0.13);
            let old = p.tensor().to_vec()?;
            p.set(&new)?;
            let twin = expected.params.named().into_iter().find(|t| t.name() == p.name()).unwrap();
            twin.set(&new)?;
            same(&format!("with another {}", p.name()))?;
            p.set(&old)?;
            twin.set(&old)?;
        }
        same("as before")?;
    }
    Ok(())
}

#[test]
fn folded_programs_are_those_of_their_nodes() -> Result<()> {
    check("orders", |n| {
        let (w, a, b, c) = (n.w.tensor(), n.a.tensor(), n.b.tensor(), n.c.tensor());
        let y = || n.conv(&n.x, &w);
        vec![
            y().sub(&a).div(&c).mul(&b).add(&a),
            y().div(&c).sub(&b),
            a.sub(&y()).mul(&b),
            a.div(&y().mul(&y()).add_scalar(9.0)),
            a.mul(&y()),
            b.add(&a.mul(&b.add(&y()))),
            y().add(&a).add(&b),
            y().mul(&a),
        ]
    })?;
    check("shared", |n| {
        let (w, v, a, b, c) = (n.w.tensor(), n.v.tensor(), n.a.tensor(), n.b.tensor(), n.c.tensor());
        // One vector that is computed and of its own shape already; one weight for two; one output twice.
        let shift = a.add(&c).reshape([4]).reshape([4, 1, 1]);
        let scale = b.mul(&b);
        let y = n.conv(&n.x, &w).mul(&scale).add(&shift);
        let z = n.conv(&y, &v).mul(&scale).add(&shift);
        let again = n.conv(&z, &w).mul(&scale).add(&shift);
        let twice = n.conv(&n.x, &v);
        let (one, two) = (twice.mul(&a), twice.mul(&c));
        vec![z, again, one.add(&two), shift.add(&scale), scale]
    })?;
    check("held", |n| {
        let (w, a, b) = (n.w.tensor(), n.a.tensor(), n.b.tensor());
        let y = n.conv(&n.x, &w);
        let z = y.mul(&a);
        let t = z.add(&b);
        vec![t.relu(), z, y.reshape([2, 4, 30]), a.reshape([4])]
    })?;
    check("computed weights", |n| {
        let (w, v, a, b, c) = (n.w.tensor(), n.v.tensor(), n.a.tensor(), n.b.tensor(), n.c.tensor());
        // Weights that are themselves a folded convolution of variables.
        let inner = n.conv(&w, &v).mul(&a).add(&b).mul_scalar(0.1);
        vec![n.conv(&n.x, &inner).mul(&c.mul_scalar(0.5)).sub(&a.add_scalar(0.25)), inner.mul_scalar(3.0)]
    })
}

/// What a program's scalars are is looked at too.
#[test]
fn scalars_belong_to_their_parts() -> Result<()> {
    let single = Device::cpu();
    execute_node_by_node(&single);
    for dev in crate::support::devices() {
        let both = [Vars::new(&single)?, Vars::new(&dev)?];
        for (eps, last) in [(1e-5, 2.0), (0.3, 2.0), (0.3, 5.0), (1e-5, 5.0), (0.7, 1.0)] {
            let of = |n: &Vars| -> Result<Vec<f64>> {
                let [a, b, c] = [&n.a, &n.b, &n.c].map(|p| p.tensor().reshape([4]));
                let y = n.conv(&n.x.mul_scalar(last), &n.w.tensor());
                let z = y.batch_norm_eval(&b, &a, Some((&c, &b)), eps).mul_scalar(last);
                let z = n.conv(&z, &n.v.tensor()).batch_norm_eval(&b, &a, None, 2.0 * eps);
                no_grad(|| z.mul_scalar(last + 1.0).to_vec_f64())
            };
            let [wanted, seen] = [of(&both[0])?, of(&both[1])?];
            let largest = wanted.iter().fold(1.0f64, |m, v| m.max(v.abs()));
            for (s, w) in seen.iter().zip(&wanted) {
                assert!((s - w).abs() < 1e-5 * largest, "{eps} {last} on {}: {s}, not {w}", dev.name());
            }
        }
    }
    Ok(())
}

/// A program sees the variables before or after another thread's update, never some so and some so, though its weights
/// come from a program of their own.
#[test]
fn a_training_beside_it_is_seen_whole() -> Result<()> {
    for dev in crate::support::devices() {
        let params = Params::new(&dev, 0);
        let root = params.root();
        // Folded into the convolution, and left beside it.
        let w = root.param("w", [2, 1, 1, 1], Init::Zeros);
        let beside = root.param("beside", [1, 1, 1, 2], Init::Zeros);
        let one = root.buffer("one", [2, 1, 1], Init::Ones);
        let forward = |x: &Tensor| {
            let y = x.conv2d(&w.tensor(), None, Default::default()).mul(&one.tensor());
            y.sub(&beside.tensor())
        };
        let predictor = Predictor::new(&dev, [1, 1, 2, 2], forward)?;
        assert!(predictor.explain().contains("folded: 2 inputs"), "{}", predictor.explain());
        let done = AtomicBool::new(false);
        std::thread::scope(|scope| {
            let trainer = scope.spawn(|| -> Result<()> {
                let mut opt = Sgd::new(&params, SgdConfig { lr: 1.0, ..Default::default() });
                for _ in 0..400 {
                    opt.step_with(|p| Some(dev.full(-1.0, p.shape())))?;
                    dev.run()?;
                }
                done.store(true, Ordering::SeqCst);
                Ok(())
            });
            let mut looks = 0;
            while !done.load(Ordering::SeqCst) && !trainer.is_finished() {
                let seen = predictor.predict(&[1.0; 4]).unwrap();
                assert_eq!(seen, [0.0; 8], "look {looks} on {}", dev.name());
                looks += 1;
            }
            println!("{looks} looks on {}", dev.name());
            trainer.join().unwrap()
        })?;
        assert_eq!(predictor.predict(&[1.0; 4])?, [0.0; 8]);
        assert_eq!(predictor.predict(&[2.0; 4])?, [400.0; 8]);
    }
    Ok(())
}

/// What folded weights are computed from may be as long as a program may be.
#[test]
fn a_long_way_to_the_weights_does_not_overflow_the_stack() -> Result<()> {
    let dev = Device::cpu();
    let n = Vars::new(&dev)?;
    no_grad(|| {
        let mut a = n.a.tensor();
        for _ in 0..20_000 {
            a = a.add(&n.c.tensor()).mul_scalar(0.5);
        }
        let y = n.conv(&n.x, &n.w.tensor()).mul(&a).to_vec_f64()?;
        let z = n.conv(&n.x, &n.w.tensor()).mul(&n.c.tensor()).to_vec_f64()?;
        for (y, z) in y.iter().zip(&z) {
            assert!((y - z).abs() < 1e-4);
        }
        Ok(())
    })
}

/// A trained head behind a frozen convolution: one program folds, and updates.
#[test]
fn a_program_that_updates_may_fold() -> Result<()> {
    for dev in crate::support::devices() {
        let frozen = Vars::new(&dev)?;
        let head = Params::new(&dev, 2);
        let scale = head.root().param("scale", [1, 1, 1, 6], Init::Ones);
        let mut opt = Sgd::new(&head, SgdConfig { lr: 0.01, ..Default::default() });
        let mut losses = Vec::new();
        for _ in 0..20 {
            let y = no_grad(|| {
                frozen
                    .conv(&frozen.x, &frozen.w.tensor())
                    .mul(&frozen.a.tensor())
                    .add(&frozen.b.tensor())
                    .relu()
            });
            let loss = y.mul(&scale.tensor()).mul(&y).mean(&[0, 1, 2, 3]);
            opt.step(&loss.backward())?;
            losses.push(loss.item()?);
        }
        assert!(losses[19] < losses[0], "{losses:?}");
    }
    Ok(())
}

/// More programs than plans are kept, each with weights that were folded.
#[test]
fn forgotten_plans_fold_again() -> Result<()> {
    for dev in crate::support::devices() {
        let n = Vars::new(&dev)?;
        for round in 0..2 {
            n.a.set(&values(4, 0.5 + round as f32, 0.2))?;
            for width in 1..50 {
                let x = dev.tensor(values(4 * width, -1.0, 0.2), [1, 4, 1, width]);
                let y = no_grad(|| n.conv(&x, &n.w.tensor()).mul(&n.a.tensor()).add(&n.b.tensor()))
                    .to_vec_f64()?;
                let c = n.conv(&x, &n.w.tensor());
                let (c, a, b) = (c.to_vec_f64()?, n.a.tensor().to_vec_f64()?, n.b.tensor().to_vec_f64()?);
                for (i, (y, c)) in y.iter().zip(&c).enumerate() {
                    assert!((y - (c * a[i / width] + b[i / width])).abs() < 1e-4);
                }
            }
        }
    }
    Ok(())
}

/// Folded weights are computed, and lie on the device, once for all shapes of the input.
#[test]
fn shapes_share_what_is_folded() -> Result<()> {
    for dev in crate::support::devices() {
        let n = Vars::new(&dev)?;
        for width in 1..8 {
            let x = dev.tensor(values(4 * width, -1.0, 0.2), [1, 4, 1, width]);
            let before = dev.counters();
            no_grad(|| n.conv(&x, &n.w.tensor()).mul(&n.a.tensor()).add(&n.b.tensor())).to_vec()?;
            let runs = dev.counters().runs - before.runs;
            assert_eq!(runs, 1 + u64::from(width == 1), "width {width} on {}", dev.name());
        }
    }
    Ok(())
}
