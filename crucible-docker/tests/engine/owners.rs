//! Whose containers are whose: what a dead host leaves is removed, and what a live one has is left alone.

use std::io::{BufRead as _, BufReader};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use crucible_core::{Command as Argv, Engine as _, ExecOptions, RunContext, SandboxSpec};
use tokio::task::JoinSet;

use super::support::{builder, by_owner, limits, made, run, shell, until, with_daemon};

/// Set for a process that is to run sandboxes until it is killed: how many.
const ENDLESS: &str = "CRUCIBLE_TEST_ENDLESS";

/// Not a test of its own: the host that is killed.
#[test]
fn a_host_under_load() {
    let Ok(count) = std::env::var(ENDLESS) else { return };
    let count: usize = count.parse().unwrap();
    run(async {
        let engine = made(builder().containers_max(count + 1)).await.unwrap();
        let mut runs = JoinSet::new();
        for _ in 0..count {
            let engine = engine.clone();
            runs.spawn(async move {
                let evaluation =
                    shell("sleep 1000").with_limits(limits().with_wall(Duration::from_secs(1000)));
                engine.run(&evaluation, &RunContext::new()).await
            });
        }
        println!("ready {}", by_owner().len());
        while runs.join_next().await.is_some() {}
    });
}

fn running(owner: &str) -> usize {
    by_owner()
        .get(owner)
        .map_or(0, |made| made.iter().filter(|(_, state)| state == "running").count())
}

#[test]
fn a_host_that_is_killed_leaves_nothing_and_takes_nothing_from_others() {
    const CONTAINERS: usize = 50;
    with_daemon(async {
        let neighbour = made(builder()).await.unwrap();
        let sandbox = neighbour.open(SandboxSpec::new().with_limits(limits())).await.unwrap();
        sandbox
            .exec(&Argv::new(["sh", "-c", "echo state > file"]), ExecOptions::new())
            .await
            .unwrap();
        let before = by_owner();
        let mut host = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "owners::a_host_under_load", "--nocapture"])
            .env(ENDLESS, CONTAINERS.to_string())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let mut lines = BufReader::new(host.stdout.take().unwrap()).lines();
        lines.by_ref().map(Result::unwrap).find(|line| line.contains("ready")).unwrap();
        let owner = || by_owner().into_keys().find(|owner| !before.contains_key(owner));
        until("the host has containers", Duration::from_secs(20), || owner().is_some()).await;
        let owner = owner().unwrap();
        // In the middle: some run, some are being made.
        until("they run", Duration::from_secs(150), || running(&owner) > CONTAINERS / 2).await;
        host.kill().unwrap();
        host.wait().unwrap();
        let killed = Instant::now();
        // Each ends with the connection of its host, whoever else there is.
        until("none runs", Duration::from_secs(10), || running(&owner) == 0).await;
        eprintln!("none runs any more after {:?}", killed.elapsed());
        let next = made(builder()).await.unwrap();
        until("none is left", Duration::from_secs(10), || !by_owner().contains_key(&owner)).await;
        eprintln!("none is left after {:?}", killed.elapsed());
        let exit = sandbox.exec(&Argv::new(["cat", "file"]), ExecOptions::new()).await.unwrap();
        assert_eq!(exit.stdout.to_text(), "state\n");
        sandbox.close().await.unwrap();
        next.close().await;
        neighbour.close().await;
    });
}

/// No host comes after the one that was killed: a neighbour that is there removes what it left.
#[test]
fn a_neighbour_removes_what_a_dead_host_left() {
    with_daemon(async {
        let neighbour = made(builder().reap_every(Duration::from_secs(1))).await.unwrap();
        let before = by_owner();
        let mut host = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "owners::a_host_under_load", "--nocapture"])
            .env(ENDLESS, "3")
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let owner = || by_owner().into_keys().find(|owner| !before.contains_key(owner));
        until("the host has containers", Duration::from_secs(20), || {
            owner().is_some_and(|owner| running(&owner) > 1)
        })
        .await;
        let owner = owner().unwrap();
        host.kill().unwrap();
        host.wait().unwrap();
        until("none is left", Duration::from_secs(10), || !by_owner().contains_key(&owner)).await;
        neighbour.close().await;
    });
}

/// Handles that are dropped, sandboxes that are never closed, runs that are given up.
#[test]
fn an_engine_that_is_dropped_leaves_nothing() {
    with_daemon(async {
        let before = by_owner();
        let engine = made(builder().ready_containers(2)).await.unwrap();
        let sandbox = engine.open(SandboxSpec::new().with_limits(limits())).await.unwrap();
        let evaluation = shell("sleep 1000");
        let context = RunContext::new();
        tokio::select! {
            outcome = engine.run(&evaluation, &context) => panic!("{outcome:?}"),
            () = tokio::time::sleep(Duration::from_secs(2)) => {}
        }
        let ours: Vec<String> =
            by_owner().into_keys().filter(|owner| !before.contains_key(owner)).collect();
        drop(sandbox);
        tokio::task::spawn_blocking(move || drop(engine)).await.unwrap();
        let left = by_owner();
        for owner in ours {
            // Those of other tests may come and go meanwhile.
            if let Some(made) = left.get(&owner) {
                until("it is another's", Duration::from_secs(60), || {
                    !by_owner().contains_key(&owner)
                })
                .await;
                eprintln!("{made:?} was another's");
            }
        }
    });
}
