//! Sizes, borders and receptive fields are what the formulas say.

#[path = "../../examples/convolution/filter.rs"]
mod filter;
#[path = "../../examples/convolution/sheets.rs"]
mod sheets;

use crate::support::kernels::Kernel;
use crate::support::scene;
use crate::{device, folder};

/// Planes `[3, height, width]` that rise by `slope` from column to column, all three alike.
fn ramp(height: usize, width: usize, slope: f32) -> Vec<f32> {
    (0..3 * height * width).map(|i| slope * (i % width) as f32).collect()
}

#[test]
fn sizes_follow_the_formula() {
    let dev = device();
    let x = dev.tensor(ramp(23, 29, 0.01), [1, 3, 23, 29]);
    for (n, padding, stride, dilation) in
        [(1, 0, 2, 1), (3, 0, 1, 1), (3, 1, 2, 1), (5, 2, 4, 1), (3, 0, 1, 4), (3, 4, 3, 4)]
    {
        let y = filter::colours(&x, &Kernel::gaussian(n, 1.0), padding, stride, dilation).unwrap();
        let size = |size| filter::results(size, n, padding, stride, dilation);
        assert_eq!((y.height, y.width), (size(23), size(29)), "kernel {n}, {padding}, {stride}, {dilation}");
        assert_eq!(y.values.len(), 3 * y.height * y.width);
    }
}

#[test]
fn zeros_darken_the_border_and_only_it() {
    let dev = device();
    let kernel = Kernel::gaussian(5, 1.3);
    let y = filter::white(&dev, (20, 24), &kernel, 2).unwrap();
    let at = |row: usize, column: usize| y.values[row * y.width + column];
    let near = |a: f32, b: f32| assert!((a - b).abs() < 1e-6, "{a} instead of {b}");
    for (row, column) in [(2, 2), (10, 12), (17, 21)] {
        near(at(row, column), 1.0);
    }
    // The bell is the product of one per axis: half of it, and the middle, remain at an edge.
    let edge = at(0, 12);
    assert!(edge > 0.5 && edge < 0.75, "{edge}");
    near(at(0, 0), edge * edge);
    let bare = filter::white(&dev, (20, 24), &kernel, 0).unwrap();
    bare.values.iter().for_each(|&v| near(v, 1.0));
}

#[test]
fn repeated_edges_keep_a_constant_picture() {
    let repeated = scene::repeat_edges(&[1.0, 2.0, 3.0, 4.0].repeat(3), (2, 2), 1);
    let plane = [1.0, 1.0, 2.0, 2.0, 1.0, 1.0, 2.0, 2.0, 3.0, 3.0, 4.0, 4.0, 3.0, 3.0, 4.0, 4.0];
    assert_eq!(repeated, plane.repeat(3));
}

#[test]
fn a_stride_picks_and_a_dilation_reaches() {
    let dev = device();
    let planes = ramp(16, 18, 1.0 / 64.0);
    let x = dev.tensor(planes.clone(), [1, 3, 16, 18]);
    let picked = filter::colours(&x, &Kernel::identity(), 0, 4, 1).unwrap();
    for (i, &v) in picked.values.iter().enumerate() {
        let (channel, row, column) = (i / (4 * 5), i / 5 % 4, i % 5);
        assert_eq!(v, planes[channel * 16 * 18 + 4 * row * 18 + 4 * column]);
    }
    // Sobel x weighs a difference over 2·dilation columns by 1 + 2 + 1.
    for dilation in [1, 2, 4] {
        let y = filter::brightness(&x, &Kernel::sobel_x(), 0, dilation).unwrap();
        let expected = 4.0 * 2.0 * dilation as f32 / 64.0;
        y.values.iter().for_each(|v| assert!((v - expected).abs() < 1e-5, "{v} instead of {expected}"));
        assert_eq!(filter::receptive_field(3, dilation), 16 + 1 - y.height);
    }
}

#[test]
fn a_sheet_is_drawn() {
    let drawn = sheets::Scene::new(&device()).unwrap();
    assert!(drawn.planes.iter().all(|v| (0.0..=1.0).contains(v)));
    let (name, _, draw) = sheets::ALL[3];
    let path = folder("convolution").join(name).with_extension("png");
    draw(&drawn, &path).unwrap();
    assert!(path.metadata().unwrap().len() > 100_000);
}
