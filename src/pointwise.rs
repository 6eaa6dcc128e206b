//! Element-wise functions as data.
//!
//! A [`Pointwise`] is a list of instructions in which each refers to inputs, scalars and earlier instructions (static
//! single assignment). One list is at once an op (`src/ops/elementwise.rs`), what the fusion pass joins
//! ([`fuse`](Pointwise::fuse)), what the reference evaluates ([`Evaluator`]) and what WGSL is generated from
//! (`generate.rs`). Every instruction runs at the shape of the results; only inputs broadcast.

mod divisor;
mod erf;
mod evaluate;
mod functions;
pub mod generate;
mod runs;

pub use divisor::Divisor;
pub use erf::{erf, erfc};
pub use evaluate::{Evaluator, Source, dropout_keeps, sigmoid};
pub use runs::{Run, runs};

use crate::op::{Activation, Follow};
use crate::shape::{Shape, Spec};

/// Inputs and results together that one chain may have: WebGPU's default number of storage buffers per shader.
pub const MAX_FUSED_BUFFERS: usize = 8;

/// Scalars that one chain may have.
pub const MAX_FUSED_SCALARS: usize = 24;

/// Instructions that one chain may have: beyond it, registers run out before loads are saved.
pub const MAX_FUSED_STEPS: usize = 64;

/// A chain of element-wise functions over broadcast inputs.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Pointwise {
    /// Number of inputs, all f32.
    pub inputs: usize,
    /// Number of scalars.
    pub scalars: usize,
    /// Instructions; each refers only to earlier ones.
    pub steps: Vec<Instr>,
    /// The steps whose values are the results, in order.
    pub results: Vec<usize>,
}

/// One function application.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Instr {
    /// What is computed.
    pub function: Function,
    /// Of what; as many as [`Function::arity`] says.
    pub args: Vec<Arg>,
}

/// An operand of an instruction.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Arg {
    /// An element of an input, broadcast to the shape of the results.
    Input(usize),
    /// A scalar.
    Scalar(usize),
    /// The value of an earlier step.
    Step(usize),
}

/// An element-wise function. The operands are a, b, ...
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Function {
    /// a + b
    Add,
    /// a - b
    Sub,
    /// a · b
    Mul,
    /// a / b
    Div,
    /// The larger of a and b.
    Max,
    /// The smaller of a and b.
    Min,
    /// -a
    Neg,
    /// |a|
    Abs,
    /// 1, 0 or -1
    Sign,
    /// exp(a)
    Exp,
    /// Natural logarithm.
    Log,
    /// √a
    Sqrt,
    /// 1 / √a
    Rsqrt,
    /// 1 / a
    Recip,
    /// a²
    Square,
    /// tanh(a)
    Tanh,
    /// 1 / (1 + exp(-a))
    Sigmoid,
    /// max(a, 0)
    Relu,
    /// exp(a) - 1
    Expm1,
    /// log(1 + exp(a))
    Softplus,
    /// The error function: 2/√π times the integral of exp(-t²) from 0 to a.
    Erf,
    /// 1 - erf(a)
    Erfc,
    /// b where a > 0, else c.
    Where,
    /// 1 where a > 0, else 0: relu's derivative.
    Step,
    /// 1 where a ≥ b, else 0.
    GreaterEqual,
    /// 1 where a = b, else 0.
    Equal,
    /// 1 where a > b, ½ where they are equal, else 0: the derivative of max(a, b) with respect to a, shared at ties.
    Share,
    /// a
    Copy,
    /// a / (1 - p), or 0 with probability p: (a, p, low word of the seed, high word). Which elements survive is a hash
    /// of seed and flat index ([`dropout_keeps`]), so the same call gives the same mask again.
    Dropout,
}

