//! Reading and writing the files of a cgroup.

use std::fs::{self, OpenOptions};
use std::io::{self, Write as _};
use std::path::Path;

/// Writes a value to a file that is there. A short write would be half a value.
pub(super) fn write(directory: &Path, file: &str, value: &str) -> io::Result<()> {
    let path = directory.join(file);
    let written =
        OpenOptions::new().write(true).open(&path).and_then(|mut file| file.write_all(value.as_bytes()));
    written.map_err(|error| named(&path, &error))
}

/// Reads the one number in a file; `max` is the greatest.
pub(super) fn number(directory: &Path, file: &str) -> io::Result<u64> {
    let path = directory.join(file);
    let text = fs::read_to_string(&path).map_err(|error| named(&path, &error))?;
    match text.trim() {
        "max" => Ok(u64::MAX),
        digits => digits
            .parse()
            .map_err(|_| io::Error::new(io::ErrorKind::InvalidData, format!("{path:?}: {digits:?}"))),
    }
}

/// Reads the number after `key` in a file of `key number` lines; `None` if there is no such key.
pub(super) fn keyed(directory: &Path, file: &str, key: &str) -> io::Result<Option<u64>> {
    let path = directory.join(file);
    let text = fs::read_to_string(&path).map_err(|error| named(&path, &error))?;
    Ok(find_key(&text, key))
}

fn find_key(text: &str, key: &str) -> Option<u64> {
    text.lines().find_map(|line| {
        let (name, value) = line.split_once(' ')?;
        if name == key { value.trim().parse().ok() } else { None }
    })
}

fn named(path: &Path, error: &io::Error) -> io::Error {
    io::Error::new(error.kind(), format!("{}: {error}", path.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_is_matched_whole() {
        let text = "oom_kill_disable 0\nunder_oom 0\noom_kill 3\n";
        assert_eq!(find_key(text, "oom_kill"), Some(3));
        assert_eq!(find_key(text, "oom"), None);
        assert_eq!(find_key("max 12", "max"), Some(12));
    }
}
