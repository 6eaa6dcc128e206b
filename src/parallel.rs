//! Shares the outer loop of a reference among the cores.

/// Calls `f(i, row)` for each row of `row` elements of `out`, on all cores when there is enough to do.
/// `work` is a rough number of operations per row. Rows never depend on one another, so the result does not depend on
/// the number of cores.
pub fn rows(out: &mut [f64], row: usize, work: usize, f: impl Fn(usize, &mut [f64]) + Sync) {
    if row == 0 || out.is_empty() {
        return;
    }
    let count = out.len().div_ceil(row);
    let threads = threads().min(count).min((count.saturating_mul(work) / MIN_WORK).max(1));
    if threads <= 1 {
        out.chunks_mut(row).enumerate().for_each(|(i, r)| f(i, r));
        return;
    }
    spread(out, row, count.div_ceil(threads), &f);
}

/// Below this many operations per thread, starting a thread costs more than it saves.
const MIN_WORK: usize = 50_000;

#[cfg(not(target_arch = "wasm32"))]
fn threads() -> usize {
    static THREADS: std::sync::OnceLock<usize> = std::sync::OnceLock::new();
    *THREADS.get_or_init(|| std::thread::available_parallelism().map_or(1, |n| n.get()))
}

#[cfg(target_arch = "wasm32")]
fn threads() -> usize {
    1
}

#[cfg(not(target_arch = "wasm32"))]
fn spread(out: &mut [f64], row: usize, per_thread: usize, f: &(impl Fn(usize, &mut [f64]) + Sync)) {
    std::thread::scope(|scope| {
        for (t, part) in out.chunks_mut(row * per_thread).enumerate() {
            scope.spawn(move || {
                part.chunks_mut(row).enumerate().for_each(|(i, r)| f(t * per_thread + i, r));
            });
        }
    });
}

#[cfg(target_arch = "wasm32")]
fn spread(out: &mut [f64], row: usize, _per_thread: usize, f: &(impl Fn(usize, &mut [f64]) + Sync)) {
    out.chunks_mut(row).enumerate().for_each(|(i, r)| f(i, r));
}