impl Function {
    /// All functions.
    pub const ALL: [Function; 29] = [
        Function::Add,
        Function::Sub,
        Function::Mul,
        Function::Div,
        Function::Max,
        Function::Min,
        Function::Neg,
        Function::Abs,
        Function::Sign,
        Function::Exp,
        Function::Log,
        Function::Sqrt,
        Function::Rsqrt,
        Function::Recip,
        Function::Square,
        Function::Tanh,
        Function::Sigmoid,
        Function::Relu,
        Function::Expm1,
        Function::Softplus,
        Function::Erf,
        Function::Erfc,
        Function::Where,
        Function::Step,
        Function::GreaterEqual,
        Function::Equal,
        Function::Share,
        Function::Copy,
        Function::Dropout,
    ];

    /// Number of operands.
    pub fn arity(self) -> usize {
        use Function::*;
        match self {
            Add | Sub | Mul | Div | Max | Min | GreaterEqual | Equal | Share => 2,
            Where => 3,
            Dropout => 4,
            _ => 1,
        }
    }

    /// The name of the op that is this function alone.
    pub fn name(self) -> &'static str {
        use Function::*;
        match self {
            Add => "add",
            Sub => "sub",
            Mul => "mul",
            Div => "div",
            Max => "maximum",
            Min => "minimum",
            Neg => "neg",
            Abs => "abs",
            Sign => "sign",
            Exp => "exp",
            Log => "log",
            Sqrt => "sqrt",
            Rsqrt => "rsqrt",
            Recip => "recip",
            Square => "square",
            Tanh => "tanh",
            Sigmoid => "sigmoid",
            Relu => "relu",
            Expm1 => "expm1",
            Softplus => "softplus",
            Erf => "erf",
            Erfc => "erfc",
            Where => "where",
            Step => "step",
            GreaterEqual => "greater_equal",
            Equal => "equal",
            Share => "share",
            Copy => "copy",
            Dropout => "dropout",
        }
    }

    /// Whether operand `position` is an unsigned integer.
    fn takes_u32(self, position: usize) -> bool {
        self == Function::Dropout && position >= 2
    }
}

/// Where an input of a consumer comes from when it is fused with its producer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Wire {
    /// A tensor outside, by a number of the caller's: equal numbers become one input.
    Outer(usize),
    /// A result of the producer.
    Result(usize),
}

/// A value that a fused chain is to give.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Wanted {
    /// A result of the producer.
    Producer(usize),
    /// A result of the consumer.
    Consumer(usize),
}

/// Two chains made one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fused {
    /// The joined chain. Its scalars are the producer's, then the consumer's.
    pub chain: Pointwise,
    /// The caller's numbers of its inputs, in order, each once.
    pub inputs: Vec<usize>,
}

impl Pointwise {
    /// A function of inputs alone: `unary(Relu)` has one input, `single(Add)` two.
    pub fn single(function: Function) -> Self {
        let n = function.arity();
        Self::instr(function, (0..n).map(Arg::Input).collect())
    }

    /// A chain of one instruction.
    ///
    /// # Panics
    /// When the number of operands is wrong, or there is one of another step.
    pub fn instr(function: Function, args: Vec<Arg>) -> Self {
        assert_eq!(args.len(), function.arity(), "operands of {}", function.name());
        let mut chain = Pointwise { inputs: 0, scalars: 0, steps: Vec::new(), results: vec![0] };
        for &arg in &args {
            match arg {
                Arg::Input(i) => chain.inputs = chain.inputs.max(i + 1),
                Arg::Scalar(i) => chain.scalars = chain.scalars.max(i + 1),
                Arg::Step(i) => panic!("a single instruction has no step {i} before it"),
            }
        }
        chain.steps.push(Instr { function, args });
        chain
    }

    /// Whether the chain keeps to the limits of one kernel.
    pub fn fits(&self) -> bool {
        self.inputs + self.results.len() <= MAX_FUSED_BUFFERS
            && self.scalars <= MAX_FUSED_SCALARS
            && self.steps.len() <= MAX_FUSED_STEPS
    }

