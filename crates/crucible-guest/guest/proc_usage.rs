//! The resource usage of the sandbox, read from its own `/proc`.

use super::decimal::{TextBuffer, parse};
use super::directory_entries::DirectoryEntries;
use super::sys::{self, Errno, Fd, O_CLOEXEC, O_DIRECTORY, O_RDONLY, Result, c_str, retry};
use crate::protocol::ProcUsage;

/// The unit of times in `/proc/PID/stat` is 1/100 s on all architectures (`USER_HZ`).
const TICK_US: u64 = 10_000;

/// Reads the status file (proc(5)) of a process, or of the guest itself.
pub(crate) fn read_status(pid: Option<i32>, buffer: &mut [u8]) -> Result<usize> {
    let mut path = TextBuffer::<48>::new();
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
/// The guest continues while execve(2) still prepares the child's new memory, which is as
/// undumpable as the guest's until then. If guest and child share a user id, and `/proc` hides
/// processes that may not be traced, the child is invisible during that time.
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

fn read_file(path: &TextBuffer<48>, buffer: &mut [u8]) -> Result<usize> {
    let fd = sys::open(c_str(path.with_nul())?, O_RDONLY | O_CLOEXEC, 0)?;
    let count = retry(|| sys::read(fd, buffer));
    sys::close(fd);
    count
}

/// Adds up the CPU time of all live processes except the guest, of the children that they reaped,
/// and of the children that the guest reaped.
pub(crate) fn measure() -> Result<ProcUsage> {
    let children = sys::usage_of_children();
    let mut usage =
        ProcUsage { user_us: children.user_us, system_us: children.system_us, processes: 0 };
    let proc = sys::open(c"/proc", O_RDONLY | O_DIRECTORY | O_CLOEXEC, 0)?;
    let walked = add_processes(proc, &mut usage);
    sys::close(proc);
    walked.map(|()| usage)
}

fn add_processes(proc: Fd, usage: &mut ProcUsage) -> Result<()> {
    let own = sys::pid();
    let mut buffer = [0; 4096];
    loop {
        let count = sys::getdents(proc, &mut buffer)?;
        if count == 0 {
            return Ok(());
        }
        for entry in DirectoryEntries::new(buffer.get(..count).unwrap_or_default()) {
            match parse(entry.name) {
                Some(pid) if i64::try_from(pid) != Ok(i64::from(own)) => add_process(pid, usage)?,
                _ => {}
            }
        }
    }
}

fn add_process(pid: u64, usage: &mut ProcUsage) -> Result<()> {
    let mut path = TextBuffer::<48>::new();
    path.push(b"/proc/")?;
    path.push_number(pid)?;
    path.push(b"/stat")?;
    let mut buffer = [0; 1024];
    let count = match read_file(&path, &mut buffer) {
        Ok(count) => count,
        // The process has just ended.
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

/// Returns `utime`, `stime`, `cutime`, `cstime` and `num_threads`: the fields 14 to 17 and 20. The
/// second field, the name, may contain any byte, so that the count starts after its last
/// parenthesis.
fn stat_fields(stat: &[u8]) -> Option<[u64; 5]> {
    let after_name = stat.iter().rposition(|byte| *byte == b')')?;
    let mut fields = stat.get(after_name + 2..)?.split(|byte| *byte == b' ').skip(11);
    let mut next = || parse(fields.next()?);
    let times = [next()?, next()?, next()?, next()?];
    // Priority and nice value may be negative, and are not used.
    fields.next()?;
    fields.next()?;
    let [user, system, children_user, children_system] = times;
    Some([user, system, children_user, children_system, parse(fields.next()?)?])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn stat_name_may_contain_parentheses_and_spaces() {
        let stat = b"7 (a) b (c) R 1 7 7 0 -1 4194304 90 0 0 0 11 12 13 14 20 0 3 0 12345 1 2";
        assert_eq!(stat_fields(stat), Some([11, 12, 13, 14, 3]));
        assert_eq!(stat_fields(b"7 (a"), None);
        assert_eq!(stat_fields(b"7 (a) R 1"), None);
    }
}
