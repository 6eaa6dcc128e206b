//! What goes wrong comes back as a typed error: no panic, no hang, no wrong numbers.

use crate::adapters;
use recurve::kernel::{Access, Author, Bind, Candidate, Dispatch, Kernel, KernelRef, Misfit, Target};
use recurve::op::{Expected, GradIo, Io, Op, RefIo, Tolerance};
use recurve::ops::cross_entropy::CrossEntropyConfig;
use recurve::{Adam, AdamConfig, Clip, Device, Error, Init, Params, Pick, Sgd, SgdConfig, Spec, Tensor};
use std::borrow::Cow;
use std::process::Command;
use std::sync::Arc;

/// Set in the child process that finds no adapter.
const CHILD: &str = "RECURVE_TEST_WITHOUT_ADAPTERS";

#[test]
fn a_machine_without_adapters_says_so_and_falls_back() {
    if std::env::var_os(CHILD).is_some() {
        return without_adapters();
    }
    let output = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "faults::a_machine_without_adapters_says_so_and_falls_back", "--nocapture"])
        .env(CHILD, "1")
        .env("VK_ICD_FILENAMES", "/nonexistent")
        .env("VK_DRIVER_FILES", "/nonexistent")
        .env("WGPU_BACKEND", "vulkan")
        .env_remove(recurve::DEVICE_VARIABLE)
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&output.stdout) + String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success() && said.contains("1 passed"), "{said}");
}

fn without_adapters() {
    assert!(pollster::block_on(recurve::adapters()).is_empty());
    for pick in [Pick::Gpu, Pick::Software, Pick::Named("lavapipe".into())] {
        match Device::open_blocking(pick) {
            Err(Error::NoAdapter { advice, .. }) => {
                assert!(advice.contains("mesa-vulkan-drivers"), "{advice}")
            }
            other => panic!("{other:?}"),
        }
    }
    let device = Device::open_blocking(Pick::Best).unwrap();
    assert!(device.is_reference());
    assert_eq!(device.tensor([1.0, 2.0], [2]).add_scalar(1.0).to_vec().unwrap(), [2.0, 3.0]);
}

#[test]
fn an_unknown_pick_names_what_there_is() {
    let error = Device::open_blocking(Pick::Named("no such adapter".into())).unwrap_err();
    assert!(matches!(error, Error::NoAdapter { .. }), "{error}");
    assert!(error.to_string().contains("no adapter for \"no such adapter\": this machine offers"), "{error}");
}

#[test]
fn more_memory_than_the_host_has_is_an_error_of_the_reference_too() {
    let device = Device::cpu();
    let x = device.full(1.0, [1]);
    assert!(matches!(x.expand([1 << 52]).to_vec(), Err(Error::OutOfMemory { .. })));
    assert_eq!(x.to_vec().unwrap(), [1.0]);
}

#[test]
fn a_thread_may_end_with_work_pending() {
    // The thread's trace is the last to hold the uploaded values: they must not be destroyed with the thread's own
    // variables, which would abort the process.
    for adapter in adapters::all() {
        let work = move || {
            let device = adapters::open(&adapter);
            drop(device.full(1.0, [64]).add_scalar(1.0));
        };
        std::thread::spawn(work).join().unwrap();
    }
    assert_eq!(adapters::first().full(1.0, [2]).add_scalar(1.0).to_vec().unwrap(), [2.0; 2]);
}

#[test]
fn an_op_that_panics_does_not_take_the_device_with_it() {
    for device in adapters::engines() {
        let x = device.full(1.0, [4]);
        let y = Tensor::apply1(Bad { fault: Fault::Panic }, &[&x], &[]);
        let caught = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| y.to_vec()));
        assert!(caught.is_err());
        drop(y);
        assert_eq!(x.add_scalar(1.0).to_vec().unwrap(), [2.0; 4], "{}", device.name());
    }
}

