//! Layout versions and their migration.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use bytes::Bytes;
use crucible_core::{
    Digest, Evaluation, EvaluationId, Event, EventKind, Record, RecordQuery, RecordState,
    Storage as _, Timestamp,
};
use crucible_kv::testing::MemoryBackend;
use crucible_storage::{DurableStorage, StorageOpenError};
use tempfile::TempDir;

use crate::events::{assert_consistent, finished, started};
use crate::storage_fixture::{StorageFixture, StorageLocation};

/// The newest layout version.
const NEWEST: u32 = 2;

/// Returns the fixture of a layout version: store entries as lines of two hexadecimal strings, and
/// blob files.
fn fixture_path(format: u32) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("tests/fixtures/format-{format}"))
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn unhex(text: &str) -> Bytes {
    let digits: Vec<char> = text.chars().collect();
    let byte = |pair: &[char]| u8::from_str_radix(&pair.iter().collect::<String>(), 16).unwrap();
    digits.chunks(2).map(byte).collect()
}

/// Writes the content of a fixture. It is the same in every run.
async fn fill(fixture: &StorageFixture) {
    let evaluations = [
        Evaluation::python("print(6 * 7)").with_tenant("alice").with_label("course", "x"),
        Evaluation::command(["cat"]).with_stdin(vec![b'i'; 20_000]).with_idempotency_key("once"),
        Evaluation::shell("true").with_tenant("alice"),
    ];
    fixture.put_blob(Bytes::from_static(b"an artifact")).await.unwrap();
    for (number, evaluation) in evaluations.into_iter().enumerate() {
        let mut bytes = [0; 16];
        bytes[15] = u8::try_from(number).unwrap() + 1;
        let id = EvaluationId::from_bytes(bytes);
        let kinds = [
            EventKind::Submitted { evaluation: evaluation.into() },
            started(),
            finished(number * 20_000, Some(b"an artifact")),
        ];
        let mut record: Option<Record> = None;
        for kind in kinds.into_iter().take(3 - number) {
            let (sequence, head) =
                record.as_ref().map_or((0, Digest::ZERO), |now| (now.sequence, now.head));
            let time = Timestamp::from_micros(1_700_000_000_000_000 + sequence);
            let event = Event::sealed(id, sequence + 1, time, kind, head);
            record = Some(fixture.append(id, sequence, vec![event]).await.unwrap());
        }
    }
}

/// Writes the fixture of the newest version. `CRUCIBLE_UPDATE_FIXTURES=1` enables it; use it only
/// before that version is released.
async fn write_fixture() {
    let disk = MemoryBackend::new();
    let fixture = StorageFixture::open(&StorageLocation::over(disk.clone())).await;
    fill(&fixture).await;
    let lines = disk
        .entries()
        .iter()
        .map(|(key, value)| format!("{} {}\n", hex(key), hex(value)))
        .collect::<String>();
    fs::create_dir_all(fixture_path(NEWEST)).unwrap();
    fs::write(fixture_path(NEWEST).join("map"), lines).unwrap();
    for file in fixture.location.blob_files() {
        let to = fixture_path(NEWEST)
            .join("blobs")
            .join(file.strip_prefix(fixture.location.blobs()).unwrap());
        fs::create_dir_all(to.parent().unwrap()).unwrap();
        fs::copy(file, to).unwrap();
    }
}

fn copy(from: &Path, to: &Path) {
    fs::create_dir_all(to).unwrap();
    for entry in fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        let to = to.join(entry.file_name());
        if entry.path().is_dir() {
            copy(&entry.path(), &to);
        } else {
            fs::copy(entry.path(), to).unwrap();
        }
    }
}

#[tokio::test]
async fn earlier_formats_are_migrated_and_writable() {
    if std::env::var_os("CRUCIBLE_UPDATE_FIXTURES").is_some() {
        write_fixture().await;
    }
    for format in 1..=NEWEST {
        read_fixture(format).await;
    }
}

async fn read_fixture(format: u32) {
    let text = fs::read_to_string(fixture_path(format).join("map")).unwrap();
    let entries: BTreeMap<_, _> = text
        .lines()
        .map(|line| line.split_once(' ').unwrap())
        .map(|(key, value)| (unhex(key), unhex(value)))
        .collect();
    let disk = MemoryBackend::with_entries(entries);
    let location = StorageLocation::over(disk.clone());
    copy(&fixture_path(format).join("blobs"), &location.blobs());
    let fixture = StorageFixture::open(&location).await;
    assert_consistent(&fixture, &disk).await;
    let records = fixture.records(&RecordQuery::new()).await.unwrap().records;
    let states: Vec<_> = records.iter().map(|record| record.state).collect();
    assert_eq!(states, [RecordState::Finished, RecordState::Running, RecordState::Queued]);
    assert_eq!(records[0].evaluation.labels["course"], "x");
    assert_eq!(records[1].evaluation.stdin.len(), 20_000);
    let artifact = records[0].outcome.as_ref().unwrap().artifacts[0].sha256;
    assert_eq!(fixture.blob(artifact).await.unwrap().unwrap(), "an artifact");
    let running = &records[1];
    crate::events::append(&fixture, running, finished(0, None)).await.unwrap();
    assert_consistent(&fixture, &disk).await;
    // Query by submission time, whose index differs between the versions.
    let at = records[1].submitted_at;
    let after = Timestamp::from_micros(at.as_micros() + 1_000_000);
    for (query, count) in [
        (RecordQuery::new().with_submitted(Some(at), Some(after)), 3),
        (RecordQuery::new().with_submitted(Some(after), None), 0),
        (RecordQuery::new().with_submitted(None, Some(at)), 0),
    ] {
        assert_eq!(fixture.records(&query).await.unwrap().records.len(), count, "{query:?}");
    }
    assert_eq!(disk.entries()[&b"s.format"[..]], NEWEST.to_string());
}

#[tokio::test]
async fn newer_or_invalid_format_is_refused() {
    let open = async |format: &'static str| {
        let entries = BTreeMap::from([(Bytes::from("s.format"), Bytes::from(format))]);
        let directory = TempDir::new().unwrap();
        let store = StorageLocation::over(MemoryBackend::with_entries(entries)).store();
        DurableStorage::open(&store, directory.path().join("blobs")).await.map(|_| ())
    };
    let error = open("3").await.unwrap_err();
    assert!(matches!(error, StorageOpenError::TooNew { found: 3, supported: 2 }), "{error:?}");
    assert!(error.to_string().contains("format 3") && error.to_string().contains('2'));
    for unreadable in ["", "one", "0", "-1"] {
        assert!(matches!(open(unreadable).await, Err(StorageOpenError::Map(_))));
    }
}
