//! Reads zip archives: what NumPy writes of the format, and no more.
//!
//! An archive ends with a directory of its members: name, method, sizes, checksum, place. Members are stored or deflated;
//! sizes and places above 32 bits lie in "zip64" fields. Not read: encrypted members, other methods, archives in several
//! parts. Source: PKWARE, "APPNOTE.TXT, .ZIP file format specification", 6.3.10.

use super::CheckpointError;
use flate2::Crc;
use flate2::read::DeflateDecoder;
use std::collections::BTreeMap;
use std::io::{self, Read, Seek, SeekFrom};

/// No deflate stream expands more than this: 258 bytes from two bits (RFC 1951, section 3.2.5).
const MAX_DEFLATE_RATIO: u64 = 1032;
/// Bytes of the record at the end, without its comment, which has at most 65,535 bytes.
const END: u64 = 22;
const END_SIGNATURE: u32 = 0x0605_4b50;
const END64: u64 = 56;
const END64_SIGNATURE: u32 = 0x0606_4b50;
const LOCATOR: u64 = 20;
const LOCATOR_SIGNATURE: u32 = 0x0706_4b50;
const ENTRY: usize = 46;
const ENTRY_SIGNATURE: u32 = 0x0201_4b50;
const LOCAL: u64 = 30;
const LOCAL_SIGNATURE: u32 = 0x0403_4b50;
const STORED: u16 = 0;
const DEFLATED: u16 = 8;

/// An archive whose directory was read and checked.
pub(super) struct Zip<R> {
    reader: R,
    path: String,
    /// Bytes in front of the directory: members lie there.
    directory: u64,
    members: BTreeMap<String, Member>,
}

#[derive(Clone, Copy)]
struct Member {
    method: u16,
    checksum: u32,
    compressed: u64,
    size: u64,
    /// Where its own header begins.
    header: u64,
}

fn bad(reason: impl Into<String>) -> CheckpointError {
    CheckpointError::Archive { reason: reason.into() }
}

fn u16_at(bytes: &[u8], at: usize) -> u16 {
    u16::from_le_bytes([bytes[at], bytes[at + 1]])
}

fn u32_at(bytes: &[u8], at: usize) -> u32 {
    u32::from_le_bytes(std::array::from_fn(|i| bytes[at + i]))
}

fn u64_at(bytes: &[u8], at: usize) -> u64 {
    u64::from_le_bytes(std::array::from_fn(|i| bytes[at + i]))
}

impl<R: Read + Seek> Zip<R> {
    /// Reads the directory of an archive of `bytes` bytes. Nothing is allocated that the file does not hold.
    pub fn read(reader: R, bytes: u64, path: String) -> Result<Zip<R>, CheckpointError> {
        let mut zip = Zip { reader, path, directory: bytes, members: BTreeMap::new() };
        if bytes < END {
            return Err(bad(format!("{bytes} bytes are too few")));
        }
        let tail = zip.at(bytes - bytes.min(END + 65_535), bytes.min(END + 65_535))?;
        // The record's comment reaches exactly to the end of the file.
        let is_end = |&at: &usize| {
            let length = tail.len() - END as usize - at;
            u32_at(&tail, at) == END_SIGNATURE && usize::from(u16_at(&tail, at + 20)) == length
        };
        let at = (0..=tail.len() - END as usize)
            .rev()
            .find(is_end)
            .ok_or_else(|| bad("no directory at its end"))?;
        let end = &tail[at..];
        let place = bytes - (tail.len() - at) as u64;
        let (mut count, mut size, mut start) =
            (u64::from(u16_at(end, 10)), u64::from(u32_at(end, 12)), u64::from(u32_at(end, 16)));
        let mut limit = place;
        let locator = match place.checked_sub(LOCATOR) {
            Some(place) => Some((place, zip.at(place, LOCATOR)?)),
            None => None,
        };
        if let Some((place, locator)) = locator.filter(|(_, l)| u32_at(l, 0) == LOCATOR_SIGNATURE) {
            let end64 = u64_at(&locator, 8);
            if end64.checked_add(END64).is_none_or(|behind| behind > place) {
                return Err(bad("its zip64 directory lies outside"));
            }
            let record = zip.at(end64, END64)?;
            if u32_at(&record, 0) != END64_SIGNATURE {
                return Err(bad("no zip64 directory where one is announced"));
            }
            (count, size, start) = (u64_at(&record, 32), u64_at(&record, 40), u64_at(&record, 48));
            limit = end64;
        } else if u16_at(end, 4) != 0 || u16_at(end, 6) != 0 {
            return Err(bad("it is one of several parts"));
        }
        if start.checked_add(size).is_none_or(|behind| behind > limit) {
            return Err(bad("its directory lies outside"));
        }
        zip.directory = start;
        let directory = zip.at(start, size)?;
        zip.read_directory(&directory, count)?;
        Ok(zip)
    }

