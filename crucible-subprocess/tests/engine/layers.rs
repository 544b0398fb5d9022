//! Tests of single layers: each has an action that works without the layer and fails with it.
//!
//! If another layer forbids the same action, both engines waive that other layer.

use std::collections::BTreeSet;
use std::os::linux::net::SocketAddrExt as _;
use std::os::unix::net::{SocketAddr, UnixListener};

use super::runs::{printed, python, run, without};
use super::support::has_cgroups;
use crucible_core::{Engine as _, Evaluation, Layer, Limits, Verdict};

/// Returns the output of a Python program with all layers except `others`, and without `layer` as
/// well.
#[track_caller]
fn with_and_without(layer: Layer, others: &[Layer], source: &str) -> (String, String) {
    let both: Vec<_> = others.iter().copied().chain([layer]).collect();
    let limits = Limits::new().with_open_files(64);
    (python(&without(others), &limits, source), python(&without(&both), &limits, source))
}

#[test]
fn seccomp_refuses_namespaces_and_keyrings() {
    // `CLONE_NEWUSER`, and `KEYCTL_GET_KEYRING_ID` of the session keyring, which it creates if
    // missing.
    let source = "
import ctypes
libc = ctypes.CDLL(None, use_errno=True)
print(libc.syscall(250, 0, -3, 1) > 0, libc.unshare(0x10000000) == 0)";
    let evaluation = Evaluation::python(source);
    let with = run(&without(&[]), &evaluation);
    assert_eq!(with.stdout.to_text(), "False False\n", "{}", with.stderr.to_text());
    let what = "unshare(2) with a new namespace was refused, once".to_owned();
    assert_eq!(*with.verdict(), Verdict::PolicyViolation { what });
    assert_eq!(printed(&run(&without(&[Layer::Seccomp]), &evaluation)), "True True");
}

#[test]
fn network_namespace_hides_host_interfaces() {
    let source = "
import os
print(os.readlink('/proc/self/ns/net'))
print(*sorted(line.split(':')[0].strip() for line in open('/proc/net/dev') if ':' in line))";
    let (with, without) = with_and_without(Layer::NetworkNamespace, &[], source);
    let table = std::fs::read_to_string("/proc/net/dev").unwrap();
    let names: BTreeSet<_> =
        table.lines().filter_map(|line| Some(line.split_once(':')?.0.trim())).collect();
    let hosts = std::fs::read_link("/proc/self/ns/net").unwrap();
    let hosts = format!("{}\n{}", hosts.display(), names.into_iter().collect::<Vec<_>>().join(" "));
    assert_eq!(without, hosts);
    assert_ne!(with.lines().next(), hosts.lines().next());
    // Some kernels create unconnected tunnels in every namespace.
    let fallback = [
        "lo", "tunl0", "gre0", "gretap0", "erspan0", "ip_vti0", "ip6_vti0", "sit0", "ip6tnl0",
        "ip6gre0",
    ];
    for name in with.lines().nth(1).unwrap().split(' ') {
        assert!(fallback.contains(&name), "{with}");
    }
}

/// Returns an abstract socket of the host, and a Python program that connects to it.
fn abstract_socket(name: &str) -> (UnixListener, String) {
    let name = format!("crucible-test-{name}-{}", std::process::id());
    let listener =
        UnixListener::bind_addr(&SocketAddr::from_abstract_name(&name).unwrap()).unwrap();
    let source = format!(
        "
import socket
try:
    socket.socket(socket.AF_UNIX).connect('\\0{name}')
    print('connected')
except OSError as error:
    print(error.strerror)"
    );
    (listener, source)
}

#[test]
fn network_namespace_hides_host_abstract_sockets() {
    let (_listener, source) = abstract_socket("network");
    let (with, without) = with_and_without(Layer::NetworkNamespace, &[Layer::Landlock], &source);
    assert_eq!((with.as_str(), without.as_str()), ("Connection refused", "connected"));
}

