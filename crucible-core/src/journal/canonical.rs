//! One byte string for one value: what hashes are computed over.

use std::cell::{Cell, RefCell};
use std::cmp::Ordering;
use std::io;
use std::ops::Range;

use serde::Serialize;
use serde_json::Serializer;
use serde_json::ser::Formatter;

use crate::model::Digest;

/// The value as JSON without white space, the members of every object in the order of their names' bytes.
///
/// Numbers are integers throughout this workspace, so that no two writers print one number in two ways. Anyone can
/// recompute a hash from a journal's text: parse it, drop `hash`, sort, print compactly.
pub(crate) fn canonical_json(value: &impl Serialize) -> Result<Vec<u8>, serde_json::Error> {
    write(value, Buffers::default()).map(|buffers| buffers.text)
}

/// The hash of [`canonical_json`].
pub(crate) fn canonical_digest(value: &impl Serialize) -> Result<Digest, serde_json::Error> {
    let buffers = write(value, KEPT.take())?;
    let digest = Digest::of(&buffers.text);
    if buffers.text.capacity().max(buffers.sorted.capacity()) <= KEPT_MAX {
        KEPT.set(buffers);
    }
    Ok(digest)
}

/// What a text is written and sorted in.
#[derive(Default)]
struct Buffers {
    text: Vec<u8>,
    sorted: Vec<u8>,
}

/// No larger buffer is kept.
const KEPT_MAX: usize = 64 * 1024;

thread_local! {
    /// A hash is made for every entry of every journal, and an allocator is slow with buffers of this size.
    static KEPT: Cell<Buffers> = Cell::default();
}

fn write(value: &impl Serialize, mut buffers: Buffers) -> Result<Buffers, serde_json::Error> {
    buffers.text.clear();
    buffers.text.reserve(2048);
    let text = RefCell::new(buffers.text);
    let sorter = Sorter {
        text: &text,
        members: Vec::with_capacity(32),
        objects: Vec::with_capacity(8),
        sorted: &mut buffers.sorted,
    };
    value.serialize(&mut Serializer::with_formatter(Shared(&text), sorter))?;
    Ok(Buffers { text: text.into_inner(), sorted: buffers.sorted })
}

/// The text so far: written by the serializer, put into order by the formatter.
struct Shared<'a>(&'a RefCell<Vec<u8>>);

impl io::Write for Shared<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.borrow_mut().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Where a member of an object is in the text: its name, quoted and escaped, and all of it.
struct Member {
    name: Range<usize>,
    all: Range<usize>,
}

/// Writes objects without commas, and puts their members into order, with commas, when they end.
struct Sorter<'a> {
    text: &'a RefCell<Vec<u8>>,
    /// The members of all objects that have begun, those of the innermost last.
    members: Vec<Member>,
    /// Where the members of each such object begin.
    objects: Vec<usize>,
    /// Kept for its memory.
    sorted: &'a mut Vec<u8>,
}

impl Sorter<'_> {
    fn here(&self) -> usize {
        self.text.borrow().len()
    }
}

impl Formatter for Sorter<'_> {
    fn begin_object<W: ?Sized + io::Write>(&mut self, writer: &mut W) -> io::Result<()> {
        self.objects.push(self.members.len());
        writer.write_all(b"{")
    }

    fn begin_object_key<W: ?Sized + io::Write>(&mut self, _: &mut W, _: bool) -> io::Result<()> {
        let here = self.here();
        self.members.push(Member { name: here..here, all: here..here });
        Ok(())
    }

    fn end_object_key<W: ?Sized + io::Write>(&mut self, _: &mut W) -> io::Result<()> {
        let here = self.here();
        if let Some(member) = self.members.last_mut() {
            member.name.end = here;
        }
        Ok(())
    }

    fn end_object_value<W: ?Sized + io::Write>(&mut self, _: &mut W) -> io::Result<()> {
        let here = self.here();
        if let Some(member) = self.members.last_mut() {
            member.all.end = here;
        }
        Ok(())
    }

    fn end_object<W: ?Sized + io::Write>(&mut self, writer: &mut W) -> io::Result<()> {
        let first = self.objects.pop().unwrap_or_default();
        let members = self.members.get_mut(first..).unwrap_or_default();
        if let Some(start) = members.first().map(|member| member.all.start) {
            let mut text = self.text.borrow_mut();
            let part = |range: &Range<usize>| text.get(range.clone()).unwrap_or_default();
            members.sort_by(|a, b| by_name(part(&a.name), part(&b.name)));
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

/// Compares names as they are, not as they are escaped.
fn by_name(a: &[u8], b: &[u8]) -> Ordering {
    let is_escaped = |name: &[u8]| name.contains(&b'\\');
    if !is_escaped(a) && !is_escaped(b) {
        // Without the quotes, of which the last would count as more than an end.
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
    fn members_are_sorted_at_every_depth_and_nothing_is_spaced() {
        let value: Value =
            serde_json::from_str(r#"{"b": [1, {"z": null, "a": "é\n"}], "a": true}"#).unwrap();
        let text = String::from_utf8(canonical_json(&value).unwrap()).unwrap();
        assert_eq!(text, r#"{"a":true,"b":[1,{"a":"é\n","z":null}]}"#);
    }

    #[test]
    fn nothing_is_an_object_and_an_array_as_well() {
        let value: Value =
            serde_json::from_str(r#"{"a": {}, "b": [], "c": [{}, {"x": {}}]}"#).unwrap();
        assert_eq!(canonical_json(&value).unwrap(), br#"{"a":{},"b":[],"c":[{},{"x":{}}]}"#);
    }

    /// Whatever the names are made of: as a map that is sorted to begin with, and the other way round.
    struct Reversed<'a>(&'a BTreeMap<String, Vec<u32>>);

    impl Serialize for Reversed<'_> {
        fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
            serializer.collect_map(self.0.iter().rev())
        }
    }

    proptest! {
        #[test]
        fn the_order_of_names_is_that_of_their_bytes(map: BTreeMap<String, Vec<u32>>) {
            // Rust orders text by its bytes, and a `BTreeMap` is serialised in order.
            let wanted = serde_json::to_vec(&map).unwrap();
            prop_assert_eq!(&canonical_json(&map).unwrap(), &wanted);
            prop_assert_eq!(&canonical_json(&Reversed(&map)).unwrap(), &wanted);
        }

        #[test]
        fn names_with_quotes_and_controls_are_in_order_too(
            map in prop::collection::btree_map("[\"\\\\\x01-\x30a]{0,3}", prop::collection::vec(any::<u32>(), 0..2), 0..6)
        ) {
            prop_assert_eq!(canonical_json(&Reversed(&map)).unwrap(), serde_json::to_vec(&map).unwrap());
        }
    }
}
