//! Files and descriptors.

use core::ffi::CStr;

use super::errno::{Errno, Result};
use super::machine::{nr, syscall};
use super::path::PathName;
use super::{check, signed, wide};

/// A file descriptor, by its number. The guest closes it explicitly: it has a small, fixed set of
/// descriptors.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Fd(pub(crate) i32);

pub(crate) const O_WRONLY: i32 = 1;
pub(crate) const O_RDONLY: i32 = 0;
pub(crate) const O_CREAT: i32 = 0o100;
pub(crate) const O_EXCL: i32 = 0o200;
pub(crate) const O_APPEND: i32 = 0o2000;
pub(crate) const O_NONBLOCK: i32 = 0o4000;
pub(crate) const O_DIRECTORY: i32 = 0o200_000;
pub(crate) const O_NOFOLLOW: i32 = 0o400_000;
pub(crate) const O_CLOEXEC: i32 = 0o2_000_000;
pub(crate) const O_PATH: i32 = 0o10_000_000;

/// `RESOLVE_NO_XDEV | RESOLVE_NO_MAGICLINKS | RESOLVE_NO_SYMLINKS | RESOLVE_BENEATH` (openat2(2)).
const RESOLVE_STRICTLY_BENEATH: u64 = 0x01 | 0x02 | 0x04 | 0x08;

pub(crate) const AT_SYMLINK_NOFOLLOW: i32 = 0x100;

/// The fields of `struct stat` that the guest uses.
#[derive(Debug, Clone, Copy)]
pub(crate) struct FileStat {
    pub(crate) mode: u32,
    pub(crate) size: u64,
}

/// The size of a file system and its free space (statfs(2)).
#[derive(Debug, Clone, Copy)]
pub(crate) struct FreeSpace {
    pub(crate) bytes: u64,
    pub(crate) inodes: u64,
    pub(crate) free_bytes: u64,
    pub(crate) free_inodes: u64,
}

/// read(2)
pub(crate) fn read(fd: Fd, buffer: &mut [u8]) -> Result<usize> {
    // SAFETY: the kernel writes at most `len` bytes to the buffer, which is exclusively borrowed.
    check(unsafe {
        syscall(nr::READ, [signed(fd.0), buffer.as_mut_ptr() as usize, buffer.len(), 0, 0, 0])
    })
}

/// pread(2)
pub(crate) fn pread(fd: Fd, buffer: &mut [u8], offset: u64) -> Result<usize> {
    let offset = usize::try_from(offset).map_err(|_| Errno::INVAL)?;
    let arguments = [signed(fd.0), buffer.as_mut_ptr() as usize, buffer.len(), offset, 0, 0];
    // SAFETY: the kernel writes at most `len` bytes to the buffer, which is exclusively borrowed.
    check(unsafe { syscall(nr::PREAD64, arguments) })
}

/// write(2)
pub(crate) fn write(fd: Fd, bytes: &[u8]) -> Result<usize> {
    // SAFETY: the kernel reads at most `len` bytes of the slice.
    check(unsafe {
        syscall(nr::WRITE, [signed(fd.0), bytes.as_ptr() as usize, bytes.len(), 0, 0, 0])
    })
}

/// open(2)
pub(crate) fn open(path: &CStr, flags: i32, mode: u32) -> Result<Fd> {
    let arguments = [path.as_ptr() as usize, signed(flags), mode as usize, 0, 0, 0];
    // SAFETY: the path is a valid C string.
    check(unsafe { syscall(nr::OPEN, arguments) }).and_then(to_fd)
}

/// `struct open_how` (openat2(2)).
#[repr(C)]
struct OpenHow {
    flags: u64,
    mode: u64,
    resolve: u64,
}

/// Opens a path beneath `directory`. The path cannot leave the directory, follow a link (not even
/// as its last name), or enter another file system. Uses openat2(2), or opens one name after
/// another if a kernel that emulates Linux lacks that call.
pub(crate) fn open_beneath(directory: Fd, path: &CStr, flags: i32, mode: u32) -> Result<Fd> {
    match open_resolving(directory, path, flags, mode) {
        Err(Errno::NOSYS) => open_walking(directory, path, flags, mode),
        other => other,
    }
}

