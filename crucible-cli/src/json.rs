//! Lines of JSON.

use std::fmt::Write as _;

use serde::Serialize;

use crate::failure::Failure;

/// Returns a value as a line of JSON that is safe to print on a terminal.
///
/// JSON escapes C0 itself. DEL and C1 are legal in JSON strings, and terminals obey C1.
///
/// # Errors
/// Returns a failure if the value cannot be serialized.
pub(crate) fn to_line(value: &impl Serialize) -> Result<String, Failure> {
    let text = serde_json::to_string(value).map_err(|error| Failure::infrastructure(&error))?;
    let mut safe = String::with_capacity(text.len());
    for character in text.chars() {
        // Outside of strings, compact JSON has no control characters.
        if character.is_control() {
            let _infallible = write!(safe, "\\u{:04x}", u32::from(character));
        } else {
            safe.push(character);
        }
    }
    Ok(safe)
}

#[cfg(test)]
mod tests {
    use super::to_line;

    #[test]
    fn c1_control_is_escaped() {
        assert_eq!(to_line(&"\u{9b}2J").ok().as_deref(), Some("\"\\u009b2J\""));
    }
}
