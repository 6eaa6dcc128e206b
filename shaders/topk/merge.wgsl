// Merges sorted lists of candidates along D of [O, D, I], `fan` to one, and keeps the first `kept` of each. One thread
// per candidate: its place in the merged list is the number of candidates that go before it, which is looked up in each
// list. With FIRST true, each element is a list by itself; with LAST true, one list is left, and it is the result.

const FIRST: bool = false;
const LAST: bool = false;

struct Params {
    len: u32, // O * n * I
    d: u32,
    n: u32, // candidates along D
    inner: u32,
    length: u32, // of a list; the last one may be shorter
    fan: u32,
    kept: u32,
    next: u32, // what is left along D
}

@group(0) @binding(0) var<uniform> p: Params;
@group(0) @binding(1) var<storage, read> x: array<u32>; // [O, D, I], floats seen as bits
@group(0) @binding(2) var<storage, read> found: array<u32>; // [O, n, I], places along D; not read in the first pass
@group(0) @binding(3) var<storage, read_write> indices: array<u32>; // [O, next, I], places along D
@group(0) @binding(4) var<storage, read_write> values: array<u32>; // [O, next, I]; written in the last pass

// Numbers in the order of the floats with these bits. A compiler may assume that no float is NaN, so floats are not
// compared: a NaN is above all, and both zeros are one.
fn order(bits: u32) -> u32 {
    let magnitude = bits & 0x7fffffffu;
    let signed = select(0x80000000u + magnitude, 0x80000000u - magnitude, bits != magnitude);
    return select(signed, 0xffffffffu, magnitude > 0x7f800000u);
}

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
    let i = id % p.inner;
    let place = id / p.inner % p.n;
    let o = id / (p.inner * p.n);
    let element = o * p.d * p.inner + i;
    let candidate = o * p.n * p.inner + i;
    var index = place;
    if (!FIRST) {
        index = found[candidate + place * p.inner];
    }
    let bits = x[element + index * p.inner];
    let own = order(bits);
    let list = place / p.length;
    let group = list / p.fan;
    let begin = group * p.fan * p.length;
    let end = min(begin + p.fan * p.length, p.n);
    // Of equal elements those of earlier lists go before this one: they lie before it along D.
    var rank = 0u;
    if (FIRST) {
        for (var other = begin; other < end; other++) {
            let key = order(x[element + other * p.inner]);
            rank += u32(key > own || (key == own && other < place));
        }
    } else {
        for (var start = begin; start < end; start += p.length) {
            let before = start / p.length < list;
            var low = start;
            var high = min(start + p.length, end);
            if (start / p.length == list) {
                low = place;
                high = place;
            }
            while (low < high) {
                let middle = (low + high) / 2u;
                let key = order(x[element + found[candidate + middle * p.inner] * p.inner]);
                if (key > own || (key == own && before)) {
                    low = middle + 1u;
                } else {
                    high = middle;
                }
            }
            rank += low - start;
        }
    }
    if (rank >= p.kept) {
        return;
    }
    let to = (o * p.next + group * p.kept + rank) * p.inner + i;
    indices[to] = index;
    if (LAST) {
        values[to] = bits;
    }
}
