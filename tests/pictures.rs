//! The examples' pictures are drawn from real digits, and digits are read back from PNGs.
//!
//! The pictures lie in `target/tmp/pictures` afterwards, to be looked at.

#[path = "../examples/support/mod.rs"]
mod support;

use recurve::data::{Dataset, mnist::Mnist};
use std::io::Cursor;
use std::path::{Path, PathBuf};
use support::digit::{self, DigitError};
use support::pictures::{self, Layer, Mistake, PictureError};

fn test_digits() -> Dataset {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("examples/mnist-data");
    Mnist::load(folder).unwrap().test
}

fn values(image: &[u8]) -> Vec<f32> {
    image.iter().map(|&byte| f32::from(byte) / 255.0).collect()
}

/// The folder to draw into.
fn folder() -> PathBuf {
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join("pictures");
    std::fs::create_dir_all(&folder).unwrap();
    folder
}

/// Width, height and number of different colours of a PNG.
fn look_at(path: &Path) -> (u32, u32, usize) {
    let file = std::io::BufReader::new(std::fs::File::open(path).unwrap());
    let mut reader = png::Decoder::new(file).read_info().unwrap();
    let mut bytes = vec![0; reader.output_buffer_size().unwrap()];
    let info = reader.next_frame(&mut bytes).unwrap();
    let colours: std::collections::HashSet<&[u8]> = bytes.chunks_exact(3).collect();
    (info.width, info.height, colours.len())
}

