//! Nothing is left: after many runs, after the host was killed, after an engine's own end.

use std::collections::BTreeSet;
use std::io::{BufRead as _, BufReader, Read as _};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::support::{
    cgroups, descendants, engine, eventually, eventually_equal, has_cgroups, members, mounts,
    open_descriptors, threads,
};
use crucible_core::{Engine as _, Evaluation, Limits, RunContext, Verdict};
use crucible_subprocess::SubprocessEngine;
use tokio::sync::Semaphore;

/// Programs of many kinds, each with the exit code that it must get.
fn evaluation(number: usize) -> (Evaluation, Verdict) {
    let exited = |code| Verdict::Exited { code };
    let code = i32::try_from(number % 7).unwrap();
    let (evaluation, verdict) = match number % 5 {
        0 => (Evaluation::shell(format!("exit {code}")), exited(code)),
        1 => (Evaluation::shell("cat").with_stdin(vec![b'x'; 10_000]), exited(0)),
        2 => (Evaluation::shell("sleep 1000 & setsid sleep 1000 & exit 1"), exited(1)),
        3 => (Evaluation::command(["/no/such/program"]), not_started()),
        _ => (Evaluation::shell("echo x > /tmp/f; kill -SEGV $$").with_file("a/b", "c"), segv()),
    };
    (evaluation.with_limits(Limits::new().with_wall(Duration::from_secs(60))), verdict)
}

const WALL: Verdict = Verdict::LimitExceeded { limit: crucible_core::Limit::Wall };

fn not_started() -> Verdict {
    Verdict::NotStarted { reason: crucible_core::NotStartedReason::NoSuchProgram }
}

fn segv() -> Verdict {
    Verdict::Signaled { signal: crucible_core::Signal::SEGV }
}

/// Processes, mounts, cgroups, descriptors, threads, files: as many after a thousand runs as before.
#[test]
fn a_thousand_runs_at_sixteen_at_once_leave_nothing() {
    // Where tokio handles signals it keeps a pair of sockets, once there has been a runtime, for as long as the process lives.
    drop(tokio::runtime::Runtime::new().unwrap());
    let before = (open_descriptors(), mounts(), threads(), descendants(own_pid()).len());
    let files_before = temporary_files();
    let runtime =
        tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    let engine = engine();
    let directories = if has_cgroups() { cgroups(&engine) } else { Vec::new() };
    // What the engine keeps ready while it has nothing to do.
    let ready = || (open_descriptors(), groups(&directories));
    let idle = settled(ready);
    runtime.block_on(async {
        let room = Arc::new(Semaphore::new(16));
        let mut runs = tokio::task::JoinSet::new();
        for number in 0..1000 {
            let (engine, room) = (engine.clone(), Arc::clone(&room));
            runs.spawn(async move {
                let _place = room.acquire().await.unwrap();
                let (evaluation, verdict) = evaluation(number);
                let outcome = engine.run(&evaluation, &RunContext::new()).await;
                let outcome = outcome
                    .unwrap_or_else(|error| panic!("{}", crucible_core::error_chain(&error)));
                assert_eq!(*outcome.verdict(), verdict, "{number}");
            });
        }
        while let Some(run) = runs.join_next().await {
            run.unwrap();
        }
    });
    // The engine still lives: its spawner, and as many groups as before, in which nothing runs.
    eventually_equal("processes in the engine's cgroups", &BTreeSet::new(), || {
        members(&directories)
    });
    eventually_equal("descriptors and groups that are ready", &idle, ready);
    drop(engine);
    drop(runtime);
    for directory in &directories {
        assert!(!directory.exists(), "{directory:?} is left");
    }
    assert_eq!(temporary_files(), files_before);
    eventually_equal("descriptors, mounts, threads, processes", &before, || {
        (open_descriptors(), mounts(), threads(), descendants(own_pid()).len())
    });
}

/// How many groups there are beneath these directories.
fn groups(directories: &[PathBuf]) -> usize {
    let entries = directories.iter().flat_map(|directory| std::fs::read_dir(directory).unwrap());
    entries.filter(|entry| entry.as_ref().unwrap().path().is_dir()).count()
}

