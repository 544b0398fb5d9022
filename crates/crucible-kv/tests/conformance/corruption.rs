//! Corrupt files. Values have checksums, as in queue and storage, because a backend does not have
//! to detect a changed byte of a value.

use std::fs::{self, OpenOptions};
use std::os::unix::fs::FileExt as _;
use std::path::{Path, PathBuf};

use bytes::Bytes;
use crucible_kv::{Backend, Batch, KvError, KvErrorKind, Range, add_checksum, verify_checksum};

use crate::backend_kind::{BackendKind, copy, noise};

type Entries = Vec<(Bytes, Bytes)>;

/// Creates a store, closes it in order, and returns its entries: some hundred, one of them large.
fn store(kind: &BackendKind, directory: &Path) -> Entries {
    let backend = kind.open(directory);
    for round in 0..10_u64 {
        let mut batch = Batch::new();
        for n in 0..30_u64 {
            batch.put(
                [&b"key "[..], &n.to_be_bytes(), &round.to_be_bytes()].concat(),
                noise(500, round * 30 + n),
            );
        }
        backend.commit(&batch, backend.strongest()).unwrap();
    }
    let mut batch = Batch::new();
    batch.put("large", add_checksum(b"large", &noise(100_000, 999)));
    backend.commit(&batch, backend.strongest()).unwrap();
    backend.scan(&Range::all(), usize::MAX).unwrap()
}

fn files(directory: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in fs::read_dir(directory).unwrap() {
        let entry = entry.unwrap();
        if entry.file_type().unwrap().is_dir() {
            found.extend(files(&entry.path()));
        } else if entry.file_name() != "LOCK" {
            found.push(entry.path());
        }
    }
    found.sort();
    found
}

/// Opens a corrupt store and reads all entries in every way. Every returned entry must have been
/// written. Missing entries without an error must be detected by a verified open.
fn check(kind: &BackendKind, directory: &Path, entries: &Entries, change: &str) {
    let error_of = |error: KvError| {
        let kind = error.kind();
        assert!(
            matches!(
                kind,
                KvErrorKind::Corrupt | KvErrorKind::Unavailable | KvErrorKind::UnsupportedFormat
            ),
            "{error:?}"
        );
        let name = directory.display().to_string();
        assert!(error.to_string().contains(&name), "{change}: the error names no file: {error}");
    };
    let backend: Box<dyn Backend> = match (kind.open)(directory) {
        Ok(backend) => backend,
        Err(error) => return error_of(error),
    };
    let mut is_missing = false;
    for (key, value) in entries {
        match backend.get(key) {
            Ok(Some(read)) => {
                assert!(
                    read == *value || verify_checksum(key, &read).is_none(),
                    "{change}: {key:?}"
                )
            }
            Ok(None) => is_missing = true,
            Err(error) => error_of(error),
        }
    }
    for range in [Range::all(), Range::all().reversed()] {
        match backend.scan(&range, usize::MAX) {
            Ok(read) => {
                let is_valid =
                    |(key, value): &&(Bytes, Bytes)| verify_checksum(key, value).is_some();
                let unwritten = read.iter().filter(is_valid).find(|entry| !entries.contains(entry));
                assert_eq!(unwritten, None, "{change}: an entry that was never written");
                is_missing |= read.len() < entries.len();
            }
            Err(error) => error_of(error),
        }
    }
    if is_missing && let Some(open_verified) = kind.open_verified {
        let copied = directory.with_extension("verified");
        copy(directory, &copied);
        let Err(error) = open_verified(&copied) else {
            panic!("{change}: a verified open does not detect it")
        };
        assert_eq!(error.kind(), KvErrorKind::Corrupt, "{change}");
        fs::remove_dir_all(copied).unwrap();
    }
    // A write may fail, but it must not panic.
    let mut batch = Batch::new();
    batch.put("another", "value");
    if let Err(error) = backend.commit(&batch, backend.strongest()) {
        error_of(error);
    }
}

pub(crate) fn changed_byte_is_never_returned_as_data(kind: &BackendKind, scratch: &Path) {
    let pristine = scratch.join("pristine");
    let entries = store(kind, &pristine);
    for file in files(&pristine) {
        let name = file.strip_prefix(&pristine).unwrap();
        let length = fs::metadata(&file).unwrap().len();
        // Offsets in the header, and offsets spread over the file.
        let offsets =
            (0..length.min(64)).step_by(3).chain((0..40).map(|n| length * n / 40 + n % 7));
        for offset in offsets.filter(|offset| *offset < length) {
            let corrupt = scratch.join("corrupt");
            copy(&pristine, &corrupt);
            let file = OpenOptions::new().read(true).write(true).open(corrupt.join(name)).unwrap();
            let mut byte = [0];
            file.read_exact_at(&mut byte, offset).unwrap();
            file.write_all_at(&[!byte[0]], offset).unwrap();
            check(
                kind,
                &corrupt,
                &entries,
                &format!("byte {offset} of {length} of {name:?} changed"),
            );
            fs::remove_dir_all(corrupt).unwrap();
        }
    }
}

pub(crate) fn truncated_file_is_never_returned_as_data(kind: &BackendKind, scratch: &Path) {
    let pristine = scratch.join("pristine");
    let entries = store(kind, &pristine);
    for file in files(&pristine) {
        let name = file.strip_prefix(&pristine).unwrap();
        let length = fs::metadata(&file).unwrap().len();
        for kept in
            [0, 1, length / 3, length / 2, length.saturating_sub(4096), length.saturating_sub(1)]
        {
            let corrupt = scratch.join("corrupt");
            copy(&pristine, &corrupt);
            OpenOptions::new().write(true).open(corrupt.join(name)).unwrap().set_len(kept).unwrap();
            check(
                kind,
                &corrupt,
                &entries,
                &format!("{name:?} truncated after {kept} of {length} bytes"),
            );
            fs::remove_dir_all(corrupt).unwrap();
        }
    }
}
