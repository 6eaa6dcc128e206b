//! WGSL for chains: the one place where kernels are generated text.
//!
//! The text depends on the chain's structure, on how each input is addressed (`Load`) and on the elements per thread;
//! sizes and scalars are uniforms, so few pipelines serve all shapes. Every variant computes any broadcast. A thread
//! computes 1, 4 or 8 neighbouring elements and writes zeros behind the tensor's end.
//!
//! With 8 elements, memory is read as four 64-bit integers, whose low and high words are the even and the odd
//! elements: software drivers load element by element, and so load half as often.

macro_rules! emit {
    ($text:expr, $($arg:tt)*) => {
        writeln!($text, $($arg)*).expect("writing to a string succeeds")
    };
}

mod sum;

pub(crate) use sum::sums;

use self::sum::{Sum, main_of_sum};
use super::functions;
use super::runs::{Run, runs};
use super::{Arg, Divisor, Function, MAX_FUSED_SCALARS, Pointwise};
use crate::kernel::{
    Access, Author, Bind, Candidate, Dispatch, Kernel, KernelRef, Needs, ParamType, Target, TargetClass,
};
use crate::op::Io;
use crate::shape::{MAX_RANK, Shape, Spec};
use std::borrow::Cow;
use std::fmt::Write;
use std::sync::Arc;

/// Threads per workgroup.
const WORKGROUP: u64 = 64;

/// Names of the uniforms that hold sizes, with what `quotient` takes: at most 7 inputs of at most `MAX_RANK` runs, the
/// outermost not counted.
const SIZES: [&str; 3 * 7 * (MAX_RANK - 1)] = [
    "d0", "m0", "h0", "d1", "m1", "h1", "d2", "m2", "h2", "d3", "m3", "h3", "d4", "m4", "h4", "d5", "m5",
    "h5", "d6", "m6", "h6", "d7", "m7", "h7", "d8", "m8", "h8", "d9", "m9", "h9", "d10", "m10", "h10", "d11",
    "m11", "h11", "d12", "m12", "h12", "d13", "m13", "h13", "d14", "m14", "h14", "d15", "m15", "h15", "d16",
    "m16", "h16", "d17", "m17", "h17", "d18", "m18", "h18", "d19", "m19", "h19", "d20", "m20", "h20", "d21",
    "m21", "h21", "d22", "m22", "h22", "d23", "m23", "h23", "d24", "m24", "h24", "d25", "m25", "h25", "d26",
    "m26", "h26", "d27", "m27", "h27", "d28", "m28", "h28", "d29", "m29", "h29", "d30", "m30", "h30", "d31",
    "m31", "h31", "d32", "m32", "h32", "d33", "m33", "h33", "d34", "m34", "h34",
];

/// Names of the uniforms that hold scalars.
const SCALARS: [&str; MAX_FUSED_SCALARS] = [
    "s0", "s1", "s2", "s3", "s4", "s5", "s6", "s7", "s8", "s9", "s10", "s11", "s12", "s13", "s14", "s15",
    "s16", "s17", "s18", "s19", "s20", "s21", "s22", "s23",
];

/// Names of bindings.
const INPUTS: [&str; 8] = ["x0", "x1", "x2", "x3", "x4", "x5", "x6", "x7"];
const OUTPUTS: [&str; 8] = ["y0", "y1", "y2", "y3", "y4", "y5", "y6", "y7"];

/// How many elements a thread computes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Width {
    One,
    Vec4,
    U64,
}

impl Width {
    fn variant(self) -> &'static str {
        match self {
            Width::One => "scalar",
            Width::Vec4 => "vec4",
            Width::U64 => "u64",
        }
    }

    fn elements(self) -> usize {
        match self {
            Width::One => 1,
            Width::Vec4 => 4,
            Width::U64 => 8,
        }
    }

    /// The type of what is loaded and stored at once.
    fn memory(self) -> &'static str {
        match self {
            Width::One => "f32",
            Width::Vec4 => "vec4<f32>",
            Width::U64 => "vec4<u64>",
        }
    }

    /// The values that a thread computes: a suffix for names, the function that takes them out of what was loaded, and
    /// the offsets of their elements.
    fn parts(self) -> &'static [(&'static str, &'static str, &'static [usize])] {
        match self {
            Width::One => &[("", "", &[0])],
            Width::Vec4 => &[("", "", &[0, 1, 2, 3])],
            Width::U64 => &[("_even", "evens", &[0, 2, 4, 6]), ("_odd", "odds", &[1, 3, 5, 7])],
        }
    }
}

