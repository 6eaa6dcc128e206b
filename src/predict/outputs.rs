//! What a network's results are on the device and on the host.

use crate::tensor::Tensor;

/// A network's results: a tensor, a tuple, an array or a `Vec` of tensors, or a type of yours.
///
/// Values come as f32; indices (u32) are exact up to 2^24.
pub trait Outputs {
    /// What a prediction returns: the elements of each tensor, row after row.
    type Values;

    /// The tensors, always as many and in the same order.
    fn tensors(self) -> Vec<Tensor>;

    /// Makes the values from those of each tensor, in that order.
    fn values(all: Vec<Vec<f32>>) -> Self::Values;
}

impl Outputs for Tensor {
    type Values = Vec<f32>;

    fn tensors(self) -> Vec<Tensor> {
        vec![self]
    }

    fn values(all: Vec<Vec<f32>>) -> Vec<f32> {
        let [values] = exactly(all);
        values
    }
}

impl Outputs for Vec<Tensor> {
    type Values = Vec<Vec<f32>>;

    fn tensors(self) -> Vec<Tensor> {
        self
    }

    fn values(all: Vec<Vec<f32>>) -> Vec<Vec<f32>> {
        all
    }
}

impl<const N: usize> Outputs for [Tensor; N] {
    type Values = [Vec<f32>; N];

    fn tensors(self) -> Vec<Tensor> {
        self.into()
    }

    fn values(all: Vec<Vec<f32>>) -> [Vec<f32>; N] {
        exactly(all)
    }
}

impl Outputs for (Tensor, Tensor) {
    type Values = (Vec<f32>, Vec<f32>);

    fn tensors(self) -> Vec<Tensor> {
        vec![self.0, self.1]
    }

    fn values(all: Vec<Vec<f32>>) -> Self::Values {
        exactly(all).into()
    }
}

impl Outputs for (Tensor, Tensor, Tensor) {
    type Values = (Vec<f32>, Vec<f32>, Vec<f32>);

    fn tensors(self) -> Vec<Tensor> {
        vec![self.0, self.1, self.2]
    }

    fn values(all: Vec<Vec<f32>>) -> Self::Values {
        exactly(all).into()
    }
}

fn exactly<const N: usize>(all: Vec<Vec<f32>>) -> [Vec<f32>; N] {
    all.try_into().expect("as many values as tensors")
}
