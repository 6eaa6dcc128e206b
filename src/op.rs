//! What an op is: plain data with a shape rule, a reference, a gradient, kernels and test cases.

use crate::kernel::{Candidate, Target};
use crate::pointwise::Pointwise;
use crate::shape::{Shape, Spec};
use crate::tensor::Tensor;
use std::any::Any;
use std::fmt::Debug;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::Arc;

/// A host number that goes into a program anew at every run: learning rates, `eps`, slopes, seeds.
/// Ops have no float fields, so a schedule never makes a new plan.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Scalar {
    /// Reaches kernels as f32, references as f64.
    F(f64),
    /// Reaches both as u32.
    U(u32),
}

impl Scalar {
    /// The value as a reference sees it.
    pub fn value(self) -> f64 {
        match self {
            Scalar::F(v) => v,
            Scalar::U(v) => v as f64,
        }
    }

    /// The four bytes that a kernel sees.
    pub fn bytes(self) -> [u8; 4] {
        match self {
            Scalar::F(v) => (v as f32).to_le_bytes(),
            Scalar::U(v) => v.to_le_bytes(),
        }
    }
}

impl From<f64> for Scalar {
    fn from(v: f64) -> Self {
        Scalar::F(v)
    }
}

impl From<u32> for Scalar {
    fn from(v: u32) -> Self {
        Scalar::U(v)
    }
}

/// What an op expected of its operands and did not get. The op's name, the operands' shapes and the caller's line
/// are added where the op was called.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Expected(pub String);

/// Shorthand for a failed shape rule: `return expected("two operands of equal rank")`.
pub fn expected<T>(what: impl Into<String>) -> Result<T, Expected> {
    Err(Expected(what.into()))
}

/// Operands and results of an op, by shape.
#[derive(Clone, Copy, Debug)]
pub struct Io<'a> {
    /// Inputs.
    pub inputs: &'a [Spec],
    /// Outputs.
    pub outputs: &'a [Spec],
}

impl Io<'_> {
    /// Bytes of everything read and written once.
    pub fn bytes(&self) -> u64 {
        self.inputs.iter().chain(self.outputs).map(Spec::bytes).sum()
    }
}

/// A tensor that a reference reads. Unsigned integers are held exactly in f64.
#[derive(Clone, Copy, Debug)]
pub struct View<'a> {
    /// Sizes of the axes.
    pub shape: Shape,
    /// Row-major elements.
    pub data: &'a [f64],
}

/// A tensor that a reference writes.
#[derive(Debug)]
pub struct ViewMut<'a> {
    /// Sizes of the axes.
    pub shape: Shape,
    /// Row-major elements; their values before the call are unspecified, except for inputs updated in place.
    pub data: &'a mut [f64],
}

/// What a reference works on.
#[derive(Debug)]
pub struct RefIo<'a> {
    /// Inputs. One that the op updates in place has no data here; it stands in `updated`.
    pub inputs: Vec<View<'a>>,
    /// Outputs, all to be written in full.
    pub outputs: Vec<ViewMut<'a>>,
    /// The inputs that the op updates in place, in the order of [`Op::updates`].
    pub updated: Vec<ViewMut<'a>>,
    /// The op's scalars.
    pub scalars: Vec<f64>,
}

/// What a gradient rule works on: the op's operands and results as tensors, so the rule appends more nodes.
#[derive(Debug)]
pub struct GradIo<'a> {
    /// Inputs.
    pub inputs: &'a [Tensor],
    /// Outputs.
    pub outputs: &'a [Tensor],
    /// Gradients of the loss with respect to the outputs; `None` where none flows.
    pub dy: &'a [Option<Tensor>],
    /// The op's scalars.
    pub scalars: &'a [Scalar],
    /// Which inputs' gradients are wanted; others may be skipped.
    pub wants: &'a [bool],
}

/// How exact a kernel must be, against the f64 reference.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Tolerance {
    /// Equal bits.
    Exact,
    /// Units in the last place.
    Ulp(f64),
    /// Units in the last place, or an absolute difference.
    UlpOrAbsolute(f64, f64),
    /// `inner·2^-24·Σ|a||b|`: the sum is the reference's result on absolute inputs.
    Product {
        /// Length of the inner sum.
        inner: usize,
    },
    /// `(log2 n + 8)·2^-24·Σ|x|`: the sum is the reference's result on absolute inputs.
    Sum {
        /// Number of summands.
        n: usize,
    },
    /// A multiple of the largest absolute value of the output.
    OfMax(f64),
    /// An absolute difference.
    Absolute(f64),
}

