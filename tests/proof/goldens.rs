//! Results and gradients that PyTorch computed in f64, on the CPU reference and on every adapter.
//!
//! `RECURVE_GOLDENS` names another folder of the same form. Tolerances are the manifest's:
//! `20 * f32_err + 1e-6 * max_abs` for each tensor.

mod convolutions;
mod layers;
mod pooling;
mod recurrent;
mod residual;

use crate::adapters;
use crate::optim_cases;
use crate::schedules::{goldens, schedule_of};
use recurve::testing::compare;
use recurve::{Device, Params, Result, Tensor};
use safetensors::{Dtype, SafeTensors};
use serde_json::Value;
use std::cell::RefCell;
use std::collections::{BTreeMap, HashMap};
use std::path::Path;

/// A stored tensor; integers are held exactly.
struct Stored {
    shape: Vec<usize>,
    data: Vec<f64>,
    integers: bool,
}

/// A case with its tensors.
struct Golden {
    name: String,
    op: String,
    attrs: Value,
    wrt: Vec<String>,
    dyof: Vec<String>,
    entry: Value,
    bytes: Vec<u8>,
    tensors: HashMap<String, Stored>,
}

/// What a case came to: tensors by name.
type Computed = Vec<(String, Vec<f64>)>;

fn names(list: &Value) -> Vec<String> {
    list.as_array().unwrap().iter().map(|n| n.as_str().unwrap().to_string()).collect()
}

fn load(folder: &Path, entry: &Value) -> Golden {
    let bytes = std::fs::read(folder.join(entry["file"].as_str().unwrap())).unwrap();
    let file = SafeTensors::deserialize(&bytes).unwrap();
    let tensors = file.iter().map(|(name, view)| {
        let raw = view.data();
        let data = match view.dtype() {
            Dtype::F32 => bytemuck::pod_collect_to_vec::<u8, f32>(raw).into_iter().map(f64::from).collect(),
            Dtype::I64 => {
                bytemuck::pod_collect_to_vec::<u8, i64>(raw).into_iter().map(|v| v as f64).collect()
            }
            other => panic!("{name} is of type {other:?}"),
        };
        let integers = view.dtype() == Dtype::I64;
        (name.to_string(), Stored { shape: view.shape().to_vec(), data, integers })
    });
    let tensors = tensors.collect();
    Golden {
        name: entry["name"].as_str().unwrap().into(),
        op: entry["op"].as_str().unwrap().into(),
        attrs: entry["attrs"].clone(),
        wrt: names(&entry["wrt"]),
        dyof: names(&entry["dyof"]),
        entry: entry.clone(),
        bytes,
        tensors,
    }
}

impl Golden {
    fn file(&self) -> SafeTensors<'_> {
        SafeTensors::deserialize(&self.bytes).expect("it was read before")
    }

    fn number(&self, name: &str) -> f64 {
        self.attrs[name].as_f64().unwrap_or_else(|| panic!("{}: no number {name}", self.name))
    }

    fn count(&self, name: &str) -> usize {
        self.attrs[name].as_u64().unwrap_or_else(|| panic!("{}: no count {name}", self.name)) as usize
    }

    fn flag(&self, name: &str) -> bool {
        self.attrs[name].as_bool().unwrap_or_else(|| panic!("{}: no flag {name}", self.name))
    }

    fn counts<const N: usize>(&self, name: &str) -> [usize; N] {
        let list = self.attrs[name].as_array().unwrap_or_else(|| panic!("{}: no list {name}", self.name));
        std::array::from_fn(|i| list[i].as_u64().unwrap() as usize)
    }

    /// Compares everything that the manifest calls an output or a gradient.
    fn check(&self, device: &str, computed: &Computed) -> Result<(), String> {
        for (name, about) in self.entry["tensors"].as_object().unwrap() {
            if !matches!(about["role"].as_str(), Some("output" | "grad")) {
                continue;
            }
            let what = format!("{} {name} on {device}", self.name);
            let (_, got) =
                computed.iter().find(|(n, _)| n == name).ok_or(format!("{what} was not computed"))?;
            let want = &self.tensors[name].data;
            let number = |key: &str| about.get(key).map_or(0.0, |v| v.as_f64().unwrap());
            let bound = 20.0 * number("f32_err") + 1e-6 * number("max_abs");
            if got.len() != want.len() {
                return Err(format!("{what}: {} elements instead of {}", got.len(), want.len()));
            }
            compare(&what, got, want, &vec![bound; want.len()], 0).map_err(|e| e.to_string())?;
        }
        Ok(())
    }
}

