//! Attribution of a process to its guest, through its ancestors.

use std::fs;

/// The maximum number of ancestors between a process and its guest. Only a deliberate attack makes
/// a longer chain.
const DEPTH_MAX: usize = 1024;
/// The number of times that a walk starts again after a parent ended during it.
const ATTEMPTS: usize = 16;

/// The process name of a slot. It counts only for children of the spawner, which no sandboxed
/// process is.
const SLOT: &[u8] = b"crucible-slot";

/// Returns the guest that a process or a thread belongs to: the child of the spawner or of a slot
/// among the process and its ancestors.
///
/// The result is correct if the process is still alive afterwards: until it ends, its process 1
/// cannot end.
pub(super) fn guest_of(pid: u32, spawner: u32) -> Option<u32> {
    (0..ATTEMPTS).find_map(|_| climb(pid, spawner).ok()).flatten()
}

/// A parent ended during the walk, and its children have another parent.
struct Reparented;

fn climb(pid: u32, spawner: u32) -> Result<Option<u32>, Reparented> {
    let mut child = pid;
    let mut below = None;
    let Some((mut is_slot, mut parent)) = read_stat(child) else { return Ok(None) };
    for _ in 0..DEPTH_MAX {
        if parent == spawner {
            return Ok(if is_slot { below } else { Some(child) });
        }
        if parent <= 1 {
            return Ok(None);
        }
        let above = read_stat(parent);
        // The id of a parent that ended may belong to another process by now. While the child still
        // has this parent, the parent has not ended.
        if read_stat(child).map(|(_, parent)| parent) != Some(parent) {
            return Err(Reparented);
        }
        let Some(above) = above else { return Err(Reparented) };
        below = Some(child);
        child = parent;
        (is_slot, parent) = above;
    }
    Ok(None)
}

/// Returns whether a process has the name of a slot, and its parent (proc_pid_stat(5)).
fn read_stat(pid: u32) -> Option<(bool, u32)> {
    let stat = fs::read(format!("/proc/{pid}/stat")).ok()?;
    parse_stat(&stat)
}

/// Parses a stat line. The process chooses the name in parentheses; the kernel writes everything
/// after the last parenthesis.
fn parse_stat(stat: &[u8]) -> Option<(bool, u32)> {
    let name_end = stat.iter().rposition(|byte| *byte == b')')?;
    let name_start = stat.iter().position(|byte| *byte == b'(')? + 1;
    let rest = std::str::from_utf8(stat.get(name_end + 1..)?).ok()?;
    let parent = rest.split_ascii_whitespace().nth(1)?.parse().ok()?;
    Some((stat.get(name_start..name_end)? == SLOT, parent))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parse_stat_ignores_parentheses_in_the_name() {
        assert_eq!(parse_stat(b"12 (sh) S 7 12 12 0"), Some((false, 7)));
        assert_eq!(parse_stat(b"12 (a) R 3 \xff () S 7 12"), Some((false, 7)));
        assert_eq!(parse_stat(b"12 (crucible-slot) S 7 12"), Some((true, 7)));
        assert_eq!(parse_stat(b"12 (crucible-slot) S 7 12) S 8 12"), Some((false, 8)));
        assert_eq!(parse_stat(b"12 ) ( S 7"), None);
        assert_eq!(parse_stat(b"12 (sh"), None);
        assert_eq!(parse_stat(b""), None);
    }

    #[test]
    fn guest_of_child_depends_on_the_spawner() {
        let mut child = std::process::Command::new("/bin/sh")
            .args(["-c", "read line"])
            .stdin(std::process::Stdio::piped())
            .spawn()
            .unwrap();
        let own = std::process::id();
        assert_eq!(guest_of(child.id(), own), Some(child.id()));
        let (_, above) = read_stat(own).unwrap();
        assert_eq!(guest_of(child.id(), above), Some(own));
        assert_eq!(guest_of(child.id(), child.id()), None);
        drop(child.stdin.take());
        child.wait().unwrap();
    }
}
