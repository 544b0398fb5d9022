//! Checkpoints: what all journals are at one moment, under a signature.
//!
//! A journal's hash chain shows that nothing *within* it was edited. A checkpoint shows that nothing was taken from its
//! end, and that no journal was taken away: keep its statement, a line of text, where whoever can write to the storage
//! cannot.

use std::fmt;
use std::future::ready;
use std::str::FromStr;

use ed25519_dalek::{Signature, Signer as _, SigningKey, VerifyingKey};
use futures::TryStreamExt as _;
use serde::{Deserialize, Serialize};

use crate::journal::canonical::canonical_json;
use crate::journal::event::Event;
use crate::journal::merkle::{Inclusion, leaf_hash, root};
use crate::journal::record::Record;
use crate::model::digest::Digest;
use crate::model::id::EvaluationId;
use crate::model::time::Timestamp;
use crate::storage::ext::StorageExt as _;
use crate::storage::storage::{RecordQuery, Storage, StorageError};

/// The version of the statement's wire form.
const VERSION: u32 = 1;
/// What a signature is over begins with this, so that it is a signature of nothing else.
const DOMAIN: &[u8] = b"crucible checkpoint\n";

/// Where one journal ended: a leaf of a checkpoint's tree.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Head {
    /// The evaluation.
    pub evaluation: EvaluationId,
    /// How many entries its journal had.
    pub sequence: u64,
    /// The hash of the last of them.
    pub hash: Digest,
}

impl Head {
    /// The end of the journal that this record follows from.
    #[must_use]
    pub fn of(record: &Record) -> Self {
        Self { evaluation: record.id, sequence: record.sequence, hash: record.head }
    }

    /// The hash of this leaf: over the id's 16 bytes, the sequence as 8 bytes, the highest first, and the hash's 32.
    #[must_use]
    pub fn leaf(&self) -> Digest {
        let mut content = Vec::with_capacity(56);
        content.extend_from_slice(&self.evaluation.to_bytes());
        content.extend_from_slice(&self.sequence.to_be_bytes());
        content.extend_from_slice(&self.hash.to_bytes());
        leaf_hash(&content)
    }

    /// Whether a journal goes on from here: its entry with this sequence has this hash.
    #[must_use]
    pub fn is_in(&self, journal: &[Event]) -> bool {
        journal.iter().any(|event| {
            (event.evaluation, event.sequence, event.hash)
                == (self.evaluation, self.sequence, self.hash)
        })
    }
}

/// Signs checkpoints: an Ed25519 key (RFC 8032), made of 32 secret bytes. They are not shown, and wiped when it is dropped.
#[derive(Clone)]
pub struct CheckpointKey(SigningKey);

impl CheckpointKey {
    /// The key of these secret bytes, which must be from a good source of random numbers.
    #[must_use]
    pub fn from_bytes(bytes: &[u8; 32]) -> Self {
        Self(SigningKey::from_bytes(bytes))
    }

    /// What others need to check its signatures.
    #[must_use]
    pub fn public(&self) -> PublicKey {
        PublicKey(self.0.verifying_key())
    }
}

impl fmt::Debug for CheckpointKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("CheckpointKey").field(&self.public()).finish()
    }
}

/// A text is no key: those are 64 hexadecimal digits, and public ones are points of the curve.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("a key is 64 hexadecimal digits, and a public one a point of Ed25519's curve")]
pub struct ParseKeyError;

impl FromStr for CheckpointKey {
    type Err = ParseKeyError;

    /// The secret bytes as 64 hexadecimal digits.
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let bytes: Digest = text.parse().map_err(|_| ParseKeyError)?;
        Ok(Self::from_bytes(&bytes.to_bytes()))
    }
}

/// Checks the signatures of a [`CheckpointKey`]. Written as 64 hexadecimal digits.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct PublicKey(VerifyingKey);

impl fmt::Display for PublicKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        Digest::from_bytes(self.0.to_bytes()).fmt(f)
    }
}

impl fmt::Debug for PublicKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "PublicKey({self})")
    }
}

impl FromStr for PublicKey {
    type Err = ParseKeyError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let bytes: Digest = text.parse().map_err(|_| ParseKeyError)?;
        VerifyingKey::from_bytes(&bytes.to_bytes()).map(Self).map_err(|_| ParseKeyError)
    }
}

