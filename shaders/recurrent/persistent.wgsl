// Many steps of a recurrent layer in one dispatch: a workgroup owns ROWS sequences, a thread one unit of each. h is in workgroup
// memory, c in registers, and the weights come through the cache again at each step.

const CELL: u32 = 0u; // 0 tanh, 1 relu, 2 LSTM, 3 GRU
const GATES: u32 = 1u;
const MASKED: bool = false;
const SAVES: bool = false; // gates are kept for the gradient
const ROWS: u32 = 2u;
const WIDTH: u32 = 64u; // threads: H or more

struct Params {
    b: u32,
    h: u32,
    h4: u32, // vectors of a row of a state
    first: u32, // the first step
    steps: u32,
    reverse: u32, // 1: steps go down from the first
}

@group(0) @binding(0) var<uniform> p: Params;
@group(0) @binding(1) var<storage, read> x: array<f32>; // [T, B, G * H]
@group(0) @binding(2) var<storage, read> w: array<vec4<f32>>; // [H / 4, GATES, H], then [H]: bias of n, or peepholes, or 0
@group(0) @binding(3) var<storage, read> mask: array<f32>; // [T, B]
@group(0) @binding(4) var<storage, read_write> state: array<f32>; // [1 or 2, B, 4 * h4]: h, and c, before the first step, and after the last
@group(0) @binding(5) var<storage, read_write> h: array<f32>; // [T, B, H]
@group(0) @binding(6) var<storage, read_write> c: array<f32>; // [T, B, H]
@group(0) @binding(7) var<storage, read_write> gates: array<f32>; // [T, B, S * H]

//!include lib/cells.wgsl

var<workgroup> hidden: array<f32, ROWS * WIDTH>;

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
    let pitch = 4u * p.h4;
    let unit = min(j, p.h - 1u);
    let extra = w[p.h4 * GATES * p.h + unit];
    var h_old: array<f32, ROWS>;
    var c_old: array<f32, ROWS>;
    //!unroll
    for (var r = 0u; r < ROWS; r++) {
        let at = min(first_row + r, p.b - 1u) * pitch + unit;
        h_old[r] = select(0.0, state[at], j < p.h);
        if (CELL == 2u) {
            c_old[r] = state[p.b * pitch + at];
        }
        hidden[r * WIDTH + j] = h_old[r];
    }
    workgroupBarrier();
    for (var s = 0u; s < p.steps; s++) {
        let t = select(p.first + s, p.first - s, p.reverse == 1u);
        var acc: array<f32, ROWS * 4u>;
        for (var k = 0u; k < p.h4; k++) {
            var weights: array<vec4<f32>, GATES>;
            //!unroll
            for (var g = 0u; g < GATES; g++) {
                weights[g] = w[(k * GATES + g) * p.h + unit];
            }
            //!unroll
            for (var r = 0u; r < ROWS; r++) {
                let at = r * WIDTH + k * 4u;
                let value = vec4<f32>(hidden[at], hidden[at + 1u], hidden[at + 2u], hidden[at + 3u]);
                //!unroll
                for (var g = 0u; g < GATES; g++) {
                    acc[r * 4u + g] += dot(weights[g], value);
                }
            }
        }
        //!unroll
        for (var r = 0u; r < ROWS; r++) {
            let b = first_row + r;
            if (b < p.b && j < p.h) {
                let row = t * p.b + b;
                let keep = MASKED && mask[row] == 0.0;
                let a = vec4<f32>(acc[r * 4u], acc[r * 4u + 1u], acc[r * 4u + 2u], acc[r * 4u + 3u]);
                var h_new = h_old[r];
                if (CELL <= 1u) {
                    h_new = plain_step(x[row * p.h + j] + a.x, CELL);
                }
                if (CELL == 2u) {
                    let to = row * 4u * p.h + j;
                    let of_x = vec4<f32>(x[to], x[to + p.h], x[to + 2u * p.h], x[to + 3u * p.h]);
                    let fresh = lstm_step(of_x + a, c_old[r], extra);
                    h_new = fresh.h;
                    if (SAVES) {
                        //!unroll
                        for (var g = 0u; g < 4u; g++) {
                            gates[to + g * p.h] = fresh.gates[g];
                        }
                    }
                    c_old[r] = select(fresh.c, c_old[r], keep);
                    c[row * p.h + j] = c_old[r];
                }
                if (CELL == 3u) {
                    let at_x = row * 3u * p.h + j;
                    let of_x = vec3<f32>(x[at_x], x[at_x + p.h], x[at_x + 2u * p.h]);
                    let fresh = gru_gates(of_x, a.xyz, extra.x);
                    h_new = gru_state(fresh.y, fresh.z, h_old[r]);
                    if (SAVES) {
                        //!unroll
                        for (var g = 0u; g < 4u; g++) {
                            gates[row * 4u * p.h + g * p.h + j] = fresh[g];
                        }
                    }
                }
                h_old[r] = select(h_new, h_old[r], keep);
                h[row * p.h + j] = h_old[r];
            }
        }
        workgroupBarrier();
        //!unroll
        for (var r = 0u; r < ROWS; r++) {
            hidden[r * WIDTH + j] = h_old[r];
        }
        workgroupBarrier();
    }
    //!unroll
    for (var r = 0u; r < ROWS; r++) {
        let at = (first_row + r) * pitch + j;
        if (first_row + r < p.b && j < p.h) {
            state[at] = h_old[r];
            if (CELL == 2u) {
                state[p.b * pitch + at] = c_old[r];
            }
        }
    }
}
