//! Element-wise functions and the ops that move elements, through the tensor API: both engines give the same.

use recurve::op::Scalar;
use recurve::ops::concat::Concat;
use recurve::pointwise::{Function, Pointwise, dropout_keeps};
use recurve::{Device, Pick, Tensor};

/// The reference, and an adapter: these tests are about kernels, so a machine without one fails them.
fn devices() -> [Device; 2] {
    let best = Device::open_blocking(Pick::Best).expect("opening an adapter");
    assert!(!best.is_reference(), "no adapter found; on Debian: apt-get install mesa-vulkan-drivers");
    [Device::cpu(), best]
}

fn values(t: &Tensor) -> Vec<f32> {
    t.to_vec().expect("reading a tensor")
}

#[test]
fn operators_take_tensors_and_numbers_on_both_sides() {
    for dev in devices() {
        let a = dev.tensor([1.0, 2.0, 3.0, 4.0, 5.0, 6.0], [2, 3]);
        let b = dev.tensor([10.0, 20.0, 30.0], [3]);
        assert_eq!(values(&(&a + &b)), [11.0, 22.0, 33.0, 14.0, 25.0, 36.0]);
        assert_eq!(values(&(&a * 2.0 - 1.0)), [1.0, 3.0, 5.0, 7.0, 9.0, 11.0]);
        assert_eq!(values(&(12.0 / a.clone())), [12.0, 6.0, 4.0, 3.0, 2.4, 2.0]);
        assert_eq!(values(&-(1.0 - &b)), [9.0, 19.0, 29.0]);
        assert_eq!(values(&b.div(&dev.tensor([4.0, 5.0], [2, 1]))), [2.5, 5.0, 7.5, 2.0, 4.0, 6.0]);
    }
}

#[test]
fn gradients_at_ties_and_kinks_are_pytorchs() {
    for dev in devices() {
        let a = dev.tensor([1.0, 2.0, 2.0, -0.0], [4]).requires_grad();
        let b = dev.tensor([0.0, 2.0, 3.0, 0.0], [4]).requires_grad();
        let ones = dev.full(1.0, [4]);
        let of = |y: Tensor, x: &Tensor| values(&y.backward_with(&ones).wrt(x).expect("a gradient flows"));
        assert_eq!(of(a.maximum(&b), &a), [1.0, 0.5, 0.0, 0.5]);
        assert_eq!(of(a.maximum(&b), &b), [0.0, 0.5, 1.0, 0.5]);
        assert_eq!(of(a.minimum(&b), &a), [0.0, 0.5, 1.0, 0.5]);
        let x = dev.tensor([-2.0, 0.0, -0.0, 3.0], [4]).requires_grad();
        assert_eq!(of(x.relu(), &x), [0.0, 0.0, 0.0, 1.0]);
        assert_eq!(of(x.abs(), &x), [-1.0, 0.0, 0.0, 1.0]);
        assert_eq!(of(x.mul(&x), &x), [-4.0, 0.0, 0.0, 6.0]);
    }
}

#[test]
fn saturating_functions_stay_inside_their_range_for_every_finite_argument() {
    let extremes = [0.0, 1e-38, 1e-20, 1e-3, 0.5, 9.0, 15.0, 44.0, 88.0, 89.0, 200.0, 1e10, 3e38];
    let x: Vec<f32> = extremes.iter().flat_map(|&v| [v, -v]).collect();
    for dev in devices() {
        let t = dev.tensor(&x, [x.len()]);
        for ((x, y), s) in x.iter().zip(values(&t.tanh())).zip(values(&t.sigmoid())) {
            assert!(
                (y.abs() <= 1.0) && (f64::from(y) - f64::from(*x).tanh()).abs() <= 3e-7,
                "tanh({x}) = {y}"
            );
            let exact = 1.0 / (1.0 + (-f64::from(*x)).exp());
            assert!((0.0..=1.0).contains(&s) && (f64::from(s) - exact).abs() <= 1.2e-7, "sigmoid({x}) = {s}");
        }
    }
}

#[test]
fn the_exponential_keeps_its_bound_over_the_whole_range() {
    let x: Vec<f32> = (0..=1740).map(|k| k as f32 * 0.1 - 86.0).collect();
    for dev in devices() {
        for (x, y) in x.iter().zip(values(&dev.tensor(&x, [x.len()]).exp())) {
            let exact = f64::from(*x).exp();
            let ulp = exact * f64::from(f32::EPSILON);
            let bound = (3.0 + 2.0 * f64::from(x.abs())) * ulp;
            assert!((f64::from(y) - exact).abs() <= bound, "exp({x}) = {y}, not {exact} ± {bound}");
        }
    }
}

