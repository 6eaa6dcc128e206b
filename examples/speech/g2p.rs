//! How English words are pronounced: a GRU reads the letters, another one writes the phonemes.
//!
//! The encoder's state after the last letter is the decoder's first. The decoder gets what it wrote before, beginning with
//! the mark `<s>`, and writes the most probable phoneme until that is `</s>`.

use recurve::nn::{Embedding, Gru, GruCell, Linear, Mode, RecurrentConfig, Reset};
use recurve::{Device, Params, Result, Tensor, no_grad};
use std::error::Error;
use std::path::Path;

/// Length of the states and of the embedded letters and phonemes.
pub const HIDDEN: usize = 256;
/// No pronunciation has more phonemes.
const LONGEST: usize = 20;
/// Words side by side.
const BATCH: usize = 104;

/// What is read or written, in the order of its embedding.
pub struct Vocabulary(Vec<String>);

impl Vocabulary {
    /// The line of a file that begins with `name`; it must have the marks `needed`.
    fn load(path: &Path, name: &str, needed: &[&str]) -> Result<Vocabulary, Box<dyn Error>> {
        let text = std::fs::read_to_string(path).map_err(|e| format!("{}: {e}", path.display()))?;
        let line = text.lines().find_map(|l| l.strip_prefix(name));
        let line = line.ok_or_else(|| format!("{}: no line of {name}", path.display()))?;
        let all = Vocabulary(line.split_whitespace().map(str::to_string).collect());
        match needed.iter().find(|mark| all.index(mark).is_none()) {
            Some(mark) => Err(format!("{}: no {mark} among {name}", path.display()).into()),
            None => Ok(all),
        }
    }

    /// The number of entries.
    pub fn len(&self) -> usize {
        self.0.len()
    }

    fn index(&self, entry: &str) -> Option<i64> {
        self.0.iter().position(|e| e == entry).map(|i| i as i64)
    }

    /// The index of a mark that is known to be there.
    fn mark(&self, mark: &str) -> i64 {
        self.index(mark).expect("a mark that was looked for at loading")
    }
}

/// The network.
pub struct G2p {
    params: Params,
    graphemes: Vocabulary,
    phonemes: Vocabulary,
    letters: Embedding,
    encoder: Gru,
    written: Embedding,
    decoder: GruCell,
    head: Linear,
}

/// Words as the encoder leaves them.
struct Encoded {
    /// The states after each letter, `[T, B, HIDDEN]`.
    states: Tensor,
    /// The states after each word's own end, `[B, HIDDEN]`.
    last: Tensor,
}

/// A word's pronunciation.
#[derive(Clone, Debug, PartialEq)]
pub struct Pronunciation {
    /// Joined by spaces.
    pub phonemes: String,
    /// The decoder's result for each phoneme and for the end.
    pub logits: Vec<Vec<f32>>,
}

impl G2p {
    /// Reads the vocabulary and the weights from a folder.
    pub fn load(dev: &Device, folder: &Path) -> Result<G2p, Box<dyn Error>> {
        let vocabulary = folder.join("vocab.txt");
        let graphemes = Vocabulary::load(&vocabulary, "graphemes", &["<pad>", "<unk>", "</s>"])?;
        let phonemes = Vocabulary::load(&vocabulary, "phonemes", &["<s>", "</s>"])?;
        let params = Params::new(dev, 0);
        let (encoder, decoder) = (params.at("encoder"), params.at("decoder"));
        let config = RecurrentConfig::default();
        let g2p = G2p {
            letters: Embedding::new(&encoder.at("embedding"), graphemes.len(), HIDDEN),
            encoder: Gru::new(&encoder.at("gru"), HIDDEN, HIDDEN, Reset::AfterProduct, config),
            written: Embedding::new(&decoder.at("embedding"), phonemes.len(), HIDDEN),
            decoder: GruCell::new(&decoder.at("cell"), HIDDEN, HIDDEN, Reset::AfterProduct),
            head: Linear::new(&decoder.at("fc"), HIDDEN, phonemes.len()),
            graphemes,
            phonemes,
            params,
        };
        g2p.params.load(folder.join("g2p.safetensors"))?;
        Ok(g2p)
    }

