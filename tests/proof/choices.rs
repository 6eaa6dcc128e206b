//! Which kernels are chosen on hardware within WebGPU's default limits, for shapes of common networks: a table.

use recurve::kernel::{Bind, Candidate, Target};
use recurve::op::{Io, Op};
use recurve::ops::conv2d::{Conv2d, Conv2dConfig, Conv2dInputGrad, Conv2dWeightGrad};
use recurve::ops::matmul::{Layout, Matmul};
use recurve::{Shape, Spec};

fn chosen(op: &dyn Op, shapes: &[&[usize]]) -> Candidate {
    let target = Target::WEBGPU_DEFAULT;
    let inputs: Vec<Spec> = shapes.iter().map(|s| Spec::f32(Shape::new(s))).collect();
    let outputs = op.outputs(&inputs).unwrap();
    let fits = |c: &Candidate| {
        let size = |bind: Bind| match bind {
            Bind::Input(i) => inputs[i].padded_bytes(),
            Bind::Output(i) => outputs[i].padded_bytes(),
            Bind::Scratch(i) => c.scratch[i],
        };
        c.misfit(&target, size).is_none()
    };
    let candidates = op.kernels(Io { inputs: &inputs, outputs: &outputs }, &target);
    candidates.into_iter().find(fits).unwrap_or_else(|| panic!("no kernel of {op:?} fits"))
}

/// A convolution `[N, C, H, W]`, output channels, size of the kernel, stride, padding, groups.
struct Layer {
    name: &'static str,
    x: [usize; 4],
    k: usize,
    taps: usize,
    stride: usize,
    pad: usize,
    groups: usize,
}

impl Layer {
    /// What is chosen for the convolution and for its gradients, and of how many dispatches that is.
    fn choices(&self) -> [(&'static str, usize); 3] {
        let config = Conv2dConfig {
            stride: [self.stride; 2],
            padding: self.pad.into(),
            groups: self.groups,
            ..Default::default()
        };
        let window = config.window([self.taps; 2]).unwrap();
        let [n, c, height, width] = self.x;
        let size = |pixels: usize| (pixels + 2 * self.pad - self.taps) / self.stride + 1;
        let y = [n, self.k, size(height), size(width)];
        let w = [self.k, c / self.groups, self.taps, self.taps];
        let input_grad = Conv2dInputGrad { window, height, width };
        let weight_grad = Conv2dWeightGrad { window, kernel_height: self.taps, kernel_width: self.taps };
        let all: [(&dyn Op, [&[usize]; 2]); 3] = [
            (&Conv2d { window, ..Conv2d::default() }, [&self.x, &w]),
            (&input_grad, [&y, &w]),
            (&weight_grad, [&self.x, &y]),
        ];
        all.map(|(op, shapes)| {
            let candidate = chosen(op, &shapes);
            (candidate.variant, candidate.dispatches.len())
        })
    }
}

fn layer(name: &'static str, x: [usize; 4], k: usize, taps: usize, stride: usize, pad: usize) -> Layer {
    Layer { name, x, k, taps, stride, pad, groups: 1 }
}

#[test]
fn convolutions_on_hardware() {
    const GEMM: (&str, usize) = ("implicit_gemm", 1);
    // Few tiles and long sums: a second dispatch adds the parts.
    const SPLIT: (&str, usize) = ("implicit_gemm", 2);
    let table = [
        (layer("W2", [16, 64, 56, 56], 64, 3, 1, 1), [GEMM, GEMM, SPLIT]),
        (layer("W3", [16, 256, 56, 56], 64, 1, 1, 0), [GEMM, GEMM, SPLIT]),
        (layer("W8, layer 2", [64, 32, 14, 14], 64, 3, 1, 1), [GEMM, SPLIT, SPLIT]),
        (layer("CIFAR ResNet-18, block 1", [16, 64, 32, 32], 64, 3, 1, 1), [GEMM, GEMM, SPLIT]),
        (layer("CIFAR ResNet-18, block 2", [16, 64, 32, 32], 128, 3, 2, 1), [SPLIT, GEMM, SPLIT]),
        (layer("CIFAR ResNet-18, shortcut 2", [16, 64, 32, 32], 128, 1, 2, 0), [GEMM, GEMM, SPLIT]),
        (layer("CIFAR ResNet-18, block 4", [16, 512, 4, 4], 512, 3, 1, 1), [SPLIT, SPLIT, GEMM]),
        (layer("ResNet-50, block 2, one image", [1, 128, 28, 28], 128, 3, 1, 1), [SPLIT, SPLIT, SPLIT]),
        (layer("ResNet-50, block 5, one image", [1, 2048, 7, 7], 512, 1, 1, 0), [SPLIT, SPLIT, GEMM]),
        (layer("ResNet-50, block 2", [32, 512, 28, 28], 128, 1, 1, 0), [GEMM, GEMM, SPLIT]),
    ];
    for (layer, wanted) in table {
        assert_eq!(layer.choices(), wanted, "{}", layer.name);
    }
    // Where the image or the kernel has few channels, its gradient is no product worth a tile.
    let stem = layer("ResNet-50, layer 1", [32, 3, 224, 224], 64, 7, 2, 3);
    assert_eq!(stem.choices(), [GEMM, ("direct_input", 1), SPLIT], "{}", stem.name);
    let mnist = layer("W8, layer 1", [64, 1, 28, 28], 32, 3, 1, 1);
    assert_eq!(mnist.choices(), [GEMM, ("direct_input", 1), ("direct_weight", 2)], "{}", mnist.name);
    // One channel per group: nothing to share among threads.
    let depthwise = Layer { groups: 96, ..layer("depthwise", [16, 96, 56, 56], 96, 3, 1, 1) };
    for (variant, _) in depthwise.choices() {
        assert_ne!(variant, "implicit_gemm", "{}", depthwise.name);
    }
    let grouped = Layer { groups: 32, ..layer("ResNeXt-50, block 5", [16, 1024, 7, 7], 1024, 3, 1, 1) };
    assert_eq!(grouped.choices(), [GEMM, GEMM, SPLIT], "{}", grouped.name);
}

#[test]
fn products_on_hardware() {
    use Layout::{AsIs, Transposed};
    const TILE: (&str, usize) = ("workgroup_tile", 1);
    const SPLIT: (&str, usize) = ("workgroup_tile", 2);
    let table = [
        ("W1", AsIs, [1024, 1024, 1024], TILE),
        ("W8, hidden layer", Transposed, [64, 128, 3136], SPLIT),
        ("W8, last layer", Transposed, [64, 10, 128], TILE),
        ("LSTM, recurrent product", Transposed, [32, 1024, 256], TILE),
        ("one row", Transposed, [1, 1000, 2048], ("gemv", 2)),
        ("eight rows", AsIs, [8, 4096, 4096], ("gemv", 2)),
        ("eight columns", AsIs, [4096, 8, 60], ("gemv", 1)),
        ("nine rows", AsIs, [9, 4096, 128], TILE),
        ("odd", AsIs, [513, 257, 129], TILE),
    ];
    for (name, b, [m, n, k], wanted) in table {
        let op = Matmul { b, ..Matmul::default() };
        let shape = if b == AsIs { [k, n] } else { [n, k] };
        let candidate = chosen(&op, &[&[m, k], &shape]);
        assert_eq!((candidate.variant, candidate.dispatches.len()), wanted, "{name}");
    }
}
