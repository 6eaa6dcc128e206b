//! Every WGSL file: used, parsed, reflected against its Rust side, within its limits, and translatable.

use naga::back;
use naga::valid::{Capabilities, ModuleInfo, ValidationFlags, Validator};
use naga::{AddressSpace, Module, ScalarKind, StorageAccess, TypeInner};
use recurve::kernel::{Access, Bind, Candidate, Dispatch, KernelRef, Needs, ParamType, Target, TargetClass};
use recurve::op::{Case, Io};
use recurve::shader::{Const, LIBRARY, expand};
use recurve::testing::specs;
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::OnceLock;

/// The kinds of adapter whose choices differ.
fn targets() -> [Target; 4] {
    let base = Target::WEBGPU_DEFAULT;
    let large = Target {
        texel_loads: false,
        pair_texels: false,
        max_storage_buffers: 32,
        max_workgroup_memory: 32 << 10,
        max_invocations: 1024,
        max_binding: 1 << 30,
        max_buffer: 1 << 30,
        int64: true,
        ..base.clone()
    };
    [
        Target { class: TargetClass::Software, subgroup: Some((8, 8)), ..large.clone() },
        Target { class: TargetClass::Software, ..base.clone() },
        Target { class: TargetClass::Hardware, subgroup: Some((32, 32)), ..large },
        base,
    ]
}

/// What makes a shader: a kernel and its baked constants.
type Key = (KernelRef, Vec<(&'static str, Const)>);

/// One shader as some case runs it.
struct Shader {
    name: String,
    kernel: KernelRef,
    needs: Needs,
    /// Whether it fits WebGPU's default limits and features.
    base: bool,
    text: String,
}

/// Every candidate of every case on every kind of target.
fn candidates() -> Vec<(Case, Candidate)> {
    let mut all = Vec::new();
    for (_, case) in crate::cases() {
        let (inputs, outputs) = specs(&case);
        let updated = case.op.updates().iter().map(|&i| &inputs[i]);
        let nothing = outputs.iter().chain(updated).all(|s| s.elements() == 0);
        if nothing || case.op.alias() || case.op.places().is_some() {
            continue;
        }
        for target in targets() {
            let io = Io { inputs: &inputs, outputs: &outputs };
            all.extend(case.op.kernels(io, &target).into_iter().map(|c| (case.clone(), c)));
        }
    }
    all
}

/// Every different shader.
fn shaders() -> &'static [Shader] {
    static ALL: OnceLock<Vec<Shader>> = OnceLock::new();
    ALL.get_or_init(|| {
        let mut seen: HashMap<Key, usize> = HashMap::new();
        let mut all: Vec<Shader> = Vec::new();
        for (_, candidate) in candidates() {
            // Whether this text is portable depends on its own limits, not on the sizes of the tensors.
            let base = candidate
                .misfit(&Target { max_binding: u64::MAX, ..Target::WEBGPU_DEFAULT }, |_| 0)
                .is_none();
            for d in &candidate.dispatches {
                let next = all.len();
                let at = *seen.entry((d.kernel.clone(), d.consts.clone())).or_insert(next);
                if at < next {
                    all[at].base |= base;
                    continue;
                }
                let baked: Vec<String> = d.consts.iter().map(|(n, v)| format!("{n}={v:?}")).collect();
                let name = format!("{}.{} {}", candidate.variant, d.kernel.name, baked.join(" "));
                let text = expand(&d.kernel.source, &d.consts).unwrap_or_else(|e| panic!("{name}: {e}"));
                let kernel = d.kernel.clone();
                all.push(Shader { name, kernel, needs: candidate.needs, base, text });
            }
        }
        all
    })
}

fn parse(name: &str, text: &str) -> Module {
    naga::front::wgsl::parse_str(text).unwrap_or_else(|e| panic!("{name}: {}", e.emit_to_string(text)))
}

/// Validates with no more capabilities than the variant says it needs.
fn validate(name: &str, module: &Module, needs: &Needs) -> ModuleInfo {
    let mut allowed = Capabilities::empty();
    allowed.set(Capabilities::SHADER_INT64, needs.int64);
    allowed.set(Capabilities::SUBGROUP, needs.subgroup.is_some());
    let mut validator = Validator::new(ValidationFlags::all(), allowed);
    validator.validate(module).unwrap_or_else(|e| panic!("{name}: {}", e.into_inner()))
}

fn files_below(folder: &Path, into: &mut Vec<PathBuf>) {
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        match path.is_dir() {
            true => files_below(&path, into),
            false => into.push(path),
        }
    }
}

