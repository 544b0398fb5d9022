//! Locks and kinds of directories.

use std::path::Path;

use crucible_kv::{KvError, KvErrorKind};

use crate::backend_kind::BackendKind;
use crate::disk_space::Tmpfs;

pub(crate) fn second_opener_gets_identity_of_first(kind: &BackendKind, scratch: &Path) {
    let first = kind.open(scratch);
    let error = (kind.open)(scratch).unwrap_err();
    assert!(
        matches!(&error, KvError::Locked { by: Some(by), .. } if by.pid == std::process::id()),
        "{error:?}"
    );
    let text = error.to_string();
    assert!(text.contains(&scratch.display().to_string()), "{text}");
    assert!(text.contains(&format!("process {}", std::process::id())), "{text}");
    drop(first);
    kind.open(scratch);
}

pub(crate) fn directory_of_other_kind_is_refused(kind: &BackendKind, scratch: &Path) {
    std::fs::write(scratch.join("FORMAT"), r#"{"kind":"something else","version":1}"#).unwrap();
    let error = (kind.open)(scratch).unwrap_err();
    assert_eq!(error.kind(), KvErrorKind::UnsupportedFormat);
    assert!(error.to_string().contains("something else 1"), "{error}");
}

pub(crate) fn read_only_directory_is_named(kind: &BackendKind, scratch: &Path) {
    let Some(tmpfs) = Tmpfs::mount(scratch) else { return };
    drop(kind.open(scratch));
    tmpfs.make_read_only();
    let error = (kind.open)(scratch).unwrap_err();
    assert_eq!(error.kind(), KvErrorKind::Unavailable, "{error:?}");
    assert!(error.to_string().contains(&scratch.display().to_string()), "{error}");
}
