//! The WAV format: sound as plain samples.
//!
//! ```text
//! "RIFF"  size  "WAVE"     size: bytes that follow it, u32; all numbers are little-endian
//! chunks                   four letters, size: u32, so many bytes, and one more where that is odd
//!   "fmt "                 encoding, channels: u16; frames per second, bytes per second: u32;
//!                          bytes per frame, bits per sample: u16
//!   "data"                 frames: one sample of each channel, side by side
//! ```
//! Read are unsigned bytes and signed 16-bit numbers (encoding 1), and 32-bit floating-point numbers (encoding 3), also
//! where a longer `fmt ` of encoding 0xfffe says so. Other chunks are skipped. Lengths must be those of the file: one that
//! ends early or goes on is refused. Source: IBM and Microsoft, "Multimedia Programming Interface and Data Specifications
//! 1.0", 1991; Microsoft, "Multiple Channel Audio Data and WAVE Files", 2007.

use super::DataError;
use std::io::Read;
use std::path::{Path, PathBuf};

/// The longest file that is read, in bytes.
pub const MAX_BYTES: u64 = 1 << 30;

const INTEGERS: u16 = 1;
const FLOATS: u16 = 3;
const EXTENSIBLE: u16 = 0xfffe;
/// What follows the encoding in an extensible format's identifier (its KSDATAFORMAT_SUBTYPE).
const SUBTYPE: [u8; 14] = [0, 0, 0, 0, 0x10, 0, 0x80, 0, 0, 0xaa, 0, 0x38, 0x9b, 0x71];

/// A sound.
#[derive(Clone, Debug, PartialEq)]
pub struct Wav {
    /// Where it was read from.
    pub path: PathBuf,
    /// Frames per second.
    pub sample_rate: u32,
    /// Samples of a frame.
    pub channels: usize,
    /// `[frames, channels]`. Integers are brought to -1..1; floating-point samples are as in the file.
    pub samples: Vec<f32>,
}

impl Wav {
    /// Reads the file at `path`.
    ///
    /// # Errors
    /// [`DataError::Io`] and [`DataError::TooLarge`] for the file; [`NotWav`](DataError::NotWav),
    /// [`Truncated`](DataError::Truncated), [`TrailingBytes`](DataError::TrailingBytes), [`BadWav`](DataError::BadWav) and
    /// [`UnsupportedWav`](DataError::UnsupportedWav) for what is wrong with its contents.
    #[cfg(not(target_arch = "wasm32"))]
    pub fn from_path(path: impl AsRef<Path>) -> Result<Wav, DataError> {
        let path = path.as_ref();
        let io = |source| DataError::Io { path: path.into(), source };
        let file = std::fs::File::open(path).map_err(io)?;
        let mut bytes = Vec::new();
        file.take(MAX_BYTES + 1).read_to_end(&mut bytes).map_err(io)?;
        Wav::from_bytes(path, &bytes)
    }

    /// Reads a file from memory; `path` only names it in errors.
    ///
    /// # Errors
    /// As [`Wav::from_path`], but for [`DataError::Io`].
    pub fn from_bytes(path: impl AsRef<Path>, bytes: &[u8]) -> Result<Wav, DataError> {
        File { path: path.as_ref(), bytes }.wav()
    }

    /// Samples of each channel.
    pub fn frames(&self) -> usize {
        self.samples.len() / self.channels
    }

    /// One sample per frame: the mean of its channels.
    pub fn mono(&self) -> Vec<f32> {
        let mean = |frame: &[f32]| frame.iter().sum::<f32>() / self.channels as f32;
        self.samples.chunks_exact(self.channels).map(mean).collect()
    }
}

struct File<'a> {
    path: &'a Path,
    bytes: &'a [u8],
}

/// How samples are stored.
#[derive(Clone, Copy)]
struct Format {
    encoding: u16,
    channels: u16,
    sample_rate: u32,
    frame_bytes: u16,
    bits: u16,
}

