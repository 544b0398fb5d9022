//! Stops a host for longer than its leases, and continues it. No evaluation may end twice, and no
//! other process may open its directory meanwhile.

use std::io::{BufRead as _, BufReader};
use std::process::{Command, Stdio};
use std::sync::mpsc;
use std::time::Duration;

use crucible::journal::RecordState;
use crucible::model::EvaluationId;
use crucible::storage::{DataDirectory, OpenDirectoryError, RecordQuery, Storage as _};
use rustix::process::{Pid, Signal, kill_process};

use crate::{StoreKind, host, invariants};

const LEASE_MS: u64 = 500;
/// The time limit for each line of the host.
const LINE_TIMEOUT: Duration = Duration::from_secs(60);

#[test]
fn stopped_host_ends_no_evaluation_twice() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("data");
    let mut child = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "host::host", "--nocapture"])
        .env(host::DIRECTORY, &path)
        .env(host::LEASE, LEASE_MS.to_string())
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let (sender, lines) = mpsc::channel();
    let stdout = BufReader::new(child.stdout.take().unwrap());
    std::thread::spawn(move || {
        stdout.lines().map_while(Result::ok).try_for_each(|line| sender.send(line))
    });
    let wait_for = |state: &str| -> Vec<String> {
        let mut output = Vec::new();
        loop {
            match lines.recv_timeout(LINE_TIMEOUT) {
                Ok(line) if line == state => return output,
                Ok(line) => output.push(line),
                Err(error) => panic!("no `{state}`: {error}: {output:?}"),
            }
        }
    };
    wait_for("started");
    let pid = Pid::from_child(&child);
    kill_process(pid, Signal::STOP).unwrap();
    // Wait until every lease has expired and every program has ended.
    std::thread::sleep(Duration::from_millis(4 * LEASE_MS + 1000));
    let refused = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap()
        .block_on(DataDirectory::open(&path));
    match refused {
        Err(OpenDirectoryError::InUse { by, .. }) => {
            assert!(
                by.contains(&pid.as_raw_nonzero().to_string()),
                "the error does not name the process: {by}"
            );
        }
        other => panic!("{other:?}"),
    }
    kill_process(pid, Signal::CONT).unwrap();
    let ended = wait_for("closed").into_iter().filter(|line| line.starts_with("ended ")).count();
    assert_eq!(ended, 4);
    assert!(child.wait().unwrap().success());
    let ids = finished(&path);
    assert_eq!(ids.len(), 4);
    invariants::assert_accepted_exist(&path, StoreKind::Default, &ids.into_iter().collect());
}

/// Returns all evaluations, after checking that they are finished.
fn finished(path: &std::path::Path) -> Vec<EvaluationId> {
    tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(async {
        let directory = DataDirectory::open(path).await.unwrap();
        let page = directory.storage().records(&RecordQuery::new()).await.unwrap();
        assert!(
            page.records.iter().all(|record| record.state == RecordState::Finished),
            "{:?}",
            page.records
        );
        directory.close().await.unwrap();
        page.records.iter().map(|record| record.id).collect()
    })
}
