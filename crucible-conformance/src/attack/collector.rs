//! The naive collector: it follows links, opens every file, and enforces no bounds.

use std::fs;
use std::io::Read as _;
use std::path::Path;
use std::sync::mpsc;
use std::time::Duration;

use crucible_core::Collect;

/// The time after which a read counts as blocked.
const READ_DEADLINE: Duration = Duration::from_millis(500);
/// The maximum number of bytes that are read from a file.
const READ_MAX: u64 = 64 * 1024;

/// Collects a directory and returns the content of its files and the harm.
pub(super) fn collect(directory: &Path, bounds: &Collect) -> (Vec<u8>, Vec<String>) {
    let mut tree = CollectedTree::default();
    tree.walk(directory, 0);
    let mut harm = tree.harm;
    if tree.files > bounds.files_max {
        harm.push("the collector took more files than its bound".to_owned());
    }
    if tree.bytes > bounds.bytes_max {
        harm.push("the collector took more bytes than its bound".to_owned());
    }
    if tree.depth > bounds.depth_max {
        harm.push("the collector went deeper than its bound".to_owned());
    }
    (tree.content, harm)
}

/// The files that the collector read from a directory tree.
#[derive(Default)]
struct CollectedTree {
    content: Vec<u8>,
    files: usize,
    bytes: u64,
    depth: usize,
    harm: Vec<String>,
}

impl CollectedTree {
    fn walk(&mut self, directory: &Path, depth: usize) {
        self.depth = self.depth.max(depth);
        for entry in fs::read_dir(directory).into_iter().flatten().flatten() {
            let path = entry.path();
            // `metadata` follows links.
            let Ok(metadata) = fs::metadata(&path) else { continue };
            if is_unsafe_name(&entry.file_name()) {
                self.harm.push("a name is unsafe to print or to pass on".to_owned());
            }
            if metadata.is_dir() {
                self.walk(&path, depth + 1);
            } else {
                self.files += 1;
                self.bytes += metadata.len();
                self.take(&path);
            }
        }
    }

    fn take(&mut self, path: &Path) {
        match read(path) {
            Ok(content) => {
                let own = fs::read("/proc/self/environ").unwrap_or_default();
                if !own.is_empty() && content == own {
                    self.harm.push("the collector's own environment was collected".to_owned());
                }
                self.content.extend(content);
            }
            Err(why) => self.harm.push(why),
        }
    }
}

/// Returns `true` if a name is not UTF-8, has control characters, or looks like an option.
fn is_unsafe_name(name: &std::ffi::OsStr) -> bool {
    name.to_str().is_none_or(|name| name.chars().any(char::is_control) || name.starts_with('-'))
}

/// Reads a file in a new thread, and abandons the thread if it blocks.
fn read(path: &Path) -> Result<Vec<u8>, String> {
    let (sender, receiver) = mpsc::channel();
    let path = path.to_owned();
    std::thread::spawn(move || {
        let mut content = Vec::new();
        let read =
            fs::File::open(&path).and_then(|file| file.take(READ_MAX).read_to_end(&mut content));
        // The receiver is gone if the read took too long.
        let _sent = sender.send(read.map(|_| content));
    });
    match receiver.recv_timeout(READ_DEADLINE) {
        Ok(Ok(content)) => Ok(content),
        Ok(Err(error)) => Err(format!("the collector failed: {error}")),
        Err(_) => Err("the collector blocked".to_owned()),
    }
}
