// Repeats a tensor along broadcast axes: one thread per element of the result.

struct Params {
    len: u32,
    // Sizes of the result's last five axes and strides of x along all six; axes that are not there have size 1.
    n1: u32,
    n2: u32,
    n3: u32,
    n4: u32,
    n5: u32,
    s0: u32,
    s1: u32,
    s2: u32,
    s3: u32,
    s4: u32,
    s5: u32,
}

@group(0) @binding(0) var<uniform> p: Params;
@group(0) @binding(1) var<storage, read> x: array<f32>; // its own shape
@group(0) @binding(2) var<storage, read_write> y: array<f32>; // the result's shape

@compute @workgroup_size(64)
fn main(
    @builtin(local_invocation_index) lane: u32,
    @builtin(workgroup_id) wid: vec3<u32>,
    @builtin(num_workgroups) nwg: vec3<u32>,
) {
    let id = (wid.x + wid.y * nwg.x) * 64u + lane;
    if (id >= p.len) {
        return;
    }
    var rest = id;
    var at = (rest % p.n5) * p.s5;
    rest /= p.n5;
    at += (rest % p.n4) * p.s4;
    rest /= p.n4;
    at += (rest % p.n3) * p.s3;
    rest /= p.n3;
    at += (rest % p.n2) * p.s2;
    rest /= p.n2;
    at += (rest % p.n1) * p.s1;
    rest /= p.n1;
    y[id] = x[at + rest * p.s0];
}
