//! The example from end to end on a few images: it learns, resumes bit for bit, draws, and predicts.

use crate::options::Options;
use crate::train::{Ended, Training};
use crate::{mnist, options, report};
use recurve::{Device, Pick};

fn software() -> Device {
    Device::open_blocking(Pick::Best).expect("a device")
}

#[test]
fn a_resumed_run_goes_on_bit_for_bit() {
    let train = mnist().train.first(700);
    for dev in [software(), Device::cpu()] {
        let batch = if dev.is_reference() { "8" } else { "32" };
        let folder = if dev.is_reference() { "resume-cpu" } else { "resume" };
        let arguments = ["--batch", batch, "--epochs", "2", "--save-every", "5"];
        let mut whole =
            Training::new(&dev, &options(&format!("{folder}-whole"), &arguments), mnist(), &train).unwrap();
        let mut losses = Vec::new();
        for _ in 0..10 {
            let (loss, _) = whole.train_step().unwrap().unwrap();
            losses.push(loss.item().unwrap().to_bits());
        }
        let mut again = options(folder, &arguments);
        let mut first = Training::new(&dev, &again, mnist(), &train).unwrap();
        for _ in 0..5 {
            first.train_step().unwrap();
        }
        first.save().unwrap();
        again.resume = true;
        let mut resumed = Training::new(&dev, &again, mnist(), &train).unwrap();
        for (step, &expected) in losses.iter().enumerate().skip(5) {
            let loss = resumed.train_step().unwrap().unwrap().0.item().unwrap();
            assert_eq!(loss.to_bits(), expected, "{}: step {step}", dev.name());
        }
        let other = Options { batch: again.batch + 1, ..again.clone() };
        let refused =
            Training::new(&dev, &other, mnist(), &train).err().expect("another batch size").to_string();
        assert!(refused.contains("batch"), "{refused}");
        let weights = |t: &Training<'_>| t.net.conv2.weight.tensor().to_vec().unwrap();
        assert_eq!(weights(&whole), weights(&resumed), "{}", dev.name());
    }
}

#[test]
fn a_short_run_learns_draws_and_predicts() {
    let dev = software();
    let mut options = options("job", &["--limit", "3000", "--epochs", "1", "--batch", "64"]);
    let train = mnist().train.first(3000);
    let small = recurve::data::mnist::Mnist { train: mnist().train.first(1), test: mnist().test.first(1000) };
    let mut training = Training::new(&dev, &options, &small, &train).unwrap();
    assert!(matches!(training.run().unwrap(), Ended::Finished));
    let accuracy = training.accuracies.last().unwrap().1;
    assert!(accuracy > 85.0, "accuracy {accuracy} after 3,000 images");
    report::finish(&mut training, &options).unwrap();
    for picture in ["learning_curve", "confusion_matrix", "filters", "feature_maps", "misclassified"] {
        let path = options.out.join(format!("{picture}.png"));
        assert!(path.metadata().unwrap().len() > 1000, "{}", path.display());
    }
    options.predict = Some(options.out.join("digit.png"));
    let digit = options.predict.clone().unwrap();
    write_png(&digit, mnist().test.image(0));
    report::predict(&dev, &options, &digit).unwrap();
}

#[test]
fn a_run_that_diverges_says_so() {
    let options = options("diverges", &["--batch", "8", "--lr", "nan"]);
    let train = mnist().train.first(64);
    let mut training = Training::new(&software(), &options, mnist(), &train).unwrap();
    let error = training.run().err().expect("a loss that is no number").to_string();
    assert!(error.contains("diverged"), "{error}");
}

#[test]
fn an_interrupt_saves_and_ends_the_run() {
    let options = options("interrupt", &["--batch", "8"]);
    let train = mnist().train.first(64);
    let mut training = Training::new(&software(), &options, mnist(), &train).unwrap();
    training.interrupted().store(true, std::sync::atomic::Ordering::Relaxed);
    assert!(matches!(training.run().unwrap(), Ended::Interrupted));
    assert_eq!(training.losses.len(), 1);
    assert!(options.checkpoint().exists());
}

/// A test image as a grey PNG.
fn write_png(path: &std::path::Path, pixels: &[u8]) {
    let mut encoder = png::Encoder::new(std::fs::File::create(path).unwrap(), 28, 28);
    encoder.set_color(png::ColorType::Grayscale);
    encoder.write_header().unwrap().write_image_data(pixels).unwrap();
}
