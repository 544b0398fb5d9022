//! Tests with a configured root file system: a directory with one static program.

use std::os::unix::fs::{PermissionsExt as _, symlink};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};

use super::runs::{printed, run, with_root};
use crucible_core::{EngineError, Evaluation, NotStartedReason, Verdict};
use crucible_subprocess::RootFs;

/// A static program.
const BUSYBOX: &str = "/bin/busybox";

/// A temporary directory; removed when dropped.
struct Directory(PathBuf);

impl Directory {
    fn new() -> Self {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let number = COUNT.fetch_add(1, Ordering::Relaxed);
        let path =
            std::env::temp_dir().join(format!("crucible-root-{}-{number}", std::process::id()));
        make(&path);
        Self(path)
    }

    /// Creates a directory with `/bin/busybox` and some files.
    fn with_busybox() -> Self {
        let root = Self::new();
        make(&root.0.join("bin"));
        std::fs::copy(BUSYBOX, root.0.join("bin/busybox")).unwrap();
        std::fs::write(root.0.join("bin/note"), "ours").unwrap();
        std::fs::write(root.0.join("top"), "of the root").unwrap();
        symlink("bin", root.0.join("sbin")).unwrap();
        root
    }
}

impl Drop for Directory {
    fn drop(&mut self) {
        let _removed = std::fs::remove_dir_all(&self.0);
    }
}

fn make(path: &Path) {
    std::fs::create_dir(path).unwrap();
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o755)).unwrap();
}

fn busybox(script: &str) -> Evaluation {
    Evaluation::command([BUSYBOX, "sh", "-c", script])
}

/// Returns the output of a shell script in this root.
#[track_caller]
fn shell_output(root: RootFs, script: &str) -> String {
    let engine =
        with_root(root).unwrap_or_else(|error| panic!("{}", crucible_core::error_chain(&error)));
    printed(&run(&engine, &busybox(script)))
}

#[test]
fn programs_see_the_directory_and_no_host_files() {
    let root = Directory::with_busybox();
    let found = shell_output(
        RootFs::directory(&root.0),
        "cat /bin/note /top /sbin/note; for name in /*; do echo $name; done",
    );
    let (texts, names) = found.split_at(found.find("/bin").unwrap());
    assert_eq!(texts, "oursof the rootours");
    assert_eq!(
        names.lines().collect::<Vec<_>>(),
        ["/bin", "/box", "/dev", "/proc", "/sbin", "/sys", "/tmp", "/top"]
    );
    let engine = with_root(RootFs::directory(&root.0)).unwrap();
    let outcome = run(&engine, &Evaluation::command(["/usr/bin/env"]));
    assert_eq!(*outcome.verdict(), Verdict::NotStarted { reason: NotStartedReason::NoSuchProgram });
}

#[test]
fn root_is_read_only_and_scratch_is_writable() {
    let root = Directory::with_busybox();
    let script = "
        for path in /new /bin/new /bin/note /top /dev/new /sys/new /proc/new; do
            (echo x > $path) 2>/dev/null && echo wrote $path
        done
        busybox=/bin/busybox
        $busybox rm -f /bin/note 2>/dev/null && echo removed
        $busybox chmod 777 /bin/note 2>/dev/null && echo changed
        $busybox mkdir /directory 2>/dev/null && echo made
        for path in /tmp/new /box/new /dev/shm/new; do (echo x > $path) && echo fine $path; done
        true";
    let found = shell_output(RootFs::directory(&root.0), script);
    assert_eq!(found, "fine /tmp/new\nfine /box/new\nfine /dev/shm/new");
    assert_eq!(std::fs::read(root.0.join("bin/note")).unwrap(), b"ours");
    assert_eq!(std::fs::read_dir(root.0.join("bin")).unwrap().count(), 2);
}

#[test]
fn read_only_paths_of_host_are_shown() {
    let (root, extra) = (Directory::with_busybox(), Directory::new());
    std::fs::write(extra.0.join("data"), "shown").unwrap();
    let path = extra.0.join("data");
    let shown = RootFs::directory(&root.0).with_read_only(&extra.0);
    // The sandbox's own `/tmp` covers a path beneath the host's `/tmp`.
    let under_tmp = extra.0.starts_with("/tmp");
    let script = format!("cat {} 2>/dev/null || echo covered", path.display());
    assert_eq!(shell_output(shown, &script), if under_tmp { "covered" } else { "shown" });
    let shown = RootFs::directory(&root.0).with_read_only("/usr/bin/env");
    assert_eq!(
        shell_output(shown, "ls /usr/bin; (echo x > /usr/bin/env) 2>/dev/null || echo refused"),
        "env\nrefused"
    );
}

/// The engine uses the directory that the path led to at its creation.
#[test]
fn linked_and_relative_paths_lead_to_same_directory() {
    let (root, other) = (Directory::with_busybox(), Directory::new());
    let link = other.0.join("link");
    symlink(&root.0, &link).unwrap();
    assert_eq!(shell_output(RootFs::directory(&link), "cat /bin/note"), "ours");
    let up = "../".repeat(std::env::current_dir().unwrap().components().count());
    let relative = Path::new(&up).join(root.0.strip_prefix("/").unwrap());
    assert_eq!(shell_output(RootFs::directory(relative), "cat /bin/note"), "ours");
}

#[test]
fn invalid_root_directory_is_a_clear_error() {
    let place = Directory::new();
    std::fs::write(place.0.join("file"), "").unwrap();
    for (name, why) in [("missing", "No such file"), ("file", "Not a directory")] {
        let path = place.0.join(name);
        let error = with_root(RootFs::directory(&path)).unwrap_err();
        assert!(matches!(error, EngineError::Setup { .. }), "{error:?}");
        let text = crucible_core::error_chain(&error);
        assert!(text.contains(path.to_str().unwrap()) && text.contains(why), "{text}");
    }
}

/// An empty root is valid. Each program that does not exist is not started.
#[test]
fn empty_root_starts_no_program() {
    let root = Directory::new();
    let engine = with_root(RootFs::directory(&root.0)).unwrap();
    let outcome = run(&engine, &busybox("true"));
    assert_eq!(*outcome.verdict(), Verdict::NotStarted { reason: NotStartedReason::NoSuchProgram });
}
