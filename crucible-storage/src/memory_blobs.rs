//! Blobs in memory.

use std::collections::HashMap;

use bytes::Bytes;
use crucible_core::Digest;

/// Blobs by their digest, with reference counts.
#[derive(Debug, Default)]
pub(crate) struct MemoryBlobs {
    blobs: HashMap<Digest, MemoryBlob>,
}

#[derive(Debug, Default)]
struct MemoryBlob {
    /// `None` if an entry refers to the blob but no caller has put it.
    content: Option<Bytes>,
    /// The number of `put_blob` calls without a later reference.
    pins: u64,
    /// The number of references from journal entries.
    references: u64,
}

impl MemoryBlobs {
    /// Keeps a blob for a caller that will refer to it.
    pub(crate) fn pin(&mut self, digest: Digest, content: Bytes) {
        let blob = self.blobs.entry(digest).or_default();
        blob.content.get_or_insert(content);
        blob.pins += 1;
    }

    /// Adds a reference from an entry. It replaces one pin.
    pub(crate) fn add_reference(&mut self, digest: Digest) {
        let blob = self.blobs.entry(digest).or_default();
        blob.references += 1;
        blob.pins = blob.pins.saturating_sub(1);
    }

    /// Removes a reference of a removed entry. Drops the blob if it was the last one.
    pub(crate) fn remove_reference(&mut self, digest: Digest) {
        let Some(blob) = self.blobs.get_mut(&digest) else { return };
        blob.references = blob.references.saturating_sub(1);
        if blob.references == 0 && blob.pins == 0 {
            self.blobs.remove(&digest);
        }
    }

    pub(crate) fn get(&self, digest: Digest) -> Option<Bytes> {
        self.blobs.get(&digest)?.content.clone()
    }

    pub(crate) fn len(&self) -> usize {
        self.blobs.len()
    }
}
