//! The maps are those of the network's own layers, and patches are what a channel sees.

#[path = "../../examples/feature_maps/maps.rs"]
mod maps;
#[path = "../../examples/feature_maps/sheets.rs"]
mod sheets;

use crate::net::Net;
use crate::support::classifier::{self, Plan};
use crate::{device, folder, mnist};
use recurve::nn::Mode;
use recurve::{Params, no_grad};

#[test]
fn maps_show_what_the_network_computes() {
    let dev = device();
    let params = Params::new(&dev, 0);
    let net = Net::new(&params);
    let initial = net.conv1.weight.tensor().to_vec().unwrap();
    let plan = Plan { steps: 8, batch: 32, ..Plan::default() };
    let losses = classifier::train(&params, &mnist().train, &plan, |x, mode| net.forward(x, mode)).unwrap();
    assert!(losses[7] < 0.8 * losses[0], "{losses:?}");

    let test = mnist().test.first(100);
    let traced: Vec<_> =
        [2, 7].iter().filter_map(|&label| maps::trace(&dev, &net, &test, label).unwrap()).collect();
    assert_eq!(traced.iter().map(|t| t.label).collect::<Vec<_>>(), [2, 7]);
    for t in &traced {
        let [one, two] = &t.stages;
        assert_eq!([one.conv.side, one.relu.side, one.pool.side], [28, 28, 14]);
        assert_eq!([two.conv.side, two.relu.side, two.pool.side], [14, 14, 7]);
        assert!(one.relu.silent() > 0.1 && one.relu.silent() < 0.9);
    }
    // The second stage, by the network's own way.
    let label = traced[0].label;
    let index = test.labels().iter().position(|&l| l == label).unwrap();
    let digit: Vec<f32> =
        test.image(index).iter().map(|&v| (f32::from(v) / 255.0 - 0.1307) / 0.3081).collect();
    let whole = no_grad(|| {
        let x = dev.tensor(digit, [1, 1, 28, 28]);
        net.stage2(&net.stage1(&x, Mode::Eval), Mode::Eval)
    });
    let whole = whole.to_vec().unwrap();
    for (a, b) in whole.iter().zip(&traced[0].stages[1].pool.values) {
        assert!((a - b).abs() < 1e-4, "{a} and {b}");
    }

    let favourites = maps::favourites(&dev, &net, &test, 3).unwrap();
    assert_eq!(favourites.len(), 64);
    for patches in &favourites {
        assert!(patches.windows(2).all(|p| p[0].response >= p[1].response));
        assert!(patches.iter().all(|p| p.pixels.len() == maps::FIELD * maps::FIELD));
    }

    let out = folder("feature_maps");
    let learned = net.conv1.weight.tensor().to_vec().unwrap();
    let second = net.conv2.weight.tensor().to_vec().unwrap();
    assert!(maps::moved(&initial, &learned) > 0.0);
    sheets::kernels(&out.join("kernels.png"), [&initial, &learned], [&second, &second]).unwrap();
    sheets::stage(&out.join("conv2.png"), "conv2", &traced, 1, &second, 32).unwrap();
    sheets::favourites(&out.join("favourites.png"), &favourites).unwrap();
}

#[test]
fn a_value_of_conv2_depends_on_8_by_8_pixels() {
    let dev = device();
    let net = Net::new(&Params::new(&dev, 0));
    let respond = |at: Option<usize>| {
        let mut digit = vec![0.0; 784];
        at.into_iter().for_each(|i| digit[i] = 1.0);
        let x = dev.tensor(digit, [1, 1, 28, 28]);
        let y = no_grad(|| net.conv2.forward(&net.stage1(&x, Mode::Eval))).to_vec().unwrap();
        // All channels at row 6 and column 6.
        (0..64).map(|c| y[c * 196 + 6 * 14 + 6]).collect::<Vec<f32>>()
    };
    let rest = respond(None);
    let row = |y: usize| respond(Some(y * 28 + 12)) != rest;
    let seen: Vec<usize> = (0..28).filter(|&y| row(y)).collect();
    assert_eq!(seen, (2 * 6 - 3..=2 * 6 + 4).collect::<Vec<_>>());
    assert_eq!(seen.len(), maps::FIELD);
}
