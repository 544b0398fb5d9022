//! Keys that sign checkpoints and verify signatures.

use std::fmt;
use std::str::FromStr;

use ed25519_dalek::{SigningKey, VerifyingKey};

use crate::model::Digest;

/// Signs checkpoints: an Ed25519 key (RFC 8032), made of 32 secret bytes. They are not shown, and wiped when it is dropped.
#[derive(Clone)]
pub struct CheckpointKey(pub(super) SigningKey);

impl CheckpointKey {
    /// The key of these secret bytes, which must be from a good source of random numbers.
    #[must_use]
    pub fn from_bytes(bytes: &[u8; 32]) -> Self {
        Self(SigningKey::from_bytes(bytes))
    }

    /// What others need to check its signatures.
    #[must_use]
    pub fn public(&self) -> CheckpointPublicKey {
        CheckpointPublicKey(self.0.verifying_key())
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
pub struct CheckpointPublicKey(pub(super) VerifyingKey);

impl fmt::Display for CheckpointPublicKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        Digest::from_bytes(self.0.to_bytes()).fmt(f)
    }
}

impl fmt::Debug for CheckpointPublicKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "CheckpointPublicKey({self})")
    }
}

impl FromStr for CheckpointPublicKey {
    type Err = ParseKeyError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let bytes: Digest = text.parse().map_err(|_| ParseKeyError)?;
        VerifyingKey::from_bytes(&bytes.to_bytes()).map(Self).map_err(|_| ParseKeyError)
    }
}
