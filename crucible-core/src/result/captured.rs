//! Captured output: bounded, counted, hashed.

use std::borrow::Cow;
use std::collections::VecDeque;

use bytes::Bytes;
use serde::{Deserialize, Serialize};

use crate::model::{Digest, DigestStream, wire_bytes};

/// An output stream of a program.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum OutputStream {
    /// File descriptor 1.
    Stdout,
    /// File descriptor 2.
    Stderr,
}

impl std::fmt::Display for OutputStream {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Stdout => "stdout",
            Self::Stderr => "stderr",
        })
    }
}

/// The captured output of one stream: its beginning and its end, the exact byte count, and the hash
/// of the whole stream.
///
/// The bytes are hostile and can contain terminal escape sequences. On the wire, the beginning is
/// `text`, or `base64` if it is not UTF-8. If bytes between were dropped, the end is `tail_text` or
/// `tail_base64`. A character that the gap would cut is dropped as a whole.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(into = "CapturedWire", try_from = "CapturedWire")]
#[non_exhaustive]
pub struct Captured {
    /// The first bytes; the whole stream if nothing was dropped.
    pub head: Bytes,
    /// The last bytes, after the gap; empty if nothing was dropped.
    pub tail: Bytes,
    /// The number of bytes that the program wrote.
    pub total_bytes: u64,
    /// The hash of the whole stream, including the dropped bytes.
    pub sha256: Digest,
}

impl Captured {
    /// Creates the capture of a stream without a gap.
    #[must_use]
    pub fn complete(bytes: Bytes) -> Self {
        Self {
            total_bytes: bytes.len() as u64,
            sha256: Digest::of(&bytes),
            head: bytes,
            tail: Bytes::new(),
        }
    }

    /// Creates the capture of an empty stream.
    #[must_use]
    pub fn empty() -> Self {
        Self::complete(Bytes::new())
    }

    /// Returns `true` if bytes were dropped between [`head`](Self::head) and [`tail`](Self::tail).
    #[must_use]
    pub fn is_truncated(&self) -> bool {
        self.omitted_bytes() > 0
    }

    /// Returns the number of dropped bytes.
    #[must_use]
    pub fn omitted_bytes(&self) -> u64 {
        self.total_bytes.saturating_sub(self.head.len() as u64 + self.tail.len() as u64)
    }

    /// Returns the kept bytes as text. Bytes that are not UTF-8 become `U+FFFD`. The gap shows the
    /// number of dropped bytes.
    #[must_use]
    pub fn to_text(&self) -> Cow<'_, str> {
        if !self.is_truncated() {
            return String::from_utf8_lossy(&self.head);
        }
        let (head, tail) =
            (String::from_utf8_lossy(&self.head), String::from_utf8_lossy(&self.tail));
        Cow::Owned(format!("{head}\n[{} bytes omitted]\n{tail}", self.omitted_bytes()))
    }
}

/// The wire form of [`Captured`].
#[derive(Serialize, Deserialize)]
struct CapturedWire {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    text: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    base64: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    tail_text: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    tail_base64: Option<String>,
    total_bytes: u64,
    truncated: bool,
    sha256: Digest,
}

impl From<Captured> for CapturedWire {
    fn from(captured: Captured) -> Self {
        let split = |bytes: &[u8]| match wire_bytes::encode(bytes) {
            Ok(text) => (Some(text.to_owned()), None),
            Err(base64) => (None, Some(base64)),
        };
        let (text, base64) = split(&captured.head);
        let (tail_text, tail_base64) =
            if captured.is_truncated() { split(&captured.tail) } else { (None, None) };
        Self {
            text,
            base64,
            tail_text,
            tail_base64,
            total_bytes: captured.total_bytes,
            truncated: captured.is_truncated(),
            sha256: captured.sha256,
        }
    }
}

/// An error for a [`CapturedWire`] that contradicts itself.
#[derive(Debug, thiserror::Error)]
enum CapturedWireError {
    #[error("a captured stream has `text` or `base64`, not both")]
    Both,
    #[error("a captured stream has invalid base64")]
    Base64(#[source] base64::DecodeError),
    #[error("a captured stream has more bytes than its total")]
    Count,
}

impl TryFrom<CapturedWire> for Captured {
    type Error = CapturedWireError;