impl<'a> File<'a> {
    fn wav(&self) -> Result<Wav, DataError> {
        let path = || self.path.to_owned();
        let found = self.bytes.len() as u64;
        if found > MAX_BYTES {
            return Err(DataError::TooLarge { path: path(), declared: found, limit: MAX_BYTES });
        }
        let magic = self.bytes.first_chunk().copied().unwrap_or_default();
        if found >= 4 && magic != *b"RIFF" {
            return Err(DataError::NotWav { path: path(), found: magic });
        }
        let head = self.part(0, 12)?;
        if head[8..] != *b"WAVE" {
            return Err(self.bad(8, "a RIFF file of another kind than WAVE"));
        }
        let expected = 8 + u64::from(u32_at(head, 4));
        if found < expected {
            return Err(DataError::Truncated { path: path(), expected, found });
        }
        if found > expected {
            return Err(DataError::TrailingBytes { path: path(), expected });
        }
        self.chunks()
    }

    fn chunks(&self) -> Result<Wav, DataError> {
        let (mut at, mut format, mut samples) = (12, None, None);
        while at < self.bytes.len() as u64 {
            let head = self.part(at, 8)?;
            let size = u64::from(u32_at(head, 4));
            let body = self.part(at + 8, size)?;
            match &head[..4] {
                b"fmt " if format.is_some() => return Err(self.bad(at, "a second chunk \"fmt \"")),
                b"fmt " => format = Some(self.format(at + 8, body)?),
                b"data" if samples.is_some() => return Err(self.bad(at, "a second chunk \"data\"")),
                b"data" => match format {
                    Some(format) => samples = Some(self.samples(at + 8, body, format)?),
                    None => return Err(self.bad(at, "a chunk \"data\" before any \"fmt \"")),
                },
                _ => {}
            }
            // Some writers leave out the byte that fills up an odd chunk at the file's end.
            at += 8 + size + size % 2;
        }
        match (format, samples) {
            (Some(format), Some(samples)) => Ok(Wav {
                path: self.path.to_owned(),
                sample_rate: format.sample_rate,
                channels: format.channels.into(),
                samples,
            }),
            (None, _) => Err(self.bad(at, "no chunk \"fmt \"")),
            (_, None) => Err(self.bad(at, "no chunk \"data\"")),
        }
    }

    fn format(&self, at: u64, body: &[u8]) -> Result<Format, DataError> {
        if body.len() < 16 {
            return Err(self.bad(at, &format!("a chunk \"fmt \" of {} bytes", body.len())));
        }
        let mut format = Format {
            encoding: u16_at(body, 0),
            channels: u16_at(body, 2),
            sample_rate: u32_at(body, 4),
            frame_bytes: u16_at(body, 12),
            bits: u16_at(body, 14),
        };
        if format.encoding == EXTENSIBLE {
            if body.len() < 40 || u16_at(body, 16) < 22 {
                return Err(self.bad(at, "an extensible format that is too short"));
            }
            // Fewer valid bits than stored ones are no other encoding: the rest is 0.
            if body[26..40] == SUBTYPE {
                format.encoding = u16_at(body, 24);
            }
        }
        let Format { encoding, channels, sample_rate, frame_bytes, bits } = format;
        if !matches!((encoding, bits), (INTEGERS, 8 | 16) | (FLOATS, 32)) {
            return Err(DataError::UnsupportedWav { path: self.path.to_owned(), encoding, bits });
        }
        if channels == 0 || sample_rate == 0 {
            let what = format!("{channels} channels at {sample_rate} frames per second");
            return Err(self.bad(at, &what));
        }
        if u32::from(frame_bytes) != u32::from(channels) * u32::from(bits / 8) {
            let what = format!("frames of {frame_bytes} bytes for {channels} samples of {bits} bits");
            return Err(self.bad(at, &what));
        }
        Ok(format)
    }

    fn samples(&self, at: u64, body: &[u8], format: Format) -> Result<Vec<f32>, DataError> {
        let frame = usize::from(format.frame_bytes);
        if !body.len().is_multiple_of(frame) {
            return Err(self.bad(at, &format!("{} bytes are not whole frames of {frame}", body.len())));
        }
        let samples: Vec<f32> = match format.bits {
            8 => body.iter().map(|&b| (f32::from(b) - 128.0) / 128.0).collect(),
            16 => {
                let sample = |b: &[u8]| f32::from(i16::from_le_bytes([b[0], b[1]])) / 32768.0;
                body.chunks_exact(2).map(sample).collect()
            }
            _ => body.chunks_exact(4).map(|b| f32::from_bits(u32_at(b, 0))).collect(),
        };
        match samples.iter().position(|v| !v.is_finite()) {
            Some(i) => Err(self.bad(at + 4 * i as u64, &format!("the sample {}", samples[i]))),
            None => Ok(samples),
        }
    }

