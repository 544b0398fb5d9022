//! Secret values.

use std::fmt;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

/// A value of a program's environment that is never printed, logged or stored in plain text.
///
/// It serializes as `{"secret":true}`. After deserialization (on another host, or after a restart)
/// the value is missing. An evaluation that needs it then ends as `Failed`, with an error that
/// names the variable. Equality compares the values in variable time, so do not compare a secret
/// with untrusted input.
#[derive(Clone, PartialEq, Eq, Default)]
pub struct Secret(Option<Arc<str>>);

impl Secret {
    /// Creates a secret.
    #[must_use]
    pub fn new(value: impl Into<Arc<str>>) -> Self {
        Self(Some(value.into()))
    }

    /// Returns the value; `None` if the secret was read back from a storage.
    #[must_use]
    pub fn reveal(&self) -> Option<&str> {
        self.0.as_deref()
    }

    /// Removes the value, as serialization does.
    pub(crate) fn erase(&mut self) {
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

/// The wire form: a marker, never the value.
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
            Err(serde::de::Error::custom("the value of `secret` must be `true`"))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn secret_is_visible_only_through_reveal() {
        let secret = Secret::new("hunter2");
        assert_eq!(secret.reveal(), Some("hunter2"));
        assert!(!format!("{secret:?}").contains("hunter2"));
        let json = serde_json::to_string(&secret).unwrap();
        assert_eq!(json, r#"{"secret":true}"#);
        assert_eq!(serde_json::from_str::<Secret>(&json).unwrap().reveal(), None);
    }
}
