//! Containers that are started ahead of time.

use std::time::Duration;

use crucible_core::Engine as _;
use crucible_docker::DockerEngine;

use super::support::{
    build_engine, builder, docker, limits, outcome, shell, wait_until, with_daemon,
};
use super::test_proxy::{CallAction, TestProxy};

async fn ready(engine: &DockerEngine, count: u64) {
    wait_until("ready containers", Duration::from_secs(20), || engine.ready_stats().ready == count)
        .await;
}

#[test]
fn ready_container_is_used_once_and_replaced() {
    with_daemon(async {
        let engine = build_engine(builder().ready_containers(2)).await.unwrap();
        assert!(outcome(&engine, &shell("true")).await.is_success());
        assert_eq!((engine.ready_stats().hits, engine.ready_stats().misses), (0, 1));
        for round in 0..4 {
            ready(&engine, 2).await;
            // The next sandbox must not find files, processes or shared memory of this one, nor
            // have its user id.
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

#[test]
fn ready_container_with_other_limits_is_not_used() {
    with_daemon(async {
        let engine = build_engine(builder().ready_containers(1)).await.unwrap();
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
fn removed_ready_container_is_replaced() {
    with_daemon(async {
        let proxy = TestProxy::new(|_| CallAction::Pass);
        let engine =
            build_engine(builder().endpoint(&proxy.endpoint).ready_containers(1)).await.unwrap();
        assert!(outcome(&engine, &shell("true")).await.is_success());
        ready(&engine, 1).await;
        let ready_name = proxy.created().pop().unwrap();
        docker(&["rm", "--force", "--volumes", &ready_name]);
        assert!(outcome(&engine, &shell("true")).await.is_success());
        assert_eq!(engine.ready_stats().failed, 1);
        engine.close().await;
    });
}

#[test]
fn expired_ready_container_is_discarded() {
    with_daemon(async {
        let engine = build_engine(builder().ready_containers(1).ready_age(Duration::from_secs(2)))
            .await
            .unwrap();
        assert!(outcome(&engine, &shell("true")).await.is_success());
        ready(&engine, 1).await;
        wait_until("the container is discarded", Duration::from_secs(10), || {
            engine.ready_stats().aged >= 1
        })
        .await;
        // The kind is evicted, because no run requests it.
        wait_until("no container is ready", Duration::from_secs(10), || {
            engine.ready_stats().ready == 0
        })
        .await;
        engine.close().await;
    });
}

/// At `containers_max`, a ready container makes room for a run.
#[test]
fn ready_containers_do_not_block_runs() {
    with_daemon(async {
        let engine = build_engine(builder().ready_containers(1).containers_max(2)).await.unwrap();
        for memory in [96_u64, 112, 128, 96] {
            let evaluation = shell("true").with_limits(limits().with_memory_bytes(memory << 20));
            let run = tokio::time::timeout(Duration::from_secs(20), outcome(&engine, &evaluation));
            assert!(run.await.expect("it runs").is_success());
        }
        assert!(engine.health().await.is_ok());
        engine.close().await;
    });
}
