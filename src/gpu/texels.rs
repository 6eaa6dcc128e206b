//! Reading through textures, for Mesa's software driver.
//!
//! It reads a storage buffer lane by lane and inserts each value into a vector at a variable index. On a CPU without
//! AVX-512 its compiler does that in memory: the vector is stored, one element overwritten, the vector loaded again,
//! and that load has to wait until both stores have left the store buffer. Texels are gathered with constant indices,
//! in registers. On a Zen 3 a load of 8 lanes times 8 floats takes 18 ns from a storage texture (73 from a sampled one,
//! which looks at levels of detail) and 450 from a buffer, while copying a buffer into a texture is a `memcpy`; with
//! AVX-512 (Zen 4) the textures still win a fifth. So what kernels read is copied into textures there, and their text is
//! changed to read those.
//!
//! A kernel's declaration `var<storage, read> x: array<vec4<u64>>;` becomes a texture and a function, and each `x[i]` a
//! call of it. [`plan`] says what is copied when.

use super::buffers::{Pool, Region};
use super::counted::Texture;
use crate::device::Storage;
use crate::error::Result;
use crate::kernel::Dispatch;
use crate::program::turns::{Demand, peak, share};
use std::collections::HashSet;
use std::fmt::Write as _;
use std::sync::Arc;

/// Texels of a row.
const WIDTH: u32 = 4096;

/// Rows that every adapter of WebGPU offers, less one: see [`rows`].
const MAX_ROWS: u32 = 8191;

/// A copy stays valid over at most this many dispatches that do not read it: memory is worth more than a copy.
const KEPT: usize = 8;

/// What an element of a binding's array is made of.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum Texel {
    /// Four bytes: one texel of one component.
    Word,
    /// 8 bytes: one texel of two components.
    Pair,
    /// 16 bytes: one texel of four components.
    Quad,
    /// 32 bytes: two texels of four components.
    Octet,
}

impl Texel {
    fn of(element: &str) -> Option<Texel> {
        match element {
            "f32" | "u32" => Some(Texel::Word),
            "vec2<f32>" | "vec2<u32>" | "u64" => Some(Texel::Pair),
            "vec4<f32>" | "vec4<u32>" | "vec2<u64>" => Some(Texel::Quad),
            "vec4<u64>" => Some(Texel::Octet),
            _ => None,
        }
    }

    pub fn format(self) -> wgpu::TextureFormat {
        match self {
            Texel::Word => wgpu::TextureFormat::R32Uint,
            Texel::Pair => wgpu::TextureFormat::Rg32Uint,
            Texel::Quad | Texel::Octet => wgpu::TextureFormat::Rgba32Uint,
        }
    }

    fn bytes(self) -> u64 {
        match self {
            Texel::Word => 4,
            Texel::Pair => 8,
            Texel::Quad => 16,
            Texel::Octet => 32,
        }
    }

    fn row_bytes(self) -> u64 {
        row_bytes(self.format())
    }

    /// Whether so many bytes fit into one texture.
    pub fn holds(self, bytes: u64) -> bool {
        bytes <= self.row_bytes() * MAX_ROWS as u64
    }
}

/// Arenas of more bytes than this are not copied for a kernel that reads them once: an optimiser's step is short, and a
/// copy of all gradients is much memory.
const LARGE: u64 = 16 << 20;

/// Whether a dispatch that reads `bytes` bytes, of an arena or not, gains more than the copy costs. Every trip of a loop
/// loads something; kernels that read a few elements of a large array are better off without a copy of all of it.
pub(super) fn pays(dispatch: &Dispatch, texel: Texel, bytes: u64, arena: bool) -> bool {
    let trips = dispatch.groups.iter().product::<u64>() * dispatch.trips.max(1);
    // Workgroups have 8 to 256 threads; with 64 each, a trip is a load of 64 elements.
    let read = 64 * trips * texel.bytes();
    if arena && bytes > LARGE && read < 4 * bytes {
        return false;
    }
    // There is no texture without texels.
    bytes > 0 && read >= bytes / 4 && (bytes >= 256 << 10 || trips >= 1024)
}

