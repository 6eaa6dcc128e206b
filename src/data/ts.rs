//! The `.ts` format of the UEA and UCR archives: labelled time series as text.
//!
//! ```text
//! # comments
//! @problemName BasicMotions         any order; names without regard to case
//! @dimensions 6                     channels of a series; 1 when absent
//! @classLabel true Standing Running
//! @data
//! 0.1,0.2:1.5,1.6:Standing          per line a series: channels of numbers, and last its class
//! ```
//! Files may be gzipped. Series may differ in length, not so the channels of one series. Time stamps and missing values
//! (`?`) are refused. Source: Bagnall et al., "The UEA multivariate time series classification archive, 2018",
//! <https://arxiv.org/abs/1811.00075>.

use super::DataError;
use flate2::read::MultiGzDecoder;
use std::io::{BufRead, BufReader, Read};
use std::path::{Path, PathBuf};

/// The longest text that is read, in bytes after decompression.
pub const MAX_BYTES: u64 = 1 << 30;

/// A data set of labelled time series.
#[derive(Clone, Debug, PartialEq)]
pub struct TimeSeries {
    /// Where it was read from.
    pub path: PathBuf,
    /// Names of the classes, in the order of their labels.
    pub classes: Vec<String>,
    /// Channels of every series.
    pub channels: usize,
    /// The series, in the file's order.
    pub series: Vec<Series>,
}

/// A time series with its class.
#[derive(Clone, Debug, PartialEq)]
pub struct Series {
    /// `[channels, length]`.
    pub values: Vec<f32>,
    /// Steps of time.
    pub length: usize,
    /// Index of its class.
    pub label: usize,
}

impl TimeSeries {
    /// Reads the file at `path`, plain or gzipped.
    ///
    /// # Errors
    /// [`DataError::Io`], [`DataError::CorruptGzip`] and [`DataError::TooLarge`] for the file;
    /// [`DataError::BadLine`] for what it says.
    #[cfg(not(target_arch = "wasm32"))]
    pub fn from_path(path: impl AsRef<Path>) -> Result<TimeSeries, DataError> {
        let path = path.as_ref();
        let file = std::fs::File::open(path).map_err(|source| DataError::Io { path: path.into(), source })?;
        read(path, BufReader::new(file))
    }

    /// Reads a file from memory; `path` only names it in errors.
    ///
    /// # Errors
    /// As [`TimeSeries::from_path`].
    pub fn from_bytes(path: impl AsRef<Path>, bytes: &[u8]) -> Result<TimeSeries, DataError> {
        read(path.as_ref(), bytes)
    }

    /// The length that all series have, if they do.
    pub fn length(&self) -> Option<usize> {
        let first = self.series.first()?.length;
        self.series.iter().all(|s| s.length == first).then_some(first)
    }
}

fn read(path: &Path, mut bytes: impl BufRead) -> Result<TimeSeries, DataError> {
    let io = |source| DataError::Io { path: path.into(), source };
    let gzipped = bytes.fill_buf().map_err(io)?.starts_with(&[0x1f, 0x8b]);
    let mut text = Vec::new();
    let size = if gzipped {
        let corrupt = |source| DataError::CorruptGzip { path: path.into(), source };
        MultiGzDecoder::new(bytes).take(MAX_BYTES + 1).read_to_end(&mut text).map_err(corrupt)?
    } else {
        bytes.take(MAX_BYTES + 1).read_to_end(&mut text).map_err(io)?
    };
    if size as u64 > MAX_BYTES {
        return Err(DataError::TooLarge { path: path.into(), declared: size as u64, limit: MAX_BYTES });
    }
    parse(path, &String::from_utf8_lossy(&text))
}

