//! Requests to a guest, encoded.

use crucible_core::{Command, EngineError, Layer, Limits, SandboxPath};
use crucible_guest::protocol::{self, Exec, Overflow, Rlimit, STDIO_PASSED, Strings, Writer};

use super::engine::Inner;

/// At this core limit the kernel makes no core file and starts no crash handler of the host (core(5)).
const CORE_NONE: u64 = 1;
/// The usual soft limit on the stack, from which execve(2) derives how much arguments may take.
const STACK: u64 = 8 * 1024 * 1024;

/// Encodes into a buffer of `size` bytes at most.
pub(super) fn encode(
    size: usize,
    write: impl FnOnce(&mut Writer<'_>) -> Result<(), Overflow>,
) -> Result<Vec<u8>, EngineError> {
    let mut buffer = vec![0; size];
    let mut writer = Writer::new(&mut buffer);
    write(&mut writer).map_err(|_| super::errors::protocol("a request does not fit", false))?;
    let length = writer.len();
    buffer.truncate(length);
    Ok(buffer)
}

/// A path with its NUL.
pub(super) fn path(path: &SandboxPath) -> Vec<u8> {
    let mut bytes = path.as_str().as_bytes().to_vec();
    bytes.push(0);
    bytes
}

/// The request to run a command, with more variables (`NAME=value`) than its own.
pub(super) fn exec(
    command: &Command,
    variables: &[String],
    after: protocol::After,
    deadline_us: u64,
    rlimits: &[u8],
) -> Result<Vec<u8>, EngineError> {
    let directory = command.directory.as_ref().map_or_else(|| b".\0".to_vec(), path);
    let (arguments, argv) = strings(command.argv.iter().map(String::as_bytes));
    let pairs: Vec<Vec<u8>> = command
        .env
        .iter()
        .map(|(name, value)| format!("{name}={}", value.reveal().unwrap_or_default()).into_bytes())
        .collect();
    let more = variables.iter().map(String::as_bytes);
    let (variables, env) = strings(pairs.iter().map(Vec::as_slice).chain(more));
    let size = 128 + rlimits.len() + directory.len() + argv.len() + env.len();
    encode(size, |writer| {
        let request = Exec {
            stdio: STDIO_PASSED,
            after,
            status: true,
            deadline_us,
            rlimits,
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

/// The resource limits of each process, and those that stand in for cgroups that were waived.
pub(super) fn rlimits(inner: &Inner, limits: &Limits) -> Result<Vec<u8>, EngineError> {
    let mut wanted = Vec::new();
    let mut same = |resource: libc::__rlimit_resource_t, value: u64| {
        wanted.push(Rlimit { resource, soft: value, hard: value });
    };
    if !inner.is_waived(Layer::Rlimits) {
        same(libc::RLIMIT_CORE, CORE_NONE);
        same(libc::RLIMIT_NOFILE, u64::from(limits.open_files));
        same(libc::RLIMIT_NICE, 0);
        same(libc::RLIMIT_RTPRIO, 0);
        wanted.push(Rlimit { resource: libc::RLIMIT_STACK, soft: STACK, hard: libc::RLIM_INFINITY });
    }
    if inner.is_waived(Layer::MemoryCgroup) {
        wanted.push(Rlimit {
            resource: libc::RLIMIT_AS,
            soft: limits.memory_bytes,
            hard: limits.memory_bytes,
        });
    }
    if inner.is_waived(Layer::PidsCgroup) {
        // Counted for the user in its own user namespace; the guest is one of them where both share an id.
        let processes = u64::from(limits.processes) + u64::from(!inner.host.is_root());
        wanted.push(Rlimit { resource: libc::RLIMIT_NPROC, soft: processes, hard: processes });
    }
    encode(wanted.len() * 20, |writer| wanted.iter().try_for_each(|limit| limit.encode(writer)))
}