#[test]
fn a_tensor_too_large_is_refused_by_name() {
    let device = adapters::first();
    let limit = device.target().unwrap().max_binding;
    let side = (limit as f64 / 4.0).sqrt() as usize + 64;
    let column = device.full(1.0, [side, 1]);
    // The operands are small; the product does not fit.
    let product = column.mul(&device.full(1.0, [1, side]));
    match product.sum(&[0, 1]).to_vec() {
        Err(Error::TensorTooLarge { spec, bytes, limit: l }) => {
            assert_eq!((spec, l), (Spec::f32([side, side]), limit));
            assert!(bytes > limit);
        }
        other => panic!("{:?}", other.map(|v| v.len())),
    }
    // The refusal harms nothing else.
    drop(product);
    assert_eq!(column.slice(&[0..1, 0..1]).to_vec().unwrap(), [1.0]);
}

#[test]
fn an_upload_too_large_is_refused_at_the_first_result() {
    let device = adapters::first();
    let limit = device.target().unwrap().max_binding;
    if limit > 1 << 30 {
        println!("SKIPPED: this adapter binds {limit} bytes, too many to upload here");
        return;
    }
    let n = limit as usize / 4 + 64;
    let x = device.tensor(vec![0.0f32; n], [n]);
    assert!(matches!(x.to_vec(), Err(Error::TensorTooLarge { .. })));
    let y = device.tensor([1.0, 2.0], [2]);
    assert_eq!(y.to_vec().unwrap(), [1.0, 2.0]);
}

#[test]
fn more_groups_than_a_dimension_holds_give_right_results() {
    // Two floats per byte of a row of groups: above 65,535 groups of 256 invocations with 4 elements each.
    let n = 65_535 * 256 * 4 / 16 + 4096;
    let device = adapters::first();
    let data: Vec<f32> = (0..n).map(|i| (i % 251) as f32).collect();
    let y = device.tensor(&data, [n]).add_scalar(1.0).to_vec().unwrap();
    assert!(y.iter().zip(&data).all(|(y, x)| *y == x + 1.0));
    // One group per row, as a kernel for rows would have it.
    let rows = 70_001;
    let x = device.tensor(&data[..rows * 3], [rows, 3]);
    let s = x.sum(&[1]).to_vec().unwrap();
    assert!(s.iter().zip(data.chunks(3)).all(|(s, r)| *s == r[0] + r[1] + r[2]));
}

#[test]
fn more_trips_than_a_driver_runs_give_right_results() {
    let device = adapters::first();
    let n = 1 << 20;
    assert_eq!(device.full(1.0, [n]).sum(&[0]).item().unwrap(), n as f32);
    let product = device.full(1.0, [1, 200_000]).matmul(&device.full(0.5, [200_000, 1]));
    assert_eq!(product.item().unwrap(), 100_000.0);
    assert_eq!(device.full(2.0, [3, 100_000]).mean(&[1]).to_vec().unwrap(), [2.0; 3]);
}

#[test]
fn labels_out_of_range_are_errors() {
    for device in adapters::engines() {
        let logits = device.full(0.5, [2, 3]);
        let negative = logits.cross_entropy(&device.labels([0, -1]));
        assert!(
            matches!(negative.item(), Err(Error::Label { label: -1, index: 1, .. })),
            "{}",
            device.name()
        );
        let ignored = logits.cross_entropy(&device.labels([0, -100]));
        assert!((ignored.item().unwrap() - 3f32.ln()).abs() < 1e-6);
        let large = logits.cross_entropy(&device.labels([0, 3]));
        let got = large.item();
        let named = matches!(got, Err(Error::Label { label: 3, index: 1, classes: 3 }));
        assert!(named, "{got:?} on {}", device.name());
        let shaped = device.indices(&[0, 3], [2, 1]).reshape([2]);
        assert!(matches!(logits.cross_entropy(&shaped).item(), Err(Error::Label { label: 3, .. })));
        let gradients = large.backward();
        assert!(matches!(gradients.check(), Err(Error::Label { .. })));
        // Labels that were computed are not known on the host: their loss is no number.
        let computed = device.labels([7, 0, 3]).narrow(0, 1, 2);
        assert!(logits.cross_entropy(&computed).item().unwrap().is_nan(), "{}", device.name());
        let weight = device.full(1.0, [3]);
        let weighted = CrossEntropyConfig { weight: Some(&weight), ..Default::default() };
        assert!(logits.cross_entropy_with(&computed, weighted).item().unwrap().is_nan(), "{}", device.name());
    }
}

