//! A host that stands still for longer than its leases, and goes on: nothing ends twice, and nobody else has its directory
//! meanwhile.

use std::io::{BufRead as _, BufReader};
use std::process::{Command, Stdio};
use std::sync::mpsc;
use std::time::Duration;

use crucible::journal::RecordState;
use crucible::model::EvaluationId;
use crucible::storage::{DataDirectory, OpenDirectoryError, RecordQuery, Storage as _};
use rustix::process::{Pid, Signal, kill_process};

use crate::{Kind, host, invariants};

const LEASE_MS: u64 = 500;
const PATIENCE: Duration = Duration::from_secs(60);

#[test]
fn a_host_that_was_stopped_ends_nothing_twice() {
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
    let wait_for = |word: &str| -> Vec<String> {
        let mut heard = Vec::new();
        loop {
            match lines.recv_timeout(PATIENCE) {
                Ok(line) if line == word => return heard,
                Ok(line) => heard.push(line),
                Err(error) => panic!("no `{word}`: {error}: {heard:?}"),
            }
        }
    };
    wait_for("started");
    let pid = Pid::from_child(&child);
    kill_process(pid, Signal::STOP).unwrap();
    // Every lease runs out, and every program has ended by itself.
    std::thread::sleep(Duration::from_millis(4 * LEASE_MS + 1000));
    let refused = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap()
        .block_on(DataDirectory::open(&path));
    match refused {
        Err(OpenDirectoryError::InUse { by, .. }) => {
            assert!(by.contains(&pid.as_raw_nonzero().to_string()), "it is not named: {by}");
        }
        other => panic!("{other:?}"),
    }
    kill_process(pid, Signal::CONT).unwrap();
    let ended = wait_for("closed").into_iter().filter(|line| line.starts_with("ended ")).count();
    assert_eq!(ended, 4);
    assert!(child.wait().unwrap().success());
    let ids = finished(&path);
    assert_eq!(ids.len(), 4);
    invariants::everything_is_there(&path, Kind::Default, &ids.into_iter().collect());
}

/// All evaluations, which have come to their end.
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
