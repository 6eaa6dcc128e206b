//! The file of choices: JSON, by adapter, then by op.

use crate::checkpoint::write_atomically;
use crate::kernel::Candidate;
use crate::program::choose::{Choice, Found};
use serde_json::{Map, Value, json};
use std::collections::BTreeMap;
use std::path::Path;

/// The format's version.
const FORMAT: u64 = 1;

/// What is known, by adapter and op.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Table(BTreeMap<String, BTreeMap<String, Entry>>);

/// What was found out about one op.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Entry {
    /// Hash of all its candidates.
    pub shaders: String,
    /// The fastest one.
    variant: String,
    /// Microseconds by variant; `None` for those that failed, or were wrong when it was their turn.
    found: BTreeMap<String, Option<f64>>,
}

/// A candidate takes the place of the rule's only if it is faster by this factor: clocks are not exact.
const MARGIN: f64 = 1.05;

impl Entry {
    /// The fastest of the candidates that are not wrong; `None` when all are.
    pub fn new(shaders: &str, candidates: &[&Candidate], found: &[Found]) -> Option<Entry> {
        let mut best: Option<(&str, f64)> = None;
        for (candidate, found) in candidates.iter().zip(found) {
            if let Found::Microseconds(time) = found
                && best.is_none_or(|(_, least)| time * MARGIN < least)
            {
                best = Some((candidate.variant, *time));
            }
        }
        let time = |found: &Found| match found {
            Found::Microseconds(time) => Some(*time),
            Found::Wrong => None,
        };
        let found = candidates.iter().zip(found).map(|(c, f)| (c.variant.to_string(), time(f))).collect();
        Some(Entry { shaders: shaders.into(), variant: best?.0.to_string(), found })
    }

    /// The choice among `candidates`; `None` when it is not among them.
    pub fn choice(&self, candidates: &[&Candidate]) -> Option<Choice> {
        let taken = candidates.iter().position(|c| c.variant == self.variant)?;
        let found = |c: &&Candidate| match self.found.get(c.variant)? {
            Some(time) => Some(Found::Microseconds(*time)),
            None => Some(Found::Wrong),
        };
        let found: Vec<Found> = candidates.iter().map(found).collect::<Option<_>>()?;
        matches!(found[taken], Found::Microseconds(_)).then_some(Choice { taken, found })
    }

    fn to_json(&self) -> Value {
        json!({"shaders": self.shaders, "variant": self.variant, "microseconds": self.found})
    }

    fn from_json(value: &Value) -> Option<Entry> {
        let text = |name: &str| Some(value.get(name)?.as_str()?.to_string());
        let time = |(variant, time): (&String, &Value)| match time {
            Value::Null => Some((variant.clone(), None)),
            time => Some((variant.clone(), Some(time.as_f64()?))),
        };
        let found = value.get("microseconds")?.as_object()?.iter().map(time).collect::<Option<_>>()?;
        Some(Entry { shaders: text("shaders")?, variant: text("variant")?, found })
    }
}

impl Table {
    /// What `file` says: nothing if it is not there, or not one of these files.
    pub fn read(file: &Path) -> Table {
        let bytes = match std::fs::read(file) {
            Ok(bytes) => bytes,
            Err(error) => {
                if error.kind() != std::io::ErrorKind::NotFound {
                    log::warn!("{}: {error}: ignored", file.display());
                }
                return Table::default();
            }
        };
        Table::from_json(&bytes).unwrap_or_else(|reason| {
            log::warn!("{}: {reason}: ignored", file.display());
            Table::default()
        })
    }

    fn from_json(bytes: &[u8]) -> Result<Table, String> {
        let value: Value = serde_json::from_slice(bytes).map_err(|e| e.to_string())?;
        if value.get("format").and_then(Value::as_u64) != Some(FORMAT) {
            return Err(format!("not of format {FORMAT}"));
        }
        let adapters = value.get("adapters").and_then(Value::as_object).ok_or("without adapters")?;
        let mut table = Table::default();
        for (adapter, entries) in adapters {
            let entries = entries.as_object().ok_or(format!("{adapter} without entries"))?;
            for (key, entry) in entries {
                let entry = Entry::from_json(entry).ok_or(format!("the entry of {key} is incomplete"))?;
                table.insert(adapter, key, entry);
            }
        }
        Ok(table)
    }

