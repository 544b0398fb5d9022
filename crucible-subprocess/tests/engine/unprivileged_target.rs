//! A helper that runs tests of this executable as an ordinary user.

use std::os::unix::fs::PermissionsExt as _;
use std::os::unix::process::CommandExt as _;
use std::process::Command;

/// A user that owns no files, such as `nobody`.
const NOBODY_ID: u32 = 65_534;

/// Runs the tests that match `filters` as an ordinary user. Every filter must match a test.
///
/// Does nothing if this process is not root: then the tests already run as an ordinary user.
pub(crate) fn run_as_unprivileged_user(name: &str, filters: &[String], threads: usize) {
    if !rustix::process::geteuid().is_root() {
        return;
    }
    // The build directory may be inaccessible to other users.
    let directory =
        std::env::temp_dir().join(format!("crucible-nobody-{name}-{}", std::process::id()));
    std::fs::create_dir(&directory).unwrap();
    std::fs::set_permissions(&directory, std::fs::Permissions::from_mode(0o755)).unwrap();
    let binary = directory.join("engine");
    std::fs::copy(std::env::current_exe().unwrap(), &binary).unwrap();
    let list = Command::new(&binary).args(filters).arg("--list").output();
    let output = Command::new(&binary)
        .args(filters)
        .args(["--test-threads", &threads.to_string()])
        .env_clear()
        .env("TMPDIR", "/tmp")
        .current_dir("/")
        .gid(NOBODY_ID)
        .uid(NOBODY_ID)
        .output();
    std::fs::remove_dir_all(&directory).unwrap();
    let list = list.unwrap();
    let count = String::from_utf8_lossy(&list.stdout)
        .lines()
        .filter(|line| line.ends_with(": test"))
        .count();
    let output = output.unwrap();
    let stdout = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success(), "{stdout}\n{}", String::from_utf8_lossy(&output.stderr));
    for filter in filters {
        assert!(stdout.contains(&format!("test {filter}")), "{filter} matched no test: {stdout}");
    }
    let all = format!("test result: ok. {count} passed; 0 failed; 0 ignored");
    assert!(stdout.contains(&all), "not all of {count} tests passed: {stdout}");
}
