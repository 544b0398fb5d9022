//! Tests of this program once more, by a process of an ordinary user.

use std::os::unix::fs::PermissionsExt as _;
use std::os::unix::process::CommandExt as _;
use std::process::Command;

/// A user whom no file belongs to, as `nobody` is.
const NOBODY_ID: u32 = 65_534;

/// Runs the tests that `filters` name as an ordinary user; every filter must name one. For who is no root already, the
/// tests do it themselves.
pub(crate) fn run_as_unprivileged_user(name: &str, filters: &[String], threads: usize) {
    if !rustix::process::geteuid().is_root() {
        return;
    }
    // Where the tests are built may be closed to others.
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
    let words = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success(), "{words}\n{}", String::from_utf8_lossy(&output.stderr));
    for filter in filters {
        assert!(words.contains(&format!("test {filter}")), "{filter} was not run: {words}");
    }
    let all = format!("test result: ok. {count} passed; 0 failed; 0 ignored");
    assert!(words.contains(&all), "of {count}: {words}");
}
