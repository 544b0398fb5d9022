//! Values of secrets never reach the disk.

use std::fs;
use std::path::Path;

use crucible_core::{Command, Evaluation, Program, RecordQuery, Secret, Storage as _};
use crucible_kv::testing::MemoryBackend;

use crate::events::{all, run};
use crate::storage_fixture::{StorageFixture, StorageLocation, redb, sled};

const VALUE: &str = "hunter2-and-nothing-else";
const PLAIN: &str = "this-is-not-secret";

/// Returns the number of files that contain a text.
fn files_with(directory: &Path, text: &str) -> usize {
    let mut count = 0;
    for entry in fs::read_dir(directory).unwrap() {
        let path = entry.unwrap().path();
        count += if path.is_dir() {
            files_with(&path, text)
        } else {
            usize::from(contains(&fs::read(&path).unwrap(), text))
        };
    }
    count
}

fn contains(bytes: &[u8], text: &str) -> bool {
    bytes.windows(text.len()).any(|window| window == text.as_bytes())
}

#[tokio::test]
async fn database_files_contain_no_secret_values() {
    for location in [redb(), sled()] {
        let fixture = StorageFixture::open(&location).await;
        fill(&fixture).await;
        drop(fixture.storage);
        fixture.store.close().await.unwrap();
        let directory = location.directory.path();
        assert!(files_with(directory, PLAIN) >= 2, "the search finds plain values");
        assert_eq!(files_with(directory, VALUE), 0);
    }
}

/// Stores evaluations with secrets that the writer has not removed: one inline, and one with a
/// large input in a file.
async fn fill(fixture: &StorageFixture) {
    for stdin in [0, 50_000] {
        let command = Command::new(["env"]).with_env("A", Secret::new(VALUE)).with_env("P", PLAIN);
        let evaluation = Evaluation::new(Program::Command(command))
            .with_env("B", Secret::new(VALUE))
            .with_stdin(vec![b'i'; stdin]);
        run(fixture, evaluation, 0, None).await.unwrap();
    }
}

#[tokio::test]
async fn store_and_blob_files_contain_no_secret_values() {
    let disk = MemoryBackend::new();
    let fixture = StorageFixture::open(&StorageLocation::over(disk.clone())).await;
    fill(&fixture).await;
    for record in all(&fixture, &RecordQuery::new()).await {
        assert_eq!(record.evaluation.env["B"].reveal(), None);
        assert_eq!(fixture.journal(record.id, 0).await.unwrap().len(), 3);
    }
    let in_store = |text| disk.entries().values().filter(|value| contains(value, text)).count();
    assert_eq!(
        (in_store(PLAIN), files_with(fixture.location.directory.path(), PLAIN)),
        (1, 1),
        "the search finds plain values"
    );
    assert_eq!((in_store(VALUE), files_with(fixture.location.directory.path(), VALUE)), (0, 0));
}