/// How a thread gets its elements of an input.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Load {
    /// One load at the thread's own place.
    Full,
    /// The only element.
    Single,
    /// One wide load at a place that is computed.
    Wide,
    /// One element for all.
    Splat,
    /// Two elements, between which the broadcast changes over.
    Pair,
    /// Element by element.
    Elements,
}

impl Load {
    fn of(runs: &[Run], width: Width) -> Load {
        let w = width.elements();
        match runs {
            [] | [Run { kept: false, .. }] => Load::Single,
            [Run { kept: true, .. }] => Load::Full,
            [inner, ..] if inner.size.is_multiple_of(w) && inner.kept => Load::Wide,
            [inner, ..] if inner.size.is_multiple_of(w) => Load::Splat,
            [inner, ..] if inner.size > w && !inner.kept => Load::Pair,
            _ => Load::Elements,
        }
    }

    fn is_wide(self) -> bool {
        matches!(self, Load::Full | Load::Wide)
    }

    fn has_position(self) -> bool {
        !matches!(self, Load::Full | Load::Single)
    }
}

struct Input {
    runs: Vec<Run>,
    load: Load,
    /// Index of its first size among the uniforms.
    sizes: usize,
}

/// Ways to compute `chain`, best first: eight elements per thread where a software driver has 64-bit integers, four on
/// a GPU, one as the base.
pub fn kernels(chain: &Pointwise, io: Io<'_>, target: &Target) -> Vec<Candidate> {
    widths(target).map(|width| candidate(chain, io, width)).collect()
}

fn widths(target: &Target) -> impl Iterator<Item = Width> {
    let order = match target.class {
        TargetClass::Software => [Width::U64, Width::Vec4, Width::One],
        TargetClass::Hardware => [Width::Vec4, Width::U64, Width::One],
    };
    let int64 = target.int64;
    order.into_iter().filter(move |w| *w != Width::U64 || int64)
}

fn candidate(chain: &Pointwise, io: Io<'_>, width: Width) -> Candidate {
    let shape = io.outputs[0].shape;
    let dispatch = dispatch(chain, io.inputs, shape, width, None);
    let binds: Vec<Bind> =
        (0..chain.inputs).map(Bind::Input).chain((0..chain.results.len()).map(Bind::Output)).collect();
    let threads = shape.elements().div_ceil(width.elements()) as u64;
    let dispatch = dispatch.bind(&binds).groups(threads.div_ceil(WORKGROUP));
    let needs = Needs { int64: width == Width::U64, ..Needs::default() };
    Candidate::new(width.variant()).needs(needs).dispatch(dispatch)
}

/// The kernel with its parameters; buffers and grid are still to be given.
fn dispatch(chain: &Pointwise, inputs: &[Spec], shape: Shape, width: Width, sum: Option<Sum>) -> Dispatch {
    let mut sizes = Vec::new();
    let inputs: Vec<Input> = inputs
        .iter()
        .map(|input| {
            let runs = runs(input.shape, shape).expect("the shape rule admits only inputs that broadcast");
            let load = Load::of(&runs, width);
            let first = sizes.len();
            if load.has_position() {
                sizes.extend(runs[..runs.len() - 1].iter().map(|run| Divisor::new(run.size)));
            }
            Input { runs, load, sizes: first }
        })
        .collect();
    let of_sum = |s: Sum| [s.parts as u32, s.trips as u32, s.divisor.to_bits()];
    let params: Vec<u32> = std::iter::once(shape.elements() as u32)
        .chain(sum.into_iter().flat_map(of_sum))
        .chain(sizes.iter().flat_map(|d| [d.size, d.magic, d.shift]))
        .chain(std::iter::repeat_n(0, chain.scalars))
        .collect();
    let kernel = KernelRef::Generated(Arc::new(kernel(chain, &inputs, sizes.len(), width, sum.is_some())));
    let mut dispatch = Dispatch::new(kernel, params.iter().flat_map(|v| v.to_le_bytes()).collect());
    for (k, name) in SCALARS.iter().enumerate().take(chain.scalars) {
        dispatch = dispatch.scalar(name, k);
    }
    dispatch
}

