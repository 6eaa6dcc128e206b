//! Loading of WGSL text: includes, baked constants, unrolled loops.
//!
//! A kernel file is valid WGSL as it lies; three kinds of line tell this loader how to specialise it.
//!
//! | line | effect |
//! |---|---|
//! | `//!include lib/file.wgsl` | replaced by that file of [`LIBRARY`], once per shader |
//! | `const TILE: u32 = 64u;` | its value is replaced when the host names `TILE` |
//! | `//!unroll` before a `for` | the loop is written out, one copy of the body per trip |
//!
//! Register tiles need the last one: shader compilers do not unroll the loops that naga writes, and an array
//! that is indexed by a loop variable lives in memory instead of registers.
//!
//! Everything here maps text to text and knows no GPU type.

mod unroll;

use std::collections::HashMap;
use std::hash::{Hash, Hasher};

use thiserror::Error;

/// Shared WGSL sources that `//!include` may name, as (path below `shaders/`, text).
pub const LIBRARY: &[(&str, &str)] = &[
    ("lib/activation.wgsl", include_str!("../../shaders/lib/activation.wgsl")),
    ("lib/cells.wgsl", include_str!("../../shaders/lib/cells.wgsl")),
    ("lib/class_share.wgsl", include_str!("../../shaders/lib/class_share.wgsl")),
    ("lib/class_weight.wgsl", include_str!("../../shaders/lib/class_weight.wgsl")),
    ("lib/clip.wgsl", include_str!("../../shaders/lib/clip.wgsl")),
    ("lib/convolve_rows.wgsl", include_str!("../../shaders/lib/convolve_rows.wgsl")),
    ("lib/first_maximum.wgsl", include_str!("../../shaders/lib/first_maximum.wgsl")),
    ("lib/gates.wgsl", include_str!("../../shaders/lib/gates.wgsl")),
    ("lib/gates4.wgsl", include_str!("../../shaders/lib/gates4.wgsl")),
    ("lib/implicit_gemm.wgsl", include_str!("../../shaders/lib/implicit_gemm.wgsl")),
    ("lib/non_finite.wgsl", include_str!("../../shaders/lib/non_finite.wgsl")),
    ("lib/octet.wgsl", include_str!("../../shaders/lib/octet.wgsl")),
    ("lib/octet_channels.wgsl", include_str!("../../shaders/lib/octet_channels.wgsl")),
    ("lib/octet_product.wgsl", include_str!("../../shaders/lib/octet_product.wgsl")),
    ("lib/octet_range.wgsl", include_str!("../../shaders/lib/octet_range.wgsl")),
    ("lib/panel_product.wgsl", include_str!("../../shaders/lib/panel_product.wgsl")),
    ("lib/parts.wgsl", include_str!("../../shaders/lib/parts.wgsl")),
    ("lib/quotient.wgsl", include_str!("../../shaders/lib/quotient.wgsl")),
    ("lib/rows_product.wgsl", include_str!("../../shaders/lib/rows_product.wgsl")),
    ("lib/scaled.wgsl", include_str!("../../shaders/lib/scaled.wgsl")),
    ("lib/source.wgsl", include_str!("../../shaders/lib/source.wgsl")),
    ("lib/tree64.wgsl", include_str!("../../shaders/lib/tree64.wgsl")),
    ("lib/workgroup_product.wgsl", include_str!("../../shaders/lib/workgroup_product.wgsl")),
];

/// The value of a baked constant.
///
/// Floats compare and hash by their bits, so that a list of constants can be the key of a pipeline cache.
#[derive(Clone, Copy, Debug)]
pub enum Const {
    /// A WGSL `u32`.
    U32(u32),
    /// A WGSL `i32`.
    I32(i32),
    /// A WGSL `f32`; must be finite.
    F32(f32),
    /// A WGSL `bool`.
    Bool(bool),
}

impl Const {
    /// The WGSL name of this constant's type.
    pub fn type_name(self) -> &'static str {
        match self {
            Const::U32(_) => "u32",
            Const::I32(_) => "i32",
            Const::F32(_) => "f32",
            Const::Bool(_) => "bool",
        }
    }

    /// The variant and the bits of the value: what equality and hashing look at.
    fn key(self) -> (u8, u32) {
        match self {
            Const::U32(v) => (0, v),
            Const::I32(v) => (1, v as u32),
            Const::F32(v) => (2, v.to_bits()),
            Const::Bool(v) => (3, v as u32),
        }
    }

    fn literal(self) -> String {
        match self {
            Const::U32(v) => format!("{v}u"),
            // The literal `-2147483648i` is a negated 2147483648i, which does not exist.
            Const::I32(v) if v < 0 => format!("i32({v})"),
            Const::I32(v) => format!("{v}i"),
            Const::F32(v) => format!("{v:?}f"),
            Const::Bool(v) => format!("{v}"),
        }
    }
}

