//! A root file system that the host names: a directory with one static program in it.

use std::os::unix::fs::{PermissionsExt as _, symlink};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};

use super::runs::{printed, run, with_root};
use crucible_core::{EngineError, Evaluation, NotStartedReason, Verdict};
use crucible_subprocess::RootFs;

/// A program that needs no library.
const BUSYBOX: &str = "/bin/busybox";

/// A directory that goes with the test.
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

    /// With `/bin/busybox` and a file of ours.
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

/// What a shell in this root prints.
#[track_caller]
fn says(root: RootFs, script: &str) -> String {
    let engine =
        with_root(root).unwrap_or_else(|error| panic!("{}", crucible_core::error_chain(&error)));
    printed(&run(&engine, &busybox(script)))
}

#[test]
fn programs_see_the_directory_and_nothing_of_the_host() {
    let root = Directory::with_busybox();
    let found = says(
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
fn the_root_cannot_be_written_to_and_the_rest_can() {
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
    let found = says(RootFs::directory(&root.0), script);
    assert_eq!(found, "fine /tmp/new\nfine /box/new\nfine /dev/shm/new");
    assert_eq!(std::fs::read(root.0.join("bin/note")).unwrap(), b"ours");
    assert_eq!(std::fs::read_dir(root.0.join("bin")).unwrap().count(), 2);
}

#[test]
fn more_of_the_host_is_shown_by_name() {
    let (root, extra) = (Directory::with_busybox(), Directory::new());
    std::fs::write(extra.0.join("data"), "shown").unwrap();
    let path = extra.0.join("data");
    let shown = RootFs::directory(&root.0).with_read_only(&extra.0);
    // What is shown in `/tmp` is covered by the sandbox's own.
    let under_tmp = extra.0.starts_with("/tmp");
    let script = format!("cat {} 2>/dev/null || echo covered", path.display());
    assert_eq!(says(shown, &script), if under_tmp { "covered" } else { "shown" });
    let shown = RootFs::directory(&root.0).with_read_only("/usr/bin/env");
    assert_eq!(
        says(shown, "ls /usr/bin; (echo x > /usr/bin/env) 2>/dev/null || echo refused"),
        "env\nrefused"
    );
}

/// Not where the path was, but what it led to when the engine was made.
#[test]
fn a_path_with_links_and_one_from_here_lead_to_the_same_directory() {
    let (root, other) = (Directory::with_busybox(), Directory::new());
    let link = other.0.join("link");
    symlink(&root.0, &link).unwrap();
    assert_eq!(says(RootFs::directory(&link), "cat /bin/note"), "ours");
    let up = "../".repeat(std::env::current_dir().unwrap().components().count());
    let relative = Path::new(&up).join(root.0.strip_prefix("/").unwrap());
    assert_eq!(says(RootFs::directory(relative), "cat /bin/note"), "ours");
}

#[test]
fn a_directory_that_is_none_is_a_clear_error() {
    let place = Directory::new();
    std::fs::write(place.0.join("file"), "").unwrap();
    for (name, why) in [("missing", "No such file"), ("file", "Not a directory")] {
        let path = place.0.join(name);
        let error = with_root(RootFs::directory(&path)).unwrap_err();
        assert!(matches!(error, EngineError::Setup { .. }), "{error:?}");
        let words = crucible_core::error_chain(&error);
        assert!(words.contains(path.to_str().unwrap()) && words.contains(why), "{words}");
    }
}

/// A root without a program is a root: what is missing is told of each program that is not there.
#[test]
fn an_empty_directory_has_no_program() {
    let root = Directory::new();
    let engine = with_root(RootFs::directory(&root.0)).unwrap();
    let outcome = run(&engine, &busybox("true"));
    assert_eq!(*outcome.verdict(), Verdict::NotStarted { reason: NotStartedReason::NoSuchProgram });
}
