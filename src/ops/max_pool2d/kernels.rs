//! The kernels of max pooling: for any windows, for windows of 2 x 2 that tile the image, and for windows of 3 x 3, two
//! apart.

use super::Gives;
use crate::kernel::{Bind, Candidate, Dispatch, Needs, Target};
use crate::ops::batch_norm::floats;
use crate::ops::windows::{Windows, ordered};
use crate::pointwise::Divisor;
use crate::shape::Shape;

/// A dispatch over windows of 2 x 2, `$per` results along a row per thread.
macro_rules! tiles {
    ($kernel:ident, $y:expr, $per:expr) => {{
        let (threads, row) = ($y.elements() / $per, Divisor::new($y[3] / $per));
        $kernel::dispatch($kernel::Params {
            len: threads as u32,
            out_w: row.size,
            magic: row.magic,
            shift: row.shift,
        })
        .groups(threads.div_ceil(64) as u64)
    }};
}

/// A dispatch over windows of 3 x 3, four results along a row per thread.
macro_rules! threes {
    ($kernel:ident, $x:expr, $y:expr) => {{
        let (threads, row, column) = ($y.elements() / 4, Divisor::new($x[3] / 8), Divisor::new($y[2]));
        $kernel::dispatch($kernel::Params {
            len: threads as u32,
            h: $x[2] as u32,
            octets: row.size,
            out_h: column.size,
            magic_w: row.magic,
            shift_w: row.shift,
            magic_h: column.magic,
            shift_h: column.shift,
        })
        .groups(threads.div_ceil(64) as u64)
    }};
}

fn software(variant: &'static str, dispatch: Dispatch) -> Candidate {
    Candidate::new(variant).needs(Needs::SUBGROUP8).dispatch(dispatch)
}

/// Ways to compute maxima or their indices.
pub(super) fn forward(windows: &Windows, gives: Gives, x: Shape, y: Shape, target: &Target) -> Vec<Candidate> {
    let bind = [Bind::Input(0), Bind::Output(0)];
    let base = Candidate::new("direct").dispatch(direct(windows, x, y, gives).bind(&bind));
    if windows.threes(x, y) {
        let indices = gives == Gives::Indices;
        let fast = threes!(threes, x, y).constant("INDICES", indices).bind(&bind);
        let portable = threes!(threes_vec4, x, y).constant("INDICES", indices).bind(&bind);
        let portable = Candidate::new("threes_vec4").dispatch(portable);
        return ordered(vec![software("threes", fast)], Some(portable), base, target);
    }
    if gives == Gives::Indices || !windows.pairs(x) {
        return vec![base];
    }
    let (mut fast, mut portable) = (Vec::new(), None);
    if y[3].is_multiple_of(2) {
        fast.push(software("double_pairs", tiles!(double_pairs, y, 2).bind(&bind)));
        portable = Some(Candidate::new("vec4").dispatch(tiles!(vec4, y, 2).bind(&bind)));
    }
    fast.push(software("pairs", tiles!(pairs, y, 1).bind(&bind)));
    ordered(fast, portable, base, target)
}

/// Ways to compute the gradient from x and dy.
pub(super) fn backward(windows: &Windows, x: Shape, y: Shape, target: &Target) -> Vec<Candidate> {
    let base = gather(windows, x, y);
    if windows.threes(x, y) {
        let found = [Bind::Input(0), Bind::Scratch(0)];
        let bind = [Bind::Input(1), Bind::Scratch(0), Bind::Output(0)];
        let fast = software("threes", threes!(threes, x, y).constant("INDICES", true).bind(&found))
            .scratch(floats(y.elements()))
            .dispatch(threes!(threes_backward, x, y).bind(&bind));
        let portable = Candidate::new("threes_vec4")
            .scratch(floats(y.elements()))
            .dispatch(threes!(threes_vec4, x, y).constant("INDICES", true).bind(&found))
            .dispatch(threes!(threes_vec4_backward, x, y).bind(&bind));
        return ordered(vec![fast], Some(portable), base, target);
    }
    if !windows.pairs(x) {
        return vec![base];
    }
    let bind = [Bind::Input(0), Bind::Input(1), Bind::Output(0)];
    let (mut fast, mut portable) = (Vec::new(), None);
    if y[3].is_multiple_of(2) {
        fast.push(software("double_pairs", tiles!(double_pairs_backward, y, 2).bind(&bind)));
        portable = Some(Candidate::new("vec4").dispatch(tiles!(vec4_backward, y, 2).bind(&bind)));
    }
    fast.push(software("pairs", tiles!(pairs_backward, y, 1).bind(&bind)));
    ordered(fast, portable, base, target)
}

/// Maxima or indices of any windows; buffers are still to be given.
fn direct(windows: &Windows, x: Shape, y: Shape, gives: Gives) -> Dispatch {
    let params = direct::Params {
        len: y.elements() as u32,
        h: x[2] as u32,
        w: x[3] as u32,
        out_h: y[2] as u32,
        out_w: y[3] as u32,
        kernel_h: windows.kernel[0] as u32,
        kernel_w: windows.kernel[1] as u32,
        stride_h: windows.stride[0] as u32,
        stride_w: windows.stride[1] as u32,
        pad_h: windows.padding[0] as u32,
        pad_w: windows.padding[1] as u32,
        dilation_h: windows.dilation[0] as u32,
        dilation_w: windows.dilation[1] as u32,
    };
    direct::dispatch(params)
        .constant("INDICES", gives == Gives::Indices)
        .groups(y.elements().div_ceil(64) as u64)
        .trips(windows.taps_trips())
}