#[test]
fn every_shader_file_is_used_by_a_case() {
    if std::env::var_os("RECURVE_TEST_OPS").is_some() {
        return println!("skipped: only some cases are selected");
    }
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut files = Vec::new();
    files_below(&root.join("shaders"), &mut files);
    let files: BTreeSet<String> =
        (files.iter()).map(|f| f.strip_prefix(root).unwrap().to_str().unwrap().replace('\\', "/")).collect();
    let library: BTreeSet<String> = LIBRARY.iter().map(|(name, _)| format!("shaders/{name}")).collect();
    let mut used: BTreeSet<String> = shaders().iter().map(|s| s.kernel.name.to_string()).collect();
    for (path, _) in LIBRARY {
        let included = |s: &Shader| s.kernel.source.contains(&format!("//!include {path}"));
        let by_library = LIBRARY.iter().any(|(_, text)| text.contains(&format!("//!include {path}")));
        assert!(by_library || shaders().iter().any(included), "no kernel includes {path}");
    }
    used.extend(library);
    let unused: Vec<&String> = files.difference(&used).collect();
    assert!(unused.is_empty(), "no test case runs these shaders: {unused:?}");
}

#[test]
fn files_are_valid_before_specialisation() {
    let mut seen = BTreeSet::new();
    for s in shaders().iter().filter(|s| seen.insert(s.kernel.name.to_string())) {
        let text = expand(&s.kernel.source, &[]).unwrap_or_else(|e| panic!("{}: {e}", s.kernel.name));
        parse(&s.kernel.name, &text);
    }
}

#[test]
fn rust_and_wgsl_agree() {
    for s in shaders() {
        let module = parse(&s.name, &s.text);
        validate(&s.name, &module, &s.needs);
        check_interface(s, &module);
        check_limits(s, &module);
    }
    println!("{} shaders in {} files", shaders().len(), {
        shaders().iter().map(|s| &s.kernel.name).collect::<BTreeSet<_>>().len()
    });
}

/// Parameters and buffers: names, order, types, offsets, access.
fn check_interface(s: &Shader, module: &Module) {
    let name = &s.name;
    let mut bound: BTreeMap<u32, (&str, naga::Handle<naga::Type>, AddressSpace)> = BTreeMap::new();
    for (_, global) in module.global_variables.iter() {
        let Some(binding) = &global.binding else { continue };
        assert_eq!(binding.group, 0, "{name}: the group of {:?}", global.name);
        let variable = global.name.as_deref().unwrap();
        bound.insert(binding.binding, (variable, global.ty, global.space));
    }
    let expected: Vec<u32> = (0..=s.kernel.bindings.len() as u32).collect();
    assert_eq!(bound.keys().copied().collect::<Vec<_>>(), expected, "{name}: bindings");
    for (i, (rust, access)) in s.kernel.bindings.iter().enumerate() {
        let (wgsl, _, space) = bound[&(i as u32 + 1)];
        assert_eq!(wgsl, *rust, "{name}: binding {}", i + 1);
        let AddressSpace::Storage { access: flags } = space else {
            panic!("{name}: {wgsl} is no storage buffer")
        };
        let wanted = match access {
            Access::Read => StorageAccess::LOAD,
            Access::ReadWrite => StorageAccess::LOAD | StorageAccess::STORE,
        };
        assert_eq!(flags, wanted, "{name}: access of {wgsl}");
    }
    let (_, params, space) = bound[&0];
    assert_eq!(space, AddressSpace::Uniform, "{name}: binding 0");
    let TypeInner::Struct { members, .. } = &module.types[params].inner else {
        panic!("{name}: the parameters are no struct")
    };
    let wgsl: Vec<(&str, u32, ParamType)> = (members.iter())
        .map(|m| {
            let TypeInner::Scalar(scalar) = module.types[m.ty].inner else { panic!("{name}: {:?}", m.name) };
            let ty = match (scalar.kind, scalar.width) {
                (ScalarKind::Uint, 4) => ParamType::U32,
                (ScalarKind::Sint, 4) => ParamType::I32,
                (ScalarKind::Float, 4) => ParamType::F32,
                other => panic!("{name}: {:?} is {other:?}", m.name),
            };
            (m.name.as_deref().unwrap(), m.offset, ty)
        })
        .collect();
    let rust: Vec<(&str, u32, ParamType)> =
        s.kernel.params.iter().enumerate().map(|(i, &(n, t))| (n, 4 * i as u32, t)).collect();
    assert_eq!(wgsl, rust, "{name}: members of Params");
}