/// openat(2) for each name of a path. It opens a directory twice: gVisor follows a link to a
/// directory despite `O_NOFOLLOW`, unless `O_PATH` is set.
fn open_walking(directory: Fd, path: &CStr, flags: i32, mode: u32) -> Result<Fd> {
    let (mut at, mut names) = (directory, path.to_bytes().split(|byte| *byte == b'/').peekable());
    while let Some(name) = names.next() {
        let is_last = names.peek().is_none();
        let as_path = !is_last || flags & O_DIRECTORY != 0;
        let opened = if name == b".." || name.is_empty() {
            Err(Errno::XDEV)
        } else {
            let flags = if as_path { O_PATH | O_DIRECTORY } else { flags };
            PathName::new(name).and_then(|name| {
                open_at(at, name.as_c_str()?, flags | O_NOFOLLOW | O_CLOEXEC, mode)
            })
        };
        if at != directory {
            close(at);
        }
        at = opened?;
    }
    if flags & O_DIRECTORY == 0 {
        return Ok(at);
    }
    let opened = open_at(at, c".", flags | O_CLOEXEC, mode);
    close(at);
    opened
}

/// openat(2), with the error number of openat2(2) for a link (`ELOOP`). It also returns `ELOOP` if
/// the file became a directory in between, and `ENOENT` if it was removed.
fn open_at(directory: Fd, name: &CStr, flags: i32, mode: u32) -> Result<Fd> {
    const S_IFMT: u32 = 0o170_000;
    const S_IFDIR: u32 = 0o040_000;
    const S_IFLNK: u32 = 0o120_000;
    let arguments =
        [signed(directory.0), name.as_ptr() as usize, signed(flags), mode as usize, 0, 0];
    // SAFETY: the name is a valid C string.
    let opened = check(unsafe { syscall(nr::OPENAT, arguments) }).and_then(to_fd);
    if opened != Err(Errno::NOTDIR) {
        return opened;
    }
    match stat_at(directory, name, AT_SYMLINK_NOFOLLOW)?.mode & S_IFMT {
        S_IFDIR | S_IFLNK => Err(Errno::LOOP),
        _ => opened,
    }
}

/// openat2(2)
fn open_resolving(directory: Fd, path: &CStr, flags: i32, mode: u32) -> Result<Fd> {
    let how = OpenHow {
        flags: u64::from((flags | O_CLOEXEC).unsigned_abs()),
        mode: u64::from(mode),
        resolve: RESOLVE_STRICTLY_BENEATH,
    };
    let how_pointer = &raw const how as usize;
    let arguments =
        [signed(directory.0), path.as_ptr() as usize, how_pointer, size_of::<OpenHow>(), 0, 0];
    // SAFETY: the path is a valid C string, and `how` is a valid structure of the given size.
    check(unsafe { syscall(nr::OPENAT2, arguments) }).and_then(to_fd)
}

/// close(2). Ignores errors, because the descriptor is closed anyway.
pub(crate) fn close(fd: Fd) {
    // SAFETY: the call accesses no memory.
    let _closed = unsafe { syscall(nr::CLOSE, [signed(fd.0), 0, 0, 0, 0, 0]) };
}

/// close_range(2) from `first` to the highest number. (gVisor treats the numbers as signed.)
pub(crate) fn close_from(first: i32) -> Result<()> {
    // SAFETY: the call accesses no memory.
    check(unsafe { syscall(nr::CLOSE_RANGE, [signed(first), signed(i32::MAX), 0, 0, 0, 0]) })
        .map(drop)
}

/// dup3(2) without flags: the copy stays open across execve(2).
pub(crate) fn duplicate_onto(fd: Fd, number: Fd) -> Result<()> {
    // SAFETY: the call accesses no memory.
    check(unsafe { syscall(nr::DUP3, [signed(fd.0), signed(number.0), 0, 0, 0, 0]) }).map(drop)
}

