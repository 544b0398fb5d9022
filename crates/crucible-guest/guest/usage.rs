//! What the sandbox uses, as its own `/proc` shows it.

use super::errno::{Errno, Result, retry};
use super::number::{Text, parse};
use super::path::c_str;
use super::sys::{self, Fd, O_CLOEXEC, O_DIRECTORY, O_RDONLY};
use crate::protocol::ProcUsage;

/// The unit of times in `/proc/PID/stat` is 1/100 s everywhere (`USER_HZ`).
const TICK_US: u64 = 10_000;

/// Reads the status file (proc(5)) of a process, or of the guest itself.
pub(crate) fn read_status(pid: Option<i32>, buffer: &mut [u8]) -> Result<usize> {
    let mut path = Text::<48>::new();
    path.push(b"/proc/")?;
    match pid {
        Some(pid) => path.push_number(u64::from(pid.unsigned_abs()))?,
        None => path.push(b"self")?,
    }
    path.push(b"/status")?;
    read_file(&path, buffer)
}

/// Reads the status file of a child that has just been started.
///
/// The child lets us go on while execve(2) still prepares its new memory, which is as undumpable as ours until then. Where
/// we share an id with it, and `/proc` hides what may not be traced, it cannot be seen for that long.
pub(crate) fn read_status_of_child(pid: i32, buffer: &mut [u8]) -> Result<usize> {
    const ATTEMPTS: u32 = 200;
    for _ in 0..ATTEMPTS {
        match read_status(Some(pid), buffer) {
            Err(Errno::NOENT) => {
                sys::poll(&mut [], 1)?;
            }
            read => return read,
        }
    }
    read_status(Some(pid), buffer)
}

fn read_file(path: &Text<48>, buffer: &mut [u8]) -> Result<usize> {
    let fd = sys::open(c_str(path.with_nul())?, O_RDONLY | O_CLOEXEC, 0)?;
    let count = retry(|| sys::read(fd, buffer));
    sys::close(fd);
    count
}

/// Adds up the CPU time of everything that lives, of what its parents have waited for, and of what we have.
pub(crate) fn measure() -> Result<ProcUsage> {
    let children = sys::usage_of_children();
    let mut usage =
        ProcUsage { user_us: children.user_us, system_us: children.system_us, processes: 0 };
    let proc = sys::open(c"/proc", O_RDONLY | O_DIRECTORY | O_CLOEXEC, 0)?;
    let walked = walk(proc, &mut usage);
    sys::close(proc);
    walked.map(|()| usage)
}

fn walk(proc: Fd, usage: &mut ProcUsage) -> Result<()> {
    let own = sys::pid();
    let mut buffer = [0; 4096];
    loop {
        let count = sys::getdents(proc, &mut buffer)?;
        if count == 0 {
            return Ok(());
        }
        for entry in Directory::new(buffer.get(..count).unwrap_or_default()) {
            match parse(entry.name) {
                Some(pid) if i64::try_from(pid) != Ok(i64::from(own)) => add(pid, usage)?,
                _ => {}
            }
        }
    }
}

fn add(pid: u64, usage: &mut ProcUsage) -> Result<()> {
    let mut path = Text::<48>::new();
    path.push(b"/proc/")?;
    path.push_number(pid)?;
    path.push(b"/stat")?;
    let mut buffer = [0; 1024];
    let count = match read_file(&path, &mut buffer) {
        Ok(count) => count,
        // It has just ended.
        Err(Errno::NOENT | Errno::SRCH) => return Ok(()),
        Err(error) => return Err(error),
    };
    let Some([user, system, children_user, children_system, threads]) =
        stat_fields(buffer.get(..count).unwrap_or_default())
    else {
        return Err(Errno::INVAL);
    };
    usage.user_us += user.saturating_add(children_user).saturating_mul(TICK_US);
    usage.system_us += system.saturating_add(children_system).saturating_mul(TICK_US);
    usage.processes = usage.processes.saturating_add(u32::try_from(threads).unwrap_or(u32::MAX));
    Ok(())
}

/// `utime`, `stime`, `cutime`, `cstime` and `num_threads`: the fields 14 to 17 and 20. The second, the name, can hold
/// anything, so that counting begins after its last parenthesis.
fn stat_fields(stat: &[u8]) -> Option<[u64; 5]> {
    let after_name = stat.iter().rposition(|byte| *byte == b')')?;
    let mut fields = stat.get(after_name + 2..)?.split(|byte| *byte == b' ').skip(11);
    let mut next = || parse(fields.next()?);
    let times = [next()?, next()?, next()?, next()?];
    // The priority is a negative number now and then; nobody asks.
    fields.next()?;
    fields.next()?;
    let [user, system, children_user, children_system] = times;
    Some([user, system, children_user, children_system, parse(fields.next()?)?])
}

/// An entry as getdents64(2) gives it.
pub(crate) struct DirectoryEntry<'a> {
    /// Where the next entry is, for lseek(2).
    pub(crate) next: u64,
    pub(crate) name: &'a [u8],
}

/// The entries in a buffer that getdents64(2) has filled.
pub(crate) struct Directory<'a>(&'a [u8]);

impl<'a> Directory<'a> {
    pub(crate) fn new(buffer: &'a [u8]) -> Self {
        Self(buffer)
    }
}

impl<'a> Iterator for Directory<'a> {
    type Item = DirectoryEntry<'a>;

    fn next(&mut self) -> Option<Self::Item> {
        // `struct linux_dirent64`: the inode, the offset of the next, the length of this, its type, its name.
        const NAME_AT: usize = 19;
        let next = u64::from_le_bytes(*self.0.get(8..16)?.first_chunk()?);
        let length = usize::from(u16::from_le_bytes(*self.0.get(16..18)?.first_chunk()?));
        let (entry, rest) = self.0.split_at_checked(length.max(NAME_AT))?;
        self.0 = rest;
        let name = entry.get(NAME_AT..)?.split(|byte| *byte == 0).next()?;
        Some(DirectoryEntry { next, name })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_with_parentheses_and_spaces_hides_nothing() {
        let stat = b"7 (a) b (c) R 1 7 7 0 -1 4194304 90 0 0 0 11 12 13 14 20 0 3 0 12345 1 2";
        assert_eq!(stat_fields(stat), Some([11, 12, 13, 14, 3]));
        assert_eq!(stat_fields(b"7 (a"), None);
        assert_eq!(stat_fields(b"7 (a) R 1"), None);
    }

    #[test]
    fn a_directory_buffer_is_walked_and_a_cut_one_ends() {
        let mut buffer = Vec::new();
        for (offset, name) in [(5_u64, "a"), (9, "long name")] {
            let length = (19 + name.len() + 1).next_multiple_of(8);
            buffer.extend(1_u64.to_le_bytes());
            buffer.extend(offset.to_le_bytes());
            buffer.extend(u16::try_from(length).unwrap().to_le_bytes());
            buffer.push(8);
            buffer.extend(name.as_bytes());
            buffer.resize(
                buffer.len().next_multiple_of(8).max(buffer.len() + 1).next_multiple_of(8),
                0,
            );
        }
        let names: Vec<_> = Directory::new(&buffer).map(|entry| entry.name.to_vec()).collect();
        assert_eq!(names, [b"a".to_vec(), b"long name".to_vec()]);
        assert_eq!(Directory::new(&buffer).map(|entry| entry.next).collect::<Vec<_>>(), [5, 9]);
        assert_eq!(Directory::new(&buffer[..20]).count(), 0);
    }
}
