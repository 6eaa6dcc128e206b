//! Inventing tunes: each character is drawn from what the model predicts, and read by it as the next one.

use super::model::Model;
use super::text::TextError;
use crate::support::sampling::Sampler;
use recurve::nn::Mode;
use recurve::no_grad;
use std::error::Error;

/// What is asked for.
#[derive(Clone, Debug)]
pub struct Request {
    /// Tunes to invent, side by side.
    pub count: usize,
    /// How each begins.
    pub begin: String,
    /// What logits are divided by.
    pub temperature: f64,
    /// The same seed and numbers make the same tunes.
    pub seed: u64,
    /// Number of the first tune.
    pub first: u64,
    /// The most characters of a tune.
    pub longest: usize,
}

/// Invents tunes, up to their first empty line.
pub fn invent(model: &Model, request: &Request) -> Result<Vec<String>, Box<dyn Error>> {
    let (dev, symbols) = (model.params.device(), &model.config.symbols);
    let Request { count, temperature, seed, first, .. } = *request;
    let begin = request.begin.chars().map(|c| symbols.symbol(c)).collect::<Result<Vec<_>, TextError>>()?;
    let mut samplers: Vec<Sampler> =
        (0..count as u64).map(|i| Sampler::new(seed, first + i, temperature)).collect();
    let mut tunes = vec![String::new(); count];
    let mut ended = vec![false; count];
    let mut state = model.start(count);
    // A tune comes after an empty line: the end of a line, twice.
    let line_end = symbols.symbol('\n')?;
    let mut inputs = vec![line_end; count];
    for at in 0..=request.longest {
        let (logits, next) = no_grad(|| model.forward(&dev.indices(&inputs, [1, count]), &state, Mode::Eval));
        state = next;
        if at == 0 {
            continue;
        }
        let logits = logits.to_vec()?;
        for (i, row) in logits.chunks_exact(symbols.len()).enumerate() {
            if ended[i] {
                continue;
            }
            let symbol = begin.get(at - 1).copied().unwrap_or_else(|| samplers[i].draw(row) as i64);
            inputs[i] = symbol;
            tunes[i].push(symbols.character(symbol as usize));
            ended[i] = tunes[i].ends_with("\n\n");
        }
        if ended.iter().all(|&e| e) {
            break;
        }
    }
    Ok(tunes.iter().map(|tune| tune.trim_matches('\n').to_string()).collect())
}
