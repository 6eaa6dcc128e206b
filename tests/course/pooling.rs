//! Maxima keep the strongest response, means keep the mean.

#[path = "../../examples/pooling/pool.rs"]
mod pool;
#[path = "../../examples/pooling/sheets.rs"]
mod sheets;

use crate::support::scene::{self, HEIGHT, WIDTH};
use crate::{device, folder};
use pool::{KINDS, Kind, Pooled, Windows, repeated};

#[test]
fn the_small_array_is_pooled_as_by_hand() {
    let x = device().tensor(sheets::NUMBERS, [1, 1, 7, 7]);
    let values = |kind: Kind, windows| Pooled::read(&kind.apply(&x, windows)).unwrap().values;
    // The last row and column do not fill a window.
    let squares = Windows::Squares { size: 2, stride: 2 };
    assert_eq!(values(Kind::Max, squares), [5., 7., 6., 6., 9., 5., 7., 4., 8.]);
    assert_eq!(values(Kind::Average, squares), [2.75, 2.5, 3., 3., 5.75, 2., 2.75, 1.75, 5.5]);
    let shared = Windows::Squares { size: 3, stride: 2 };
    assert_eq!(values(Kind::Max, shared), [9., 9., 6., 9., 9., 9., 7., 6., 9.]);
    let sums = [27., 27., 24., 32., 33., 31., 23., 29., 37.];
    for (mean, sum) in values(Kind::Average, shared).iter().zip(sums) {
        assert!((mean - sum / 9.0).abs() < 1e-6, "{mean} instead of {}", sum / 9.0);
    }
    assert_eq!(values(Kind::Max, Windows::Global), [9.]);
    let mean = sheets::NUMBERS.iter().sum::<f32>() / 49.0;
    assert!((values(Kind::Average, Windows::Global)[0] - mean).abs() < 1e-6);
}

#[test]
fn the_strongest_edge_survives_maxima_and_the_mean_survives_means() {
    let dev = device();
    let planes = scene::scene().unwrap();
    let edges = sheets::edges(&dev, &planes);
    let all = sheets::repeated_edges(&edges, &folder("pooling").join("edges.png")).unwrap();
    for (kind, maps) in &all {
        let sizes: Vec<_> = maps.iter().map(|m| (m.height, m.width)).collect();
        assert_eq!(sizes, (0..7).map(|i| (HEIGHT >> i, WIDTH >> i)).collect::<Vec<_>>());
        for (before, after) in maps.iter().zip(&maps[1..]) {
            match kind {
                Kind::Max => {
                    assert_eq!(before.largest(), after.largest());
                    assert!(after.mean() > before.mean());
                }
                Kind::Average => {
                    assert!((before.mean() - after.mean()).abs() < 1e-5);
                    assert!(after.largest() <= before.largest());
                }
            }
        }
    }
    let last = sheets::fading(&all).iter().map(|(_, shares)| shares[6]).collect::<Vec<f32>>();
    assert!(last[0] == 1.0 && last[1] < 0.4, "{last:?}");
    // Several poolings of 2×2 are one of larger windows.
    let big = Windows::Squares { size: 8, stride: 8 };
    for kind in KINDS {
        let (once, thrice) =
            (Pooled::read(&kind.apply(&edges, big)).unwrap(), repeated(&edges, kind, 3).unwrap());
        for (a, b) in once.values.iter().zip(&thrice[3].values) {
            assert!((a - b).abs() < 1e-6, "{}: {a} and {b}", kind.name());
        }
    }
}

#[test]
fn its_other_sheets_are_drawn() {
    let dev = device();
    let out = folder("pooling");
    sheets::numbers(&dev, &out.join("numbers.png")).unwrap();
    // A flat picture keeps the test short.
    let scene = dev.tensor(vec![0.5; 3 * HEIGHT * WIDTH], [1, 3, HEIGHT, WIDTH]);
    sheets::windows(&scene, &out.join("windows.png")).unwrap();
    sheets::repeated_picture(&scene, &out.join("repeated.png")).unwrap();
}
