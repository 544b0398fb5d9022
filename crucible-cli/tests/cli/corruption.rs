//! A corrupt, full or read-only data directory: clear errors, and intact records stay readable.

use std::fs;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::Command;

use super::support::{AMPLE, Run, crucible, history};

/// Runs a shell script with the data directory.
fn run_script(data: &Path, script: &str) -> Run {
    let arguments = ["--wall", AMPLE, "--language", "sh", "--code", script];
    Run::of(crucible(["run", "--data"]).arg(data).args(arguments))
}

fn files(directory: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in fs::read_dir(directory).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() { found.extend(files(&path)) } else { found.push(path) }
    }
    found
}

fn copy(from: &Path, to: &Path) {
    fs::create_dir(to).unwrap();
    for entry in fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        let to = to.join(entry.file_name());
        if entry.path().is_dir() {
            copy(&entry.path(), &to);
        } else {
            fs::copy(entry.path(), to).unwrap();
        }
    }
}

/// Creates a data directory with a small run, and with a run whose output is a blob.
fn with_two_runs(data: &Path) {
    assert_eq!(run_script(data, "echo small").status, 0);
    let much = run_script(data, "i=0; while [ $i -lt 5000 ]; do echo much $i; i=$((i+1)); done");
    assert_eq!(much.status, 0, "{much:?}");
}

/// Asserts that the command ended regularly, and that a failure names the corruption.
///
/// redb panics at some corruptions. The panic is caught and becomes an error, but the panic hook
/// has already printed its message.
#[track_caller]
fn assert_clear(what: &str, run: &Run) {
    assert!([0, 1, 2, 3].contains(&run.status), "{what}: {run:?}");
    if run.status != 0 {
        let output = format!("{}{}", run.stderr, run.stdout);
        let reported = ["error: ", "corrupt"].iter().any(|text| output.contains(text));
        assert!(reported, "{what}: the corruption is not reported: {run:?}");
    }
}

#[test]
fn flipped_bytes_are_detected() {
    let directory = tempfile::tempdir().unwrap();
    let data = directory.path().join("data");
    with_two_runs(&data);
    let (mut detected, mut tried) = (0, 0);
    for file in files(&data) {
        let length = fs::metadata(&file).unwrap().len();
        let name = file.strip_prefix(&data).unwrap().to_owned();
        // At the start, where a store has its metadata, and spread over the whole file.
        for at in [0, 8, 64].into_iter().chain((1..8).map(|part| length * part / 8)) {
            if at >= length {
                continue;
            }
            let corrupt = directory.path().join("corrupt");
            copy(&data, &corrupt);
            let path = corrupt.join(&name);
            let mut content = fs::read(&path).unwrap();
            let index = usize::try_from(at).unwrap();
            content[index] ^= 0xff;
            fs::write(&path, content).unwrap();
            let what = format!("byte {at} of {}", name.display());
            let verified = history(&corrupt, &["verify"]);
            assert_clear(&what, &verified);
            tried += 1;
            detected += u32::from(verified.status != 0);
            assert_clear(&what, &history(&corrupt, &["list"]));
            fs::remove_dir_all(&corrupt).unwrap();
        }
    }
    assert!(detected > 0, "none of {tried} changes was detected");
}

#[test]
fn corrupt_blob_affects_only_its_evaluation() {
    let directory = tempfile::tempdir().unwrap();
    let data = directory.path().join("data");
    with_two_runs(&data);
    let [file] = &files(&data.join("blobs"))[..] else { panic!("one file") };
    fs::OpenOptions::new().append(true).open(file).unwrap().write_all(b"more").unwrap();
    let verified = history(&data, &["verify"]);
    assert_eq!(verified.status, 1, "{verified:?}");
    assert!(verified.stdout.contains("1 corrupt"), "{verified:?}");
    let listed = history(&data, &["list", "--json"]);
    assert_eq!(listed.stdout.lines().count(), 1, "{listed:?}");
    assert!(listed.stderr.contains("corrupt: evaluation "), "{listed:?}");
    assert_eq!(run_script(&data, "echo more").status, 0, "new evaluations run");
}

