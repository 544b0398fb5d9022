//! The invariants after a host was killed.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;
use std::time::{Duration, Instant};

use crucible::journal::{RecordState, verify_against};
use crucible::model::EvaluationId;
use crucible::storage::{RecordQuery, Storage as _};
use futures::StreamExt as _;

use crate::{StoreKind, host};

/// The time limit for the processes of a killed host to end. The promise is 2 s; a busy machine is
/// slower.
const EXIT_TIMEOUT: Duration = Duration::from_secs(20);
/// The number of evaluations that are read concurrently.
const READERS: usize = 16;
/// The time limit for a host to finish all evaluations.
const FINISH_TIMEOUT: Duration = Duration::from_secs(120);

fn block_on<T>(future: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .unwrap()
        .block_on(future)
}

/// Asserts that no process that the host started is running, directly or indirectly.
pub(crate) fn assert_no_processes_of(host: u32, directory: &Path) {
    let began = Instant::now();
    loop {
        let running = descendants(host, directory);
        if running.is_empty() {
            return;
        }
        assert!(
            began.elapsed() < EXIT_TIMEOUT,
            "processes of host {host} are running: {running:?}"
        );
        std::thread::sleep(Duration::from_millis(20));
    }
}

/// Returns the processes of a host: they inherit the variable with its directory, or are in a
/// cgroup of its engine, whose name begins with the host's process id.
fn descendants(host: u32, directory: &Path) -> Vec<(i32, String)> {
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

/// Asserts that no cgroup of these hosts exists. The next engine removes the cgroups of a killed
/// host.
pub(crate) fn assert_no_cgroups_of(hosts: &[u32]) {
    let mut remaining = Vec::new();
    for controller in fs::read_dir("/sys/fs/cgroup").into_iter().flatten().flatten() {
        for parent in [controller.path().join("crucible"), controller.path()] {
            for group in fs::read_dir(parent).into_iter().flatten().flatten() {
                let name = group.file_name().to_string_lossy().into_owned();
                if hosts.iter().any(|host| name.starts_with(&format!("{host}-"))) {
                    remaining.push(group.path());
                }
            }
        }
    }
    assert!(remaining.is_empty(), "cgroups of killed hosts: {remaining:?}");
}

/// Asserts that all accepted evaluations exist, that every journal is valid and has at most one
/// ending, and that the directory can be opened.
pub(crate) fn assert_accepted_exist(
    path: &Path,
    kind: StoreKind,
    accepted: &BTreeSet<EvaluationId>,
) {
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
                let record = record.unwrap_or_else(|| panic!("{id} was accepted and is missing"));
                let journal = storage.journal(id, 0).await.unwrap();
                verify_against(&journal, record.head)
                    .unwrap_or_else(|error| panic!("{id}: {error}"));
                let endings = journal.iter().filter(|event| event.kind.is_terminal()).count();
                assert!(endings <= 1, "{id} ended {endings} times: {journal:?}");
                assert_eq!(endings == 1, record.state.is_terminal(), "{id}");
            }
        };
        futures::stream::iter(accepted).for_each_concurrent(READERS, |id| check(*id)).await;
        // Drop without closing, as a crashed host does.
        drop((storage, directory));
    });
}

/// Asserts that an undisturbed host finishes every evaluation once, and leaves no tickets, claims
/// or temporary files.
pub(crate) fn assert_all_end_once(path: &Path, kind: StoreKind, accepted: &BTreeSet<EvaluationId>) {
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
            // The worker that claims the ticket of an ended evaluation drops it.
            if page.records.is_empty()
                && page.next.is_none()
                && platform.stats().await.unwrap().queue.depth() == 0
            {
                break;
            }
            assert!(
                began.elapsed() < FINISH_TIMEOUT,
                "{} evaluations do not end: {:?}",
                page.records.len(),
                page.records.first()
            );
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        let report = platform.shutdown(FINISH_TIMEOUT).await;
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
                assert!(blob.is_some(), "{id}: the artifact {} is missing", artifact.path);
            }
        }
        directory.close().await.unwrap();
    });
    assert_accepted_exist(path, kind, accepted);
    let mut temporary = Vec::new();
    for_each_file(&path.join("blobs"), &mut |file| {
        if file.file_name().is_some_and(|name| name.to_string_lossy().contains("tmp")) {
            temporary.push(file.to_owned());
        }
    });
    assert!(temporary.is_empty(), "temporary files remain: {temporary:?}");
}

fn for_each_file(directory: &Path, each: &mut dyn FnMut(&Path)) {
    for entry in fs::read_dir(directory).into_iter().flatten().flatten() {
        if entry.path().is_dir() {
            for_each_file(&entry.path(), each);
        } else {
            each(&entry.path());
        }
    }
}