/// fcntl(2) with `F_SETFD`, 0: the descriptor stays open across execve(2).
pub(crate) fn keep_open(fd: Fd) -> Result<()> {
    const F_SETFD: usize = 2;
    // SAFETY: the call accesses no memory.
    check(unsafe { syscall(nr::FCNTL, [signed(fd.0), F_SETFD, 0, 0, 0, 0]) }).map(drop)
}

/// fcntl(2) with `F_SETFL`, `O_NONBLOCK`.
pub(crate) fn make_nonblocking(fd: Fd) -> Result<()> {
    const F_SETFL: usize = 4;
    // SAFETY: the call accesses no memory.
    check(unsafe { syscall(nr::FCNTL, [signed(fd.0), F_SETFL, signed(O_NONBLOCK), 0, 0, 0]) })
        .map(drop)
}

/// pipe2(2): returns the read end and the write end. execve(2) closes both.
pub(crate) fn pipe() -> Result<(Fd, Fd)> {
    let mut ends = [0_i32; 2];
    let arguments = [ends.as_mut_ptr() as usize, signed(O_CLOEXEC), 0, 0, 0, 0];
    // SAFETY: the kernel writes two numbers to the array.
    check(unsafe { syscall(nr::PIPE2, arguments) })?;
    let [read_end, write_end] = ends;
    Ok((Fd(read_end), Fd(write_end)))
}

/// lseek(2) with `SEEK_SET`.
pub(crate) fn seek(fd: Fd, offset: u64) -> Result<()> {
    let offset = usize::try_from(offset).map_err(|_| Errno::INVAL)?;
    // SAFETY: the call accesses no memory.
    check(unsafe { syscall(nr::LSEEK, [signed(fd.0), offset, 0, 0, 0, 0]) }).map(drop)
}

/// getdents64(2)
pub(crate) fn getdents(fd: Fd, buffer: &mut [u8]) -> Result<usize> {
    let arguments = [signed(fd.0), buffer.as_mut_ptr() as usize, buffer.len(), 0, 0, 0];
    // SAFETY: the kernel writes at most `len` bytes to the buffer, which is exclusively borrowed.
    check(unsafe { syscall(nr::GETDENTS64, arguments) })
}

/// mkdir(2)
pub(crate) fn mkdir(path: &CStr, mode: u32) -> Result<()> {
    // SAFETY: the path is a valid C string.
    check(unsafe { syscall(nr::MKDIR, [path.as_ptr() as usize, mode as usize, 0, 0, 0, 0]) })
        .map(drop)
}

/// mkdirat(2)
pub(crate) fn mkdir_at(directory: Fd, name: &CStr, mode: u32) -> Result<()> {
    let arguments = [signed(directory.0), name.as_ptr() as usize, mode as usize, 0, 0, 0];
    // SAFETY: the name is a valid C string.
    check(unsafe { syscall(nr::MKDIRAT, arguments) }).map(drop)
}

/// unlinkat(2) of something that is not a directory.
pub(crate) fn unlink_at(directory: Fd, name: &CStr) -> Result<()> {
    // SAFETY: the name is a valid C string.
    check(unsafe {
        syscall(nr::UNLINKAT, [signed(directory.0), name.as_ptr() as usize, 0, 0, 0, 0])
    })
    .map(drop)
}

/// unlink(2)
pub(crate) fn unlink(path: &CStr) -> Result<()> {
    const AT_FDCWD: Fd = Fd(-100);
    unlink_at(AT_FDCWD, path)
}

/// symlink(2)
pub(crate) fn symlink(target: &CStr, path: &CStr) -> Result<()> {
    let arguments = [target.as_ptr() as usize, path.as_ptr() as usize, 0, 0, 0, 0];
    // SAFETY: both are valid C strings.
    check(unsafe { syscall(nr::SYMLINK, arguments) }).map(drop)
}

/// chmod(2)
pub(crate) fn chmod(path: &CStr, mode: u32) -> Result<()> {
    // SAFETY: the path is a valid C string.
    check(unsafe { syscall(nr::CHMOD, [path.as_ptr() as usize, mode as usize, 0, 0, 0, 0]) })
        .map(drop)
}