/// Numbers that look random and are always the same, 0..1.
fn noise(i: u64) -> f32 {
    let mixed = (i + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    ((mixed ^ mixed >> 29).wrapping_mul(0xbf58_476d_1ce4_e5b9) >> 40) as f32 / (1 << 24) as f32
}

/// `image` of 28×28 filtered by `kernel` of 3×3 with a border of zeros, then ReLU.
fn filtered(image: &[f32], kernel: &[f32]) -> Vec<f32> {
    let at = |x: i32, y: i32| {
        if (0..28).contains(&x) && (0..28).contains(&y) { image[(y * 28 + x) as usize] } else { 0.0 }
    };
    let value = |i: i32| {
        let (x, y) = (i % 28, i / 28);
        (0..9).map(|j| kernel[j as usize] * at(x + j % 3 - 1, y + j / 3 - 1)).sum::<f32>().max(0.0)
    };
    (0..784).map(value).collect()
}

#[test]
fn a_learning_curve_is_drawn() {
    let loss = |step: u64| (2.3 * (-(step as f32) / 90.0).exp() + 0.02) * (0.4 + 1.2 * noise(step));
    let losses: Vec<(u64, f32)> = (0..2814).map(|step| (step, loss(step))).collect();
    let path = folder().join("learning_curve.png");
    let accuracies = [(1, 98.21), (2, 98.74), (3, 98.93)];
    pictures::learning_curve(&path, "MNIST: 3 epochs of Adam, batch 64", &losses, &accuracies).unwrap();
    let (width, height, colours) = look_at(&path);
    assert_eq!((width, height), (1280, 560));
    assert!(colours > 50, "only {colours} colours");

    // Before the first epoch is over, after one step, and with a loss that broke down.
    let path = folder().join("learning_curve_short.png");
    pictures::learning_curve(&path, "one step", &[(7, 2.3), (8, f32::NAN), (9, 0.0)], &[]).unwrap();
    pictures::learning_curve(&path, "one step", &losses[..1], &[(1, 10.0)]).unwrap();
    assert!(matches!(pictures::learning_curve(&path, "none", &[], &[]), Err(PictureError::Empty)));
    let e = pictures::learning_curve(folder().join("no/such/folder.png"), "", &losses, &[]).unwrap_err();
    assert!(matches!(e, PictureError::Write { .. }), "{e}");
}

#[test]
fn a_confusion_matrix_is_drawn() {
    let set = test_digits();
    let mut counts = [0; 100];
    for (i, &label) in set.labels().iter().enumerate() {
        let wrong = noise(i as u64) < 0.012;
        let predicted = if wrong { (u64::from(label) + 1 + i as u64 % 9) % 10 } else { label.into() };
        counts[usize::from(label) * 10 + predicted as usize] += 1;
    }
    let path = folder().join("confusion_matrix.png");
    let labels = ["0", "1", "2", "3", "4", "5", "6", "7", "8", "9"];
    pictures::confusion_matrix(&path, "98.80 % of 10,000 test digits right", &counts, &labels).unwrap();
    assert!(look_at(&path).2 > 50);
    pictures::confusion_matrix(folder().join("confusion_empty.png"), "no data", &[0; 4], &["a", "b"])
        .unwrap();
    assert!(matches!(pictures::confusion_matrix(&path, "", &[], &[]), Err(PictureError::Empty)));
}

#[test]
fn filters_and_feature_maps_are_drawn() {
    let set = test_digits();
    let weight: Vec<f32> = (0..32 * 9).map(|i| 0.6 * (noise(i) - 0.5)).collect();
    let path = folder().join("filters.png");
    pictures::filters(&path, "32 filters of conv1", &weight, [32, 1, 3, 3]).unwrap();
    assert!(look_at(&path).2 > 50);
    pictures::filters(folder().join("filters_zero.png"), "zero", &[0.0; 12], [2, 3, 1, 2]).unwrap();
    assert!(matches!(pictures::filters(&path, "", &[], [0, 1, 3, 3]), Err(PictureError::Empty)));

    let digit = values(set.image(0));
    let first: Vec<f32> = weight.chunks_exact(9).flat_map(|kernel| filtered(&digit, kernel)).collect();
    let pooled = |map: &[f32]| -> Vec<f32> {
        (0..196).map(|i| map[i / 14 * 56 + i % 14 * 2].max(map[i / 14 * 56 + i % 14 * 2 + 29])).collect()
    };
    let second: Vec<f32> =
        first.chunks_exact(784).chain(first.chunks_exact(784).rev()).flat_map(pooled).collect();
    let layers = [
        Layer { name: "conv1", values: &first, shape: [32, 28, 28] },
        Layer { name: "conv2", values: &second, shape: [64, 14, 14] },
    ];
    let path = folder().join("feature_maps.png");
    pictures::feature_maps(&path, "What the network sees in a 7", &digit, &layers).unwrap();
    assert!(look_at(&path).2 > 200);
    pictures::feature_maps(folder().join("feature_maps_none.png"), "no layers", &digit, &[]).unwrap();
}

#[test]
fn misclassified_digits_are_drawn() {
    let set = test_digits();
    let digits: Vec<Vec<f32>> = (0..40).map(|i| values(set.image(i))).collect();
    let mistake = |(i, digit): (usize, &'_ Vec<f32>)| (set.labels()[i], digit.clone(), noise(i as u64));
    let owned: Vec<(u8, Vec<f32>, f32)> = digits.iter().enumerate().map(mistake).collect();
    let mistakes: Vec<Mistake<'_>> = owned
        .iter()
        .map(|(truth, digit, probability)| Mistake {
            digit,
            truth: *truth,
            predicted: (truth + 3) % 10,
            probability: *probability,
        })
        .collect();
    let path = folder().join("misclassified.png");
    let title = "104 of 10,000 test digits misclassified; the surest 40";
    pictures::misclassified(&path, title, &mistakes).unwrap();
    assert!(look_at(&path).2 > 200);
    pictures::misclassified(folder().join("misclassified_none.png"), "Nothing misclassified", &[]).unwrap();
}

// ---- Digits from PNGs --------------------------------------------------------------------------------

fn png(width: u32, height: u32, color: png::ColorType, depth: png::BitDepth, data: &[u8]) -> Vec<u8> {
    let mut file = Vec::new();
    let mut encoder = png::Encoder::new(&mut file, width, height);
    encoder.set_color(color);
    encoder.set_depth(depth);
    if color == png::ColorType::Indexed {
        encoder.set_palette(vec![250, 240, 230, 10, 20, 60]);
    }
    let mut writer = encoder.write_header().unwrap();
    writer.write_image_data(data).unwrap();
    writer.finish().unwrap();
    file
}

/// `digit` in a picture of `width`×`height`, `scale` times larger, its corner at (`x0`, `y0`).
fn enlarged(
    digit: &[u8],
    scale: usize,
    (width, height): (usize, usize),
    (x0, y0): (usize, usize),
) -> Vec<u8> {
    let mut picture = vec![0; width * height];
    for y in 0..28 * scale {
        for x in 0..28 * scale {
            picture[(y0 + y) * width + x0 + x] = digit[y / scale * 28 + x / scale];
        }
    }
    picture
}

/// Cosine of the angle between two pictures: 1 when they are alike but for brightness.
fn likeness(a: &[f32], b: &[f32]) -> f32 {
    let dot = |a: &[f32], b: &[f32]| a.iter().zip(b).map(|(x, y)| x * y).sum::<f32>();
    dot(a, b) / (dot(a, a) * dot(b, b)).sqrt()
}

#[test]
fn a_digit_comes_back_from_every_kind_of_png() {
    use png::{BitDepth::*, ColorType::*};
    let set = test_digits();
    for i in 0..50 {
        let original = values(set.image(i));
        // Without its soft edges a digit may be smaller, so it is scaled and centred anew.
        let hard: Vec<f32> = original.iter().map(|&v| if v > 0.5 { 1.0 } else { 0.0 }).collect();
        let two_colours = digit::from_grey(&hard, 28, 28).unwrap();
        let dark = enlarged(set.image(i), 7, (304, 240), (90, 20));
        let bright: Vec<u8> = dark.iter().map(|v| 255 - v).collect();
        let each = |f: &dyn Fn(u8) -> Vec<u8>| bright.iter().flat_map(|&v| f(v)).collect::<Vec<u8>>();
        let bits: Vec<u8> =
            dark.chunks(8).map(|p| p.iter().fold(0, |bits, &v| bits << 1 | u8::from(v > 127))).collect();
        let files = [
            ("white on black", png(304, 240, Grayscale, Eight, &dark), &original),
            ("black on white", png(304, 240, Grayscale, Eight, &bright), &original),
            ("16 bits", png(304, 240, Grayscale, Sixteen, &each(&|v| vec![v, v])), &original),
            ("red on yellow", png(304, 240, Rgb, Eight, &each(&|v| vec![200, 30 + v / 2, 20])), &original),
            ("black on nothing", png(304, 240, Rgba, Eight, &each(&|v| vec![0, 0, 0, 255 - v])), &original),
            (
                "white on nothing",
                png(304, 240, GrayscaleAlpha, Eight, &each(&|v| vec![255, 255 - v])),
                &original,
            ),
            ("two colours", png(304, 240, Indexed, One, &bits), &two_colours),
        ];
        for (what, file, want) in files {
            let digit = digit::from_png(Cursor::new(file)).unwrap();
            assert_eq!(digit.len(), 784);
            assert!(digit.iter().all(|v| (0.0..=1.0).contains(v)), "{what}");
            let likeness = likeness(&digit, want);
            assert!(likeness > 0.97, "test digit {i}, {what}: {likeness}");
        }
    }
}

#[test]
fn a_digit_is_scaled_into_its_box_and_centred_by_mass() {
    // A tall thin bar in a corner: 20 rows of 2 columns; its centre lies between pixels, so it goes half
    // a pixel beyond (14, 14).
    let mut picture = vec![1.0; 100 * 80];
    for y in 5..65 {
        picture[y * 100 + 3..y * 100 + 9].fill(0.2);
    }
    let digit = digit::from_grey(&picture, 100, 80).unwrap();
    let inked: Vec<usize> = (0..784).filter(|&i| digit[i] > 0.5).collect();
    assert_eq!(inked.len(), 40);
    assert!(inked.iter().all(|i| (5..25).contains(&(i / 28)) && (14..16).contains(&(i % 28))), "{inked:?}");

    // Nearly all of the mass is at one end; not a bit of the rest may be cut off for that.
    let mut picture = vec![0.0; 60 * 60];
    for y in 10..50 {
        picture[y * 60 + 10..y * 60 + 50].fill(if y < 20 { 1.0 } else { 0.12 });
    }
    let digit = digit::from_grey(&picture, 60, 60).unwrap();
    assert_eq!(digit.iter().filter(|&&v| v > 0.0).count(), 400);

    // Smaller than the box: enlarged to it.
    let digit = digit::from_grey(&[0.0, 0.0, 0.0, 0.0, 1.0, 0.0, 0.0, 0.0, 0.0], 3, 3).unwrap();
    assert_eq!(digit.iter().filter(|&&v| v > 0.0).count(), 400);
}

#[test]
fn what_is_no_picture_of_a_digit_is_an_error() {
    use png::{BitDepth::Eight, ColorType::*};
    let read = |file: &[u8]| digit::from_png(Cursor::new(file.to_vec())).unwrap_err();
    assert!(matches!(read(&png(9, 9, Grayscale, Eight, &[77; 81])), DigitError::Blank));
    assert!(matches!(read(&png(9, 9, Rgba, Eight, &[0; 324])), DigitError::Blank));
    let whole = png(28, 28, Grayscale, Eight, test_digits().image(0));
    for length in 0..whole.len() - 16 {
        assert!(matches!(read(&whole[..length]), DigitError::Png(_)), "cut to {length}");
    }
    // 65,535 × 65,535 pixels, with the checksum that belongs to them.
    let mut huge = whole.clone();
    huge[16..24].copy_from_slice(&[0, 0, 255, 255, 0, 0, 255, 255]);
    let mut crc = flate2::Crc::new();
    crc.update(&huge[12..29]);
    huge[29..33].copy_from_slice(&crc.sum().to_be_bytes());
    assert!(matches!(read(&huge), DigitError::TooLarge { width: 65_535, height: 65_535 }));
    assert!(matches!(digit::read("no/such/digit.png"), Err(DigitError::Io { .. })));
}
