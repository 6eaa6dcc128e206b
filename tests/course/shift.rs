//! Equivariance is exact where a shift is a multiple of the stride; invariance grows with the windows.

#[path = "../../examples/shift/equivariance.rs"]
mod equivariance;
#[path = "../../examples/shift/heads.rs"]
mod heads;
#[path = "../../examples/shift/moved.rs"]
mod moved;
#[path = "../../examples/shift/sheets.rs"]
mod sheets;

use crate::support::scene::{self, HEIGHT, WIDTH};
use crate::{device, folder, mnist};
use heads::{HEADS, Head, LONGEST, Net, POOLINGS, SIDE};
use recurve::data::Dataset;
use recurve::nn::Mode;
use recurve::{Params, no_grad};

#[test]
fn convolution_is_equivariant_to_multiples_of_its_stride() {
    let dev = device();
    let planes = equivariance::exact(&scene::scene().unwrap());
    let mut all = Vec::new();
    for stride in [1, 2, 4] {
        let errors = equivariance::errors(&dev, &planes, (HEIGHT, WIDTH), stride, 5, 0).unwrap();
        for (shift, &error) in errors.iter().enumerate() {
            if shift % stride == 0 {
                assert_eq!(error, 0.0, "stride {stride}, shift {shift}");
            } else {
                assert!(error > 0.1, "stride {stride}, shift {shift}: {error}");
            }
        }
        all.push((stride, errors));
    }
    sheets::equivariance(&dev, &planes, &all, &folder("shift").join("equivariance.png")).unwrap();
}

#[test]
fn what_moves_out_is_gone_and_what_comes_in_is_zero() {
    let plane = [1.0, 2.0, 3.0, 4.0, 5.0, 6.0];
    assert_eq!(moved::moved(&plane, (2, 3), (0, 1)), [0.0, 1.0, 2.0, 0.0, 4.0, 5.0]);
    assert_eq!(moved::moved(&plane, (2, 3), (-1, -2)), [6.0, 0.0, 0.0, 0.0, 0.0, 0.0]);
    let canvas = moved::on_canvas(&mnist().test.first(2), 30, (1, -1));
    let digit = mnist().test.image(1);
    for (i, &v) in canvas.image(1).iter().enumerate() {
        let (y, x) = (i as i32 / 30 - 2, i as i32 % 30);
        let inside = (0..28).contains(&y) && (0..28).contains(&x);
        assert_eq!(v, if inside { digit[(y * 28 + x) as usize] } else { 0 });
    }
}

#[test]
fn larger_windows_change_less_and_one_over_everything_not_at_all() {
    let dev = device();
    let net = Net::new(&Params::new(&dev, 0), Head::GlobalAverage);
    let digits = mnist().test.first(20);
    let changes: Vec<_> =
        POOLINGS.iter().map(|&p| (p, heads::changes(&dev, &net, &digits, p).unwrap())).collect();
    for (_, c) in &changes {
        assert_eq!((c.len(), c[0]), (LONGEST + 1, 0.0));
    }
    for pair in changes.windows(2) {
        assert!(pair[1].1[1] < 0.9 * pair[0].1[1], "{:?} and {:?} at 1 pixel", pair[0], pair[1]);
    }
    assert!(changes.last().unwrap().1.iter().all(|&c| c == 0.0));
    let accuracies = HEADS.map(|head| (head, vec![50.0; LONGEST + 1]));
    let digit = mnist().test.first(1);
    sheets::invariance(&folder("shift").join("invariance.png"), &digit, &changes, &accuracies).unwrap();
}

#[test]
fn global_pooling_forgets_shifts_by_the_stride_of_the_network() {
    let dev = device();
    // The middle of digits: even the last maps see no border.
    let digits = mnist().test.first(8);
    let middle = |i: usize| (8..20).contains(&(i / 28 % 28)) && (8..20).contains(&(i % 28));
    let bytes = (0..8).flat_map(|i| digits.image(i)).enumerate().map(|(i, &v)| if middle(i) { v } else { 0 });
    let digits = Dataset::new(bytes.collect(), &[1, 28, 28], digits.labels().to_vec());
    let change = |head: Head, right: i32| {
        let net = Net::new(&Params::new(&dev, 1), head);
        let logits = |right: i32| {
            let data = moved::on_canvas(&digits, SIDE, (0, right));
            let pixels: Vec<f32> =
                (0..8).flat_map(|i| data.image(i)).map(|&v| f32::from(v) / 255.0).collect();
            let x = dev.tensor(pixels, [8, 1, SIDE, SIDE]);
            no_grad(|| net.forward(&x, Mode::Eval)).to_vec().unwrap()
        };
        let (still, after) = (logits(0), logits(right));
        let largest = still.iter().fold(0f32, |m, v| m.max(v.abs()));
        still.iter().zip(&after).fold(0f32, |m, (a, b)| m.max((a - b).abs())) / largest
    };
    // Two poolings of 2×2.
    let multiple = change(Head::GlobalAverage, 4);
    assert!(multiple < 1e-5, "{multiple}");
    assert!(change(Head::GlobalAverage, 2) > 10.0 * multiple);
    let flatten = change(Head::Flatten, 4);
    assert!(flatten > 0.05, "{flatten}");
}

#[test]
fn a_network_that_flattens_reads_centred_digits_only() {
    let dev = device();
    let centred = moved::on_canvas(&mnist().train.first(heads::BATCH * 40), SIDE, (0, 0));
    let net = heads::train(&dev, &centred, Head::Flatten, 40, 0).unwrap();
    let accuracies = heads::accuracies(&dev, &net, &mnist().test.first(100)).unwrap();
    assert!(accuracies[0] > 70.0 && accuracies[LONGEST] < accuracies[0] - 30.0, "{accuracies:?}");
}
