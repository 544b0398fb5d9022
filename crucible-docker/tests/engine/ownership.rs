//! Ownership: containers of a dead host are removed, and those of a live host are kept.

use std::io::{BufRead as _, BufReader};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use crucible_core::{Command as Argv, Engine as _, ExecOptions, RunContext, SandboxSpec};
use tokio::task::JoinSet;

use super::support::{
    build_engine, builder, by_owner, limits, run, shell, wait_until, with_daemon,
};

/// The number of sandboxes of a host that runs until it is killed.
const ENDLESS: &str = "CRUCIBLE_TEST_ENDLESS";

/// The host that other tests kill. It is not a test by itself.
#[test]
fn host_under_load() {
    let Ok(count) = std::env::var(ENDLESS) else { return };
    let count: usize = count.parse().unwrap();
    run(async {
        let engine = build_engine(builder().containers_max(count + 1)).await.unwrap();
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
fn containers_of_a_killed_host_end_and_neighbours_continue() {
    const CONTAINERS: usize = 50;
    with_daemon(async {
        let neighbour = build_engine(builder()).await.unwrap();
        let sandbox = neighbour.open(SandboxSpec::new().with_limits(limits())).await.unwrap();
        sandbox
            .exec(&Argv::new(["sh", "-c", "echo state > file"]), ExecOptions::new())
            .await
            .unwrap();
        let before = by_owner();
        let mut host = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "ownership::host_under_load", "--nocapture"])
            .env(ENDLESS, CONTAINERS.to_string())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let mut lines = BufReader::new(host.stdout.take().unwrap()).lines();
        lines.by_ref().map(Result::unwrap).find(|line| line.contains("ready")).unwrap();
        let owner = || by_owner().into_keys().find(|owner| !before.contains_key(owner));
        wait_until("the host has containers", Duration::from_secs(20), || owner().is_some()).await;
        let owner = owner().unwrap();
        // At this time some containers run, and some are being created.
        wait_until("the containers run", Duration::from_secs(150), || {
            running(&owner) > CONTAINERS / 2
        })
        .await;
        host.kill().unwrap();
        host.wait().unwrap();
        let killed = Instant::now();
        // Each container ends with the connection of its host.
        wait_until("no container runs", Duration::from_secs(10), || running(&owner) == 0).await;
        eprintln!("no container runs after {:?}", killed.elapsed());
        let next = build_engine(builder()).await.unwrap();
        wait_until("no container remains", Duration::from_secs(10), || {
            !by_owner().contains_key(&owner)
        })
        .await;
        eprintln!("no container remains after {:?}", killed.elapsed());
        let exit = sandbox.exec(&Argv::new(["cat", "file"]), ExecOptions::new()).await.unwrap();
        assert_eq!(exit.stdout.to_text(), "state\n");
        sandbox.close().await.unwrap();
        next.close().await;
        neighbour.close().await;
    });
}

/// No engine starts after the host was killed. A running neighbour removes the containers.
#[test]
fn neighbour_removes_the_containers_of_a_dead_host() {
    with_daemon(async {
        let neighbour = build_engine(builder().reap_every(Duration::from_secs(1))).await.unwrap();
        let before = by_owner();
        let mut host = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "ownership::host_under_load", "--nocapture"])
            .env(ENDLESS, "3")
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let owner = || by_owner().into_keys().find(|owner| !before.contains_key(owner));
        wait_until("the host has containers", Duration::from_secs(20), || {
            owner().is_some_and(|owner| running(&owner) > 1)
        })
        .await;
        let owner = owner().unwrap();
        host.kill().unwrap();
        host.wait().unwrap();
        wait_until("no container remains", Duration::from_secs(10), || {
            !by_owner().contains_key(&owner)
        })
        .await;
        neighbour.close().await;
    });
}

/// Covers dropped handles, sandboxes that are never closed, and abandoned runs.
#[test]
fn dropped_engine_leaves_no_container() {
    with_daemon(async {
        let before = by_owner();
        let engine = build_engine(builder().ready_containers(2)).await.unwrap();
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
            // Containers of other tests may appear and disappear meanwhile.
            if let Some(made) = left.get(&owner) {
                wait_until(
                    "the container of another test is removed",
                    Duration::from_secs(60),
                    || !by_owner().contains_key(&owner),
                )
                .await;
                eprintln!("{made:?} belonged to another test");
            }
        }
    });
}
