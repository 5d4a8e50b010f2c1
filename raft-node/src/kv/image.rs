//! The image of a store as a stream: what snapshots hold.
//!
//! Layout, all numbers little-endian: magic `RKVI`, version (8 bits), index (64), length of
//! the clients' sessions (32), those in their own encoding; then per pair the byte 1, length of key (32), length of value (32), key, value;
//! then the byte 0, the number of pairs (64), the hash of sessions and pairs (64). The end
//! of the stream follows. Pairs come in the order of keys.

use std::io::{self, Read};

use bytes::Bytes;
use raft_core::Index;

use super::hash::StableHash;
use super::performing::LIMITS;
use crate::sessions::Sessions;

const MAGIC: &[u8; 4] = b"RKVI";
const VERSION: u8 = 2;
const PAIR: u8 = 1;
const END: u8 = 0;

/// How much is encoded ahead of the reader.
const BUFFER_BYTES: usize = 64 * 1024;

/// A key and its value.
pub(super) type Pair = (Bytes, Bytes);

/// Reads the pairs that an iterator yields as an image. Holds about
/// [`BUFFER_BYTES`] and one pair in memory, however large the image is.
pub(super) struct ImageWriter<I> {
    pairs: I,
    count: u64,
    hash: StableHash,
    ended: bool,
    buffer: Vec<u8>,
    read: usize,
}

impl<I: Iterator<Item = io::Result<Pair>>> ImageWriter<I> {
    /// An image at `index` of `sessions` and of `pairs`, which are in the order of keys.
    ///
    /// # Panics
    /// Where the sessions take up 4 GiB.
    pub(super) fn new(index: Index, sessions: &Sessions, pairs: I) -> Self {
        let mut buffer = Vec::with_capacity(BUFFER_BYTES);
        buffer.extend_from_slice(MAGIC);
        buffer.push(VERSION);
        buffer.extend_from_slice(&index.0.to_le_bytes());
        let (sessions, mut hash) = (sessions.encode(), StableHash::new());
        let length = u32::try_from(sessions.len()).expect("sessions take up less than 4 GiB");
        buffer.extend_from_slice(&length.to_le_bytes());
        buffer.extend_from_slice(&sessions);
        hash.field(&sessions);
        Self { pairs, count: 0, hash, ended: false, buffer, read: 0 }
    }

    fn fill(&mut self) -> io::Result<()> {
        self.buffer.clear();
        self.read = 0;
        while !self.ended && self.buffer.len() < BUFFER_BYTES {
            match self.pairs.next().transpose()? {
                Some((key, value)) => self.pair(&key, &value)?,
                None => self.end(),
            }
        }
        Ok(())
    }

    fn pair(&mut self, key: &[u8], value: &[u8]) -> io::Result<()> {
        let length = |bytes: &[u8]| u32::try_from(bytes.len()).map_err(io::Error::other);
        self.buffer.push(PAIR);
        self.buffer.extend_from_slice(&length(key)?.to_le_bytes());
        self.buffer.extend_from_slice(&length(value)?.to_le_bytes());
        self.buffer.extend_from_slice(key);
        self.buffer.extend_from_slice(value);
        self.count += 1;
        self.hash.field(key);
        self.hash.field(value);
        Ok(())
    }

    fn end(&mut self) {
        self.ended = true;
        self.buffer.push(END);
        self.buffer.extend_from_slice(&self.count.to_le_bytes());
        self.buffer.extend_from_slice(&self.hash.value().to_le_bytes());
    }
}

impl<I: Iterator<Item = io::Result<Pair>>> Read for ImageWriter<I> {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        if self.read == self.buffer.len() && !self.ended {
            self.fill()?;
        }
        let ready = &self.buffer[self.read..];
        let take = ready.len().min(into.len());
        into[..take].copy_from_slice(&ready[..take]);
        self.read += take;
        Ok(take)
    }
}

/// The pairs of an image, checked while they are read.
pub(super) struct ImageReader<'a> {
    image: &'a mut dyn Read,
    sessions: Sessions,
    count: u64,
    hash: StableHash,
}

impl<'a> ImageReader<'a> {
    /// Reads the head of an image made at `index`.
    pub(super) fn new(index: Index, image: &'a mut dyn Read) -> io::Result<Self> {
        let (sessions, hash) = (Sessions::new(LIMITS), StableHash::new());
        let mut reader = Self { image, sessions, count: 0, hash };
        if &reader.array::<4>()? != MAGIC {
            return Err(damaged("it does not start as one"));
        }
        let [version] = reader.array()?;
        if version != VERSION {
            return Err(damaged(&format!("its version {version} is unknown here")));
        }
        let made_at = Index(u64::from_le_bytes(reader.array()?));
        if made_at != index {
            return Err(damaged(&format!("it was made at index {made_at}, not at {index}")));
        }
        let length = u32::from_le_bytes(reader.array()?);
        let sessions = reader.bytes(length)?;
        reader.hash.field(&sessions);
        let decoded = Sessions::decode(LIMITS, &sessions);
        reader.sessions = decoded.map_err(|why| damaged(&why.to_string()))?;
        Ok(reader)
    }

    /// The sessions. They are whole once [`next`](Self::next) has found the end.
    pub(super) fn into_sessions(self) -> Sessions {
        self.sessions
    }

