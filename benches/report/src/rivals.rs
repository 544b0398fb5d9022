//! What Crucible is measured beside.

use std::path::Path;
use std::process::Command;

pub(crate) const BUSYBOX: &str = "/bin/busybox";
pub(crate) const PYTHON: &str = "/usr/bin/python3";
const BWRAP: &str = "/usr/bin/bwrap";
const BWRAP_OPTIONS: &str = "--unshare-all --ro-bind /usr /usr --symlink usr/bin /bin --symlink usr/lib /lib \
    --symlink usr/lib64 /lib64 --proc /proc --dev /dev --tmpfs /tmp";

/// Whether a program is there; one that is not is said to be left out.
pub(crate) fn has(program: &str, package: &str) -> bool {
    let is_there = Path::new(program).exists();
    if !is_there {
        eprintln!("{program} is left out: install `{package}`");
    }
    is_there
}

pub(crate) fn has_bwrap() -> bool {
    has(BWRAP, "bubblewrap")
}

/// A program under bubblewrap, with every namespace.
pub(crate) fn bwrap(argv: &[&str]) -> Vec<u8> {
    let mut command = Command::new(BWRAP);
    command.args(BWRAP_OPTIONS.split_whitespace()).args(argv);
    output(&mut command)
}

/// A program by the standard library.
pub(crate) fn standard(argv: &[&str]) -> Vec<u8> {
    let [program, arguments @ ..] = argv else { return Vec::new() };
    output(Command::new(program).args(arguments))
}

/// A program under hakoniwa, with every namespace that it has.
pub(crate) fn hakoniwa(argv: &[&str]) -> Vec<u8> {
    use hakoniwa::{Container, Namespace, Stdio};
    let [program, arguments @ ..] = argv else { return Vec::new() };
    let mut container = Container::new();
    for namespace in [Namespace::Ipc, Namespace::Network, Namespace::Uts, Namespace::Cgroup] {
        container.unshare(namespace);
    }
    container.rootfs("/").expect("the root file system").devfsmount("/dev").tmpfsmount("/tmp");
    let mut command = container.command(program);
    command.args(arguments).stdout(Stdio::piped());
    let output = command.output().expect("hakoniwa");
    assert!(output.status.success(), "hakoniwa: {:?}", output.status);
    output.stdout
}

fn output(command: &mut Command) -> Vec<u8> {
    let output = command.output().expect("a process");
    assert!(output.status.success(), "{command:?}: {}", String::from_utf8_lossy(&output.stderr));
    output.stdout
}
