//! How parameters start: PyTorch's initialisers, as pure functions of a seed and the parameter's name.

mod draw;

use crate::shape::Shape;
use draw::{Draw, orthogonal};

/// The values that a parameter starts with.
///
/// `fan_in` is the number of inputs that one output sums (`shape[1]` times the receptive field `shape[2..]`), `fan_out`
/// the same for the way back (`shape[0]` times the receptive field), as in PyTorch.
#[derive(Clone, Debug, PartialEq)]
pub enum Init {
    /// All 0.
    Zeros,
    /// All 1.
    Ones,
    /// All the same.
    Constant(f32),
    /// Uniform in `low..high`.
    Uniform {
        /// Lower bound.
        low: f64,
        /// Upper bound.
        high: f64,
    },
    /// Normal distribution.
    Normal {
        /// Mean.
        mean: f64,
        /// Standard deviation.
        std: f64,
    },
    /// Uniform in ±gain·√(3 / fan): He et al., Delving Deep into Rectifiers, 2015 (arXiv 1502.01852).
    KaimingUniform {
        /// Which fan keeps its variance.
        fan: Fan,
        /// What follows the layer.
        nonlinearity: Nonlinearity,
    },
    /// Normal with standard deviation gain / √fan, from the same paper.
    KaimingNormal {
        /// Which fan keeps its variance.
        fan: Fan,
        /// What follows the layer.
        nonlinearity: Nonlinearity,
    },
    /// Uniform in ±gain·√(6 / (fan_in + fan_out)): Glorot and Bengio, Understanding the difficulty of training deep
    /// feedforward neural networks, 2010.
    XavierUniform {
        /// Factor of all values; see [`Nonlinearity::gain`].
        gain: f64,
    },
    /// Normal with standard deviation gain·√(2 / (fan_in + fan_out)), from the same paper.
    XavierNormal {
        /// Factor of all values; see [`Nonlinearity::gain`].
        gain: f64,
    },
    /// Rows (or columns, whichever are fewer) of `[shape[0], rest]` are orthonormal, times `gain`: Saxe et al., Exact
    /// solutions to the nonlinear dynamics of learning in deep linear neural networks, 2013 (arXiv 1312.6120).
    Orthogonal {
        /// Factor of all values.
        gain: f64,
    },
    /// What `of` gives, but 0 along row `row` of the first axis: PyTorch's embeddings with a padding row.
    ZeroRow {
        /// The row.
        row: usize,
        /// What the other rows are.
        of: Box<Init>,
    },
    /// Parts along the first axis, one after another: so many rows each, and what they are. Each part has fans and random
    /// numbers of its own, as if it were a parameter by itself: the gates of a recurrent network.
    Stacked(Vec<(usize, Init)>),
    /// These values, row-major.
    Values(Vec<f32>),
}

/// Which way through a layer keeps the variance of what flows through it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Fan {
    /// Forward.
    In,
    /// Backward.
    Out,
}

/// What follows a layer, for the gain of its initial weights.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Nonlinearity {
    /// None, or a convolution.
    Linear,
    /// Sigmoid.
    Sigmoid,
    /// tanh.
    Tanh,
    /// max(x, 0).
    Relu,
    /// x or slope·x.
    LeakyRelu {
        /// The factor of negative values.
        slope: f64,
    },
    /// SELU.
    Selu,
}

impl Nonlinearity {
    /// PyTorch's `calculate_gain`.
    pub fn gain(self) -> f64 {
        match self {
            Nonlinearity::Linear | Nonlinearity::Sigmoid => 1.0,
            Nonlinearity::Tanh => 5.0 / 3.0,
            Nonlinearity::Relu => 2f64.sqrt(),
            Nonlinearity::LeakyRelu { slope } => (2.0 / (1.0 + slope * slope)).sqrt(),
            Nonlinearity::Selu => 0.75,
        }
    }
}

/// `(fan_in, fan_out)` of a weight: the inputs that one output sums, and the outputs that one input reaches.
///
/// # Panics
/// When the shape has fewer than two axes: fans of a vector are not defined.
#[track_caller]
pub fn fans(shape: Shape) -> (usize, usize) {
    assert!(
        shape.rank() >= 2,
        "fan_in and fan_out are of weights with at least two axes, not of shape {shape}"
    );
    let field = shape.span(2, shape.rank());
    (shape[1] * field, shape[0] * field)
}

