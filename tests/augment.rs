//! Augmentation, prefetching and CIFAR-10's files.

use recurve::data::cifar::{self, Cifar10};
use recurve::data::{Augment, DataError, Dataset, Loader, LoaderConfig, Order};
use std::collections::BTreeMap;
use std::io::Write;
use std::path::{Path, PathBuf};

/// `n` pictures of `[2, 4, 5]`, whose bytes are all different within a picture.
fn pictures(n: usize) -> Dataset {
    let images = (0..n * 40).map(|i| (1 + i * 7 % 251) as u8).collect();
    Dataset::new(images, &[2, 4, 5], (0..n).map(|i| (i % 10) as u8).collect())
}

fn everything() -> Augment {
    Augment { crop_padding: 2, horizontal_flip: 0.5, mixup_alpha: 0.4 }
}

fn config(batch_size: usize, prefetch: usize, augment: Augment) -> LoaderConfig {
    LoaderConfig { batch_size, order: Order::Shuffled, seed: 5, augment, prefetch, ..Default::default() }
}

/// A sample as it was brought: bits of its pixels, its label, and the label and share of what was mixed in.
type Sample = (Vec<u32>, i64, Option<(i64, u32)>);

/// The samples of the next epoch by index, and the order in which they came.
fn epoch(loader: &mut Loader<'_>) -> (BTreeMap<usize, Sample>, Vec<usize>) {
    let (mut samples, mut order) = (BTreeMap::new(), Vec::new());
    while let Some(batch) = loader.next_batch() {
        let size = batch.images.len() / batch.labels.len();
        for (i, &index) in batch.indices.iter().enumerate() {
            let pixels = batch.images[i * size..][..size].iter().map(|v| v.to_bits()).collect();
            let mix = batch.mix.map(|mix| (mix.labels[i], mix.lambda[i].to_bits()));
            samples.insert(index, (pixels, batch.labels[i], mix));
            order.push(index);
        }
    }
    (samples, order)
}

#[test]
fn what_becomes_of_a_sample_depends_on_seed_epoch_and_index_only() {
    let set = pictures(23);
    let mut reference = Loader::new(&set, config(4, 0, everything()));
    let epochs = [epoch(&mut reference), epoch(&mut reference)];
    assert_ne!(epochs[0].0, epochs[1].0);
    for (batch_size, prefetch) in [(4, 1), (4, 3), (1, 0), (7, 2), (23, 1), (100, 5)] {
        let mut loader = Loader::new(&set, config(batch_size, prefetch, everything()));
        for expected in &epochs {
            assert_eq!(epoch(&mut loader), *expected, "batches of {batch_size}, {prefetch} ahead");
        }
    }
    let sequential = LoaderConfig { order: Order::Sequential, ..config(4, 0, everything()) };
    assert_eq!(epoch(&mut Loader::new(&set, sequential)).0, epochs[0].0);
    let other = LoaderConfig { seed: 6, ..config(4, 0, everything()) };
    assert_ne!(epoch(&mut Loader::new(&set, other)).0, epochs[0].0);
    // A checkpoint written by an earlier version must go on with the same pictures.
    let hash = |samples: &BTreeMap<usize, Sample>| {
        let words = samples.values().flat_map(|s| &s.0);
        words.fold(0xcbf2_9ce4_8422_2325u64, |h, &w| (h ^ u64::from(w)).wrapping_mul(0x100_0000_01b3))
    };
    let plain = Augment { mixup_alpha: 0.0, ..everything() };
    assert_eq!(hash(&epoch(&mut Loader::new(&set, config(4, 0, plain))).0), 7_629_993_670_218_603_543);
}

#[test]
fn a_loader_that_works_ahead_goes_on_from_any_position() {
    let set = pictures(17);
    let mut whole = Loader::new(&set, config(4, 3, everything()));
    for _ in 0..14 {
        let state = whole.state();
        let mut resumed = Loader::new(&set, config(4, 2, everything()));
        // Batches that were made ahead before must not come.
        resumed.next_batch();
        resumed.restore(state).unwrap();
        assert_eq!(resumed.state(), state);
        let mut reference = whole.clone();
        for _ in 0..2 {
            assert_eq!(epoch(&mut resumed), epoch(&mut reference), "{state:?}");
            assert_eq!(resumed.state(), reference.state());
        }
        whole.next_batch();
    }
    assert!(whole.epoch() >= 2, "the positions at the ends of epochs were among them");
}