    /// Indices of a word's letters and of its end. Capitals count as small letters; what is no letter is unknown.
    fn spelled(&self, word: &str) -> Vec<i64> {
        let unknown = self.graphemes.mark("<unk>");
        let index = |c: char| self.graphemes.index(&c.to_string()).unwrap_or(unknown);
        word.to_lowercase().chars().map(index).chain([self.graphemes.mark("</s>")]).collect()
    }

    /// Reads words letter by letter, all side by side, filled up to `steps` at least.
    fn encode(&self, words: &[&str], steps: usize) -> Encoded {
        let spelled: Vec<Vec<i64>> = words.iter().map(|w| self.spelled(w)).collect();
        let lengths: Vec<usize> = spelled.iter().map(Vec::len).collect();
        let (count, fill) = (words.len(), self.graphemes.mark("<pad>"));
        let steps = lengths.iter().fold(steps, |m, &n| m.max(n));
        let letter = |i: usize| spelled[i % count].get(i / count).copied().unwrap_or(fill);
        let indices: Vec<i64> = (0..steps * count).map(letter).collect();
        let x = self.letters.forward(&self.params.device().indices(&indices, [steps, count]));
        let (states, last) = self.encoder.forward_lengths(&x, &lengths, None, Mode::Eval);
        Encoded { states, last: last.reshape([count, HIDDEN]) }
    }

    /// The logits of each step for all words, `[LONGEST, B, phonemes]`; they do not stop at the end of a word.
    fn decode(&self, encoded: &Encoded) -> Tensor {
        let mut h = encoded.last.clone();
        let count = h.shape()[0];
        let mut phonemes = self.params.device().labels(vec![self.phonemes.mark("<s>"); count]);
        let mut steps = Vec::new();
        for _ in 0..LONGEST {
            h = self.decoder.forward(&self.written.forward(&phonemes), Some(&h));
            let logits = self.head.forward(&h);
            phonemes = logits.argmax(1);
            steps.push(logits.reshape([1, count, self.phonemes.len()]));
        }
        Tensor::concat(&steps.iter().collect::<Vec<_>>(), 0)
    }

    /// The encoder's states after each letter of a word and after its end, `[letters + 1, HIDDEN]`.
    pub fn states(&self, word: &str) -> Result<Vec<f32>> {
        no_grad(|| self.encode(&[word], 0).states).to_vec()
    }

    /// How words are pronounced.
    pub fn pronounce(&self, words: &[&str]) -> Result<Vec<Pronunciation>> {
        let mut all = Vec::new();
        // One length for all batches: one program serves the full ones.
        let steps = words.iter().map(|w| self.spelled(w).len()).max().unwrap_or(0);
        for words in words.chunks(BATCH) {
            let logits = no_grad(|| self.decode(&self.encode(words, steps))).to_vec()?;
            let of = |word: usize| -> Vec<&[f32]> {
                logits.chunks_exact(self.phonemes.len()).skip(word).step_by(words.len()).collect()
            };
            all.extend((0..words.len()).map(|word| self.read(&of(word))));
        }
        Ok(all)
    }

    /// What the decoder wrote, up to the end.
    fn read(&self, steps: &[&[f32]]) -> Pronunciation {
        let largest =
            |logits: &[f32]| (1..logits.len()).fold(0, |m, i| if logits[i] > logits[m] { i } else { m });
        let mut names: Vec<&str> = Vec::new();
        let mut logits = Vec::new();
        for step in steps {
            logits.push(step.to_vec());
            match self.phonemes.0[largest(step)].as_str() {
                "</s>" => break,
                phoneme => names.push(phoneme),
            }
        }
        Pronunciation { phonemes: names.join(" "), logits }
    }
}
