// dx of bilinear interpolation: each element adds up dy of the results that lie between its neighbours, weighted by how
// near they are. One thread per element.

const ROWS: bool = true; // between rows too

//!include lib/scaled.wgsl

struct Params {
    len: u32, // N * C * H * W
    h: u32,
    w: u32,
    out_h: u32,
    out_w: u32,
    step_h: u32, // result i of an axis lies at (i * step + start) / unit
    start_h: i32,
    unit_h: u32,
    step_w: u32,
    start_w: i32,
    unit_w: u32,
}

@group(0) @binding(0) var<uniform> p: Params;
@group(0) @binding(1) var<storage, read> dy: array<f32>; // [N, C, P, Q]
@group(0) @binding(2) var<storage, read_write> dx: array<f32>; // [N, C, H, W]

// The first of `count` results that lies at position `at` or behind it.
fn first_from(at: i32, step: u32, start: i32, unit: u32, count: u32) -> u32 {
    if (at <= 0 || step == 0u) {
        return select(count, 0u, at <= 0);
    }
    return min(u32(max(scaled(u32(at), unit, i32(step) - 1 - start, step).whole, 0)), count);
}

// How much of the result at `at` the element h of an axis of `size` makes up.
fn weight(at: Scaled, h: i32, unit: u32, size: u32) -> f32 {
    let whole = clamp(at.whole, 0, i32(size) - 1);
    let inside = at.whole >= 0 && at.whole < i32(size) - 1;
    let rest = select(0u, at.rest, inside);
    return f32(select(select(0u, rest, whole == h - 1), unit - rest, whole == h)) / f32(unit);
}

// The position one result on.
fn next(at: Scaled, step: u32, unit: u32, whole: i32, more: u32) -> Scaled {
    let rest = at.rest + more;
    return Scaled(at.whole + whole + select(0, 1, rest >= unit), select(rest, rest - unit, rest >= unit));
}

fn along_row(base: u32, w: i32, first: u32, end: u32) -> f32 {
    var at = scaled(first, p.step_w, p.start_w, p.unit_w);
    let whole = i32(p.step_w / p.unit_w);
    let more = p.step_w % p.unit_w;
    var sum = 0.0;
    for (var column = first; column < end; column++) {
        sum += weight(at, w, p.unit_w, p.w) * dy[base + column];
        at = next(at, p.step_w, p.unit_w, whole, more);
    }
    return sum;
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
    let rows = id / p.w;
    let w = i32(id % p.w);
    let column_first = first_from(w - 1, p.step_w, p.start_w, p.unit_w, p.out_w);
    let column_last = first_from(w + 1, p.step_w, p.start_w, p.unit_w, p.out_w);
    let column_end = select(column_last, p.out_w, w + 1 == i32(p.w));
    if (!ROWS) {
        dx[id] = along_row(rows * p.out_w, w, column_first, column_end);
        return;
    }
    let h = i32(rows % p.h);
    let plane = rows / p.h * p.out_h;
    let row_first = first_from(h - 1, p.step_h, p.start_h, p.unit_h, p.out_h);
    let row_last = first_from(h + 1, p.step_h, p.start_h, p.unit_h, p.out_h);
    let row_end = select(row_last, p.out_h, h + 1 == i32(p.h));
    var at = scaled(row_first, p.step_h, p.start_h, p.unit_h);
    let whole = i32(p.step_h / p.unit_h);
    let more = p.step_h % p.unit_h;
    var sum = 0.0;
    for (var row = row_first; row < row_end; row++) {
        let line = along_row((plane + row) * p.out_w, w, column_first, column_end);
        sum += weight(at, h, p.unit_h, p.h) * line;
        at = next(at, p.step_h, p.unit_h, whole, more);
    }
    dx[id] = sum;
}