    /// The shape of the results: the common broadcast shape of the inputs, if there is one.
    pub fn shape(inputs: &[Spec]) -> Option<Shape> {
        inputs.iter().try_fold(Shape::scalar(), |shape, input| shape.broadcast(input.shape))
    }

    /// The only instruction, if there is just one.
    pub fn only_step(&self) -> Option<&Instr> {
        match self.steps.as_slice() {
            [step] if self.results == [0] => Some(step),
            _ => None,
        }
    }

    /// Puts `producer`, whose inputs are the outer tensors `producer_inputs`, before `consumer`, whose inputs come from
    /// `wires`, and keeps the values `wanted`.
    ///
    /// Inputs of the same number, and equal instructions, are merged; what no wanted value needs is dropped (scalars
    /// stay). Right only where the producer's results have the shape of the consumer's results. With no
    /// [`Wire::Result`] it joins two chains side by side.
    pub fn fuse(
        producer: &Pointwise,
        producer_inputs: &[usize],
        consumer: &Pointwise,
        wires: &[Wire],
        wanted: &[Wanted],
    ) -> Fused {
        let mut joined = Joined::default();
        let outer: Vec<Arg> = producer_inputs.iter().map(|&id| joined.outer(id)).collect();
        let first = joined.append(producer, &outer, 0);
        let inner: Vec<Arg> = wires
            .iter()
            .map(|&wire| match wire {
                Wire::Outer(id) => joined.outer(id),
                Wire::Result(j) => Arg::Step(first[producer.results[j]]),
            })
            .collect();
        let second = joined.append(consumer, &inner, producer.scalars);
        let results = wanted
            .iter()
            .map(|&value| match value {
                Wanted::Producer(j) => first[producer.results[j]],
                Wanted::Consumer(j) => second[consumer.results[j]],
            })
            .collect();
        let chain = Pointwise {
            inputs: joined.ids.len(),
            scalars: producer.scalars + consumer.scalars,
            steps: joined.steps,
            results,
        };
        let (chain, kept) = chain.trimmed();
        Fused { chain, inputs: kept.iter().map(|&i| joined.ids[i]).collect() }
    }

    /// The chain that gives result `which` alone, and which of the inputs it reads.
    pub fn only(&self, which: usize) -> (Pointwise, Vec<usize>) {
        Pointwise { results: vec![self.results[which]], ..self.clone() }.trimmed()
    }

    /// The chain without the steps and inputs that no result needs, and the old numbers of the inputs that are left.
    /// A chain keeps one input when none is read, because inputs give it its shape.
    fn trimmed(self) -> (Pointwise, Vec<usize>) {
        let mut live = vec![false; self.steps.len()];
        self.results.iter().for_each(|&r| live[r] = true);
        let mut read = vec![false; self.inputs];
        for (k, step) in self.steps.iter().enumerate().rev() {
            if !live[k] {
                continue;
            }
            for &arg in &step.args {
                match arg {
                    Arg::Input(i) => read[i] = true,
                    Arg::Step(i) => live[i] = true,
                    Arg::Scalar(_) => {}
                }
            }
        }
        if self.inputs > 0 && !read.contains(&true) {
            read[0] = true;
        }
        let step_places = places(&live);
        let input_places = places(&read);
        let steps = self.steps.into_iter().enumerate().filter(|(k, _)| live[*k]).map(|(_, mut step)| {
            for arg in &mut step.args {
                match arg {
                    Arg::Input(i) => *i = input_places[*i],
                    Arg::Step(i) => *i = step_places[*i],
                    Arg::Scalar(_) => {}
                }
            }
            step
        });
        let steps = steps.collect();
        let kept: Vec<usize> = (0..self.inputs).filter(|&i| read[i]).collect();
        let results = self.results.iter().map(|&r| step_places[r]).collect();
        (Pointwise { inputs: kept.len(), scalars: self.scalars, steps, results }, kept)
    }

