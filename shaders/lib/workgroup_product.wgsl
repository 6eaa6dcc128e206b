// One tile of a product, for GPUs with workgroup memory: 256 threads carry STEP values of the inner index k of both
// operands there at a time, and each thread sums ROWS by COLUMNS elements in registers.
//
// Operands travel in quads (vec4<f32>), as they lie together in memory: four steps of k for one position along the
// tile (ALONG_K), or four neighbouring positions for one step of k. The including kernel declares, for A and B,
//   ALONG_K, and LANES_ALONG_K: whether neighbouring threads carry neighbours along k
//   fn a_quad(load: u32, step: u32) -> vec4<f32>: reads quad number load * THREADS + thread of the tile of a step
//   fn a_inside(load: u32, step: u32, quad: vec4<f32>) -> vec4<f32>: what it read, with 0 for what is no element; apart
//   from the reading, because that is still under way for long
// and besides
//   BLOCKED: whether the rows and columns of a thread lie together in fours, or all apart
//   fn prepare(step: u32), called one step before the quads of `step` are asked for
// and calls `product`, which leaves the result in `sums`.

const ROW_THREADS: u32 = 16u; // of the 256, along M: 8, 16 or 32
const ROW_QUADS: u32 = 1u;
const COLUMN_QUADS: u32 = 1u;
const STEP: u32 = 16u;

const THREADS: u32 = 256u;
const COLUMN_THREADS: u32 = THREADS / ROW_THREADS;
const ROWS: u32 = 4u * ROW_QUADS;
const COLUMNS: u32 = 4u * COLUMN_QUADS;
const TILE_M: u32 = ROW_THREADS * ROWS;
const TILE_N: u32 = COLUMN_THREADS * COLUMNS;
const STEP4: u32 = STEP / 4u;
const A_QUADS: u32 = TILE_M * STEP4; // of a step
const B_QUADS: u32 = TILE_N * STEP4;
const A_LOADS: u32 = (A_QUADS + THREADS - 1u) / THREADS; // of a thread
const B_LOADS: u32 = (B_QUADS + THREADS - 1u) / THREADS;

// What one thread along a side reads lies together: quads along k by position and k, others by k and position. One
// quad more than that lets neighbours begin in different banks. All readers of a row use constants for the second
// index, so that the checks of it, and most address arithmetic, disappear.
const A_ROW: u32 = ROW_QUADS * STEP + 1u;
const B_ROW: u32 = COLUMN_QUADS * STEP + 1u;
var<workgroup> a_tile: array<array<vec4<f32>, A_ROW>, ROW_THREADS>;
var<workgroup> b_tile: array<array<vec4<f32>, B_ROW>, COLUMN_THREADS>;

// Row e, quad h of the columns: sums[e * COLUMN_QUADS + h].
var<private> sums: array<vec4<f32>, ROWS * COLUMN_QUADS>;

// The first position and the first k of quad number q of a step's tile.
fn a_position(q: u32) -> u32 {
    if (A_LANES_ALONG_K) {
        return q / STEP4;
    }
    return select(q % (TILE_M / 4u) * 4u, q % TILE_M, A_ALONG_K);
}

fn a_k(q: u32) -> u32 {
    if (A_LANES_ALONG_K) {
        return q % STEP4 * 4u;
    }
    return select(q / (TILE_M / 4u), q / TILE_M * 4u, A_ALONG_K);
}

fn b_position(q: u32) -> u32 {
    if (B_LANES_ALONG_K) {
        return q / STEP4;
    }
    return select(q % (TILE_N / 4u) * 4u, q % TILE_N, B_ALONG_K);
}

fn b_k(q: u32) -> u32 {
    if (B_LANES_ALONG_K) {
        return q % STEP4 * 4u;
    }
    return select(q / (TILE_N / 4u), q / TILE_N * 4u, B_ALONG_K);
}

// Number e of the positions that one of `threads` threads along a side owns.
fn owned(thread: u32, threads: u32, e: u32) -> u32 {
    if (BLOCKED) {
        return (thread + e / 4u * threads) * 4u + e % 4u;
    }
    return thread + e * threads;
}

// Who of `threads` owns a position, and as which number.
fn owner(position: u32, threads: u32) -> u32 {
    return select(position % threads, position / 4u % threads, BLOCKED);
}

fn number(position: u32, threads: u32) -> u32 {
    return select(position / threads, position / 4u / threads * 4u + position % 4u, BLOCKED);
}

// 32 neighbouring threads own 4 by 8 blocks: those read the fewest different quads.
fn row_thread(t: u32) -> u32 {
    return t / 32u / (COLUMN_THREADS / 8u) * 4u + t / 8u % 4u;
}