#[test]
fn crops_and_flips_are_what_they_say() {
    let set = pictures(200);
    let augment = Augment { crop_padding: 2, horizontal_flip: 0.5, mixup_alpha: 0.0 };
    let mut loader = Loader::new(&set, config(50, 0, augment));
    let mut seen = BTreeMap::new();
    for (index, (pixels, label, mix)) in epoch(&mut loader).0 {
        assert_eq!((label, mix), ((index % 10) as i64, None));
        // Exactly one shift and direction explains the picture, unless it is all border.
        let explains = |&(dy, dx, flip): &(isize, isize, bool)| {
            (0..40).all(|at| {
                let (c, y, x) = (at / 20, at / 5 % 4, at % 5);
                let x = if flip { 4 - x } else { x };
                let (y, x) = (y as isize + dy, x as isize + dx);
                let inside = (0..4).contains(&y) && (0..5).contains(&x);
                let byte = if inside { set.image(index)[c * 20 + y as usize * 5 + x as usize] } else { 0 };
                (f32::from(byte) / 255.0).to_bits() == pixels[at]
            })
        };
        let all = (-2..=2).flat_map(|dy| (-2..=2).flat_map(move |dx| [(dy, dx, false), (dy, dx, true)]));
        let found: Vec<_> = all.filter(explains).collect();
        assert_eq!(found.len(), 1, "sample {index}: {found:?}");
        *seen.entry(found[0]).or_insert(0) += 1;
    }
    assert!(seen.len() > 45, "{} of 50 changes came", seen.len());
    let flipped: usize = seen.iter().filter(|(change, _)| change.2).map(|(_, n)| n).sum();
    assert!((70..=130).contains(&flipped), "{flipped} of 200 are mirrored");
    let always = Augment { horizontal_flip: 1.0, ..Default::default() };
    let (samples, _) = epoch(&mut Loader::new(&set, config(50, 0, always)));
    let mirrored = |index: usize| (0..40).map(move |at| (index, at / 5 * 5 + 4 - at % 5));
    for (index, sample) in samples {
        let expected = mirrored(index).map(|(i, at)| (f32::from(set.image(i)[at]) / 255.0).to_bits());
        assert!(expected.eq(sample.0.iter().copied()));
    }
}

#[test]
fn the_border_of_a_crop_is_black_before_normalisation() {
    let set = Dataset::new(vec![255; 12], &[3, 2, 2], vec![0]);
    let augment = Augment { crop_padding: 4, ..Default::default() };
    let normalize = cifar::normalize();
    let config = LoaderConfig { augment, normalize, ..Default::default() };
    let mut loader = Loader::new(&set, config);
    let black = cifar::MEAN.iter().zip(cifar::STD).map(|(m, s)| (0.0 - m) / s);
    let black: Vec<f32> = black.flat_map(|v| [v; 4]).collect();
    let found = (0..50).any(|_| {
        let all = loader.next_batch().is_some_and(|batch| batch.images == black);
        loader.next_batch();
        all
    });
    assert!(found, "a shift of more than the size leaves nothing but border");
}

#[test]
fn mixup_mixes_what_it_names() {
    let set = pictures(40);
    let augment = Augment { mixup_alpha: 1.0, ..Default::default() };
    let mut loader = Loader::new(&set, config(8, 2, augment));
    let mut lambdas = Vec::new();
    while let Some(batch) = loader.next_batch() {
        let mix = batch.mix.expect("mixup is on");
        let probabilities = batch.probabilities(10);
        for (i, &index) in batch.indices.iter().enumerate() {
            let (share, pixels) = (mix.lambda[i], &batch.images[40 * i..][..40]);
            let value = |index: usize, at: usize| f32::from(set.image(index)[at]) / 255.0;
            let explains = |other: &usize| {
                (0..40).all(|at| pixels[at] == share * value(index, at) + (1.0 - share) * value(*other, at))
            };
            let partner = (0..40).find(explains).expect("some other sample was mixed in");
            assert_eq!(mix.labels[i], i64::from(set.labels()[partner]));
            let row = &probabilities[10 * i..][..10];
            assert!((row.iter().sum::<f32>() - 1.0).abs() < 1e-6);
            if mix.labels[i] != batch.labels[i] {
                assert_eq!(row[batch.labels[i] as usize], share);
                assert_eq!(row[mix.labels[i] as usize], 1.0 - share);
            }
            lambdas.push(share);
        }
    }
    assert!(lambdas.iter().any(|&l| l < 0.3) && lambdas.iter().any(|&l| l > 0.7), "{lambdas:?}");
    let mut plain = Loader::new(&set, config(8, 0, Augment::default()));
    let batch = plain.next_batch().unwrap();
    let one_hot: Vec<f32> =
        batch.labels.iter().flat_map(|&l| (0..10).map(move |c| f32::from(u8::from(c == l)))).collect();
    assert_eq!((batch.mix, batch.probabilities(10)), (None, one_hot));
}

#[test]
#[should_panic(expected = "no pictures to crop or flip")]
fn what_has_no_width_cannot_be_flipped() {
    let set = Dataset::new(vec![0; 3], &[3], vec![0]);
    let augment = Augment { horizontal_flip: 0.5, ..Default::default() };
    Loader::new(&set, LoaderConfig { augment, ..Default::default() });
}

#[test]
#[should_panic(expected = "changed with one mean and standard deviation")]
fn rows_with_means_of_their_own_cannot_be_moved() {
    let set = Dataset::new(vec![0; 6], &[2, 3], vec![0]);
    let augment = Augment { horizontal_flip: 0.5, ..Default::default() };
    let normalize = recurve::data::Normalize { mean: vec![0.0, 0.5], std: vec![1.0, 2.0] };
    Loader::new(&set, LoaderConfig { augment, normalize, ..Default::default() });
}