/// What a figure is once it has not changed for a while.
fn settled<T: PartialEq>(look: impl Fn() -> T) -> T {
    let mut last = look();
    let mut since = Instant::now();
    while since.elapsed() < Duration::from_millis(500) {
        std::thread::sleep(Duration::from_millis(10));
        let now = look();
        if now != last {
            (last, since) = (now, Instant::now());
        }
    }
    last
}

fn own_pid() -> i32 {
    i32::try_from(std::process::id()).unwrap()
}

/// What this library could have left in places for temporary files.
fn temporary_files() -> BTreeSet<String> {
    let mut names = BTreeSet::new();
    for directory in ["/tmp", "/var/tmp", "/dev/shm", "/run"] {
        for entry in std::fs::read_dir(directory).into_iter().flatten().flatten() {
            let name = entry.file_name().to_string_lossy().into_owned();
            // Other tests have their own.
            if name.contains("crucible") && name != "crucible" && !name.contains('-') {
                names.insert(format!("{directory}/{name}"));
            }
        }
    }
    names
}

/// Tells `a_host_under_load` that it is the host of the test after it, and goes on until it is killed.
const ENDLESS: &str = "CRUCIBLE_TEST_ENDLESS_HOST";

/// Hosts are under load all the time; the next test starts one of its own, which it kills.
#[test]
fn a_host_under_load() {
    let rounds = if std::env::var_os(ENDLESS).is_some() { usize::MAX } else { 5 };
    let runtime =
        tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    let engine = engine();
    let directories = if has_cgroups() { cgroups(&engine) } else { Vec::new() };
    let directories: Vec<_> = directories.iter().map(|path| path.display().to_string()).collect();
    // On a line of its own: the test harness has written the beginning of one.
    println!("\nready {}", directories.join(" "));
    runtime.block_on(async {
        let mut runs = tokio::task::JoinSet::new();
        for worker in 0..16_usize {
            let engine = engine.clone();
            runs.spawn(async move {
                for round in 0..rounds {
                    let (evaluation, verdict) = if (worker + round) % 2 == 0 {
                        let limits = Limits::new().with_wall(Duration::from_millis(700));
                        let stubborn = "trap '' HUP TERM INT; setsid sleep 1000 & sleep 1000";
                        (Evaluation::shell(stubborn).with_limits(limits), WALL)
                    } else {
                        evaluation(round)
                    };
                    let outcome = engine.run(&evaluation, &RunContext::new()).await.unwrap();
                    assert_eq!(*outcome.verdict(), verdict);
                }
            });
        }
        while let Some(run) = runs.join_next().await {
            run.unwrap();
        }
    });
}

/// A host that is killed takes everything that runs with it, and the next engine removes the rest.
#[test]
fn a_host_that_is_killed_leaves_nothing_that_runs() {
    // Where a group was delegated, this moves to a place in it where the hosts below are in nobody's way.
    drop(engine());
    for round in 0..3 {
        let mut host = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "leftovers::a_host_under_load", "--nocapture"])
            .env(ENDLESS, "1")
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let mut lines = BufReader::new(host.stdout.take().unwrap()).lines();
        let ready =
            lines.by_ref().map(Result::unwrap).find(|line| line.starts_with("ready")).unwrap();
        let directories: Vec<String> = ready.split(' ').skip(1).map(str::to_owned).collect();
        let pid = i32::try_from(host.id()).unwrap();
        eventually(Duration::from_secs(20), "sandboxes under way", || {
            let count = descendants(pid).len();
            if count > 20 { Ok(()) } else { Err(count) }
        });
        std::thread::sleep(Duration::from_millis(100 * round));
        let family: Vec<_> =
            descendants(pid).into_iter().filter_map(|pid| Some((pid, started(pid)?))).collect();
        host.kill().unwrap();
        let killed = Instant::now();
        host.wait().unwrap();
        eventually(Duration::from_secs(2), "processes of the dead host", || {
            let left: Vec<_> =
                family.iter().filter(|(pid, start)| started(*pid) == Some(*start)).collect();
            if left.is_empty() { Ok(()) } else { Err(left.len()) }
        });
        // Some may have been made between the look at its family and the kill.
        eventually(Duration::from_secs(2), "processes in the dead host's groups", || {
            let left: BTreeSet<_> =
                directories.iter().flat_map(|directory| members(&[directory.into()])).collect();
            if left.is_empty() { Ok(()) } else { Err(left) }
        });
        assert!(killed.elapsed() < Duration::from_secs(2));
        drop(engine());
        for directory in &directories {
            assert!(!Path::new(directory).exists(), "{directory} is left");
        }
    }
}