fn kernel(chain: &Pointwise, inputs: &[Input], sizes: usize, width: Width, sum: bool) -> Kernel {
    let mut params = vec![("n", ParamType::U32)];
    if sum {
        let more = [("parts", ParamType::U32), ("trips", ParamType::U32), ("divisor", ParamType::F32)];
        params.extend(more);
    }
    params.extend(SIZES[..3 * sizes].iter().map(|&d| (d, ParamType::U32)));
    params.extend((0..chain.scalars).map(|k| (SCALARS[k], scalar_type(chain, k))));
    let bindings = INPUTS[..inputs.len()]
        .iter()
        .map(|&x| (x, Access::Read))
        .chain(OUTPUTS[..chain.results.len()].iter().map(|&y| (y, Access::ReadWrite)));
    let names: Vec<&str> = chain.steps.iter().map(|step| step.function.name()).collect();
    Kernel {
        name: Cow::Owned(format!(
            "pointwise{}/{}.{}",
            if sum { "_sum" } else { "" },
            names.join("_"),
            width.variant()
        )),
        source: Cow::Owned(source(chain, inputs, &params, width, sum)),
        bindings: bindings.collect(),
        params: Cow::Owned(params),
        author: Author::Recurve,
    }
}

/// The uniform's type: integers where a function takes one.
fn scalar_type(chain: &Pointwise, scalar: usize) -> ParamType {
    let integer = |step: &super::Instr| {
        let mut args = step.args.iter().enumerate();
        args.any(|(position, &arg)| arg == Arg::Scalar(scalar) && step.function.takes_u32(position))
    };
    if chain.steps.iter().any(integer) { ParamType::U32 } else { ParamType::F32 }
}

fn source(
    chain: &Pointwise,
    inputs: &[Input],
    params: &[(&str, ParamType)],
    width: Width,
    sum: bool,
) -> String {
    let mut text = String::new();
    declarations(&mut text, chain, inputs, params, width, sum);
    for (k, input) in inputs.iter().enumerate().filter(|(_, input)| input.load.has_position()) {
        position(&mut text, k, input);
    }
    body(&mut text, chain);
    match sum {
        false => main(&mut text, chain, inputs, width),
        true => main_of_sum(&mut text, inputs, width),
    }
    text
}

fn declarations(
    text: &mut String,
    chain: &Pointwise,
    inputs: &[Input],
    params: &[(&str, ParamType)],
    width: Width,
    sum: bool,
) {
    let (value, index) = if width == Width::One { ("f32", "u32") } else { ("vec4<f32>", "vec4<u32>") };
    emit!(text, "alias Value = {value};");
    emit!(text, "alias Index = {index};");
    emit!(text, "struct Params {{");
    for (name, kind) in params {
        let kind = match kind {
            ParamType::U32 => "u32",
            ParamType::I32 => "i32",
            ParamType::F32 => "f32",
        };
        emit!(text, "    {name}: {kind},");
    }
    emit!(text, "}}");
    emit!(text, "@group(0) @binding(0) var<uniform> p: Params;");
    for (k, input) in inputs.iter().enumerate() {
        let element = if input.load.is_wide() { width.memory() } else { "f32" };
        emit!(text, "@group(0) @binding({}) var<storage, read> x{k}: array<{element}>;", 1 + k);
    }
    for j in 0..chain.results.len() {
        let binding = 1 + inputs.len() + j;
        emit!(
            text,
            "@group(0) @binding({binding}) var<storage, read_write> y{j}: array<{}>;",
            if sum { "f32" } else { width.memory() }
        );
    }
    let mut functions: Vec<Function> = Vec::new();
    for step in &chain.steps {
        if !functions.contains(&step.function) {
            functions.push(step.function);
        }
    }
    let texts =
        functions::shared(&functions).into_iter().chain(functions.iter().filter_map(|&f| functions::text(f)));
    texts.for_each(|function| text.push_str(function));
    if inputs.iter().any(|input| input.load.has_position()) {
        emit!(text, "//!include lib/quotient.wgsl");
    }
    if width == Width::U64 {
        emit!(text, "//!include lib/octet.wgsl");
    }
}

