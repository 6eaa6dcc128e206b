// dx of max pooling over windows of 3 x 3, two apart, with padding 1, in rows whose length is a multiple of 8, for
// 8-lane software adapters: an element lies in one window, two or four. One thread per eight columns of two rows.

//!include lib/octet.wgsl
//!include lib/quotient.wgsl

struct Params {
    len: u32, // N * C * P * Q / 4
    h: u32,
    octets: u32, // W / 8
    out_h: u32,
    magic_w: u32, // for quotients by octets
    shift_w: u32,
    magic_h: u32, // for quotients by out_h
    shift_h: u32,
}

@group(0) @binding(0) var<uniform> p: Params;
@group(0) @binding(1) var<storage, read> dy: array<vec2<u64>>; // [N, C, P, Q]
@group(0) @binding(2) var<storage, read> found: array<vec2<u64>>; // [N, C, P, Q], index of the maximum in its plane
@group(0) @binding(3) var<storage, read_write> dx: array<vec4<u64>>; // [N, C, H, W]

// Four neighbouring words.
fn words(pairs: vec2<u64>) -> vec4<u32> {
    let low = vec2<u32>(pairs);
    let high = vec2<u32>(pairs >> vec2<u32>(32u));
    return vec4<u32>(low.x, high.x, low.y, high.y);
}

// What four windows and the ones behind each have found, and what they give.
struct Windows {
    found: vec4<u32>,
    found_behind: vec4<u32>,
    dy: vec4<f32>,
    dy_behind: vec4<f32>,
}

// dx of a row's even and odd columns.
struct Sums {
    even: vec4<f32>,
    odd: vec4<f32>,
}

// The windows over octet `column`, of the row of windows `rows`; they give nothing where there are none.
fn windows(rows: u32, column: u32, there: bool) -> Windows {
    let at = rows * p.octets + column;
    let last = column + 1u == p.octets;
    let next = at + select(1u, 0u, last);
    let of_found = words(found[at]);
    let of_dy = bitcast<vec4<f32>>(words(dy[at]));
    let next_found = u32(found[next].x);
    let next_dy = bitcast<f32>(u32(dy[next].x));
    return Windows(
        of_found,
        vec4<u32>(of_found.yzw, next_found),
        select(vec4<f32>(0.0), of_dy, there),
        select(vec4<f32>(0.0), vec4<f32>(of_dy.yzw, select(next_dy, 0.0, last)), there),
    );
}

// What `windows` give to elements w, w + 2, w + 4, w + 6 and their right neighbours.
fn to_row(windows: Windows, w: u32) -> Sums {
    let even = w + vec4<u32>(0u, 2u, 4u, 6u);
    let odd = even + 1u;
    let zero = vec4<f32>(0.0);
    return Sums(
        select(zero, windows.dy, windows.found == even),
        select(zero, windows.dy, windows.found == odd)
            + select(zero, windows.dy_behind, windows.found_behind == odd),
    );
}

@compute @workgroup_size(64)
fn main(
    @builtin(local_invocation_index) lane: u32,
    @builtin(workgroup_id) wid: vec3<u32>,
    @builtin(num_workgroups) nwg: vec3<u32>,
) {
    let id = (wid.x + wid.y * nwg.x) * 64u + lane;
    if (id >= p.len) {
        return;
    }
    let rows = quotient(id, p.magic_w, p.shift_w);
    let plane = quotient(rows, p.magic_h, p.shift_h);
    let column = id - rows * p.octets;
    let row = rows - plane * p.out_h;
    // An even row lies in one row of windows, an odd one also in the next, if there is one.
    let below = row + 1u < p.out_h;
    let own = windows(rows, column, true);
    let next = windows(rows + select(0u, 1u, below), column, below);
    let w = (2u * row * p.octets + column) * 8u;
    let upper = to_row(own, w);
    let from_own = to_row(own, w + p.octets * 8u);
    let from_next = to_row(next, w + p.octets * 8u);
    let lower = Sums(from_own.even + from_next.even, from_own.odd + from_next.odd);
    let at = (plane * p.h + 2u * row) * p.octets + column;
    dx[at] = octet_of(upper.even, upper.odd);
    if (2u * row + 1u < p.h) {
        dx[at + p.octets] = octet_of(lower.even, lower.odd);
    }
}
