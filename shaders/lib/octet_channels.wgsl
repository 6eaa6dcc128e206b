// The factors gamma of the elements of octet `o` of a row whose channels begin at `first`, where gamma has an element for
// each of a row's elements, or for `inner` >= 8 neighbours: then an octet meets at most two channels. The including kernel
// declares AFFINE (0 there is no gamma, 1 an element each, 2 per channel), p (inner, magic, shift) and gamma.

//!include lib/octet_range.wgsl
//!include lib/quotient.wgsl

// What belongs to elements 0, 2, 4, 6 and to elements 1, 3, 5, 7 of an octet.
struct Factors {
    even: vec4<f32>,
    odd: vec4<f32>,
}

// The first and the last channel that octet `o` meets.
fn channels_of(o: u32) -> vec2<u32> {
    return vec2<u32>(quotient(o * 8u, p.magic, p.shift), quotient(o * 8u + 7u, p.magic, p.shift));
}

// `values` of the first and the last channel, for each element of octet `o`.
fn spread(o: u32, channels: vec2<u32>, values: vec2<f32>) -> Factors {
    let end = (channels.x + 1u) * p.inner;
    return Factors(
        select(values.yyyy, values.xxxx, evens_inside(o, 0u, end)),
        select(values.yyyy, values.xxxx, odds_inside(o, 0u, end)),
    );
}

fn weights(first: u32, o: u32) -> Factors {
    if (AFFINE == 1u) {
        let g = gamma[first / 8u + o];
        return Factors(evens(g), odds(g));
    }
    if (AFFINE == 2u) {
        let channels = channels_of(o);
        let c = first + channels.x;
        let d = first + channels.y;
        return spread(o, channels, vec2<f32>(element(gamma[c / 8u], c % 8u), element(gamma[d / 8u], d % 8u)));
    }
    return Factors(vec4<f32>(1.0), vec4<f32>(1.0));
}