/// The gradient of any windows: where the maxima are, then what each element gets.
fn gather(windows: &Windows, x: Shape, y: Shape) -> Candidate {
    let params = gather::Params {
        len: x.elements() as u32,
        h: x[2] as u32,
        w: x[3] as u32,
        out_h: y[2] as u32,
        out_w: y[3] as u32,
        kernel_h: windows.kernel[0] as u32,
        kernel_w: windows.kernel[1] as u32,
        stride_h: windows.stride[0] as u32,
        stride_w: windows.stride[1] as u32,
        pad_h: windows.padding[0] as u32,
        pad_w: windows.padding[1] as u32,
        dilation_h: windows.dilation[0] as u32,
        dilation_w: windows.dilation[1] as u32,
    };
    let by_tap = windows.dilation != [1, 1];
    let gather = gather::dispatch(params)
        .constant("BY_TAP", by_tap)
        .bind(&[Bind::Input(1), Bind::Scratch(0), Bind::Output(0)])
        .groups(x.elements().div_ceil(64) as u64)
        .trips(if by_tap { windows.taps_trips() } else { windows.covering_trips(y) });
    let found = direct(windows, x, y, Gives::Indices).bind(&[Bind::Input(0), Bind::Scratch(0)]);
    Candidate::new("gather").scratch(floats(y.elements())).dispatch(found).dispatch(gather)
}

crate::kernel! {
    /// One thread per window.
    mod direct = "shaders/max_pool2d/direct.wgsl";
    params {
        len: u32, h: u32, w: u32, out_h: u32, out_w: u32, kernel_h: u32, kernel_w: u32,
        stride_h: u32, stride_w: u32, pad_h: u32, pad_w: u32, dilation_h: u32, dilation_w: u32,
    }
    bind { x: Read, y: ReadWrite }
}

crate::kernel! {
    /// One thread per 2 x 2 window.
    mod pairs = "shaders/max_pool2d/pairs.wgsl";
    params { len: u32, out_w: u32, magic: u32, shift: u32 }
    bind { x: Read, y: ReadWrite }
}

crate::kernel! {
    /// One thread per two 2 x 2 windows.
    mod double_pairs = "shaders/max_pool2d/double_pairs.wgsl";
    params { len: u32, out_w: u32, magic: u32, shift: u32 }
    bind { x: Read, y: ReadWrite }
}

crate::kernel! {
    /// One thread per two 2 x 2 windows.
    mod vec4 = "shaders/max_pool2d/vec4.wgsl";
    params { len: u32, out_w: u32, magic: u32, shift: u32 }
    bind { x: Read, y: ReadWrite }
}

crate::kernel! {
    /// One thread per four 3 x 3 windows.
    mod threes = "shaders/max_pool2d/threes.wgsl";
    params { len: u32, h: u32, octets: u32, out_h: u32, magic_w: u32, shift_w: u32, magic_h: u32, shift_h: u32 }
    bind { x: Read, y: ReadWrite }
}

crate::kernel! {
    /// One thread per four 3 x 3 windows.
    mod threes_vec4 = "shaders/max_pool2d/threes_vec4.wgsl";
    params { len: u32, h: u32, octets: u32, out_h: u32, magic_w: u32, shift_w: u32, magic_h: u32, shift_h: u32 }
    bind { x: Read, y: ReadWrite }
}

crate::kernel! {
    /// One thread per element of dx.
    mod gather = "shaders/max_pool2d_backward/gather.wgsl";
    params {
        len: u32, h: u32, w: u32, out_h: u32, out_w: u32, kernel_h: u32, kernel_w: u32,
        stride_h: u32, stride_w: u32, pad_h: u32, pad_w: u32, dilation_h: u32, dilation_w: u32,
    }
    bind { dy: Read, found: Read, dx: ReadWrite }
}

crate::kernel! {
    /// One thread per 2 x 2 window.
    mod pairs_backward = "shaders/max_pool2d_backward/pairs.wgsl";
    params { len: u32, out_w: u32, magic: u32, shift: u32 }
    bind { x: Read, dy: Read, dx: ReadWrite }
}

crate::kernel! {
    /// One thread per two 2 x 2 windows.
    mod double_pairs_backward = "shaders/max_pool2d_backward/double_pairs.wgsl";
    params { len: u32, out_w: u32, magic: u32, shift: u32 }
    bind { x: Read, dy: Read, dx: ReadWrite }
}

crate::kernel! {
    /// One thread per two 2 x 2 windows.
    mod vec4_backward = "shaders/max_pool2d_backward/vec4.wgsl";
    params { len: u32, out_w: u32, magic: u32, shift: u32 }
    bind { x: Read, dy: Read, dx: ReadWrite }
}

crate::kernel! {
    /// One thread per eight columns of two rows.
    mod threes_backward = "shaders/max_pool2d_backward/threes.wgsl";
    params { len: u32, h: u32, octets: u32, out_h: u32, magic_w: u32, shift_w: u32, magic_h: u32, shift_h: u32 }
    bind { dy: Read, found: Read, dx: ReadWrite }
}

crate::kernel! {
    /// One thread per eight columns of two rows.
    mod threes_vec4_backward = "shaders/max_pool2d_backward/threes_vec4.wgsl";
    params { len: u32, h: u32, octets: u32, out_h: u32, magic_w: u32, shift_w: u32, magic_h: u32, shift_h: u32 }
    bind { dy: Read, found: Read, dx: ReadWrite }
}
