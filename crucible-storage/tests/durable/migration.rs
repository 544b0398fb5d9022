//! The layout that is kept is the one that was kept before.

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

use crate::events::{assert_sound, finished, started};
use crate::storage_fixture::{StorageFixture, StorageLocation};

/// The newest format.
const NEWEST: u32 = 2;

/// The fixture of a format: a map as lines of two hexadecimal numbers, and files.
fn fixture(format: u32) -> PathBuf {
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

/// What the fixture has, made of nothing that differs from time to time.
async fn fill(kept: &StorageFixture) {
    let evaluations = [
        Evaluation::python("print(6 * 7)").with_tenant("alice").with_label("course", "x"),
        Evaluation::command(["cat"]).with_stdin(vec![b'i'; 20_000]).with_idempotency_key("once"),
        Evaluation::shell("true").with_tenant("alice"),
    ];
    kept.put_blob(Bytes::from_static(b"an artifact")).await.unwrap();
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
            record = Some(kept.append(id, sequence, vec![event]).await.unwrap());
        }
    }
}

/// `CRUCIBLE_UPDATE_FIXTURES=1` writes that of the newest format anew, as long as nobody has it. Those before it stay.
async fn write_fixture() {
    let disk = MemoryBackend::new();
    let kept = StorageFixture::open(&StorageLocation::over(disk.clone())).await;
    fill(&kept).await;
    let lines = disk
        .entries()
        .iter()
        .map(|(key, value)| format!("{} {}\n", hex(key), hex(value)))
        .collect::<String>();
    fs::create_dir_all(fixture(NEWEST)).unwrap();
    fs::write(fixture(NEWEST).join("map"), lines).unwrap();
    for file in kept.location.blob_files() {
        let to =
            fixture(NEWEST).join("blobs").join(file.strip_prefix(kept.location.blobs()).unwrap());
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
async fn what_an_earlier_version_has_written_can_be_read_and_written_to() {
    if std::env::var_os("CRUCIBLE_UPDATE_FIXTURES").is_some() {
        write_fixture().await;
    }
    for format in 1..=NEWEST {
        read_fixture(format).await;
    }
}

async fn read_fixture(format: u32) {
    let text = fs::read_to_string(fixture(format).join("map")).unwrap();
    let entries: BTreeMap<_, _> = text
        .lines()
        .map(|line| line.split_once(' ').unwrap())
        .map(|(key, value)| (unhex(key), unhex(value)))
        .collect();
    let disk = MemoryBackend::with_entries(entries);
    let place = StorageLocation::over(disk.clone());
    copy(&fixture(format).join("blobs"), &place.blobs());
    let kept = StorageFixture::open(&place).await;
    assert_sound(&kept, &disk).await;
    let records = kept.records(&RecordQuery::new()).await.unwrap().records;
    let states: Vec<_> = records.iter().map(|record| record.state).collect();
    assert_eq!(states, [RecordState::Finished, RecordState::Running, RecordState::Queued]);
    assert_eq!(records[0].evaluation.labels["course"], "x");
    assert_eq!(records[1].evaluation.stdin.len(), 20_000);
    let artifact = records[0].outcome.as_ref().unwrap().artifacts[0].sha256;
    assert_eq!(kept.blob(artifact).await.unwrap().unwrap(), "an artifact");
    let running = &records[1];
    crate::events::append(&kept, running, finished(0, None)).await.unwrap();
    assert_sound(&kept, &disk).await;
    // And by when they were submitted, which is kept otherwise now than at first.
    let at = records[1].submitted_at;
    let after = Timestamp::from_micros(at.as_micros() + 1_000_000);
    for (query, count) in [
        (RecordQuery::new().with_submitted(Some(at), Some(after)), 3),
        (RecordQuery::new().with_submitted(Some(after), None), 0),
        (RecordQuery::new().with_submitted(None, Some(at)), 0),
    ] {
        assert_eq!(kept.records(&query).await.unwrap().records.len(), count, "{query:?}");
    }
    assert_eq!(disk.entries()[&b"s.format"[..]], NEWEST.to_string());
}

#[tokio::test]
async fn a_newer_format_is_refused_and_one_that_is_no_number_too() {
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
