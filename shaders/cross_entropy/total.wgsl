// The sum of all rows' losses, or their weighted mean: by one workgroup, or by several that leave their sums for it.

const MEAN: bool = false;
const PARTS: bool = false; // several workgroups
const JOINED: bool = false; // what several left: the sums of weights lie behind those of losses, in one buffer

struct Params {
    rows: u32,
    groups: u32,
}

@group(0) @binding(0) var<uniform> p: Params;
@group(0) @binding(1) var<storage, read> losses: array<f32>; // [rows]
@group(0) @binding(2) var<storage, read> weights: array<f32>; // [rows], or with JOINED losses [2, rows]
@group(0) @binding(3) var<storage, read_write> loss: array<f32>; // [], or with PARTS [2, groups]

//!include lib/tree64.wgsl

@compute @workgroup_size(64)
fn main(@builtin(local_invocation_index) lane: u32, @builtin(workgroup_id) wid: vec3<u32>) {
    var sums = vec2<f32>(0.0);
    var carry = vec2<f32>(0.0);
    var trips = 0u;
    for (var i = wid.x * 64u + lane; i < p.rows; i += p.groups * 64u) {
        let weight = select(i, p.rows + i, JOINED);
        sums += vec2<f32>(losses[i], weights[weight]);
        // Short chains lose less.
        trips += 1u;
        if (trips % 32u == 0u) {
            carry += sums;
            sums = vec2<f32>(0.0);
        }
    }
    let sum = tree_sum(lane, carry.x + sums.x);
    let divisor = tree_sum(lane, carry.y + sums.y);
    if (lane == 0u) {
        if (PARTS) {
            loss[wid.x] = sum;
            loss[p.groups + wid.x] = divisor;
        } else if (MEAN) {
            loss[0] = sum / divisor;
        } else {
            loss[0] = sum;
        }
    }
}
