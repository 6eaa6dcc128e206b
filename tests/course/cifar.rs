//! The example of residual networks, small: pictures whose classes are colours and stripes, in CIFAR-10's format.

#[path = "../../examples/cifar/data.rs"]
mod data;
#[path = "../../examples/cifar/report.rs"]
mod report;
#[path = "../../examples/cifar/train.rs"]
mod train;

use crate::{device, folder};
use data::Data;
use recurve::data::loader::permutation;
use recurve::models::ResNetConfig;
use std::path::Path;
use std::sync::atomic::Ordering;
use train::{Ended, Plan, Training};

/// A file of `n` pictures: the class says which colour is bright and whether stripes lie or stand, all else is noise.
fn write(path: &Path, n: usize) {
    let mut file = Vec::new();
    let mut noise = permutation(3, 0, 4096).into_iter().cycle();
    for i in 0..n {
        let class = i % 6;
        file.push(class as u8);
        for at in 0..3072 {
            let (channel, y, x) = (at / 1024, at / 32 % 32, at % 32);
            let striped = if class < 3 { y } else { x } / 4 % 2 == 0;
            let bright = channel == class % 3 && striped;
            file.push((noise.next().unwrap_or(0) % 100) as u8 + if bright { 120 } else { 0 });
        }
    }
    std::fs::write(path, file).unwrap();
}

fn plan(epochs: u64) -> Plan {
    Plan {
        epochs,
        batch: 12,
        lr: 0.1,
        weight_decay: 1e-4,
        label_smoothing: 0.1,
        mixup: 0.0,
        ema: 0.8,
        flip: true,
        seed: 1,
        save_every: 1000,
        test_every: 4,
        log: false,
    }
}

/// One residual block.
fn config() -> ResNetConfig {
    ResNetConfig { layers: vec![1], stem_channels: 8, channels: 8, ..ResNetConfig::cifar(8) }
}

fn training<'d>(data: &'d Data, out: &Path, resume: bool) -> Training<'d> {
    Training::new(&device(), plan(24), config(), data, out, resume).unwrap()
}

#[test]
fn it_learns_pictures_from_a_file_draws_and_goes_on_after_an_interrupt() {
    let folder = folder("cifar");
    let file = folder.join("pictures.bin");
    write(&file, 96);
    let data = data::load(Some(&file)).unwrap();
    assert_eq!((data.train.len(), data.test.len()), (72, 24));
    assert_eq!(data.test.image(0), data::load(Some(&file)).unwrap().test.image(0));

    let out = folder.join("whole");
    std::fs::create_dir_all(&out).unwrap();
    let mut whole = training(&data, &out, false);
    assert_eq!(whole.run().unwrap(), Ended::Finished);
    let (epoch, right) = whole.accuracies.last().copied().unwrap();
    assert_eq!(epoch, 24);
    assert!(right >= 75.0, "{right} % of the pictures held out, by averaged weights");
    report::finish(&mut whole, &data, &out).unwrap();
    for name in ["curves.png", "confusion.png", "weights.safetensors"] {
        assert!(out.join(name).metadata().unwrap().len() > 1000, "{name}");
    }
    // The weights that are kept are those that were tested.
    let averaged = whole.predict(&data.test).unwrap();
    whole.params.load(out.join("weights.safetensors")).unwrap();
    let net = (&whole.net, whole.params.device());
    assert_eq!(train::predict(net.1, net.0, &data.test, &data.normalize).unwrap(), averaged);

    let out = folder.join("interrupted");
    std::fs::create_dir_all(&out).unwrap();
    let mut first = training(&data, &out, false);
    first.interrupted().store(true, Ordering::Relaxed);
    assert_eq!(first.run().unwrap(), Ended::Interrupted);
    assert_eq!(first.losses.len(), 1);
    assert!(first.checkpoint().exists());
    drop(first);
    let mut second = training(&data, &out, true);
    assert_eq!(second.losses.len(), 1);
    assert_eq!(second.run().unwrap(), Ended::Finished);
    assert_eq!(second.losses, whole.losses);
    let other = Plan { lr: 0.2, ..plan(24) };
    let refused = Training::new(&device(), other, config(), &data, &out, true).err().expect("another plan");
    assert!(refused.to_string().contains("learning rate 0.1"), "{refused}");
    // A log that has lost rows does not go with its checkpoint.
    std::fs::write(out.join("loss.csv"), "step,loss\n").unwrap();
    let refused = Training::new(&device(), plan(24), config(), &data, &out, true).err().expect("a short log");
    assert!(refused.to_string().contains("loss.csv: 10 bytes"), "{refused}");
}

#[test]
fn mistakes_are_listed_by_their_number() {
    let counts = [8, 2, 0, 5, 4, 1, 0, 0, 10];
    let text = report::worst(&counts, &["cat", "dog", "ship"], 2);
    let lines: Vec<&str> = text.lines().map(str::trim_end).collect();
    assert_eq!(
        lines[1..4],
        ["  cat            8/10  dog 2", "  dog            4/10  cat 5, ship 1", "  ship          10/10",]
    );
    assert_eq!(lines[4], "  confused with each other: cat and dog 7, dog and ship 1");
}

#[test]
fn what_is_no_data_is_said_in_a_line() {
    let nowhere = folder("cifar").join("nowhere");
    let error = data::load(Some(&nowhere)).err().expect("there is no such file").to_string();
    assert!(error.contains("nowhere") && !error.contains('\n'), "{error}");
    let few = folder("cifar").join("few.bin");
    write(&few, 2);
    let error = data::load(Some(&few)).err().expect("two pictures").to_string();
    assert!(error.contains("not enough"), "{error}");
}
