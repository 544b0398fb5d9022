//! Canonical JSON: the unique serialization that hashes cover.

use std::cell::{Cell, RefCell};
use std::cmp::Ordering;
use std::io;
use std::ops::Range;

use serde::Serialize;
use serde_json::Serializer;
use serde_json::ser::Formatter;

use crate::model::Digest;

/// Returns a value as JSON without white space, with the members of each object ordered by the
/// bytes of their names.
///
/// All numbers in this workspace are integers, because serializers print floating-point numbers
/// differently. To recompute a hash from the text of an entry: parse it, remove `hash`, sort the
/// members, and print it without white space.
pub(crate) fn canonical_json(value: &impl Serialize) -> Result<Vec<u8>, serde_json::Error> {
    serialize_sorted(value, SortBuffers::default()).map(|buffers| buffers.text)
}

/// Returns the hash of a value's [`canonical_json`].
pub(crate) fn canonical_digest(value: &impl Serialize) -> Result<Digest, serde_json::Error> {
    let buffers = serialize_sorted(value, BUFFERS.take())?;
    let digest = Digest::of(&buffers.text);
    if buffers.text.capacity().max(buffers.sorted.capacity()) <= MAX_KEPT_CAPACITY {
        BUFFERS.set(buffers);
    }
    Ok(digest)
}

/// The memory that serialization and sorting use.
#[derive(Default)]
struct SortBuffers {
    text: Vec<u8>,
    sorted: Vec<u8>,
}

/// The largest buffer that a thread keeps.
const MAX_KEPT_CAPACITY: usize = 64 * 1024;

thread_local! {
    /// Kept between calls: each journal entry needs a hash, and allocating buffers of this size is
    /// slow.
    static BUFFERS: Cell<SortBuffers> = Cell::default();
}

/// Serializes a value into `buffers.text`.
fn serialize_sorted(
    value: &impl Serialize,
    mut buffers: SortBuffers,
) -> Result<SortBuffers, serde_json::Error> {
    buffers.text.clear();
    buffers.text.reserve(2048);
    let text = RefCell::new(buffers.text);
    let sorter = MemberSorter {
        text: &text,
        members: Vec::with_capacity(32),
        objects: Vec::with_capacity(8),
        sorted: &mut buffers.sorted,
    };
    value.serialize(&mut Serializer::with_formatter(SharedText(&text), sorter))?;
    Ok(SortBuffers { text: text.into_inner(), sorted: buffers.sorted })
}

/// The text so far. The serializer appends to it, and the formatter reorders it.
struct SharedText<'a>(&'a RefCell<Vec<u8>>);

impl io::Write for SharedText<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.borrow_mut().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// The position of an object's member in the text.
struct ObjectMember {
    /// The name, quoted and escaped.
    name: Range<usize>,
    /// The name and the value.
    all: Range<usize>,
}

/// A formatter that writes objects without commas. At the end of an object it sorts the members and
/// adds the commas.
struct MemberSorter<'a> {
    text: &'a RefCell<Vec<u8>>,
    /// The members of all open objects, the innermost object last.
    members: Vec<ObjectMember>,
    /// The index of the first member of each open object.
    objects: Vec<usize>,
    /// Scratch memory for the sorted members.
    sorted: &'a mut Vec<u8>,
}

impl MemberSorter<'_> {
    /// Returns the current length of the text.
    fn position(&self) -> usize {
        self.text.borrow().len()
    }
}