/// chown(2)
pub(crate) fn chown(path: &CStr, uid: u32, gid: u32) -> Result<()> {
    let arguments = [path.as_ptr() as usize, uid as usize, gid as usize, 0, 0, 0];
    // SAFETY: the path is a valid C string.
    check(unsafe { syscall(nr::CHOWN, arguments) }).map(drop)
}

/// fchmod(2)
pub(crate) fn fchmod(fd: Fd, mode: u32) -> Result<()> {
    // SAFETY: the call accesses no memory.
    check(unsafe { syscall(nr::FCHMOD, [signed(fd.0), mode as usize, 0, 0, 0, 0]) }).map(drop)
}

/// fchown(2)
pub(crate) fn fchown(fd: Fd, uid: u32, gid: u32) -> Result<()> {
    // SAFETY: the call accesses no memory.
    check(unsafe { syscall(nr::FCHOWN, [signed(fd.0), uid as usize, gid as usize, 0, 0, 0]) })
        .map(drop)
}

/// mknod(2) of a character device.
pub(crate) fn make_device(path: &CStr, major: u32, minor: u32) -> Result<()> {
    const S_IFCHR: usize = 0o020_000;
    let device = (u64::from(major) & 0xfff) << 8 | u64::from(minor) & 0xff;
    let arguments = [path.as_ptr() as usize, S_IFCHR | 0o666, wide(device), 0, 0, 0];
    // SAFETY: the path is a valid C string.
    check(unsafe { syscall(nr::MKNOD, arguments) }).map(drop)
}

/// newfstatat(2) of `name` in `directory`. With an empty name and `AT_EMPTY_PATH`, of the
/// directory.
pub(crate) fn stat_at(directory: Fd, name: &CStr, flags: i32) -> Result<FileStat> {
    // The layout of `struct stat` on x86-64: `st_mode` at 24, `st_size` at 48, 144 bytes in all.
    let mut raw = [0_u64; 18];
    let arguments = [
        signed(directory.0),
        name.as_ptr() as usize,
        raw.as_mut_ptr() as usize,
        signed(flags),
        0,
        0,
    ];
    // SAFETY: the name is a valid C string, and the kernel writes 144 bytes to the array.
    check(unsafe { syscall(nr::NEWFSTATAT, arguments) })?;
    let [_, _, _, mode_and_uid, _, _, size, ..] = raw;
    let [a, b, c, d, ..] = mode_and_uid.to_le_bytes();
    Ok(FileStat { mode: u32::from_le_bytes([a, b, c, d]), size })
}

/// fstat(2)
pub(crate) fn fstat(fd: Fd) -> Result<FileStat> {
    const AT_EMPTY_PATH: i32 = 0x1000;
    stat_at(fd, c"", AT_EMPTY_PATH)
}

/// fstatfs(2)
pub(crate) fn free_space(fd: Fd) -> Result<FreeSpace> {
    // The layout of `struct statfs` on x86-64: eight-byte fields; `f_bsize` at 1, `f_blocks` at 2,
    // `f_bavail` at 4, `f_files` at 5, `f_ffree` at 6.
    let mut raw = [0_u64; 15];
    // SAFETY: the kernel writes 120 bytes to the array.
    check(unsafe { syscall(nr::FSTATFS, [signed(fd.0), raw.as_mut_ptr() as usize, 0, 0, 0, 0]) })?;
    let [_, block_size, blocks, _, free_blocks, inodes, free_inodes, ..] = raw;
    Ok(FreeSpace {
        bytes: block_size.saturating_mul(blocks),
        inodes,
        free_bytes: block_size.saturating_mul(free_blocks),
        free_inodes,
    })
}

/// umask(2)
pub(crate) fn umask(mask: u32) {
    // SAFETY: the call accesses no memory, and cannot fail.
    let _previous = unsafe { syscall(nr::UMASK, [mask as usize, 0, 0, 0, 0, 0]) };
}

pub(super) fn to_fd(number: usize) -> Result<Fd> {
    i32::try_from(number).map(Fd).map_err(|_| Errno::INVAL)
}
