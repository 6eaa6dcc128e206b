//! Networks in use: predictors, the k most probable of their results, and a pretrained one that hears pitch.

#[path = "../support/mod.rs"]
mod adapters;

mod predictor;
mod topk;

use adapters::devices;
