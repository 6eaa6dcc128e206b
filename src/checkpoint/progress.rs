//! The numbers of a training run beside its tensors.

use super::CheckpointError;
use crate::data::LoaderState;
use crate::params::Stream;
use serde_json::{Map, Value, json};
use sha2::{Digest, Sha256};
use std::collections::BTreeMap;

/// The format that this version writes and reads.
const FORMAT: u64 = 1;

/// How far a training run has come, beside what model and optimiser know themselves.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Progress {
    /// Steps done: where the learning-rate schedule stands.
    pub step: u64,
    /// Where the data loader stands.
    pub loader: Option<LoaderState>,
    /// Whatever the program wants to keep: options, best accuracy, learning curve.
    pub notes: BTreeMap<String, String>,
}

/// What a file says beside the progress.
pub(super) struct Saved {
    pub optimizer: String,
    pub stream: Stream,
    pub sha256: String,
}

impl Progress {
    /// Everything but the hash, with keys in alphabetical order.
    fn fields(&self, optimizer: &str, stream: Stream) -> Map<String, Value> {
        let loader = self.loader.map(|l| json!({ "seed": l.seed, "samples": l.samples, "epoch": l.epoch, "next": l.next }));
        let fields = [
            ("dropout", json!({ "seed": stream.seed, "drawn": stream.drawn })),
            ("format", json!(FORMAT)),
            ("loader", json!(loader)),
            ("notes", json!(self.notes)),
            ("optimizer", json!(optimizer)),
            ("step", json!(self.step)),
        ];
        fields.into_iter().map(|(k, v)| (k.to_string(), v)).collect()
    }

    /// The hash of tensors (in `digest` already) and training state, in hexadecimal digits.
    pub(super) fn hash(&self, optimizer: &str, stream: Stream, digest: &Sha256) -> String {
        let mut hash = digest.clone();
        hash.update(Value::Object(self.fields(optimizer, stream)).to_string());
        hash.finalize().iter().map(|b| format!("{b:02x}")).collect()
    }

    pub(super) fn to_json(&self, optimizer: &str, stream: Stream, digest: &Sha256) -> String {
        let mut fields = self.fields(optimizer, stream);
        fields.insert("sha256".into(), json!(self.hash(optimizer, stream, digest)));
        Value::Object(fields).to_string()
    }

    pub(super) fn from_json(text: &str) -> Result<(Progress, Saved), CheckpointError> {
        let damaged = |field| CheckpointError::State { field };
        let state: Value = serde_json::from_str(text).map_err(|_| damaged("all of it"))?;
        let number = |of: &Value, field: &'static str| of[field].as_u64().ok_or(damaged(field));
        let string = |field: &'static str| state[field].as_str().map(str::to_string).ok_or(damaged(field));
        let format = number(&state, "format")?;
        if format != FORMAT {
            return Err(CheckpointError::Format { found: format, known: FORMAT });
        }
        let loader = match &state["loader"] {
            Value::Null => None,
            l => Some(LoaderState {
                seed: number(l, "seed")?,
                samples: number(l, "samples")?,
                epoch: number(l, "epoch")?,
                next: number(l, "next")?,
            }),
        };
        let notes = state["notes"].as_object().ok_or(damaged("notes"))?;
        let note = |(key, value): (&String, &Value)| {
            Ok((key.clone(), value.as_str().ok_or(damaged("notes"))?.to_string()))
        };
        let notes = notes.iter().map(note).collect::<Result<_, CheckpointError>>()?;
        let dropout = &state["dropout"];
        let stream = Stream { seed: number(dropout, "seed")?, drawn: number(dropout, "drawn")? };
        let saved = Saved { optimizer: string("optimizer")?, stream, sha256: string("sha256")? };
        Ok((Progress { step: number(&state, "step")?, loader, notes }, saved))
    }
}
