//! The collection of artifacts from a sandbox.

use super::error::EngineError;
use super::file_reason::FileReason;
use super::listing::{DirEntry, EntryKind};
use super::sandbox::Sandbox;
use crate::model::{Collect, PathPatterns, SandboxPath};
use crate::result::{Artifact, SkipReason, Skipped};

/// The maximum number of directory entries that one collection inspects.
///
/// A real file system has at most as many names as inodes. A hostile guest can answer with an
/// endless tree.
const MAX_ENTRIES: usize = 1_000_000;
/// The maximum number of skipped files that one collection reports.
const MAX_SKIPPED: usize = 1000;

/// Collects the files that match `collect`, and lists the skipped ones.
///
/// A file that the guest's file system refuses to list or read is skipped, not an error.
///
/// # Errors
/// Returns an error if the infrastructure failed.
pub(super) async fn collect_artifacts(
    sandbox: &dyn Sandbox,
    collect: &Collect,
) -> Result<(Vec<Artifact>, Vec<Skipped>), EngineError> {
    let mut collector = ArtifactCollector::new(sandbox, collect);
    while let Some((directory, depth)) = collector.directories.pop() {
        if collector.entries_left == 0 {
            collector.skip(directory.as_str(), SkipReason::TooMany);
            break;
        }
        for entry in collector.list(&directory).await? {
            collector.visit(&directory, depth, &entry).await?;
        }
    }
    Ok((collector.artifacts, collector.skipped))
}

/// The state of one walk over a sandbox's working directory.
struct ArtifactCollector<'a> {
    sandbox: &'a dyn Sandbox,
    collect: &'a Collect,
    patterns: PathPatterns,
    /// Directories still to list, each with its depth.
    directories: Vec<(SandboxPath, usize)>,
    entries_left: usize,
    bytes_left: u64,
    artifacts: Vec<Artifact>,
    skipped: Vec<Skipped>,
}

impl<'a> ArtifactCollector<'a> {
    /// Creates a collector that starts at the working directory.
    fn new(sandbox: &'a dyn Sandbox, collect: &'a Collect) -> Self {
        Self {
            sandbox,
            collect,
            patterns: collect.path_patterns(),
            directories: vec![(SandboxPath::root(), 1)],
            entries_left: MAX_ENTRIES,
            bytes_left: collect.bytes_max,
            artifacts: Vec::new(),
            skipped: Vec::new(),
        }
    }

    /// Lists a directory in the order of names; empty if the guest's file system refuses.
    async fn list(&mut self, directory: &SandboxPath) -> Result<Vec<DirEntry>, EngineError> {
        let listing = match self.sandbox.list(directory).await {
            Ok(listing) => listing,
            Err(EngineError::File { .. }) => {
                self.skip(directory.as_str(), SkipReason::Unreadable);
                return Ok(Vec::new());
            }
            Err(error) => return Err(error),
        };
        if listing.truncated {
            self.skip(directory.as_str(), SkipReason::TooMany);
        }
        let mut entries = listing.entries;
        if entries.len() > self.entries_left {
            entries.truncate(self.entries_left);
            self.skip(directory.as_str(), SkipReason::TooMany);
        }
        self.entries_left -= entries.len();
        entries.sort_by(|a, b| a.name.cmp(&b.name));
        Ok(entries)
    }

    /// Collects, skips or descends into one directory entry.
    async fn visit(
        &mut self,
        directory: &SandboxPath,
        depth: usize,
        entry: &DirEntry,
    ) -> Result<(), EngineError> {
        let Ok(path) = entry.path_in(directory) else {
            self.skip(&format!("{directory}/{}", entry.display_name()), SkipReason::BadName);
            return Ok(());
        };
        match entry.kind {
            EntryKind::Directory if depth >= self.collect.depth_max => {
                self.skip(path.as_str(), SkipReason::TooDeep);
            }
            EntryKind::Directory => self.directories.push((path, depth + 1)),
            _ if !self.patterns.matches(&path) => {}
            EntryKind::Other => self.skip(path.as_str(), SkipReason::NotRegular),
            EntryKind::File if self.artifacts.len() >= self.collect.files_max => {
                self.skip(path.as_str(), SkipReason::TooMany);
            }
            EntryKind::File if entry.size_bytes > self.bytes_left => {
                self.skip(path.as_str(), SkipReason::TooLarge);
            }
            EntryKind::File => return self.read(path, entry.executable).await,
        }
        Ok(())
    }

    /// Reads a regular file into an artifact.
    async fn read(&mut self, path: SandboxPath, executable: bool) -> Result<(), EngineError> {
        match self.sandbox.read(&path, self.bytes_left).await {
            Ok(content) => {
                self.bytes_left = self.bytes_left.saturating_sub(content.len() as u64);
                self.artifacts.push(Artifact::new(path, content, executable));
            }
            Err(EngineError::File { reason: FileReason::TooLarge, .. }) => {
                self.skip(path.as_str(), SkipReason::TooLarge);
            }
            Err(EngineError::File { .. }) => self.skip(path.as_str(), SkipReason::Unreadable),
            Err(error) => return Err(error),
        }
        Ok(())
    }

    /// Records a skipped file, up to [`MAX_SKIPPED`]: a guest can create any number of files.
    fn skip(&mut self, path: &str, reason: SkipReason) {
        if self.skipped.len() < MAX_SKIPPED {
            self.skipped.push(Skipped::new(path, reason));
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use async_trait::async_trait;
    use bytes::Bytes;

    use super::*;
    use crate::engine::exec::{ExecOptions, ExecOutcome};
    use crate::engine::listing::Listing;
    use crate::model::Command;
    use crate::result::Usage;

    /// A hostile guest: every directory contains 50,000 directories.
    #[derive(Debug, Default)]
    struct EndlessTree {
        listings: AtomicUsize,
    }

    #[async_trait]
    impl Sandbox for EndlessTree {
        async fn exec(&self, _: &Command, _: ExecOptions) -> Result<ExecOutcome, EngineError> {
            Ok(ExecOutcome::default())
        }

        async fn write(&self, _: &SandboxPath, _: Bytes, _: bool) -> Result<(), EngineError> {
            Ok(())
        }

        async fn read(&self, _: &SandboxPath, _: u64) -> Result<Bytes, EngineError> {
            Ok(Bytes::new())
        }

        async fn list(&self, _: &SandboxPath) -> Result<Listing, EngineError> {
            self.listings.fetch_add(1, Ordering::Relaxed);
            let entry =
                |n: u32| DirEntry::new(n.to_string().into(), EntryKind::Directory, 0, false);
            Ok(Listing::new((0..50_000).map(entry).collect(), false))
        }

        async fn close(self: Box<Self>) -> Result<Usage, EngineError> {
            Ok(Usage::default())
        }
    }

    #[tokio::test]
    async fn collection_of_endless_tree_is_bounded() {
        let tree = EndlessTree::default();
        let (artifacts, skipped) =
            collect_artifacts(&tree, &Collect::matching(["**/*"])).await.unwrap();
        assert!(artifacts.is_empty());
        assert_eq!(skipped.len(), MAX_SKIPPED);
        assert_eq!(tree.listings.into_inner(), MAX_ENTRIES / 50_000);
    }
}