    fn to_json(&self) -> Value {
        let entries =
            |all: &BTreeMap<String, Entry>| all.iter().map(|(k, e)| (k.clone(), e.to_json())).collect();
        let adapters: Map<String, Value> =
            self.0.iter().map(|(a, all)| (a.clone(), Value::Object(entries(all)))).collect();
        json!({"format": FORMAT, "adapters": adapters})
    }

    pub fn get(&self, adapter: &str, key: &str) -> Option<&Entry> {
        self.0.get(adapter)?.get(key)
    }

    pub fn insert(&mut self, adapter: &str, key: &str, entry: Entry) {
        self.0.entry(adapter.into()).or_default().insert(key.into(), entry);
    }

    /// Writes all of it, with what other processes have added to the file in the meantime. A file that cannot be
    /// written costs the next process its time, and a line in the log.
    pub fn write(&mut self, file: &Path) {
        for (adapter, entries) in Table::read(file).0 {
            let ours = self.0.entry(adapter).or_default();
            for (key, entry) in entries {
                ours.entry(key).or_insert(entry);
            }
        }
        let text = serde_json::to_vec_pretty(&self.to_json()).expect("a tree of strings and numbers");
        if let Err(error) = write_atomically(file, &text) {
            log::warn!("the choice of kernels is not kept: {error}");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry() -> Entry {
        let found = BTreeMap::from([("a".into(), Some(1.5)), ("b".into(), None)]);
        Entry { shaders: "00ff".into(), variant: "a".into(), found }
    }

    #[test]
    fn a_table_survives_its_file() {
        let mut table = Table::default();
        table.insert("an adapter", "an op", entry());
        let bytes = serde_json::to_vec(&table.to_json()).unwrap();
        assert_eq!(Table::from_json(&bytes).unwrap(), table);
    }

    #[test]
    fn what_is_no_table_is_refused() {
        let mut table = Table::default();
        table.insert("an adapter", "an op", entry());
        let text = table.to_json().to_string();
        assert!(Table::from_json(text.as_bytes()).is_ok());
        let cases = [
            (&text[..text.len() / 2], "half a file"),
            ("", "an empty file"),
            ("[]", "another tree"),
            (&text.replace("\"format\":1", "\"format\":2"), "another format"),
            (&text.replace("\"variant\":\"a\"", "\"variant\":7"), "a number for a name"),
            (&text.replace("1.5", "\"soon\""), "a text for a number"),
        ];
        for (text, what) in cases {
            assert!(Table::from_json(text.as_bytes()).is_err(), "{what}");
        }
    }

    #[test]
    fn the_first_stays_unless_another_is_clearly_faster() {
        let candidates = [Candidate::new("a"), Candidate::new("b"), Candidate::new("c")];
        let candidates: Vec<&Candidate> = candidates.iter().collect();
        let taken = |times: [Found; 3]| {
            let entry = Entry::new("", &candidates, &times)?;
            Some(entry.choice(&candidates).unwrap().taken)
        };
        let us = Found::Microseconds;
        assert_eq!(taken([us(100.0), us(99.0), us(97.0)]), Some(0));
        assert_eq!(taken([us(100.0), us(50.0), us(49.0)]), Some(1));
        assert_eq!(taken([Found::Wrong, us(100.0), us(1.0)]), Some(2));
        assert_eq!(taken([Found::Wrong; 3]), None);
    }

    #[test]
    fn a_choice_that_is_not_among_the_candidates_is_none() {
        let (a, b, c) = (Candidate::new("a"), Candidate::new("b"), Candidate::new("c"));
        assert!(entry().choice(&[&a, &b]).is_some());
        assert!(entry().choice(&[&b]).is_none());
        assert!(entry().choice(&[&a, &b, &c]).is_none(), "one that was not measured");
    }
}