/// Workgroup size and memory, and buffers, against what the variant asks for.
fn check_limits(s: &Shader, module: &Module) {
    let name = &s.name;
    let [entry] = &module.entry_points[..] else { panic!("{name}: not one entry point") };
    assert_eq!((entry.name.as_str(), entry.stage), ("main", naga::ShaderStage::Compute), "{name}");
    let [x, y, z] = entry.workgroup_size;
    assert!(x * y * z <= s.needs.invocations.max(256), "{name}: {x}x{y}x{z} invocations in a workgroup");
    assert!(x <= 1024 && y <= 1024 && z <= 64, "{name}: workgroup of {x}x{y}x{z}");
    if let Some(lanes) = s.needs.subgroup {
        assert_eq!(x * y * z % lanes, 0, "{name}: workgroup of {x}x{y}x{z} with subgroups of {lanes}");
    }
    let shared: u32 = (module.global_variables.iter())
        .filter(|(_, g)| g.space == AddressSpace::WorkGroup)
        .map(|(_, g)| module.types[g.ty].inner.size(module.to_ctx()).next_multiple_of(16))
        .sum();
    let limit = s.needs.workgroup_memory.max(Target::WEBGPU_DEFAULT.max_workgroup_memory);
    assert!(shared <= limit, "{name}: {shared} bytes of workgroup memory, {limit} are asked for");
    if s.base {
        let buffers = s.kernel.bindings.len() as u32;
        assert!(buffers <= Target::WEBGPU_DEFAULT.max_storage_buffers, "{name}: {buffers} storage buffers");
        assert!(x <= 256 && y <= 256, "{name}: workgroup of {x}x{y}x{z}");
    }
}

#[test]
fn dispatches_fit_their_kernels() {
    for (case, candidate) in candidates() {
        let what = format!("{}.{}", case.op.name(), candidate.variant);
        assert!(candidate.scratch.iter().all(|b| b % 256 == 0), "{what}: scratch {:?}", candidate.scratch);
        for d in &candidate.dispatches {
            check_dispatch(&what, &case, &candidate, d);
        }
    }
}

fn check_dispatch(what: &str, case: &Case, candidate: &Candidate, d: &Dispatch) {
    assert_eq!(d.params.len(), 4 * d.kernel.params.len(), "{what}: bytes of parameters");
    assert_eq!(d.binds.len(), d.kernel.bindings.len(), "{what}: buffers");
    for &(offset, scalar) in &d.scalars {
        assert!(offset + 4 <= d.params.len() && scalar < case.scalars.len(), "{what}: scalar {scalar}");
    }
    let (inputs, outputs) = specs(case);
    let mut uses: HashMap<Bind, Access> = HashMap::new();
    for (&bind, &(name, access)) in d.binds.iter().zip(&*d.kernel.bindings) {
        match bind {
            Bind::Input(i) => {
                assert!(i < inputs.len(), "{what}: {name} is input {i}");
                let writes = access == Access::ReadWrite;
                assert!(!writes || case.op.updates().contains(&i), "{what}: {name} writes input {i}");
            }
            Bind::Output(i) => assert!(i < outputs.len(), "{what}: {name} is output {i}"),
            Bind::Scratch(i) => assert!(i < candidate.scratch.len(), "{what}: {name} is scratch {i}"),
        }
        let before = uses.insert(bind, access);
        let read_only = access == Access::Read && before == Some(Access::Read);
        assert!(before.is_none() || read_only, "{what}: {bind:?} is bound twice, and written");
    }
}

