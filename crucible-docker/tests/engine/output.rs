//! The output of containers.

use std::time::Duration;

use crucible_core::{Engine as _, RunContext};
use tokio::task::JoinSet;

use super::support::{build_engine, builder, gvisor, limits, outcome, run, shell, with_daemon};

/// Returns the number of containers that print and exit. `CRUCIBLE_DOCKER_RUNS` overrides it.
fn runs() -> usize {
    std::env::var("CRUCIBLE_DOCKER_RUNS").map_or(60, |text| text.parse().unwrap())
}

/// A container that prints and exits immediately races with the attach call, and loses no output.
#[test]
fn output_before_an_immediate_exit_is_complete() {
    with_daemon(async {
        let engine = build_engine(builder()).await.unwrap();
        let (runs, mut under_way, mut complete) = (runs(), JoinSet::new(), 0);
        for number in 0..runs {
            let engine = engine.clone();
            under_way.spawn(async move {
                let evaluation =
                    shell(&format!("echo {number}; echo error {number} >&2; exec seq 1 2000"));
                let outcome = engine.run(&evaluation, &RunContext::new()).await.unwrap();
                assert!(outcome.is_success(), "{}", outcome.verdict());
                let sequence: String = (1..=2000).map(|n| format!("{n}\n")).collect();
                assert_eq!(outcome.stdout.to_text(), format!("{number}\n{sequence}"));
                assert_eq!(outcome.stderr.to_text(), format!("error {number}\n"));
            });
            if under_way.len() >= 8 {
                under_way.join_next().await.unwrap().unwrap();
                complete += 1;
            }
        }
        while let Some(ended) = under_way.join_next().await {
            ended.unwrap();
            complete += 1;
        }
        assert_eq!(complete, runs);
        engine.close().await;
    });
}

fn peak_kib() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap();
    line.trim().trim_end_matches(" kB").parse().unwrap()
}

/// A GiB is counted to the byte. This process does not keep it, and the daemon writes no log.
#[test]
fn gibibyte_of_output_is_counted_but_not_kept() {
    const GIB: u64 = 1 << 30;
    with_daemon(async {
        let engine = build_engine(builder()).await.unwrap();
        assert!(outcome(&engine, &shell("true")).await.is_success());
        let before = peak_kib();
        let limits = limits()
            .with_output_bytes(2 * GIB)
            .with_wall(Duration::from_secs(50))
            .with_cpu(Duration::from_secs(50));
        let written =
            outcome(&engine, &shell("exec head -c 1073741824 /dev/zero").with_limits(limits)).await;
        assert!(written.is_success(), "{}", written.verdict());
        assert_eq!(written.stdout.total_bytes, GIB);
        let grown = (peak_kib() - before) / 1024;
        assert!(grown < 64, "this process grew by {grown} MiB");
        engine.close().await;
    });
}

/// gVisor relays the output through a stream of its own.
#[test]
fn sixty_four_mebibytes_through_gvisor_are_complete() {
    run(async {
        let engine = match build_engine(gvisor()).await {
            Ok(engine) => engine,
            Err(reason) => return eprintln!("SKIPPED: {reason}"),
        };
        let limits = limits()
            .with_output_bytes(1 << 30)
            .with_wall(Duration::from_secs(50))
            .with_cpu(Duration::from_secs(50));
        let written =
            outcome(&engine, &shell("exec head -c 67108864 /dev/zero").with_limits(limits)).await;
        assert!(written.is_success(), "{}", written.verdict());
        assert_eq!(written.stdout.total_bytes, 64 << 20);
        engine.close().await;
    });
}
