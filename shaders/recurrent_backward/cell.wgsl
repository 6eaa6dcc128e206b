// The gradient of one step of a plain network or an LSTM: the product that leads here from the step after it, then what the
// step's gates and states pass on. A workgroup has 64 neighbouring units of ROWS sequences.

const CELL: u32 = 0u; // 0 tanh, 1 relu, 2 LSTM
const GATES: u32 = 1u;
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
@group(0) @binding(1) var<storage, read> w: array<vec4<f32>>; // [G, H / 4, H], then [H]: peepholes, or 0
@group(0) @binding(2) var<storage, read> gates: array<f32>; // [T, B, S * H]
@group(0) @binding(3) var<storage, read> states: array<f32>; // [T, B, H]: h, or c of an LSTM
@group(0) @binding(4) var<storage, read> before: array<f32>; // the same, or [B, H] before all steps
@group(0) @binding(5) var<storage, read> dh: array<f32>; // [T, B, H]
@group(0) @binding(6) var<storage, read> mask: array<f32>; // [T, B]
@group(0) @binding(7) var<storage, read_write> carry: array<f32>; // [1 or 2, B, H]: of h past the product, and of c
@group(0) @binding(8) var<storage, read_write> dx: array<f32>; // [T, B, G * H]

//!include lib/cells.wgsl
//!include lib/rows_product.wgsl

fn operand(at: u32) -> f32 {
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
    let pitch = GATES * p.h;
    let inner = select(GATES, 0u, p.is_last == 1u);
    rows_product(lane, first_row, p.b, j, p.h, p.h4, inner, p.next * p.b * pitch, pitch, 0u);
    for (var r = lane / 64u; r < ROWS; r += PARTS) {
        let b = first_row + r;
        if (b >= p.b || j >= p.h) {
            continue;
        }
        let size = p.b * p.h;
        let i = b * p.h + j;
        let row = p.t * p.b + b;
        var flow = row_sum(lane, r);
        if (MASKED) {
            flow += carry[i];
        }
        if (p.is_end == 1u) {
            carry[i] = flow;
            continue;
        }
        flow += dh[row * p.h + j];
        let keep = MASKED && mask[row] == 0.0;
        let at = row * pitch + j;
        if (MASKED) {
            carry[i] = select(0.0, flow, keep);
            if (keep) {
                //!unroll
                for (var g = 0u; g < GATES; g++) {
                    dx[at + g * p.h] = 0.0;
                }
                continue;
            }
        }
        if (CELL <= 1u) {
            dx[at] = flow * plain_slope(states[row * p.h + j], CELL);
        }
        if (CELL == 2u) {
            let gate = vec4<f32>(gates[at], gates[at + p.h], gates[at + 2u * p.h], gates[at + 3u * p.h]);
            let peepholes = w[GATES * p.h4 * p.h + j];
            let d = lstm_flow(
                gate, before[p.before_at + i], states[row * p.h + j], peepholes, flow, carry[size + i]);
            carry[size + i] = d.c;
            //!unroll
            for (var g = 0u; g < 4u; g++) {
                dx[at + g * p.h] = d.gates[g];
            }
        }
    }
}
