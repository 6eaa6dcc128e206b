// A convolution or one of its gradients as a product of matrices, C = A x B, whose B is never written out: its
// elements are gathered from an image on their way into workgroup memory.
//
// | C | M | N, columns | K, the inner index | A | B |
// |---|---|---|---|---|---|
// | y | output channels | pixels of y | input channels, taps | w | x |
// | dx | input channels | pixels of dx | output channels, taps | w | dy |
// | dw | output channels | input channels, taps | pixels of dy | dy | x |
//
// A column has three digits (j, h, w) and so has an inner index: (image or channel, row or tap, column or tap). The
// element of B where they meet lies in the plane that both first digits name together; its row is a sum of what both
// second digits contribute, its column likewise. What the inner digits contribute is the same for all columns: a few
// threads work it out for all others, one step ahead.
//
// The including kernel declares `a`, a_quad and a_inside.

const CHECKED: bool = true; // some elements lie outside of the image, and count as 0
const STRIDED: bool = false; // dx of a convolution with a stride: see `meeting`
const EDGES: bool = true; // M and N are not whole tiles
const K_TAIL: bool = true; // a part of K is not whole steps
const BIAS: bool = false;
const ACTIVATION: u32 = 0u; // 0 none, 1 relu, 2 sigmoid, 3 tanh

const A_ALONG_K: bool = true;
const A_LANES_ALONG_K: bool = true;
const B_ALONG_K: bool = true;
const B_LANES_ALONG_K: bool = false;
const BLOCKED: bool = false;

struct Params {
    workgroups: u32, // all of: bands, groups, splits, tiles along N, tiles along M
    tiles_m: u32,
    tiles_n: u32,
    splits: u32, // parts of K, each summed by its own workgroups into its own copy of C
    groups: u32,
    bands_w: u32,
    m: u32, // of a group
    n: u32, // of a group and band
    k_split: u32, // length of a part, a multiple of STEP
    inner_j: u32, // the inner digits count to these
    inner_h: u32,
    inner_w: u32,
    a_group: u32, // what one group, row or inner digit adds to the place of an element of A
    a_m: u32,
    a_j: u32,
    a_h: u32,
    a_w: u32,
    b_group: u32, // what the first digits add to the place of an element of B
    b_inner: u32,
    b_column: u32,
    height: u32, // of the image that B is gathered from
    width: u32,
    first_h: u32, // row and column of the image for digits 0, and what one digit adds; all may be negative
    first_w: u32,
    inner_step_h: u32,
    inner_step_w: u32,
    column_step_h: u32,
    column_step_w: u32,
    column_h: u32, // the column digits count to these
    column_w: u32,
    c_group: u32, // what one group, row or column digit adds to the place of an element of C
    c_m: u32,
    c_j: u32,
    c_height: u32, // of the image (or kernel) that the columns are pixels of
    c_width: u32,
    c_split: u32,
    spread_h: u32, // STRIDED: the stride, else 1
    spread_w: u32,
    dilation_h: u32, // the others are of STRIDED alone
    dilation_w: u32,
    every_h: u32, // taps from one that meets a row to the next
    every_w: u32,
}

@group(0) @binding(0) var<uniform> p: Params;
@group(0) @binding(2) var<storage, read> b: array<f32>; // x [N, C, H, W], or dy [N, K, P, Q]
@group(0) @binding(3) var<storage, read> bias: array<f32>; // [K]
@group(0) @binding(4) var<storage, read_write> c: array<f32>; // [splits] of y, dx, or dw [K, C / groups, R, S]

//!include lib/workgroup_product.wgsl
//!include lib/activation.wgsl

// Marks of inner indices behind the end, and of columns.
const NONE: u32 = 0xffffffffu;
// A row that is outside of every image, whatever is added to it.
const OUTSIDE: u32 = 0x80000000u;

// What the inner digits of a step contribute, for two steps in turn.
var<workgroup> a_offsets: array<vec4<u32>, 2u * STEP4>;
var<workgroup> b_offsets: array<vec4<u32>, 2u * STEP4>;
var<workgroup> b_rows: array<vec4<u32>, 2u * STEP4>;
var<workgroup> b_columns: array<vec4<u32>, 2u * STEP4>;
// Where the columns of the tile lie in C.
var<workgroup> c_columns: array<u32, TILE_N>;