/// A declaration `@group(0) @binding(1) var<storage, read> NAME: array<ELEMENT>;`.
fn declaration(line: &str) -> Option<(&str, &str, &str)> {
    let (attributes, rest) = line.split_once("var<storage, read> ")?;
    let (name, rest) = rest.split_once(": array<")?;
    let (element, _) = rest.split_once(">;")?;
    Some((attributes, name, element))
}

/// How the storage buffer `name` of a shader can be read as a texture, if it can.
pub(super) fn texel(text: &str, name: &str) -> Option<Texel> {
    let declared = text.lines().filter_map(declaration).find(|d| d.1 == name);
    declared.and_then(|(_, _, element)| Texel::of(element))
}

/// The shader with the storage buffers `names` read as textures.
pub(super) fn rewrite(text: &str, names: &[&str]) -> String {
    let mut out = String::with_capacity(text.len() + 512 * names.len());
    for line in text.lines() {
        match declaration(line).filter(|d| names.contains(&d.1)) {
            Some((attributes, name, element)) => declare(&mut out, attributes, name, element),
            None => out.push_str(line),
        }
        out.push('\n');
    }
    names.iter().fold(out, |text, name| call(&text, name))
}

fn declare(out: &mut String, attributes: &str, name: &str, element: &str) {
    let (last, shift) = (WIDTH - 1, WIDTH.trailing_zeros());
    let texel = Texel::of(element).unwrap_or(Texel::Word);
    let format = match texel {
        Texel::Word => "r32uint",
        Texel::Pair => "rg32uint",
        Texel::Quad | Texel::Octet => "rgba32uint",
    };
    let value = match element {
        "u64" => "u64(a.x) | (u64(a.y) << 32u)".into(),
        "vec2<u64>" => "vec2<u64>(a.xz) | (vec2<u64>(a.yw) << vec2<u32>(32u))".into(),
        "vec4<u64>" => {
            let high = "vec4<u64>(vec4<u32>(a.yw, b.yw)) << vec4<u32>(32u)";
            format!("vec4<u64>(vec4<u32>(a.xz, b.xz)) | ({high})")
        }
        _ => match texel {
            Texel::Word => format!("bitcast<{element}>(a.x)"),
            Texel::Pair => format!("bitcast<{element}>(a.xy)"),
            Texel::Quad | Texel::Octet => format!("bitcast<{element}>(a)"),
        },
    };
    let load = |at: &str| format!("textureLoad({name}_texels, vec2<u32>({at} & {last}u, {at} >> {shift}u))");
    let texels = match texel {
        Texel::Octet => format!("let a = {};\n    let b = {};", load("(i * 2u)"), load("(i * 2u + 1u)")),
        _ => format!("let a = {};", load("i")),
    };
    let _ = write!(
        out,
        "{attributes}var {name}_texels: texture_storage_2d<{format}, read>;\n\
         fn {name}_texel(i: u32) -> {element} {{\n    {texels}\n    return {value};\n}}"
    );
}

/// Replaces each `name[index]` by a call.
fn call(text: &str, name: &str) -> String {
    let word = |c: char| c.is_alphanumeric() || c == '_';
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(at) = rest.find(name) {
        let (before, after) = (&rest[..at], &rest[at + name.len()..]);
        let whole = !before.ends_with(|c: char| word(c) || c == '.') && after.starts_with('[');
        let Some(end) = whole.then(|| closing(after)).flatten() else {
            out.push_str(&rest[..at + name.len()]);
            rest = after;
            continue;
        };
        out.push_str(before);
        let _ = write!(out, "{name}_texel(u32({}))", call(&after[1..end], name));
        rest = &after[end + 1..];
    }
    out + rest
}