/// A signed statement on all journals of a storage: how many there were, and the root of the Merkle tree over their
/// [heads](Head), in the order of the evaluations' ids.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Checkpoint {
    /// The version of the wire form.
    pub version: u32,
    /// When it was made, by the clock of the host that made it.
    #[serde(rename = "time_us")]
    pub time: Timestamp,
    /// How many journals there were.
    pub count: u64,
    /// The root of the tree, as RFC 6962 defines it.
    pub root: Digest,
    /// The public key of whoever signed, as hexadecimal digits: a hint at which key to hold against the signature.
    pub key: String,
    /// The Ed25519 signature, as hexadecimal digits: over `crucible checkpoint`, a line end, and this as JSON without
    /// white space and with sorted members, but for `signature`.
    pub signature: String,
}

/// What the signature is over.
#[derive(Serialize)]
struct Statement<'a> {
    version: u32,
    #[serde(rename = "time_us")]
    time: Timestamp,
    count: u64,
    root: Digest,
    key: &'a str,
}

/// What is wrong with a checkpoint, or with what it is held against.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum CheckpointError {
    /// Its wire form is of a version that this program does not know.
    #[error("the checkpoint has version {found}; this program knows {VERSION}")]
    Version {
        /// Its version.
        found: u32,
    },
    /// The signature is not one of this key over this statement.
    #[error("the checkpoint was not signed by key {key}, or was edited since")]
    Signature {
        /// The key that it was held against.
        key: String,
    },
    /// The heads that came with it are not those that it states.
    #[error("the list of {found} heads is not the one that the checkpoint states, of {count}")]
    Heads {
        /// How many it states.
        count: u64,
        /// How many there are.
        found: u64,
    },
    /// A whole journal is missing.
    #[error("the journal of evaluation {evaluation} is missing")]
    Missing {
        /// The evaluation.
        evaluation: EvaluationId,
    },
    /// A journal is not what it was.
    #[error(
        "entry {sequence} of the journal of evaluation {evaluation} is missing, or not what it was"
    )]
    Changed {
        /// The evaluation.
        evaluation: EvaluationId,
        /// The entry.
        sequence: u64,
    },
    /// The storage could not be read.
    #[error("the storage could not be read")]
    Storage(#[from] StorageError),
}

impl Checkpoint {
    /// Signs a statement on these heads.
    #[must_use]
    pub fn sign(heads: &[Head], key: &CheckpointKey) -> Self {
        let leaves: Vec<Digest> = heads.iter().map(Head::leaf).collect();
        let mut checkpoint = Self {
            version: VERSION,
            time: Timestamp::now(),
            count: heads.len() as u64,
            root: root(&leaves),
            key: key.public().to_string(),
            signature: String::new(),
        };
        checkpoint.signature = to_hex(&key.0.sign(&checkpoint.signed_bytes()).to_bytes());
        checkpoint
    }

    fn signed_bytes(&self) -> Vec<u8> {
        let Self { version, time, count, root, key, .. } = self;
        let statement =
            Statement { version: *version, time: *time, count: *count, root: *root, key };
        // Integers and texts serialise without fail.
        [DOMAIN, &canonical_json(&statement).unwrap_or_default()].concat()
    }

    /// Whether it was signed by this key.
    ///
    /// # Errors
    /// [`CheckpointError::Version`] or [`CheckpointError::Signature`].
    pub fn verify(&self, key: &PublicKey) -> Result<(), CheckpointError> {
        if self.version != VERSION {
            return Err(CheckpointError::Version { found: self.version });
        }
        let refused = || CheckpointError::Signature { key: key.to_string() };
        let signature = from_hex(&self.signature).ok_or_else(refused)?;
        let signature = Signature::from_bytes(&signature);
        key.0.verify_strict(&self.signed_bytes(), &signature).map_err(|_| refused())
    }

    /// Whether these are the heads that it states, in order.
    ///
    /// # Errors
    /// [`CheckpointError::Heads`].
    pub fn covers(&self, heads: &[Head]) -> Result<(), CheckpointError> {
        let leaves: Vec<Digest> = heads.iter().map(Head::leaf).collect();
        let (found, count) = (heads.len() as u64, self.count);
        if found == count && root(&leaves) == self.root {
            return Ok(());
        }
        Err(CheckpointError::Heads { count, found })
    }

    /// Whether it states this head, by a proof that whoever has all heads can make.
    #[must_use]
    pub fn includes(&self, head: &Head, proof: &Inclusion) -> bool {
        proof.count == self.count && proof.root(head.leaf()) == Some(self.root)
    }
}