    fn try_from(wire: CapturedWire) -> Result<Self, CapturedWireError> {
        let join = |text: Option<String>, base64: Option<String>| match (text, base64) {
            (Some(_), Some(_)) => Err(CapturedWireError::Both),
            (Some(text), None) => Ok(Bytes::from(text.into_bytes())),
            (None, Some(base64)) => {
                wire_bytes::decode_base64(&base64).map_err(CapturedWireError::Base64)
            }
            (None, None) => Ok(Bytes::new()),
        };
        let captured = Self {
            head: join(wire.text, wire.base64)?,
            tail: join(wire.tail_text, wire.tail_base64)?,
            total_bytes: wire.total_bytes,
            sha256: wire.sha256,
        };
        let kept = captured.head.len() as u64 + captured.tail.len() as u64;
        if kept > captured.total_bytes || wire.truncated != captured.is_truncated() {
            return Err(CapturedWireError::Count);
        }
        Ok(captured)
    }
}

/// A collector of a stream into a [`Captured`]. It holds at most `budget` bytes.
#[derive(Debug)]
pub struct Capture {
    head: Vec<u8>,
    /// INVARIANT: empty until `head` is full.
    tail: VecDeque<u8>,
    head_budget: usize,
    tail_budget: usize,
    total_bytes: u64,
    digest: DigestStream,
}

impl Capture {
    /// Creates a collector that keeps at most `budget` bytes, half from the beginning and half from
    /// the end.
    #[must_use]
    pub fn new(budget: usize) -> Self {
        Self {
            head: Vec::new(),
            tail: VecDeque::new(),
            head_budget: budget - budget / 2,
            tail_budget: budget / 2,
            total_bytes: 0,
            digest: DigestStream::new(),
        }
    }

    /// Adds the next bytes of the stream.
    pub fn push(&mut self, bytes: &[u8]) {
        self.total_bytes = self.total_bytes.saturating_add(bytes.len() as u64);
        self.digest.push(bytes);
        let (first, rest) = bytes.split_at(bytes.len().min(self.head_budget - self.head.len()));
        self.head.extend_from_slice(first);
        let last = rest.len().min(self.tail_budget);
        let excess = (self.tail.len() + last).saturating_sub(self.tail_budget);
        self.tail.drain(..excess);
        self.tail.extend(rest.iter().skip(rest.len() - last));
    }

    /// Returns the number of bytes so far.
    #[must_use]
    pub fn total_bytes(&self) -> u64 {
        self.total_bytes
    }