impl PartialEq for Const {
    fn eq(&self, other: &Self) -> bool {
        self.key() == other.key()
    }
}

impl Eq for Const {}

impl Hash for Const {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.key().hash(state);
    }
}

impl From<u32> for Const {
    fn from(v: u32) -> Self {
        Const::U32(v)
    }
}

impl From<i32> for Const {
    fn from(v: i32) -> Self {
        Const::I32(v)
    }
}

impl From<f32> for Const {
    fn from(v: f32) -> Self {
        Const::F32(v)
    }
}

impl From<bool> for Const {
    fn from(v: bool) -> Self {
        Const::Bool(v)
    }
}

/// Why a shader source cannot be specialised.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum ShaderError {
    /// An `//!include` names a file that is not in [`LIBRARY`].
    #[error("no shader library file {path:?}")]
    UnknownInclude {
        /// The path as written.
        path: String,
    },
    /// The host bakes a constant that the source does not declare.
    #[error("no line declares the constant {name}")]
    MissingConst {
        /// The constant's name.
        name: String,
    },
    /// A constant has more than one declaration, or is given more than one value.
    #[error("the constant {name} is not unique")]
    DuplicateConst {
        /// The constant's name.
        name: String,
    },
    /// The baked value is not of the declared type.
    #[error("the constant {name} is declared as {declared}, but {given} is given")]
    ConstType {
        /// The constant's name.
        name: String,
        /// The type in the source.
        declared: String,
        /// The type of the given value.
        given: &'static str,
    },
    /// WGSL has no literal for NaN or infinity.
    #[error("the constant {name} is not finite")]
    NotFinite {
        /// The constant's name.
        name: String,
    },
    /// An `//!unroll` is not followed by a loop of the form `for (var i = A; i < B; i += S) { .. }`.
    #[error("cannot unroll {header:?}: {reason}")]
    Unroll {
        /// The beginning of what follows the directive.
        header: String,
        /// What is wrong with it.
        reason: UnrollReason,
    },
}

/// What keeps a loop from being unrolled.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum UnrollReason {
    /// The text is no `for` loop of the one form that is understood.
    #[error("not of the form for (var i = A; i < B; i += S) {{ .. }}")]
    Form,
    /// A bound is neither a literal, a baked constant, nor arithmetic on such.
    #[error("a bound is not known when the shader is loaded")]
    Bound,
    /// The step is zero or negative, or there are far too many trips.
    #[error("too many trips")]
    Trips,
    /// `break` and `continue` would change their meaning.
    #[error("the body contains break or continue")]
    Jump,
    /// The body declares the loop variable anew.
    #[error("the body declares the loop variable again")]
    Shadowed,
}

/// Specialises `source`: resolves its includes, bakes `consts`, expands its `//!unroll` loops.
///
/// # Errors
/// [`ShaderError`] names the include, constant or loop at fault.
pub fn expand(source: &str, consts: &[(&str, Const)]) -> Result<String, ShaderError> {
    expand_with(source, consts, LIBRARY)
}

/// The source with its includes, as far as they exist.
pub(crate) fn included(source: &str) -> String {
    let mut text = String::with_capacity(source.len());
    // A missing include is an error where the shader is specialised.
    let _ = include(source, LIBRARY, &mut Vec::new(), &mut text);
    text
}

fn expand_with(
    source: &str,
    consts: &[(&str, Const)],
    library: &[(&str, &str)],
) -> Result<String, ShaderError> {
    let mut text = String::with_capacity(source.len());
    include(source, library, &mut Vec::new(), &mut text)?;
    let text = bake(&text, consts)?;
    let known = integer_consts(&text);
    let mut out = String::with_capacity(2 * text.len());
    unroll::unroll(&text, &known, &mut 0, &mut out)?;
    Ok(out)
}

