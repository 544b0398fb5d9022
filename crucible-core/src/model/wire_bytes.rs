//! The wire form of bytes: text if they are UTF-8, else base64.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use serde::{Deserialize, Serialize};

/// Bytes as `{"text":"…"}` if they are UTF-8, else as `{"base64":"…"}` (RFC 4648, section 4,
/// padded).
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct WireBytes(pub(crate) Bytes);

/// The JSON object of [`WireBytes`].
#[derive(Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum TextOrBase64<'a> {
    Text(std::borrow::Cow<'a, str>),
    Base64(std::borrow::Cow<'a, str>),
}

/// Returns `Ok(text)` if the bytes are UTF-8, else `Err(base64)`.
pub(crate) fn encode(bytes: &[u8]) -> Result<&str, String> {
    std::str::from_utf8(bytes).map_err(|_| STANDARD.encode(bytes))
}

/// Decodes padded base64.
pub(crate) fn decode_base64(text: &str) -> Result<Bytes, base64::DecodeError> {
    STANDARD.decode(text).map(Bytes::from)
}

impl Serialize for WireBytes {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match encode(&self.0) {
            Ok(text) => TextOrBase64::Text(text.into()),
            Err(base64) => TextOrBase64::Base64(base64.into()),
        }
        .serialize(serializer)
    }
}

impl<'de> Deserialize<'de> for WireBytes {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        match TextOrBase64::deserialize(deserializer)? {
            TextOrBase64::Text(text) => Ok(Self(Bytes::from(text.into_owned().into_bytes()))),
            TextOrBase64::Base64(text) => {
                decode_base64(&text).map(Self).map_err(serde::de::Error::custom)
            }
        }
    }
}

/// Serializes bytes, for `#[serde(with = "wire_bytes")]`.
pub(crate) fn serialize<S: serde::Serializer>(
    bytes: &Bytes,
    serializer: S,
) -> Result<S::Ok, S::Error> {
    WireBytes(bytes.clone()).serialize(serializer)
}

/// Deserializes bytes, for `#[serde(with = "wire_bytes")]`.
pub(crate) fn deserialize<'de, D: serde::Deserializer<'de>>(
    deserializer: D,
) -> Result<Bytes, D::Error> {
    WireBytes::deserialize(deserializer).map(|bytes| bytes.0)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn utf8_is_text_and_other_bytes_are_base64() {
        let json = |bytes: &'static [u8]| {
            serde_json::to_string(&WireBytes(Bytes::from_static(bytes))).unwrap()
        };
        assert_eq!(json(b"42\n"), r#"{"text":"42\n"}"#);
        assert_eq!(json(b"\xff\x00"), r#"{"base64":"/wA="}"#);
        assert_eq!(json(b""), r#"{"text":""}"#);
    }

    proptest! {
        #[test]
        fn arbitrary_bytes_round_trip(bytes in proptest::collection::vec(any::<u8>(), 0..64)) {
            let wire = WireBytes(Bytes::from(bytes));
            let json = serde_json::to_string(&wire).unwrap();
            prop_assert_eq!(serde_json::from_str::<WireBytes>(&json).unwrap(), wire);
        }
    }
}
