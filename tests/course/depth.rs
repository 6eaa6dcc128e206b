//! Gradients of deep plain networks explode, vanish and shatter where those of residual ones do not, and these learn.

#[path = "../../examples/depth/experiments.rs"]
mod experiments;
#[path = "../../examples/depth/flow.rs"]
mod flow;
#[path = "../../examples/depth/net.rs"]
mod net;
#[path = "../../examples/depth/pictures.rs"]
mod pictures;
#[path = "../../examples/depth/shatter.rs"]
mod shatter;
#[path = "../../examples/depth/sheets.rs"]
mod sheets;
#[path = "../../examples/depth/train.rs"]
mod train;

use crate::{device, folder, mnist};
use experiments::{LAGS, at_first, kinds, learn, slopes};
use flow::Flow;
use net::{Kind, Net, Start};
use pictures::Pictures;
use recurve::nn::Mode;
use recurve::{Device, Params, Tensor};
use shatter::Slopes;
use train::Plan;

const PLAN: Plan = Plan { width: 4, batch: 32, steps: 60, lr: 0.1, test_every: 30 };
const DEPTHS: [usize; 2] = [8, 32];

fn digits() -> Pictures {
    Pictures::new(&mnist().train.first(1000), &mnist().test.first(100))
}

#[test]
fn pictures_are_halved_and_normalised() {
    let (whole, half) = (&mnist().train, digits());
    assert_eq!(half.train.sample_shape(), [1, 14, 14]);
    assert_eq!((half.train.len(), half.test.len(), half.channels()), (1000, 100, 1));
    let (image, small) = (whole.image(3), half.train.image(3));
    for (y, x) in (0..14).flat_map(|y| (0..14).map(move |x| (y, x))) {
        let at = |dy: usize, dx: usize| f32::from(image[(2 * y + dy) * 28 + 2 * x + dx]);
        let mean = (at(0, 0) + at(0, 1) + at(1, 0) + at(1, 1)) / 4.0;
        assert!((f32::from(small[y * 14 + x]) - mean).abs() <= 0.5, "{y}, {x}");
    }
    let [first, other] = half.two_classes(&Device::cpu());
    assert_eq!(first.shape().dims(), [1, 1, 14, 14]);
    assert_ne!(first.to_vec().unwrap(), other.to_vec().unwrap());
    // Over all pictures each value has mean 0 and standard deviation 1.
    let values = |i: usize| {
        let (mean, std) = (half.normalize.mean[0], half.normalize.std[0]);
        half.train.image(i).iter().map(move |&v| f64::from((f32::from(v) / 255.0 - mean) / std))
    };
    let (sum, squares) = (0..1000).flat_map(values).fold((0.0, 0.0), |(s, q), v| (s + v, q + v * v));
    let n = (1000 * 14 * 14) as f64;
    assert!((sum / n).abs() < 1e-3 && (squares / n - 1.0).abs() < 1e-3, "{} {}", sum / n, squares / n);
}

#[test]
fn plain_and_residual_networks_start_with_the_same_weights() {
    let dev = Device::cpu();
    let [plain, _, residual, _] = kinds(DEPTHS).map(|kind| {
        let params = Params::new(&dev, 5);
        Net::new(&params, kind, Start::BatchNorm, 2, 1).unwrap();
        params.named().iter().map(|p| (p.name().to_owned(), p.tensor().to_vec().unwrap())).collect::<Vec<_>>()
    });
    assert_eq!(plain, residual);
}

