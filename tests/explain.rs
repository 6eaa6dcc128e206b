//! What `explain` says, for WebGPU's default limits and for the CPU engine: the same on every machine.

mod support;

use recurve::kernel::Target;
use recurve::testing::explanation_for;
use recurve::{Device, Init, Params, Sgd, SgdConfig};
use std::path::Path;
use support::scale::{Way, scale};

/// A step of which the program's every kind of line is part.
fn step(dev: &Device) {
    let params = Params::new(dev, 0);
    let w = params.root().param("w", [300], Init::Constant(0.5));
    let mut opt = Sgd::new(&params, SgdConfig { momentum: 0.9, ..Default::default() });
    let x = dev.full(1.0, [300]);
    let h = scale(&x.mul(&w.tensor()), 2.0, &[Way::Lanes, Way::Twice, Way::Memory, Way::Plain, Way::Plain]);
    let y = scale(&h.mul_scalar(3.0).tanh(), 0.1, &[Way::Plain]);
    opt.step(&y.backward_with(&x)).unwrap();
}

#[test]
fn programs_explain_themselves() {
    let dev = Device::cpu();
    assert_eq!(dev.explain(), "no program has run yet\n");
    step(&dev);
    let cpu = explanation_for(&dev, None).unwrap();
    assert_eq!(dev.explain(), cpu);
    snapshot("explain.cpu", &cpu);
    snapshot("explain.webgpu", &explanation_for(&dev, Some(&Target::WEBGPU_DEFAULT)).unwrap());
    let narrow = Target { max_groups: 4, ..Target::WEBGPU_DEFAULT };
    let narrow = explanation_for(&dev, Some(&narrow)).unwrap_err().to_string();
    assert!(narrow.contains("[5, 1, 1] workgroups are more than 4 along one dimension"), "{narrow}");
}

#[test]
fn a_gpu_adds_what_its_memory_holds() {
    for entry in pollster::block_on(recurve::adapters()) {
        let dev = pollster::block_on(Device::open_adapter(&entry)).unwrap();
        step(&dev);
        let said = dev.explain();
        let planned = explanation_for(&dev, dev.target()).unwrap();
        assert!(said.starts_with(&planned), "{said}");
        assert_eq!(said[planned.len()..].trim_start(), dev.memory().to_string());
    }
}

/// Compares with tests/snapshots; `RECURVE_BLESS=1` writes them instead.
fn snapshot(name: &str, text: &str) {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("tests/snapshots/{name}.txt"));
    if std::env::var_os("RECURVE_BLESS").is_some() {
        std::fs::write(&path, text).unwrap();
        return;
    }
    let kept = std::fs::read_to_string(&path).unwrap_or_else(|e| panic!("{}: {e}", path.display()));
    let line = kept.lines().zip(text.lines()).position(|(k, t)| k != t);
    assert!(
        kept == text,
        "{name} has changed, first in line {line:?}. If it is meant to, run the test with RECURVE_BLESS=1 and look at \
         the difference.\n{text}"
    );
}
