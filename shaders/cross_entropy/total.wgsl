// The sum of all rows' losses, or their weighted mean: one workgroup.

const MEAN: bool = false;

struct Params {
    rows: u32,
}

@group(0) @binding(0) var<uniform> p: Params;
@group(0) @binding(1) var<storage, read> losses: array<f32>; // [rows]
@group(0) @binding(2) var<storage, read> weights: array<f32>; // [rows]
@group(0) @binding(3) var<storage, read_write> loss: array<f32>; // []

//!include lib/tree64.wgsl

@compute @workgroup_size(64)
fn main(@builtin(local_invocation_index) lane: u32) {
    var sums = vec2<f32>(0.0);
    var carry = vec2<f32>(0.0);
    for (var i = lane; i < p.rows; i += 64u) {
        sums += vec2<f32>(losses[i], weights[i]);
        // Short chains lose less.
        if ((i / 64u) % 32u == 31u) {
            carry += sums;
            sums = vec2<f32>(0.0);
        }
    }
    let sum = tree_sum(lane, carry.x + sums.x);
    let divisor = tree_sum(lane, carry.y + sums.y);
    if (lane == 0u) {
        if (MEAN) {
            loss[0] = sum / divisor;
        } else {
            loss[0] = sum;
        }
    }
}