/// A case on a device: uploads on demand, reads back under the manifest's names.
struct Stage<'a> {
    device: &'a Device,
    golden: &'a Golden,
    leaves: RefCell<BTreeMap<String, Tensor>>,
}

impl<'a> Stage<'a> {
    fn new(device: &'a Device, golden: &'a Golden) -> Self {
        Stage { device, golden, leaves: RefCell::default() }
    }

    fn has(&self, name: &str) -> bool {
        self.golden.tensors.contains_key(name)
    }

    fn values(&self, name: &str) -> Vec<f32> {
        self.stored(name).data.iter().map(|&v| v as f32).collect()
    }

    fn stored(&self, name: &str) -> &'a Stored {
        self.golden.tensors.get(name).unwrap_or_else(|| panic!("{}: no tensor {name}", self.golden.name))
    }

    /// The tensor `name`; those that gradients are asked of are marked.
    fn input(&self, name: &str) -> Tensor {
        if let Some(leaf) = self.leaves.borrow().get(name) {
            return leaf.clone();
        }
        let stored = self.stored(name);
        let leaf = match stored.integers {
            true => self.labels(name, -100),
            false => self.device.tensor(self.values(name), &stored.shape[..]),
        };
        let leaf = if self.golden.wrt.iter().any(|n| n == name) { leaf.requires_grad() } else { leaf };
        self.leaves.borrow_mut().insert(name.into(), leaf.clone());
        leaf
    }

    /// Gives parameters and buffers the values of the case's tensors of the same names, and takes parameters for those.
    fn load(&self, params: &Params) -> Result<()> {
        for param in params.named() {
            param.set(&self.values(param.name()))?;
            if param.trainable() {
                self.leaves.borrow_mut().insert(param.name().into(), param.tensor());
            }
        }
        Ok(())
    }

    /// Labels, with `ignored` as the ignore mark.
    fn labels(&self, name: &str, ignored: i64) -> Tensor {
        let stored = self.stored(name);
        let labels: Vec<i64> = stored.data.iter().map(|&v| v as i64).collect();
        self.device.labels_ignoring(&labels, &stored.shape[..], ignored)
    }

    /// Reads the outputs and, through the upstream gradients of those that have one, the gradients.
    fn finish(&self, outputs: &[(&str, &Tensor)]) -> Result<Computed> {
        let mut computed = Computed::new();
        for (name, tensor) in outputs {
            computed.push((name.to_string(), tensor.to_vec_f64()?));
        }
        if self.golden.dyof.is_empty() {
            return Ok(computed);
        }
        let flat = |t: &Tensor| t.reshape([t.shape().elements()]);
        let output = |name: &String| {
            let found = outputs.iter().find(|(n, _)| n == name);
            flat(found.unwrap_or_else(|| panic!("{}: {name} has a gradient", self.golden.name)).1)
        };
        let joined = |parts: Vec<Tensor>| match &parts[..] {
            [only] => only.clone(),
            several => Tensor::concat(&several.iter().collect::<Vec<_>>(), 0),
        };
        let upstream = |name: &String| flat(&self.input(&format!("dy.{name}")));
        let dy = joined(self.golden.dyof.iter().map(upstream).collect());
        let gradients = joined(self.golden.dyof.iter().map(output).collect()).backward_with(&dy);
        gradients.check()?;
        for name in &self.golden.wrt {
            let leaf = self.input(name);
            let gradient = gradients.wrt(&leaf);
            let values = gradient.map_or(Ok(vec![0.0; leaf.shape().elements()]), |g| g.to_vec_f64())?;
            computed.push((format!("grad.{name}"), values));
        }
        Ok(computed)
    }
}

fn widen(outputs: optim_cases::Outputs) -> Computed {
    outputs.into_iter().map(|(name, data)| (name, data.into_iter().map(f64::from).collect())).collect()
}

