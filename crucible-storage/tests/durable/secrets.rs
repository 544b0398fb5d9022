//! Values of secrets never reach the disk.

use std::fs;
use std::path::Path;

use crucible_core::{Command, Evaluation, Program, RecordQuery, Secret, Storage as _};
use crucible_kv::testing::MemoryBackend;

use crate::events::{all, run};
use crate::storage_fixture::{StorageFixture, StorageLocation, redb, sled};

const VALUE: &str = "hunter2-and-nothing-else";
const PLAIN: &str = "this-is-no-secret";

fn files_with(directory: &Path, text: &str) -> usize {
    let mut count = 0;
    for entry in fs::read_dir(directory).unwrap() {
        let path = entry.unwrap().path();
        count += if path.is_dir() {
            files_with(&path, text)
        } else {
            usize::from(has(&fs::read(&path).unwrap(), text))
        };
    }
    count
}

fn has(bytes: &[u8], text: &str) -> bool {
    bytes.windows(text.len()).any(|window| window == text.as_bytes())
}

#[tokio::test]
async fn no_file_of_a_database_has_the_value_of_a_secret() {
    for place in [redb(), sled()] {
        let kept = StorageFixture::open(&place).await;
        fill(&kept).await;
        drop(kept.storage);
        kept.store.close().await.unwrap();
        let directory = place.directory.path();
        assert!(files_with(directory, PLAIN) >= 2, "the search finds what is there");
        assert_eq!(files_with(directory, VALUE), 0);
    }
}

/// Even if whoever writes has not removed them; in the map and, with a large input, in a file.
async fn fill(kept: &StorageFixture) {
    for stdin in [0, 50_000] {
        let command = Command::new(["env"]).with_env("A", Secret::new(VALUE)).with_env("P", PLAIN);
        let evaluation = Evaluation::new(Program::Command(command))
            .with_env("B", Secret::new(VALUE))
            .with_stdin(vec![b'i'; stdin]);
        run(kept, evaluation, 0, None).await.unwrap();
    }
}

#[tokio::test]
async fn no_file_and_no_value_has_the_value_of_a_secret() {
    let disk = MemoryBackend::new();
    let kept = StorageFixture::open(&StorageLocation::over(disk.clone())).await;
    fill(&kept).await;
    for record in all(&kept, &RecordQuery::new()).await {
        assert_eq!(record.evaluation.env["B"].reveal(), None);
        assert_eq!(kept.journal(record.id, 0).await.unwrap().len(), 3);
    }
    let in_map = |text| disk.entries().values().filter(|value| has(value, text)).count();
    assert_eq!(
        (in_map(PLAIN), files_with(kept.location.directory.path(), PLAIN)),
        (1, 1),
        "the search finds what is there"
    );
    assert_eq!((in_map(VALUE), files_with(kept.location.directory.path(), VALUE)), (0, 0));
}
