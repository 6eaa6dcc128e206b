//! Losses against PyTorch's definitions, written out in f64, and their gradients against finite differences of those.

mod support;

use recurve::ops::cross_entropy::{CrossEntropyConfig, Reduction};
use recurve::ops::loss::BinaryCrossEntropyConfig;
use recurve::{Device, Error, Tensor};

const REDUCTIONS: [Reduction; 3] = [Reduction::None, Reduction::Sum, Reduction::Mean];

/// What PyTorch's reductions make of losses; `divisor` is the mean's.
fn reduce(losses: Vec<f64>, reduction: Reduction, divisor: f64) -> Vec<f64> {
    match reduction {
        Reduction::None => losses,
        Reduction::Sum => vec![losses.iter().sum()],
        Reduction::Mean => vec![losses.iter().sum::<f64>() / divisor],
    }
}

#[track_caller]
fn assert_near(what: &str, got: &[f32], want: &[f64], relative: f64) {
    assert_eq!(got.len(), want.len(), "{what}");
    let largest = want.iter().fold(0.0, |m: f64, w| m.max(w.abs()));
    for (i, (got, want)) in got.iter().zip(want).enumerate() {
        let near = (f64::from(*got) - want).abs() <= relative * (want.abs() + 0.1 * largest) + 1e-7;
        assert!(near || (got.is_nan() && want.is_nan()), "{what}: element {i} is {got}, not {want}");
    }
}

/// Central differences of the sum of `f`'s results, each times its upstream gradient.
fn slopes(x: &[f64], upstream: &[f64], f: impl Fn(&[f64]) -> Vec<f64>) -> Vec<f64> {
    let value = |x: &[f64]| f(x).iter().zip(upstream).map(|(y, dy)| y * dy).sum::<f64>();
    let slope = |i: usize| {
        let step = 1e-5 * x[i].abs().max(1.0);
        let mut at = x.to_vec();
        at[i] = x[i] + step;
        let above = value(&at);
        at[i] = x[i] - step;
        (above - value(&at)) / (2.0 * step)
    };
    (0..x.len()).map(slope).collect()
}

/// Upstream gradients for so many results.
fn upstream(n: usize) -> Vec<f64> {
    (0..n).map(|i| 0.5 + (i % 3) as f64 * 0.25).collect()
}

fn wide(values: &[f32]) -> Vec<f64> {
    values.iter().map(|&v| f64::from(v)).collect()
}

fn narrow(values: &[f64]) -> Vec<f32> {
    values.iter().map(|&v| v as f32).collect()
}

