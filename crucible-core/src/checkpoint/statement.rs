//! Signed checkpoints.

use ed25519_dalek::{Signature, Signer as _};
use serde::{Deserialize, Serialize};

use super::error::{CheckpointError, VERSION};
use super::head::JournalHead;
use super::key::{CheckpointKey, CheckpointPublicKey};
use super::merkle::{Inclusion, root};
use crate::journal::canonical_json;
use crate::model::{Digest, Timestamp};

/// The prefix of the signed bytes, which makes the signature invalid for all other uses.
const DOMAIN: &[u8] = b"crucible checkpoint\n";

/// A signed statement on all journals of a storage: their number, and the root of the Merkle tree
/// over their [heads](JournalHead), in the order of the evaluations' ids.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Checkpoint {
    /// The version of the wire form.
    pub version: u32,
    /// The time of the signature, by the clock of the host.
    #[serde(rename = "time_us")]
    pub time: Timestamp,
    /// The number of journals.
    pub count: u64,
    /// The root of the tree, as RFC 6962 defines it.
    pub root: Digest,
    /// The public key of the signer, as hexadecimal digits. It is a hint: the reader must choose a
    /// trusted key.
    pub key: String,
    /// The Ed25519 signature, as hexadecimal digits. It covers `crucible checkpoint`, a line feed,
    /// and this object without `signature`, as JSON without white space and with sorted members.
    pub signature: String,
}

/// The signed part of a [`Checkpoint`].
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
    /// Creates and signs a checkpoint of these heads.
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

    /// Returns the bytes that the signature covers.
    fn signed_bytes(&self) -> Vec<u8> {
        let Self { version, time, count, root, key, .. } = self;
        let statement =
            Statement { version: *version, time: *time, count: *count, root: *root, key };
        // Serialization of integers and text cannot fail.
        [DOMAIN, &canonical_json(&statement).unwrap_or_default()].concat()
    }

    /// Verifies the signature with this key.
    ///
    /// # Errors
    /// Returns [`CheckpointError::Version`] or [`CheckpointError::Signature`].
    pub fn verify(&self, key: &CheckpointPublicKey) -> Result<(), CheckpointError> {
        if self.version != VERSION {
            return Err(CheckpointError::Version { found: self.version });
        }
        let refused = || CheckpointError::Signature { key: key.to_string() };
        let signature = from_hex(&self.signature).ok_or_else(refused)?;
        let signature = Signature::from_bytes(&signature);
        key.0.verify_strict(&self.signed_bytes(), &signature).map_err(|_| refused())
    }

    /// Verifies that the checkpoint covers exactly these heads, in order.
    ///
    /// # Errors
    /// Returns [`CheckpointError::Heads`] if it does not.
    pub fn covers(&self, heads: &[JournalHead]) -> Result<(), CheckpointError> {
        let leaves: Vec<Digest> = heads.iter().map(JournalHead::leaf).collect();
        let (found, count) = (heads.len() as u64, self.count);
        if found == count && root(&leaves) == self.root {
            return Ok(());
        }
        Err(CheckpointError::Heads { count, found })
    }

    /// Returns `true` if the proof shows that the checkpoint covers this head.
    #[must_use]
    pub fn includes(&self, head: &JournalHead, proof: &Inclusion) -> bool {
        proof.count == self.count && proof.root(head.leaf()) == Some(self.root)
    }
}

/// Returns the lower-case hexadecimal digits of bytes.
fn to_hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// Parses the 64 bytes of a signature.
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
    fn signature_is_invalid_after_any_edit() {
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
    fn inclusion_proof_verifies_one_head() {
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
    fn keys_parse_and_debug_hides_them() {
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
