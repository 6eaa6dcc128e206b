// The gradient of many steps of a recurrent layer in one dispatch: a workgroup owns ROWS sequences, a thread one unit of each.
// What flows back stays in registers, what the products get in workgroup memory.

const CELL: u32 = 0u; // 0 tanh, 1 relu, 2 LSTM, 3 GRU
const GATES: u32 = 1u;
const MASKED: bool = false;
const DC: bool = false; // a gradient of c is given
const ROWS: u32 = 2u;
const WIDTH: u32 = 64u; // threads: H or more

struct Params {
    b: u32,
    h: u32,
    h4: u32, // vectors of a gate's rows
    last: u32, // the last step, with which this begins
    steps: u32,
    reverse: u32, // 1: the sequence goes backwards, so this goes forwards
    is_start: u32, // 1 when the sequence's first step is the last of these
}

@group(0) @binding(0) var<uniform> p: Params;
@group(0) @binding(1) var<storage, read> w: array<vec4<f32>>; // [G, H / 4, H], then [H]: peepholes, or 0
@group(0) @binding(2) var<storage, read> gates: array<f32>; // [T, B, S * H]
@group(0) @binding(3) var<storage, read> states: array<f32>; // [T, B, H]: h, or c of an LSTM
@group(0) @binding(4) var<storage, read> first: array<f32>; // [B, H]: the state before all steps
@group(0) @binding(5) var<storage, read> dh: array<f32>; // [T, B, H]
@group(0) @binding(6) var<storage, read> dc: array<f32>; // [T, B, H]
@group(0) @binding(7) var<storage, read> mask: array<f32>; // [T, B]
@group(0) @binding(8) var<storage, read_write> carry: array<f32>; // [1 or 2, B, H]: of h, and of c, from the steps after these
@group(0) @binding(9) var<storage, read_write> dx: array<f32>; // [T, B, G * H]
@group(0) @binding(10) var<storage, read_write> da: array<f32>; // [T, B, G * H]: of the product, with CELL 3

//!include lib/cells.wgsl

var<workgroup> given: array<f32, ROWS * GATES * WIDTH>;

@compute @workgroup_size(WIDTH)
fn main(
    @builtin(local_invocation_index) j: u32,
    @builtin(workgroup_id) wid: vec3<u32>,
    @builtin(num_workgroups) nwg: vec3<u32>,
) {
    let first_row = (wid.x + wid.y * nwg.x) * ROWS;
    if (first_row >= p.b) {
        return;
    }
    let size = p.b * p.h;
    let unit = min(j, p.h - 1u);
    let peepholes = w[GATES * p.h4 * p.h + unit];
    var flow_h: array<f32, ROWS>;
    var flow_c: array<f32, ROWS>;
    //!unroll
    for (var r = 0u; r < ROWS; r++) {
        let at = min(first_row + r, p.b - 1u) * p.h + unit;
        flow_h[r] = carry[at];
        if (CELL == 2u) {
            flow_c[r] = carry[size + at];
        }
    }
    for (var s = 0u; s < p.steps; s++) {
        let t = select(p.last - s, p.last + s, p.reverse == 1u);
        let previous = select(t - 1u, t + 1u, p.reverse == 1u);
        let from_first = p.is_start == 1u && s + 1u == p.steps;
        //!unroll
        for (var r = 0u; r < ROWS; r++) {
            let b = first_row + r;
            var to_product = vec4<f32>(0.0);
            if (b < p.b && j < p.h) {
                let row = t * p.b + b;
                let at = row * GATES * p.h + j;
                let flow = flow_h[r] + dh[row * p.h + j];
                flow_h[r] = flow;
                var d = vec4<f32>(0.0);
                if (DC) {
                    flow_c[r] += dc[row * p.h + j];
                }
                if (!(MASKED && mask[row] == 0.0)) {
                    flow_h[r] = 0.0;
                    if (CELL <= 1u) {
                        d.x = flow * plain_slope(states[row * p.h + j], CELL);
                        to_product = d;
                    } else {
                        var old: f32;
                        if (from_first) {
                            old = first[b * p.h + j];
                        } else {
                            old = states[(previous * p.b + b) * p.h + j];
                        }
                        let saved = row * 4u * p.h + j;
                        let gate = vec4<f32>(
                            gates[saved], gates[saved + p.h], gates[saved + 2u * p.h], gates[saved + 3u * p.h]);
                        if (CELL == 2u) {
                            let passed = lstm_flow(gate, old, states[row * p.h + j], peepholes, flow, flow_c[r]);
                            flow_c[r] = passed.c;
                            d = passed.gates;
                            to_product = d;
                        }
                        if (CELL == 3u) {
                            d = gru_flow(gate, old, flow);
                            flow_h[r] = d.w;
                            to_product = vec4<f32>(d.x, d.y, d.z * gate.x, 0.0);
                        }
                    }
                }
                //!unroll
                for (var g = 0u; g < GATES; g++) {
                    dx[at + g * p.h] = d[g];
                    if (CELL == 3u) {
                        da[at + g * p.h] = to_product[g];
                    }
                }
            }
            //!unroll
            for (var g = 0u; g < GATES; g++) {
                given[(r * GATES + g) * WIDTH + j] = to_product[g];
            }
        }
        workgroupBarrier();
        //!unroll
        for (var g = 0u; g < GATES; g++) {
            for (var k = 0u; k < p.h4; k++) {
                let weights = w[(g * p.h4 + k) * p.h + unit];
                //!unroll
                for (var r = 0u; r < ROWS; r++) {
                    let at = (r * GATES + g) * WIDTH + k * 4u;
                    flow_h[r] += dot(weights, vec4<f32>(given[at], given[at + 1u], given[at + 2u], given[at + 3u]));
                }
            }
        }
        workgroupBarrier();
    }
    //!unroll
    for (var r = 0u; r < ROWS; r++) {
        let at = (first_row + r) * p.h + j;
        if (first_row + r < p.b && j < p.h) {
            carry[at] = flow_h[r];
            if (CELL == 2u) {
                carry[size + at] = flow_c[r];
            }
        }
    }
}