#[test]
fn the_gradient_behind_each_block_is_that_of_finite_differences() {
    const STEP: f64 = 1e-6;
    let dev = Device::cpu_f64();
    let x: Vec<f32> = (0..3 * 64).map(|i| ((i * 7919 % 101) as f32 / 50.0) - 1.0).collect();
    let batch = (dev.tensor(x, [3, 1, 8, 8]), dev.labels([1i64, 0, 7]));
    for kind in [Kind { depth: 8, shortcuts: false }, Kind { depth: 8, shortcuts: true }] {
        for start in [Start::BatchNorm, Start::He, Start::Small] {
            let net = Net::new(&Params::new(&dev, 3), kind, start, 2, 1).unwrap();
            let pass = net.pass(&batch.0, Mode::Train);
            let (gradients, of_weights) = flow::gradients(&net, &batch).unwrap();
            assert_eq!((gradients.len(), of_weights.len()), (4, 7));
            for (from, (values, found)) in pass.activations.iter().zip(&gradients).enumerate() {
                let shape = values.shape();
                let (values, found) = (values.to_vec_f64().unwrap(), found.to_vec_f64().unwrap());
                let mut largest: f64 = 0.0;
                for i in (0..values.len()).step_by(values.len() / 6) {
                    let loss = |by: f64| {
                        let mut moved = values.clone();
                        moved[i] += by;
                        let logits = net.rest(from, &dev.tensor_f64(&moved, shape), Mode::Train);
                        logits.cross_entropy(&batch.1).to_vec_f64().unwrap()[0]
                    };
                    let expected = (loss(STEP) - loss(-STEP)) / (2.0 * STEP);
                    let error = (found[i] - expected).abs();
                    assert!(
                        error < 1e-8,
                        "{kind:?}, {}, block {from}, {i}: {} {expected}",
                        start.name(),
                        found[i]
                    );
                    largest = largest.max(expected.abs());
                }
                assert!(largest > 1e-6, "{kind:?} {start:?} block {from}: {largest} cannot be told from 0");
            }
            let flow = Flow::of(&net, std::slice::from_ref(&batch)).unwrap();
            let norm = |t: &Tensor| t.to_vec_f64().unwrap().iter().map(|v| v * v).sum::<f64>().sqrt();
            let layers: Vec<usize> = flow.activations.iter().map(|a| a.0).collect();
            assert_eq!(layers, [1, 3, 5, 7]);
            for ((layer, part), (weight, gradient)) in
                flow.weights.iter().zip(net.convolutions().iter().map(|c| c.weight.tensor()).zip(&of_weights))
            {
                let expected = norm(gradient) / norm(&weight);
                assert!((part / expected - 1.0).abs() < 1e-5, "layer {layer}: {part} {expected}");
            }
        }
    }
}

#[test]
fn slopes_along_a_line_are_those_of_finite_differences() {
    const STEP: f64 = 1e-6;
    let dev = Device::cpu_f64();
    let picture = |k: usize| (0..64).map(|i| ((i * k % 101) as f32 / 50.0) - 1.0).collect::<Vec<f32>>();
    let (a, b) = (picture(7919), picture(104_729));
    let net = Net::new(&Params::new(&dev, 3), Kind { depth: 8, shortcuts: true }, Start::He, 2, 1).unwrap();
    let ends = [&a, &b].map(|p| dev.tensor(&p[..], [1, 1, 8, 8]));
    let slopes = Slopes::of(&net, [&ends[0], &ends[1]], 5, 2).unwrap();
    let logits = |t: f64| {
        let at = a.iter().zip(&b).map(|(&a, &b)| f64::from(a) + t * (f64::from(b) - f64::from(a)));
        let x = dev.tensor_f64(&at.collect::<Vec<f64>>(), [1, 1, 8, 8]);
        net.forward(&x, Mode::Train).to_vec_f64().unwrap()
    };
    for place in 0..5 {
        let t = place as f64 / 4.0;
        let (more, less) = (logits(t + STEP), logits(t - STEP));
        for (output, found) in slopes.of_outputs.iter().enumerate() {
            let expected = (more[output] - less[output]) / (2.0 * STEP);
            assert!((found[place] - expected).abs() < 1e-4 * expected.abs(), "{} {expected}", found[place]);
        }
    }
    let alternating = (0..100).map(|i| if i % 2 == 0 { 3.0 } else { 1.0 }).collect();
    let r = Slopes { of_outputs: vec![alternating] }.autocorrelation(3);
    assert!(
        (r[0] - 1.0).abs() < 1e-12 && (r[1] + 0.99).abs() < 1e-12 && (r[2] - 0.98).abs() < 1e-12,
        "{r:?}"
    );
}

