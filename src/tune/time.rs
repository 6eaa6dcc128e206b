//! How long candidates take, on the real shapes.

use super::check::{POSITIVE, case};
use crate::device::Device;
use crate::error::{Error, Result};
use crate::program::choose::{Found, Question};
use crate::testing;
use std::time::Duration;

/// Executions of each candidate, of which the fastest counts.
const ROUNDS: usize = 7;
/// Time given to one candidate.
const BUDGET: Duration = Duration::from_millis(500);
/// A candidate that takes this many times as long as the best so far is given up..
const HOPELESS: f64 = 3.0;
/// ..after this time, within which somebody else may have had the device.
const PATIENCE: Duration = Duration::from_millis(50);

/// The times of all candidates. They take turns, so that a device which grows warm, or is wanted by others for a while,
/// does not favour one.
pub(super) fn time(device: &Device, question: &Question<'_>) -> Result<Vec<Found>> {
    let case = case(question, question.inputs.iter().map(|s| (*s, POSITIVE)).collect());
    let inputs = testing::fill(&case, 1);
    let names = testing::variants(device, &case);
    let stopwatch = testing::Stopwatch::new(device, &case, &inputs)?;
    let mut ready = Vec::new();
    for candidate in &question.candidates {
        let index = names.iter().position(|n| *n == candidate.variant);
        ready.push(match index.map(|index| stopwatch.ready(index)) {
            Some(Ok(once)) => Some(once),
            // One that does not compile is no reason to do without the others.
            Some(Err(Error::Shader { kernel, message })) => {
                log::warn!("the kernel {kernel} is not valid: {message}");
                None
            }
            Some(Err(error)) => return Err(error),
            None => None,
        });
    }
    let mut times: Vec<Option<f64>> = vec![None; ready.len()];
    let mut spent = vec![Duration::ZERO; ready.len()];
    for round in 0..=ROUNDS {
        let best = times.iter().flatten().fold(f64::INFINITY, |a, &b| a.min(b));
        for ((once, time), spent) in ready.iter().zip(&mut times).zip(&mut spent) {
            let Some(once) = once else { continue };
            let hopeless = time.is_some_and(|t| t > HOPELESS * best);
            if *spent > if hopeless { PATIENCE } else { BUDGET } {
                continue;
            }
            let taken = stopwatch.time(once)?;
            // Drivers compile at the first execution.
            if round > 0 {
                *spent += taken;
                let taken = taken.as_secs_f64() * 1e6;
                *time = Some(time.map_or(taken, |t: f64| t.min(taken)));
            }
        }
    }
    Ok(times.into_iter().map(|time| time.map_or(Found::Wrong, Found::Microseconds)).collect())
}