/// Appends `source` to `out` with every include replaced by its text; a file appears once per shader.
fn include<'a>(
    source: &str,
    library: &[(&'a str, &'a str)],
    seen: &mut Vec<&'a str>,
    out: &mut String,
) -> Result<(), ShaderError> {
    for line in source.lines() {
        let Some(path) = line.trim().strip_prefix("//!include ") else {
            out.push_str(line);
            out.push('\n');
            continue;
        };
        let path = path.trim();
        let Some(&(name, text)) = library.iter().find(|(name, _)| *name == path) else {
            return Err(ShaderError::UnknownInclude { path: path.into() });
        };
        if !seen.contains(&name) {
            seen.push(name);
            include(text, library, seen, out)?;
        }
    }
    Ok(())
}

/// A line of the form `const NAME: TYPE = VALUE;`, with what stands before and after the value.
struct ConstLine<'a> {
    name: &'a str,
    ty: Option<&'a str>,
    value: &'a str,
    before: &'a str,
    after: &'a str,
}

fn const_line(line: &str) -> Option<ConstLine<'_>> {
    // Indented constants are local to a function.
    let declaration = line.strip_prefix("const ")?;
    let equals = line.find('=')?;
    let end = line.find(';')?;
    let (left, _) = declaration.split_once('=')?;
    let (name, ty) = match left.split_once(':') {
        Some((name, ty)) => (name.trim(), Some(ty.trim())),
        None => (left.trim(), None),
    };
    let value = line.get(equals + 1..end)?.trim();
    Some(ConstLine { name, ty, value, before: &line[..=equals], after: &line[end..] })
}

fn bake(text: &str, consts: &[(&str, Const)]) -> Result<String, ShaderError> {
    let mut pending: HashMap<&str, (Const, bool)> = HashMap::with_capacity(consts.len());
    for &(name, value) in consts {
        if matches!(value, Const::F32(v) if !v.is_finite()) {
            return Err(ShaderError::NotFinite { name: name.into() });
        }
        if pending.insert(name, (value, false)).is_some() {
            return Err(ShaderError::DuplicateConst { name: name.into() });
        }
    }
    let mut out = String::with_capacity(text.len() + 16 * consts.len());
    for line in text.lines() {
        match const_line(line).and_then(|c| pending.get_mut(c.name).map(|p| (c, p))) {
            None => out.push_str(line),
            Some((c, (value, done))) => {
                if std::mem::replace(done, true) {
                    return Err(ShaderError::DuplicateConst { name: c.name.into() });
                }
                if let Some(ty) = c.ty.filter(|ty| *ty != value.type_name()) {
                    let (declared, given) = (ty.into(), value.type_name());
                    return Err(ShaderError::ConstType { name: c.name.into(), declared, given });
                }
                out.push_str(c.before);
                out.push(' ');
                out.push_str(&value.literal());
                out.push_str(c.after);
            }
        }
        out.push('\n');
    }
    // In the order given, so that the error is the same every time.
    match consts.iter().find(|(name, _)| !pending[name].1) {
        Some((name, _)) => Err(ShaderError::MissingConst { name: (*name).into() }),
        None => Ok(out),
    }
}

/// The values of all module constants that are integers known from the text alone.
fn integer_consts(text: &str) -> HashMap<&str, i64> {
    let mut known = HashMap::new();
    for c in text.lines().filter_map(const_line) {
        if let Some(value) = unroll::evaluate(c.value, &known) {
            known.insert(c.name, value);
        }
    }
    known
}

/// The shader with its uniform `p` read once, at the start of `main`, and with values that a compiler cannot follow.
///
/// A software driver reads a uniform lane by lane, and again in each trip of a loop: it cannot know that no lane is off.
/// On lavapipe a convolution with 3×3 taps becomes 1.2 times as fast. And where a loop's bound is a uniform, lavapipe may
/// compile the kernel anew for every dispatch with the bound's value written in, which takes milliseconds; so something
/// that is always 0 is added to integers.
pub(super) fn params_once(text: &str) -> String {
    let rewritten = || {
        text.find("var<uniform> p: Params;")?;
        let fields = between(text, "struct Params {", "}")?;
        let main = text.find("fn main(")?;
        let end = main + closing_parenthesis(&text[main..])?;
        let body = end + text[end..].find('{')? + 1;
        let group = between(&text[main..end], "@builtin(workgroup_id) ", ":");
        let comma = if text[..end].trim_end().ends_with([',', '(']) { "" } else { ", " };
        let param = match group {
            Some(_) => String::new(),
            None => format!("{comma}@builtin(workgroup_id) group_of_params: vec3<u32>"),
        };
        let group = group.unwrap_or("group_of_params");
        let value = |field: &str| {
            let (name, kind) = field.split("//").next()?.trim().trim_end_matches(',').split_once(": ")?;
            Some(match kind {
                "u32" => format!("p.{name} + always_0"),
                "i32" => format!("p.{name} + i32(always_0)"),
                _ => format!("p.{name}"),
            })
        };
        let values: Vec<String> = fields.lines().filter_map(value).collect();
        let values = values.join(", ");
        // No grid is so large that its last dimension had the highest bit set.
        let first = format!("\n    let always_0 = {group}.z >> 31u;\n    let p = Params({values});");
        Some([&text[..end], &param, &text[end..body], &first, &text[body..]].concat())
    };
    rewritten().unwrap_or_else(|| text.into())
}