/// When a process was started; `None` if there is none, or it is dead and waits for its parent.
fn started(pid: i32) -> Option<u64> {
    let mut stat = String::new();
    std::fs::File::open(format!("/proc/{pid}/stat")).ok()?.read_to_string(&mut stat).ok()?;
    let fields = &stat[stat.rfind(')')? + 2..];
    if fields.starts_with('Z') {
        return None;
    }
    fields.split(' ').nth(19)?.parse().ok()
}

/// A sandbox that is dropped, and an engine that is dropped with it, end what runs.
#[test]
fn an_engine_that_is_dropped_takes_its_sandboxes_with_it() {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let engine = engine();
    let before = descendants(own_pid());
    let sandbox = runtime.block_on(async {
        let sandbox = engine.open(crucible_core::SandboxSpec::new()).await.unwrap();
        let command = crucible_core::Command::new([
            "sh",
            "-c",
            "sleep 1000 >/dev/null 2>&1 & setsid sleep 1000 & exit 0",
        ]);
        assert!(
            sandbox
                .exec(&command, crucible_core::ExecOptions::new())
                .await
                .unwrap()
                .verdict()
                .is_success()
        );
        sandbox
    });
    let of_the_sandbox = || descendants(own_pid()).difference(&before).count();
    assert!(of_the_sandbox() >= 3);
    drop(engine);
    // The sandbox keeps the engine alive, outside of any runtime.
    drop(runtime);
    assert!(of_the_sandbox() >= 3);
    drop(sandbox);
    eventually_equal("processes", &BTreeSet::from([own_pid()]), || descendants(own_pid()));
}

/// A spawner that dies takes its sandboxes with it; the run is lost, as the infrastructure's doing, and the next run is
/// right.
#[test]
fn a_spawner_that_dies_is_started_again() {
    let runtime =
        tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    let engine: SubprocessEngine = engine();
    runtime.block_on(async {
        let run = tokio::spawn({
            let engine = engine.clone();
            async move { engine.run(&Evaluation::shell("sleep 1000"), &RunContext::new()).await }
        });
        let spawner = loop {
            let family = descendants(own_pid());
            // The program itself: a guest could be that of the engine's own trial, on its way out.
            let runs = family.iter().any(|pid| name(*pid) == "sleep");
            let spawner = family.iter().find(|pid| name(**pid) == "crucible-spawn").copied();
            if let (Some(spawner), true) = (spawner, runs) {
                break spawner;
            }
            tokio::time::sleep(Duration::from_millis(5)).await;
        };
        let pid = rustix::process::Pid::from_raw(spawner).unwrap();
        rustix::process::kill_process(pid, rustix::process::Signal::KILL).unwrap();
        let error = run.await.unwrap().unwrap_err();
        assert!(error.is_retryable(), "{}", crucible_core::error_chain(&error));
        for _ in 0..3 {
            let outcome =
                engine.run(&Evaluation::shell("exit 6"), &RunContext::new()).await.unwrap();
            assert_eq!(*outcome.verdict(), Verdict::Exited { code: 6 });
        }
        engine.health().await.unwrap();
    });
}

fn name(pid: i32) -> String {
    std::fs::read_to_string(format!("/proc/{pid}/comm")).unwrap_or_default().trim().to_owned()
}
