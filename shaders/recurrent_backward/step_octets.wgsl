// The gradient of one step of a recurrent layer, for 8-lane software adapters: a subgroup multiplies TILE_M rows of what the
// step after this one gave its product by 64 columns of the weights, which is what flows into these units of the state, then
// computes what they pass on, an octet per lane.

const CELL: u32 = 0u; // 0 tanh, 1 relu, 2 LSTM, 3 GRU, 4 GRU that resets before the product
const GATES: u32 = 1u;
const RESET: bool = false; // with CELL 4: the product of r * h, for which all of n must be there
const PEEPHOLES: bool = false;
const MASKED: bool = false;
const DC: bool = false; // a gradient of c is given
const TILE_M: u32 = 16u;

struct Params {
    b: u32,
    h8: u32, // octets of a state
    t: u32, // the step
    next: u32, // the step after it, in the order of the sequence
    previous: u32, // the step before it
    is_first: u32, // 1 for the first step: `first` is the state before it
    is_last: u32, // 1 for the last step: nothing flows in from a step after it
    is_end: u32, // 1 after the first step: only the product is still to be added
    tiles_m: u32,
}

@group(0) @binding(0) var<uniform> p: Params;
@group(0) @binding(1) var<storage, read> w: array<vec4<u64>>; // [panels, G * H, 64]
@group(0) @binding(2) var<storage, read> gates: array<vec4<u64>>; // [T, B, S, H]
@group(0) @binding(3) var<storage, read> states: array<vec4<u64>>; // [T, B, H]: h, or c of an LSTM
@group(0) @binding(4) var<storage, read> first: array<vec4<u64>>; // [B, H]: the state before all steps
@group(0) @binding(5) var<storage, read> dh: array<vec4<u64>>; // [T, B, H]
@group(0) @binding(6) var<storage, read> dc: array<vec4<u64>>; // [T, B, H]
@group(0) @binding(7) var<storage, read> peepholes: array<vec4<u64>>; // [3, H]
@group(0) @binding(8) var<storage, read> mask: array<f32>; // [T, B]
@group(0) @binding(9) var<storage, read_write> dx: array<vec4<u64>>; // [T, B, G, H]
@group(0) @binding(10) var<storage, read_write> da: array<vec4<u64>>; // [T, B, G, H]: of the product, with CELL 3
@group(0) @binding(11) var<storage, read_write> carry_h: array<vec4<u64>>; // [B, H]: what flows past the product
@group(0) @binding(12) var<storage, read_write> carry_c: array<vec4<u64>>; // [B, H]

//!include lib/octet.wgsl
//!include lib/gates4.wgsl
//!include lib/panel_product.wgsl

const CARRIES: bool = MASKED || CELL >= 3u; // something flows past the product

fn operand(at: u32) -> vec4<u64> {
    if (CELL == 3u) {
        return da[at];
    }
    return dx[at];
}

fn state_before(is_first: u32, at: u32, offset: u32) -> vec4<u64> {
    if (is_first == 1u) {
        return first[at];
    }
    return states[offset + at];
}

