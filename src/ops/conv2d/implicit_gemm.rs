//! Variants for discrete GPUs: a convolution, or a gradient of one, is a product C = A·B whose B is gathered from an
//! image on its way into workgroup memory. One kernel serves all three; the table at its head says what M, N, K, A
//! and B are.

use super::direct::{Finish, add_parts};
use super::{Bias, Conv2d, Sizes};
use crate::kernel::{Bind, Candidate};
use crate::op::Activation;
use crate::ops::workgroup_product::Tile;

crate::kernel! {
    /// A is read one float at a time.
    mod floats = "shaders/conv2d/implicit_gemm.wgsl";
    params {
        workgroups: u32, tiles_m: u32, tiles_n: u32, splits: u32, groups: u32, bands_w: u32, m: u32, n: u32,
        k_split: u32, inner_j: u32, inner_h: u32, inner_w: u32, a_group: u32, a_m: u32, a_j: u32, a_h: u32,
        a_w: u32, b_group: u32, b_inner: u32, b_column: u32, height: u32, width: u32, first_h: u32, first_w: u32,
        inner_step_h: u32, inner_step_w: u32, column_step_h: u32, column_step_w: u32, column_h: u32,
        column_w: u32, c_group: u32, c_m: u32, c_j: u32, c_height: u32, c_width: u32, c_split: u32,
        spread_h: u32, spread_w: u32, dilation_h: u32, dilation_w: u32, every_h: u32, every_w: u32,
    }
    bind { a: Read, b: Read, bias: Read, c: ReadWrite }
}

crate::kernel! {
    /// A is read four floats at a time.
    mod quads = "shaders/conv2d/implicit_gemm_vec4.wgsl";
    params {
        workgroups: u32, tiles_m: u32, tiles_n: u32, splits: u32, groups: u32, bands_w: u32, m: u32, n: u32,
        k_split: u32, inner_j: u32, inner_h: u32, inner_w: u32, a_group: u32, a_m: u32, a_j: u32, a_h: u32,
        a_w: u32, b_group: u32, b_inner: u32, b_column: u32, height: u32, width: u32, first_h: u32, first_w: u32,
        inner_step_h: u32, inner_step_w: u32, column_step_h: u32, column_step_w: u32, column_h: u32,
        column_w: u32, c_group: u32, c_m: u32, c_j: u32, c_height: u32, c_width: u32, c_split: u32,
        spread_h: u32, spread_w: u32, dilation_h: u32, dilation_w: u32, every_h: u32, every_w: u32,
    }
    bind { a: Read, b: Read, bias: Read, c: ReadWrite }
}

/// A convolution or a gradient as a product of input 1 (A) with what is gathered from input 0 (B). Digits are (image or
/// channel, row or tap, column or tap).
struct Product {
    groups: usize,
    m: usize,
    inner: [usize; 3],
    columns: [usize; 3],
    /// What one group, one row, one of the inner digits adds to the place of an element of A.
    a_group: usize,
    a_m: usize,
    a_inner: [usize; 3],
    /// Whether four elements along the inner index lie together and start on a quad.
    a_quads: bool,
    /// What one group and one of the first digits adds to the place of an element of B.
    b_group: usize,
    b_inner: usize,
    b_column: usize,
    /// The image that B is gathered from, where in it digits 0 lie, and how far apart the others.
    image: [usize; 2],
    first: [i32; 2],
    inner_step: [i32; 2],
    column_step: [i32; 2],
    /// Whether some elements of B lie outside of the image.
    checked: bool,
    /// C, its group, row and first column digit, and what the last two digits are pixels of.
    c_elements: usize,
    c_group: usize,
    c_m: usize,
    c_j: usize,
    c_image: [usize; 2],
    /// Whether C is images, not weights.
    image_result: bool,
    /// For the gradient of the input with a stride.
    strided: Option<Strided>,
}

/// Rows and columns of dx fall into bands, by their remainder modulo the stride, that meet different taps.
struct Strided {
    stride: [usize; 2],
    dilation: [usize; 2],
    /// Taps from one that meets a row to the next.
    every: [usize; 2],
}

