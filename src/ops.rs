//! What can be computed: one file per op family, with formula, shape rule, reference, gradient, kernels and cases.

use crate::op::Case;

/// The op list: a module each, and the test cases of all.
macro_rules! ops {
    ($($op:ident,)*) => {
        $(pub mod $op;)*

        /// The test cases of every op, with the op family's name. Conformance tests, gradient checks and shader
        /// checks go through them.
        pub fn cases() -> Vec<(&'static str, Case)> {
            let mut all = Vec::new();
            $(all.extend($op::cases().into_iter().map(|c| (stringify!($op), c)));)*
            all
        }
    };
}

ops! {
    adam,
    adaptive_avg_pool1d,
    adaptive_avg_pool2d,
    adaptive_max_pool1d,
    adaptive_max_pool2d,
    argmax,
    avg_pool1d,
    avg_pool2d,
    batch_norm,
    batch_norm_backward,
    blend,
    clip_grad,
    concat,
    conv1d,
    conv2d,
    conv_transpose1d,
    conv_transpose2d,
    copy_if,
    cross_entropy,
    dropout,
    elementwise,
    embedding,
    expand,
    matmul,
    max_pool1d,
    max_pool2d,
    nll_loss,
    non_finite,
    one_hot,
    pad,
    permute,
    place_gradients,
    recurrent,
    reduce,
    reshape,
    rmsprop,
    row_norm,
    row_norm_backward,
    sgd,
    slice,
    softmax,
    split,
    sum_of_chain,
    topk,
    upsample_bilinear2d,
    upsample_nearest2d,
}

pub mod activation;
pub mod loss;
mod strided_copy;
pub mod upsample;
pub mod windows;
mod workgroup_product;