    /// `len` bytes from byte `at` on.
    fn part(&self, at: u64, len: u64) -> Result<&'a [u8], DataError> {
        let (found, expected) = (self.bytes.len() as u64, at + len);
        match expected <= found {
            true => Ok(&self.bytes[at as usize..expected as usize]),
            false => Err(DataError::Truncated { path: self.path.to_owned(), expected, found }),
        }
    }

    fn bad(&self, at: u64, what: &str) -> DataError {
        DataError::BadWav { path: self.path.to_owned(), at, what: what.into() }
    }
}

fn u16_at(bytes: &[u8], at: usize) -> u16 {
    u16::from_le_bytes([bytes[at], bytes[at + 1]])
}

fn u32_at(bytes: &[u8], at: usize) -> u32 {
    u32::from_le_bytes([bytes[at], bytes[at + 1], bytes[at + 2], bytes[at + 3]])
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A file of chunks, each with its size and filled up.
    fn riff(chunks: &[(&[u8; 4], Vec<u8>)]) -> Vec<u8> {
        let mut body = b"WAVE".to_vec();
        for (name, data) in chunks {
            body.extend(*name);
            body.extend((data.len() as u32).to_le_bytes());
            body.extend(data);
            body.resize(body.len().next_multiple_of(2), 0);
        }
        [b"RIFF".to_vec(), (body.len() as u32).to_le_bytes().to_vec(), body].concat()
    }

    fn format(encoding: u16, channels: u16, bits: u16) -> Vec<u8> {
        let frame = channels * bits / 8;
        let rate = 16_000u32;
        let words = [encoding, channels, rate as u16, 0, rate as u16, 0, frame, bits];
        words.iter().flat_map(|w| w.to_le_bytes()).collect()
    }

    fn extended(encoding: u16, channels: u16, bits: u16) -> Vec<u8> {
        let words = [22, bits, 3, 0, encoding].map(u16::to_le_bytes).concat();
        [format(EXTENSIBLE, channels, bits), words, SUBTYPE.to_vec()].concat()
    }

    fn read(bytes: &[u8]) -> Result<Wav, DataError> {
        Wav::from_bytes("x.wav", bytes)
    }

    #[test]
    fn reads_every_kind_of_samples() {
        let pcm16: Vec<u8> = [-32768i16, 0, 16384, 32767].iter().flat_map(|v| v.to_le_bytes()).collect();
        let floats: Vec<u8> = [-1.5f32, 0.25].iter().flat_map(|v| v.to_le_bytes()).collect();
        let cases = [
            (format(1, 1, 16), pcm16.clone(), 1, vec![-1.0, 0.0, 0.5, 32767.0 / 32768.0]),
            (format(1, 2, 16), pcm16.clone(), 2, vec![-1.0, 0.0, 0.5, 32767.0 / 32768.0]),
            (extended(1, 1, 16), pcm16, 1, vec![-1.0, 0.0, 0.5, 32767.0 / 32768.0]),
            (format(1, 1, 8), vec![0, 128, 192], 1, vec![-1.0, 0.0, 0.5]),
            (format(3, 1, 32), floats.clone(), 1, vec![-1.5, 0.25]),
            (extended(3, 2, 32), floats, 2, vec![-1.5, 0.25]),
            (format(1, 1, 16), vec![], 1, vec![]),
        ];
        for (format, data, channels, samples) in cases {
            let note = (b"LIST", vec![1, 2, 3]);
            let bytes = riff(&[note.clone(), (b"fmt ", format), note.clone(), (b"data", data), note]);
            let want = Wav { path: "x.wav".into(), sample_rate: 16_000, channels, samples };
            assert_eq!(read(&bytes).unwrap(), want);
        }
    }

    #[test]
    fn channels_are_mixed_down() {
        let data = [0, 255, 64, 192].to_vec();
        let wav = read(&riff(&[(b"fmt ", format(1, 2, 8)), (b"data", data)])).unwrap();
        assert_eq!((wav.frames(), wav.mono()), (2, vec![-0.5 / 128.0, 0.0]));
    }

    #[test]
    fn the_last_chunk_may_lack_its_filling() {
        let mut bytes = riff(&[(b"fmt ", format(1, 1, 8)), (b"data", vec![128; 5])]);
        bytes.pop();
        let size = bytes.len() as u32 - 8;
        bytes[4..8].copy_from_slice(&size.to_le_bytes());
        assert_eq!(read(&bytes).unwrap().samples, [0.0; 5]);
    }

    #[test]
    fn says_what_is_wrong() {
        let data = || (b"data", vec![0; 8]);
        let fmt = || (b"fmt ", format(1, 1, 16));
        let changed = |at: usize, to: u8| {
            let mut format = format(1, 1, 16);
            format[at] = to;
            (b"fmt ", format)
        };
        let not_a_number = f32::NAN.to_le_bytes().to_vec();
        let cases: [(&[_], &str); 13] = [
            (&[], "byte 12: no chunk \"fmt \""),
            (&[fmt()], "byte 36: no chunk \"data\""),
            (&[data(), fmt()], "byte 12: a chunk \"data\" before"),
            (&[fmt(), fmt(), data()], "byte 36: a second chunk \"fmt \""),
            (&[fmt(), data(), data()], "byte 52: a second chunk \"data\""),
            (&[(b"fmt ", vec![1, 0, 1, 0]), data()], "byte 20: a chunk \"fmt \" of 4 bytes"),
            (&[(b"fmt ", format(EXTENSIBLE, 1, 16)), data()], "extensible format that is too short"),
            (&[(b"fmt ", format(1, 0, 16)), data()], "0 channels at 16000"),
            (&[(b"fmt ", format(1, 1, 24)), data()], "encoding 0x0001 with 24 bits"),
            (&[(b"fmt ", extended(7, 1, 8)), data()], "encoding 0x0007 with 8 bits"),
            (&[changed(12, 3), data()], "frames of 3 bytes for 1 samples of 16 bits"),
            (&[fmt(), (b"data", vec![0; 7])], "byte 44: 7 bytes are not whole frames of 2"),
            (&[(b"fmt ", format(3, 1, 32)), (b"data", not_a_number)], "byte 44: the sample NaN"),
        ];
        for (chunks, says) in cases {
            let error = read(&riff(chunks)).unwrap_err().to_string();
            assert!(error.starts_with("x.wav") && error.contains(says), "{error:?} instead of {says:?}");
        }
        assert!(
            matches!(read(b"OggS-and-more-bytes"), Err(DataError::NotWav { found, .. }) if found == *b"OggS")
        );
        let mut other = riff(&[fmt(), data()]);
        other[8..12].copy_from_slice(b"AVI ");
        assert!(read(&other).unwrap_err().to_string().contains("another kind than WAVE"));
    }

    #[test]
    fn lengths_that_lie_are_found() {
        let whole = riff(&[(b"fmt ", format(1, 1, 16)), (b"LIST", vec![1, 2, 3]), (b"data", vec![0; 8])]);
        for len in 0..whole.len() {
            let cut = read(&whole[..len]);
            assert!(matches!(cut, Err(DataError::Truncated { .. })), "{len} bytes: {cut:?}");
            // A header that agrees with the shorter file moves the fault to the chunks.
            let mut bytes = whole[..len].to_vec();
            if len >= 12 {
                bytes[4..8].copy_from_slice(&(len as u32 - 8).to_le_bytes());
                assert!(read(&bytes).is_err(), "{len} bytes");
            }
        }
        let longer = [whole.clone(), vec![0]].concat();
        assert!(
            matches!(read(&longer), Err(DataError::TrailingBytes { expected, .. }) if expected as usize == whole.len())
        );
        for at in [4, 16, 40, 52] {
            let mut bytes = whole.clone();
            bytes[at..at + 4].fill(0xff);
            let long = read(&bytes);
            assert!(matches!(long, Err(DataError::Truncated { .. })), "size at byte {at}: {long:?}");
        }
        // Whatever a byte is changed to, the reader ends with a result.
        for at in 0..whole.len() {
            for value in 0..=255 {
                let mut bytes = whole.clone();
                bytes[at] = value;
                let _ = read(&bytes);
            }
        }
    }
}