#[test]
fn a_gradient_that_is_no_number_stays_visible_through_clipping() {
    for device in adapters::engines() {
        let params = Params::new(&device, 0);
        let w = params.root().param("w", [3], Init::Ones);
        let mut opt = Sgd::new(&params, SgdConfig { lr: 0.1, ..Default::default() });
        opt.set_clip(Some(Clip::Value { bound: 1.0 }));
        opt.step_with(|_| Some(device.tensor([f32::NAN, 5.0, -5.0], [3]))).unwrap();
        let got = w.tensor().to_vec().unwrap();
        assert!(got[0].is_nan() && (got[1] - 0.9).abs() < 1e-6 && (got[2] - 1.1).abs() < 1e-6, "{got:?}");
    }
}

#[test]
#[should_panic(expected = "gradients and parameters are on one device")]
fn gradients_of_another_device_are_refused() {
    let (one, other) = (Device::cpu(), Device::cpu());
    let loss_on = |device: &Device| {
        let params = Params::new(device, 0);
        let w = params.root().param("w", [1], Init::Ones);
        let loss = w.tensor().square().sum(&[0]);
        (params, loss)
    };
    let ((params, _), (_, foreign)) = (loss_on(&one), loss_on(&other));
    let _ = Sgd::new(&params, SgdConfig::default()).step(&foreign.backward());
}

#[test]
fn a_device_destroyed_in_mid_training_says_so_from_then_on() {
    let device = adapters::first();
    let params = Params::new(&device, 0);
    let w = params.root().param("w", [8, 8], Init::Ones);
    let mut opt = Adam::new(&params, AdamConfig::default());
    let x = device.full(0.1, [8, 8]);
    let mut step = || {
        let loss = x.matmul(&w.tensor()).sum(&[0, 1]);
        opt.step(&loss.backward())?;
        loss.item()
    };
    assert!(step().is_ok());
    device.destroy();
    let errors: Vec<Error> = (0..4).filter_map(|_| step().err()).collect();
    assert_eq!(errors.len(), 4, "a step on a destroyed device succeeded");
    for error in &errors[1..] {
        assert!(matches!(error, Error::DeviceLost { .. }), "{error}");
    }
    assert!(matches!(x.to_vec(), Err(Error::DeviceLost { .. })));
    assert!(matches!(device.tensor([1.0], [1]).to_vec(), Err(Error::DeviceLost { .. })));
    assert!(device.wait().is_err());
    // Another device is none the worse.
    assert_eq!(adapters::first().full(1.0, [2]).to_vec().unwrap(), [1.0, 1.0]);
}

/// What a call that must panic says.
fn panic_of(call: impl FnOnce() -> Tensor) -> String {
    let caught = std::panic::catch_unwind(std::panic::AssertUnwindSafe(call));
    caught.expect_err("a panic").downcast_ref::<String>().expect("a formatted text").clone()
}

#[test]
fn operands_of_two_devices_are_refused() {
    let (a, b) = (Device::cpu(), Device::cpu());
    let (x, y) = (a.full(1.0, [2]), b.full(1.0, [2]));
    let error = Tensor::try_apply(Bad::default(), &[&x, &y], &[]).unwrap_err();
    assert!(error.to_string().contains("one device"), "{error}");
    assert!(panic_of(|| x.add(&y)).contains("one device"));
}

#[test]
fn wrong_shapes_name_the_op_the_operands_and_the_line() {
    let device = Device::cpu();
    let (x, y) = (device.full(1.0, [2, 3]), device.full(1.0, [4, 5]));
    let line = line!() + 1;
    let text = panic_of(|| x.matmul(&y));
    for part in ["matmul", "[2, 3]", "[4, 5]", "faults.rs", &line.to_string()] {
        assert!(text.contains(part), "{text:?} does not say {part}");
    }
}

/// An op whose kernel is at fault.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
struct Bad {
    fault: Fault,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
enum Fault {
    #[default]
    Syntax,
    /// The text is fine, but binds another number of buffers than is said.
    Layout,
    /// An include that does not exist.
    Include,
    /// More loop trips than allowed.
    Trips,
    /// More groups than allowed.
    Groups,
    /// Reference and kernels panic.
    Panic,
}

impl Op for Bad {
    fn name(&self) -> &'static str {
        "bad"
    }