#[test]
fn every_case_has_a_base_variant() {
    let base = Target::WEBGPU_DEFAULT;
    for (_, case) in crate::cases() {
        let (inputs, outputs) = specs(&case);
        let updated = case.op.updates().iter().map(|&i| &inputs[i]);
        if outputs.iter().chain(updated).all(|s| s.elements() == 0)
            || case.op.alias()
            || case.op.places().is_some()
        {
            continue;
        }
        let candidates = case.op.kernels(Io { inputs: &inputs, outputs: &outputs }, &base);
        let last = candidates.last().unwrap_or_else(|| panic!("{:?} has no kernel", case.op));
        let size = |bind: Bind| match bind {
            Bind::Input(i) => inputs[i].padded_bytes(),
            Bind::Output(i) => outputs[i].padded_bytes(),
            Bind::Scratch(i) => last.scratch[i],
        };
        let misfit = last.misfit(&base, size);
        assert_eq!(misfit, None, "the base variant {} of {:?}({inputs:?})", last.variant, case.op);
    }
}

#[test]
fn base_variants_translate_to_every_language() {
    let spirv_val = Command::new("spirv-val").arg("--version").output().is_ok_and(|o| o.status.success());
    if !spirv_val {
        println!(
            "SKIPPED: spirv-val is not installed (Debian: apt-get install spirv-tools); SPIR-V is not validated"
        );
    }
    let mut count = 0;
    for s in shaders().iter().filter(|s| s.base) {
        let module = parse(&s.name, &s.text);
        let info = validate(&s.name, &module, &Needs::default());
        let spirv = spirv(s, &module, &info);
        if spirv_val {
            check_spirv(&s.name, &spirv);
        }
        msl(s, &module, &info);
        hlsl(s, &module, &info);
        glsl(s, &module, &info);
        count += 1;
    }
    println!("{count} base shaders translated to SPIR-V, MSL, HLSL and GLSL");
    assert!(count > 0);
}

fn spirv(s: &Shader, module: &Module, info: &ModuleInfo) -> Vec<u8> {
    let options = back::spv::Options::default();
    let words = back::spv::write_vec(module, info, &options, None);
    let words = words.unwrap_or_else(|e| panic!("{} to SPIR-V: {e}", s.name));
    words.into_iter().flat_map(u32::to_le_bytes).collect()
}