var<private> thread: u32;
var<private> k_end: u32;
var<private> a_rows: array<u32, A_LOADS>; // where this thread's rows of A begin
var<private> b_from: u32; // where this thread's column of B begins, and its row and column of the image
var<private> b_elements: array<vec4<bool>, B_LOADS>; // of the quads that are read last: which are inside of the image
var<private> h_from: u32;
var<private> w_from: u32;
// Of the threads that work out a step: the first of the four inner indices that are next, and its digits.
var<private> next_k: u32;
var<private> next: vec3<u32>;
var<private> step_digits: vec3<u32>;
var<private> inner: vec2<u32>; // what the last two digits count to
var<private> a_digits: vec3<u32>; // what one digit adds to the place of an element of A

fn digits(index: u32, h: u32, w: u32) -> vec3<u32> {
    let row = index / w;
    let j = row / h;
    return vec3<u32>(j, row - j * h, index - row * w);
}

// The digits of the sum of two numbers.
fn sum_of(x: vec3<u32>, y: vec3<u32>) -> vec3<u32> {
    var sum = x + y;
    if (sum.z >= inner.y) {
        sum.z -= inner.y;
        sum.y += 1u;
    }
    if (sum.y >= inner.x) {
        sum.y -= inner.x;
        sum.x += 1u;
    }
    return sum;
}

fn prepare(step: u32) {
    if (thread < STEP4) {
        var at = next;
        var of_a: vec4<u32>;
        var of_b: vec4<u32>;
        var rows: vec4<u32>;
        var columns: vec4<u32>;
        //!unroll
        for (var j = 0u; j < 4u; j++) {
            let inside = next_k + j < k_end;
            let h = at.y * p.inner_step_h;
            let w = at.z * p.inner_step_w;
            of_a[j] = select(NONE, at.x * a_digits.x + at.y * a_digits.y + at.z * a_digits.z, inside);
            of_b[j] = at.x * p.b_inner + h * p.width + w;
            rows[j] = select(OUTSIDE, h, inside);
            columns[j] = w;
            at = sum_of(at, vec3<u32>(0u, 0u, 1u));
        }
        let slot = step % 2u * STEP4 + thread;
        a_offsets[slot] = of_a;
        b_offsets[slot] = of_b;
        b_rows[slot] = rows;
        b_columns[slot] = columns;
        next_k += STEP;
        next = sum_of(next, step_digits);
    }
}

fn b_quad(load: u32, step: u32) -> vec4<f32> {
    let slot = step % 2u * STEP4 + b_k(load * THREADS + thread) / 4u;
    let at = b_from + b_offsets[slot];
    var inside = vec4<bool>(true);
    if (CHECKED) {
        // A position before the image wraps to one far behind it.
        let h = h_from + b_rows[slot];
        let w = w_from + b_columns[slot];
        inside = (h < vec4<u32>(p.height)) & (w < vec4<u32>(p.width));
    } else if (K_TAIL) {
        inside = b_rows[slot] != vec4<u32>(OUTSIDE);
    }
    b_elements[load] = inside;
    let safe = select(vec4<u32>(0u), at, inside);
    return vec4<f32>(b[safe.x], b[safe.y], b[safe.z], b[safe.w]);
}

fn b_inside(load: u32, step: u32, quad: vec4<f32>) -> vec4<f32> {
    return select(vec4<f32>(0.0), quad, b_elements[load]);
}

// The taps that meet certain rows (or columns) of dx: `first`, `first + every`, .. The first one meets row `start` of
// dy for the first of those rows.
struct Taps {
    first: u32,
    count: u32,
    start: u32,
}

// With a stride each row of dx meets some of the taps only; which ones depends on its remainder `band` modulo the
// stride. All rows of a band are summed together, over their taps alone.
fn meeting(band: u32, pad: u32, stride: u32, dilation: u32, every: u32, taps: u32) -> Taps {
    var first = 0u;
    // Modulo the stride, without the remainder of a negative number, which GLSL leaves undefined.
    let ahead = dilation % stride;
    var rest = (band + pad) % stride;
    while (first < every && rest != 0u) {
        rest = select(rest + stride - ahead, rest - ahead, rest >= ahead);
        first++;
    }
    if (first >= min(every, taps)) {
        return Taps(0u, 0u, 0u);
    }
    let start = bitcast<u32>((i32(band + pad) - i32(first * dilation)) / i32(stride));
    return Taps(first, (taps - first + every - 1u) / every, start);
}

