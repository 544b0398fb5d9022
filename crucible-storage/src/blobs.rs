//! Blobs in this process's memory.

use std::collections::HashMap;

use bytes::Bytes;
use crucible_core::Digest;

/// Blobs by their hash, and why each is still needed.
#[derive(Debug, Default)]
pub(crate) struct Blobs {
    blobs: HashMap<Digest, Blob>,
}

#[derive(Debug, Default)]
struct Blob {
    /// `None` if it was named and never kept.
    content: Option<Bytes>,
    /// How often it was kept by somebody who has not named it yet.
    kept: u64,
    /// How often entries of journals name it.
    named: u64,
}

impl Blobs {
    /// Keeps a blob for somebody who is about to name it.
    pub(crate) fn keep(&mut self, digest: Digest, content: Bytes) {
        let blob = self.blobs.entry(digest).or_default();
        blob.content.get_or_insert(content);
        blob.kept += 1;
    }

    /// Takes note that an entry names a blob: whoever kept it for that has done so.
    pub(crate) fn name(&mut self, digest: Digest) {
        let blob = self.blobs.entry(digest).or_default();
        blob.named += 1;
        blob.kept = blob.kept.saturating_sub(1);
    }

    /// Takes note that an entry that named a blob is gone.
    pub(crate) fn forget(&mut self, digest: Digest) {
        let Some(blob) = self.blobs.get_mut(&digest) else { return };
        blob.named = blob.named.saturating_sub(1);
        if blob.named == 0 && blob.kept == 0 {
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
