//! A model of characters: a vector for each, a recurrent network, and what it makes of the next character.

use super::text::Symbols;
use clap::ValueEnum;
use recurve::nn::{
    Dropout, Embedding, Gru, Linear, Lstm, LstmOptions, LstmState, Mode, RecurrentConfig, Reset,
};
use recurve::{Device, Init, Param, Params, Result, Tensor};
use serde_json::{Value, json};

/// The recurrent network.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Cell {
    /// Long short-term memory.
    Lstm,
    /// Gated recurrent units.
    Gru,
}

/// What a model is made of.
#[derive(Clone, Debug, PartialEq)]
pub struct Config {
    /// The characters it knows.
    pub symbols: Symbols,
    /// The recurrent network.
    pub cell: Cell,
    /// Length of its states.
    pub hidden: usize,
    /// Its layers.
    pub layers: usize,
    /// Length of a character's vector.
    pub embedding: usize,
    /// Probability that a value that a recurrent layer puts out is dropped in training.
    pub dropout: f64,
    /// Streams that it is trained on side by side.
    pub streams: usize,
}

impl Config {
    /// As a checkpoint keeps it.
    pub fn to_note(&self) -> String {
        let cell = if self.cell == Cell::Lstm { "lstm" } else { "gru" };
        json!({
            "symbols": self.symbols.text(), "cell": cell, "hidden": self.hidden, "layers": self.layers,
            "embedding": self.embedding, "dropout": self.dropout, "streams": self.streams,
        })
        .to_string()
    }

    /// What [`to_note`](Config::to_note) made, or nothing.
    pub fn from_note(note: &str) -> Option<Config> {
        let note: Value = serde_json::from_str(note).ok()?;
        let size = |name: &str| note[name].as_u64().map(|n| n as usize).filter(|n| (1..=1 << 16).contains(n));
        Some(Config {
            symbols: Symbols::of(note["symbols"].as_str()?),
            cell: Cell::from_str(note["cell"].as_str()?, false).ok()?,
            hidden: size("hidden")?,
            layers: size("layers")?,
            embedding: size("embedding")?,
            dropout: note["dropout"].as_f64().filter(|p| (0.0..1.0).contains(p))?,
            streams: size("streams")?,
        })
    }
}

/// What a model carries from one batch to the next: `[layers, streams, hidden]` each.
#[derive(Clone, Debug)]
pub struct State {
    h: Tensor,
    /// Only LSTMs have it.
    c: Option<Tensor>,
}

impl State {
    /// The same values, through which no gradient flows.
    pub fn detach(&self) -> State {
        State { h: self.h.detach(), c: self.c.as_ref().map(Tensor::detach) }
    }
}

enum Body {
    Lstm(Lstm),
    Gru(Gru),
}

/// A model with its parameters.
pub struct Model {
    pub params: Params,
    pub config: Config,
    embedding: Embedding,
    body: Body,
    dropout: Dropout,
    head: Linear,
    /// Where a checkpoint keeps the states that are carried on.
    carried: (Param, Option<Param>),
}

impl Model {
    /// A model at its beginning.
    pub fn new(dev: &Device, seed: u64, config: Config) -> Model {
        let params = Params::new(dev, seed);
        let root = params.root();
        let Config { hidden, layers, dropout, .. } = config;
        let recurrent = RecurrentConfig { num_layers: layers, dropout, ..Default::default() };
        let inputs = config.embedding;
        let scope = root.at("body");
        let body = match config.cell {
            Cell::Lstm => Body::Lstm(Lstm::new(&scope, inputs, hidden, LstmOptions::default(), recurrent)),
            Cell::Gru => Body::Gru(Gru::new(&scope, inputs, hidden, Reset::AfterProduct, recurrent)),
        };
        let state = |name| root.buffer(name, [layers, config.streams, hidden], Init::Zeros);
        Model {
            embedding: Embedding::new(&root.at("embedding"), config.symbols.len(), inputs),
            dropout: Dropout::new(&root, dropout),
            head: Linear::new(&root.at("head"), hidden, config.symbols.len()),
            carried: (state("carried_h"), (config.cell == Cell::Lstm).then(|| state("carried_c"))),
            body,
            config,
            params,
        }
    }

    /// Numbers that are trained.
    pub fn trained(&self) -> u64 {
        self.params.named().iter().filter(|p| p.trainable()).map(|p| p.shape().elements() as u64).sum()
    }

    /// States of nothing read yet.
    pub fn start(&self, streams: usize) -> State {
        let zeros = || self.params.device().full(0.0, [self.config.layers, streams, self.config.hidden]);
        State { h: zeros(), c: (self.config.cell == Cell::Lstm).then(zeros) }
    }

    /// Symbols `[T, B]` to logits of the symbols that follow, `[T·B, symbols]`, and the states after them.
    pub fn forward(&self, symbols: &Tensor, state: &State, mode: Mode) -> (Tensor, State) {
        let x = self.embedding.forward(symbols);
        let (y, state) = match &self.body {
            Body::Gru(gru) => {
                let (y, h) = gru.forward(&x, Some(&state.h), mode);
                (y, State { h, c: None })
            }
            Body::Lstm(lstm) => {
                let c = state.c.as_ref().expect("states of an LSTM").clone();
                let (y, next) = lstm.forward(&x, Some(&LstmState { h: state.h.clone(), c }), mode);
                (y, State { h: next.h, c: Some(next.c) })
            }
        };
        let rows = y.shape()[0] * y.shape()[1];
        let y = self.dropout.forward(&y.reshape([rows, self.config.hidden]), mode);
        (self.head.forward(&y), state)
    }

    /// Puts states where a checkpoint takes them from.
    pub fn keep(&self, state: &State) -> Result<()> {
        self.carried.0.set(&state.h.to_vec()?)?;
        if let (Some(param), Some(c)) = (&self.carried.1, &state.c) {
            param.set(&c.to_vec()?)?;
        }
        Ok(())
    }

    /// The states that were kept.
    pub fn kept(&self) -> State {
        State { h: self.carried.0.tensor(), c: self.carried.1.as_ref().map(Param::tensor) }
    }
}
