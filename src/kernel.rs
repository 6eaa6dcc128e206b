//! What an op says about its GPU kernels, as plain data: no type of wgpu appears here.
//!
//! A [`Kernel`] is a WGSL file with its parameter struct and its bindings; [`kernel!`](crate::kernel!) ties the
//! three to Rust. A [`Candidate`] is one way to compute an op: dispatches of kernels, with scratch memory.
//! A [`Target`] is what may be relied upon when candidates are chosen.

use crate::gpu::shader::Const;
use std::borrow::Cow;
use std::fmt;
use std::sync::Arc;

/// How a kernel uses a storage buffer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Access {
    /// `var<storage, read>`
    Read,
    /// `var<storage, read_write>`
    ReadWrite,
}

/// The type of a member of a kernel's uniform parameters.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum ParamType {
    /// `u32`
    U32,
    /// `i32`
    I32,
    /// `f32`
    F32,
}

/// A type that can be a member of a kernel's parameters.
pub trait ParamMember: Copy {
    /// The WGSL type.
    const TYPE: ParamType;
    /// The value's four bytes.
    fn bytes(self) -> [u8; 4];
}

impl ParamMember for u32 {
    const TYPE: ParamType = ParamType::U32;
    fn bytes(self) -> [u8; 4] {
        self.to_le_bytes()
    }
}

impl ParamMember for i32 {
    const TYPE: ParamType = ParamType::I32;
    fn bytes(self) -> [u8; 4] {
        self.to_le_bytes()
    }
}

impl ParamMember for f32 {
    const TYPE: ParamType = ParamType::F32;
    fn bytes(self) -> [u8; 4] {
        self.to_le_bytes()
    }
}

/// A WGSL compute shader with its interface: uniform parameters at binding 0, storage buffers from binding 1.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Kernel {
    /// Path of the file, or a name for generated text.
    pub name: Cow<'static, str>,
    /// WGSL before specialisation.
    pub source: Cow<'static, str>,
    /// Members of `struct Params`, in order.
    pub params: Cow<'static, [(&'static str, ParamType)]>,
    /// Storage buffers in the order of their bindings.
    pub bindings: Cow<'static, [(&'static str, Access)]>,
    /// Whose text it is.
    pub author: Author,
}

/// Whose text a kernel is.
///
/// For software drivers Recurve rewrites kernels: parameters are read once, buffers through textures. That is done to its
/// own text only, which keeps to a narrow form; all other WGSL runs as it was written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Author {
    /// Recurve's.
    Recurve,
    /// Yours.
    User,
}

impl Author {
    /// The author of a kernel that is declared in the module `path` (what `module_path!` gives).
    pub const fn of_module(path: &str) -> Author {
        let (path, own) = (path.as_bytes(), b"recurve::");
        let mut i = 0;
        while i < own.len() {
            if i >= path.len() || path[i] != own[i] {
                return Author::User;
            }
            i += 1;
        }
        Author::Recurve
    }
}

