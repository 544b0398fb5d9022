//! Checkpoints: what all journals are at one moment, under a signature.
//!
//! A journal's hash chain shows that nothing *within* it was edited. A checkpoint shows that nothing was taken from its
//! end, and that no journal was taken away: keep its statement, a line of text, where whoever can write to the storage
//! cannot.

use ed25519_dalek::{Signature, Signer as _};
use serde::{Deserialize, Serialize};

use super::error::CheckpointError;
use super::head::JournalHead;
use super::key::{CheckpointKey, CheckpointPublicKey};
use super::merkle::{Inclusion, root};
use crate::journal::canonical_json;
use crate::model::{Digest, Timestamp};

/// The version of the statement's wire form.
pub(super) const VERSION: u32 = 1;
/// What a signature is over begins with this, so that it is a signature of nothing else.
const DOMAIN: &[u8] = b"crucible checkpoint\n";

/// A signed statement on all journals of a storage: how many there were, and the root of the Merkle tree over their
/// [heads](JournalHead), in the order of the evaluations' ids.
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

impl Checkpoint {
    /// Signs a statement on these heads.
    #[must_use]
    pub fn sign(heads: &[JournalHead], key: &CheckpointKey) -> Self {
        let leaves: Vec<Digest> = heads.iter().map(JournalHead::leaf).collect();
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
    pub fn verify(&self, key: &CheckpointPublicKey) -> Result<(), CheckpointError> {
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
    pub fn covers(&self, heads: &[JournalHead]) -> Result<(), CheckpointError> {
        let leaves: Vec<Digest> = heads.iter().map(JournalHead::leaf).collect();
        let (found, count) = (heads.len() as u64, self.count);
        if found == count && root(&leaves) == self.root {
            return Ok(());
        }
        Err(CheckpointError::Heads { count, found })
    }

    /// Whether it states this head, by a proof that whoever has all heads can make.
    #[must_use]
    pub fn includes(&self, head: &JournalHead, proof: &Inclusion) -> bool {
        proof.count == self.count && proof.root(head.leaf()) == Some(self.root)
    }
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
    use crate::model::EvaluationId;

    fn key() -> CheckpointKey {
        CheckpointKey::from_bytes(&[7; 32])
    }

    fn some_heads(count: u64) -> Vec<JournalHead> {
        let head = |n: u64| JournalHead {
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
        let leaves: Vec<_> = heads.iter().map(JournalHead::leaf).collect();
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
        let public: CheckpointPublicKey = key.public().to_string().parse().unwrap();
        assert_eq!(public, key.public());
        for bad in ["", "07", "zz", &"0".repeat(63)] {
            assert!(bad.parse::<CheckpointKey>().is_err());
            assert!(bad.parse::<CheckpointPublicKey>().is_err());
        }
    }
}
