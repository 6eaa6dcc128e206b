//! Text for a model of characters: its symbols, and streams of them that are read side by side.

use crate::support::compressed;
use recurve::data::DataError;
use recurve::data::loader::permutation;
use std::path::Path;

/// The mark of places that do not count.
const IGNORED: i64 = -100;

/// Why a text cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum TextError {
    /// A file cannot be read.
    #[error(transparent)]
    File(#[from] DataError),
    /// A character that is not in the training text.
    #[error("the character {found:?} is not in the training text")]
    Unknown {
        /// The character.
        found: char,
    },
    /// A text is too short to be cut into streams.
    #[error("{characters} characters are too few for {streams} streams of {steps} steps")]
    Short {
        /// Its characters.
        characters: usize,
        /// Streams side by side.
        streams: usize,
        /// Steps of a batch.
        steps: usize,
    },
}

/// The characters that there are, in order; a symbol is a place in it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Symbols(Vec<char>);

impl Symbols {
    /// The characters of `text`; a line's end is always one of them.
    pub fn of(text: &str) -> Symbols {
        let mut all: Vec<char> = text.chars().chain(['\n']).collect();
        all.sort_unstable();
        all.dedup();
        Symbols(all)
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// The character of a symbol.
    pub fn character(&self, symbol: usize) -> char {
        self.0[symbol]
    }

    /// The symbol of a character.
    pub fn symbol(&self, found: char) -> Result<i64, TextError> {
        self.0.binary_search(&found).map(|i| i as i64).map_err(|_| TextError::Unknown { found })
    }

    /// All of them as a text.
    pub fn text(&self) -> String {
        self.0.iter().collect()
    }
}

/// Tunes to learn from and tunes to test on, as symbols. Each ends with an empty line.
#[derive(Clone, Debug)]
pub struct Corpus {
    /// The characters of the training text.
    pub symbols: Symbols,
    train: Vec<Vec<i64>>,
    test: Vec<Vec<i64>>,
}

/// Symbols `[steps, streams]`, and those that follow them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Batch {
    pub inputs: Vec<i64>,
    pub targets: Vec<i64>,
}

/// Rows of symbols that are read side by side.
#[derive(Clone, Debug)]
pub struct Streams {
    rows: Vec<Vec<i64>>,
    length: usize,
}

impl Corpus {
    /// Reads the two files of `folder`.
    pub fn load(folder: &Path) -> Result<Corpus, TextError> {
        let read = |name: &str| {
            let bytes = compressed::read(&folder.join(name))?;
            Ok::<_, TextError>(String::from_utf8_lossy(&bytes).into_owned())
        };
        Corpus::new(&read("clean_train.txt.gz")?, &read("clean_test.txt.gz")?)
    }

    /// Cuts texts into tunes at empty lines.
    pub fn new(train: &str, test: &str) -> Result<Corpus, TextError> {
        let symbols = Symbols::of(train);
        let encode = |text: &str| -> Result<Vec<Vec<i64>>, TextError> {
            let tunes = tunes(text).map(|tune| tune.chars().chain("\n\n".chars()));
            tunes.map(|tune| tune.map(|c| symbols.symbol(c)).collect()).collect()
        };
        Ok(Corpus { train: encode(train)?, test: encode(test)?, symbols })
    }

    /// Tunes to learn from and to test on.
    pub fn tunes(&self) -> (usize, usize) {
        (self.train.len(), self.test.len())
    }

    /// Characters to learn from and to test on.
    pub fn characters(&self) -> (usize, usize) {
        let count = |tunes: &[Vec<i64>]| tunes.iter().map(Vec::len).sum();
        (count(&self.train), count(&self.test))
    }

    /// All tunes to learn from, in the order of an epoch, cut into `streams` of as many whole batches of `steps`. (What
    /// is left over comes in another epoch's order.)
    pub fn epoch(&self, seed: u64, epoch: u64, streams: usize, steps: usize) -> Result<Streams, TextError> {
        let order = permutation(seed, epoch, self.train.len());
        let text: Vec<i64> = order.into_iter().flat_map(|i| &self.train[i]).copied().collect();
        let length = text.len() / streams / steps * steps;
        if length == 0 {
            return Err(TextError::Short { characters: text.len(), streams, steps });
        }
        let row = |i: usize| {
            let before = if i == 0 { self.line_end() } else { text[i * length - 1] };
            [&[before], &text[i * length..][..length]].concat()
        };
        Ok(Streams { rows: (0..streams).map(row).collect(), length })
    }

    /// The tunes to test on, whole, in as many streams: each next tune goes to the shortest.
    pub fn test(&self, streams: usize) -> Streams {
        let mut rows = vec![vec![self.line_end()]; streams];
        for tune in &self.test {
            let shortest = (0..streams).min_by_key(|&i| rows[i].len()).unwrap_or(0);
            rows[shortest].extend(tune);
        }
        let length = rows.iter().map(Vec::len).max().unwrap_or(1) - 1;
        Streams { rows, length }
    }

    fn line_end(&self) -> i64 {
        self.symbols.symbol('\n').unwrap_or_default()
    }
}

impl Streams {
    /// Batches of `steps`.
    pub fn batches(&self, steps: usize) -> usize {
        self.length.div_ceil(steps)
    }

    /// The batch `index`, which goes on where the one before ended. Behind a row's end are places that do not count.
    pub fn batch(&self, index: usize, steps: usize) -> Batch {
        let mut batch = Batch { inputs: Vec::new(), targets: Vec::new() };
        for at in index * steps..(index + 1) * steps {
            for row in &self.rows {
                batch.inputs.push(row.get(at).copied().unwrap_or(row[0]));
                batch.targets.push(row.get(at + 1).copied().unwrap_or(IGNORED));
            }
        }
        batch
    }
}

/// The tunes of a text, which empty lines separate.
pub fn tunes(text: &str) -> impl Iterator<Item = &str> {
    text.split("\n\n").map(|tune| tune.trim_matches('\n')).filter(|tune| !tune.trim().is_empty())
}