    /// Returns the captured output.
    #[must_use]
    pub fn finish(self) -> Captured {
        let Self { mut head, tail, total_bytes, digest, .. } = self;
        let mut tail = Vec::from(tail);
        if head.len() as u64 + tail.len() as u64 == total_bytes {
            head.append(&mut tail);
        } else {
            head.truncate(head.len() - split_character_at_end(&head));
            tail.drain(..split_character_at_start(&tail));
        }
        Captured { head: head.into(), tail: tail.into(), total_bytes, sha256: digest.finish() }
    }
}

/// Returns the length of an incomplete UTF-8 character at the end; 0 if the other bytes are not
/// UTF-8.
fn split_character_at_end(bytes: &[u8]) -> usize {
    match std::str::from_utf8(bytes) {
        Err(error) if error.error_len().is_none() => bytes.len() - error.valid_up_to(),
        _ => 0,
    }
}

/// Returns the length of the rest of a UTF-8 character at the start, at most three; 0 if the other
/// bytes are not UTF-8.
fn split_character_at_start(bytes: &[u8]) -> usize {
    let continued = bytes.iter().take(3).take_while(|byte| **byte & 0xC0 == 0x80).count();
    match bytes.get(continued..) {
        Some(rest) if std::str::from_utf8(rest).is_ok() => continued,
        _ => 0,
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn capture(budget: usize, chunks: &[&[u8]]) -> Captured {
        let mut capture = Capture::new(budget);
        chunks.iter().for_each(|chunk| capture.push(chunk));
        capture.finish()
    }

    #[test]
    fn stream_within_budget_is_kept_whole() {
        let captured = capture(8, &[b"abc", b"de", b"fgh"]);
        assert_eq!(captured, Captured::complete(Bytes::from_static(b"abcdefgh")));
        assert!(!captured.is_truncated());
    }

    #[test]
    fn truncated_stream_keeps_ends_count_and_hash() {
        let captured = capture(4, &[b"ab", b"cdefgh", b"i"]);
        assert_eq!((&captured.head[..], &captured.tail[..]), (&b"ab"[..], &b"hi"[..]));
        assert_eq!(captured.total_bytes, 9);
        assert_eq!(captured.omitted_bytes(), 5);
        assert_eq!(captured.sha256, Digest::of(b"abcdefghi"));
        assert_eq!(captured.to_text(), "ab\n[5 bytes omitted]\nhi");
    }

    #[test]
    fn character_cut_by_the_gap_is_dropped() {
        let captured = capture(6, &["aaéé".as_bytes(), b"xxxxxx", "éé".as_bytes()]);
        assert_eq!(&captured.head[..], b"aa");
        assert_eq!(&captured.tail[..], "é".as_bytes());
        assert_eq!(captured.total_bytes, 16);
        let binary = capture(4, &[b"\xff\xc3xxxxx\x80\xff"]);
        assert_eq!((&binary.head[..], &binary.tail[..]), (&b"\xff\xc3"[..], &b"\x80\xff"[..]));
    }

    #[test]
    fn captured_has_documented_wire_form() {
        let json = serde_json::to_string(&Captured::complete(Bytes::from_static(b"42\n"))).unwrap();
        let sha256 = Digest::of(b"42\n");
        assert_eq!(
            json,
            format!(r#"{{"text":"42\n","total_bytes":3,"truncated":false,"sha256":"{sha256}"}}"#)
        );
        let long = serde_json::to_value(capture(4, &[b"abcdef\xff\xff"])).unwrap();
        assert_eq!(long["text"], "ab");
        assert_eq!(long["tail_base64"], "//8=");
        assert_eq!(long["truncated"], true);
    }

    #[test]
    fn contradictory_wire_form_is_refused() {
        let sha256 = Digest::ZERO;
        for json in [
            format!(
                r#"{{"text":"a","base64":"YQ==","total_bytes":1,"truncated":false,"sha256":"{sha256}"}}"#
            ),
            format!(r#"{{"text":"abc","total_bytes":1,"truncated":false,"sha256":"{sha256}"}}"#),
            format!(r#"{{"text":"a","total_bytes":9,"truncated":false,"sha256":"{sha256}"}}"#),
            format!(r#"{{"base64":"?","total_bytes":1,"truncated":false,"sha256":"{sha256}"}}"#),
        ] {
            assert!(serde_json::from_str::<Captured>(&json).is_err(), "{json}");
        }
    }

    proptest! {
        #[test]
        fn capture_is_bounded_and_counts_exactly(
            budget in 0_usize..40,
            chunks in proptest::collection::vec(proptest::collection::vec(any::<u8>(), 0..30), 0..8),
        ) {
            let all: Vec<u8> = chunks.concat();
            let mut capture = Capture::new(budget);
            for chunk in &chunks {
                capture.push(chunk);
                prop_assert!(capture.head.len() + capture.tail.len() <= budget);
            }
            let captured = capture.finish();
            prop_assert_eq!(captured.total_bytes, all.len() as u64);
            prop_assert_eq!(captured.sha256, Digest::of(&all));
            prop_assert!(all.starts_with(&captured.head));
            prop_assert!(all.ends_with(&captured.tail));
            prop_assert_eq!(captured.is_truncated(), all.len() > budget);
            let json = serde_json::to_string(&captured).unwrap();
            prop_assert_eq!(serde_json::from_str::<Captured>(&json).unwrap(), captured);
        }
    }
}