/// Arithmetic and traffic of one execution.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Cost {
    /// Floating-point operations.
    pub flops: u64,
    /// Bytes read and written, each tensor once.
    pub bytes: u64,
}

/// An element-wise function that a product or a convolution can apply to its result. The number is the value of the
/// kernels' constant `ACTIVATION`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Activation {
    /// The identity.
    #[default]
    None = 0,
    /// max(x, 0)
    Relu = 1,
    /// 1 / (1 + exp(-x))
    Sigmoid = 2,
    /// tanh(x)
    Tanh = 3,
}

impl Activation {
    /// The function's value, for references.
    pub fn apply(self, x: f64) -> f64 {
        match self {
            Activation::None => x,
            Activation::Relu => x.max(0.0),
            Activation::Sigmoid => crate::pointwise::sigmoid(x),
            Activation::Tanh => x.tanh(),
        }
    }
}

/// An element-wise op that follows another and could be joined to it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Follow {
    /// Adds a vector along `axis` of the result. The vector becomes the joined op's last input, in shape `[n]`
    /// or with axes of size 1 around it.
    AddVector {
        /// The axis that the vector runs along.
        axis: usize,
    },
    /// Applies a function to each element.
    Activate(Activation),
}

/// How to fold what scales and shifts channels into an op: see [`Op::fold`].
#[derive(Clone, Debug)]
pub struct Fold {
    /// The op with input 2, a vector that is added to the channels.
    pub op: Arc<dyn Op>,
    /// A view of a vector of channels as one axis.
    pub vector: Arc<dyn Op>,
    /// A view of such an axis along the rows of input 1.
    pub rows: Arc<dyn Op>,
}

/// Something that can be computed: plain data (`Clone + Debug + Eq + Hash`, no float fields).
///
/// Implementors derive `Eq` and `Hash`; equal ops on equal shapes are the same program step. The same trait is the
/// door for ops of your own: see `examples/custom_op.rs`.
pub trait Op: OpIdentity + Debug + Send + Sync {
    /// The op's name: its method, file, shader folder and profiler row.
    fn name(&self) -> &'static str;

    /// The shape rule: specs of the outputs, or what was expected of the inputs.
    fn outputs(&self, inputs: &[Spec]) -> Result<Vec<Spec>, Expected>;

