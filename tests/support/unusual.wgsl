// y = 2 * x + eps, in valid WGSL that Recurve's own kernels never use: names of bindings taken for other things, pointers to
// buffers, blanks in odd places. It must run as it stands.

struct Params { rows : u32, columns:u32, eps: f32 }

@group(0) @binding(0) var<uniform> p: Params;
@group(0) @binding(1) var<storage, read> x: array<f32>;
@group(0) @binding(2) var<storage, read_write> y: array<f32>;

fn pick(x: array<f32, 2>, i: u32) -> f32 {
    return x[i];
}

@compute @workgroup_size(64)
fn main(
    @builtin( workgroup_id ) w: vec3<u32>,
    @builtin(num_workgroups) n: vec3<u32>,
    @builtin(local_invocation_index) l: u32,
) {
    let p = p;
    let i = (w.x + w.y * n.x) * 64u + l;
    if (i >= p.rows * p.columns || i >= arrayLength(&x)) {
        return;
    }
    let all = &x;
    y[i] = pick(array<f32, 2>(7.0, 2.0), 1u) * (*all)[i] + 0.0 * x [i] + p.eps;
}
