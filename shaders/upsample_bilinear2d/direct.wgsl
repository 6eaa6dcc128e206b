// Linear interpolation between the two nearest rows and columns. One thread per result.

const ROWS: bool = true; // between rows too

//!include lib/scaled.wgsl

struct Params {
    len: u32, // N * C * P * Q
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
@group(0) @binding(1) var<storage, read> x: array<f32>; // [N, C, H, W]
@group(0) @binding(2) var<storage, read_write> y: array<f32>; // [N, C, P, Q]

struct Between {
    low: u32,
    high: u32,
    low_weight: f32,
    high_weight: f32,
}

// The neighbours of a position on an axis of `size`: before the first and behind the last element, that one.
fn neighbours(at: Scaled, unit: u32, size: u32) -> Between {
    let low = min(u32(max(at.whole, 0)), size - 1u);
    let rest = select(0u, at.rest, at.whole >= 0 && low + 1u < size);
    return Between(low, min(low + 1u, size - 1u), f32(unit - rest) / f32(unit), f32(rest) / f32(unit));
}

fn along_row(base: u32, w: Between) -> f32 {
    return w.low_weight * x[base + w.low] + w.high_weight * x[base + w.high];
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
    let rows = id / p.out_w;
    let w = neighbours(scaled(id % p.out_w, p.step_w, p.start_w, p.unit_w), p.unit_w, p.w);
    if (!ROWS) {
        y[id] = along_row(rows * p.w, w);
        return;
    }
    let h = neighbours(scaled(rows % p.out_h, p.step_h, p.start_h, p.unit_h), p.unit_h, p.h);
    let plane = rows / p.out_h * p.h;
    y[id] = h.low_weight * along_row((plane + h.low) * p.w, w)
        + h.high_weight * along_row((plane + h.high) * p.w, w);
}