#[test]
fn truncated_files_are_detected() {
    let directory = tempfile::tempdir().unwrap();
    let data = directory.path().join("data");
    with_two_runs(&data);
    for file in files(&data) {
        let name = file.strip_prefix(&data).unwrap().to_owned();
        for part in [0, 1, 2] {
            let corrupt = directory.path().join("corrupt");
            copy(&data, &corrupt);
            let length = fs::metadata(&file).unwrap().len();
            fs::OpenOptions::new()
                .write(true)
                .open(corrupt.join(&name))
                .unwrap()
                .set_len(length * part / 3)
                .unwrap();
            let what = format!("{part}/3 of {}", name.display());
            assert_clear(&what, &history(&corrupt, &["verify"]));
            assert_clear(&what, &history(&corrupt, &["list"]));
            fs::remove_dir_all(&corrupt).unwrap();
        }
    }
}

/// A small file system, unmounted on drop.
struct SmallFileSystem(PathBuf);

impl SmallFileSystem {
    /// Mounts the file system. Returns `None` and prints SKIPPED for ordinary users.
    fn mount(at: &Path) -> Option<Self> {
        fs::create_dir(at).unwrap();
        if !rustix::process::geteuid().is_root() {
            eprintln!("SKIPPED: only root can mount a file system");
            return None;
        }
        let mounted = Command::new("mount")
            .args(["-t", "tmpfs", "-o", "size=12m", "none"])
            .arg(at)
            .status()
            .unwrap();
        assert!(mounted.success(), "mount");
        Some(Self(at.to_owned()))
    }
}

impl Drop for SmallFileSystem {
    fn drop(&mut self) {
        // A failed test matters more than a failed unmount.
        let _unmounted = Command::new("umount").arg(&self.0).status();
    }
}

#[test]
fn full_disk_is_reported_and_recovers() {
    let directory = tempfile::tempdir().unwrap();
    let Some(small) = SmallFileSystem::mount(&directory.path().join("small")) else { return };
    let data = small.0.join("data");
    assert_eq!(run_script(&data, "echo before").status, 0);
    let filler = small.0.join("filler");
    let mut file = fs::File::create(&filler).unwrap();
    while file.write_all(&[1; 4096]).is_ok() {}
    // The store may have reserved space, so several runs are needed.
    let mut refused = None;
    for _ in 0..200 {
        let run = run_script(&data, "head -c 60000 /dev/zero | tr '\\0' x");
        if run.status != 0 {
            refused = Some(run);
            break;
        }
    }
    let refused = refused.expect("a full disk is detected");
    assert_eq!(refused.status, 3, "{refused:?}");
    assert!(
        refused.stderr.contains("full")
            || refused.stderr.contains("no room")
            || refused.stderr.contains("no space"),
        "{refused:?}"
    );
    drop(file);
    fs::remove_file(filler).unwrap();
    let run = run_script(&data, "echo after");
    assert_eq!((run.status, run.stdout.as_str()), (0, "after\n"), "{run:?}");
    let verified = history(&data, &["verify"]);
    assert_eq!(verified.status, 0, "{verified:?}");
}

#[test]
fn unwritable_directory_is_named() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("file");
    fs::write(&file, "in the way").unwrap();
    let run = run_script(&file.join("data"), "true");
    assert_eq!(run.status, 3, "{run:?}");
    assert!(run.stderr.contains(file.to_str().unwrap()), "{run:?}");
    let Some(small) = SmallFileSystem::mount(&directory.path().join("small")) else { return };
    let data = small.0.join("data");
    assert_eq!(run_script(&data, "echo before").status, 0);
    let remount = Command::new("mount").args(["-o", "remount,ro"]).arg(&small.0).status().unwrap();
    assert!(remount.success(), "remount");
    let run = run_script(&data, "true");
    assert_eq!(run.status, 3, "{run:?}");
    assert!(run.stderr.contains("data") && run.stderr.contains("ead-only"), "{run:?}");
}