/// Computes a case, or `None` when Recurve has no such op yet.
fn compute(device: &Device, golden: &Golden) -> Option<Result<Computed>> {
    let stage = Stage::new(device, golden);
    Some(match golden.op.as_str() {
        "conv1d" => convolutions::conv1d(&stage),
        "conv2d" => convolutions::conv2d(&stage),
        "conv_transpose1d" => convolutions::conv_transpose1d(&stage),
        "conv_transpose2d" => convolutions::conv_transpose2d(&stage),
        "linear" => layers::linear(&stage),
        "max_pool1d" => pooling::max_pool1d(&stage),
        "max_pool2d" => pooling::max_pool2d(&stage),
        "avg_pool1d" => pooling::avg_pool1d(&stage),
        "avg_pool2d" => pooling::avg_pool2d(&stage),
        "adaptive_avg_pool1d" => pooling::adaptive_avg_pool1d(&stage),
        "adaptive_avg_pool2d" => pooling::adaptive_avg_pool2d(&stage),
        "batch_norm" => layers::batch_norm(&stage),
        "layer_norm" | "group_norm" => layers::row_norm(&stage),
        "embedding" => layers::embedding(&stage),
        "softmax" | "log_softmax" => layers::softmax(&stage),
        "cross_entropy" => layers::cross_entropy(&stage),
        "residual_block" => residual::block(&stage),
        "resnet" => residual::network(&stage),
        "train_loop" if golden.attrs["model"] == "cnn" => layers::train_cnn(&stage),
        "train_loop" => recurrent::train_characters(&stage),
        "rnn" | "lstm" | "gru" | "gru_reset_before" => recurrent::sequence(&stage),
        "optimizer" => Ok(widen(optim_cases::optimizer(device, &golden.attrs, &golden.file()))),
        "clip_grad" => Ok(widen(optim_cases::clip_grad(device, &golden.attrs, &golden.file()))),
        "lr_schedule" => {
            let schedule = schedule_of(&golden.attrs);
            let steps = golden.count("steps") as u64;
            Ok(vec![("lr".into(), (0..steps).map(|s| schedule.at(s)).collect())])
        }
        _ => return None,
    })
}

#[derive(Default)]
struct Tally {
    passed: usize,
    failed: usize,
    missing: usize,
}

fn run_all(device: &Device, cases: &[Golden]) -> Tally {
    let mut by_op: BTreeMap<&str, Tally> = BTreeMap::new();
    for golden in cases {
        let tally = by_op.entry(&golden.op).or_default();
        let outcome = compute(device, golden).map(|computed| {
            let computed = computed.map_err(|e| format!("{}: {e}", golden.name))?;
            golden.check(&device.name(), &computed)
        });
        match outcome {
            None => tally.missing += 1,
            Some(Ok(())) => tally.passed += 1,
            Some(Err(failure)) => {
                tally.failed += 1;
                println!("FAILED {failure}");
            }
        }
    }
    let mut total = Tally::default();
    println!("golden cases on {}: passed, failed, not supported yet", device.name());
    for (op, tally) in by_op {
        println!("  {op:24} {:4} {:4} {:4}", tally.passed, tally.failed, tally.missing);
        total.passed += tally.passed;
        total.failed += tally.failed;
        total.missing += tally.missing;
    }
    println!("  {:24} {:4} {:4} {:4}", "all", total.passed, total.failed, total.missing);
    total
}

fn all_cases() -> Vec<Golden> {
    let folder = goldens();
    let text = std::fs::read_to_string(folder.join("manifest.json"));
    let text = text.unwrap_or_else(|e| panic!("no golden cases in {}: {e}", folder.display()));
    let manifest: Value = serde_json::from_str(&text).unwrap();
    let cases = manifest["cases"].as_array().unwrap().iter().map(|entry| load(&folder, entry));
    cases.filter(|golden| crate::selected(&golden.op)).collect()
}

/// How many cases of the repository's own folder must pass: a case must not become "not supported" unnoticed.
fn expected() -> usize {
    let set = |name: &str| std::env::var_os(name).is_some();
    match () {
        _ if set("RECURVE_TEST_OPS") => 0,
        _ if set("RECURVE_GOLDENS") => 1,
        _ => 216,
    }
}

#[test]
fn the_reference_agrees_with_pytorch() {
    let cases = all_cases();
    let total = run_all(&Device::cpu(), &cases);
    assert!(total.passed >= expected() && total.failed == 0, "{} golden cases fail, see above", total.failed);
}

#[test]
fn every_adapter_agrees_with_pytorch() {
    let cases = all_cases();
    let mut failed = 0;
    for adapter in adapters::all() {
        let total = run_all(&adapters::open(&adapter), &cases);
        assert!(total.passed >= expected(), "only {} golden cases are computed", total.passed);
        failed += total.failed;
    }
    assert_eq!(failed, 0, "{failed} golden cases fail, see above");
}

#[test]
fn a_wrong_value_fails() {
    let cases = all_cases();
    let Some(golden) = cases.iter().find(|g| g.op == "lr_schedule") else {
        return assert!(!crate::selected("lr_schedule"), "no case of lr_schedule");
    };
    let mut computed = compute(&Device::cpu(), golden).unwrap().unwrap();
    assert_eq!(golden.check("the host", &computed), Ok(()));
    computed[0].1[3] *= 1.001;
    assert!(golden.check("the host", &computed).is_err());
    assert!(golden.check("the host", &Vec::new()).is_err());
}