    /// The next pair; `None` once the image ended as it should.
    pub(super) fn next(&mut self) -> io::Result<Option<Pair>> {
        match self.array()? {
            [PAIR] => {}
            [END] => return self.end().map(|()| None),
            [other] => return Err(damaged(&format!("{other} starts no pair"))),
        }
        let key_len = u32::from_le_bytes(self.array()?);
        let value_len = u32::from_le_bytes(self.array()?);
        let (key, value) = (self.bytes(key_len)?, self.bytes(value_len)?);
        self.count += 1;
        self.hash.field(&key);
        self.hash.field(&value);
        Ok(Some((key, value)))
    }

    fn end(&mut self) -> io::Result<()> {
        let count = u64::from_le_bytes(self.array()?);
        let hash = u64::from_le_bytes(self.array()?);
        if (count, hash) != (self.count, self.hash.value()) {
            let (got, got_hash) = (self.count, self.hash.value());
            return Err(damaged(&format!(
                "it announces {count} pairs with hash {hash:016x} and holds {got} with {got_hash:016x}"
            )));
        }
        match self.image.read(&mut [0])? {
            0 => Ok(()),
            _ => Err(damaged("it goes on after its end")),
        }
    }

    fn array<const N: usize>(&mut self) -> io::Result<[u8; N]> {
        let mut array = [0; N];
        self.image.read_exact(&mut array)?;
        Ok(array)
    }

    /// Reads `len` bytes without believing `len` before they are there.
    fn bytes(&mut self, len: u32) -> io::Result<Bytes> {
        let mut bytes = Vec::with_capacity((len as usize).min(BUFFER_BYTES));
        self.image.take(u64::from(len)).read_to_end(&mut bytes)?;
        if bytes.len() < len as usize {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        Ok(bytes.into())
    }
}

/// What an image holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ImageSummary {
    /// How many keys with their values.
    pub pairs: u64,
    /// How many sessions of clients.
    pub sessions: usize,
}

/// Reads an image that was made at `index` to its end.
///
/// # Errors
/// Where it is no image, damaged, or made at another index; or as `image` says.
pub fn check_image(index: Index, image: &mut dyn Read) -> io::Result<ImageSummary> {
    let mut reader = ImageReader::new(index, image)?;
    let mut pairs = 0;
    while reader.next()?.is_some() {
        pairs += 1;
    }
    Ok(ImageSummary { pairs, sessions: reader.into_sessions().len() })
}

/// The hash that an image of `sessions` and `pairs` ends with.
pub(super) fn state_hash(
    sessions: &Sessions,
    pairs: impl Iterator<Item = io::Result<Pair>>,
) -> io::Result<u64> {
    let mut hash = StableHash::new();
    hash.field(&sessions.encode());
    for pair in pairs {
        let (key, value) = pair?;
        hash.field(&key);
        hash.field(&value);
    }
    Ok(hash.value())
}

fn damaged(why: &str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, format!("not a usable store image: {why}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sessions() -> Sessions {
        let mut sessions = Sessions::new(LIMITS);
        sessions.open(Index(3), std::time::Duration::from_secs(1)).unwrap();
        sessions
    }

    fn image(pairs: &[(&'static str, &'static str)]) -> Vec<u8> {
        let pairs = pairs.iter().map(|(k, v)| Ok((Bytes::from(*k), Bytes::from(*v))));
        let mut out = Vec::new();
        ImageWriter::new(Index(7), &sessions(), pairs).read_to_end(&mut out).unwrap();
        out
    }

    fn read(mut image: &[u8]) -> io::Result<Vec<Pair>> {
        let mut reader = ImageReader::new(Index(7), &mut image)?;
        let mut pairs = Vec::new();
        while let Some(pair) = reader.next()? {
            pairs.push(pair);
        }
        assert_eq!(reader.into_sessions(), sessions());
        Ok(pairs)
    }

    #[test]
    fn an_image_holds_what_was_written() {
        assert_eq!(read(&image(&[])).unwrap(), []);
        let pairs = read(&image(&[("a", "1"), ("b", "")])).unwrap();
        assert_eq!(pairs, [("a".into(), "1".into()), ("b".into(), "".into())]);
    }

    #[test]
    fn every_cut_and_every_changed_bit_is_noticed() {
        let whole = image(&[("a", "1"), ("b", "22")]);
        for cut in 0..whole.len() {
            assert!(read(&whole[..cut]).is_err(), "cut at {cut}");
        }
        for bit in 0..whole.len() * 8 {
            let mut changed = whole.clone();
            changed[bit / 8] ^= 1 << (bit % 8);
            assert!(read(&changed).is_err(), "bit {bit}");
        }
        let longer = [whole, vec![0]].concat();
        assert!(read(&longer).is_err());
    }

    #[test]
    fn an_image_larger_than_the_buffer_arrives_whole() {
        let value = Bytes::from(vec![7; 10_000]);
        let pairs = (0..50_u8).map(|k| Ok((Bytes::from(vec![k]), value.clone())));
        let mut out = Vec::new();
        ImageWriter::new(Index(7), &sessions(), pairs).read_to_end(&mut out).unwrap();
        assert_eq!(read(&out).unwrap().len(), 50);
    }
}
