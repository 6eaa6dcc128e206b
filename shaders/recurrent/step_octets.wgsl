// One step of a recurrent layer, for 8-lane software adapters: a subgroup multiplies TILE_M states by the recurrent weights of
// all gates of UNITS octets of the state, then computes these gates and states, an octet per lane.

const CELL: u32 = 0u; // 0 tanh, 1 relu, 2 LSTM, 3 GRU, 4 GRU that resets before the product
const GATES: u32 = 1u; // that get a product
const RESET: bool = false; // with CELL 4: only r, z and r * h; the next dispatch does the rest
const PEEPHOLES: bool = false;
const MASKED: bool = false;
const SAVES: bool = false; // gates are kept for the gradient
const TILE_M: u32 = 16u;

const UNITS: u32 = 8u / GATES;

struct Params {
    b: u32,
    h8: u32, // octets of a state
    t: u32, // the step
    previous: u32, // the step before it, in the order of the sequence
    is_first: u32, // 1 for the first step: c0 holds the state before it
    tiles_m: u32,
}

@group(0) @binding(0) var<uniform> p: Params;
@group(0) @binding(1) var<storage, read> x: array<vec4<u64>>; // [T, B, G, H]
@group(0) @binding(2) var<storage, read> w: array<vec4<u64>>; // [panels, H, 64]
@group(0) @binding(3) var<storage, read> extra: array<vec4<u64>>; // [H] bias of n, or [3, H] peepholes
@group(0) @binding(4) var<storage, read> mask: array<f32>; // [T, B]
@group(0) @binding(5) var<storage, read> a: array<vec4<u64>>; // [B, H]: what the weights are multiplied by
@group(0) @binding(6) var<storage, read> before: array<vec4<u64>>; // [B, H]: h before the step
@group(0) @binding(7) var<storage, read> c0: array<vec4<u64>>; // [B, H]
@group(0) @binding(8) var<storage, read_write> after: array<vec4<u64>>; // [B, H]: h after the step, or r * h
@group(0) @binding(9) var<storage, read_write> h: array<vec4<u64>>; // [T, B, H]
@group(0) @binding(10) var<storage, read_write> c: array<vec4<u64>>; // [T, B, H]
@group(0) @binding(11) var<storage, read_write> gates: array<vec4<u64>>; // [T, B, S, H]; with CELL 4 and without SAVES of one step

//!include lib/octet.wgsl
//!include lib/gates4.wgsl
//!include lib/panel_product.wgsl

fn operand(at: u32) -> vec4<u64> {
    return a[at];
}

