// The gradient of one step of a plain network or an LSTM, up to its recurrent product. One thread per element of the
// state.

const CELL: u32 = 0u; // 0 tanh, 1 relu, 2 LSTM
const PEEPHOLES: bool = false;
const MASKED: bool = false;
const WG: u32 = 64u;

struct Params {
    b: u32,
    h: u32,
    t: u32, // the step
    previous: u32, // the step before it, in the order of the sequence
    is_first: u32, // 1 for the first step: `first` is the state before it
}

@group(0) @binding(0) var<uniform> p: Params;
@group(0) @binding(1) var<storage, read> gates: array<f32>; // [T, B, S * H]
@group(0) @binding(2) var<storage, read> states: array<f32>; // [T, B, H]: h, or c of an LSTM
@group(0) @binding(3) var<storage, read> first: array<f32>; // [B, H]: the state before all steps
@group(0) @binding(4) var<storage, read> dh: array<f32>; // [T, B, H]
@group(0) @binding(5) var<storage, read> peepholes: array<f32>; // [3, H]
@group(0) @binding(6) var<storage, read> mask: array<f32>; // [T, B]
@group(0) @binding(7) var<storage, read_write> carry: array<f32>; // [2, B, H]: dh and dc, from the steps after this one
@group(0) @binding(8) var<storage, read_write> dx: array<f32>; // [T, B, G * H]

//!include lib/gates.wgsl

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
    let row = p.t * p.b + i / p.h;
    let j = i % p.h;
    let flow = carry[i] + dh[row * p.h + j];
    let keep = MASKED && mask[row] == 0.0;
    carry[i] = select(0.0, flow, keep);
    if (CELL <= 1u) {
        let y = states[row * p.h + j];
        let slope = select(select(0.0, 1.0, y > 0.0), 1.0 - y * y, CELL == 0u);
        dx[row * p.h + j] = select(flow * slope, 0.0, keep);
    }
    if (CELL == 2u) {
        let at = row * 4u * p.h + j;
        if (keep) {
            //!unroll
            for (var g = 0u; g < 4u; g++) {
                dx[at + g * p.h] = 0.0;
            }
            return;
        }
        let f_i = gates[at];
        let f_f = gates[at + p.h];
        let f_g = gates[at + 2u * p.h];
        let f_o = gates[at + 3u * p.h];
        let y = tanh_of(states[row * p.h + j]);
        var before: f32;
        if (p.is_first == 1u) {
            before = first[i];
        } else {
            before = states[p.previous * size + i];
        }
        let d_o = flow * y * f_o * (1.0 - f_o);
        var dc = carry[size + i] + flow * f_o * (1.0 - y * y);
        if (PEEPHOLES) {
            dc += peepholes[2u * p.h + j] * d_o;
        }
        let d_i = dc * f_g * f_i * (1.0 - f_i);
        let d_f = dc * before * f_f * (1.0 - f_f);
        var dc_before = dc * f_f;
        if (PEEPHOLES) {
            dc_before += peepholes[j] * d_i + peepholes[p.h + j] * d_f;
        }
        carry[size + i] = dc_before;
        dx[at] = d_i;
        dx[at + p.h] = d_f;
        dx[at + 2u * p.h] = dc * f_i * (1.0 - f_g * f_g);
        dx[at + 3u * p.h] = d_o;
    }
}