/// Where the bracket that `text` begins with is closed.
fn closing(text: &str) -> Option<usize> {
    let mut depth = 0usize;
    for (at, c) in text.char_indices() {
        match c {
            '[' => depth += 1,
            ']' if depth == 1 => return Some(at),
            ']' => depth -= 1,
            _ => {}
        }
    }
    None
}

/// A range of a buffer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Range<B> {
    pub buffer: B,
    pub offset: u64,
    pub bytes: u64,
}

/// What a dispatch reads through textures, by binding, and which buffers it writes.
#[derive(Clone, Debug)]
pub(super) struct Accesses<B> {
    pub reads: Vec<(usize, Range<B>, Texel)>,
    pub writes: Vec<B>,
}

/// Rows of a texture for so many bytes: never a power of two, for Mesa compiles another variant of a kernel for those.
fn rows(bytes: u64, format: wgpu::TextureFormat) -> u32 {
    let rows = bytes.div_ceil(row_bytes(format)).max(3) as u32;
    rows + u32::from(rows.is_power_of_two())
}

/// The copies that a dispatch reads: binding and index.
pub(super) type Reads = Vec<(usize, usize)>;

/// A copy into a texture.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Planned<B> {
    pub range: Range<B>,
    pub format: wgpu::TextureFormat,
    /// The dispatch that it comes before, and the last one that reads it.
    pub first: usize,
    pub last: usize,
}

/// The copies that a sequence of dispatches needs, and for each dispatch the copies that it reads, by binding. A copy
/// serves until its buffer is written.
pub(super) fn plan<B: Clone + PartialEq>(dispatches: &[Accesses<B>]) -> (Vec<Planned<B>>, Vec<Reads>) {
    let mut copies: Vec<Planned<B>> = Vec::new();
    let mut valid: Vec<usize> = Vec::new();
    let mut read = Vec::with_capacity(dispatches.len());
    for (at, dispatch) in dispatches.iter().enumerate() {
        valid.retain(|&c| at - copies[c].last <= KEPT);
        let mut reads = Vec::new();
        for (binding, range, texel) in &dispatch.reads {
            let format = texel.format();
            let fits = |&&c: &&usize| copies[c].range == *range && copies[c].format == format;
            let copy = valid.iter().find(fits).copied().unwrap_or(copies.len());
            if copy == copies.len() {
                copies.push(Planned { range: range.clone(), format, first: at, last: at });
                valid.push(copy);
            }
            copies[copy].last = at;
            reads.push((*binding, copy));
        }
        valid.retain(|&c| !dispatch.writes.contains(&copies[c].range.buffer));
        read.push(reads);
    }
    (copies, read)
}

impl<B> Planned<B> {
    /// Rows of its texture.
    fn rows(&self) -> u32 {
        rows(self.range.bytes, self.format)
    }

    fn demand(&self) -> Demand {
        Demand { bytes: u64::from(self.rows()) * row_bytes(self.format), first: self.first, last: self.last }
    }

    /// The most bytes of textures that are needed at once.
    pub fn at_once(copies: &[Self]) -> u64 {
        peak(&copies.iter().map(Planned::demand).collect::<Vec<_>>()).0
    }
}

/// Bytes of the textures that copies share.
pub(super) fn bytes(mirrors: &[Mirror]) -> u64 {
    let mut seen = HashSet::new();
    let first = |m: &&Mirror| seen.insert(Arc::as_ptr(&m.texture));
    mirrors.iter().filter(first).map(|m| m.texture.bytes()).sum()
}

/// A copy with its texture.
pub(super) struct Mirror {
    source: Range<Arc<Region>>,
    /// Set when the values come from outside: the leaf whose own buffer is the source.
    leaf: Option<usize>,
    texture: Arc<Texture>,
}

/// Leaves of at least this many bytes may be copied into textures from where they lie.
const DIRECT: u64 = 64 << 10;