fn column_thread(t: u32) -> u32 {
    return t / 32u % (COLUMN_THREADS / 8u) * 8u + t % 8u;
}

fn multiply(row: u32, column: u32) {
    //!unroll
    for (var k4 = 0u; k4 < STEP4; k4++) {
        // x[e][j]: row e at step j.
        var x: array<vec4<f32>, ROWS>;
        if (A_ALONG_K) {
            //!unroll
            for (var e = 0u; e < ROWS; e++) {
                x[e] = a_tile[row][e * STEP4 + k4];
            }
        } else {
            //!unroll
            for (var g = 0u; g < ROW_QUADS; g++) {
                let t0 = a_tile[row][k4 * 4u * ROW_QUADS + g];
                let t1 = a_tile[row][(k4 * 4u + 1u) * ROW_QUADS + g];
                let t2 = a_tile[row][(k4 * 4u + 2u) * ROW_QUADS + g];
                let t3 = a_tile[row][(k4 * 4u + 3u) * ROW_QUADS + g];
                //!unroll
                for (var e = 0u; e < 4u; e++) {
                    x[g * 4u + e] = vec4<f32>(t0[e], t1[e], t2[e], t3[e]);
                }
            }
        }
        // y[j * COLUMN_QUADS + h]: quad h of the columns at step j.
        var y: array<vec4<f32>, COLUMNS>;
        //!unroll
        for (var h = 0u; h < COLUMN_QUADS; h++) {
            if (B_ALONG_K) {
                let t0 = b_tile[column][h * STEP + k4];
                let t1 = b_tile[column][h * STEP + STEP4 + k4];
                let t2 = b_tile[column][h * STEP + STEP4 * 2u + k4];
                let t3 = b_tile[column][h * STEP + STEP4 * 3u + k4];
                //!unroll
                for (var j = 0u; j < 4u; j++) {
                    y[j * COLUMN_QUADS + h] = vec4<f32>(t0[j], t1[j], t2[j], t3[j]);
                }
            } else {
                //!unroll
                for (var j = 0u; j < 4u; j++) {
                    y[j * COLUMN_QUADS + h] = b_tile[column][(k4 * 4u + j) * COLUMN_QUADS + h];
                }
            }
        }
        //!unroll
        for (var j = 0u; j < 4u; j++) {
            //!unroll
            for (var e = 0u; e < ROWS; e++) {
                //!unroll
                for (var h = 0u; h < COLUMN_QUADS; h++) {
                    sums[e * COLUMN_QUADS + h] += x[e][j] * y[j * COLUMN_QUADS + h];
                }
            }
        }
    }
}

// The whole product, `steps` steps of k long, in `sums`; `t` is the thread's index.
fn product(steps: u32, t: u32) {
    let row = row_thread(t);
    let column = column_thread(t);
    prepare(0u);
    workgroupBarrier();
    // One trip more than there are steps: what a step needs is under way while the one before is multiplied.
    for (var step = 0u; step <= steps; step++) {
        var a_next: array<vec4<f32>, A_LOADS>;
        var b_next: array<vec4<f32>, B_LOADS>;
        if (step < steps) {
            //!unroll
            for (var i = 0u; i < A_LOADS; i++) {
                if (A_QUADS >= THREADS || t < A_QUADS) {
                    a_next[i] = a_quad(i, step);
                }
            }
            //!unroll
            for (var i = 0u; i < B_LOADS; i++) {
                if (B_QUADS >= THREADS || t < B_QUADS) {
                    b_next[i] = b_quad(i, step);
                }
            }
            prepare(step + 1u);
        }
        if (step > 0u) {
            multiply(row, column);
        }
        workgroupBarrier();
        //!unroll
        for (var i = 0u; i < A_LOADS; i++) {
            if (A_QUADS >= THREADS || t < A_QUADS) {
                let position = a_position(i * THREADS + t);
                let k = a_k(i * THREADS + t);
                let e = number(position, ROW_THREADS);
                let slot = select(k * ROW_QUADS + e / 4u, e * STEP4 + k / 4u, A_ALONG_K);
                a_tile[owner(position, ROW_THREADS)][slot] = a_inside(i, step, a_next[i]);
            }
        }
        //!unroll
        for (var i = 0u; i < B_LOADS; i++) {
            if (B_QUADS >= THREADS || t < B_QUADS) {
                let position = b_position(i * THREADS + t);
                let k = b_k(i * THREADS + t);
                let e = number(position, COLUMN_THREADS);
                let slot = select(k * COLUMN_QUADS + e / 4u, e * STEP4 + k / 4u, B_ALONG_K);
                b_tile[owner(position, COLUMN_THREADS)][slot] = b_inside(i, step, b_next[i]);
            }
        }
        workgroupBarrier();
    }
}