/// Binds a WGSL file to Rust: a module with the kernel, its `Params` struct and a `dispatch` function.
///
/// The path is relative to the root of the crate in which the macro is used. Members of `params` are `u32`, `i32`
/// or `f32` and stand in the order of the shader's `Params`; buffers stand in the order of their bindings, from 1.
/// A test parses every kernel and compares both with the WGSL.
///
/// ```text
/// recurve::kernel! {
///     /// One thread per element.
///     mod direct = "shaders/scale/direct.wgsl";
///     params { len: u32, factor: f32 }
///     bind { x: Read, y: ReadWrite }
/// }
/// let d = direct::dispatch(direct::Params { len: 10, factor: 0.0 }).scalar("factor", 0);
/// ```
#[macro_export]
macro_rules! kernel {
    ($(#[$meta:meta])* $vis:vis mod $name:ident = $path:literal;
     params { $($p:ident : $t:ty),* $(,)? }
     bind { $($b:ident : $a:ident),* $(,)? }) => {
        $(#[$meta])*
        $vis mod $name {
            /// The kernel's uniform parameters.
            #[derive(Clone, Copy, Debug)]
            #[allow(missing_docs, reason = "the names are the shader's")]
            pub struct Params { $(pub $p: $t),* }

            /// The kernel.
            pub static KERNEL: $crate::kernel::Kernel = $crate::kernel::Kernel {
                name: ::std::borrow::Cow::Borrowed($path),
                source: ::std::borrow::Cow::Borrowed(include_str!(concat!(env!("CARGO_MANIFEST_DIR"), "/", $path))),
                params: ::std::borrow::Cow::Borrowed(&[
                    $((stringify!($p), <$t as $crate::kernel::ParamMember>::TYPE)),*
                ]),
                bindings: ::std::borrow::Cow::Borrowed(&[
                    $((stringify!($b), $crate::kernel::Access::$a)),*
                ]),
                author: $crate::kernel::Author::of_module(module_path!()),
            };

            /// A dispatch of this kernel; buffers and grid are still to be given.
            pub fn dispatch(params: Params) -> $crate::kernel::Dispatch {
                let mut bytes = ::std::vec::Vec::new();
                $(bytes.extend_from_slice(&$crate::kernel::ParamMember::bytes(params.$p));)*
                $crate::kernel::Dispatch::new($crate::kernel::KernelRef::Static(&KERNEL), bytes)
            }
        }
    };
}

/// A kernel from a file, or one whose text was generated.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum KernelRef {
    /// From a file.
    Static(&'static Kernel),
    /// Generated.
    Generated(Arc<Kernel>),
}

impl std::ops::Deref for KernelRef {
    type Target = Kernel;
    fn deref(&self) -> &Kernel {
        match self {
            KernelRef::Static(k) => k,
            KernelRef::Generated(k) => k,
        }
    }
}

/// Which buffer of an op a kernel's binding gets.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Bind {
    /// The op's input with this index. An input that the op updates in place is bound `ReadWrite`.
    Input(usize),
    /// The op's output with this index.
    Output(usize),
    /// The candidate's scratch buffer with this index.
    Scratch(usize),
}

/// One dispatch of one kernel.
#[derive(Clone, Debug)]
pub struct Dispatch {
    /// The kernel.
    pub kernel: KernelRef,
    /// Values baked into `const` lines.
    pub consts: Vec<(&'static str, Const)>,
    /// Bytes of the uniform parameters.
    pub params: Vec<u8>,
    /// `(byte offset in params, index of the op's scalar)`: filled in anew at every run.
    pub scalars: Vec<(usize, usize)>,
    /// Buffers in the order of the kernel's bindings.
    pub binds: Vec<Bind>,
    /// Workgroups along x, y, z.
    pub groups: [u64; 3],
    /// An upper bound of the loop trips of one invocation, all its loops together.
    pub trips: u64,
}

impl Dispatch {
    /// A dispatch without buffers, of one workgroup.
    pub fn new(kernel: KernelRef, params: Vec<u8>) -> Self {
        Dispatch {
            kernel,
            consts: Vec::new(),
            params,
            scalars: Vec::new(),
            binds: Vec::new(),
            groups: [1, 1, 1],
            trips: 1,
        }
    }

    /// Bakes `value` into the line `const name: T = ..;`.
    pub fn constant(mut self, name: &'static str, value: impl Into<Const>) -> Self {
        self.consts.push((name, value.into()));
        self
    }

    /// Fills the parameter `name` with the op's scalar `index` at every run.
    ///
    /// # Panics
    /// When the kernel has no such parameter.
    pub fn scalar(mut self, name: &str, index: usize) -> Self {
        let member = self.kernel.params.iter().position(|(n, _)| *n == name);
        let member = member.unwrap_or_else(|| panic!("{} has no parameter {name}", self.kernel.name));
        self.scalars.push((4 * member, index));
        self
    }

    /// The buffers, in the order of the kernel's bindings.
    pub fn bind(mut self, binds: &[Bind]) -> Self {
        assert_eq!(binds.len(), self.kernel.bindings.len(), "buffers of {}", self.kernel.name);
        self.binds = binds.to_vec();
        self
    }

    /// `count` workgroups in a row, folded to two dimensions above 65,535: the kernel takes
    /// `wid.x + wid.y * nwg.x` as its index and returns where that is not below the count.
    pub fn groups(mut self, count: u64) -> Self {
        let rows = count.div_ceil(MAX_GROUPS).max(1);
        self.groups = [count.div_ceil(rows), rows, 1];
        self
    }

    /// The grid of workgroups, given outright.
    pub fn grid(mut self, groups: [u64; 3]) -> Self {
        self.groups = groups;
        self
    }

    /// States an upper bound of the loop trips of one invocation, all loops together.
    pub fn trips(mut self, trips: u64) -> Self {
        self.trips = trips;
        self
    }
}

/// WebGPU's limit of workgroups per dimension.
pub const MAX_GROUPS: u64 = 65_535;

/// No invocation may run more loop trips than this, all its loops together: some software drivers end every loop
/// of an invocation, silently, after 65,535 trips.
pub const MAX_TRIPS: u64 = 32_768;

/// What a candidate asks for beyond WebGPU's defaults.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Needs {
    /// Subgroups of exactly this many lanes.
    pub subgroup: Option<u32>,
    /// 64-bit integers (for wide loads).
    pub int64: bool,
    /// Bytes of workgroup memory.
    pub workgroup_memory: u32,
    /// Invocations per workgroup, when above 256.
    pub invocations: u32,
}

impl Needs {
    /// Kernels written for software adapters: one 8-lane subgroup per workgroup, 64-bit loads.
    pub const SUBGROUP8: Needs =
        Needs { subgroup: Some(8), int64: true, workgroup_memory: 0, invocations: 0 };
}

/// One way to compute an op.
#[derive(Clone, Debug)]
pub struct Candidate {
    /// Named by what it does: `direct`, `implicit_gemm`.
    pub variant: &'static str,
    /// What it runs, in order.
    pub dispatches: Vec<Dispatch>,
    /// Bytes of its scratch buffers.
    pub scratch: Vec<u64>,
    /// What the adapter must offer.
    pub needs: Needs,
}

impl Candidate {
    /// A candidate that does nothing yet.
    pub fn new(variant: &'static str) -> Self {
        Candidate { variant, dispatches: Vec::new(), scratch: Vec::new(), needs: Needs::default() }
    }

    /// Appends a dispatch.
    pub fn dispatch(mut self, dispatch: Dispatch) -> Self {
        self.dispatches.push(dispatch);
        self
    }

    /// Adds a scratch buffer; its index is the number of those added before.
    pub fn scratch(mut self, bytes: u64) -> Self {
        self.scratch.push(bytes);
        self
    }

    /// States what the adapter must offer.
    pub fn needs(mut self, needs: Needs) -> Self {
        self.needs = needs;
        self
    }

    /// Why this candidate cannot run on `target`, or `None` when it can. `sizes` gives the bytes of a buffer.
    pub fn misfit(&self, target: &Target, sizes: impl Fn(Bind) -> u64) -> Option<Misfit> {
        let n = &self.needs;
        if n.subgroup.is_some_and(|s| target.subgroup != Some((s, s))) {
            return Some(Misfit::Subgroup);
        }
        if n.int64 && !target.int64 {
            return Some(Misfit::Int64);
        }
        if n.workgroup_memory > target.max_workgroup_memory {
            return Some(Misfit::WorkgroupMemory);
        }
        if n.invocations > target.max_invocations {
            return Some(Misfit::Invocations);
        }
        for d in &self.dispatches {
            if d.kernel.bindings.len() as u32 > target.max_storage_buffers {
                return Some(Misfit::StorageBuffers);
            }
            if d.groups.iter().any(|&g| g > target.max_groups as u64) {
                return Some(Misfit::Groups { groups: d.groups, limit: target.max_groups });
            }
            if d.trips > MAX_TRIPS {
                return Some(Misfit::Trips { trips: d.trips });
            }
            if let Some(bytes) = d.binds.iter().map(|&b| sizes(b)).find(|&b| b > target.max_binding) {
                return Some(Misfit::Binding { bytes, limit: target.max_binding });
            }
        }
        None
    }
}

/// Why a candidate cannot run on a target.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
#[allow(missing_docs, reason = "the fields say what they are")]
pub enum Misfit {
    /// Needs subgroups of another size.
    Subgroup,
    /// Needs 64-bit integers.
    Int64,
    /// Needs more workgroup memory.
    WorkgroupMemory,
    /// Needs larger workgroups.
    Invocations,
    /// Needs more storage buffers in one kernel.
    StorageBuffers,
    /// Too many workgroups along one dimension.
    Groups { groups: [u64; 3], limit: u32 },
    /// Too many loop trips in one invocation.
    Trips { trips: u64 },
    /// A tensor is larger than a binding may be.
    Binding { bytes: u64, limit: u64 },
}

impl fmt::Display for Misfit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Misfit::Subgroup => f.write_str("needs subgroups of a size that the adapter does not have"),
            Misfit::Int64 => f.write_str("needs 64-bit integers"),
            Misfit::WorkgroupMemory => f.write_str("needs more workgroup memory"),
            Misfit::Invocations => f.write_str("needs larger workgroups"),
            Misfit::StorageBuffers => f.write_str("needs more storage buffers in one kernel"),
            Misfit::Groups { groups, limit } => {
                write!(f, "{groups:?} workgroups are more than {limit} along one dimension")
            }
            Misfit::Trips { trips } => {
                write!(f, "{trips} loop trips in one invocation are above {MAX_TRIPS}")
            }
            Misfit::Binding { bytes, limit } => {
                write!(f, "a tensor of {bytes} bytes is above the limit of {limit} for one binding")
            }
        }
    }
}