/// The mounts forbid every file access that the ruleset forbids, and the network namespace forbids
/// TCP. Only the scope for abstract sockets shows this layer alone. It exists since the sixth ABI;
/// before it, the layer has no effect that this test can observe.
#[test]
fn landlock_refuses_host_abstract_sockets() {
    let enforcement = without(&[]).info().enforcement;
    let report =
        enforcement.reports().iter().find(|report| report.layer == Layer::Landlock).unwrap();
    let abi: u32 = report.detail.strip_prefix("ABI ").unwrap().parse().unwrap();
    let (_listener, source) = abstract_socket("landlock");
    let (with, without) = with_and_without(Layer::Landlock, &[Layer::NetworkNamespace], &source);
    assert_eq!(without, "connected");
    assert_eq!(with, if abi >= 6 { "Operation not permitted" } else { "connected" });
}

#[test]
fn uts_namespace_has_its_own_host_name() {
    let source = "import os; print(os.uname().nodename)";
    let (with, without) = with_and_without(Layer::UtsNamespace, &[], source);
    let host = std::fs::read_to_string("/proc/sys/kernel/hostname").unwrap();
    assert_eq!((with.as_str(), without.as_str()), ("sandbox", host.trim()));
}

#[test]
fn cgroup_namespace_hides_host_tree() {
    let source =
        "print({line.split(':', 2)[2].strip() for line in open('/proc/self/cgroup')} == {'/'})";
    let (with, without) = with_and_without(Layer::CgroupNamespace, &[], source);
    assert_eq!(with, "True");
    // A user without a cgroup may be in the root group of the host, with or without the layer.
    if has_cgroups() {
        assert_eq!(without, "False");
    }
}

/// A shared memory segment of the host that every user can read; removed when dropped.
struct Segment(String);

impl Segment {
    fn new() -> Self {
        let source = "
import ctypes
libc = ctypes.CDLL(None)
libc.shmat.restype = ctypes.c_void_p
number = libc.shmget(0, 4096, 0o1666)
ctypes.memmove(libc.shmat(number, None, 0), b'the secret', 11)
print(number)";
        Self(run_on_host(source))
    }
}

impl Drop for Segment {
    fn drop(&mut self) {
        run_on_host(&format!("import ctypes; ctypes.CDLL(None).shmctl({}, 0, None)", self.0));
    }
}

fn run_on_host(source: &str) -> String {
    let output =
        std::process::Command::new("/usr/bin/python3").args(["-c", source]).output().unwrap();
    String::from_utf8(output.stdout).unwrap().trim().to_owned()
}

#[test]
fn ipc_namespace_hides_host_shared_memory() {
    let segment = Segment::new();
    let source = format!(
        "
import ctypes
libc = ctypes.CDLL(None)
libc.shmat.restype = ctypes.c_void_p
listed = any(line.split()[1] == '{0}' for line in open('/proc/sysvipc/shm'))
place = libc.shmat({0}, None, 0o10000)
print(listed, ctypes.string_at(place) if place != ctypes.c_void_p(-1).value else None)",
        segment.0
    );
    let (with, without) = with_and_without(Layer::IpcNamespace, &[], &source);
    assert_eq!((with.as_str(), without.as_str()), ("False None", "True b'the secret'"));
}

#[test]
fn rlimits_bound_open_files() {
    let source = "
import resource
files = []
try:
    while len(files) < 200:
        files.append(open('/dev/null'))
except OSError as error:
    print(error.strerror)
print(resource.getrlimit(resource.RLIMIT_CORE))
print(len(files) < 64)";
    let (with, without) = with_and_without(Layer::Rlimits, &[], source);
    assert_eq!(with, "Too many open files\n(1, 1)\nTrue");
    assert!(without.ends_with("\nFalse") && !without.contains("Too many"), "{without}");
}

/// Without the layer all sandboxes of root run as the same user, `nobody`.
#[test]
fn dedicated_user_is_in_the_reserved_range() {
    let source = "
for line in open('/proc/self/uid_map'):
    inside, outside, _ = line.split()
    if inside == '1000':
        print(outside)";
    let (with, without) = with_and_without(Layer::DedicatedUser, &[], source);
    if rustix::process::geteuid().is_root() {
        assert_eq!(without, "65534");
        assert!(with.parse::<u32>().unwrap() >= 0x7000_0000, "{with}");
    } else {
        assert_eq!(with, without);
    }
}