@compute @workgroup_size(THREADS)
fn main(
    @builtin(local_invocation_index) t: u32,
    @builtin(workgroup_id) wid: vec3<u32>,
    @builtin(num_workgroups) nwg: vec3<u32>,
) {
    let id = wid.x + wid.y * nwg.x;
    if (id >= p.workgroups) {
        return;
    }
    // Neighbouring workgroups gather the same part of B.
    let tiles = digits(id, p.tiles_n, p.tiles_m);
    let parts = digits(tiles.x, p.groups, p.splits);
    let m0 = tiles.z * TILE_M;
    let n0 = tiles.y * TILE_N;
    let split = parts.z;
    let group = parts.y;
    let band = parts.x;
    let band_h = band / p.bands_w;
    let band_w = band % p.bands_w;

    var vertical = Taps(0u, p.inner_h, p.first_h);
    var horizontal = Taps(0u, p.inner_w, p.first_w);
    var a_first = group * p.a_group;
    a_digits = vec3<u32>(p.a_j, p.a_h, p.a_w);
    if (STRIDED) {
        vertical = meeting(band_h, p.first_h, p.spread_h, p.dilation_h, p.every_h, p.inner_h);
        horizontal = meeting(band_w, p.first_w, p.spread_w, p.dilation_w, p.every_w, p.inner_w);
        a_first += vertical.first * p.a_h + horizontal.first * p.a_w;
        a_digits *= vec3<u32>(1u, p.every_h, p.every_w);
    }
    let k_first = split * p.k_split;
    let k_last = min(k_first + p.k_split, p.inner_j * vertical.count * horizontal.count);
    let steps = (max(k_last, k_first) - k_first + STEP - 1u) / STEP;

    thread = t;
    k_end = k_last;
    inner = max(vec2<u32>(vertical.count, horizontal.count), vec2<u32>(1u));
    next_k = k_first + t * 4u;
    next = digits(next_k, inner.x, inner.y);
    step_digits = digits(STEP, inner.x, inner.y);
    // Past an edge the last row or column is read again; what comes of it is not stored.
    //!unroll
    for (var i = 0u; i < A_LOADS; i++) {
        a_rows[i] = a_first + min(m0 + a_position(i * THREADS + t), p.m - 1u) * p.a_m;
    }
    let n = n0 + b_position(t);
    let column = digits(min(n, p.n - 1u), p.column_h, p.column_w);
    h_from = vertical.start + column.y * p.column_step_h;
    w_from = horizontal.start + column.z * p.column_step_w;
    b_from = group * p.b_group + column.x * p.b_column + h_from * p.width + w_from;
    if (t < TILE_N) {
        let h = column.y * p.spread_h + band_h;
        let w = column.z * p.spread_w + band_w;
        let inside = n < p.n && h < p.c_height && w < p.c_width;
        c_columns[t] = select(NONE, column.x * p.c_j + h * p.c_width + w, inside);
    }
    product(steps, t);

    let c_first = split * p.c_split + group * p.c_group;
    //!unroll
    for (var e = 0u; e < ROWS; e++) {
        let m = m0 + owned(row_thread(t), ROW_THREADS, e);
        var add = vec4<f32>(0.0);
        if (BIAS) {
            add = vec4<f32>(bias[group * p.m + min(m, p.m - 1u)]);
        }
        //!unroll
        for (var h = 0u; h < COLUMN_QUADS; h++) {
            let y = activate(sums[e * COLUMN_QUADS + h] + add);
            //!unroll
            for (var j = 0u; j < 4u; j++) {
                let at = c_columns[owned(column_thread(t), COLUMN_THREADS, h * 4u + j)];
                if (!EDGES || (m < p.m && at != NONE)) {
                    c[c_first + m * p.c_m + at] = y[j];
                }
            }
        }
    }
}
