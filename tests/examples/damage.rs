//! A data directory that is damaged, full, or cannot be written: a clear error, and whatever is whole stays readable.

use std::fs;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::Command;

use super::support::{AMPLE, Run, example};

fn history(data: &Path, arguments: &[&str]) -> Run {
    Run::new(example("history").arg("--data").arg(data).args(arguments).output().unwrap())
}

fn evaluate(data: &Path, script: &str) -> Run {
    let arguments = ["--wall", AMPLE, "--language", "sh", "--code", script];
    Run::new(example("evaluate").arg("--data").arg(data).args(arguments).output().unwrap())
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

/// One run is small, and of one the output is a file of its own.
fn with_two_runs(data: &Path) {
    assert_eq!(evaluate(data, "echo small").status, 0);
    let much = evaluate(data, "i=0; while [ $i -lt 5000 ]; do echo much $i; i=$((i+1)); done");
    assert_eq!(much.status, 0, "{much:?}");
}

/// Nobody ends over it: an error says what is damaged, or nothing of what is shown was. (redb panics at some damage within; that is
/// caught and becomes an error, but the process's panic hook has spoken by then.)
#[track_caller]
fn assert_clear(what: &str, run: &Run) {
    assert!([0, 1, 2, 3].contains(&run.status), "{what}: {run:?}");
    if run.status != 0 {
        let words = format!("{}{}", run.stderr, run.stdout);
        let says = ["error: ", "damaged: ", "not what was written"]
            .iter()
            .any(|word| words.contains(word));
        assert!(says, "{what}: it does not say what is damaged: {run:?}");
    }
}

#[test]
fn bytes_that_were_flipped_are_found_and_named() {
    let directory = tempfile::tempdir().unwrap();
    let data = directory.path().join("data");
    with_two_runs(&data);
    let (mut noticed, mut tried) = (0, 0);
    for file in files(&data) {
        let length = fs::metadata(&file).unwrap().len();
        let name = file.strip_prefix(&data).unwrap().to_owned();
        // In the beginning, where a store's own facts are, and spread over all of it.
        for at in [0, 8, 64].into_iter().chain((1..8).map(|part| length * part / 8)) {
            if at >= length {
                continue;
            }
            let damaged = directory.path().join("damaged");
            copy(&data, &damaged);
            let path = damaged.join(&name);
            let mut content = fs::read(&path).unwrap();
            let index = usize::try_from(at).unwrap();
            content[index] ^= 0xff;
            fs::write(&path, content).unwrap();
            let what = format!("byte {at} of {}", name.display());
            let verified = history(&damaged, &["verify"]);
            assert_clear(&what, &verified);
            tried += 1;
            noticed += u32::from(verified.status != 0);
            assert_clear(&what, &history(&damaged, &["list"]));
            fs::remove_dir_all(&damaged).unwrap();
        }
    }
    assert!(noticed > 0, "none of {tried} was noticed");
}

/// A file of its own that is damaged costs its evaluation and no other.
#[test]
fn what_is_whole_stays_readable() {
    let directory = tempfile::tempdir().unwrap();
    let data = directory.path().join("data");
    with_two_runs(&data);
    let [file] = &files(&data.join("blobs"))[..] else { panic!("one file") };
    fs::OpenOptions::new().append(true).open(file).unwrap().write_all(b"more").unwrap();
    let verified = history(&data, &["verify"]);
    assert_eq!(verified.status, 1, "{verified:?}");
    assert!(verified.stdout.contains("1 is not what was written"), "{verified:?}");
    let listed = history(&data, &["list", "--json"]);
    assert_eq!(listed.stdout.lines().count(), 1, "{listed:?}");
    assert!(listed.stderr.contains("damaged: evaluation "), "{listed:?}");
    assert_eq!(evaluate(&data, "echo more").status, 0, "work goes on");
}

#[test]
fn files_that_were_cut_are_found() {
    let directory = tempfile::tempdir().unwrap();
    let data = directory.path().join("data");
    with_two_runs(&data);
    for file in files(&data) {
        let name = file.strip_prefix(&data).unwrap().to_owned();
        for part in [0, 1, 2] {
            let damaged = directory.path().join("damaged");
            copy(&data, &damaged);
            let length = fs::metadata(&file).unwrap().len();
            fs::OpenOptions::new()
                .write(true)
                .open(damaged.join(&name))
                .unwrap()
                .set_len(length * part / 3)
                .unwrap();
            let what = format!("{part}/3 of {}", name.display());
            assert_clear(&what, &history(&damaged, &["verify"]));
            assert_clear(&what, &history(&damaged, &["list"]));
            fs::remove_dir_all(&damaged).unwrap();
        }
    }
}

/// A file system of its own that has no room; unmounted when this is dropped.
struct Small(PathBuf);

impl Small {
    /// `None` for those who may not mount.
    fn mount(at: &Path) -> Option<Self> {
        fs::create_dir(at).unwrap();
        if !rustix::process::geteuid().is_root() {
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

impl Drop for Small {
    fn drop(&mut self) {
        // A test that failed has more to say than this.
        let _unmounted = Command::new("umount").arg(&self.0).status();
    }
}

#[test]
fn a_full_disk_is_told_and_work_goes_on_with_room() {
    let directory = tempfile::tempdir().unwrap();
    let Some(small) = Small::mount(&directory.path().join("small")) else { return };
    let data = small.0.join("data");
    assert_eq!(evaluate(&data, "echo before").status, 0);
    let filler = small.0.join("filler");
    let mut file = fs::File::create(&filler).unwrap();
    while file.write_all(&[1; 4096]).is_ok() {}
    // Until a write needs more room than there is: it may have some of its own.
    let mut refused = None;
    for _ in 0..200 {
        let run = evaluate(&data, "head -c 60000 /dev/zero | tr '\\0' x");
        if run.status != 0 {
            refused = Some(run);
            break;
        }
    }
    let refused = refused.expect("a full disk is noticed");
    assert_eq!(refused.status, 3, "{refused:?}");
    assert!(refused.stderr.contains("full") || refused.stderr.contains("no room"), "{refused:?}");
    drop(file);
    fs::remove_file(filler).unwrap();
    let run = evaluate(&data, "echo after");
    assert_eq!((run.status, run.stdout.as_str()), (0, "after\n"), "{run:?}");
    let verified = history(&data, &["verify"]);
    assert_eq!(verified.status, 0, "{verified:?}");
}

#[test]
fn a_directory_that_cannot_be_written_is_named() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("file");
    fs::write(&file, "in the way").unwrap();
    let run = evaluate(&file.join("data"), "true");
    assert_eq!(run.status, 3, "{run:?}");
    assert!(run.stderr.contains(file.to_str().unwrap()), "{run:?}");
    let Some(small) = Small::mount(&directory.path().join("small")) else { return };
    let data = small.0.join("data");
    assert_eq!(evaluate(&data, "echo before").status, 0);
    let remount = Command::new("mount").args(["-o", "remount,ro"]).arg(&small.0).status().unwrap();
    assert!(remount.success(), "remount");
    let run = evaluate(&data, "true");
    assert_eq!(run.status, 3, "{run:?}");
    assert!(run.stderr.contains("data") && run.stderr.contains("ead-only"), "{run:?}");
}
