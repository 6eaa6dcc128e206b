//! Networks in use: predictors, the k most probable of their results, and a pretrained one that hears pitch.

#[path = "../../examples/support/mod.rs"]
mod support;

#[path = "../support/mod.rs"]
mod adapters;

mod pitch;
mod predictor;
mod topk;

use adapters::devices;