// ---- CIFAR-10 ----------------------------------------------------------------------------------------

const RECORD: usize = 3073;

/// A file of `n` pictures, the bytes of which tell where they belong.
fn cifar_file(n: usize) -> Vec<u8> {
    let record =
        |i: usize| std::iter::once((i % 10) as u8).chain((0..3072).map(move |at| (i + at / 5) as u8));
    (0..n).flat_map(record).collect()
}

fn gzip(data: &[u8]) -> Vec<u8> {
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    encoder.write_all(data).unwrap();
    encoder.finish().unwrap()
}

fn folder(test: &str) -> PathBuf {
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join("augment").join(test);
    let _ = std::fs::remove_dir_all(&folder);
    std::fs::create_dir_all(&folder).unwrap();
    folder
}

#[test]
fn cifar_files_are_read_plain_and_gzipped() {
    let file = cifar_file(12);
    let folder = folder("plain_and_gzipped");
    for (name, contents) in [("plain.bin", file.clone()), ("gzipped.bin", gzip(&file))] {
        let set = cifar::from_bytes(name, &contents).unwrap();
        assert_eq!((set.len(), set.sample_shape()), (12, &[3, 32, 32][..]));
        assert_eq!(set.labels(), [0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 0, 1]);
        for i in 0..12 {
            assert_eq!(set.image(i), &file[i * RECORD + 1..][..3072], "picture {i}");
        }
        std::fs::write(folder.join(name), &contents).unwrap();
        assert_eq!(cifar::from_path(folder.join(name)).unwrap(), set);
    }
}

#[test]
fn cifar_files_that_lie_are_refused() {
    let file = cifar_file(3);
    let read = |bytes: &[u8]| cifar::from_bytes("a file", bytes).unwrap_err();
    let e = read(&[]);
    assert!(matches!(e, DataError::Truncated { expected: 3073, found: 0, .. }), "{e}");
    let e = read(&file[..2 * RECORD + 1]);
    assert!(matches!(e, DataError::Truncated { expected: 9219, found: 6147, .. }), "{e}");
    let e = read(&gzip(&file[..RECORD - 1]));
    assert!(matches!(e, DataError::Truncated { expected: 3073, found: 3072, .. }), "{e}");
    let gzipped = gzip(&file);
    let e = read(&gzipped[..gzipped.len() - 12]);
    assert!(matches!(e, DataError::Truncated { .. }), "{e}");
    let mut damaged = gzipped.clone();
    *damaged.iter_mut().nth_back(7).unwrap() ^= 1;
    let e = read(&damaged);
    assert!(matches!(e, DataError::CorruptGzip { .. }), "{e}");
    let mut label = file.clone();
    label[2 * RECORD] = 10;
    let e = read(&label);
    assert!(matches!(e, DataError::LabelOutOfRange { index: 2, label: 10, classes: 10, .. }), "{e}");
    let e = cifar::from_path(folder("lie").join("nowhere")).unwrap_err();
    assert!(matches!(e, DataError::Io { .. }), "{e}");
    // More than is read at most, in few bytes.
    let e = read(&gzip(&vec![0; cifar::MAX_BYTES as usize + 1]));
    assert!(matches!(e, DataError::TooLarge { .. }), "{e}");
}

#[test]
fn the_whole_of_cifar_is_six_files_of_ten_thousand() {
    let folder = folder("whole");
    let e = Cifar10::load(&folder).unwrap_err();
    assert!(matches!(&e, DataError::Missing { path } if path.ends_with("data_batch_1.bin")), "{e}");
    let write = |name: &str, label: u8, n: usize| {
        let record: Vec<u8> = std::iter::once(label).chain([3 * label; 3072]).collect();
        std::fs::write(folder.join(name), gzip(&record.repeat(n))).unwrap();
    };
    (1..=5).for_each(|i| write(&format!("data_batch_{i}.bin.gz"), i, cifar::PER_FILE));
    write("test_batch.bin.gz", 9, cifar::PER_FILE);
    let whole = Cifar10::load(&folder).unwrap();
    assert_eq!((whole.train.len(), whole.test.len()), (50_000, 10_000));
    for i in [0, 9_999, 10_000, 49_999] {
        let label = 1 + (i / 10_000) as u8;
        assert_eq!((whole.train.labels()[i], whole.train.image(i)[3071]), (label, 3 * label));
    }
    write("data_batch_3.bin.gz", 3, 2);
    let e = Cifar10::load(&folder).unwrap_err();
    assert!(
        matches!(&e, DataError::Truncated { path, found: 6146, .. } if path.ends_with("data_batch_3.bin.gz")),
        "{e}"
    );
    write("data_batch_3.bin.gz", 3, cifar::PER_FILE + 1);
    let e = Cifar10::load(&folder).unwrap_err();
    assert!(matches!(e, DataError::TrailingBytes { expected: 30_730_000, .. }), "{e}");
}
