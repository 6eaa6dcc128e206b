//! WGSL of functions that WGSL does not have, or not for every argument. The text around them declares `Value` and
//! `Index`, scalars or vectors of four.

use super::Function;

/// The text that kernels with `function` need, if any.
pub(super) fn text(function: Function) -> Option<&'static str> {
    Some(match function {
        Function::Tanh => TANH,
        Function::Sigmoid => SIGMOID,
        Function::Expm1 => EXPM1,
        Function::Softplus => SOFTPLUS,
        Function::Erf => ERF,
        Function::Erfc => ERFC,
        Function::Dropout => DROPOUT,
        _ => return None,
    })
}

/// What the texts of several functions call, each once: those of `functions` in order.
pub(super) fn shared(functions: &[Function]) -> Option<&'static str> {
    functions.iter().any(|f| matches!(f, Function::Erf | Function::Erfc)).then_some(ERF_PARTS)
}

/// The built-in function overflows on some drivers.
const TANH: &str = "fn tanh_of(a: Value) -> Value {
    let t = exp(-2.0 * abs(a));
    let v = (1.0 - t) / (1.0 + t);
    return select(v, -v, a < Value(0.0));
}
";

const SIGMOID: &str = "fn sigmoid_of(a: Value) -> Value {
    let t = exp(-abs(a));
    return select(Value(1.0), t, a < Value(0.0)) / (1.0 + t);
}
";

/// Near 0 the Taylor series, whose ninth term is below 1e-8 of the first.
const EXPM1: &str = "fn expm1_of(a: Value) -> Value {
    var s = 1.0 + a * (1.0 / 9.0);
    s = 1.0 + a * s * (1.0 / 8.0);
    s = 1.0 + a * s * (1.0 / 7.0);
    s = 1.0 + a * s * (1.0 / 6.0);
    s = 1.0 + a * s * (1.0 / 5.0);
    s = 1.0 + a * s * (1.0 / 4.0);
    s = 1.0 + a * s * (1.0 / 3.0);
    s = 1.0 + a * s * (1.0 / 2.0);
    return select(exp(a) - 1.0, a * s, abs(a) < Value(0.5));
}
";

/// log(1 + e) = 2 artanh(e / (2 + e)), as a series in a square of at most 1/9: right for the smallest e, too.
const SOFTPLUS: &str = "fn softplus_of(a: Value) -> Value {
    let e = exp(-abs(a));
    let s = e / (2.0 + e);
    let q = s * s;
    var r = 1.0 / 13.0 + q * (1.0 / 15.0);
    r = 1.0 / 11.0 + q * r;
    r = 1.0 / 9.0 + q * r;
    r = 1.0 / 7.0 + q * r;
    r = 1.0 / 5.0 + q * r;
    r = 1.0 / 3.0 + q * r;
    return max(a, Value(0.0)) + 2.0 * s * (1.0 + q * r);
}
";

/// Two Chebyshev fits, made at 40 digits: erf(a) / a in a² on [0, 1], off by 1.3e-9; and, in Shepherd and Laframboise's
/// form (Mathematics of Computation 36, 1981), (1 + 2a) exp(a²) erfc(a) in (a - 2) / (a + 2) on [1, 10.5], off by 2.8e-9.
/// erfc(10.5) is below the smallest f32.
const ERF_PARTS: &str = "fn erf_near(a: Value) -> Value {
    let q = a * a;
    var r = q * 7.875875e-5 - 8.0168643e-4;
    r = q * r + 5.189087e-3;
    r = q * r - 2.6854211e-2;
    r = q * r + 0.11283594;
    r = q * r - 0.37612626;
    return a * (q * r + 1.1283791);
}
fn erfc_far(a: Value) -> Value {
    let b = min(a, Value(10.5));
    let t = (b - 2.0) / (b + 2.0);
    var r = t * -1.5400817e-3 + 1.1466001e-3;
    r = t * r + 8.752801e-3;
    r = t * r - 8.019739e-3;
    r = t * r - 5.4222547e-2;
    r = t * r + 0.16405052;
    r = t * r - 0.16603035;
    r = t * r - 9.276381e-2;
    r = t * r + 1.2769784;
    return r / (1.0 + 2.0 * b) * exp(-b * b);
}
";

const ERF: &str = "fn erf_of(a: Value) -> Value {
    let b = abs(a);
    let far = 1.0 - erfc_far(b);
    return select(select(far, -far, a < Value(0.0)), erf_near(a), b < Value(1.0));
}
";

const ERFC: &str = "fn erfc_of(a: Value) -> Value {
    let b = abs(a);
    let far = erfc_far(b);
    return select(select(far, 2.0 - far, a < Value(0.0)), 1.0 - erf_near(a), b < Value(1.0));
}
";

const DROPOUT: &str = "fn dropout_of(a: Value, probability: Value, low: u32, high: u32, e: Index) -> Value {
    // pcg3d: Jarzynski and Olano, Hash Functions for GPU Rendering, JCGT 9(3), 2020.
    var x = e * 1664525u + 1013904223u;
    var y = Index(low * 1664525u + 1013904223u);
    var z = Index(high * 1664525u + 1013904223u);
    x += y * z;
    y += z * x;
    z += x * y;
    x ^= x >> Index(16u);
    y ^= y >> Index(16u);
    z ^= z >> Index(16u);
    x += y * z;
    y += z * x;
    z += x * y;
    let u = Value(z >> Index(8u)) * (1.0 / 16777216.0);
    return select(Value(0.0), a / max(1.0 - probability, Value(1e-30)), u >= probability);
}
";