/// `fn atK(e)`: where element `e` of the result lies in input `k`.
fn position(text: &mut String, k: usize, input: &Input) {
    emit!(text, "fn at{k}(e: u32) -> u32 {{");
    let last = input.runs.len() - 1;
    let (mut rest, mut scale, mut terms) = ("e".to_string(), String::new(), Vec::new());
    for (r, run) in input.runs.iter().enumerate() {
        let d = input.sizes + r;
        if r < last {
            emit!(text, "    let rest{r} = quotient({rest}, p.m{d}, p.h{d});");
        }
        if run.kept {
            let at = if r == last { rest.clone() } else { format!("({rest} - rest{r} * p.d{d})") };
            terms.push(format!("{at}{scale}"));
            scale = format!("{scale} * p.d{d}");
        }
        rest = format!("rest{r}");
    }
    emit!(text, "    return {};", terms.join(" + "));
    emit!(text, "}}");
}

/// `fn chain(..)`: the instructions.
fn body(text: &mut String, chain: &Pointwise) {
    let args: Vec<String> = (0..chain.inputs).map(|k| format!("x{k}: Value")).collect();
    emit!(text, "struct Results {{");
    for j in 0..chain.results.len() {
        emit!(text, "    y{j}: Value,");
    }
    emit!(text, "}}");
    emit!(text, "fn chain(e: Index, {}) -> Results {{", args.join(", "));
    for (k, step) in chain.steps.iter().enumerate() {
        let operands = step.args.iter().enumerate().map(|(position, arg)| match *arg {
            Arg::Input(i) => format!("x{i}"),
            Arg::Scalar(i) if step.function.takes_u32(position) => format!("p.s{i}"),
            Arg::Scalar(i) => format!("Value(p.s{i})"),
            Arg::Step(i) => format!("t{i}"),
        });
        emit!(text, "    let t{k} = {};", expression(step.function, &operands.collect::<Vec<_>>()));
    }
    let results: Vec<String> = chain.results.iter().map(|r| format!("t{r}")).collect();
    emit!(text, "    return Results({});", results.join(", "));
    emit!(text, "}}");
}

fn expression(function: Function, args: &[String]) -> String {
    use Function::*;
    let a = &args[0];
    let b = args.get(1).unwrap_or(a);
    match function {
        Add => format!("{a} + {b}"),
        Sub => format!("{a} - {b}"),
        Mul => format!("{a} * {b}"),
        Div => format!("{a} / {b}"),
        Max => format!("max({a}, {b})"),
        Min => format!("min({a}, {b})"),
        Neg => format!("-{a}"),
        Abs => format!("abs({a})"),
        Sign => format!("sign({a})"),
        Exp => format!("exp({a})"),
        Log => format!("log({a})"),
        Sqrt => format!("sqrt({a})"),
        Rsqrt => format!("inverseSqrt({a})"),
        Recip => format!("Value(1.0) / {a}"),
        Square => format!("{a} * {a}"),
        Tanh => format!("tanh_of({a})"),
        Sigmoid => format!("sigmoid_of({a})"),
        Relu => format!("max({a}, Value(0.0))"),
        Expm1 => format!("expm1_of({a})"),
        Softplus => format!("softplus_of({a})"),
        Erf => format!("erf_of({a})"),
        Erfc => format!("erfc_of({a})"),
        Where => format!("select({}, {b}, {a} > Value(0.0))", args[2]),
        Step => format!("select(Value(0.0), Value(1.0), {a} > Value(0.0))"),
        GreaterEqual => format!("select(Value(0.0), Value(1.0), {a} >= {b})"),
        Equal => format!("select(Value(0.0), Value(1.0), {a} == {b})"),
        Share => format!("select(select(Value(0.0), Value(1.0), {a} > {b}), Value(0.5), {a} == {b})"),
        Copy => a.clone(),
        Dropout => format!("dropout_of({}, e)", args.join(", ")),
    }
}

