//! Lets what is needed at different times take turns in whole buffers: a packing of intervals. Which rule packs best depends
//! on the program, and packing is cheap, so several are tried (Pisarchyk & Lee 2020, arXiv 2001.03288, sections 4 and 5) and
//! the smallest result is taken.

use std::cmp::Reverse;

/// What is needed from one moment to another, both included.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Demand {
    pub bytes: u64,
    pub first: usize,
    pub last: usize,
}

impl Demand {
    fn overlaps(&self, other: &Demand) -> bool {
        self.first <= other.last && other.first <= self.last
    }
}

/// In which order demands are packed.
#[derive(Clone, Copy)]
enum Order {
    /// The largest first, equal ones as they come.
    Size,
    /// The largest first, of equal ones that which is needed for longest.
    SizeThenSpan,
    /// As they come.
    Time,
}

/// Which of the free buffers is taken.
#[derive(Clone, Copy)]
enum Fit {
    /// The first that was made.
    First,
    /// The one that wastes least bytes.
    Size,
    /// The one that is idle for the shortest time before or after.
    Gap,
}

/// A buffer with what takes turns in it.
struct Shared {
    bytes: u64,
    turns: Vec<Demand>,
}

impl Shared {
    fn is_free(&self, demand: &Demand) -> bool {
        !self.turns.iter().any(|t| t.overlaps(demand))
    }

    /// The moments between `demand` and the nearest turn.
    fn gap(&self, demand: &Demand) -> usize {
        let gap =
            |t: &Demand| if t.last < demand.first { demand.first - t.last } else { t.first - demand.last };
        self.turns.iter().map(gap).min().unwrap_or(usize::MAX)
    }
}

/// A buffer for each demand, and the bytes of each buffer, largest first. What overlaps in time does not share one.
pub(crate) fn share(demands: &[Demand]) -> (Vec<usize>, Vec<u64>) {
    let rules = [
        (Order::Size, Fit::First),
        (Order::SizeThenSpan, Fit::First),
        (Order::SizeThenSpan, Fit::Size),
        (Order::SizeThenSpan, Fit::Gap),
        (Order::Time, Fit::Size),
    ];
    let packed = rules.map(|(order, fit)| pack(demands, order, fit));
    let total = |(_, buffers): &(Vec<usize>, Vec<Shared>)| buffers.iter().map(|b| b.bytes).sum::<u64>();
    let best = packed.into_iter().min_by_key(total);
    let (taken, buffers) = best.expect("there are rules");
    let mut largest_first: Vec<usize> = (0..buffers.len()).collect();
    largest_first.sort_by_key(|&b| Reverse(buffers[b].bytes));
    let mut rank = vec![0; buffers.len()];
    largest_first.iter().enumerate().for_each(|(at, &b)| rank[b] = at);
    let bytes = largest_first.iter().map(|&b| buffers[b].bytes).collect();
    (taken.into_iter().map(|b| rank[b]).collect(), bytes)
}

fn pack(demands: &[Demand], order: Order, fit: Fit) -> (Vec<usize>, Vec<Shared>) {
    let mut sorted: Vec<usize> = (0..demands.len()).collect();
    match order {
        Order::Size => sorted.sort_by_key(|&i| Reverse(demands[i].bytes)),
        Order::SizeThenSpan => {
            sorted.sort_by_key(|&i| Reverse((demands[i].bytes, demands[i].last - demands[i].first)));
        }
        Order::Time => sorted.sort_by_key(|&i| (demands[i].first, Reverse(demands[i].bytes))),
    }
    let mut taken = vec![0; demands.len()];
    let mut buffers: Vec<Shared> = Vec::new();
    for i in sorted {
        let demand = demands[i];
        let free = (0..buffers.len()).filter(|&b| buffers[b].is_free(&demand));
        let best = match fit {
            Fit::First => free.min(),
            // A buffer that is too small grows; the least by which one must is least waste.
            Fit::Size => free.min_by_key(|&b| {
                let bytes = buffers[b].bytes;
                (bytes < demand.bytes, bytes.abs_diff(demand.bytes))
            }),
            Fit::Gap => free.min_by_key(|&b| (buffers[b].gap(&demand), buffers[b].bytes)),
        };
        let buffer = best.unwrap_or_else(|| {
            buffers.push(Shared { bytes: 0, turns: Vec::new() });
            buffers.len() - 1
        });
        buffers[buffer].bytes = buffers[buffer].bytes.max(demand.bytes);
        buffers[buffer].turns.push(demand);
        taken[i] = buffer;
    }
    (taken, buffers)
}

/// The most bytes that are needed at once, and the first moment that needs them.
pub(crate) fn peak(demands: &[Demand]) -> (u64, usize) {
    let moments = demands.iter().map(|d| d.last + 1).max().unwrap_or(0);
    let mut change = vec![0i64; moments + 1];
    for demand in demands {
        change[demand.first] += demand.bytes as i64;
        change[demand.last + 1] -= demand.bytes as i64;
    }
    let (mut now, mut most) = (0, (0, 0));
    for (moment, change) in change[..moments].iter().enumerate() {
        now += change;
        if now > most.0 {
            most = (now, moment);
        }
    }
    (most.0 as u64, most.1)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Numbers that look random (Knuth's multiplier).
    fn demands(seed: u64, count: usize) -> Vec<Demand> {
        let mut state = seed;
        let mut next = |below: u64| {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            (state >> 33) % below
        };
        (0..count)
            .map(|_| {
                let first = next(200) as usize;
                Demand { bytes: 256 << next(8), first, last: first + next(20) as usize }
            })
            .collect()
    }

    #[test]
    fn turns_do_not_overlap_and_fit() {
        for seed in 0..20 {
            let all = demands(seed, 150);
            let (taken, buffers) = share(&all);
            assert!(buffers.is_sorted_by(|a, b| a >= b));
            let mut used = vec![0; buffers.len()];
            for (i, (a, &buffer)) in all.iter().zip(&taken).enumerate() {
                used[buffer] = a.bytes.max(used[buffer]);
                let clash = all[..i].iter().zip(&taken).any(|(b, &other)| other == buffer && a.overlaps(b));
                assert!(!clash, "seed {seed}: demand {i} in buffer {buffer}");
            }
            assert_eq!(used, buffers, "a buffer is as large as the largest that lies in it");
            let total: u64 = buffers.iter().sum();
            assert!(
                total >= peak(&all).0
                    && total <= pack(&all, Order::Size, Fit::First).1.iter().map(|b| b.bytes).sum()
            );
        }
    }

    #[test]
    fn what_comes_after_another_takes_its_place() {
        let demand = |bytes, first, last| Demand { bytes, first, last };
        let all = [demand(512, 0, 1), demand(256, 1, 2), demand(512, 2, 3)];
        assert_eq!(share(&all), (vec![0, 1, 0], vec![512, 256]));
        assert_eq!(peak(&all), (768, 1));
        assert_eq!((share(&[]), peak(&[])), ((vec![], vec![]), (0, 0)));
    }
}
