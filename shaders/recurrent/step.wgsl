// One step of a recurrent layer: recurrent product, gates and new state. A workgroup has 64 neighbouring units of ROWS
// sequences; the inner length is summed in PARTS, by 64 threads each.

const CELL: u32 = 0u; // 0 tanh, 1 relu, 2 LSTM, 3 GRU, 4 GRU that resets before the product
const GATES: u32 = 1u; // that get a product
const RESET: bool = false; // with CELL 4: only r, z and r * h; the next dispatch does the rest
const MASKED: bool = false;
const SAVES: bool = false; // gates are kept for the gradient
const ROWS: u32 = 4u;
const PARTS: u32 = 1u;

struct Params {
    b: u32,
    h: u32,
    h4: u32, // vectors of a row of a state
    t: u32, // the step
    tiles: u32, // of ROWS sequences
}

@group(0) @binding(0) var<uniform> p: Params;
@group(0) @binding(1) var<storage, read> x: array<f32>; // [T, B, G * H]
@group(0) @binding(2) var<storage, read> w: array<vec4<f32>>; // [H / 4, GATES, H], then [H]: bias of n, or peepholes, or 0
@group(0) @binding(3) var<storage, read> mask: array<f32>; // [T, B]
@group(0) @binding(4) var<storage, read> before: array<vec4<f32>>; // [1 or 2, B, h4]: h, and c; or r * h, and h
@group(0) @binding(5) var<storage, read_write> after: array<f32>; // [1 or 2, B, 4 * h4]: the same after the step
@group(0) @binding(6) var<storage, read_write> h: array<f32>; // [T, B, H]
@group(0) @binding(7) var<storage, read_write> c: array<f32>; // [T, B, H]
@group(0) @binding(8) var<storage, read_write> gates: array<f32>; // [T, B, S * H]; with CELL 4 and without SAVES of one step

//!include lib/cells.wgsl

var<workgroup> sums: array<f32, PARTS * ROWS * GATES * 64u>;

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
    let part = lane / 64u;

    // Threads past the last unit or sequence read it again; what they compute is not used.
    var row_at: array<u32, ROWS>;
    var acc: array<f32, ROWS * GATES>;
    //!unroll
    for (var r = 0u; r < ROWS; r++) {
        row_at[r] = min(first_row + r, p.b - 1u) * p.h4;
    }
    let w_at = min(j, p.h - 1u);
    for (var k = part; k < p.h4; k += PARTS) {
        var weights: array<vec4<f32>, GATES>;
        //!unroll
        for (var g = 0u; g < GATES; g++) {
            weights[g] = w[(k * GATES + g) * p.h + w_at];
        }
        //!unroll
        for (var r = 0u; r < ROWS; r++) {
            let value = before[row_at[r] + k];
            //!unroll
            for (var g = 0u; g < GATES; g++) {
                acc[r * GATES + g] += dot(weights[g], value);
            }
        }
    }
    //!unroll
    for (var i = 0u; i < ROWS * GATES; i++) {
        sums[(part * ROWS * GATES + i) * 64u + lane % 64u] = acc[i];
    }
    // A thread alone reads what it has written itself.
    if (PARTS > 1u) {
        workgroupBarrier();
    }
    for (var r = part; r < ROWS; r += PARTS) {
        let b = first_row + r;
        if (b >= p.b || j >= p.h4 * 4u) {
            continue;
        }
        let size = p.b * p.h4 * 4u;
        let i = b * p.h4 * 4u + j;
        if (j >= p.h) {
            after[i] = 0.0;
            continue;
        }
        var a: array<f32, 4>;
        //!unroll
        for (var s = 0u; s < PARTS; s++) {
            //!unroll
            for (var g = 0u; g < GATES; g++) {
                a[g] += sums[((s * ROWS + r) * GATES + g) * 64u + lane % 64u];
            }
        }
        let row = p.t * p.b + b;
        let keep = MASKED && mask[row] == 0.0;
        let extra = w[p.h4 * GATES * p.h + j];
        let h_at = select(0u, size, CELL == 4u && !RESET) + i;
        let h_old = before[h_at / 4u][h_at % 4u];
        var h_new = h_old;
        if (CELL <= 1u) {
            h_new = plain_step(x[row * p.h + j] + a[0], CELL);
        }
        if (CELL == 2u) {
            let c_old = before[(size + i) / 4u][i % 4u];
            let to = row * 4u * p.h + j;
            let of_x = vec4<f32>(x[to], x[to + p.h], x[to + 2u * p.h], x[to + 3u * p.h]);
            let fresh = lstm_step(of_x + vec4<f32>(a[0], a[1], a[2], a[3]), c_old, extra);
            h_new = fresh.h;
            if (SAVES) {
                //!unroll
                for (var g = 0u; g < 4u; g++) {
                    gates[to + g * p.h] = fresh.gates[g];
                }
            }
            let c_kept = select(fresh.c, c_old, keep);
            after[size + i] = c_kept;
            c[row * p.h + j] = c_kept;
        }
        if (CELL == 3u) {
            let at_x = row * 3u * p.h + j;
            let of_x = vec3<f32>(x[at_x], x[at_x + p.h], x[at_x + 2u * p.h]);
            let fresh = gru_gates(of_x, vec3<f32>(a[0], a[1], a[2]), extra.x);
            h_new = gru_state(fresh.y, fresh.z, h_old);
            if (SAVES) {
                //!unroll
                for (var g = 0u; g < 4u; g++) {
                    gates[row * 4u * p.h + g * p.h + j] = fresh[g];
                }
            }
        }
        if (CELL == 4u) {
            let at_x = row * 3u * p.h + j;
            // Where they are not kept the next dispatch needs z all the same.
            let to = select(b, row, SAVES) * 3u * p.h + j;
            if (RESET) {
                let f_r = sigmoid(x[at_x] + a[0]);
                gates[to] = f_r;
                gates[to + p.h] = sigmoid(x[at_x + p.h] + a[1]);
                after[i] = f_r * h_old;
                after[size + i] = h_old;
                continue;
            }
            let n = tanh_of(x[at_x + 2u * p.h] + a[0]);
            h_new = gru_state(gates[to + p.h], n, h_old);
            gates[to + 2u * p.h] = n;
        }
        let h_kept = select(h_new, h_old, keep);
        after[i] = h_kept;
        h[row * p.h + j] = h_kept;
    }
}