/// What stands between the first `begin` and the next `end`.
fn between<'a>(text: &'a str, begin: &str, end: &str) -> Option<&'a str> {
    let rest = &text[text.find(begin)? + begin.len()..];
    Some(&rest[..rest.find(end)?])
}

/// Where the first parenthesis of `text` is closed.
fn closing_parenthesis(text: &str) -> Option<usize> {
    let mut depth = 0usize;
    text.char_indices().find_map(|(at, c)| {
        depth += usize::from(c == '(');
        depth -= usize::from(c == ')');
        (c == ')' && depth == 0).then_some(at)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The text without blanks, so that a test need not fix the layout.
    fn squeeze(text: &str) -> String {
        text.chars().filter(|c| !c.is_whitespace()).collect()
    }

    fn unrolled(source: &str) -> String {
        squeeze(&expand(source, &[]).unwrap())
    }

    fn reason(source: &str) -> UnrollReason {
        match expand(source, &[]) {
            Err(ShaderError::Unroll { reason, .. }) => reason,
            other => panic!("expected an unroll error, got {other:?}"),
        }
    }

    #[test]
    fn bakes_each_type_and_keeps_the_rest_of_the_line() {
        let source =
            "const A: u32 = 1u; // tile\nconst B: i32 = 2;\nconst C: f32 = 0.5;\nconst D: bool = false;\n";
        let consts = [("A", 7u32.into()), ("B", (-3i32).into()), ("C", 1e-5f32.into()), ("D", true.into())];
        let out = expand(source, &consts).unwrap();
        let expected = "const A: u32 = 7u; // tile\nconst B: i32 = i32(-3);\nconst C: f32 = 1e-5f;\nconst D: bool = true;\n";
        assert_eq!(out, expected);
        naga::front::wgsl::parse_str(&out).unwrap();
    }

    #[test]
    fn extreme_values_are_valid_wgsl() {
        let source = "const A: i32 = 0;\nconst B: f32 = 0.0;\nconst C: u32 = 0u;\nconst D: f32 = 0.0;\n";
        let consts = [
            ("A", i32::MIN.into()),
            ("B", f32::MIN.into()),
            ("C", u32::MAX.into()),
            ("D", f32::MIN_POSITIVE.into()),
        ];
        naga::front::wgsl::parse_str(&expand(source, &consts).unwrap()).unwrap();
    }

    #[test]
    fn faulty_constants_are_errors() {
        let source = "const A: u32 = 1u;\nconst AB: u32 = 1u;\nfn f() {\n    const LOCAL = 1u;\n}\n";
        let missing = |name: &str| ShaderError::MissingConst { name: name.into() };
        assert_eq!(expand(source, &[("B", 1u32.into())]), Err(missing("B")));
        assert_eq!(expand(source, &[("LOCAL", 1u32.into())]), Err(missing("LOCAL")));
        let twice = Err(ShaderError::DuplicateConst { name: "A".into() });
        assert_eq!(expand(source, &[("A", 1u32.into()), ("A", 1u32.into())]), twice);
        assert_eq!(expand("const A = 1;\nconst A = 2;", &[("A", 1u32.into())]), twice);
        let mismatch = ShaderError::ConstType { name: "A".into(), declared: "u32".into(), given: "f32" };
        assert_eq!(expand(source, &[("A", 1f32.into())]), Err(mismatch));
        let infinite = expand("const C: f32 = 1.0;", &[("C", f32::INFINITY.into())]);
        assert_eq!(infinite, Err(ShaderError::NotFinite { name: "C".into() }));
    }

    #[test]
    fn constants_compare_by_bits() {
        assert_eq!(Const::F32(f32::NAN), Const::F32(f32::NAN));
        assert_ne!(Const::F32(0.0), Const::F32(-0.0));
        assert_ne!(Const::U32(1), Const::I32(1));
        assert_ne!(Const::U32(1), Const::Bool(true));
    }

    #[test]
    fn includes_each_file_once() {
        let library =
            [("lib/a.wgsl", "fn a() {}\n"), ("lib/b.wgsl", "//!include lib/a.wgsl\nfn b() { a(); }\n")];
        let source = "//!include lib/b.wgsl\n  //!include lib/a.wgsl\nfn c() { a(); b(); }\n";
        let out = expand_with(source, &[], &library).unwrap();
        assert_eq!(out, "fn a() {}\nfn b() { a(); }\nfn c() { a(); b(); }\n");
        naga::front::wgsl::parse_str(&out).unwrap();
        let unknown = expand_with("//!include lib/c.wgsl", &[], &library);
        assert_eq!(unknown, Err(ShaderError::UnknownInclude { path: "lib/c.wgsl".into() }));
    }

    #[test]
    fn an_included_constant_can_be_baked() {
        let library = [("lib/a.wgsl", "const WIDTH: u32 = 1u;\n")];
        let source = "//!include lib/a.wgsl\n//!unroll\nfor (var i = 0u; i < WIDTH; i++) { f(i); }\n";
        let out = expand_with(source, &[("WIDTH", 3u32.into())], &library).unwrap();
        assert_eq!(squeeze(&out), "constWIDTH:u32=3u;f(0u);f(1u);f(2u);");
    }

    #[test]
    fn replaces_whole_identifiers_only() {
        let source = "//!unroll\nfor (var i = 0u; i < 2u; i++) { ii[i] = v.i + i1 + i; /* i */ // i\n}";
        assert_eq!(unrolled(source), "ii[0u]=v.i+i1+0u;/*i*///iii[1u]=v.i+i1+1u;/*i*///i");
    }

    #[test]
    fn bodies_that_declare_get_their_own_block() {
        let source = "//!unroll\nfor (var i = 0; i < 2; i++) { let a = i; b += a; }\nc();";
        assert_eq!(unrolled(source), "{leta=0;b+=a;}{leta=1;b+=a;}c();");
        let source = "//!unroll\nfor (var i = 0; i < 2; i++) { if i > 0 { let a = i; b += a; } }";
        assert_eq!(unrolled(source), "if0>0{leta=0;b+=a;}if1>0{leta=1;b+=a;}");
    }

    #[test]
    fn bounds_may_be_arithmetic_on_constants() {
        let consts = "const M: u32 = 8u;\nconst N = M / 4u;\n";
        let body = "for (var i = N; i < M * 2u - (N + 1u); i += M / N) { f(i); }";
        let out = unrolled(&format!("{consts}//!unroll\n{body}"));
        assert_eq!(out, squeeze(consts) + "f(2);f(6);f(10);");
        let source = "//!unroll\nfor (var i: i32 = -1; i < 0x1; i++) { f(i); }";
        assert_eq!(unrolled(source), "f((-1i));f(0i);");
        assert_eq!(unrolled("//!unroll\nfor (var i = 1u; i < 1u; i++) { f(i); }"), "");
    }

    #[test]
    fn nested_loops_unroll_and_inner_bounds_see_the_outer_variable() {
        let source = "//!unroll\nfor (var i = 0u; i < 3u; i++) {\n//!unroll\nfor (var j = 0u; j < i; j++) { f(i, j); } }";
        assert_eq!(unrolled(source), "f(1u,0u);f(2u,0u);f(2u,1u);");
        // A plain loop inside stays a loop.
        let source = "//!unroll\nfor (var i = 0u; i < 2u; i++) { for (var j = 0u; j < n; j++) { f(i, j); } }";
        assert_eq!(unrolled(source), "for(varj=0u;j<n;j++){f(0u,j);}for(varj=0u;j<n;j++){f(1u,j);}");
    }

    #[test]
    fn refuses_what_it_cannot_unroll() {
        assert_eq!(reason("//!unroll\nfor (var i = 0u; i < n; i++) { }"), UnrollReason::Bound);
        assert_eq!(reason("//!unroll\nfor (var i = 0u; i <= 4u; i++) { }"), UnrollReason::Form);
        assert_eq!(reason("//!unroll\nfor (var i = 0u; j < 4u; i++) { }"), UnrollReason::Form);
        assert_eq!(reason("//!unroll\nfor (var i = 0u; i < 4u; i *= 2u) { }"), UnrollReason::Form);
        assert_eq!(reason("//!unroll\nfor (var i = 0u; i < 4u; i++) { f(i);"), UnrollReason::Form);
        assert_eq!(reason("//!unroll\nlet a = 1;"), UnrollReason::Form);
        assert_eq!(reason("//!unroll"), UnrollReason::Form);
        assert_eq!(reason("//!unroll\nfor (var i = 0u; i < 4u; i += 0u) { }"), UnrollReason::Trips);
        assert_eq!(reason("//!unroll\nfor (var i = 0; i < 1000000; i++) { }"), UnrollReason::Trips);
        assert_eq!(reason("//!unroll\nfor (var i = 0; i < 4; i++) { if a { break; } }"), UnrollReason::Jump);
        assert_eq!(reason("//!unroll\nfor (var i = 0; i < 4; i++) { var i = 1; }"), UnrollReason::Shadowed);
    }

    /// A register tile with everything in it, as a kernel file would have it.
    const TILE: &str = "
const TILE_M: u32 = 2u;
const TILE_N: u32 = 2u;
const BIAS: bool = false;
@group(0) @binding(1) var<storage, read> a: array<f32>;
@group(0) @binding(2) var<storage, read_write> c: array<f32>;

@compute @workgroup_size(8)
fn main(@builtin(global_invocation_id) id: vec3<u32>) {
    var acc: array<f32, TILE_M * TILE_N>;
    //!unroll
    for (var i = 0u; i < TILE_M; i++) {
        let row = a[id.x + i];
        //!unroll
        for (var j = 0u; j < TILE_N; j++) {
            acc[i * TILE_N + j] += row * a[j];
        }
    }
    //!unroll
    for (var i = 0u; i < TILE_M * TILE_N; i += TILE_N) {
        if BIAS { acc[i] += 1.0; }
        c[id.x + i] = acc[i];
    }
}
";

    #[test]
    fn the_source_and_its_expansion_are_valid_wgsl() {
        for consts in
            [vec![], vec![("TILE_M", Const::U32(4)), ("TILE_N", Const::U32(8)), ("BIAS", true.into())]]
        {
            let out = expand(TILE, &consts).unwrap();
            assert!(!out.contains("for (") && !out.contains("//!unroll"));
            let flags = naga::valid::ValidationFlags::all();
            for text in [TILE, &out] {
                let module = naga::front::wgsl::parse_str(text).unwrap();
                naga::valid::Validator::new(flags, naga::valid::Capabilities::default())
                    .validate(&module)
                    .unwrap();
            }
        }
    }

    #[test]
    fn parameters_are_read_once_at_the_start_of_main() {
        let source = "struct Params {\n    n: u32, // elements\n    shift: i32,\n    eps: f32,\n}\n\
            @group(0) @binding(0) var<uniform> p: Params;\n\
            fn helper(a: u32) -> u32 { return a + p.n; }\n\
            fn main(\n    @builtin(local_invocation_index) lane: u32,\n    @builtin(workgroup_id) wid: vec3<u32>,\n) {\n    \
            return;\n}\n";
        let out = params_once(source);
        let first = "let p = Params(p.n + always_0, p.shift + i32(always_0), p.eps);";
        let body = out.split_once(") {\n").expect("main").1;
        assert!(body.starts_with("    let always_0 = wid.z >> 31u;\n"), "{body}");
        assert!(body.contains(first), "{body}");
        assert!(out.contains("return a + p.n;"), "functions beside main read the uniform: {out}");
        // Without a parameter for the workgroup one is added.
        let source = source.replace("    @builtin(workgroup_id) wid: vec3<u32>,\n", "");
        let out = params_once(&source);
        assert!(out.contains("lane: u32,\n@builtin(workgroup_id) group_of_params: vec3<u32>) {"), "{out}");
        let out = params_once(&source.replace("u32,\n) {", "u32) {"));
        assert!(out.contains("lane: u32, @builtin(workgroup_id) group_of_params: vec3<u32>) {"), "{out}");
        // A shader without parameters stays as it is.
        let source = "fn main() {}";
        assert_eq!(params_once(source), source);
    }
}