    fn read_directory(&mut self, mut rest: &[u8], count: u64) -> Result<(), CheckpointError> {
        for _ in 0..count {
            if rest.len() < ENTRY || u32_at(rest, 0) != ENTRY_SIGNATURE {
                return Err(bad("its directory is damaged"));
            }
            let [name, extra, comment] = [28, 30, 32].map(|at| usize::from(u16_at(rest, at)));
            let behind = ENTRY + name + extra + comment;
            if rest.len() < behind {
                return Err(bad("its directory is damaged"));
            }
            let text = std::str::from_utf8(&rest[ENTRY..ENTRY + name]);
            let text = text.map_err(|_| bad("a name is not UTF-8"))?.to_string();
            if u16_at(rest, 8) & 1 != 0 {
                return Err(bad(format!("{text} is encrypted")));
            }
            let narrow = [20, 24, 42].map(|at| u32_at(rest, at));
            let wide = wide(narrow, &rest[ENTRY + name..ENTRY + name + extra]);
            let [compressed, size, header] =
                wide.ok_or_else(|| bad(format!("the sizes of {text} are damaged")))?;
            let (method, checksum) = (u16_at(rest, 10), u32_at(rest, 16));
            let possible = match method {
                STORED => size == compressed,
                DEFLATED => size <= compressed.saturating_mul(MAX_DEFLATE_RATIO),
                _ => return Err(bad(format!("{text} is packed by method {method}, not stored or deflated"))),
            };
            if !possible || compressed > self.directory {
                return Err(bad(format!("{text} cannot have {size} bytes in {compressed}")));
            }
            let member = Member { method, checksum, compressed, size, header };
            if self.members.insert(text.clone(), member).is_some() {
                return Err(bad(format!("{text} is there twice")));
            }
            rest = &rest[behind..];
        }
        if rest.is_empty() { Ok(()) } else { Err(bad("its directory is longer than its members")) }
    }

    /// Names of the members, in alphabetical order.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.members.keys().map(String::as_str)
    }

    /// Bytes of a member, decompressed.
    ///
    /// # Panics
    /// When there is no such member.
    pub fn size(&self, name: &str) -> u64 {
        self.members[name].size
    }

    /// The first `most` bytes of a member, or all it has; its checksum is compared where it is read to its end.
    ///
    /// # Panics
    /// When there is no such member.
    pub fn start_of(&mut self, name: &str, most: u64) -> Result<Vec<u8>, CheckpointError> {
        let member = self.members[name];
        let damaged = |what: &str| bad(format!("{name} {what}"));
        if member.header.checked_add(LOCAL).is_none_or(|behind| behind > self.directory) {
            return Err(damaged("lies outside"));
        }
        let local = self.at(member.header, LOCAL)?;
        if u32_at(&local, 0) != LOCAL_SIGNATURE {
            return Err(damaged("has no header where it should be"));
        }
        let start = member.header + LOCAL + u64::from(u16_at(&local, 26)) + u64::from(u16_at(&local, 28));
        if start.checked_add(member.compressed).is_none_or(|behind| behind > self.directory) {
            return Err(damaged("lies outside"));
        }
        self.reader.seek(SeekFrom::Start(start)).map_err(|error| self.io(error))?;
        let packed = self.reader.by_ref().take(member.compressed);
        let wanted = most.min(member.size);
        // One byte more than there may be, where all of it is read.
        let limit = wanted + u64::from(wanted == member.size);
        let mut bytes = Vec::new();
        let read = match member.method {
            STORED => packed.take(limit).read_to_end(&mut bytes),
            _ => DeflateDecoder::new(packed).take(limit).read_to_end(&mut bytes),
        };
        match read {
            Err(error) if error.kind() == io::ErrorKind::InvalidInput => return Err(damaged("is damaged")),
            Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => {
                return Err(damaged("ends too early"));
            }
            Err(error) => return Err(self.io(error)),
            Ok(_) => {}
        }
        if bytes.len() as u64 != wanted {
            return Err(damaged("has another size than the directory says"));
        }
        if wanted == member.size {
            let mut checksum = Crc::new();
            checksum.update(&bytes);
            if checksum.sum() != member.checksum {
                return Err(damaged("is damaged: its checksum differs"));
            }
        }
        Ok(bytes)
    }

    /// `count` bytes at `place`, which the file has.
    fn at(&mut self, place: u64, count: u64) -> Result<Vec<u8>, CheckpointError> {
        let mut bytes = vec![0; count as usize];
        let read = self.reader.seek(SeekFrom::Start(place)).and_then(|_| self.reader.read_exact(&mut bytes));
        read.map_err(|error| self.io(error))?;
        Ok(bytes)
    }

    fn io(&self, error: io::Error) -> CheckpointError {
        CheckpointError::Io { path: self.path.clone(), error: std::sync::Arc::new(error) }
    }
}

/// Compressed size, size and place of a member: those that do not fit 32 bits lie in the extra field of number 1.
fn wide([compressed, size, header]: [u32; 3], extra: &[u8]) -> Option<[u64; 3]> {
    let mut values = [compressed, size, header].map(u64::from);
    if values.iter().all(|&v| v != u64::from(u32::MAX)) {
        return Some(values);
    }
    let mut rest = extra;
    while rest.len() >= 4 {
        let (number, length) = (u16_at(rest, 0), usize::from(u16_at(rest, 2)));
        let mut field = rest.get(4..4 + length)?;
        if number == 1 {
            // In this order, each only if it is needed.
            for i in [1, 0, 2] {
                if values[i] == u64::from(u32::MAX) {
                    values[i] = u64_at(field.get(..8)?, 0);
                    field = &field[8..];
                }
            }
            return Some(values);
        }
        rest = &rest[4 + length..];
    }
    None
}