impl Formatter for MemberSorter<'_> {
    fn begin_object<W: ?Sized + io::Write>(&mut self, writer: &mut W) -> io::Result<()> {
        self.objects.push(self.members.len());
        writer.write_all(b"{")
    }

    fn begin_object_key<W: ?Sized + io::Write>(&mut self, _: &mut W, _: bool) -> io::Result<()> {
        let position = self.position();
        self.members.push(ObjectMember { name: position..position, all: position..position });
        Ok(())
    }

    fn end_object_key<W: ?Sized + io::Write>(&mut self, _: &mut W) -> io::Result<()> {
        let position = self.position();
        if let Some(member) = self.members.last_mut() {
            member.name.end = position;
        }
        Ok(())
    }

    fn end_object_value<W: ?Sized + io::Write>(&mut self, _: &mut W) -> io::Result<()> {
        let position = self.position();
        if let Some(member) = self.members.last_mut() {
            member.all.end = position;
        }
        Ok(())
    }

    fn end_object<W: ?Sized + io::Write>(&mut self, writer: &mut W) -> io::Result<()> {
        let first = self.objects.pop().unwrap_or_default();
        let members = self.members.get_mut(first..).unwrap_or_default();
        if let Some(start) = members.first().map(|member| member.all.start) {
            let mut text = self.text.borrow_mut();
            let part = |range: &Range<usize>| text.get(range.clone()).unwrap_or_default();
            members.sort_by(|a, b| compare_names(part(&a.name), part(&b.name)));
            self.sorted.clear();
            for (index, member) in members.iter().enumerate() {
                if index > 0 {
                    self.sorted.push(b',');
                }
                self.sorted.extend_from_slice(part(&member.all));
            }
            text.truncate(start);
            text.extend_from_slice(self.sorted);
        }
        self.members.truncate(first);
        writer.write_all(b"}")
    }
}

/// Compares two quoted names by their unescaped bytes.
fn compare_names(a: &[u8], b: &[u8]) -> Ordering {
    let is_escaped = |name: &[u8]| name.contains(&b'\\');
    if !is_escaped(a) && !is_escaped(b) {
        // Without the quotes: a closing quote would compare as a further byte.
        let inner = |name| <[u8]>::get(name, 1..name.len().saturating_sub(1)).unwrap_or_default();
        return inner(a).cmp(inner(b));
    }
    let plain = |name| serde_json::from_slice::<String>(name).unwrap_or_default();
    plain(a).as_bytes().cmp(plain(b).as_bytes())
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use proptest::prelude::*;
    use serde_json::Value;

    use super::*;

    #[test]
    fn members_are_sorted_at_every_depth() {
        let value: Value =
            serde_json::from_str(r#"{"b": [1, {"z": null, "a": "é\n"}], "a": true}"#).unwrap();
        let text = String::from_utf8(canonical_json(&value).unwrap()).unwrap();
        assert_eq!(text, r#"{"a":true,"b":[1,{"a":"é\n","z":null}]}"#);
    }

    #[test]
    fn empty_objects_and_arrays_are_kept() {
        let value: Value =
            serde_json::from_str(r#"{"a": {}, "b": [], "c": [{}, {"x": {}}]}"#).unwrap();
        assert_eq!(canonical_json(&value).unwrap(), br#"{"a":{},"b":[],"c":[{},{"x":{}}]}"#);
    }

    /// A map that serializes its members in reverse order.
    struct Reversed<'a>(&'a BTreeMap<String, Vec<u32>>);

    impl Serialize for Reversed<'_> {
        fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
            serializer.collect_map(self.0.iter().rev())
        }
    }

    proptest! {
        #[test]
        fn names_are_ordered_by_bytes(map: BTreeMap<String, Vec<u32>>) {
            // Rust orders text by bytes, and a `BTreeMap` serializes in order.
            let expected = serde_json::to_vec(&map).unwrap();
            prop_assert_eq!(&canonical_json(&map).unwrap(), &expected);
            prop_assert_eq!(&canonical_json(&Reversed(&map)).unwrap(), &expected);
        }

        #[test]
        fn names_with_escapes_are_ordered_by_bytes(
            map in prop::collection::btree_map(
                "[\"\\\\\x01-\x30a]{0,3}",
                prop::collection::vec(any::<u32>(), 0..2),
                0..6,
            )
        ) {
            let expected = serde_json::to_vec(&map).unwrap();
            prop_assert_eq!(canonical_json(&Reversed(&map)).unwrap(), expected);
        }
    }
}
