//! Tests that nothing remains after many runs, after a killed host, and after a dropped engine.

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

/// Returns one of several kinds of programs, and its expected verdict.
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

/// After a thousand runs there are as many processes, mounts, cgroups, descriptors, threads and
/// files as before.
#[test]
fn thousand_concurrent_runs_leave_nothing() {
    // With the first runtime, tokio opens a socket pair for signals and keeps it until the process
    // exits.
    drop(tokio::runtime::Runtime::new().unwrap());
    let before = (open_descriptors(), mounts(), threads(), descendants(own_pid()).len());
    let files_before = temporary_files();
    let runtime =
        tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    let engine = engine();
    let directories = if has_cgroups() { cgroups(&engine) } else { Vec::new() };
    // The objects that an idle engine keeps ready.
    let ready = || (open_descriptors(), groups(&directories));
    let idle = settled(ready);
    runtime.block_on(async {
        let semaphore = Arc::new(Semaphore::new(16));
        let mut runs = tokio::task::JoinSet::new();
        for number in 0..1000 {
            let (engine, semaphore) = (engine.clone(), Arc::clone(&semaphore));
            runs.spawn(async move {
                let _permit = semaphore.acquire().await.unwrap();
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
    // The engine still has its spawner and as many empty groups as before.
    eventually_equal("processes in the engine's cgroups", &BTreeSet::new(), || {
        members(&directories)
    });
    eventually_equal("ready descriptors and groups", &idle, ready);
    drop(engine);
    drop(runtime);
    for directory in &directories {
        assert!(!directory.exists(), "{directory:?} remains");
    }
    assert_eq!(temporary_files(), files_before);
    eventually_equal("descriptors, mounts, threads, processes", &before, || {
        (open_descriptors(), mounts(), threads(), descendants(own_pid()).len())
    });
}

/// Returns the number of groups beneath these directories.
fn groups(directories: &[PathBuf]) -> usize {
    let entries = directories.iter().flat_map(|directory| std::fs::read_dir(directory).unwrap());
    entries.filter(|entry| entry.as_ref().unwrap().path().is_dir()).count()
}

/// Returns a value once it has not changed for half a second.
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

/// Returns files that this library could have left in temporary directories.
fn temporary_files() -> BTreeSet<String> {
    let mut names = BTreeSet::new();
    for directory in ["/tmp", "/var/tmp", "/dev/shm", "/run"] {
        for entry in std::fs::read_dir(directory).into_iter().flatten().flatten() {
            let name = entry.file_name().to_string_lossy().into_owned();
            // Names with a dash belong to other tests.
            if name.contains("crucible") && name != "crucible" && !name.contains('-') {
                names.insert(format!("{directory}/{name}"));
            }
        }
    }
    names
}

/// The variable that makes `host_under_load_gets_right_verdicts` run until it is killed.
const ENDLESS: &str = "CRUCIBLE_TEST_ENDLESS_HOST";

/// Runs a host under load. The next test starts it in another process and kills it.
#[test]
fn host_under_load_gets_right_verdicts() {
    let rounds = if std::env::var_os(ENDLESS).is_some() { usize::MAX } else { 5 };
    let runtime =
        tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    let engine = engine();
    let directories = if has_cgroups() { cgroups(&engine) } else { Vec::new() };
    let directories: Vec<_> = directories.iter().map(|path| path.display().to_string()).collect();
    // Begins a new line, because the test harness has written the beginning of one.
    println!("\nready {}", directories.join(" "));
    runtime.block_on(async {
        let mut runs = tokio::task::JoinSet::new();
        for worker in 0..16_usize {
            let engine = engine.clone();
            runs.spawn(async move {
                for round in 0..rounds {
                    let (evaluation, verdict) = if (worker + round) % 2 == 0 {
                        let limits = Limits::new().with_wall(Duration::from_millis(700));
                        let ignores_signals =
                            "trap '' HUP TERM INT; setsid sleep 1000 & sleep 1000";
                        (Evaluation::shell(ignores_signals).with_limits(limits), WALL)
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

/// The processes of a killed host end with it, and the next engine removes its other objects.
#[test]
fn killed_host_leaves_no_process() {
    // In a delegated group, this moves the test process into a group of its own, so that the hosts
    // below can create theirs.
    drop(engine());
    for round in 0..3 {
        let mut host = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "leftovers::host_under_load_gets_right_verdicts", "--nocapture"])
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
        eventually(Duration::from_secs(20), "running sandboxes", || {
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
        // Processes may have started between the listing and the kill.
        eventually(Duration::from_secs(2), "processes in the dead host's groups", || {
            let left: BTreeSet<_> =
                directories.iter().flat_map(|directory| members(&[directory.into()])).collect();
            if left.is_empty() { Ok(()) } else { Err(left) }
        });
        assert!(killed.elapsed() < Duration::from_secs(2));
        drop(engine());
        for directory in &directories {
            assert!(!Path::new(directory).exists(), "{directory} remains");
        }
    }
}

/// Returns the start time of a process, or `None` if it does not exist or is a zombie.
fn started(pid: i32) -> Option<u64> {
    let mut stat = String::new();
    std::fs::File::open(format!("/proc/{pid}/stat")).ok()?.read_to_string(&mut stat).ok()?;
    let fields = &stat[stat.rfind(')')? + 2..];
    if fields.starts_with('Z') {
        return None;
    }
    fields.split(' ').nth(19)?.parse().ok()
}

/// Dropping the last sandbox of a dropped engine ends its processes and the spawner.
#[test]
fn dropped_engine_and_sandbox_end_all_processes() {
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
    // The sandbox keeps the engine alive, also without a runtime.
    drop(runtime);
    assert!(of_the_sandbox() >= 3);
    drop(sandbox);
    eventually_equal("processes", &BTreeSet::from([own_pid()]), || descendants(own_pid()));
}

/// The sandboxes of a killed spawner end with it. Their runs are lost as infrastructure failures,
/// and the next run succeeds.
#[test]
fn killed_spawner_is_restarted() {
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
            // Looks for the program, because a guest can belong to the engine's closing trial
            // sandbox.
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
