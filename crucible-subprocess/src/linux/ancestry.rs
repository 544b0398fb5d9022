//! Whose process it is: the guest among its ancestors.

use std::fs;

/// How deep a process may be beneath its guest. Nobody has a chain of parents like that who does not make one on purpose.
const DEPTH_MAX: usize = 1024;
/// How often a walk begins anew because a parent ended under way.
const TRIES: usize = 16;

/// What a slot calls itself. Only its own name counts, and that of nobody whom it has opened a sandbox for.
const SLOT: &[u8] = b"crucible-slot";

/// The guest that a process, or a thread, belongs to: the ancestor, or the process itself, whose parent is the spawner or a slot.
///
/// The answer is right if the process still lives afterwards: until it has ended, so has nothing that is process 1 to it.
pub(super) fn guest_of(pid: u32, spawner: u32) -> Option<u32> {
    (0..TRIES).find_map(|_| climb(pid, spawner).ok()).flatten()
}

/// A parent ended, and its children have another.
struct Moved;

fn climb(pid: u32, spawner: u32) -> Result<Option<u32>, Moved> {
    let mut child = pid;
    let mut below = None;
    let Some((mut is_slot, mut parent)) = look_at(child) else { return Ok(None) };
    for _ in 0..DEPTH_MAX {
        if parent == spawner {
            return Ok(if is_slot { below } else { Some(child) });
        }
        if parent <= 1 {
            return Ok(None);
        }
        let above = look_at(parent);
        // The number of a parent that has ended may be another's by now. It has not ended if it is the parent still.
        if look_at(child).map(|(_, parent)| parent) != Some(parent) {
            return Err(Moved);
        }
        let Some(above) = above else { return Err(Moved) };
        below = Some(child);
        child = parent;
        (is_slot, parent) = above;
    }
    Ok(None)
}

/// Whether a process has the name of a slot, and its parent (proc_pid_stat(5)).
fn look_at(pid: u32) -> Option<(bool, u32)> {
    let stat = fs::read(format!("/proc/{pid}/stat")).ok()?;
    parse(&stat)
}

/// The name, in parentheses, is the process's own choice: what follows the last of them is the kernel's.
fn parse(stat: &[u8]) -> Option<(bool, u32)> {
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
    fn the_parent_is_found_whatever_the_name() {
        assert_eq!(parse(b"12 (sh) S 7 12 12 0"), Some((false, 7)));
        assert_eq!(parse(b"12 (a) R 3 \xff () S 7 12"), Some((false, 7)));
        assert_eq!(parse(b"12 (crucible-slot) S 7 12"), Some((true, 7)));
        assert_eq!(parse(b"12 (crucible-slot) S 7 12) S 8 12"), Some((false, 8)));
        assert_eq!(parse(b"12 ) ( S 7"), None);
        assert_eq!(parse(b"12 (sh"), None);
        assert_eq!(parse(b""), None);
    }

    #[test]
    fn a_child_is_found_beneath_this_process_and_not_beneath_others() {
        let mut child = std::process::Command::new("/bin/sh")
            .args(["-c", "read line"])
            .stdin(std::process::Stdio::piped())
            .spawn()
            .unwrap();
        let own = std::process::id();
        assert_eq!(guest_of(child.id(), own), Some(child.id()));
        let (_, above) = look_at(own).unwrap();
        assert_eq!(guest_of(child.id(), above), Some(own));
        assert_eq!(guest_of(child.id(), child.id()), None);
        drop(child.stdin.take());
        child.wait().unwrap();
    }
}
