//! Requests to a guest, encoded.

use crucible_core::{Command, EngineError, Limits, SandboxPath};
use crucible_guest::protocol::{self, Exec, Overflow, Rlimit, Strings, WireWriter};

/// At this core limit the kernel makes no core file and starts no crash handler of the host (core(5)).
const CORE_NONE: u64 = 1;
/// The usual soft limit on the stack, from which execve(2) derives how much arguments may take.
const STACK: u64 = 8 * 1024 * 1024;

/// Encodes into a buffer of `size` bytes at most.
///
/// # Errors
/// It does not fit.
pub fn encode(
    size: usize,
    write: impl FnOnce(&mut WireWriter<'_>) -> Result<(), Overflow>,
) -> Result<Vec<u8>, EngineError> {
    let mut buffer = vec![0; size];
    let mut writer = WireWriter::new(&mut buffer);
    write(&mut writer).map_err(|_| crate::errors::protocol("a request does not fit", false))?;
    let length = writer.len();
    buffer.truncate(length);
    Ok(buffer)
}

/// A path with its NUL.
#[must_use]
pub fn path(path: &SandboxPath) -> Vec<u8> {
    let mut bytes = path.as_str().as_bytes().to_vec();
    bytes.push(0);
    bytes
}

/// How a command is to be run.
#[derive(Debug, Clone, Copy)]
pub struct Terms<'a> {
    /// [`STDIO_PASSED`](protocol::STDIO_PASSED) or 0.
    pub stdio: u8,
    /// More variables (`NAME=value`) than the command's own.
    pub variables: &'a [String],
    /// What happens to what it leaves behind.
    pub after: protocol::OnExit,
    /// After how many microseconds the guest ends it by itself.
    pub deadline_us: u64,
    /// Whether the kernel's word on it is wanted.
    pub status: bool,
    /// For how long nobody need hear that it runs, in microseconds: one that ends before is heard of once. Where its streams are passed.
    pub quiet_us: u32,
    /// Whether the guest lends its mounts when it ends with the command, so that it need not wait for their end.
    pub lend_mounts: bool,
    /// Its resource limits, as [`rlimits`] writes them.
    pub rlimits: &'a [u8],
}

/// The request to run a command.
///
/// # Errors
/// It does not fit into a frame.
pub fn exec(command: &Command, terms: Terms<'_>) -> Result<Vec<u8>, EngineError> {
    let directory = command.directory.as_ref().map_or_else(|| b".\0".to_vec(), path);
    let (arguments, argv) = strings(command.argv.iter().map(String::as_bytes));
    let pairs: Vec<Vec<u8>> = command
        .env
        .iter()
        .map(|(name, value)| format!("{name}={}", value.reveal().unwrap_or_default()).into_bytes())
        .collect();
    let more = terms.variables.iter().map(String::as_bytes);
    let (variables, env) = strings(pairs.iter().map(Vec::as_slice).chain(more));
    let size = 128 + terms.rlimits.len() + directory.len() + argv.len() + env.len();
    encode(size, |writer| {
        let request = Exec {
            stdio: terms.stdio,
            on_exit: terms.after,
            status: terms.status,
            quiet_us: terms.quiet_us,
            lend_mounts: terms.lend_mounts,
            deadline_us: terms.deadline_us,
            rlimits: terms.rlimits,
            directory: &directory,
            argv: Strings { count: arguments, bytes: &argv },
            env: Strings { count: variables, bytes: &env },
        };
        request.encode(writer)
    })
}

/// NUL-terminated strings, one after another, and how many.
fn strings<'a>(strings: impl Iterator<Item = &'a [u8]>) -> (u32, Vec<u8>) {
    let mut bytes = Vec::new();
    let mut count = 0;
    for string in strings {
        bytes.extend_from_slice(string);
        bytes.push(0);
        count += 1;
    }
    (count, bytes)
}

/// The resource limits of each process: no core file and no crash handler, open files, a stack from which arguments get their
/// room.
#[must_use]
pub fn process_limits(limits: &Limits) -> Vec<Rlimit> {
    let same = |resource, value| Rlimit { resource, soft: value, hard: value };
    vec![
        same(libc::RLIMIT_CORE, CORE_NONE),
        same(libc::RLIMIT_NOFILE, u64::from(limits.open_files)),
        Rlimit { resource: libc::RLIMIT_STACK, soft: STACK, hard: libc::RLIM_INFINITY },
    ]
}

/// No process gets a priority above that of others. Kernels that have none know no such limits.
#[must_use]
pub fn priority_limits() -> Vec<Rlimit> {
    [libc::RLIMIT_NICE, libc::RLIMIT_RTPRIO]
        .map(|resource| Rlimit { resource, soft: 0, hard: 0 })
        .to_vec()
}

/// Resource limits, encoded.
///
/// # Errors
/// There are too many.
pub fn rlimits(wanted: &[Rlimit]) -> Result<Vec<u8>, EngineError> {
    encode(wanted.len() * 20, |writer| wanted.iter().try_for_each(|limit| limit.encode(writer)))
}
