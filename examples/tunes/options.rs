//! The command line.

use super::model::{Cell, Config};
use super::text::Symbols;
use crate::support::command::{positive, probability};
use clap::Parser;
use clap::builder::RangedU64ValueParser;
use std::path::PathBuf;

/// Learns folk tunes character by character and invents some.
#[derive(Parser, Debug, Clone)]
pub struct Options {
    /// best, gpu, software, cpu, or part of an adapter's name.
    #[arg(long, default_value = "best")]
    pub device: String,
    /// Folder for the checkpoint, the tunes and the pictures.
    #[arg(long, default_value = "runs/tunes")]
    pub out: PathBuf,
    /// Folder with clean_train.txt.gz and clean_test.txt.gz.
    #[arg(long, default_value = concat!(env!("CARGO_MANIFEST_DIR"), "/examples/tunes-data"))]
    pub data: PathBuf,
    /// Seed of weights, order, dropout and samples.
    #[arg(long, default_value_t = 0)]
    pub seed: u64,
    /// The recurrent network.
    #[arg(long, value_enum, default_value = "lstm")]
    pub cell: Cell,
    /// Length of its states.
    #[arg(long, default_value_t = 256, value_parser = RangedU64ValueParser::<usize>::new().range(1..=4096))]
    pub hidden: usize,
    /// Its layers.
    #[arg(long, default_value_t = 1, value_parser = RangedU64ValueParser::<usize>::new().range(1..=8))]
    pub layers: usize,
    /// Length of a character's vector.
    #[arg(long, default_value_t = 64, value_parser = RangedU64ValueParser::<usize>::new().range(1..=1024))]
    pub embedding: usize,
    /// Probability that a value that a recurrent layer puts out is dropped in training.
    #[arg(long, default_value_t = 0.1, value_parser = probability)]
    pub dropout: f64,
    /// Passes over the training tunes.
    #[arg(long, default_value_t = 10, value_parser = clap::value_parser!(u64).range(1..))]
    pub epochs: u64,
    /// Streams of text side by side.
    #[arg(long, default_value_t = 32, value_parser = RangedU64ValueParser::<usize>::new().range(1..=1024))]
    pub streams: usize,
    /// Characters after which backpropagation through time is cut.
    #[arg(long, default_value_t = 64, value_parser = RangedU64ValueParser::<usize>::new().range(1..=4096))]
    pub steps: usize,
    /// The learning rate at its highest.
    #[arg(long, default_value_t = 5e-3, value_parser = positive)]
    pub lr: f64,
    /// The largest norm of all gradients together.
    #[arg(long, default_value_t = 1.0, value_parser = positive)]
    pub clip: f64,
    /// Goes on from the checkpoint in the output folder.
    #[arg(long)]
    pub resume: bool,
    /// Steps between checkpoints.
    #[arg(long, default_value_t = 200, value_parser = clap::value_parser!(u64).range(1..))]
    pub save_every: u64,
    /// Invents tunes with the checkpoint's weights, and does not train.
    #[arg(long)]
    pub sample_only: bool,
    /// Tunes to invent.
    #[arg(long, default_value_t = 6, value_parser = RangedU64ValueParser::<usize>::new().range(1..=256))]
    pub tunes: usize,
    /// Below 1 the likely becomes likelier; at 0 nothing is left to chance.
    #[arg(long, default_value_t = 0.6)]
    pub temperature: f64,
    /// How every tune begins; \n is a new line. For example 'M:6/8\nL:1/8\nK:D\n'.
    #[arg(long, default_value = "")]
    pub begin: String,
}

impl Options {
    /// Where the checkpoint lies.
    pub fn checkpoint(&self) -> PathBuf {
        self.out.join("checkpoint.safetensors")
    }

    /// The model that is asked for.
    pub fn config(&self, symbols: &Symbols) -> Config {
        Config {
            symbols: symbols.clone(),
            cell: self.cell,
            hidden: self.hidden,
            layers: self.layers,
            embedding: self.embedding,
            dropout: self.dropout,
            streams: self.streams,
        }
    }

    /// What a resumed run must have in common with the saved one, beside the model.
    pub fn plan(&self, characters: usize) -> String {
        format!(
            "{characters} characters, {} epochs of {} streams by {} steps, seed {}, learning rate {}, clipping at {}",
            self.epochs, self.streams, self.steps, self.seed, self.lr, self.clip
        )
    }
}
