// TILE_M rows of A times a panel of 64 columns, by one subgroup of 8 lanes: the kernel defines TILE_M, `w` (panels
// [.., K, 64] of octets) and `operand(at)`, octet `at` of A. Each lane owns 8 neighbouring columns; the values of A that all
// lanes need come by shuffle. The result is in `tile`: row by row, one octet per lane.

const GROUPS: u32 = TILE_M / 8u;

var<workgroup> tile: array<vec4<u64>, TILE_M * 8u>;

// Rows m0.. of m, which begin at octet a_first and are a_row octets apart, over k8 octets; the panel begins at octet w_first.
fn panel_product(lane: u32, m0: u32, m: u32, a_first: u32, a_row: u32, k8: u32, w_first: u32) {
    // Lanes past the last row read it again; what they compute is not used.
    var a_at: array<u32, GROUPS>;
    //!unroll
    for (var g = 0u; g < GROUPS; g++) {
        a_at[g] = a_first + min(m0 + g * 8u + lane, m - 1u) * a_row;
    }
    var acc_lo: array<vec4<f32>, TILE_M>;
    var acc_hi: array<vec4<f32>, TILE_M>;
    //!unroll
    for (var r = 0u; r < TILE_M; r++) {
        acc_lo[r] = vec4<f32>(0.0);
        acc_hi[r] = vec4<f32>(0.0);
    }
    for (var k = 0u; k < k8; k++) {
        let w_at = w_first + k * 64u + lane;
        let w0 = w[w_at];
        let w1 = w[w_at + 8u];
        let w2 = w[w_at + 16u];
        let w3 = w[w_at + 24u];
        let w4 = w[w_at + 32u];
        let w5 = w[w_at + 40u];
        let w6 = w[w_at + 48u];
        let w7 = w[w_at + 56u];
        let p0 = evens(w0);
        let q0 = odds(w0);
        let p1 = evens(w1);
        let q1 = odds(w1);
        let p2 = evens(w2);
        let q2 = odds(w2);
        let p3 = evens(w3);
        let q3 = odds(w3);
        let p4 = evens(w4);
        let q4 = odds(w4);
        let p5 = evens(w5);
        let q5 = odds(w5);
        let p6 = evens(w6);
        let q6 = odds(w6);
        let p7 = evens(w7);
        let q7 = odds(w7);
        // One statement per row and half, all eight steps of k: compilers work longer on more, shorter ones.
        //!unroll
        for (var g = 0u; g < GROUPS; g++) {
            let octet = operand(a_at[g] + k);
            let a_lo = evens(octet);
            let a_hi = odds(octet);
            //!unroll
            for (var r = 0u; r < 8u; r++) {
                let t = subgroupShuffle(a_lo, r);
                let u = subgroupShuffle(a_hi, r);
                acc_lo[g * 8u + r] += t.x * p0 + u.x * p1 + t.y * p2 + u.y * p3
                    + t.z * p4 + u.z * p5 + t.w * p6 + u.w * p7;
                acc_hi[g * 8u + r] += t.x * q0 + u.x * q1 + t.y * q2 + u.y * q3
                    + t.z * q4 + u.z * q5 + t.w * q6 + u.w * q7;
            }
        }
    }
    //!unroll
    for (var r = 0u; r < TILE_M; r++) {
        tile[r * 8u + lane] = octet_of(acc_lo[r], acc_hi[r]);
    }
}
