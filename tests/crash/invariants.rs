//! What must hold after a host was killed.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;
use std::time::{Duration, Instant};

use crucible::journal::{RecordState, verify_against};
use crucible::model::EvaluationId;
use crucible::storage::{RecordQuery, Storage as _};
use futures::StreamExt as _;

use crate::{Kind, host};

/// How long what dies with its host may take to be gone: "within 2 s" is promised, and a busy machine is slower.
const GONE: Duration = Duration::from_secs(20);
/// How many evaluations are read at once.
const AT_ONCE: usize = 16;
/// How long everything that was left may take to be run.
const RUN: Duration = Duration::from_secs(120);

fn block_on<T>(future: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .unwrap()
        .block_on(future)
}

/// Nothing of this host runs any more: no process that it started, in whatever generation.
pub(crate) fn nothing_of(host: u32, directory: &Path) {
    let began = Instant::now();
    loop {
        let left = descendants_of_the_dead(host, directory);
        if left.is_empty() {
            return;
        }
        assert!(began.elapsed() < GONE, "left of host {host}: {left:?}");
        std::thread::sleep(Duration::from_millis(20));
    }
}

/// Processes by what they have of the host: the variable that named its directory to it, or a group of its engine, whose name
/// begins with the host's number.
fn descendants_of_the_dead(host: u32, directory: &Path) -> Vec<(i32, String)> {
    let entries = fs::read_dir("/proc").unwrap().flatten();
    let pids = entries.filter_map(|entry| entry.file_name().to_str()?.parse::<i32>().ok());
    let group = format!("/crucible/{host}-");
    let variable = format!("{}={}", host::DIRECTORY, directory.display());
    pids.filter_map(|pid| {
        let groups = fs::read_to_string(format!("/proc/{pid}/cgroup")).ok()?;
        let environment = fs::read(format!("/proc/{pid}/environ")).unwrap_or_default();
        let inherited =
            environment.split(|byte| *byte == 0).any(|entry| entry == variable.as_bytes());
        (groups.contains(&group) || inherited).then_some((pid, groups))
    })
    .collect()
}

/// No group of these hosts is left: what a killed one could not remove, the next engine has.
pub(crate) fn no_group_of(hosts: &[u32]) {
    let mut left = Vec::new();
    for controller in fs::read_dir("/sys/fs/cgroup").into_iter().flatten().flatten() {
        for parent in [controller.path().join("crucible"), controller.path()] {
            for group in fs::read_dir(parent).into_iter().flatten().flatten() {
                let name = group.file_name().to_string_lossy().into_owned();
                if hosts.iter().any(|host| name.starts_with(&format!("{host}-"))) {
                    left.push(group.path());
                }
            }
        }
    }
    assert!(left.is_empty(), "groups of hosts that are dead: {left:?}");
}

/// Everything that was accepted is there, and every journal is whole and has one ending at most. The directory can be
/// opened: no lock is left.
pub(crate) fn everything_is_there(path: &Path, kind: Kind, accepted: &BTreeSet<EvaluationId>) {
    if !path.exists() {
        assert!(accepted.is_empty());
        return;
    }
    block_on(async {
        let directory = host::open(path, kind).await;
        let storage = directory.storage();
        let check = |id: EvaluationId| {
            let storage = &storage;
            async move {
                let record = storage.record(id).await.unwrap();
                let record = record.unwrap_or_else(|| panic!("{id} was accepted, and is gone"));
                let journal = storage.journal(id, 0).await.unwrap();
                verify_against(&journal, record.head)
                    .unwrap_or_else(|error| panic!("{id}: {error}"));
                let endings = journal.iter().filter(|event| event.kind.is_terminal()).count();
                assert!(endings <= 1, "{id} ended {endings} times: {journal:?}");
                assert_eq!(endings == 1, record.state.is_terminal(), "{id}");
            }
        };
        futures::stream::iter(accepted).for_each_concurrent(AT_ONCE, |id| check(*id)).await;
        // As if it were a host that dies now: what it has claimed is nothing.
        drop((storage, directory));
    });
}

/// A host that is left alone brings everything to its end, once, and leaves nothing.
pub(crate) fn everything_ends_once(path: &Path, kind: Kind, accepted: &BTreeSet<EvaluationId>) {
    block_on(async {
        let directory = host::open(path, kind).await;
        let platform = host::platform(&directory).await;
        platform.recover().await.unwrap();
        let live =
            RecordQuery::new().with_state(RecordState::Queued).with_state(RecordState::Running);
        let began = Instant::now();
        loop {
            let page = platform.records(&live).await.unwrap();
            assert!(page.corrupt.is_empty(), "{:?}", page.corrupt);
            // A ticket whose evaluation has ended is dropped by whoever claims it.
            if page.records.is_empty()
                && page.next.is_none()
                && platform.stats().await.unwrap().queue.depth() == 0
            {
                break;
            }
            assert!(
                began.elapsed() < RUN,
                "{} do not end: {:?}",
                page.records.len(),
                page.records.first()
            );
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        let report = platform.shutdown(RUN).await;
        assert_eq!(report.queued, Some(0), "a ticket is stuck");
        assert_eq!(platform.stats().await.unwrap().queue.claimed, 0, "a claim is stuck");
        drop(platform);
        let report = crucible::storage::verify_storage(&directory.storage()).await.unwrap();
        assert!(report.is_sound(), "{:?}", report.wrong);
        assert!(report.evaluations >= accepted.len() as u64);
        for id in accepted {
            let record = directory.storage().record(*id).await.unwrap().unwrap();
            assert_eq!(record.state, RecordState::Finished, "{id}: {record:?}");
            for artifact in &record.outcome.unwrap().artifacts {
                let blob = directory.storage().blob(artifact.sha256).await.unwrap();
                assert!(blob.is_some(), "{id}: {} is gone", artifact.path);
            }
        }
        directory.close().await.unwrap();
    });
    everything_is_there(path, kind, accepted);
    let mut unfinished = Vec::new();
    files(&path.join("blobs"), &mut |file| {
        if file.file_name().is_some_and(|name| name.to_string_lossy().contains("tmp")) {
            unfinished.push(file.to_owned());
        }
    });
    assert!(unfinished.is_empty(), "unfinished files are left: {unfinished:?}");
}

fn files(directory: &Path, each: &mut dyn FnMut(&Path)) {
    for entry in fs::read_dir(directory).into_iter().flatten().flatten() {
        if entry.path().is_dir() {
            files(&entry.path(), each);
        } else {
            each(&entry.path());
        }
    }
}
