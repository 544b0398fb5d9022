//! Containers that are started ahead of time.

use std::time::Duration;

use crucible_core::Engine as _;
use crucible_docker::DockerEngine;

use super::support::{builder, docker, limits, made, outcome, shell, until, with_daemon};
use super::wire::{Action, Wire};

async fn ready(engine: &DockerEngine, count: u64) {
    until("warm containers", Duration::from_secs(20), || engine.ready_stats().ready == count).await;
}

#[test]
fn each_is_used_once_and_another_comes_for_it() {
    with_daemon(async {
        let engine = made(builder().ready_containers(2)).await.unwrap();
        assert!(outcome(&engine, &shell("true")).await.is_success());
        assert_eq!((engine.ready_stats().hits, engine.ready_stats().misses), (0, 1));
        for round in 0..4 {
            ready(&engine, 2).await;
            // What one leaves, the next must not find: files, processes, shared memory; nor its user.
            let script = "ls -A /tmp /box /dev/shm; ls -d /proc/[0-9]* | wc -l; id -u; \
                          touch /tmp/left /box/left /dev/shm/left; sleep 100 >/dev/null 2>&1 &";
            let text = outcome(&engine, &shell(script)).await.stdout.to_text().into_owned();
            assert!(!text.contains("left"), "{text}");
            assert_eq!(engine.ready_stats().hits, round + 1);
        }
        let stats = engine.ready_stats();
        assert!(stats.made >= 5 && stats.failed == 0, "{stats:?}");
        engine.close().await;
    });
}

/// Other limits are another kind of container.
#[test]
fn one_that_was_made_for_other_limits_is_not_used() {
    with_daemon(async {
        let engine = made(builder().ready_containers(1)).await.unwrap();
        assert!(outcome(&engine, &shell("true")).await.is_success());
        ready(&engine, 1).await;
        let other = shell(
            "cat /sys/fs/cgroup/memory/memory.limit_in_bytes /sys/fs/cgroup/memory.max 2>/dev/null",
        );
        let other = other.with_limits(limits().with_memory_bytes(96 << 20));
        assert!(outcome(&engine, &other).await.stdout.to_text().starts_with("100663296"));
        assert_eq!((engine.ready_stats().hits, engine.ready_stats().misses), (0, 2));
        engine.close().await;
    });
}

#[test]
fn one_that_was_removed_meanwhile_is_replaced() {
    with_daemon(async {
        let wire = Wire::new(|_| Action::Pass);
        let engine = made(builder().endpoint(&wire.endpoint).ready_containers(1)).await.unwrap();
        assert!(outcome(&engine, &shell("true")).await.is_success());
        ready(&engine, 1).await;
        let warm = wire.made().pop().unwrap();
        docker(&["rm", "--force", "--volumes", &warm]);
        assert!(outcome(&engine, &shell("true")).await.is_success());
        assert_eq!(engine.ready_stats().failed, 1);
        engine.close().await;
    });
}

#[test]
fn one_that_waits_too_long_goes() {
    with_daemon(async {
        let engine =
            made(builder().ready_containers(1).ready_age(Duration::from_secs(2))).await.unwrap();
        assert!(outcome(&engine, &shell("true")).await.is_success());
        ready(&engine, 1).await;
        until("it is gone", Duration::from_secs(10), || engine.ready_stats().aged >= 1).await;
        // Nobody asks for its kind any more.
        until("none comes", Duration::from_secs(10), || engine.ready_stats().ready == 0).await;
        engine.close().await;
    });
}

/// Where there may be no more, one that only waits gives way.
#[test]
fn those_that_wait_hold_nobody_up() {
    with_daemon(async {
        let engine = made(builder().ready_containers(1).containers_max(2)).await.unwrap();
        for memory in [96_u64, 112, 128, 96] {
            let evaluation = shell("true").with_limits(limits().with_memory_bytes(memory << 20));
            let run = tokio::time::timeout(Duration::from_secs(20), outcome(&engine, &evaluation));
            assert!(run.await.expect("it runs").is_success());
        }
        assert!(engine.health().await.is_ok());
        engine.close().await;
    });
}