fn signature(text: &mut String) {
    emit!(text, "@compute @workgroup_size({WORKGROUP})");
    emit!(text, "fn main(");
    emit!(text, "    @builtin(workgroup_id) wid: vec3<u32>,");
    emit!(text, "    @builtin(num_workgroups) nwg: vec3<u32>,");
    emit!(text, "    @builtin(local_invocation_index) lane: u32,");
    emit!(text, ") {{");
}

/// The results of a unit of neighbours, from element `first` on: `r`, or `r_even` and `r_odd`, with the elements' indices.
fn results(text: &mut String, inputs: &[Input], width: Width) {
    for (k, input) in inputs.iter().enumerate() {
        load(text, k, input, width);
    }
    for (suffix, _, offsets) in width.parts() {
        emit!(text, "    let e{suffix} = first + {};", index(offsets));
        let args: Vec<String> = (0..inputs.len()).map(|k| format!("v{k}{suffix}")).collect();
        emit!(text, "    let r{suffix} = chain(e{suffix}, {});", args.join(", "));
    }
}

/// What the chain makes of an element, where there is one: a thread's first always exists, others may lie behind the end.
fn existing(suffix: &str, j: usize) -> String {
    format!("select(Value(0.0), r{suffix}.y{j}, e{suffix} < Index(p.n))")
}

fn main(text: &mut String, chain: &Pointwise, inputs: &[Input], width: Width) {
    let w = width.elements();
    signature(text);
    emit!(text, "    let i = (wid.x + wid.y * nwg.x) * {WORKGROUP}u + lane;");
    emit!(text, "    let first = i * {w}u;");
    emit!(text, "    if (first >= p.n) {{");
    emit!(text, "        return;");
    emit!(text, "    }}");
    results(text, inputs, width);
    for j in 0..chain.results.len() {
        let [all, even, odd] = ["", "_even", "_odd"].map(|suffix| existing(suffix, j));
        match width {
            Width::One => emit!(text, "    y{j}[i] = r.y{j};"),
            Width::Vec4 => emit!(text, "    y{j}[i] = {all};"),
            Width::U64 => emit!(text, "    y{j}[i] = octet_of({even}, {odd});"),
        }
    }
    emit!(text, "}}");
}

fn index(offsets: &[usize]) -> String {
    let offsets: Vec<String> = offsets.iter().map(|o| format!("{o}u")).collect();
    format!("Index({})", offsets.join(", "))
}

/// The thread's elements of input `k` as `vK`, `vK_even`, `vK_odd`.
fn load(text: &mut String, k: usize, input: &Input, width: Width) {
    let w = width.elements();
    let parts = width.parts();
    match input.load {
        Load::Full => emit!(text, "    let q{k} = x{k}[i];"),
        Load::Single => emit!(text, "    let q{k} = x{k}[0];"),
        Load::Wide => emit!(text, "    let q{k} = x{k}[at{k}(first) / {w}u];"),
        Load::Splat => emit!(text, "    let q{k} = x{k}[at{k}(first)];"),
        Load::Pair => {
            emit!(text, "    let a{k} = x{k}[at{k}(first)];");
            emit!(text, "    let b{k} = x{k}[at{k}(min(first + {}u, p.n - 1u))];", w - 1);
            let d = input.sizes;
            emit!(text, "    let left{k} = p.d{d} - (first - quotient(first, p.m{d}, p.h{d}) * p.d{d});");
        }
        Load::Elements => {
            for o in 0..w {
                emit!(text, "    let q{k}_{o} = x{k}[at{k}(min(first + {o}u, p.n - 1u))];");
            }
        }
    }
    for (suffix, part, offsets) in parts {
        let value = match input.load {
            Load::Full | Load::Wide if part.is_empty() => format!("q{k}"),
            Load::Full | Load::Wide => format!("{part}(q{k})"),
            Load::Single | Load::Splat => format!("Value(q{k})"),
            Load::Pair => format!("select(Value(b{k}), Value(a{k}), {} < Index(left{k}))", index(offsets)),
            Load::Elements => {
                let elements: Vec<String> = offsets.iter().map(|o| format!("q{k}_{o}")).collect();
                format!("Value({})", elements.join(", "))
            }
        };
        emit!(text, "    let v{k}{suffix} = {value};");
    }
}