fn parse(path: &Path, text: &str) -> Result<TimeSeries, DataError> {
    let mut all = TimeSeries { path: path.into(), classes: Vec::new(), channels: 1, series: Vec::new() };
    let mut in_data = false;
    for (i, line) in text.lines().enumerate() {
        let line = line.trim();
        let bad = |what: String| DataError::BadLine { path: path.into(), line: i + 1, what };
        if line.is_empty() || line.starts_with('#') {
            continue;
        }
        if in_data {
            let series = series(line, &all).map_err(bad)?;
            all.series.push(series);
            continue;
        }
        let mut words = line.split_whitespace();
        let tag = words.next().unwrap_or_default().to_lowercase();
        match tag.as_str() {
            "@data" if all.classes.is_empty() => {
                return Err(bad("no @classLabel with classes before".into()));
            }
            "@data" => in_data = true,
            "@dimensions" | "@dimension" => {
                let count = words.next().and_then(|n| n.parse().ok()).filter(|&n| n > 0);
                all.channels = count.ok_or_else(|| bad("@dimensions without a number above 0".into()))?;
            }
            "@classlabel" => {
                all.classes = words.skip(1).map(str::to_string).collect();
            }
            "@timestamps" | "@missing" if words.next().is_some_and(|w| w.eq_ignore_ascii_case("true")) => {
                return Err(bad(format!("{tag} is not supported")));
            }
            _ if tag.starts_with('@') => {}
            _ => return Err(bad("values before @data".into())),
        }
    }
    match in_data {
        true => Ok(all),
        false => {
            let (line, what) = (text.lines().count(), "no @data".into());
            Err(DataError::BadLine { path: path.into(), line, what })
        }
    }
}

fn series(line: &str, set: &TimeSeries) -> Result<Series, String> {
    let mut parts: Vec<&str> = line.split(':').collect();
    let class = parts.pop().unwrap_or_default().trim();
    let label = set.classes.iter().position(|c| c == class);
    let label = label.ok_or_else(|| format!("the class {class:?} is none of {:?}", set.classes))?;
    if parts.len() != set.channels {
        return Err(format!("{} channels where {} were expected", parts.len(), set.channels));
    }
    let (mut values, mut length) = (Vec::new(), None);
    for part in parts {
        let before = values.len();
        for word in part.split(',') {
            let value = word.trim().parse::<f32>().ok().filter(|v| v.is_finite());
            values.push(value.ok_or_else(|| format!("{:?} is no finite number", word.trim()))?);
        }
        let here = values.len() - before;
        let first = *length.get_or_insert(here);
        if here != first {
            return Err(format!("a channel of {here} values beside one of {first}"));
        }
    }
    Ok(Series { values, length: length.unwrap_or(0), label })
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Write;

    const TEXT: &str = "# a comment\n@Dimensions 2\n@classLabel true a b\n@data\n1,2,3:4,5,6:b\n7:8:a\n";

    #[test]
    fn reads_plain_and_gzipped_series() {
        let read = TimeSeries::from_bytes("x.ts", TEXT.as_bytes()).unwrap();
        assert_eq!((read.channels, read.classes.len(), read.length()), (2, 2, None));
        let want = [
            Series { values: vec![1.0, 2.0, 3.0, 4.0, 5.0, 6.0], length: 3, label: 1 },
            Series { values: vec![7.0, 8.0], length: 1, label: 0 },
        ];
        assert_eq!(read.series, want);
        let mut gzip = flate2::write::GzEncoder::new(Vec::new(), Default::default());
        gzip.write_all(TEXT.as_bytes()).unwrap();
        let mut gzip = gzip.finish().unwrap();
        assert_eq!(TimeSeries::from_bytes("x.ts", &gzip).unwrap(), read);
        gzip.truncate(gzip.len() / 2);
        assert!(matches!(TimeSeries::from_bytes("x.ts", &gzip), Err(DataError::CorruptGzip { .. })));
    }

    #[test]
    fn says_which_line_is_wrong() {
        let cases = [
            ("@classLabel true a\n", 1, "no @data"),
            ("@data\n1:a\n", 1, "no @classLabel"),
            ("@classLabel true a\n1:a\n", 2, "before @data"),
            ("@missing true\n", 1, "not supported"),
            ("@dimensions 0\n", 1, "above 0"),
            ("@classLabel true a\n@data\n1:b\n", 3, "none of"),
            ("@classLabel true a\n@data\n1:2:a\n", 3, "2 channels"),
            ("@classLabel true a\n@data\n1,?:a\n", 3, "no finite number"),
            ("@dimensions 2\n@classLabel true a\n@data\n1,2:3:a\n", 4, "1 values beside one of 2"),
        ];
        for (text, at, says) in cases {
            match TimeSeries::from_bytes("x.ts", text.as_bytes()) {
                Err(DataError::BadLine { line, what, .. }) => {
                    assert!(line == at && what.contains(says), "{text:?}: line {line}: {what}");
                }
                other => panic!("{text:?}: {other:?}"),
            }
        }
    }
}
