//! Encoding of requests to the guest.

use crucible_core::{Command, EngineError, Limits, SandboxPath};
use crucible_guest::protocol::{self, Exec, Overflow, Rlimit, Strings, WireWriter};

/// With this core limit the kernel writes no core file and starts no crash handler of the host
/// (core(5)).
const CORE_NONE: u64 = 1;
/// The usual soft limit on the stack. execve(2) derives the maximum size of the arguments from it.
const STACK: u64 = 8 * 1024 * 1024;

/// Encodes into a buffer of `size` bytes at most.
///
/// # Errors
/// Returns an error if the request does not fit.
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

/// Returns a path with a terminating NUL.
#[must_use]
pub fn path(path: &SandboxPath) -> Vec<u8> {
    let mut bytes = path.as_str().as_bytes().to_vec();
    bytes.push(0);
    bytes
}

/// The parameters with which the guest runs a command.
#[derive(Debug, Clone, Copy)]
pub struct ExecParameters<'a> {
    /// [`STDIO_PASSED`](protocol::STDIO_PASSED), or 0 for streams in frames.
    pub stdio: u8,
    /// Variables (`NAME=value`) in addition to the command's own.
    pub variables: &'a [String],
    /// The treatment of processes that the command leaves behind.
    pub on_exit: protocol::OnExit,
    /// The guest's own deadline for the command, in microseconds; 0 means none.
    pub deadline_us: u64,
    /// Whether the guest sends the command's status file.
    pub status: bool,
    /// For how many microseconds the guest delays the report of the start. A command that ends
    /// before causes a single report. Only with [`STDIO_PASSED`](protocol::STDIO_PASSED).
    pub quiet_us: u32,
    /// Whether the guest sends its mount namespace when it exits with the command, so that it does
    /// not wait for the unmounting.
    pub lend_mounts: bool,
    /// The encoded resource limits, see [`rlimits`].
    pub rlimits: &'a [u8],
}

/// Encodes the request to run a command.
///
/// # Errors
/// Returns an error if the request does not fit into a frame.
pub fn exec(command: &Command, parameters: ExecParameters<'_>) -> Result<Vec<u8>, EngineError> {
    let directory = command.directory.as_ref().map_or_else(|| b".\0".to_vec(), path);
    let (arguments, argv) = strings(command.argv.iter().map(String::as_bytes));
    let pairs: Vec<Vec<u8>> = command
        .env
        .iter()
        .map(|(name, value)| format!("{name}={}", value.reveal().unwrap_or_default()).into_bytes())
        .collect();
    let more = parameters.variables.iter().map(String::as_bytes);
    let (variables, env) = strings(pairs.iter().map(Vec::as_slice).chain(more));
    let size = 128 + parameters.rlimits.len() + directory.len() + argv.len() + env.len();
    encode(size, |writer| {
        let request = Exec {
            stdio: parameters.stdio,
            on_exit: parameters.on_exit,
            status: parameters.status,
            quiet_us: parameters.quiet_us,
            lend_mounts: parameters.lend_mounts,
            deadline_us: parameters.deadline_us,
            rlimits: parameters.rlimits,
            directory: &directory,
            argv: Strings { count: arguments, bytes: &argv },
            env: Strings { count: variables, bytes: &env },
        };
        request.encode(writer)
    })
}

/// Returns the number of strings, and the strings with a NUL after each.
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

/// Returns the resource limits of each process: no core file and no crash handler, open files, and
/// the stack, which also bounds the arguments.
#[must_use]
pub fn process_limits(limits: &Limits) -> Vec<Rlimit> {
    let same = |resource, value| Rlimit { resource, soft: value, hard: value };
    vec![
        same(libc::RLIMIT_CORE, CORE_NONE),
        same(libc::RLIMIT_NOFILE, u64::from(limits.open_files)),
        Rlimit { resource: libc::RLIMIT_STACK, soft: STACK, hard: libc::RLIM_INFINITY },
    ]
}

/// Returns the limits that prevent a priority above that of other processes. gVisor's kernel has no
/// such limits.
#[must_use]
pub fn priority_limits() -> Vec<Rlimit> {
    [libc::RLIMIT_NICE, libc::RLIMIT_RTPRIO]
        .map(|resource| Rlimit { resource, soft: 0, hard: 0 })
        .to_vec()
}

/// Encodes resource limits.
///
/// # Errors
/// Returns an error if there are too many.
pub fn rlimits(wanted: &[Rlimit]) -> Result<Vec<u8>, EngineError> {
    encode(wanted.len() * 20, |writer| wanted.iter().try_for_each(|limit| limit.encode(writer)))
}