/// Which of a program's leaves are read through textures only, and so need no copy in the buffer that is theirs, and for
/// each planned copy the leaf that it is of. `slots` gives each leaf's buffer and bytes; `all` what each dispatch is
/// bound to.
pub(super) fn direct_leaves<B: Clone + PartialEq>(
    slots: &[Option<(B, u64)>],
    dispatches: &[Accesses<B>],
    all: &[Vec<Range<B>>],
    copies: &[Planned<B>],
) -> (Vec<bool>, Vec<Option<usize>>) {
    let mut of_copy = vec![None; copies.len()];
    let direct = |(leaf, slot): (usize, &Option<(B, u64)>)| {
        let Some((buffer, _)) = slot.as_ref().filter(|(_, bytes)| *bytes >= DIRECT) else { return false };
        let writes = |d: &Accesses<B>| d.writes.contains(buffer);
        let lasts = dispatches.iter().position(writes).unwrap_or(dispatches.len());
        let in_place = |(d, bound): (&Accesses<B>, &Vec<Range<B>>)| {
            let texels = |i: usize| d.reads.iter().any(|r| r.0 == i);
            bound.iter().enumerate().any(|(i, range)| range.buffer == *buffer && !texels(i))
        };
        if dispatches.iter().zip(all).take(lasts).any(in_place) {
            return false;
        }
        let mine = copies.iter().zip(&mut of_copy);
        mine.filter(|(c, _)| c.range.buffer == *buffer && c.first < lasts)
            .for_each(|(_, of)| *of = Some(leaf));
        true
    };
    (slots.iter().enumerate().map(direct).collect(), of_copy)
}

impl Mirror {
    /// Textures for all planned copies. Those of one format whose times do not overlap take turns.
    pub fn all(
        pool: &Pool,
        copies: Vec<Planned<Arc<Region>>>,
        leaves: Vec<Option<usize>>,
    ) -> Result<Vec<Mirror>> {
        let mut textures: Vec<Option<Arc<Texture>>> = vec![None; copies.len()];
        for format in [Texel::Word, Texel::Pair, Texel::Quad].map(Texel::format) {
            let own: Vec<usize> = (0..copies.len()).filter(|&c| copies[c].format == format).collect();
            let (taken, sizes) = share(&own.iter().map(|&c| copies[c].demand()).collect::<Vec<_>>());
            let rows: Vec<u32> = sizes.iter().map(|bytes| (bytes / row_bytes(format)) as u32).collect();
            let shared = pool.textures(format, WIDTH, &rows)?;
            own.iter().zip(taken).for_each(|(&c, texture)| textures[c] = Some(shared[texture].clone()));
        }
        let mirror = |((copy, leaf), texture): ((Planned<_>, _), Option<_>)| Mirror {
            source: copy.range,
            leaf,
            texture: texture.expect("all formats were gone through"),
        };
        Ok(copies.into_iter().zip(leaves).zip(textures).map(mirror).collect())
    }

    pub fn format(&self) -> wgpu::TextureFormat {
        self.texture.format
    }

    pub fn view(&self) -> &wgpu::TextureView {
        &self.texture.handle().1
    }

    pub fn bytes(&self) -> u64 {
        self.source.bytes
    }

    pub fn copy(&self, encoder: &mut wgpu::CommandEncoder, leaves: &[Storage]) {
        match self.leaf {
            None => self.copy_from(encoder, self.source.buffer.buffer(), self.source.offset),
            Some(leaf) => {
                leaves[leaf].gpu().located(|buffer, offset| self.copy_from(encoder, buffer, offset))
            }
        }
    }

