//! A file with the loss of every step, in step with checkpoints.
//!
//! Rows are forced to disk before the checkpoint that counts them is written, and the checkpoint says how many bytes they
//! take. So after a crash at any moment the file holds at least what the checkpoint knows; what lies behind comes from
//! steps that will be made again, and is cut off.

// Each example uses a part of this.
#![allow(dead_code)]

use std::fs::{File, OpenOptions};
use std::io::{self, BufRead, BufReader, BufWriter, Seek, SeekFrom, Write};
use std::path::Path;

const HEADER: &str = "step,loss";

/// A file of rows `step,loss`. Losses are written so that they are read as the same bits.
pub struct LossLog {
    file: BufWriter<File>,
    bytes: u64,
}

impl LossLog {
    /// An empty file, in the place of what is there.
    pub fn create(path: &Path) -> io::Result<LossLog> {
        let mut log = LossLog { file: BufWriter::new(File::create(path)?), bytes: 0 };
        log.append(HEADER)?;
        Ok(log)
    }

    /// The file as a checkpoint knows it, `bytes` long, with its rows; what lies behind is cut off.
    pub fn resume(path: &Path, bytes: u64) -> io::Result<(LossLog, Vec<(u64, f32)>)> {
        let mut file = OpenOptions::new().read(true).write(true).open(path)?;
        let there = file.metadata()?.len();
        if there < bytes {
            return Err(invalid(format!("{there} bytes, but the checkpoint counts {bytes}")));
        }
        file.set_len(bytes)?;
        let mut rows = Vec::new();
        for line in BufReader::new(&file).lines().skip(1) {
            let line = line?;
            let row = line.split_once(',').and_then(|(s, l)| Some((s.parse().ok()?, l.parse().ok()?)));
            rows.push(row.ok_or_else(|| invalid(format!("a row {line:?}")))?);
        }
        file.seek(SeekFrom::Start(bytes))?;
        Ok((LossLog { file: BufWriter::new(file), bytes }, rows))
    }

    /// Appends a row.
    pub fn push(&mut self, step: u64, loss: f32) -> io::Result<()> {
        self.append(&format!("{step},{loss}"))
    }

    fn append(&mut self, line: &str) -> io::Result<()> {
        writeln!(self.file, "{line}")?;
        self.bytes += line.len() as u64 + 1;
        Ok(())
    }

    /// Forces all rows to disk. Returns the file's length, for the checkpoint that comes next.
    pub fn commit(&mut self) -> io::Result<u64> {
        self.file.flush()?;
        self.file.get_ref().sync_data()?;
        Ok(self.bytes)
    }
}

fn invalid(what: String) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, what)
}
