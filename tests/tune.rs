//! Kernels chosen by measurement: the fastest of those that are right is used, kept in a file, and found there again.

mod support;

use recurve::nn::Linear;
use recurve::tune::TuneConfig;
use recurve::{Device, Params, Sgd, SgdConfig, Tensor};
use std::path::PathBuf;
use support::scale::{Way, scale};

/// A folder of the test's own, gone when it ends.
struct Folder(PathBuf);

impl Folder {
    fn new(name: &str) -> Self {
        let folder = std::env::temp_dir().join(format!("recurve-tune-{name}-{}", std::process::id()));
        let _ = std::fs::remove_dir_all(&folder);
        Folder(folder)
    }

    fn file(&self) -> PathBuf {
        self.0.join("of").join("kernels.json")
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

/// Every adapter, each with a way to open it afresh.
fn adapters() -> Vec<recurve::AdapterEntry> {
    pollster::block_on(recurve::adapters())
}

fn open(adapter: &recurve::AdapterEntry) -> Device {
    pollster::block_on(Device::open_adapter(adapter)).unwrap()
}

fn tuned(adapter: &recurve::AdapterEntry, folder: &Folder, measure: bool) -> Device {
    let dev = open(adapter);
    dev.tune(&TuneConfig { file: Some(folder.file()), measure }).unwrap();
    dev
}

/// Doubles `len` numbers by one of `ways`, says which one, and holds it to the right result.
fn taken(dev: &Device, len: usize, ways: &[Way]) -> String {
    let x: Vec<f32> = (0..len).map(|i| (i % 1000) as f32 - 500.0).collect();
    let y = scale(&dev.tensor(&x, [len]), 2.0, ways).to_vec().unwrap();
    let said = dev.explain();
    let variant = said.split("scale.").nth(1).unwrap_or_else(|| panic!("{said}")).split('(').next().unwrap();
    let right = x.iter().zip(&y).all(|(x, y)| *y == 2.0 * x);
    let wrong = variant == "wrong" || variant == "wrong_when_large" && len > 100_000;
    assert_eq!(right, !wrong, "{dev:?}: {variant}");
    variant.to_string()
}

const LEN: usize = 5000;

#[test]
fn the_fastest_is_used_kept_and_found_again() {
    for adapter in adapters() {
        let folder = Folder::new("fastest");
        let ways = [Way::Lanes, Way::Slow, Way::Plain];
        assert_eq!(taken(&open(&adapter), LEN, &ways), "slow", "{adapter}: the rule");
        let dev = tuned(&adapter, &folder, true);
        assert_eq!(taken(&dev, LEN, &ways), "plain", "{adapter}");
        let said = dev.explain();
        assert!(said.contains("not slow: measured") && said.contains("not lanes: needs"), "{said}");
        let kept = std::fs::read_to_string(folder.file()).unwrap();
        // What the file says is what counts, without another look.
        let other = kept.replace("\"variant\": \"plain\"", "\"variant\": \"slow\"");
        assert_ne!(other, kept);
        std::fs::write(folder.file(), &other).unwrap();
        for measure in [false, true] {
            let dev = tuned(&adapter, &folder, measure);
            assert_eq!(taken(&dev, LEN, &ways), "slow", "{adapter}");
            assert_eq!(std::fs::read_to_string(folder.file()).unwrap(), other, "{adapter}: nothing new");
        }
    }
}

#[test]
fn a_wrong_kernel_never_wins() {
    for adapter in adapters() {
        let folder = Folder::new("wrong");
        let ways = [Way::Wrong, Way::Invalid, Way::Slow];
        assert_eq!(taken(&open(&adapter), LEN, &ways), "wrong", "{adapter}: the rule");
        let dev = tuned(&adapter, &folder, true);
        assert_eq!(taken(&dev, LEN, &ways), "slow", "{adapter}");
        for bad in ["wrong", "invalid"] {
            let said = dev.explain();
            assert!(said.contains(&format!("not {bad}: failed, or did not agree")), "{said}");
        }
        // Nor can a file make it win.
        let kept = std::fs::read_to_string(folder.file()).unwrap();
        std::fs::write(folder.file(), kept.replace("\"variant\": \"slow\"", "\"variant\": \"wrong\""))
            .unwrap();
        assert_eq!(taken(&tuned(&adapter, &folder, true), LEN, &ways), "slow", "{adapter}");
    }
}

#[test]
fn a_kernel_that_is_wrong_on_the_real_size_alone_never_wins() {
    for adapter in adapters() {
        let folder = Folder::new("large");
        let ways = [Way::WrongWhenLarge, Way::Slow];
        assert_eq!(taken(&open(&adapter), 100_001, &ways), "wrong_when_large", "{adapter}: the rule");
        let dev = tuned(&adapter, &folder, true);
        assert_eq!(taken(&dev, 100_001, &ways), "slow", "{adapter}");
        assert!(dev.explain().contains("not wrong_when_large: failed, or did not"), "{}", dev.explain());
    }
}

#[test]
fn without_measuring_the_rule_stands_for_what_is_unknown() {
    for adapter in adapters() {
        let folder = Folder::new("unknown");
        let dev = tuned(&adapter, &folder, false);
        assert_eq!(taken(&dev, LEN, &[Way::Slow, Way::Plain]), "slow", "{adapter}");
        assert!(!folder.0.exists(), "{adapter}: nothing is written");
    }
}

#[test]
fn files_that_are_broken_or_outdated_are_ignored() {
    for adapter in adapters() {
        let folder = Folder::new("broken");
        let ways = [Way::Slow, Way::Plain];
        assert_eq!(taken(&tuned(&adapter, &folder, true), LEN, &ways), "plain", "{adapter}");
        let kept = std::fs::read_to_string(folder.file()).unwrap();
        let slow = kept.replace("\"variant\": \"plain\"", "\"variant\": \"slow\"");
        let shaders = kept.split("\"shaders\": \"").nth(1).unwrap().split('"').next().unwrap();
        let spoilt = [
            slow[..slow.len() / 2].to_string(),
            String::new(),
            "{\"format\": 99, \"adapters\": {}}".into(),
            // Other shaders, another adapter, other shapes.
            slow.replace(shaders, &shaders.chars().rev().collect::<String>()),
            slow.replace(&adapter.to_string(), "another adapter"),
            slow.replace(&format!("f32[{LEN}]"), "f32[7]"),
        ];
        for text in spoilt {
            assert_ne!(text, slow);
            std::fs::write(folder.file(), &text).unwrap();
            assert_eq!(taken(&tuned(&adapter, &folder, true), LEN, &ways), "plain", "{adapter}: {text}");
            let now = std::fs::read_to_string(folder.file()).unwrap();
            assert!(now.contains("\"variant\": \"plain\""), "{adapter}: written anew: {now}");
            // What belongs to others stays.
            assert_eq!(now.contains("another adapter"), text.contains("another adapter"));
        }
    }
}

/// Bits of three losses of a small network.
fn losses(dev: &Device) -> Vec<f32> {
    let params = Params::new(dev, 1);
    let fc = Linear::new(&params.root().at("fc"), 40, 10);
    let mut opt = Sgd::new(&params, SgdConfig { momentum: 0.9, ..Default::default() });
    let x = dev.tensor((0..800).map(|i| (i % 37) as f32 / 37.0).collect::<Vec<_>>(), [20, 40]);
    let y = dev.labels((0..20).map(|i| i % 10).collect::<Vec<_>>());
    let step = || -> Tensor { fc.forward(&x).tanh().dropout(0.3, 7).cross_entropy(&y) };
    (0..3)
        .map(|_| {
            let loss = step();
            opt.step(&loss.backward()).unwrap();
            loss.item().unwrap()
        })
        .collect()
}

#[test]
fn training_goes_on_as_before_and_the_same_file_gives_the_same_bits() {
    let reference = losses(&Device::cpu());
    for adapter in adapters() {
        let folder = Folder::new("training");
        let first = losses(&tuned(&adapter, &folder, true));
        assert!(first.iter().zip(&reference).all(|(a, b)| (a - b).abs() < 1e-5), "{adapter}: {first:?}");
        let kept = std::fs::read(folder.file()).unwrap();
        assert!(kept.len() > 1000, "{adapter}: every op with several kernels has an entry");
        for measure in [true, false] {
            let again = losses(&tuned(&adapter, &folder, measure));
            let bits = |v: &[f32]| v.iter().map(|x| x.to_bits()).collect::<Vec<_>>();
            assert_eq!(bits(&again), bits(&first), "{adapter}");
            assert_eq!(std::fs::read(folder.file()).unwrap(), kept, "{adapter}");
        }
    }
}

#[test]
fn the_reference_has_nothing_to_choose() {
    let folder = Folder::new("reference");
    let dev = Device::cpu();
    dev.tune(&TuneConfig { file: Some(folder.file()), measure: true }).unwrap();
    assert_eq!(dev.full(2.0, [3]).exp().to_vec().unwrap().len(), 3);
    assert!(!folder.file().exists());
}