    /// What this chain is to the op that gives its input `which`: the addition of a vector, or an activation.
    /// `inputs` are the specs of all inputs.
    pub fn follow(&self, inputs: &[Spec], which: usize) -> Option<Follow> {
        let step = self.only_step()?;
        let shape = inputs[which].shape;
        match (step.function, step.args.as_slice()) {
            (Function::Relu, _) => Some(Follow::Activate(Activation::Relu)),
            (Function::Sigmoid, _) => Some(Follow::Activate(Activation::Sigmoid)),
            (Function::Tanh, _) => Some(Follow::Activate(Activation::Tanh)),
            (Function::Add, &[Arg::Input(a), Arg::Input(b)]) if a != b => {
                let other = inputs[if a == which { b } else { a }].shape;
                let axis = vector_axis(other, shape)?;
                Some(Follow::AddVector { axis })
            }
            _ => None,
        }
    }
}

/// The axis of `shape` that `vector` runs along when it is broadcast to it, if it has just one axis that is not 1.
pub(crate) fn vector_axis(vector: Shape, shape: Shape) -> Option<usize> {
    let lead = shape.rank().checked_sub(vector.rank())?;
    let mut long = (0..vector.rank()).filter(|&a| vector[a] != 1);
    let axis = match (long.next(), long.next()) {
        (Some(a), None) => lead + a,
        // One number is a vector only where the result has a last axis of size 1.
        (None, _) if vector.rank() > 0 => shape.rank() - 1,
        _ => return None,
    };
    let size = vector.elements();
    (shape[axis] == size).then_some(axis)
}

/// How many are kept before each position.
fn places(keep: &[bool]) -> Vec<usize> {
    let before = |n: &mut usize, &k: &bool| {
        let place = *n;
        *n += k as usize;
        Some(place)
    };
    keep.iter().scan(0, before).collect()
}

/// Chains that are being joined.
#[derive(Default)]
struct Joined {
    ids: Vec<usize>,
    steps: Vec<Instr>,
}

impl Joined {
    fn outer(&mut self, id: usize) -> Arg {
        let known = self.ids.iter().position(|&i| i == id);
        Arg::Input(known.unwrap_or_else(|| {
            self.ids.push(id);
            self.ids.len() - 1
        }))
    }

    /// Appends the steps of `chain` with `inputs` in place of its inputs; returns where each step came to lie.
    fn append(&mut self, chain: &Pointwise, inputs: &[Arg], first_scalar: usize) -> Vec<usize> {
        let mut places = Vec::with_capacity(chain.steps.len());
        for step in &chain.steps {
            let place = |arg: &Arg| match *arg {
                Arg::Input(i) => inputs[i],
                Arg::Scalar(i) => Arg::Scalar(first_scalar + i),
                Arg::Step(i) => Arg::Step(places[i]),
            };
            let step = Instr { function: step.function, args: step.args.iter().map(place).collect() };
            let known = self.steps.iter().position(|s| *s == step);
            places.push(known.unwrap_or_else(|| {
                self.steps.push(step);
                self.steps.len() - 1
            }));
        }
        places
    }
}

impl std::fmt::Display for Pointwise {
    /// `mul(i0, s0) relu(0)`: inputs are `i`, scalars `s`, earlier steps bare numbers.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        for (k, step) in self.steps.iter().enumerate() {
            write!(f, "{}{}(", if k == 0 { "" } else { " " }, step.function.name())?;
            for (n, arg) in step.args.iter().enumerate() {
                f.write_str(if n == 0 { "" } else { ", " })?;
                match arg {
                    Arg::Input(i) => write!(f, "i{i}")?,
                    Arg::Scalar(i) => write!(f, "s{i}")?,
                    Arg::Step(i) => write!(f, "{i}")?,
                }
            }
            f.write_str(")")?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn first_result(chain: &Pointwise, scalars: &[f64], inputs: &[f64]) -> Vec<f64> {
        (0..chain.results.len())
            .map(|j| {
                let (chain, read) = chain.only(j);
                let data: Vec<[f64; 1]> = read.iter().map(|&i| [inputs[i]]).collect();
                let sources: Vec<Source<'_>> = data.iter().map(|d| (d.as_slice(), Vec::new())).collect();
                let mut out = [f64::NAN];
                Evaluator::new(&chain, &sources, scalars).run(0, &mut out);
                out[0]
            })
            .collect()
    }

