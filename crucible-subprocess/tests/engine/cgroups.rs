//! Tests of cgroup settings during a run, and of the kernel's counters after it, for versions 1 and
//! 2.
//!
//! With `CRUCIBLE_TEST_CGROUPS=2` the tests fail on a host without version 2.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::runs::{printed, run, without};
use super::support::{cgroups, eventually, has_cgroups, members};
use crucible_core::{
    Ending, Engine as _, Evaluation, Evidence, ExecOptions, Limit, Limits, RunContext, SandboxSpec,
    Verdict,
};
use crucible_subprocess::{SubprocessEngine, doctor};

const MIB: u64 = 1024 * 1024;

fn limits() -> Limits {
    Limits::new().with_memory_bytes(96 * MIB).with_processes(17).with_wall(Duration::from_secs(100))
}

/// Returns `true` if engines use version 2 on this host.
fn is_v2() -> bool {
    let report = doctor();
    let places = report.fact("cgroups").unwrap();
    let found = places.starts_with("version 2 in ");
    assert!(found || places.starts_with("version 1 in "), "{places}");
    if let Ok(wanted) = std::env::var("CRUCIBLE_TEST_CGROUPS") {
        assert_eq!(found, wanted == "2", "{places}");
    }
    found
}

fn read(directory: &Path, file: &str) -> String {
    let path = directory.join(file);
    std::fs::read_to_string(&path)
        .unwrap_or_else(|error| panic!("{}: {error}", path.display()))
        .trim()
        .to_owned()
}

/// Returns the engine's groups that contain processes.
fn groups_in_use(engine: &SubprocessEngine) -> Vec<PathBuf> {
    let beneath = |directory: PathBuf| std::fs::read_dir(directory).into_iter().flatten().flatten();
    let groups = cgroups(engine).into_iter().flat_map(beneath).map(|entry| entry.path());
    groups
        .filter(|group| {
            std::fs::read_to_string(group.join("cgroup.procs")).is_ok_and(|p| !p.is_empty())
        })
        .collect()
}

/// Returns the group that has a file with this name.
fn with_file<'a>(groups: &'a [PathBuf], file: &str) -> &'a Path {
    groups
        .iter()
        .find(|group| group.join(file).exists())
        .unwrap_or_else(|| panic!("no {file} in {groups:?}"))
}

/// Calls `look` with the groups of one sandbox while a program sleeps in it.
fn while_it_sleeps(look: impl FnOnce(&SubprocessEngine, Vec<PathBuf>)) {
    let engine = without(&[]);
    let runtime =
        tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
    let sandbox = runtime.block_on(engine.open(SandboxSpec::new().with_limits(limits()))).unwrap();
    let command = crucible_core::Command::new(["sleep", "1000"]);
    let running = runtime.spawn(async move { sandbox.exec(&command, ExecOptions::new()).await });
    eventually(Duration::from_secs(60), "the guest and its program in their group", || {
        let found = members(&cgroups(&engine));
        let names: BTreeSet<_> = found
            .iter()
            .map(|pid| std::fs::read_to_string(format!("/proc/{pid}/comm")).unwrap_or_default())
            .collect();
        if names.contains("sleep\n") { Ok(()) } else { Err(names) }
    });
    // The engine's trial sandbox may still be closing.
    eventually(Duration::from_secs(60), "the groups of one sandbox", || {
        let found = members(&cgroups(&engine));
        if found.len() == 2 { Ok(()) } else { Err(found) }
    });
    look(&engine, groups_in_use(&engine));
    running.abort();
}

#[test]
fn limits_are_set_in_kernel_files() {
    if !has_cgroups() {
        return;
    }
    let v2 = is_v2();
    while_it_sleeps(|_, groups| {
        let memory = (96 * MIB).to_string();
        // The guest adds one process.
        assert_eq!(read(with_file(&groups, "pids.max"), "pids.max"), "18");
        if v2 {
            let [group] = groups.as_slice() else { panic!("{groups:?}") };
            assert_eq!(read(group, "memory.max"), memory);
            assert_eq!(read(group, "memory.swap.max"), "0");
            assert_eq!(read(group, "memory.oom.group"), "0");
            // The engine counts CPU time and does not throttle it, to tell CPU time and wall time
            // apart.
            if group.join("cpu.max").exists() {
                assert_eq!(read(group, "cpu.max").split(' ').next(), Some("max"));
            }
        } else {
            let group = with_file(&groups, "memory.limit_in_bytes");
            assert_eq!(read(group, "memory.limit_in_bytes"), memory);
            if group.join("memory.memsw.limit_in_bytes").exists() {
                assert_eq!(read(group, "memory.memsw.limit_in_bytes"), memory);
            }
        }
    });
}

/// With version 2 the guest starts in its group (`CLONE_INTO_CGROUP`) and is not moved.
#[test]
fn group_contains_guest_and_program_without_host() {
    if !has_cgroups() {
        return;
    }
    let v2 = is_v2();
    while_it_sleeps(|_, groups| {
        assert_eq!(groups.len(), if v2 { 1 } else { 3 }, "{groups:?}");
        for group in &groups {
            let inside: BTreeSet<i32> =
                read(group, "cgroup.procs").lines().map(|pid| pid.parse().unwrap()).collect();
            assert_eq!(inside.len(), 2, "{inside:?}");
            assert!(!inside.contains(&i32::try_from(std::process::id()).unwrap()));
        }
    });
}