#[test]
fn dropout_drops_the_same_elements_everywhere_and_in_its_gradient() {
    const N: usize = 100_003;
    for dev in devices() {
        let x = dev.full(3.0, [N]).requires_grad();
        for (p, seed) in [(0.5, 1u64), (0.1, 0xdead_beef_0bad_cafe), (0.75, u64::MAX)] {
            let y = x.dropout(p, seed);
            let dx = y.backward_with(&dev.full(1.0, [N])).wrt(&x).expect("a gradient flows");
            let (y, dx) = (values(&y), values(&dx));
            let kept = |i: usize| dropout_keeps(i as u32, p, (seed as u32, (seed >> 32) as u32));
            let wrong = (0..N).find(|&i| (y[i] != 0.0) != kept(i) || (dx[i] != 0.0) != kept(i));
            assert_eq!(wrong, None, "p {p}, seed {seed}, on {}", dev.name());
            let mean = y.iter().map(|&v| f64::from(v)).sum::<f64>() / N as f64;
            let deviation = 3.0 * (p / (1.0 - p) / N as f64).sqrt();
            assert!((mean - 3.0).abs() < 5.0 * deviation, "mean {mean}, not 3 ± {deviation}");
        }
        assert!(values(&x.dropout(1.0, 9)).iter().all(|&v| v == 0.0));
        assert!(values(&x.dropout(0.0, 9)).iter().all(|&v| v == 3.0));
    }
}

#[test]
fn moving_elements_is_exact_and_can_be_undone() {
    for dev in devices() {
        let x: Vec<f32> = (0..120).map(|v| v as f32).collect();
        let t = dev.tensor(&x, [2, 3, 4, 5]);
        let moved = t.permute(&[3, 1, 0, 2]);
        assert_eq!(moved.shape().dims(), [5, 3, 2, 4]);
        assert_eq!(values(&moved)[..5], [0.0, 5.0, 10.0, 15.0, 60.0]);
        assert_eq!(values(&moved.permute(&[2, 1, 3, 0])), x);
        assert_eq!(values(&t.transpose(0, 3).transpose(3, 0).flatten(2)), x);

        let part = t.slice(&[1..2, 0..3, 1..3, 4..5]);
        assert_eq!(values(&part), [69.0, 74.0, 89.0, 94.0, 109.0, 114.0]);
        let padded = part.pad(&[(1, 0), (0, 0), (1, 1), (4, 0)], -1.0);
        assert_eq!(padded.shape(), t.shape());
        let expected = |i: usize| if values(&part).contains(&(i as f32)) { i as f32 } else { -1.0 };
        assert_eq!(values(&padded), (0..120).map(expected).collect::<Vec<_>>());

        let halves = [t.narrow(2, 0, 1), t.narrow(2, 1, 3)];
        assert_eq!(values(&Tensor::concat(&[&halves[0], &halves[1]], 2)), x);

        let labels = dev.indices(&[7, 8, 9, 10, 11, 12], [2, 3]);
        assert_eq!(labels.transpose(0, 1).to_vec_u32().unwrap(), [7, 10, 8, 11, 9, 12]);
        let more = Tensor::concat(&[&labels, &labels.narrow(1, 2, 1)], 1).pad(&[(0, 0), (0, 1)], 3.0);
        assert_eq!(more.to_vec_u32().unwrap(), [7, 8, 9, 9, 3, 10, 11, 12, 12, 3]);
    }
}

#[test]
fn gradients_of_moves_return_to_where_the_elements_came_from() {
    for dev in devices() {
        let x = dev.tensor([1.0, 2.0, 3.0, 4.0, 5.0, 6.0], [2, 3]).requires_grad();
        let y = Tensor::concat(&[&x.narrow(1, 1, 2), &x], 1).transpose(0, 1).pad(&[(0, 1), (1, 0)], 7.0);
        assert_eq!(y.shape().dims(), [6, 3]);
        let dy: Vec<f32> = (0..18).map(|v| v as f32).collect();
        let dx = y.backward_with(&dev.tensor(&dy, [6, 3])).wrt(&x).expect("a gradient flows");
        // Row c of y holds column c of the concatenation behind one constant.
        assert_eq!(values(&dx), [7.0, 1.0 + 10.0, 4.0 + 13.0, 8.0, 2.0 + 11.0, 5.0 + 14.0]);
    }
}

#[test]
fn wrong_operands_are_named() {
    let dev = Device::cpu();
    let (a, b) = (dev.full(1.0, [2, 3]), dev.full(1.0, [2]));
    let labels = dev.labels([1, 2, 3]);
    let message = |result: Result<Vec<Tensor>, recurve::ShapeError>| result.expect_err("refused").to_string();
    let add = || Pointwise::single(Function::Add);
    let text = message(Tensor::try_apply(add(), &[&a, &b], &[]));
    for part in ["add", "[2, 3]", "[2]", "broadcast"] {
        assert!(text.contains(part), "{text:?} names {part}");
    }
    let text = message(Tensor::try_apply(add(), &[&a, &labels], &[]));
    assert!(text.contains("u32") && text.contains("f32 operands"), "{text}");
    let text =
        message(Tensor::try_apply(Concat { axis: 1 }, &[&a, &dev.full(1.0, [3, 3])], &[] as &[Scalar]));
    assert!(text.contains("concat") && text.contains("axis 1"), "{text}");
}
