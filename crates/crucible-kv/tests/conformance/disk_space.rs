//! Disk space.

use std::path::{Path, PathBuf};
use std::process::Command;

use crucible_kv::{Batch, Durability, KvErrorKind, Range};

use crate::backend_kind::{BackendKind, noise};

/// A small, separate file system.
pub(crate) struct Tmpfs(PathBuf);

impl Tmpfs {
    /// Mounts the file system. Prints SKIPPED and returns `None` if this user cannot mount.
    pub(crate) fn mount(at: &Path) -> Option<Self> {
        let id = Command::new("id").arg("-u").output().unwrap();
        if id.stdout != b"0\n" {
            eprintln!("SKIPPED: only root can mount a file system");
            return None;
        }
        run(Command::new("mount")
            .args(["-t", "tmpfs", "-o", "size=48m", "crucible-kv-test"])
            .arg(at));
        Some(Self(at.to_owned()))
    }

    pub(crate) fn make_read_only(&self) {
        run(Command::new("mount").args(["-o", "remount,ro"]).arg(&self.0));
    }
}

impl Drop for Tmpfs {
    fn drop(&mut self) {
        // Unmount lazily, because a failed case keeps files open.
        run(Command::new("umount").arg("-l").arg(&self.0));
    }
}

fn run(command: &mut Command) {
    let status = command.status().unwrap();
    assert!(status.success(), "{command:?}: {status}");
}

pub(crate) fn deleted_space_is_reused_or_released(kind: &BackendKind, scratch: &Path) {
    let backend = kind.open(scratch);
    let keys =
        |round: u64| (0..64_u64).map(move |n| [round.to_be_bytes(), n.to_be_bytes()].concat());
    let mut peak = 0;
    for round in 0..80 {
        let mut batch = Batch::new();
        for (key, seed) in keys(round).zip(0..) {
            batch.put(key, noise(20_000, seed));
        }
        backend.commit(&batch, Durability::Process).unwrap();
        let mut batch = Batch::new();
        keys(round).for_each(|key| batch.delete(key));
        backend.commit(&batch, Durability::Process).unwrap();
        peak = peak.max(backend.disk_bytes().unwrap());
    }
    assert_eq!(backend.scan(&Range::all(), 9).unwrap(), []);
    // The test writes 100 MB in total and keeps 1.3 MB at a time.
    backend.compact().unwrap();
    let remaining = backend.disk_bytes().unwrap();
    if kind.shrinks {
        // This includes two log files.
        assert!(remaining < 24 << 20, "{remaining} of {peak} bytes remain");
    }
    assert!(peak < 50 << 20, "{peak} bytes at most");
}

pub(crate) fn full_disk_loses_nothing_and_recovers(kind: &BackendKind, scratch: &Path) {
    let Some(_tmpfs) = Tmpfs::mount(scratch) else { return };
    let directory = scratch.join("store");
    let mut backend = kind.open(&directory);
    let mut written: u64 = 0;
    let mut write = |backend: &dyn crucible_kv::Backend| {
        let mut batch = Batch::new();
        for part in 0..4_u64 {
            batch.put(
                [written.to_be_bytes(), part.to_be_bytes()].concat(),
                noise(16_000, written * 4 + part),
            );
        }
        let result = backend.commit(&batch, Durability::Process.min(backend.strongest()));
        result.map(|()| written += 1)
    };
    for _ in 0..4 {
        write(&*backend).unwrap();
    }
    let filler = scratch.join("filler");
    let room = 12 << 20;
    let free = 48 * 1024 * 1024 - backend.disk_bytes().unwrap();
    std::fs::write(&filler, vec![1; usize::try_from(free - room).unwrap()]).unwrap();
    let error = (0..10_000).find_map(|_| write(&*backend).err()).unwrap();
    let again = write(&*backend).unwrap_err();
    if kind.survives_a_full_disk {
        assert_eq!(error.kind(), KvErrorKind::Full, "{error:?}");
        assert_eq!(again.kind(), KvErrorKind::Full, "{again:?}");
        // Existing entries are still readable.
        assert_eq!(backend.scan(&Range::all(), 4).unwrap().len(), 4);
    }
    std::fs::remove_file(&filler).unwrap();
    if !kind.survives_a_full_disk {
        // A further write returns the same error and does not hang.
        assert_eq!(write(&*backend).unwrap_err().to_string(), error.to_string());
        drop(backend);
        backend = kind.open(&directory);
    }
    for _ in 0..10 {
        write(&*backend).unwrap();
    }
    for backend in [backend].into_iter().chain(std::iter::once_with(|| kind.open(&directory))) {
        let entries = backend.scan(&Range::all(), usize::MAX).unwrap();
        // The failed batch may exist if its state was unknown. It was written again in any case.
        let expected: Vec<_> = (0..written * 4).map(|seed| noise(16_000, seed)).collect();
        assert!(
            entries.iter().map(|(_, value)| value).eq(&expected),
            "{} of {}",
            entries.len(),
            expected.len()
        );
    }
}