/// `cgroup.kill` (version 2, Linux 5.14) ends a sandbox in one step. A sandbox that another process
/// killed is an infrastructure failure, not the program's.
#[test]
fn group_kill_ends_sandbox_and_gives_no_verdict() {
    if !has_cgroups() || !is_v2() {
        return;
    }
    while_it_sleeps(|engine, groups| {
        let [group] = groups.as_slice() else { panic!("{groups:?}") };
        std::fs::write(group.join("cgroup.kill"), "1").unwrap();
        eventually(Duration::from_secs(10), "processes in a killed group", || {
            let left = members(&cgroups(engine));
            if left.is_empty() { Ok(()) } else { Err(left) }
        });
    });
    let engine = without(&[]);
    let runtime =
        tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
    let running = {
        let (engine, evaluation) =
            (engine.clone(), Evaluation::command(["sleep", "1000"]).with_limits(limits()));
        runtime.spawn(async move { engine.run(&evaluation, &RunContext::new()).await })
    };
    eventually(Duration::from_secs(60), "a killed sandbox", || {
        for group in groups_in_use(&engine) {
            let asleep = members_of(&group).iter().any(|pid| {
                std::fs::read_to_string(format!("/proc/{pid}/comm"))
                    .is_ok_and(|name| name == "sleep\n")
            });
            if asleep {
                return std::fs::write(group.join("cgroup.kill"), "1");
            }
        }
        Err(std::io::Error::from(std::io::ErrorKind::NotFound))
    });
    match runtime.block_on(running).unwrap() {
        Err(crucible_core::EngineError::Lost { .. }) => {}
        other => panic!("{other:?}"),
    }
}

fn members_of(group: &Path) -> Vec<i32> {
    read(group, "cgroup.procs").lines().filter_map(|pid| pid.parse().ok()).collect()
}

/// The kernel's counters show that a child was killed for memory. Its parent's exit code does not.
#[test]
fn child_killed_for_memory_is_found_by_counters() {
    if !has_cgroups() {
        return;
    }
    let v2 = is_v2();
    let source = "
import os, sys
child = os.fork()
if child == 0:
    held = []
    while True:
        held.append(bytearray(os.urandom(4096)) * 256)
_, status = os.waitpid(child, 0)
print(os.WTERMSIG(status))
sys.exit(0)";
    let outcome = run(&without(&[]), &Evaluation::python(source).with_limits(limits()));
    assert_eq!(outcome.stdout.to_text(), "9\n", "{}", outcome.stderr.to_text());
    assert_eq!(outcome.ending(), Some(Ending::Exited { code: 0 }));
    assert_eq!(*outcome.verdict(), Verdict::LimitExceeded { limit: Limit::Memory });
    let counted = outcome.evidence().iter().find_map(|fact| match fact {
        Evidence::OomKilled { count, limit_hits, limit_bytes, peak_bytes } => {
            Some((*count, *limit_hits, *limit_bytes, *peak_bytes))
        }
        _ => None,
    });
    let (count, limit_hits, limit_bytes, peak_bytes) = counted.unwrap();
    assert_eq!((count, limit_bytes), (1, 96 * MIB));
    // Version 1 does not count every refusal. Then the peak shows it.
    assert!(limit_hits > 0 || (!v2 && peak_bytes == Some(limit_bytes)), "{:?}", outcome.evidence());
}

/// The evidence of a program that kills itself contains no OOM kill.
#[test]
fn own_sigkill_is_not_an_oom_kill() {
    let outcome = run(&without(&[]), &Evaluation::shell("kill -KILL $$").with_limits(limits()));
    assert_eq!(*outcome.verdict(), Verdict::Signaled { signal: crucible_core::Signal::KILL });
    assert!(!outcome.evidence().iter().any(|fact| matches!(fact, Evidence::OomKilled { .. })));
}

/// The memory peak is the kernel's count: with version 2 from Linux 5.19, with version 1 always.
#[test]
fn memory_peak_is_the_kernel_count() {
    if !has_cgroups() {
        return;
    }
    is_v2();
    assert!(
        doctor().fact("peaks").unwrap().starts_with("memory counted by the kernel; "),
        "{}",
        doctor()
    );
    // Two processes hold 24 MiB each at the same time, so that the peak is above each of them. The
    // child waits on the pipe until its parent holds its memory as well.
    let source = "
import os
read, write = os.pipe()
if os.fork() == 0:
    os.close(write)
    held = bytearray(os.urandom(4096)) * (24 * 256)
    os.read(read, 1)
    os._exit(0)
os.close(read)
held = bytearray(os.urandom(4096)) * (24 * 256)
os.write(write, b'x')
os.wait()";
    let outcome = run(&without(&[]), &Evaluation::python(source).with_limits(limits()));
    printed(&outcome);
    let peak = outcome.usage.memory_peak_bytes.unwrap();
    assert!((44 * MIB..=96 * MIB).contains(&peak), "{peak}");
}

#[test]
fn refused_forks_are_counted() {
    if !has_cgroups() {
        return;
    }
    is_v2();
    let source = "
import os, time
refused = 0
for _ in range(30):
    try:
        if os.fork() == 0:
            time.sleep(1000)
    except BlockingIOError:
        refused += 1
print(refused)";
    let outcome = run(&without(&[]), &Evaluation::python(source).with_limits(limits()));
    assert_eq!(outcome.stdout.to_text(), "14\n", "{}", outcome.stderr.to_text());
    let counted = outcome.evidence().iter().find_map(|fact| match fact {
        Evidence::ForkRefused { count } => Some(*count),
        _ => None,
    });
    assert_eq!(counted, Some(14));
}