@compute @workgroup_size(8)
fn main(
    @builtin(local_invocation_index) lane: u32,
    @builtin(workgroup_id) wid: vec3<u32>,
    @builtin(num_workgroups) nwg: vec3<u32>,
) {
    let id = wid.x + wid.y * nwg.x;
    let panels = (p.h8 + UNITS - 1u) / UNITS;
    if (id >= panels * p.tiles_m) {
        return;
    }
    let panel = id / p.tiles_m;
    let m0 = (id % p.tiles_m) * TILE_M;
    panel_product(lane, m0, p.b, 0u, p.h8, p.h8, panel * p.h8 * 64u);
    workgroupBarrier();
    for (var i = lane; i < TILE_M * UNITS; i += 8u) {
        let b = m0 + i / UNITS;
        let unit = panel * UNITS + i % UNITS;
        if (b >= p.b || unit >= p.h8) {
            continue;
        }
        // The product of gate g lies at origin + g * UNITS.
        let origin = i / UNITS * 8u + i % UNITS;
        let row = p.t * p.b + b;
        let at = b * p.h8 + unit;
        let keep = MASKED && mask[row] == 0.0;
        let h_old = before[at];
        var h_new: array<vec4<f32>, 2>;
        if (CELL <= 1u) {
            let a0 = tile[origin];
            let x0 = x[row * p.h8 + unit];
            //!unroll
            for (var s = 0u; s < 2u; s++) {
                let sum = half(a0, s) + half(x0, s);
                h_new[s] = select(max(sum, vec4<f32>(0.0)), tanh4(sum), CELL == 0u);
            }
        }
        if (CELL == 2u) {
            var c_old: vec4<u64>;
            if (p.is_first == 1u) {
                c_old = c0[at];
            } else {
                c_old = c[(p.previous * p.b + b) * p.h8 + unit];
            }
            let at_x = row * 4u * p.h8 + unit;
            let x_i = x[at_x];
            let x_f = x[at_x + p.h8];
            let x_g = x[at_x + 2u * p.h8];
            let x_o = x[at_x + 3u * p.h8];
            let a_i = tile[origin];
            let a_f = tile[origin + UNITS];
            let a_g = tile[origin + 2u * UNITS];
            let a_o = tile[origin + 3u * UNITS];
            var peep_i: vec4<u64>;
            var peep_f: vec4<u64>;
            var peep_o: vec4<u64>;
            if (PEEPHOLES) {
                peep_i = extra[unit];
                peep_f = extra[p.h8 + unit];
                peep_o = extra[2u * p.h8 + unit];
            }
            var out_i: array<vec4<f32>, 2>;
            var out_f: array<vec4<f32>, 2>;
            var out_g: array<vec4<f32>, 2>;
            var out_o: array<vec4<f32>, 2>;
            var c_new: array<vec4<f32>, 2>;
            //!unroll
            for (var s = 0u; s < 2u; s++) {
                let old = half(c_old, s);
                var sum_i = half(a_i, s) + half(x_i, s);
                var sum_f = half(a_f, s) + half(x_f, s);
                var sum_o = half(a_o, s) + half(x_o, s);
                if (PEEPHOLES) {
                    sum_i += half(peep_i, s) * old;
                    sum_f += half(peep_f, s) * old;
                }
                out_i[s] = sigmoid4(sum_i);
                out_f[s] = sigmoid4(sum_f);
                out_g[s] = tanh4(half(a_g, s) + half(x_g, s));
                let new_c = out_f[s] * old + out_i[s] * out_g[s];
                if (PEEPHOLES) {
                    sum_o += half(peep_o, s) * new_c;
                }
                out_o[s] = sigmoid4(sum_o);
                h_new[s] = out_o[s] * tanh4(new_c);
                c_new[s] = select(new_c, old, keep);
            }
            if (SAVES) {
                gates[at_x] = octet_of(out_i[0], out_i[1]);
                gates[at_x + p.h8] = octet_of(out_f[0], out_f[1]);
                gates[at_x + 2u * p.h8] = octet_of(out_g[0], out_g[1]);
                gates[at_x + 3u * p.h8] = octet_of(out_o[0], out_o[1]);
            }
            c[row * p.h8 + unit] = octet_of(c_new[0], c_new[1]);
        }
        if (CELL == 3u) {
            let at_x = row * 3u * p.h8 + unit;
            let x_r = x[at_x];
            let x_z = x[at_x + p.h8];
            let x_n = x[at_x + 2u * p.h8];
            let a_r = tile[origin];
            let a_z = tile[origin + UNITS];
            let a_n = tile[origin + 2u * UNITS];
            let bias = extra[unit];
            var out_r: array<vec4<f32>, 2>;
            var out_z: array<vec4<f32>, 2>;
            var out_n: array<vec4<f32>, 2>;
            var out_m: array<vec4<f32>, 2>;
            //!unroll
            for (var s = 0u; s < 2u; s++) {
                out_r[s] = sigmoid4(half(a_r, s) + half(x_r, s));
                out_z[s] = sigmoid4(half(a_z, s) + half(x_z, s));
                out_m[s] = half(a_n, s) + half(bias, s);
                out_n[s] = tanh4(half(x_n, s) + out_r[s] * out_m[s]);
                h_new[s] = (1.0 - out_z[s]) * out_n[s] + out_z[s] * half(h_old, s);
            }
            if (SAVES) {
                let to = row * 4u * p.h8 + unit;
                gates[to] = octet_of(out_r[0], out_r[1]);
                gates[to + p.h8] = octet_of(out_z[0], out_z[1]);
                gates[to + 2u * p.h8] = octet_of(out_n[0], out_n[1]);
                gates[to + 3u * p.h8] = octet_of(out_m[0], out_m[1]);
            }
        }
        if (CELL == 4u) {
            let at_x = row * 3u * p.h8 + unit;
            // Where they are not kept the next dispatch needs z all the same.
            let to = select(b, row, SAVES) * 3u * p.h8 + unit;
            if (RESET) {
                let x_r = x[at_x];
                let x_z = x[at_x + p.h8];
                let a_r = tile[origin];
                let a_z = tile[origin + UNITS];
                var out_r: array<vec4<f32>, 2>;
                var out_z: array<vec4<f32>, 2>;
                //!unroll
                for (var s = 0u; s < 2u; s++) {
                    out_r[s] = sigmoid4(half(a_r, s) + half(x_r, s));
                    out_z[s] = sigmoid4(half(a_z, s) + half(x_z, s));
                    h_new[s] = out_r[s] * half(h_old, s);
                }
                gates[to] = octet_of(out_r[0], out_r[1]);
                gates[to + p.h8] = octet_of(out_z[0], out_z[1]);
                after[at] = octet_of(h_new[0], h_new[1]);
                continue;
            }
            let x_n = x[at_x + 2u * p.h8];
            let a_n = tile[origin];
            let z = gates[to + p.h8];
            var out_n: array<vec4<f32>, 2>;
            //!unroll
            for (var s = 0u; s < 2u; s++) {
                out_n[s] = tanh4(half(a_n, s) + half(x_n, s));
                h_new[s] = (1.0 - half(z, s)) * out_n[s] + half(z, s) * half(h_old, s);
            }
            gates[to + 2u * p.h8] = octet_of(out_n[0], out_n[1]);
        }
        let kept = select(octet_of(h_new[0], h_new[1]), h_old, keep);
        after[at] = kept;
        h[row * p.h8 + unit] = kept;
    }
}
