//! Predictions for what comes in one by one.

use super::{Batch, Outputs, Predictor, PredictorError};
use crate::error::Result;
use std::collections::VecDeque;
use std::iter::Fuse;

/// Batches that are under way at once: one is computed, one waits behind it, one is read.
const UNDER_WAY: usize = 3;

/// The predictions of [`Predictor::stream`].
pub struct Stream<'p, O, I: Iterator> {
    predictor: &'p Predictor<O>,
    inputs: Fuse<I>,
    /// An input of which a part is still to be put on its way, and how many values come before that.
    rest: Option<(I::Item, usize)>,
    parts: VecDeque<Part>,
}

/// A part of an input, or what is wrong with it.
struct Part {
    batch: Result<Batch>,
    /// Whether it is the last of its input.
    last: bool,
}

impl<'p, O: Outputs, I: Iterator<Item: AsRef<[f32]>>> Stream<'p, O, I> {
    pub(super) fn new(predictor: &'p Predictor<O>, inputs: I) -> Self {
        Stream { predictor, inputs: inputs.fuse(), rest: None, parts: VecDeque::new() }
    }

    /// The predictions for the next input.
    pub(super) async fn advance(&mut self) -> Option<Result<O::Values>> {
        let mut rows = Ok(vec![Vec::new(); self.predictor.results.len()]);
        loop {
            while self.parts.len() < UNDER_WAY
                && let Some(part) = self.put_on_way()
            {
                self.parts.push_back(part);
            }
            let Part { batch, last } = self.parts.pop_front()?;
            let more = match batch {
                Ok(batch) => self.predictor.finish(batch).await,
                Err(error) => Err(error),
            };
            rows = match (rows, more) {
                (Ok(rows), Ok(more)) => Ok(joined(rows, more)),
                (Err(error), _) | (_, Err(error)) => Err(error),
            };
            if last {
                return Some(rows.map(O::values));
            }
        }
    }

    /// Puts the next part on its way.
    fn put_on_way(&mut self) -> Option<Part> {
        let (input, at) = match self.rest.take() {
            Some(rest) => rest,
            None => (self.inputs.next()?, 0),
        };
        let values = input.as_ref();
        let sample = self.predictor.sample();
        if !values.len().is_multiple_of(sample) {
            let error = PredictorError::Input { values: values.len(), sample };
            return Some(Part { batch: Err(error.into()), last: true });
        }
        if values.is_empty() {
            return Some(Part { batch: Ok(Batch { readings: Vec::new(), samples: 0 }), last: true });
        }
        let end = values.len().min(at + self.predictor.shape.elements());
        let batch = self.predictor.begin(&values[at..end]);
        // Behind a part that failed there is no need for the others.
        let last = end == values.len() || batch.is_err();
        if !last {
            self.rest = Some((input, end));
        }
        Some(Part { batch, last })
    }
}

/// Each result's rows with more of them behind; there are none of a part without samples.
fn joined(mut rows: Vec<Vec<f32>>, more: Vec<Vec<f32>>) -> Vec<Vec<f32>> {
    for (rows, more) in rows.iter_mut().zip(more) {
        if rows.is_empty() {
            *rows = more;
        } else {
            rows.extend(more);
        }
    }
    rows
}

#[cfg(not(target_arch = "wasm32"))]
impl<O: Outputs, I: Iterator<Item: AsRef<[f32]>>> Iterator for Stream<'_, O, I> {
    type Item = Result<O::Values>;

    fn next(&mut self) -> Option<Self::Item> {
        pollster::block_on(self.advance())
    }
}

impl<O, I: Iterator> std::fmt::Debug for Stream<'_, O, I> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Stream({:?}, {} batches under way)", self.predictor, self.parts.len())
    }
}
