// What a unit computes in one step, and the gradient of that. `sum` is what x and the recurrent product give its gates together.
// Gates stand in vectors: i, f, g, o; or r, z, n and w * h + b of n.

//!include lib/gates.wgsl

fn plain_step(sum: f32, cell: u32) -> f32 {
    return select(max(sum, 0.0), tanh_of(sum), cell == 0u);
}

fn plain_slope(y: f32, cell: u32) -> f32 {
    return select(select(0.0, 1.0, y > 0.0), 1.0 - y * y, cell == 0u);
}

struct LstmStep {
    gates: vec4<f32>,
    c: f32,
    h: f32,
}

// Peepholes of i, f and o; zeros without.
fn lstm_step(sum: vec4<f32>, c_old: f32, peepholes: vec4<f32>) -> LstmStep {
    let i = sigmoid(sum.x + peepholes.x * c_old);
    let f = sigmoid(sum.y + peepholes.y * c_old);
    let g = tanh_of(sum.z);
    let c = f * c_old + i * g;
    let o = sigmoid(sum.w + peepholes.z * c);
    return LstmStep(vec4<f32>(i, f, g, o), c, o * tanh_of(c));
}

struct LstmFlow {
    gates: vec4<f32>,
    c: f32, // into the state before the step
}

// flow_h and flow_c are the gradients of the new states.
fn lstm_flow(
    gates: vec4<f32>, c_old: f32, c_new: f32, peepholes: vec4<f32>, flow_h: f32, flow_c: f32,
) -> LstmFlow {
    let y = tanh_of(c_new);
    let d_o = flow_h * y * gates.w * (1.0 - gates.w);
    let into = flow_c + flow_h * gates.w * (1.0 - y * y) + peepholes.z * d_o;
    let d_i = into * gates.z * gates.x * (1.0 - gates.x);
    let d_f = into * c_old * gates.y * (1.0 - gates.y);
    let d_g = into * gates.x * (1.0 - gates.z * gates.z);
    let c = into * gates.y + peepholes.x * d_i + peepholes.y * d_f;
    return LstmFlow(vec4<f32>(d_i, d_f, d_g, d_o), c);
}

// The gates of a GRU that resets after the product: x of r, z, n; the product of each; the recurrent bias of n.
fn gru_gates(x: vec3<f32>, a: vec3<f32>, bias: f32) -> vec4<f32> {
    let r = sigmoid(x.x + a.x);
    let m = a.z + bias;
    return vec4<f32>(r, sigmoid(x.y + a.y), tanh_of(x.z + r * m), m);
}

fn gru_state(z: f32, n: f32, h_old: f32) -> f32 {
    return (1.0 - z) * n + z * h_old;
}

// The gradients of r (for a GRU that resets after the product), z and n, and what flows past the product.
fn gru_flow(gates: vec4<f32>, h_old: f32, flow: f32) -> vec4<f32> {
    let d_z = flow * (h_old - gates.z) * gates.y * (1.0 - gates.y);
    let d_n = flow * (1.0 - gates.y) * (1.0 - gates.z * gates.z);
    let d_r = d_n * gates.w * gates.x * (1.0 - gates.x);
    return vec4<f32>(d_r, d_z, d_n, flow * gates.y);
}