fn forward_product(z: &Sizes) -> Product {
    let (v, h) = (z.window.vertical, z.window.horizontal);
    let taps = z.r * z.s;
    Product {
        groups: z.window.groups,
        m: z.k_group(),
        inner: [z.c_group(), z.r, z.s],
        columns: [z.n, z.p, z.q],
        a_group: z.k_group() * z.c_group() * taps,
        a_m: z.c_group() * taps,
        a_inner: [taps, z.s, 1],
        a_quads: (z.c_group() * taps).is_multiple_of(4),
        b_group: z.c_group() * z.h * z.w,
        b_inner: z.h * z.w,
        b_column: z.c * z.h * z.w,
        image: [z.h, z.w],
        first: [-(v.before as i32), -(h.before as i32)],
        inner_step: [v.dilation as i32, h.dilation as i32],
        column_step: [v.stride as i32, h.stride as i32],
        checked: padded(z),
        c_elements: z.n * z.k * z.p * z.q,
        c_group: z.k_group() * z.p * z.q,
        c_m: z.p * z.q,
        c_j: z.k * z.p * z.q,
        c_image: [z.p, z.q],
        image_result: true,
        strided: None,
    }
}

fn input_grad_product(z: &Sizes) -> Product {
    let (v, h) = (z.window.vertical, z.window.horizontal);
    let taps = z.r * z.s;
    let every = [v, h].map(|a| a.stride / gcd(a.stride, a.dilation));
    let stride = [v.stride, h.stride];
    let dilation = [v.dilation, h.dilation];
    Product {
        groups: z.window.groups,
        m: z.c_group(),
        inner: [z.k_group(), z.r, z.s],
        columns: [z.n, z.h.div_ceil(v.stride), z.w.div_ceil(h.stride)],
        a_group: z.k_group() * z.c_group() * taps,
        a_m: taps,
        a_inner: [z.c_group() * taps, z.s, 1],
        a_quads: false,
        b_group: z.k_group() * z.p * z.q,
        b_inner: z.p * z.q,
        b_column: z.k * z.p * z.q,
        image: [z.p, z.q],
        first: [v.before as i32, h.before as i32],
        // The next tap that meets a row does so with an earlier row of dy.
        inner_step: [0, 1].map(|i| -((every[i] * dilation[i] / stride[i]) as i32)),
        column_step: [1, 1],
        checked: padded(z) || taps > 1 || stride != [1, 1],
        c_elements: z.n * z.c * z.h * z.w,
        c_group: z.c_group() * z.h * z.w,
        c_m: z.h * z.w,
        c_j: z.c * z.h * z.w,
        c_image: [z.h, z.w],
        image_result: true,
        strided: (stride != [1, 1]).then_some(Strided { stride, dilation, every }),
    }
}

fn weight_grad_product(z: &Sizes) -> Product {
    let (v, h) = (z.window.vertical, z.window.horizontal);
    let (taps, plane) = (z.r * z.s, z.p * z.q);
    Product {
        groups: z.window.groups,
        m: z.k_group(),
        inner: [z.n, z.p, z.q],
        columns: [z.c_group(), z.r, z.s],
        a_group: z.k_group() * plane,
        a_m: plane,
        a_inner: [z.k * plane, z.q, 1],
        a_quads: plane.is_multiple_of(4),
        b_group: z.c_group() * z.h * z.w,
        b_inner: z.c * z.h * z.w,
        b_column: z.h * z.w,
        image: [z.h, z.w],
        first: [-(v.before as i32), -(h.before as i32)],
        inner_step: [v.stride as i32, h.stride as i32],
        column_step: [v.dilation as i32, h.dilation as i32],
        checked: padded(z),
        c_elements: z.weights(),
        c_group: z.k_group() * z.c_group() * taps,
        c_m: z.c_group() * taps,
        c_j: taps,
        c_image: [z.r, z.s],
        image_result: false,
        strided: None,
    }
}

fn padded(z: &Sizes) -> bool {
    [z.window.vertical, z.window.horizontal].iter().any(|a| a.before + a.after > 0)
}

fn gcd(a: usize, b: usize) -> usize {
    if b == 0 { a } else { gcd(b, a % b) }
}

pub(super) fn forward(z: &Sizes, op: &Conv2d) -> Option<Candidate> {
    let bias = (op.bias == Bias::Channels).then_some(Bind::Input(2));
    served(z).then(|| candidate(forward_product(z), bias, op.activation))?
}

pub(super) fn input_grad(z: &Sizes) -> Option<Candidate> {
    served(z).then(|| candidate(input_grad_product(z), None, Activation::None))?
}

pub(super) fn weight_grad(z: &Sizes) -> Option<Candidate> {
    served(z).then(|| candidate(weight_grad_product(z), None, Activation::None))?
}

/// Whether there is something to sum, and to gather: not so in an image of padding alone.
fn served(z: &Sizes) -> bool {
    z.multiply_adds() > 0 && z.h * z.w > 0
}

/// Of the multiply-adds of the tiles one in so many must be wanted: with few channels in a group it is not so, and
/// `direct` wastes less.
const LEAST_SHARE: u64 = 8;

/// So few pixels keep a GPU busy only where their sums are split, which `direct` does not do.
const FEW: usize = 1 << 15;

