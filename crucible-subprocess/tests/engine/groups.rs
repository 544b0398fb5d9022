//! Tests of counts and limits that only cgroups provide.

use super::runs::{printed, run, without};
use crucible_core::{Evaluation, Evidence, Layer, Limit, Limits, Outcome, Verdict};
use crucible_subprocess::SubprocessEngine;

const MIB: u64 = 1024 * 1024;

fn outcome_with_and_without(layer: Layer, limits: &Limits, source: &str) -> (Outcome, Outcome) {
    let evaluation = Evaluation::python(source).with_limits(limits.clone());
    let engines: [SubprocessEngine; 2] = [without(&[]), without(&[layer])];
    let [with, without] = engines.map(|engine| run(&engine, &evaluation));
    (with, without)
}

/// Without the layer the kernel's limit for a user bounds the processes, but no refusal is
/// reported.
#[test]
fn pids_cgroup_counts_refused_processes() {
    let source = "
import os, signal, time
children = []
try:
    while len(children) < 100:
        child = os.fork()
        if child == 0:
            time.sleep(60)
            os._exit(0)
        children.append(child)
except OSError as error:
    print(error.strerror)
for child in children:
    os.kill(child, signal.SIGKILL)
print(len(children))";
    let (with, without) =
        outcome_with_and_without(Layer::PidsCgroup, &Limits::new().with_processes(20), source);
    assert_eq!(printed(&without), "Resource temporarily unavailable\n19");
    let refused = |outcome: &Outcome| {
        outcome.evidence().iter().any(|e| matches!(e, Evidence::ForkRefused { .. }))
    };
    assert!(!refused(&without), "{:?}", without.evidence());
    if with.enforcement.enforces(Layer::PidsCgroup) {
        assert!(refused(&with), "{:?}", with.evidence());
        assert_eq!(*with.verdict(), Verdict::LimitExceeded { limit: Limit::Processes });
    }
}

/// Each of four processes is within the limit, and together they exceed it.
#[test]
fn memory_cgroup_limits_all_processes_together() {
    let source = "
import os
ends = []
for _ in range(4):
    read, write = os.pipe()
    if os.fork() == 0:
        filled = bytearray(os.urandom(1 << 20)) * 50
        os.write(write, b'filled')
        os.close(write)
        os.read(0, 1)
        import time; time.sleep(60)
    os.close(write)
    ends.append(read)
print(*(os.read(end, 6) for end in ends), flush=True)
os.kill(0, 9)";
    let limits = Limits::new().with_memory_bytes(128 * MIB);
    let (with, without) = outcome_with_and_without(Layer::MemoryCgroup, &limits, source);
    assert_eq!(
        without.stdout.to_text().trim(),
        ["b'filled'"; 4].join(" "),
        "{}",
        without.stderr.to_text()
    );
    assert_ne!(*without.verdict(), Verdict::LimitExceeded { limit: Limit::Memory });
    if with.enforcement.enforces(Layer::MemoryCgroup) {
        assert_eq!(
            *with.verdict(),
            Verdict::LimitExceeded { limit: Limit::Memory },
            "{:?}",
            with.evidence()
        );
    }
}

/// The kernel's counter includes processes that samples of `/proc` miss.
#[test]
fn cpu_cgroup_counts_unreaped_processes() {
    let source = "
import os, time
if os.fork() == 0:
    if os.fork() == 0:
        while time.process_time() < 0.3:
            pass
        os._exit(0)
    os._exit(0)
time.sleep(0.8)";
    let (with, _) = outcome_with_and_without(Layer::CpuCgroup, &Limits::new(), source);
    printed(&with);
    if with.enforcement.enforces(Layer::CpuCgroup) {
        assert!(with.usage.cpu().as_millis() >= 300, "{:?}", with.usage);
    }
}
