//! One byte string for one value: what hashes are computed over.

use std::io::Write as _;

use serde::Serialize;
use serde_json::Value;

/// The value as JSON without white space, the members of every object in the order of their names' bytes.
///
/// Numbers are integers throughout this workspace, so that no two writers print one number in two ways. Anyone can
/// recompute a hash from a journal's text: parse it, drop `hash`, sort, print compactly.
pub(crate) fn canonical_json(value: &impl Serialize) -> Result<Vec<u8>, serde_json::Error> {
    let mut bytes = Vec::with_capacity(512);
    write(&serde_json::to_value(value)?, &mut bytes)?;
    Ok(bytes)
}

fn write(value: &Value, out: &mut Vec<u8>) -> Result<(), serde_json::Error> {
    match value {
        Value::Array(items) => {
            out.push(b'[');
            for (index, item) in items.iter().enumerate() {
                if index > 0 {
                    out.push(b',');
                }
                write(item, out)?;
            }
            out.push(b']');
        }
        Value::Object(members) => {
            // Sorted here: the map's own order depends on a feature that any crate in the build may switch on.
            let mut members: Vec<_> = members.iter().collect();
            members.sort_by(|a, b| a.0.as_bytes().cmp(b.0.as_bytes()));
            out.push(b'{');
            for (index, (name, member)) in members.into_iter().enumerate() {
                if index > 0 {
                    out.push(b',');
                }
                serde_json::to_writer(out.by_ref(), name)?;
                out.push(b':');
                write(member, out)?;
            }
            out.push(b'}');
        }
        scalar => serde_json::to_writer(out.by_ref(), scalar)?,
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn members_are_sorted_at_every_depth_and_nothing_is_spaced() {
        let value: Value = serde_json::from_str(r#"{"b": [1, {"z": null, "a": "é\n"}], "a": true}"#).unwrap();
        let text = String::from_utf8(canonical_json(&value).unwrap()).unwrap();
        assert_eq!(text, r#"{"a":true,"b":[1,{"a":"é\n","z":null}]}"#);
    }
}
