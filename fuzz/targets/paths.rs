//! Paths, patterns, and the directories of a hostile guest.
#![no_main]

use std::sync::Mutex;

use arbitrary::Unstructured;
use async_trait::async_trait;
use bytes::Bytes;
use crucible_core::{
    Collect, Command, DirEntry, Ending, Enforcement, Engine, EngineError, EngineInfo, EntryKind,
    Evaluation, Evidence, ExecOptions, ExecOutcome, FileReason, Listing, RunContext, Sandbox,
    SandboxPath, SandboxSpec, Usage,
};
use libfuzzer_sys::fuzz_target;

/// An engine whose guest answers from the remaining bytes of the input.
#[derive(Debug, Clone)]
struct FuzzedGuest(std::sync::Arc<Mutex<Vec<u8>>>);

impl FuzzedGuest {
    fn next<T>(
        &self,
        draw: impl FnOnce(&mut Unstructured<'_>) -> arbitrary::Result<T>,
    ) -> Option<T> {
        let mut bytes = self.0.lock().expect("no thread panics while it holds the lock");
        let mut data = Unstructured::new(&bytes);
        let drawn = draw(&mut data).ok();
        let rest = data.take_rest().to_vec();
        *bytes = rest;
        drawn
    }
}

fn entry(data: &mut Unstructured<'_>) -> arbitrary::Result<DirEntry> {
    let kind = *data.choose(&[EntryKind::File, EntryKind::Directory, EntryKind::Other])?;
    // The protocol refuses names with a slash or a NUL.
    let name: Vec<u8> = data
        .bytes(data.len().min(6))?
        .iter()
        .map(|b| if matches!(b, 0 | b'/') { b'x' } else { *b })
        .collect();
    let name = if matches!(name.as_slice(), b"" | b"." | b"..") { b"dots".to_vec() } else { name };
    Ok(DirEntry::new(Bytes::from(name), kind, data.arbitrary::<u16>()?.into(), data.arbitrary()?))
}

#[async_trait]
impl Engine for FuzzedGuest {
    fn info(&self) -> EngineInfo {
        EngineInfo::new("fuzz", Enforcement::new())
    }

    async fn open(&self, _: SandboxSpec) -> Result<Box<dyn Sandbox>, EngineError> {
        Ok(Box::new(self.clone()))
    }

    async fn health(&self) -> Result<(), EngineError> {
        Ok(())
    }
}

#[async_trait]
impl Sandbox for FuzzedGuest {
    async fn exec(&self, _: &Command, _: ExecOptions) -> Result<ExecOutcome, EngineError> {
        let ending = Ending::Exited { code: 0 };
        Ok(ExecOutcome::new(vec![Evidence::Waited { ending, after: std::time::Duration::ZERO }]))
    }

    async fn write(&self, _: &SandboxPath, _: Bytes, _: bool) -> Result<(), EngineError> {
        Ok(())
    }

    async fn read(&self, path: &SandboxPath, limit: u64) -> Result<Bytes, EngineError> {
        assert!(!path.is_root());
        match self.next(|data| data.arbitrary::<Vec<u8>>()) {
            Some(content) if content.len() as u64 <= limit => Ok(content.into()),
            _ => Err(EngineError::File { path: path.to_string(), reason: FileReason::TooLarge }),
        }
    }

    async fn list(&self, path: &SandboxPath) -> Result<Listing, EngineError> {
        let entries = self.next(|data| {
            let count = data.int_in_range(0..=8)?;
            (0..count).map(|_| entry(data)).collect::<arbitrary::Result<Vec<_>>>()
        });
        match entries {
            Some(entries) => Ok(Listing::new(entries, false)),
            None => {
                Err(EngineError::File { path: path.to_string(), reason: FileReason::NotDirectory })
            }
        }
    }

    async fn close(self: Box<Self>) -> Result<Usage, EngineError> {
        Ok(Usage::default())
    }
}

/// Checks that an accepted path stays beneath its root, and survives a round trip.
fn check_path(text: &str) {
    let Ok(path) = SandboxPath::new(text) else { return };
    assert_eq!(path.as_str(), text);
    let joined = std::path::Path::new("/box").join(path.as_str());
    assert!(joined.starts_with("/box"));
    assert!(joined.components().all(|component| component != std::path::Component::ParentDir));
    let json = serde_json::to_string(&path).expect("a path has a wire format");
    assert_eq!(serde_json::from_str::<SandboxPath>(&json).ok(), Some(path));
}

fuzz_target!(|data: &[u8]| {
    if let Ok(text) = std::str::from_utf8(data) {
        check_path(text);
    }
    let mut data = Unstructured::new(data);
    let Ok(patterns) = data.arbitrary::<[&str; 2]>() else { return };
    let Ok((bytes_max, files_max, depth_max)) = data.arbitrary::<(u8, u8, u8)>() else { return };
    for pattern in patterns {
        check_path(pattern);
    }
    // Most random patterns match no file, so that one which matches all is added.
    let collect = Collect::matching(patterns.into_iter().chain(["**/*"]))
        .with_bytes_max(bytes_max.into())
        .with_files_max(usize::from(files_max) % 8)
        .with_depth_max(usize::from(depth_max) % 64);
    let evaluation = Evaluation::shell("true").with_collect(collect.clone());
    let guest = FuzzedGuest(std::sync::Arc::new(Mutex::new(data.take_rest().to_vec())));
    let outcome = match futures::executor::block_on(guest.run(&evaluation, &RunContext::new())) {
        Ok(outcome) => outcome,
        Err(error) => {
            assert!(matches!(error, EngineError::Invalid(_)), "{error:?}");
            return;
        }
    };
    assert!(outcome.artifacts.len() <= collect.files_max);
    let bytes: usize = outcome
        .artifacts
        .iter()
        .filter_map(|artifact| artifact.content.as_ref())
        .map(Bytes::len)
        .sum();
    assert!(bytes as u64 <= collect.bytes_max);
    for artifact in &outcome.artifacts {
        check_path(artifact.path.as_str());
        assert!(artifact.path.as_str().split('/').count() <= collect.depth_max.max(1));
    }
});
