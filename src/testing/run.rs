//! Runs one op by itself, with a kernel variant of the tester's choice.

use super::compare::result_name;
use super::{Mismatch, bounds, compare, describe, fill, run_reference, specs};
use crate::caller::Caller;
use crate::device::{Device, Once, Storage};
use crate::error::{Error, Result};
use crate::kernel::Target;
use crate::op::{Case, Scalar};
use crate::program::lower::Candidates;
use crate::program::{Held, Listed, Listing, Operand, Program};
use crate::shape::{ALIGN, DType, Shape, Spec};
use crate::tensor::Tensor;
use crate::trace;
use crate::variable::Variable;
use std::panic::Location;
use std::sync::Arc;
use std::time::Duration;

/// The word that [`Recording`](crate::gpu::Recording)s are filled with before a variant runs: a NaN, so that an
/// element which a kernel leaves out, or padding that it lets into its results, cannot go unseen.
pub(crate) const POISON: u32 = 0x7fc0_0000;

/// Names of the ways in which `device` can compute `case`: the kernel variants that fit it, best first. An op
/// without kernels of its own, and the CPU reference, have one.
///
/// # Panics
/// When the op's shape rule refuses the case.
pub fn variants(device: &Device, case: &Case) -> Vec<&'static str> {
    let (inputs, outputs) = specs(case);
    let Some(target) = device.target() else { return vec!["reference"] };
    let updated = case.op.updates().iter().map(|&i| &inputs[i]);
    if case.op.alias() {
        vec!["alias"]
    } else if case.op.places().is_some() {
        vec!["placed"]
    } else if outputs.iter().chain(updated).all(|s| s.elements() == 0) {
        vec!["empty"]
    } else {
        Candidates::of(&*case.op, &inputs, &outputs, target).fitting().map(|c| c.variant).collect()
    }
}

/// Runs `case` on `device` by the variant with index `variant` of [`variants`]. Returns the outputs, then the
/// inputs that the op updates. Memory that kernels read or write holds NaNs before.
///
/// # Errors
/// Whatever stopped the run; [`Error::NoKernel`] when there is no such variant.
///
/// # Panics
/// When a kernel wrote anything but zeros between the end of a result and the end of its padding.
pub fn run_variant(
    device: &Device,
    case: &Case,
    variant: usize,
    inputs: &[Vec<f64>],
) -> Result<Vec<Vec<f64>>> {
    let node = Node::new(device, case, inputs)?;
    let program = Program::forced(&node.listing, device.target(), variant)?;
    let held = device.run_once(&program, &node.leaves, &case.scalars)?;
    let (_, outputs) = specs(case);
    let mut results = Vec::new();
    for (spec, storage) in outputs.iter().zip(&held) {
        let padded = !case.op.alias() && !device.is_reference() && spec.elements() > 0;
        results.push(read(device, storage, *spec, padded)?);
    }
    for variable in &node.updated {
        let storage = device.chunk_storage(variable);
        results.push(read(device, &storage, variable.spec(), !device.is_reference())?);
    }
    Ok(results)
}

/// Runs every variant of `case` that fits `device` and compares it with the reference. Returns the names of the
/// variants that were run.
///
/// # Errors
/// [`VariantError`] names the device, the case, the variant, and the worst element.
pub fn check_variants(device: &Device, case: &Case, seed: u64) -> Result<Vec<&'static str>, VariantError> {
    let inputs = fill(case, seed);
    let want = run_reference(case, &inputs);
    let bounds = bounds(case, &inputs, &want);
    let names = variants(device, case);
    if names.is_empty() {
        return Err(VariantError::None { device: device.name(), case: describe(case) });
    }
    for (variant, name) in names.iter().enumerate() {
        let what = |k| {
            format!("{} of variant {name} of {} on {}", result_name(case, k), describe(case), device.name())
        };
        let got = run_variant(device, case, variant, &inputs)
            .map_err(|error| VariantError::Run { what: what(0), error })?;
        for (k, got) in got.iter().enumerate() {
            compare(&what(k), got, &want[k], &bounds[k], seed)?;
        }
    }
    Ok(names)
}

/// Why a variant of an op failed.
#[derive(Clone, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum VariantError {
    /// No variant fits: the base variant must.
    #[error("no variant of {case} fits {device}")]
    None {
        /// The device.
        device: String,
        /// The case.
        case: String,
    },
    /// It did not run.
    #[error("{what}: {error}")]
    Run {
        /// The variant.
        what: String,
        /// The device's error.
        error: Error,
    },
    /// Its values are not the reference's.
    #[error(transparent)]
    Mismatch(#[from] Box<Mismatch>),
}

/// From now on `device` runs every op by itself as soon as it is called, without fusion: what planned programs are
/// compared with.
pub fn execute_node_by_node(device: &Device) {
    device.run_node_by_node();
}

/// The program that ran last on `device`, planned for another target: `None` is the CPU engine. One line a step;
/// [`explanation_for`] has the reasons too.
///
/// # Errors
/// [`Error::NoKernel`] and [`Error::TensorTooLarge`] as planning finds them.
pub fn explain_for(device: &Device, target: Option<&Target>) -> Result<String> {
    let listing = device.last_listing().unwrap_or_default();
    Ok(Program::plan(&listing, target)?.to_string())
}