#[test]
fn gradients_explode_and_vanish_in_plain_networks_and_hardly_behind_shortcuts() {
    let (dev, data) = (device(), digits());
    let measured =
        |start: Start| kinds(DEPTHS).map(|kind| at_first(&dev, &data, kind, start, PLAN, &[0]).unwrap().what);
    let growths = |flows: &[Flow; 4]| flows.each_ref().map(Flow::growth);
    // Batch norm: the gradient grows with each layer on the way back.
    let flows = measured(Start::BatchNorm);
    let [plain, deep_plain, residual, deep_residual] = growths(&flows);
    assert!(deep_plain > 40.0 && deep_plain > 10.0 * plain, "{plain} {deep_plain}");
    assert!(deep_residual < 20.0 && deep_residual < 6.0 * residual, "{residual} {deep_residual}");
    assert!((1.1..1.25).contains(&flows[1].per_layer()), "{}", flows[1].per_layer());
    // Without it and with small weights it shrinks; identities keep it.
    let flows = measured(Start::Small);
    let [plain, deep_plain, residual, deep_residual] = growths(&flows);
    assert!(deep_plain < 1e-10 && deep_plain < 1e-6 * plain, "{plain} {deep_plain}");
    assert!(residual > 0.1 && deep_residual > 0.1, "{residual} {deep_residual}");
    assert!((0.25..0.5).contains(&flows[1].per_layer()), "{}", flows[1].per_layer());
    // Weights that keep the gradient of a plain network in bounds let that of a residual one grow.
    let [_, deep_plain, _, deep_residual] = growths(&measured(Start::He));
    assert!((1e-3..10.0).contains(&deep_plain), "{deep_plain}");
    assert!(deep_residual > 20.0, "{deep_residual}");
}

#[test]
fn shortcuts_keep_gradients_of_neighbours_alike_and_deep_networks_learning() {
    let (dev, data) = (device(), digits());
    let all = kinds(DEPTHS).map(|kind| slopes(&dev, &data, kind, PLAN, 0).unwrap());
    let neighbours = all.each_ref().map(|s| s.what.autocorrelation(LAGS)[1]);
    assert!(neighbours[1].abs() < 0.3, "{neighbours:?}");
    assert!(neighbours[0] > 0.6 && neighbours[2] > 0.6 && neighbours[3] > 0.6, "{neighbours:?}");

    let courses = kinds(DEPTHS).map(|kind| learn(&dev, &data, kind, PLAN, &[0]).unwrap());
    let [plain, deep_plain, residual, deep_residual] =
        courses.each_ref().map(|c| c.runs[0].outcome(PLAN.steps).0);
    assert!(deep_plain > 1.15 * plain, "more layers hinder: {plain} {deep_plain}");
    assert!(deep_residual < residual, "more layers help: {residual} {deep_residual}");
    assert!(deep_plain > 1.3 * deep_residual, "{deep_plain} {deep_residual}");
    for run in courses.iter().flat_map(|c| &c.runs) {
        assert_eq!(run.tests.iter().map(|t| t.0).collect::<Vec<_>>(), [30, 60]);
        assert!((0.0..=100.0).contains(&run.test_error()), "{}", run.test_error());
    }

    let folder = folder("depth");
    let of = |kind: Kind| at_first(&dev, &data, kind, Start::BatchNorm, PLAN, &[0]).unwrap();
    let flows = [(Start::BatchNorm, kinds(DEPTHS).map(of).to_vec())];
    sheets::summary(&folder.join("depth.png"), &flows, &all, &courses).unwrap();
    sheets::details(&folder.join("details.png"), &flows, &courses).unwrap();
    sheets::slopes(&folder.join("slopes.png"), &all).unwrap();
}