/// What kind of machine kernels are chosen for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum TargetClass {
    /// A driver that runs shaders on the CPU.
    Software,
    /// A GPU.
    Hardware,
}

/// What kernels may rely upon: the limits and features of an adapter, as plain data.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Target {
    /// Software or hardware.
    pub class: TargetClass,
    /// Smallest and largest subgroup, where the adapter has subgroup operations.
    pub subgroup: Option<(u32, u32)>,
    /// Whether shaders may use 64-bit integers.
    pub int64: bool,
    /// Whether reading a texture is faster than reading a storage buffer: true for Mesa's software drivers.
    pub texel_loads: bool,
    /// Whether that goes for textures of two components.
    pub pair_texels: bool,
    /// Storage buffers per shader.
    pub max_storage_buffers: u32,
    /// Bytes of one storage binding.
    pub max_binding: u64,
    /// Bytes of one buffer.
    pub max_buffer: u64,
    /// Bytes of workgroup memory.
    pub max_workgroup_memory: u32,
    /// Invocations per workgroup.
    pub max_invocations: u32,
    /// Workgroups per dimension of a dispatch.
    pub max_groups: u32,
}

impl Target {
    /// WebGPU's default limits on hardware: what every base variant must fit.
    pub const WEBGPU_DEFAULT: Target = Target {
        class: TargetClass::Hardware,
        subgroup: None,
        int64: false,
        texel_loads: false,
        pair_texels: false,
        max_storage_buffers: 8,
        max_binding: 128 << 20,
        max_buffer: 256 << 20,
        max_workgroup_memory: 16 << 10,
        max_invocations: 256,
        max_groups: MAX_GROUPS as u32,
    };

    /// Whether the kernels written for 8-lane software adapters may be chosen.
    pub fn software_subgroup8(&self) -> bool {
        self.class == TargetClass::Software && self.subgroup == Some((8, 8)) && self.int64
    }
}

#[cfg(test)]
mod tests {
    use super::Author;

    #[test]
    fn only_modules_of_this_crate_are_its_own() {
        assert_eq!(Author::of_module(module_path!()), Author::Recurve);
        for module in ["recurve", "recurve_layers::conv", "my_net::recurve::", ""] {
            assert_eq!(Author::of_module(module), Author::User, "{module}");
        }
    }
}