impl Init {
    /// PyTorch's default for the weights of linear layers and convolutions: Kaiming uniform with slope √5, which is
    /// uniform in ±1/√fan_in.
    pub fn default_weight() -> Self {
        Init::KaimingUniform { fan: Fan::In, nonlinearity: Nonlinearity::LeakyRelu { slope: 5f64.sqrt() } }
    }

    /// PyTorch's default for the bias next to a weight of shape `weight`: uniform in ±1/√fan_in.
    ///
    /// # Panics
    /// When the weight has fewer than two axes.
    #[track_caller]
    pub fn default_bias(weight: Shape) -> Self {
        let bound = match fans(weight).0 {
            0 => 0.0,
            n => 1.0 / (n as f64).sqrt(),
        };
        Init::Uniform { low: -bound, high: bound }
    }

    /// Panics when values for `shape` cannot be made, so that it happens where a parameter is registered.
    #[track_caller]
    pub(crate) fn check(&self, shape: Shape) {
        match self {
            Init::Zeros | Init::Ones | Init::Constant(_) | Init::Uniform { .. } | Init::Normal { .. } => {}
            Init::ZeroRow { row, of } => {
                let rows = shape.dims().first().copied().unwrap_or(0);
                assert!(*row < rows, "a row {row} of zeros in shape {shape}");
                of.check(shape);
            }
            Init::Stacked(parts) => {
                let rows: usize = parts.iter().map(|(rows, _)| rows).sum();
                assert_eq!(
                    shape.dims().first(),
                    Some(&rows),
                    "parts of {rows} rows together for shape {shape}"
                );
                parts.iter().for_each(|(rows, of)| of.check(part(shape, *rows)));
            }
            Init::Values(values) => assert_eq!(values.len(), shape.elements(), "values for shape {shape}"),
            _ => drop(fans(shape)),
        }
    }

    /// The values for a parameter called `name`: the same for the same arguments, on every platform whose `ln`, `cos`
    /// and `sin` agree to f32.
    ///
    /// # Panics
    /// When the shape does not fit: fans of a vector, or another number of values.
    #[track_caller]
    pub fn values(&self, shape: Shape, seed: u64, name: &str) -> Vec<f32> {
        self.check(shape);
        let n = shape.elements();
        let mut draw = Draw::new(seed, name);
        match *self {
            Init::Zeros => vec![0.0; n],
            Init::Ones => vec![1.0; n],
            Init::Constant(value) => vec![value; n],
            Init::Uniform { low, high } => draw.uniform(n, low, high),
            Init::Normal { mean, std } => draw.normals(n, mean, std),
            Init::KaimingUniform { fan, nonlinearity } => {
                let bound = 3f64.sqrt() * nonlinearity.gain() / fan.of(shape).sqrt();
                draw.uniform(n, -bound, bound)
            }
            Init::KaimingNormal { fan, nonlinearity } => {
                draw.normals(n, 0.0, nonlinearity.gain() / fan.of(shape).sqrt())
            }
            Init::XavierUniform { gain } => {
                let bound = gain * (6.0 / both_fans(shape)).sqrt();
                draw.uniform(n, -bound, bound)
            }
            Init::XavierNormal { gain } => draw.normals(n, 0.0, gain * (2.0 / both_fans(shape)).sqrt()),
            Init::Orthogonal { gain } => orthogonal(shape, gain, &mut draw),
            Init::ZeroRow { row, ref of } => {
                let mut values = of.values(shape, seed, name);
                let len = n / shape[0];
                values[row * len..][..len].fill(0.0);
                values
            }
            Init::Stacked(ref parts) => {
                // No parameter's name has a slash, so no other one has these numbers.
                let values = |(i, (rows, of)): (usize, &(usize, Init))| {
                    of.values(part(shape, *rows), seed, &format!("{name}/{i}"))
                };
                parts.iter().enumerate().flat_map(values).collect()
            }
            Init::Values(ref values) => values.clone(),
        }
    }
}

/// `shape` with so many rows.
fn part(shape: Shape, rows: usize) -> Shape {
    let mut dims = shape.dims().to_vec();
    dims[0] = rows;
    Shape::new(&dims)
}

impl Fan {
    fn of(self, shape: Shape) -> f64 {
        let (fan_in, fan_out) = fans(shape);
        match self {
            Fan::In => fan_in.max(1) as f64,
            Fan::Out => fan_out.max(1) as f64,
        }
    }
}

fn both_fans(shape: Shape) -> f64 {
    let (fan_in, fan_out) = fans(shape);
    (fan_in + fan_out).max(1) as f64
}