    #[test]
    fn fusing_puts_the_producer_into_the_consumer() {
        let scale = Pointwise::instr(Function::Mul, vec![Arg::Input(0), Arg::Scalar(0)]);
        let shift = Pointwise::instr(Function::Add, vec![Arg::Input(0), Arg::Scalar(0)]);
        let first = Pointwise::fuse(&scale, &[7], &shift, &[Wire::Result(0)], &[Wanted::Consumer(0)]);
        assert_eq!(first.inputs, [7]);
        assert_eq!(first_result(&first.chain, &[3.0, 0.5], &[2.0]), [6.5]);

        // b - a·b, with the product wanted too: inputs that are the same tensor become one.
        let mul = Pointwise::single(Function::Mul);
        let sub = Pointwise::single(Function::Sub);
        let wires = [Wire::Outer(5), Wire::Result(0)];
        let wanted = [Wanted::Consumer(0), Wanted::Producer(0)];
        let both = Pointwise::fuse(&mul, &[4, 5], &sub, &wires, &wanted);
        assert_eq!(both.inputs, [4, 5]);
        assert_eq!(first_result(&both.chain, &[], &[2.0, 10.0]), [-10.0, 20.0]);
        assert_eq!(both.chain.to_string(), "mul(i0, i1) sub(i1, 0)");
    }

    #[test]
    fn equal_steps_are_merged_and_dead_ones_dropped() {
        let exp = Pointwise::single(Function::Exp);
        let side =
            Pointwise::fuse(&exp, &[1], &exp, &[Wire::Outer(1)], &[Wanted::Producer(0), Wanted::Consumer(0)]);
        assert_eq!((side.chain.steps.len(), side.chain.results.as_slice()), (1, [0, 0].as_slice()));
        let dead = Pointwise::fuse(&exp, &[1], &exp, &[Wire::Outer(2)], &[Wanted::Consumer(0)]);
        assert_eq!((dead.chain, dead.inputs), (exp, vec![2]));
    }

    #[test]
    fn a_bias_is_recognised_by_its_axis() {
        let add = Pointwise::single(Function::Add);
        let follow = |x: &[usize], v: &[usize], which: usize| {
            let specs = if which == 0 { [Spec::f32(x), Spec::f32(v)] } else { [Spec::f32(v), Spec::f32(x)] };
            add.follow(&specs, which)
        };
        let axis = |axis| Some(Follow::AddVector { axis });
        assert_eq!(follow(&[8, 3, 5, 5], &[3, 1, 1], 0), axis(1));
        assert_eq!(follow(&[8, 3, 5, 5], &[1, 3, 1, 1], 1), axis(1));
        assert_eq!(follow(&[8, 10], &[10], 0), axis(1));
        assert_eq!(follow(&[8, 1], &[1], 0), axis(1));
        assert_eq!(follow(&[8, 10], &[1], 0), None);
        assert_eq!(follow(&[8, 10], &[8, 10], 0), None);
        // The vector would be the one that is computed.
        assert_eq!(follow(&[10], &[8, 10], 0), None);
        let relu = Pointwise::single(Function::Relu);
        assert_eq!(relu.follow(&[Spec::f32([3])], 0), Some(Follow::Activate(Activation::Relu)));
        let scaled = Pointwise::instr(Function::Add, vec![Arg::Input(0), Arg::Scalar(0)]);
        assert_eq!(scaled.follow(&[Spec::f32([3])], 0), None);
    }
}
