// What flows into 64 neighbouring units of ROWS sequences through the recurrent product of the step after: for each, the sum
// over the gates' units of da * w. The inner length is summed in PARTS, by 64 threads each. The kernel defines ROWS, PARTS, `w`
// and `operand(at)`, element `at` of da.

var<workgroup> sums: array<f32, PARTS * ROWS * 64u>;

// `at` is where the first sequence's row of da begins, and `pitch` from one to the next; gates are h values long each. In w,
// whose rows of vectors begin at row `w_row`, they are h4 vectors long.
fn rows_product(
    lane: u32, first_row: u32, b: u32, j: u32, h: u32, h4: u32, gates: u32, at: u32, pitch: u32, w_row: u32,
) {
    // Threads past the last unit or sequence read it again; what they compute is not used.
    let part = lane / 64u;
    let column = min(j, h - 1u);
    var row_at: array<u32, ROWS>;
    var acc: array<f32, ROWS>;
    //!unroll
    for (var r = 0u; r < ROWS; r++) {
        row_at[r] = at + min(first_row + r, b - 1u) * pitch;
    }
    for (var i = part; i < gates * h4; i += PARTS) {
        let weights = w[(w_row + i) * h + column];
        let gate = i / h4 * h;
        let k = i % h4 * 4u;
        // Past a gate's end weights are 0; da is read within it.
        let k1 = gate + min(k + 1u, h - 1u);
        let k2 = gate + min(k + 2u, h - 1u);
        let k3 = gate + min(k + 3u, h - 1u);
        //!unroll
        for (var r = 0u; r < ROWS; r++) {
            acc[r] += weights.x * operand(row_at[r] + gate + k) + weights.y * operand(row_at[r] + k1)
                + weights.z * operand(row_at[r] + k2) + weights.w * operand(row_at[r] + k3);
        }
    }
    //!unroll
    for (var r = 0u; r < ROWS; r++) {
        sums[(part * ROWS + r) * 64u + lane % 64u] = acc[r];
    }
    // A thread alone reads what it has written itself.
    if (PARTS > 1u) {
        workgroupBarrier();
    }
}

fn row_sum(lane: u32, r: u32) -> f32 {
    var sum = 0.0;
    //!unroll
    for (var s = 0u; s < PARTS; s++) {
        sum += sums[(s * ROWS + r) * 64u + lane % 64u];
    }
    return sum;
}