/// Sums that are worth splitting.
const LONG: usize = 512;

fn candidate(x: Product, bias: Option<Bind>, activation: Activation) -> Option<Candidate> {
    let [spread, dilation, every] = match &x.strided {
        None => [[1, 1]; 3],
        Some(s) => [s.stride, s.dilation, s.every],
    };
    let bands = [0, 1].map(|i| spread[i].min(x.c_image[i]));
    let n: usize = x.columns.iter().product();
    // The longest sum of any band.
    let k = x.inner[0] * x.inner[1].div_ceil(every[0]) * x.inner[2].div_ceil(every[1]);
    let count = x.groups * bands[0] * bands[1];
    let tile = Tile::of(x.m, n, count);
    let computed = tile.area(x.m, n) as u64 * k.next_multiple_of(tile.step()) as u64;
    let wanted = (x.m * n) as u64 * k as u64;
    let few = x.image_result && x.c_elements < FEW && k >= LONG;
    if computed > LEAST_SHARE * wanted && !few {
        return None;
    }
    let tiles = tile.tiles(x.m, n) * count;
    let split = tile.split(k, tiles);
    let workgroups = tiles * split.splits;

    let whole_bands = [0, 1].iter().all(|&i| x.c_image[i].is_multiple_of(spread[i]));
    let edges = tile.area(x.m, n) != x.m * n || !whole_bands;
    let shortest = if x.strided.is_some() { x.inner[0] } else { k };
    // The kernels have the same parameters, but each its own type for them.
    macro_rules! dispatch {
        ($kernel:ident) => {
            $kernel::dispatch($kernel::Params {
                workgroups: workgroups as u32,
                tiles_m: x.m.div_ceil(tile.rows()) as u32,
                tiles_n: n.div_ceil(tile.columns()) as u32,
                splits: split.splits as u32,
                groups: x.groups as u32,
                bands_w: bands[1] as u32,
                m: x.m as u32,
                n: n as u32,
                k_split: split.length as u32,
                inner_j: x.inner[0] as u32,
                inner_h: x.inner[1] as u32,
                inner_w: x.inner[2] as u32,
                a_group: x.a_group as u32,
                a_m: x.a_m as u32,
                a_j: x.a_inner[0] as u32,
                a_h: x.a_inner[1] as u32,
                a_w: x.a_inner[2] as u32,
                b_group: x.b_group as u32,
                b_inner: x.b_inner as u32,
                b_column: x.b_column as u32,
                height: x.image[0] as u32,
                width: x.image[1] as u32,
                first_h: x.first[0] as u32,
                first_w: x.first[1] as u32,
                inner_step_h: x.inner_step[0] as u32,
                inner_step_w: x.inner_step[1] as u32,
                column_step_h: x.column_step[0] as u32,
                column_step_w: x.column_step[1] as u32,
                column_h: x.columns[1] as u32,
                column_w: x.columns[2] as u32,
                c_group: x.c_group as u32,
                c_m: x.c_m as u32,
                c_j: x.c_j as u32,
                c_height: x.c_image[0] as u32,
                c_width: x.c_image[1] as u32,
                c_split: x.c_elements as u32,
                spread_h: spread[0] as u32,
                spread_w: spread[1] as u32,
                dilation_h: dilation[0] as u32,
                dilation_w: dilation[1] as u32,
                every_h: every[0] as u32,
                every_w: every[1] as u32,
            })
        };
    }
    let dispatch = if x.a_quads { dispatch!(quads) } else { dispatch!(floats) };
    let finish = Finish { bias, activation, channels: x.groups * x.m, plane: x.c_m };
    let (bias, activation) = if split.splits == 1 { (bias, activation) } else { (None, Activation::None) };
    let to = if split.splits == 1 { Bind::Output(0) } else { Bind::Scratch(0) };
    let product = tile
        .bake(dispatch)
        .constant("CHECKED", x.checked)
        .constant("STRIDED", x.strided.is_some())
        .constant("EDGES", edges)
        .constant("K_TAIL", !shortest.is_multiple_of(tile.step()))
        .constant("BIAS", bias.is_some())
        .constant("ACTIVATION", activation as u32)
        .bind(&[Bind::Input(1), Bind::Input(0), bias.unwrap_or(Bind::Input(1)), to])
        .groups(workgroups as u64)
        .trips(tile.trips(split.length) + (every[0] + every[1]) as u64);
    // Beside the tiles: four tables of two steps, and the places of the columns.
    let needs = tile.needs(4 * (4 * 2 * tile.step() + tile.columns()));
    let candidate = Candidate::new("implicit_gemm").needs(needs);
    Some(add_parts(candidate, product, x.c_elements, split.splits, finish))
}