    /// The definition: naive loops in f64.
    fn reference(&self, io: &mut RefIo<'_>);

    /// Gradients with respect to each input, in terms of ops. An op whose results do not depend smoothly on its
    /// inputs returns `None` for each.
    fn grad(&self, io: &GradIo<'_>) -> Vec<Option<Tensor>>;

    /// Ways to compute the op on `target`, best first; the last one is the base variant. Those that do not fit are
    /// skipped. Not called when no output (and no updated input) has an element. An op that is an [`alias`](Op::alias)
    /// or [`pointwise`](Op::pointwise) needs none.
    fn kernels(&self, io: Io<'_>, target: &Target) -> Vec<Candidate>;

    /// Inputs that the op updates in place: parameters, running statistics, optimiser state.
    fn updates(&self) -> &[usize] {
        &[]
    }

    /// Set when the output is input 0's data under another shape.
    fn alias(&self) -> bool {
        false
    }

    /// The op as an element-wise expression, if it is one.
    fn pointwise(&self) -> Option<&Pointwise> {
        None
    }

    /// The op that computes this one and then `follow` on output 0, if there is one.
    fn absorb(&self, inputs: &[Spec], follow: Follow) -> Option<Arc<dyn Op>> {
        let _ = (inputs, follow);
        None
    }

    /// For an op that is linear in input 1, row `k` of which makes channel `k` (axis 1) of the result, to which input 2, if
    /// there is one, is added: how to fold what scales and shifts channels into both.
    fn fold(&self, inputs: &[Spec]) -> Option<Fold> {
        let _ = inputs;
        None
    }

    /// The op that computes `chain`, of inputs `inputs`, and then this one on its only result, if there is one.
    fn draw_in(&self, chain: &Pointwise, inputs: &[Spec]) -> Option<Arc<dyn Op>> {
        let _ = (chain, inputs);
        None
    }

    /// Byte offsets in updated input 0 at which the further inputs are to lie. A planner that can lets their
    /// producers write there, and then runs nothing for this op.
    fn places(&self) -> Option<&[u64]> {
        None
    }

    /// How exact kernels must be for output `output` (updated inputs count on behind the outputs).
    fn tolerance(&self, io: Io<'_>, output: usize) -> Tolerance;

    /// Arithmetic and traffic.
    fn cost(&self, io: Io<'_>) -> Cost {
        Cost { flops: 0, bytes: io.bytes() }
    }
}

/// Equality and hash of ops behind `dyn`; implemented for every op that has them.
pub trait OpIdentity: Any {
    /// Whether `other` is the same type with equal fields.
    fn same(&self, other: &dyn Op) -> bool;
    /// A hash of type and fields.
    fn fingerprint(&self) -> u64;
    /// For comparing types.
    fn as_any(&self) -> &dyn Any;
    /// A shared copy.
    fn share(&self) -> Arc<dyn Op>;
}

impl<T: Op + Clone + Eq + Hash> OpIdentity for T {
    fn same(&self, other: &dyn Op) -> bool {
        OpIdentity::as_any(other).downcast_ref::<T>() == Some(self)
    }

    fn fingerprint(&self) -> u64 {
        let mut h = DefaultHasher::new();
        std::any::TypeId::of::<T>().hash(&mut h);
        self.hash(&mut h);
        h.finish()
    }

    fn as_any(&self) -> &dyn Any {
        self
    }

    fn share(&self) -> Arc<dyn Op> {
        Arc::new(self.clone())
    }
}

/// How test inputs are filled.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Fill {
    /// Normal distribution.
    Normal {
        /// Mean.
        mean: f64,
        /// Standard deviation.
        std: f64,
    },
    /// Uniform distribution.
    Uniform {
        /// Lower bound.
        low: f64,
        /// Upper bound.
        high: f64,
    },
    /// All values differ by at least 0.01, in random order: for maxima, whose gradient jumps at ties.
    Distinct,
    /// Few different values: for ties.
    Ties,
    /// Integers below a bound, as u32.
    Index {
        /// The bound.
        below: u32,
    },
}

/// A test case of an op; conformance tests, gradient checks, shader checks and benchmarks go through all of them.
#[derive(Clone, Debug)]
pub struct Case {
    /// The op.
    pub op: Arc<dyn Op>,
    /// Inputs and how they are filled.
    pub inputs: Vec<(Spec, Fill)>,
    /// Scalars.
    pub scalars: Vec<Scalar>,
    /// Whether the gradient is compared with finite differences (needs a smooth neighbourhood and small sizes).
    pub gradient: bool,
    /// Inputs that the op takes as constants: its rule must give them no gradient, though the result depends on them.
    pub constants: Vec<usize>,
    /// Results that the op keeps for its own gradient: nothing is to flow into them.
    pub kept: Vec<usize>,
}

impl Case {
    /// A case with standard normal f32 inputs of the given shapes, without gradient check.
    pub fn new(op: impl Op + Clone + Eq + Hash, shapes: &[&[usize]]) -> Self {
        let fill = Fill::Normal { mean: 0.0, std: 1.0 };
        let inputs = shapes.iter().map(|&s| (Spec::f32(s), fill)).collect();
        Case {
            op: Arc::new(op),
            inputs,
            scalars: Vec::new(),
            gradient: false,
            constants: Vec::new(),
            kept: Vec::new(),
        }
    }

    /// Replaces input `index`.
    pub fn input(mut self, index: usize, spec: Spec, fill: Fill) -> Self {
        self.inputs[index] = (spec, fill);
        self
    }

    /// Fills all f32 inputs with `fill`.
    pub fn fill(mut self, fill: Fill) -> Self {
        self.inputs.iter_mut().for_each(|i| i.1 = fill);
        self
    }

    /// The op's scalars.
    pub fn scalars(mut self, scalars: &[Scalar]) -> Self {
        self.scalars = scalars.to_vec();
        self
    }

    /// Input `index` is a constant to the op: it has no gradient by definition.
    pub fn constant(mut self, index: usize) -> Self {
        self.constants.push(index);
        self
    }

    /// Result `index` is kept for the op's own gradient: nothing is to flow into it.
    pub fn keeps(mut self, index: usize) -> Self {
        self.kept.push(index);
        self
    }

    /// Checks the gradient too.
    pub fn with_gradient(mut self) -> Self {
        self.gradient = true;
        self
    }
}