@compute @workgroup_size(8)
fn main(
    @builtin(local_invocation_index) lane: u32,
    @builtin(workgroup_id) wid: vec3<u32>,
    @builtin(num_workgroups) nwg: vec3<u32>,
) {
    let id = wid.x + wid.y * nwg.x;
    let panels = (p.h8 + 7u) / 8u;
    if (id >= panels * p.tiles_m) {
        return;
    }
    let panel = id / p.tiles_m;
    let m0 = (id % p.tiles_m) * TILE_M;
    let unit = panel * 8u + lane;
    let a_row = GATES * p.h8;
    let w_first = panel * a_row * 64u;
    if (RESET) {
        // The last gate's rows.
        panel_product(lane, m0, p.b, p.t * p.b * a_row + 2u * p.h8, a_row, p.h8, w_first + 2u * p.h8 * 64u);
    } else {
        let rows = select(a_row, 2u * p.h8, CELL == 4u);
        panel_product(lane, m0, p.b, p.next * p.b * a_row, a_row, select(rows, 0u, p.is_last == 1u), w_first);
    }
    if (unit >= p.h8) {
        return;
    }
    // A lane reads what it has written itself.
    for (var r = 0u; r < TILE_M; r++) {
        let b = m0 + r;
        if (b >= p.b) {
            return;
        }
        let product = tile[r * 8u + lane];
        let at = b * p.h8 + unit;
        let row = p.t * p.b + b;
        let keep = MASKED && mask[row] == 0.0;
        let at_x = row * GATES * p.h8 + unit;
        var carried: vec4<u64>;
        if (CARRIES && p.is_last == 0u || RESET) {
            carried = carry_h[at];
        }
        if (RESET) {
            if (!keep) {
                let gate_r = gates[at_x];
                let old = state_before(p.is_first, at, p.previous * p.b * p.h8);
                var d_r: array<vec4<f32>, 2>;
                var on: array<vec4<f32>, 2>;
                //!unroll
                for (var s = 0u; s < 2u; s++) {
                    let r = half(gate_r, s);
                    let back = half(product, s);
                    d_r[s] = back * half(old, s) * r * (1.0 - r);
                    on[s] = half(carried, s) + back * r;
                }
                dx[at_x] = octet_of(d_r[0], d_r[1]);
                carry_h[at] = octet_of(on[0], on[1]);
            }
            continue;
        }
        var flow: array<vec4<f32>, 2>;
        //!unroll
        for (var s = 0u; s < 2u; s++) {
            flow[s] = half(product, s);
            if (CARRIES) {
                flow[s] += half(carried, s);
            }
        }
        if (p.is_end == 1u) {
            carry_h[at] = octet_of(flow[0], flow[1]);
            continue;
        }
        let dy = dh[row * p.h8 + unit];
        flow[0] += evens(dy);
        flow[1] += odds(dy);
        if (MASKED) {
            if (keep) {
                carry_h[at] = octet_of(flow[0], flow[1]);
            } else {
                carry_h[at] = vec4<u64>(0lu);
            }
        }
        if (CELL <= 1u) {
            let y = states[row * p.h8 + unit];
            var d: array<vec4<f32>, 2>;
            //!unroll
            for (var s = 0u; s < 2u; s++) {
                let v = half(y, s);
                let slope = select(
                    select(vec4<f32>(0.0), vec4<f32>(1.0), v > vec4<f32>(0.0)), 1.0 - v * v, CELL == 0u);
                d[s] = select(flow[s] * slope, vec4<f32>(0.0), keep);
            }
            dx[at_x] = octet_of(d[0], d[1]);
        }
        if (CELL == 2u) {
            var flow_c: array<vec4<f32>, 2>;
            if (p.is_last == 0u) {
                let carried_c = carry_c[at];
                flow_c[0] = evens(carried_c);
                flow_c[1] = odds(carried_c);
            }
            if (DC) {
                let given = dc[row * p.h8 + unit];
                flow_c[0] += evens(given);
                flow_c[1] += odds(given);
            }
            var d_i: array<vec4<f32>, 2>;
            var d_f: array<vec4<f32>, 2>;
            var d_g: array<vec4<f32>, 2>;
            var d_o: array<vec4<f32>, 2>;
            if (!keep) {
                let gate_i = gates[at_x];
                let gate_f = gates[at_x + p.h8];
                let gate_g = gates[at_x + 2u * p.h8];
                let gate_o = gates[at_x + 3u * p.h8];
                let c_new = states[row * p.h8 + unit];
                let c_old = state_before(p.is_first, at, p.previous * p.b * p.h8);
                var peep_i: vec4<u64>;
                var peep_f: vec4<u64>;
                var peep_o: vec4<u64>;
                if (PEEPHOLES) {
                    peep_i = peepholes[unit];
                    peep_f = peepholes[p.h8 + unit];
                    peep_o = peepholes[2u * p.h8 + unit];
                }
                //!unroll
                for (var s = 0u; s < 2u; s++) {
                    let i = half(gate_i, s);
                    let f = half(gate_f, s);
                    let g = half(gate_g, s);
                    let o = half(gate_o, s);
                    let y = tanh4(half(c_new, s));
                    d_o[s] = flow[s] * y * o * (1.0 - o);
                    var into = flow_c[s] + flow[s] * o * (1.0 - y * y);
                    if (PEEPHOLES) {
                        into += half(peep_o, s) * d_o[s];
                    }
                    d_i[s] = into * g * i * (1.0 - i);
                    d_f[s] = into * half(c_old, s) * f * (1.0 - f);
                    d_g[s] = into * i * (1.0 - g * g);
                    flow_c[s] = into * f;
                    if (PEEPHOLES) {
                        flow_c[s] += half(peep_i, s) * d_i[s] + half(peep_f, s) * d_f[s];
                    }
                }
            }
            carry_c[at] = octet_of(flow_c[0], flow_c[1]);
            dx[at_x] = octet_of(d_i[0], d_i[1]);
            dx[at_x + p.h8] = octet_of(d_f[0], d_f[1]);
            dx[at_x + 2u * p.h8] = octet_of(d_g[0], d_g[1]);
            dx[at_x + 3u * p.h8] = octet_of(d_o[0], d_o[1]);
        }
        if (CELL >= 3u) {
            var d_r: array<vec4<f32>, 2>;
            var d_z: array<vec4<f32>, 2>;
            var d_n: array<vec4<f32>, 2>;
            var d_m: array<vec4<f32>, 2>;
            if (!keep) {
                let at_s = select(at_x, row * 4u * p.h8 + unit, CELL == 3u);
                let gate_r = gates[at_s];
                let gate_z = gates[at_s + p.h8];
                let gate_n = gates[at_s + 2u * p.h8];
                var gate_m: vec4<u64>;
                if (CELL == 3u) {
                    gate_m = gates[at_s + 3u * p.h8];
                }
                let old = state_before(p.is_first, at, p.previous * p.b * p.h8);
                var on: array<vec4<f32>, 2>;
                //!unroll
                for (var s = 0u; s < 2u; s++) {
                    let r = half(gate_r, s);
                    let z = half(gate_z, s);
                    let n = half(gate_n, s);
                    d_z[s] = flow[s] * (half(old, s) - n) * z * (1.0 - z);
                    d_n[s] = flow[s] * (1.0 - z) * (1.0 - n * n);
                    d_r[s] = d_n[s] * half(gate_m, s) * r * (1.0 - r);
                    d_m[s] = d_n[s] * r;
                    on[s] = flow[s] * z;
                }
                carry_h[at] = octet_of(on[0], on[1]);
            }
            // With CELL 4 the next dispatch overwrites r's part where the step counts.
            dx[at_x] = octet_of(d_r[0], d_r[1]);
            dx[at_x + p.h8] = octet_of(d_z[0], d_z[1]);
            dx[at_x + 2u * p.h8] = octet_of(d_n[0], d_n[1]);
            if (CELL == 3u) {
                da[at_x] = octet_of(d_r[0], d_r[1]);
                da[at_x + p.h8] = octet_of(d_z[0], d_z[1]);
                da[at_x + 2u * p.h8] = octet_of(d_m[0], d_m[1]);
            }
        }
    }
}
