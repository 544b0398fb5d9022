//! Keys that sign checkpoints and verify signatures.

use std::fmt;
use std::str::FromStr;

use ed25519_dalek::{SigningKey, VerifyingKey};

use crate::model::Digest;

/// An Ed25519 key (RFC 8032) of 32 secret bytes that signs checkpoints. `Debug` hides the bytes,
/// and dropping the key erases them.
#[derive(Clone)]
pub struct CheckpointKey(pub(super) SigningKey);

impl CheckpointKey {
    /// Creates a key from secret bytes of a cryptographic random number generator.
    #[must_use]
    pub fn from_bytes(bytes: &[u8; 32]) -> Self {
        Self(SigningKey::from_bytes(bytes))
    }

    /// Returns the key that verifies the signatures.
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

/// An error for a text that is not a key.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("a key has 64 hexadecimal digits, and a public key is a point of Ed25519's curve")]
pub struct ParseKeyError;

impl FromStr for CheckpointKey {
    type Err = ParseKeyError;

    /// Parses the secret bytes from 64 hexadecimal digits.
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let bytes: Digest = text.parse().map_err(|_| ParseKeyError)?;
        Ok(Self::from_bytes(&bytes.to_bytes()))
    }
}

/// The public key that verifies the signatures of a [`CheckpointKey`]. Its text has 64 hexadecimal
/// digits.
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