/// What [`Device::explain`] says of the program that ran last on `device`, planned for another target.
///
/// # Errors
/// As [`explain_for`].
pub fn explanation_for(device: &Device, target: Option<&Target>) -> Result<String> {
    let listing = device.last_listing().unwrap_or_default();
    Ok(Program::plan(&listing, target)?.explanation().to_string())
}

/// A variable in an arena chunk of its own, for ops that update an input in place.
///
/// # Errors
/// The device's failure.
///
/// # Panics
/// When the number of values is not the number of elements.
pub fn variable(device: &Device, values: &[f32], shape: impl Into<Shape>) -> Result<Arc<Variable>> {
    let shape = shape.into();
    let bytes = Spec::f32(shape).padded_bytes().max(ALIGN);
    let chunk = device.new_chunk(bytes, "tested")?;
    let variable = Variable::new(device, &chunk, 0, shape, "tested", false);
    assert_eq!(values.len(), shape.elements(), "values for a variable of shape {shape}");
    // Nobody has read it yet, so nothing that is pending need run before.
    device.write_chunk(&chunk, 0, values)?;
    Ok(variable)
}

/// One op on inputs that lie on a device, to be timed by any of its variants.
pub(crate) struct Stopwatch {
    device: Device,
    node: Node,
    scalars: Vec<Scalar>,
}

impl Stopwatch {
    /// Brings the inputs to the device.
    pub fn new(device: &Device, case: &Case, inputs: &[Vec<f64>]) -> Result<Self> {
        let node = Node::new(device, case, inputs)?;
        Ok(Stopwatch { device: device.clone(), node, scalars: case.scalars.clone() })
    }

    /// The variant with index `variant` of [`variants`].
    pub fn ready(&self, variant: usize) -> Result<Once> {
        let program = Program::forced(&self.node.listing, self.device.target(), variant)?;
        self.device.ready_once(program)
    }

    /// How long the variant's kernels take, this time.
    pub fn time(&self, variant: &Once) -> Result<Duration> {
        self.device.time_once(variant, &self.node.leaves, &self.scalars)
    }
}

/// A program of one node, with what it runs on.
struct Node {
    listing: Listing,
    leaves: Vec<Storage>,
    updated: Vec<Arc<Variable>>,
}

impl Node {
    fn new(device: &Device, case: &Case, inputs: &[Vec<f64>]) -> Result<Node> {
        let (input_specs, outputs) = specs(case);
        let mut node = Node { listing: Listing::default(), leaves: Vec::new(), updated: Vec::new() };
        let mut operands = Vec::new();
        for (i, (spec, data)) in input_specs.iter().zip(inputs).enumerate() {
            if case.op.updates().contains(&i) {
                let values: Vec<f32> = data.iter().map(|&v| v as f32).collect();
                let variable = variable(device, &values, spec.shape)?;
                operands.push(Operand::Variable(variable.site().clone()));
                node.updated.push(variable);
            } else {
                let tensor = match spec.dtype {
                    DType::F32 => device.tensor_f64(data, spec.shape),
                    DType::U32 => upload_indices(device, data, spec.shape),
                };
                operands.push(Operand::Leaf(node.leaves.len()));
                node.leaves.push(trace::materialise(&tensor)?);
                node.listing.leaves.push(*spec);
            }
        }
        node.listing.held = (0..outputs.len()).map(|output| Held { node: 0, output }).collect();
        node.listing.nodes.push(Listed {
            op: case.op.clone(),
            inputs: operands,
            outputs,
            scalars: case.scalars.len(),
            again: 0,
            caller: Caller::forward(Location::caller()),
        });
        Ok(node)
    }
}

/// Uploads u32 values given as f64, ignore marks among them.
pub(super) fn upload_indices(device: &Device, data: &[f64], shape: Shape) -> Tensor {
    let label = |v: &f64| if *v == f64::from(u32::MAX) { -100 } else { *v as i64 };
    device.indices(&data.iter().map(label).collect::<Vec<_>>(), shape)
}

/// Reads a value; with its padding, checks that nothing but zeros was written there.
fn read(device: &Device, storage: &Storage, spec: Spec, padded: bool) -> Result<Vec<f64>> {
    let read = |spec| pollster::block_on(device.read(storage, spec));
    if !padded {
        return read(spec);
    }
    let words = spec.padded_bytes() as usize / 4;
    let mut values = read(Spec { shape: Shape::new(&[words]), dtype: spec.dtype })?;
    let untouched = |v: f64| v == 0.0 || v.is_nan() || v == f64::from(POISON);
    if let Some(at) = values[spec.elements()..].iter().position(|&v| !untouched(v)) {
        let value = values[spec.elements() + at];
        panic!("a kernel wrote {value:e} behind the end of {spec}, {at} words into its padding");
    }
    values.truncate(spec.elements());
    Ok(values)
}
