//! Values that must not be seen.

use std::fmt;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

/// A value for a program's environment that is never printed, logged or stored in clear.
///
/// It serialises as `{"secret":true}`: whoever reads it back (another host, the same host after a restart) has no
/// value, and an evaluation that needs it ends as `Failed` with an error that names the variable. Equality compares
/// the values; it is not constant-time, so do not compare a secret with something a stranger chose.
#[derive(Clone, PartialEq, Eq, Default)]
pub struct Secret(Option<Arc<str>>);

impl Secret {
    /// A secret with this value.
    #[must_use]
    pub fn new(value: impl Into<Arc<str>>) -> Self {
        Self(Some(value.into()))
    }

    /// The value; `None` where it was lost on the way through storage.
    #[must_use]
    pub fn reveal(&self) -> Option<&str> {
        self.0.as_deref()
    }

    /// Forgets the value, as storage does.
    pub(crate) fn forget(&mut self) {
        self.0 = None;
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(if self.0.is_some() { "Secret(***)" } else { "Secret(lost)" })
    }
}

impl From<String> for Secret {
    fn from(value: String) -> Self {
        Self::new(value)
    }
}

impl From<&str> for Secret {
    fn from(value: &str) -> Self {
        Self::new(value)
    }
}

/// The wire form: a mark, never the value.
#[derive(Serialize, Deserialize)]
struct Redacted {
    secret: bool,
}

impl Serialize for Secret {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        Redacted { secret: true }.serialize(serializer)
    }
}

impl<'de> Deserialize<'de> for Secret {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let Redacted { secret } = Redacted::deserialize(deserializer)?;
        if secret {
            Ok(Self(None))
        } else {
            Err(serde::de::Error::custom("a secret is marked `true`"))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_value_shows_nowhere_but_in_reveal() {
        let secret = Secret::new("hunter2");
        assert_eq!(secret.reveal(), Some("hunter2"));
        assert!(!format!("{secret:?}").contains("hunter2"));
        let json = serde_json::to_string(&secret).unwrap();
        assert_eq!(json, r#"{"secret":true}"#);
        assert_eq!(serde_json::from_str::<Secret>(&json).unwrap().reveal(), None);
    }
}
