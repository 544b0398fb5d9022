//! The peers: programs that start or isolate processes.

use std::path::{Path, PathBuf};
use std::process::Command;

/// The path of the static busybox.
pub(crate) const BUSYBOX: &str = "/bin/busybox";
/// The path of Python.
pub(crate) const PYTHON: &str = "/usr/bin/python3";
const BWRAP: &str = "/usr/bin/bwrap";
const BWRAP_OPTIONS: &str = "--unshare-all --ro-bind /usr /usr --symlink usr/bin /bin --symlink usr/lib /lib \
    --symlink usr/lib64 /lib64 --proc /proc --dev /dev --tmpfs /tmp";

/// Every namespace, loopback down, a read-only root; no cgroups and no filter, as with bubblewrap.
const NSJAIL_OPTIONS: &str = "--mode o --really_quiet --iface_no_lo --bindmount_ro /usr --bindmount_ro /bin --tmpfsmount /tmp --";

/// Returns `true` if the program is installed; otherwise prints that it is skipped.
pub(crate) fn has(program: &str, package: &str) -> bool {
    let is_installed = Path::new(program).exists();
    if !is_installed {
        eprintln!("{program}: SKIPPED, install `{package}`");
    }
    is_installed
}

/// Returns `true` if bubblewrap is installed; otherwise prints that it is skipped.
pub(crate) fn has_bwrap() -> bool {
    has(BWRAP, "bubblewrap")
}

/// Runs a program under bubblewrap with every namespace.
pub(crate) fn bwrap(argv: &[&str]) -> Vec<u8> {
    let mut command = Command::new(BWRAP);
    command.args(BWRAP_OPTIONS.split_whitespace()).args(argv);
    output(&mut command)
}

/// Finds nsjail: at `CRUCIBLE_NSJAIL`, where `benches/nsjail` builds it, or in `PATH`. Prints that
/// it is skipped if it is missing.
pub(crate) fn find_nsjail() -> Option<PathBuf> {
    let built =
        Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/../../target/nsjail/nsjail")).to_owned();
    let named = std::env::var_os("CRUCIBLE_NSJAIL").map(PathBuf::from);
    let path = std::env::var_os("PATH").unwrap_or_default();
    let in_path = std::env::split_paths(&path).map(|directory| directory.join("nsjail"));
    let found = named.into_iter().chain([built]).chain(in_path).find(|path| path.is_file());
    if found.is_none() {
        eprintln!("nsjail: SKIPPED, build it with `benches/nsjail`");
    }
    found
}

/// Runs a program under nsjail with every namespace.
pub(crate) fn nsjail(nsjail: &Path, argv: &[&str]) -> Vec<u8> {
    output(Command::new(nsjail).args(NSJAIL_OPTIONS.split_whitespace()).args(argv))
}

/// Runs a program with the standard library.
pub(crate) fn standard(argv: &[&str]) -> Vec<u8> {
    let [program, arguments @ ..] = argv else { return Vec::new() };
    output(Command::new(program).args(arguments))
}

/// Runs a program under hakoniwa with every namespace it supports.
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

/// Runs a command that must succeed and returns its standard output.
fn output(command: &mut Command) -> Vec<u8> {
    let output = command.output().expect("a process");
    assert!(output.status.success(), "{command:?}: {}", String::from_utf8_lossy(&output.stderr));
    output.stdout
}