fn check_spirv(name: &str, spirv: &[u8]) {
    let mut child = Command::new("spirv-val")
        .args(["--target-env", "vulkan1.1", "-"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    child.stdin.take().unwrap().write_all(spirv).unwrap();
    let output = child.wait_with_output().unwrap();
    let said = String::from_utf8_lossy(&output.stdout) + String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "spirv-val refuses {name}: {said}");
}

fn msl(s: &Shader, module: &Module, info: &ModuleInfo) {
    let options = back::msl::Options { lang_version: (2, 0), ..Default::default() };
    let translated = back::msl::write_string(module, info, &options, &back::msl::PipelineOptions::default());
    translated.unwrap_or_else(|e| panic!("{} to MSL: {e}", s.name));
}

fn hlsl(s: &Shader, module: &Module, info: &ModuleInfo) {
    let mut text = String::new();
    let (options, pipeline) = (back::hlsl::Options::default(), back::hlsl::PipelineOptions::default());
    let written = back::hlsl::Writer::new(&mut text, &options, &pipeline).write(module, info, None);
    written.unwrap_or_else(|e| panic!("{} to HLSL: {e}", s.name));
}

fn glsl(s: &Shader, module: &Module, info: &ModuleInfo) {
    let mut text = String::new();
    let options = back::glsl::Options::default();
    let pipeline = back::glsl::PipelineOptions {
        shader_stage: naga::ShaderStage::Compute,
        entry_point: "main".into(),
        multiview: None,
    };
    let policies = naga::proc::BoundsCheckPolicies::default();
    let writer = back::glsl::Writer::new(&mut text, module, info, &options, &pipeline, policies);
    let written = writer.and_then(|mut w| w.write());
    written.unwrap_or_else(|e| panic!("{} to GLSL: {e}", s.name));
}

#[test]
fn base_variants_compile_with_tint() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/tint");
    if let Err(reason) = install_tint(&folder) {
        println!("SKIPPED: shaders are not compiled with Tint: {reason}");
        return;
    }
    // 64-bit integers exist in native wgpu only. Unrolled loops are text of our own, so both forms are tried.
    let portable: Vec<serde_json::Value> = (shaders().iter())
        .filter(|s| !s.needs.int64)
        .map(|s| {
            let enable = if s.needs.subgroup.is_some() { "enable subgroups;\n" } else { "" };
            let (code, buffers) = (format!("{enable}{}", s.text), s.kernel.bindings.len());
            serde_json::json!({ "name": s.name, "code": code, "buffers": buffers })
        })
        .collect();
    let answer = run_tint(&folder, &serde_json::to_vec(&portable).unwrap());
    let errors = answer["errors"].as_array().unwrap();
    for error in errors {
        println!("FAILED {}: {}", error["name"], error["message"]);
    }
    assert_eq!(answer["count"].as_u64(), Some(portable.len() as u64));
    assert!(errors.is_empty(), "Tint refuses {} shaders, see above", errors.len());
    println!("{} shaders compiled with Tint", portable.len());
}

/// Installs Dawn's Node package where it is missing and can be had.
fn install_tint(folder: &Path) -> Result<(), String> {
    let node = Command::new("node").arg("--version").output().map_err(|_| "node is not installed")?;
    if !node.status.success() {
        return Err("node does not run".into());
    }
    if folder.join("node_modules/webgpu/package.json").exists() {
        return Ok(());
    }
    let npm = Command::new("npm")
        .args([
            "ci",
            "--no-audit",
            "--no-fund",
            "--ignore-scripts",
            "--fetch-retries=1",
            "--fetch-timeout=60000",
        ])
        .current_dir(folder)
        .output()
        .map_err(|_| "npm is not installed")?;
    match npm.status.success() {
        true => Ok(()),
        false => Err(format!("npm ci failed: {}", String::from_utf8_lossy(&npm.stderr).trim())),
    }
}

fn run_tint(folder: &Path, shaders: &[u8]) -> serde_json::Value {
    let mut node = Command::new("node")
        .arg("compile.mjs")
        .current_dir(folder)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    node.stdin.take().unwrap().write_all(shaders).unwrap();
    let output = node.wait_with_output().unwrap();
    let text = String::from_utf8_lossy(&output.stdout);
    serde_json::from_str(&text).unwrap_or_else(|e| panic!("Tint's answer {text:?}: {e}"))
}

#[test]
fn the_checks_can_fail() {
    let params = "struct Params { n: u32 }\n@group(0) @binding(0) var<uniform> p: Params;\n";
    let text =
        format!("{params}@compute @workgroup_size(8) fn main() {{ var x: u64 = 1lu; _ = x; _ = p.n; }}");
    let module = parse("u64", &text);
    let refused = std::panic::catch_unwind(|| validate("u64", &module, &Needs::default()));
    assert!(refused.is_err(), "64-bit integers pass without being asked for");
    validate("u64", &module, &Needs::SUBGROUP8);
}
