// The gradient of one step of a GRU: the product that leads here from the step after it, then what the step's gates and state
// pass on. A workgroup has 64 neighbouring units of ROWS sequences.

const AFTER: bool = false; // the reset gate multiplies the recurrent product
const RESET: bool = false; // without AFTER: the product of r * h, for which all of n must be there
const MASKED: bool = false;
const ROWS: u32 = 4u;
const PARTS: u32 = 1u;

struct Params {
    b: u32,
    h: u32,
    h4: u32, // vectors of a gate's rows
    t: u32, // the step
    next: u32, // the step after it, in the order of the sequence
    before_at: u32, // where the state before the step begins
    is_last: u32, // 1 for the last step: nothing flows in from a step after it
    is_end: u32, // 1 after the first step: only the product is still to be added
    tiles: u32, // of ROWS sequences
}

@group(0) @binding(0) var<uniform> p: Params;
@group(0) @binding(1) var<storage, read> w: array<vec4<f32>>; // [3, H / 4, H]
@group(0) @binding(2) var<storage, read> gates: array<f32>; // [T, B, S * H]: r, z, n, and with AFTER w * h + b of n
@group(0) @binding(3) var<storage, read> before: array<f32>; // h [T, B, H], or [B, H] before all steps
@group(0) @binding(4) var<storage, read> dh: array<f32>; // [T, B, H]
@group(0) @binding(5) var<storage, read> mask: array<f32>; // [T, B]
@group(0) @binding(6) var<storage, read_write> carry: array<f32>; // [B, H]: of h past the product
@group(0) @binding(7) var<storage, read_write> dx: array<f32>; // [T, B, 3 * H]
@group(0) @binding(8) var<storage, read_write> da: array<f32>; // [T, B, 3 * H]: of the recurrent product, with AFTER

//!include lib/cells.wgsl
//!include lib/rows_product.wgsl

fn operand(at: u32) -> f32 {
    if (AFTER) {
        return da[at];
    }
    return dx[at];
}

@compute @workgroup_size(64u * PARTS)
fn main(
    @builtin(local_invocation_index) lane: u32,
    @builtin(workgroup_id) wid: vec3<u32>,
    @builtin(num_workgroups) nwg: vec3<u32>,
) {
    let id = wid.x + wid.y * nwg.x;
    if (id >= p.tiles * ((p.h + 63u) / 64u)) {
        return;
    }
    let first_row = id % p.tiles * ROWS;
    let j = id / p.tiles * 64u + lane % 64u;
    let pitch = 3u * p.h;
    if (RESET) {
        rows_product(lane, first_row, p.b, j, p.h, p.h4, 1u, p.t * p.b * pitch + 2u * p.h, pitch, 2u * p.h4);
    } else {
        let inner = select(select(2u, 3u, AFTER), 0u, p.is_last == 1u);
        rows_product(lane, first_row, p.b, j, p.h, p.h4, inner, p.next * p.b * pitch, pitch, 0u);
    }
    for (var r = lane / 64u; r < ROWS; r += PARTS) {
        let b = first_row + r;
        if (b >= p.b || j >= p.h) {
            continue;
        }
        let i = b * p.h + j;
        let row = p.t * p.b + b;
        let keep = MASKED && mask[row] == 0.0;
        let to = row * pitch + j;
        let back = row_sum(lane, r);
        if (RESET) {
            if (!keep) {
                let f_r = gates[to];
                dx[to] = back * before[p.before_at + i] * f_r * (1.0 - f_r);
                carry[i] += back * f_r;
            }
            continue;
        }
        var flow = carry[i] + back;
        if (p.is_end == 1u) {
            carry[i] = flow;
            continue;
        }
        flow += dh[row * p.h + j];
        if (keep) {
            carry[i] = flow;
            //!unroll
            for (var g = 0u; g < 3u; g++) {
                dx[to + g * p.h] = 0.0;
                if (AFTER) {
                    da[to + g * p.h] = 0.0;
                }
            }
            continue;
        }
        let at = row * select(3u, 4u, AFTER) * p.h + j;
        var gate = vec4<f32>(gates[at], gates[at + p.h], gates[at + 2u * p.h], 0.0);
        if (AFTER) {
            gate.w = gates[at + 3u * p.h];
        }
        let d = gru_flow(gate, before[p.before_at + i], flow);
        carry[i] = d.w;
        dx[to + p.h] = d.y;
        dx[to + 2u * p.h] = d.z;
        if (AFTER) {
            dx[to] = d.x;
            da[to] = d.x;
            da[to + p.h] = d.y;
            da[to + 2u * p.h] = d.z * gate.x;
        }
    }
}
