// One step of a recurrent layer: recurrent product, gates and new state. One thread per element of the state.

const CELL: u32 = 0u; // 0 tanh, 1 relu, 2 LSTM, 3 GRU, 4 GRU that resets before the product
const RESET: bool = false; // with CELL 4: only r, z and r * h; the next dispatch does the rest
const PEEPHOLES: bool = false;
const MASKED: bool = false;
const WG: u32 = 64u;

struct Params {
    b: u32,
    h: u32,
    t: u32, // the step
    before: u32, // which of the two copies of the state is that before the step: 0 or 1
}

@group(0) @binding(0) var<uniform> p: Params;
@group(0) @binding(1) var<storage, read> x: array<f32>; // [T, B, G * H]
@group(0) @binding(2) var<storage, read> w: array<f32>; // [G * H, H]
@group(0) @binding(3) var<storage, read> extra: array<f32>; // [H] bias of n, or [3, H] peepholes
@group(0) @binding(4) var<storage, read> mask: array<f32>; // [T, B]
@group(0) @binding(5) var<storage, read_write> state: array<f32>; // [2, 2, B, H]: twice h and c; of a GRU r * h for c
@group(0) @binding(6) var<storage, read_write> h: array<f32>; // [T, B, H]
@group(0) @binding(7) var<storage, read_write> c: array<f32>; // [T, B, H]
@group(0) @binding(8) var<storage, read_write> gates: array<f32>; // [T, B, S * H]

//!include lib/gates.wgsl

// A row of w times H values of the state at_x `at` on.
fn product(row: u32, at: u32) -> f32 {
    var sum = 0.0;
    for (var k = 0u; k < p.h; k++) {
        sum += w[row * p.h + k] * state[at + k];
    }
    return sum;
}

@compute @workgroup_size(WG)
fn main(
    @builtin(local_invocation_index) lane: u32,
    @builtin(workgroup_id) wid: vec3<u32>,
    @builtin(num_workgroups) nwg: vec3<u32>,
) {
    let i = (wid.x + wid.y * nwg.x) * WG + lane;
    let size = p.b * p.h;
    if (i >= size) {
        return;
    }
    let b = i / p.h;
    let j = i % p.h;
    let before = p.before * 2u * size;
    let after = (1u - p.before) * 2u * size;
    let row = p.t * p.b + b;
    let keep = MASKED && mask[row] == 0.0;
    let h_old = state[before + i];
    let of_b = before + b * p.h;
    var h_new = h_old;
    if (CELL <= 1u) {
        let a = x[row * p.h + j] + product(j, of_b);
        h_new = select(max(a, 0.0), tanh_of(a), CELL == 0u);
    }
    if (CELL == 2u) {
        let c_old = state[before + size + i];
        var a = array<f32, 4>(0.0, 0.0, 0.0, 0.0);
        for (var k = 0u; k < p.h; k++) {
            let value = state[of_b + k];
            //!unroll
            for (var g = 0u; g < 4u; g++) {
                a[g] += w[(g * p.h + j) * p.h + k] * value;
            }
        }
        //!unroll
        for (var g = 0u; g < 4u; g++) {
            a[g] += x[row * 4u * p.h + g * p.h + j];
        }
        if (PEEPHOLES) {
            a[0] += extra[j] * c_old;
            a[1] += extra[p.h + j] * c_old;
        }
        let f_i = sigmoid(a[0]);
        let f_f = sigmoid(a[1]);
        let f_g = tanh_of(a[2]);
        let c_new = f_f * c_old + f_i * f_g;
        if (PEEPHOLES) {
            a[3] += extra[2u * p.h + j] * c_new;
        }
        let f_o = sigmoid(a[3]);
        h_new = f_o * tanh_of(c_new);
        let to = row * 4u * p.h + j;
        gates[to] = f_i;
        gates[to + p.h] = f_f;
        gates[to + 2u * p.h] = f_g;
        gates[to + 3u * p.h] = f_o;
        let c_kept = select(c_new, c_old, keep);
        state[after + size + i] = c_kept;
        c[row * p.h + j] = c_kept;
    }
    if (CELL == 3u) {
        let at_x = row * 3u * p.h + j;
        let r = sigmoid(x[at_x] + product(j, of_b));
        let z = sigmoid(x[at_x + p.h] + product(p.h + j, of_b));
        let m = product(2u * p.h + j, of_b) + extra[j];
        let n = tanh_of(x[at_x + 2u * p.h] + r * m);
        h_new = (1.0 - z) * n + z * h_old;
        let to = row * 4u * p.h + j;
        gates[to] = r;
        gates[to + p.h] = z;
        gates[to + 2u * p.h] = n;
        gates[to + 3u * p.h] = m;
    }
    if (CELL == 4u) {
        let at_x = row * 3u * p.h + j;
        if (RESET) {
            let r = sigmoid(x[at_x] + product(j, of_b));
            gates[at_x] = r;
            gates[at_x + p.h] = sigmoid(x[at_x + p.h] + product(p.h + j, of_b));
            state[before + size + i] = r * h_old;
            return;
        }
        let z = gates[at_x + p.h];
        let n = tanh_of(x[at_x + 2u * p.h] + product(2u * p.h + j, of_b + size));
        h_new = (1.0 - z) * n + z * h_old;
        gates[at_x + 2u * p.h] = n;
    }
    let h_kept = select(h_new, h_old, keep);
    state[after + i] = h_kept;
    h[row * p.h + j] = h_kept;
}