/// The heads of all journals of a storage, in the order of the evaluations' ids.
///
/// # Errors
/// The storage could not be read: a damaged record too, since a statement that leaves it out would hide it.
pub async fn heads(storage: &dyn Storage) -> Result<Vec<Head>, StorageError> {
    let query = RecordQuery::new().with_limit(RecordQuery::LIMIT_MAX);
    let heads = storage.records_stream(query).and_then(|record| {
        ready(record.map(|record| Head::of(&record)).map_err(|corrupt| StorageError::Corrupt {
            what: format!("the record of evaluation {}", corrupt.evaluation),
            source: Some(corrupt.problem.into()),
        }))
    });
    heads.try_collect().await
}

/// Holds the heads of a checkpoint against a storage: every one of them must be in the journal still, which may have
/// grown since.
///
/// # Errors
/// What is missing or changed first; or the storage could not be read.
pub async fn verify_heads(storage: &dyn Storage, heads: &[Head]) -> Result<(), CheckpointError> {
    for head in heads {
        let evaluation = head.evaluation;
        let journal = storage.journal(evaluation, 0).await?;
        if journal.is_empty() {
            return Err(CheckpointError::Missing { evaluation });
        }
        if !head.is_in(&journal) {
            return Err(CheckpointError::Changed { evaluation, sequence: head.sequence });
        }
    }
    Ok(())
}

fn to_hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn from_hex(text: &str) -> Option<[u8; 64]> {
    let (first, second) = text.split_at_checked(64)?;
    let halves =
        [first.parse::<Digest>().ok()?.to_bytes(), second.parse::<Digest>().ok()?.to_bytes()];
    halves.concat().try_into().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key() -> CheckpointKey {
        CheckpointKey::from_bytes(&[7; 32])
    }

    fn some_heads(count: u64) -> Vec<Head> {
        let head = |n: u64| Head {
            evaluation: EvaluationId::new(),
            sequence: n + 1,
            hash: Digest::of(&n.to_le_bytes()),
        };
        (0..count).map(head).collect()
    }

    #[test]
    fn a_signature_holds_for_what_was_signed() {
        let heads = some_heads(5);
        let checkpoint = Checkpoint::sign(&heads, &key());
        let text = serde_json::to_string(&checkpoint).unwrap();
        let read: Checkpoint = serde_json::from_str(&text).unwrap();
        read.verify(&key().public()).unwrap();
        read.covers(&heads).unwrap();
        for edit in [
            |checkpoint: &mut Checkpoint| checkpoint.count += 1,
            |checkpoint: &mut Checkpoint| checkpoint.root = Digest::ZERO,
            |checkpoint: &mut Checkpoint| checkpoint.time = Timestamp::from_micros(0),
            |checkpoint: &mut Checkpoint| checkpoint.key.push('0'),
            |checkpoint: &mut Checkpoint| checkpoint.signature = "00".repeat(64),
            |checkpoint: &mut Checkpoint| checkpoint.signature.clear(),
            |checkpoint: &mut Checkpoint| checkpoint.signature.insert(63, 'ä'),
        ] {
            let mut edited = read.clone();
            edit(&mut edited);
            let result = edited.verify(&key().public());
            assert!(matches!(result, Err(CheckpointError::Signature { .. })), "{edited:?}");
        }
        let other = CheckpointKey::from_bytes(&[8; 32]);
        assert!(matches!(read.verify(&other.public()), Err(CheckpointError::Signature { .. })));
    }

    #[test]
    fn one_head_can_be_shown_to_be_stated() {
        let heads = some_heads(11);
        let checkpoint = Checkpoint::sign(&heads, &key());
        let leaves: Vec<_> = heads.iter().map(Head::leaf).collect();
        let proof = Inclusion::of(&leaves, 6).unwrap();
        assert!(checkpoint.includes(&heads[6], &proof));
        assert!(!checkpoint.includes(&heads[5], &proof));
        let fewer = &heads[..10];
        assert!(matches!(
            checkpoint.covers(fewer),
            Err(CheckpointError::Heads { count: 11, found: 10 })
        ));
    }

    #[test]
    fn keys_are_read_and_never_shown() {
        let key: CheckpointKey = "07".repeat(32).parse().unwrap();
        assert_eq!(key.public(), self::key().public());
        assert!(!format!("{key:?}").contains("0707"));
        let public: PublicKey = key.public().to_string().parse().unwrap();
        assert_eq!(public, key.public());
        for bad in ["", "07", "zz", &"0".repeat(63)] {
            assert!(bad.parse::<CheckpointKey>().is_err());
            assert!(bad.parse::<PublicKey>().is_err());
        }
    }
}