/// A loss of two operands, and PyTorch's definition of it for one pair of elements.
type Pairwise = (&'static str, fn(&Tensor, &Tensor, Reduction) -> Tensor, fn(f64, f64) -> f64);

const PAIRWISE: [Pairwise; 7] = [
    ("mse", |x, t, r| x.mse_loss(t, r), |x, t| (x - t) * (x - t)),
    ("l1", |x, t, r| x.l1_loss(t, r), |x, t| (x - t).abs()),
    (
        "smooth l1",
        |x, t, r| x.smooth_l1_loss(t, 0.75, r),
        |x, t| match (x - t).abs() {
            d if d < 0.75 => 0.5 * d * d / 0.75,
            d => d - 0.5 * 0.75,
        },
    ),
    ("smooth l1 of beta 0", |x, t, r| x.smooth_l1_loss(t, 0.0, r), |x, t| (x - t).abs()),
    (
        "huber",
        |x, t, r| x.huber_loss(t, 1.5, r),
        |x, t| match (x - t).abs() {
            d if d < 1.5 => 0.5 * d * d,
            d => 1.5 * (d - 0.5 * 1.5),
        },
    ),
    (
        "bce with logits",
        |x, t, r| {
            let config = BinaryCrossEntropyConfig { reduction: r, ..Default::default() };
            x.binary_cross_entropy_with_logits(t, config)
        },
        |x, t| (1.0 - t) * x + (-x.abs()).exp().ln_1p() + (-x).max(0.0),
    ),
    (
        "bce",
        |x, t, r| x.sigmoid().binary_cross_entropy(t, None, r),
        |x, t| (1.0 - t) * x + (-x.abs()).exp().ln_1p() + (-x).max(0.0),
    ),
];

#[test]
fn losses_between_tensors() {
    let x = [-3.5f32, -1.25, -0.4, 0.1, 0.3, 0.8, 1.7, 2.9, 4.0, -0.6];
    let t = [0.25f32, 0.5, 0.9, 0.0, 1.0, 0.125, 0.6, 0.0, 1.0, 0.75];
    for dev in support::devices() {
        for (name, of, definition) in PAIRWISE {
            for reduction in REDUCTIONS {
                let what = format!("{dev:?}: {name}, {reduction:?}");
                let (a, b) = (dev.tensor(x, [2, 5]).requires_grad(), dev.tensor(t, [2, 5]).requires_grad());
                let loss = of(&a, &b, reduction);
                let exact = |x: &[f64], t: &[f64]| {
                    let losses = x.iter().zip(t).map(|(&x, &t)| definition(x, t)).collect();
                    reduce(losses, reduction, 10.0)
                };
                let want = exact(&wide(&x), &wide(&t));
                assert_near(&what, &loss.to_vec().unwrap(), &want, 2e-6);
                let dy = upstream(want.len());
                let gradients = loss.backward_with(&dev.tensor(narrow(&dy), loss.shape()));
                let of_x = slopes(&wide(&x), &dy, |x| exact(x, &wide(&t)));
                let of_t = slopes(&wide(&t), &dy, |t| exact(&wide(&x), t));
                assert_near(&what, &gradients.wrt(&a).unwrap().to_vec().unwrap(), &of_x, 2e-5);
                assert_near(&what, &gradients.wrt(&b).unwrap().to_vec().unwrap(), &of_t, 2e-5);
            }
        }
    }
}

#[test]
fn weights_of_binary_cross_entropy() {
    let x = [-3.5f32, -1.25, -0.4, 0.1, 0.3, 0.8];
    let t = [0.0f32, 0.5, 1.0, 0.0, 1.0, 0.125];
    let (weight, pos_weight) = ([0.5f32, 2.0, 1.0], [3.0f32, 1.0, 0.25]);
    let exact = |x: &[f64]| {
        let loss = |(i, &x): (usize, &f64)| {
            let (t, w, p) = (f64::from(t[i]), f64::from(weight[i % 3]), f64::from(pos_weight[i % 3]));
            w * ((1.0 - t) * x + (1.0 + (p - 1.0) * t) * ((-x.abs()).exp().ln_1p() + (-x).max(0.0)))
        };
        reduce(x.iter().enumerate().map(loss).collect(), Reduction::Mean, 6.0)
    };
    for dev in support::devices() {
        let (a, target) = (dev.tensor(x, [2, 3]).requires_grad(), dev.tensor(t, [2, 3]));
        let (weight, pos_weight) = (dev.tensor(weight, [3]).requires_grad(), dev.tensor(pos_weight, [3]));
        let config = BinaryCrossEntropyConfig {
            weight: Some(&weight),
            pos_weight: Some(&pos_weight),
            reduction: Reduction::Mean,
        };
        let loss = a.binary_cross_entropy_with_logits(&target, config);
        assert_near("weighted", &loss.to_vec().unwrap(), &exact(&wide(&x)), 2e-6);
        let gradients = loss.backward();
        let want = slopes(&wide(&x), &[1.0], exact);
        assert_near("weighted", &gradients.wrt(&a).unwrap().to_vec().unwrap(), &want, 2e-5);
        assert!(gradients.wrt(&weight).is_none());
    }
}

#[test]
fn nothing_overflows_far_out() {
    for dev in support::devices() {
        let x = dev.tensor([1e4, -1e4, 88.0, -88.0, 1e4, -1e4], [6]).requires_grad();
        let t = dev.tensor([1.0, 0.0, 1.0, 0.0, 0.0, 1.0], [6]);
        let config = BinaryCrossEntropyConfig { reduction: Reduction::None, ..Default::default() };
        let loss = x.binary_cross_entropy_with_logits(&t, config);
        let got = loss.to_vec().unwrap();
        assert!(
            got[..4].iter().all(|l| (0.0..1e-37).contains(l)) && got[4..] == [1e4, 1e4],
            "{dev:?}: {got:?}"
        );
        let slopes = loss.backward_with(&dev.full(1.0, [6])).wrt(&x).unwrap().to_vec().unwrap();
        assert!(
            slopes[..4].iter().all(|s| s.abs() < 1e-37) && slopes[4..] == [1.0, -1.0],
            "{dev:?}: {slopes:?}"
        );
        // PyTorch's values at probabilities of 0 and 1.
        let p = dev.tensor([0.0, 1.0, 0.0, 1.0], [4]).requires_grad();
        let t = dev.tensor([0.0, 1.0, 1.0, 0.0], [4]);
        let loss = p.binary_cross_entropy(&t, None, Reduction::None);
        assert_eq!(loss.to_vec().unwrap(), [0.0, 0.0, 100.0, 100.0], "{dev:?}");
        let slopes = loss.backward_with(&dev.full(1.0, [4])).wrt(&p).unwrap().to_vec().unwrap();
        assert_eq!(slopes[..2], [0.0, 0.0], "{dev:?}");
        assert!(slopes[2] < -9.9e11 && slopes[3] > 9.9e11, "{dev:?}: {slopes:?}");
    }
}

#[test]
fn the_mean_of_a_chain_is_one_pass_over_its_inputs() {
    for dev in &support::devices()[1..] {
        let x: Vec<f32> = (0..70_000).map(|i| (i % 100) as f32 / 50.0).collect();
        let (x, t) = (dev.tensor(&x, [700, 100]), dev.full(0.5, [700, 100]));
        let loss = x.mse_loss(&t, Reduction::Mean).item().unwrap();
        assert!((loss - 0.5734).abs() < 1e-5, "{dev:?}: {loss}");
        let plan = dev.explain();
        let steps = plan.lines().filter(|l| l.contains(" = ")).count();
        assert!(steps == 1 && plan.contains("pointwise_mean"), "{plan}");
        // A chain that somebody holds is computed and kept.
        let each = x.mse_loss(&t, Reduction::None);
        let sum = each.sum(&[0, 1]);
        assert!((sum.item().unwrap() / 70_000.0 - loss).abs() < 1e-5);
        assert_eq!(each.to_vec().unwrap()[0], 0.25);
        assert!(!dev.explain().contains("pointwise_sum"));
    }
}

#[test]
fn gradients_at_kinks_are_pytorchs() {
    for dev in support::devices() {
        let slope = |of: fn(&Tensor, &Tensor, Reduction) -> Tensor, d: f32| {
            let x = dev.tensor([d], [1]).requires_grad();
            let loss = of(&x, &dev.tensor([0.0], [1]), Reduction::Sum);
            loss.backward().wrt(&x).unwrap().to_vec().unwrap()[0]
        };
        assert_eq!(slope(|x, t, r| x.l1_loss(t, r), 0.0), 0.0);
        assert_eq!(
            [0.0, 0.5, -0.5].map(|d| slope(|x, t, r| x.smooth_l1_loss(t, 0.5, r), d)),
            [0.0, 1.0, -1.0]
        );
        assert_eq!([0.0, 0.5, -0.5].map(|d| slope(|x, t, r| x.huber_loss(t, 0.5, r), d)), [0.0, 0.5, -0.5]);
    }
}

#[test]
#[should_panic(expected = "mse_loss: an input of shape [4, 1] and a target of shape [4]")]
fn operands_of_different_shapes() {
    let dev = Device::cpu();
    dev.full(0.0, [4, 1]).mse_loss(&dev.full(0.0, [4]), Reduction::Mean);
}

/// Rows of logits `[N, C, L]` with a target, and the weights of classes.
struct Rows {
    x: Vec<f64>,
    classes: Vec<i64>,
    probabilities: Vec<f64>,
    weight: Vec<f64>,
}

const N: usize = 4;
const C: usize = 3;
const L: usize = 2;

impl Rows {
    fn new() -> Self {
        let x = (0..N * C * L).map(|i| f64::from((((i * 37) % 23) as f32 - 11.0) / 4.0)).collect();
        let classes = vec![0, 2, -100, 1, 1, -100, 2, 0];
        let probabilities = (0..N * C * L).map(|i| f64::from(((i * 5) % 8) as f32 / 16.0)).collect();
        Rows { x, classes, probabilities, weight: vec![0.5, 2.0, 1.25] }
    }

    fn at(n: usize, c: usize, l: usize) -> usize {
        (n * C + c) * L + l
    }
}

fn log_softmax(x: &[f64]) -> Vec<f64> {
    let mut y = x.to_vec();
    for (n, l) in (0..N).flat_map(|n| (0..L).map(move |l| (n, l))) {
        let sum: f64 = (0..C).map(|c| x[Rows::at(n, c, l)].exp()).sum();
        (0..C).for_each(|c| y[Rows::at(n, c, l)] -= sum.ln());
    }
    y
}

/// `torch.nn.functional.cross_entropy` for classes, as its C++ source has it: the likelihood and the smoothing apart.
fn of_classes(rows: &Rows, x: &[f64], smoothing: f64, weighted: bool, reduction: Reduction) -> Vec<f64> {
    let log = log_softmax(x);
    let w = |c: usize| if weighted { rows.weight[c] } else { 1.0 };
    let (mut nll, mut smooth, mut divisor) = (Vec::new(), Vec::new(), 0.0);
    for (n, l) in (0..N).flat_map(|n| (0..L).map(move |l| (n, l))) {
        match usize::try_from(rows.classes[n * L + l]) {
            Ok(t) => {
                nll.push(-w(t) * log[Rows::at(n, t, l)]);
                smooth.push(-(0..C).map(|c| w(c) * log[Rows::at(n, c, l)]).sum::<f64>());
                divisor += w(t);
            }
            Err(_) => (nll.push(0.0), smooth.push(0.0)).0,
        }
    }
    let (nll, smooth) = (reduce(nll, reduction, divisor), reduce(smooth, reduction, divisor));
    nll.iter().zip(&smooth).map(|(n, s)| (1.0 - smoothing) * n + smoothing / C as f64 * s).collect()
}

/// The same for probabilities.
fn of_probabilities(
    rows: &Rows,
    x: &[f64],
    target: &[f64],
    smoothing: f64,
    weighted: bool,
    reduction: Reduction,
) -> Vec<f64> {
    let log = log_softmax(x);
    let loss = |(n, l): (usize, usize)| {
        let term = |c: usize| {
            let t = target[Rows::at(n, c, l)] * (1.0 - smoothing) + smoothing / C as f64;
            -log[Rows::at(n, c, l)] * t * if weighted { rows.weight[c] } else { 1.0 }
        };
        (0..C).map(term).sum()
    };
    let losses = (0..N).flat_map(|n| (0..L).map(move |l| (n, l))).map(loss).collect();
    reduce(losses, reduction, (N * L) as f64)
}

#[test]
fn cross_entropy_in_all_combinations() {
    let rows = Rows::new();
    for dev in support::devices() {
        let weight = dev.tensor(narrow(&rows.weight), [C]);
        for (reduction, smoothing, weighted) in REDUCTIONS
            .into_iter()
            .flat_map(|r| [0.0, 0.15].map(|s| (r, s)))
            .flat_map(|(r, s)| [false, true].map(|w| (r, s, w)))
        {
            let what = format!("{dev:?}: {reduction:?}, smoothing {smoothing}, weighted {weighted}");
            let weight = weighted.then_some(&weight);
            let config = CrossEntropyConfig { weight, reduction, label_smoothing: smoothing };
            let x = dev.tensor(narrow(&rows.x), [N, C, L]).requires_grad();
            let classes = dev.indices(&rows.classes, [N, L]);
            let probabilities = dev.tensor(narrow(&rows.probabilities), [N, C, L]).requires_grad();

            let loss = x.cross_entropy_with(&classes, config);
            let exact = |x: &[f64]| of_classes(&rows, x, smoothing, weighted, reduction);
            let want = exact(&rows.x);
            assert_near(&what, &loss.to_vec().unwrap(), &want, 4e-6);
            let dy = upstream(want.len());
            let dy_on = dev.tensor(narrow(&dy), loss.shape());
            let got = loss.backward_with(&dy_on).wrt(&x).unwrap().to_vec().unwrap();
            assert_near(&what, &got, &slopes(&rows.x, &dy, exact), 2e-5);

            let loss = x.cross_entropy_with(&probabilities, config);
            let exact = |x: &[f64], t: &[f64]| of_probabilities(&rows, x, t, smoothing, weighted, reduction);
            let want = exact(&rows.x, &rows.probabilities);
            assert_near(&what, &loss.to_vec().unwrap(), &want, 4e-6);
            let gradients = loss.backward_with(&dy_on);
            let of_x = slopes(&rows.x, &dy, |x| exact(x, &rows.probabilities));
            let of_t = slopes(&rows.probabilities, &dy, |t| exact(&rows.x, t));
            assert_near(&what, &gradients.wrt(&x).unwrap().to_vec().unwrap(), &of_x, 2e-5);
            assert_near(&what, &gradients.wrt(&probabilities).unwrap().to_vec().unwrap(), &of_t, 2e-5);

            // Without smoothing, the likelihood of the logarithms of probabilities is the same loss.
            if smoothing == 0.0 {
                let loss = x.log_softmax(1).nll_loss_with(&classes, weight, reduction);
                let want = of_classes(&rows, &rows.x, 0.0, weighted, reduction);
                assert_near(&what, &loss.to_vec().unwrap(), &want, 4e-6);
                let got = loss.backward_with(&dy_on).wrt(&x).unwrap().to_vec().unwrap();
                let exact = |x: &[f64]| of_classes(&rows, x, 0.0, weighted, reduction);
                assert_near(&what, &got, &slopes(&rows.x, &dy, exact), 2e-5);
            }
        }
    }
}

#[test]
fn labels_of_no_class_and_nothing_but_ignored_rows() {
    for dev in support::devices() {
        let x = dev.full(-1.0, [2, 3]);
        let error = x.nll_loss(&dev.labels([0, 3])).to_vec().unwrap_err();
        assert!(matches!(error, Error::Label { label: 3, index: 1, classes: 3 }), "{dev:?}: {error}");
        // As in PyTorch: the mean of no row is no number, their sum is 0.
        let ignored = dev.labels([-100, -100]);
        assert!(x.nll_loss(&ignored).item().unwrap().is_nan(), "{dev:?}");
        assert!(x.cross_entropy(&ignored).item().unwrap().is_nan(), "{dev:?}");
        assert_eq!(x.nll_loss_with(&ignored, None, Reduction::Sum).item().unwrap(), 0.0, "{dev:?}");
        // But nothing flows back: one such batch must not cost the weights.
        for classes in [3, 200] {
            let x = dev.full(-1.0, [2, classes]).requires_grad();
            let dx = x.cross_entropy(&ignored).backward().wrt(&x).unwrap();
            assert!(dx.to_vec().unwrap().iter().all(|&v| v == 0.0), "{dev:?}, {classes} classes");
        }
    }
}