    /// Copies whole rows, and what is left as a part of one.
    fn copy_from(&self, encoder: &mut wgpu::CommandEncoder, buffer: &wgpu::Buffer, offset: u64) {
        let row = row_bytes(self.format());
        let rows = (self.source.bytes / row) as u32;
        let rest = ((self.source.bytes % row) / (row / WIDTH as u64)) as u32;
        let parts = [(0, rows, WIDTH), (rows, 1, rest)];
        for (y, height, width) in parts.into_iter().filter(|&(_, height, width)| height * width > 0) {
            encoder.copy_buffer_to_texture(
                wgpu::TexelCopyBufferInfo {
                    buffer,
                    layout: wgpu::TexelCopyBufferLayout {
                        offset: offset + y as u64 * row,
                        bytes_per_row: Some(row as u32),
                        rows_per_image: None,
                    },
                },
                wgpu::TexelCopyTextureInfo {
                    texture: &self.texture.handle().0,
                    mip_level: 0,
                    origin: wgpu::Origin3d { x: 0, y, z: 0 },
                    aspect: wgpu::TextureAspect::All,
                },
                wgpu::Extent3d { width, height, depth_or_array_layers: 1 },
            );
        }
    }
}

fn row_bytes(format: wgpu::TextureFormat) -> u64 {
    WIDTH as u64 * format.block_copy_size(None).unwrap_or(16) as u64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn indices_become_calls() {
        let text = "@group(0) @binding(2) var<storage, read> x: array<f32>; // [N]\nlet a = x[i + x[2]] + ax[x[0]] * p.x[1];";
        let out = rewrite(text, &["x"]);
        assert_eq!(texel(text, "x"), Some(Texel::Word));
        assert!(
            out.contains("@group(0) @binding(2) var x_texels: texture_storage_2d<r32uint, read>;"),
            "{out}"
        );
        assert!(
            out.ends_with("let a = x_texel(u32(i + x_texel(u32(2)))) + ax[x_texel(u32(0))] * p.x[1];\n"),
            "{out}"
        );
    }

    #[test]
    fn a_copy_serves_until_its_buffer_is_written() {
        let read = |b: u32| (1, Range { buffer: b, offset: 0, bytes: 64 }, Texel::Octet);
        let dispatch = |reads: &[u32], writes: &[u32]| Accesses {
            reads: reads.iter().map(|&b| read(b)).collect(),
            writes: writes.to_vec(),
        };
        let list = [dispatch(&[1], &[2]), dispatch(&[1, 2], &[1]), dispatch(&[1, 2], &[3])];
        let (copies, reads) = plan(&list);
        assert_eq!(reads, [vec![(1, 0)], vec![(1, 0), (1, 1)], vec![(1, 2), (1, 1)]]);
        let spans: Vec<_> = copies.iter().map(|c| (c.range.buffer, c.first, c.last)).collect();
        assert_eq!(spans, [(1, 0, 1), (2, 1, 2), (1, 2, 2)]);
    }

    #[test]
    fn leaves_that_only_textures_show_need_no_buffer() {
        let range = |b: u32| Range { buffer: b, offset: 0, bytes: DIRECT };
        // Leaves 0 and 1 lie in buffers 1 and 2; the first dispatch reads both, the second writes over leaf 0.
        let bound = [vec![range(1), range(2), range(3)], vec![range(2), range(1)], vec![range(1), range(4)]];
        let reads = |list: &[(usize, u32)]| list.iter().map(|&(i, b)| (i, range(b), Texel::Octet)).collect();
        let list = [
            Accesses { reads: reads(&[(0, 1), (1, 2)]), writes: vec![3] },
            Accesses { reads: Vec::new(), writes: vec![1] },
            Accesses { reads: reads(&[(0, 1)]), writes: vec![4] },
        ];
        let (copies, _) = plan(&list);
        let slots = [Some((1, DIRECT)), Some((2, DIRECT)), Some((5, DIRECT - 1)), None];
        let (direct, of_copy) = direct_leaves(&slots, &list, &bound, &copies);
        assert_eq!(direct, [true, false, false, false]);
        assert_eq!(of_copy, [Some(0), None, None]);
    }
}