    fn outputs(&self, inputs: &[Spec]) -> Result<Vec<Spec>, Expected> {
        Ok(vec![inputs[0]])
    }

    fn reference(&self, io: &mut RefIo<'_>) {
        assert!(self.fault != Fault::Panic, "a fault of the op");
        io.outputs[0].data.fill(0.0);
    }

    fn grad(&self, g: &GradIo<'_>) -> Vec<Option<Tensor>> {
        vec![None; g.inputs.len()]
    }

    fn kernels(&self, _io: Io<'_>, _target: &Target) -> Vec<Candidate> {
        assert!(self.fault != Fault::Panic, "a fault of the op");
        let head = "struct Params { n: u32 }\n@group(0) @binding(0) var<uniform> p: Params;\n\
                    @group(0) @binding(1) var<storage, read_write> y: array<f32>;\n";
        let body = match self.fault {
            Fault::Syntax => "@compute @workgroup_size(1) fn main() { y[0] = ; }",
            Fault::Layout => {
                "@group(0) @binding(2) var<storage, read> x: array<f32>;\n\
                 @compute @workgroup_size(1) fn main() { y[0] = x[p.n]; }"
            }
            Fault::Include => {
                "//!include lib/none.wgsl\n@compute @workgroup_size(1) fn main() { y[0] = 1.0; }"
            }
            Fault::Trips | Fault::Groups | Fault::Panic => {
                "@compute @workgroup_size(1) fn main() { y[0] = f32(p.n); }"
            }
        };
        let kernel = Kernel {
            name: Cow::Borrowed("bad"),
            source: Cow::Owned(format!("{head}{body}")),
            params: Cow::Borrowed(&[("n", recurve::kernel::ParamType::U32)]),
            bindings: Cow::Borrowed(&[("y", Access::ReadWrite)]),
            author: Author::User,
        };
        let dispatch =
            Dispatch::new(KernelRef::Generated(Arc::new(kernel)), vec![0; 4]).bind(&[Bind::Output(0)]);
        let dispatch = match self.fault {
            Fault::Trips => dispatch.trips(65_536),
            Fault::Groups => dispatch.grid([70_000, 1, 1]),
            _ => dispatch,
        };
        vec![Candidate::new("direct").dispatch(dispatch)]
    }

    fn tolerance(&self, _io: Io<'_>, _output: usize) -> Tolerance {
        Tolerance::Exact
    }
}

#[test]
fn a_bad_shader_is_a_typed_error_and_harms_nothing_else() {
    for adapter in adapters::all() {
        let device = adapters::open(&adapter);
        let x = device.full(1.0, [4]);
        for fault in [Fault::Syntax, Fault::Layout, Fault::Include] {
            let y = Tensor::apply1(Bad { fault }, &[&x], &[]);
            match y.to_vec() {
                Err(Error::Shader { kernel, message }) => {
                    assert_eq!(kernel, "bad");
                    assert!(!message.is_empty());
                }
                other => panic!("{fault:?} on {}: {other:?}", device.name()),
            }
            drop(y);
            assert_eq!(x.add_scalar(1.0).to_vec().unwrap(), [2.0; 4], "{fault:?} on {}", device.name());
        }
    }
}

#[test]
fn bounds_are_checked_before_anything_is_dispatched() {
    let device = adapters::first();
    let x = device.full(1.0, [4]);
    let of = |fault| Tensor::apply1(Bad { fault }, &[&x], &[]).to_vec();
    let trips = of(Fault::Trips);
    assert!(
        matches!(trips, Err(Error::NoKernel { op: "bad", misfit: Misfit::Trips { .. }, .. })),
        "{trips:?}"
    );
    let groups = of(Fault::Groups);
    assert!(matches!(groups, Err(Error::NoKernel { misfit: Misfit::Groups { .. }, .. })), "{groups:?}");
    assert_eq!(x.to_vec().unwrap(), [1.0; 4]);
}
