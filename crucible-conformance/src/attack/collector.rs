//! Somebody who collects results without care: he follows what he finds, reads what it leads to, and counts nothing.

use std::fs;
use std::io::Read as _;
use std::path::Path;
use std::sync::mpsc;
use std::time::Duration;

use crucible_core::Collect;

/// How long a read may take before it counts as blocked.
const PATIENCE: Duration = Duration::from_millis(500);
/// As much of a file as is looked at.
const LOOK: u64 = 64 * 1024;

/// What he read, and what went wrong.
pub(super) fn collect(directory: &Path, within: &Collect) -> (Vec<u8>, Vec<String>) {
    let mut found = Found::default();
    walk(directory, 0, &mut found);
    let mut harm = found.harm;
    if found.files > within.files_max {
        harm.push("more files than asked for".to_owned());
    }
    if found.bytes > within.bytes_max {
        harm.push("more bytes than asked for".to_owned());
    }
    if found.depth > within.depth_max {
        harm.push("deeper than asked for".to_owned());
    }
    (found.content, harm)
}

#[derive(Default)]
struct Found {
    content: Vec<u8>,
    files: usize,
    bytes: u64,
    depth: usize,
    harm: Vec<String>,
}

fn walk(directory: &Path, depth: usize, found: &mut Found) {
    found.depth = found.depth.max(depth);
    for entry in fs::read_dir(directory).into_iter().flatten().flatten() {
        let path = entry.path();
        // He follows links.
        let Ok(metadata) = fs::metadata(&path) else { continue };
        let name = entry.file_name();
        if name
            .to_str()
            .is_none_or(|name| name.chars().any(char::is_control) || name.starts_with('-'))
        {
            found.harm.push("a name that is no name where it is printed or passed on".to_owned());
        }
        if metadata.is_dir() {
            walk(&path, depth + 1, found);
            continue;
        }
        found.files += 1;
        found.bytes += metadata.len();
        match read(&path) {
            Ok(content) => {
                let own = fs::read("/proc/self/environ").unwrap_or_default();
                if !own.is_empty() && content == own {
                    found.harm.push("the collector's own variables were collected".to_owned());
                }
                found.content.extend(content);
            }
            Err(why) => found.harm.push(why),
        }
    }
}

/// Reads a file, in a thread that is left behind if it hangs.
fn read(path: &Path) -> Result<Vec<u8>, String> {
    let (sender, receiver) = mpsc::channel();
    let path = path.to_owned();
    std::thread::spawn(move || {
        let mut content = Vec::new();
        let read = fs::File::open(&path).and_then(|file| file.take(LOOK).read_to_end(&mut content));
        // Nobody listens any more if it took too long.
        let _sent = sender.send(read.map(|_| content));
    });
    match receiver.recv_timeout(PATIENCE) {
        Ok(Ok(content)) => Ok(content),
        Ok(Err(error)) => Err(format!("the collector fails: {error}")),
        Err(_) => Err("the collector hangs".to_owned()),
    }
}
