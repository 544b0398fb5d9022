//! A first sandbox that checks every layer when an engine starts.

use std::os::fd::{AsFd as _, OwnedFd};
use std::sync::Arc;
use std::time::{Duration, Instant};

use crucible_core::{Command, EngineError, Limits, Network};
use crucible_guest::protocol::{self, Failure, FrameKind, STDIO_PASSED, Step};
use crucible_guest_client::Frame;
use crucible_guest_client::errors::{failed_step, lost, protocol, setup};
use crucible_guest_client::request;
use rustix::net::sockopt;
use rustix::pipe::PipeFlags;

use crate::linux::channel::{FrameReader, ReadError, send_blocking, socket_pair};
use crate::linux::resources::{ResourceAllocator, SandboxSize};
use crate::linux::sandbox::{ReservationGuard, SandboxContext};
use crate::linux::teardown::Remnants;

/// The step that error messages name.
const PROBING: &str = "trying a sandbox out";
/// The time limit for the first sandbox.
const TIMEOUT: Duration = Duration::from_secs(10);
/// A program that no root file system has.
const NO_PROGRAM: &str = "/crucible/no/such/program";

/// Opens a sandbox, and has a target reach execve(2) in it, through every layer. Blocks.
pub(super) fn probe_sandbox(context: &Arc<SandboxContext>) -> Result<(), EngineError> {
    let allocator = &context.allocator;
    let limits = Limits::new();
    let size = SandboxSize::from(&limits);
    let guard = ReservationGuard::new(context, allocator.reserve(size, &Network::None)?);
    let Some(reservation) = guard.reservation() else { return Err(lost(PROBING, false)) };
    let (ours, theirs) = socket_pair()?;
    sockopt::set_socket_timeout(&ours, sockopt::Timeout::Recv, Some(TIMEOUT))
        .map_err(|error| setup("set a timeout on the guest's socket", error))?;
    let plan = allocator.plan(reservation, size, &Network::None, true);
    allocator
        .spawn(&plan, reservation, theirs.as_fd())
        .map_err(|error| error.into_error(PROBING))?;
    drop(theirs);
    let mut reader = FrameReader::new();
    let probed = probe(allocator, &limits, &ours, &mut reader);
    if let Some(reservation) = guard.into_reservation() {
        context.schedule_teardown(Remnants {
            reservation,
            guest: None,
            pidfd: reader.take_pidfd(),
            channel: Some(ours),
            mounts: None,
        });
    }
    probed
}

/// Waits until the sandbox is ready, and requests a program that does not exist.
fn probe(
    allocator: &ResourceAllocator,
    limits: &Limits,
    channel: &OwnedFd,
    reader: &mut FrameReader,
) -> Result<(), EngineError> {
    let deadline = Instant::now() + TIMEOUT;
    let mut pipes = None;
    while Instant::now() < deadline {
        let frame = match reader.next_blocking(channel.as_fd()) {
            Ok(Some(frame)) => frame,
            Ok(None) => return Err(lost(PROBING, false)),
            Err(ReadError::Malformed) => {
                return Err(protocol("it sent bytes that are not a frame", false));
            }
            Err(ReadError::Io(error)) => return Err(setup("receive from the guest", error)),
        };
        match frame.kind {
            FrameKind::Opened => {}
            FrameKind::Ready if pipes.is_none() => {
                pipes = Some(request_exec(allocator, limits, channel)?);
            }
            FrameKind::ExecFailed => return check_exec(&frame),
            FrameKind::Failed => {
                return Err(failure(&frame).map_or_else(|error| error, failed_step));
            }
            _ => return Err(protocol("it sent an unexpected frame", false)),
        }
    }
    Err(lost(PROBING, false))
}

/// The three pipes of a command.
type Pipes = [(OwnedFd, OwnedFd); 3];

/// Requests the program, and returns its pipes.
fn request_exec(
    allocator: &ResourceAllocator,
    limits: &Limits,
    channel: &OwnedFd,
) -> Result<Pipes, EngineError> {
    let pipe = || {
        rustix::pipe::pipe_with(PipeFlags::CLOEXEC).map_err(|error| setup("create a pipe", error))
    };
    let pipes = [pipe()?, pipe()?, pipe()?];
    let rlimits = allocator.rlimits(limits)?;
    let parameters = request::ExecParameters {
        stdio: STDIO_PASSED,
        variables: &[],
        on_exit: protocol::OnExit::Seal,
        deadline_us: 0,
        status: true,
        quiet_us: 0,
        lend_mounts: false,
        rlimits: &rlimits,
    };
    let payload = request::exec(&Command::new([NO_PROGRAM]), parameters)?;
    let [(stdin, _), (_, stdout), (_, stderr)] = &pipes;
    let fds = [stdin.as_fd(), stdout.as_fd(), stderr.as_fd()];
    send_blocking(channel.as_fd(), FrameKind::Exec, 1, &payload, &fds)?;
    Ok(pipes)
}

/// Checks that the program was not found. Every layer before that was set up.
fn check_exec(frame: &Frame) -> Result<(), EngineError> {
    let failure = failure(frame)?;
    if failure.step == Step::TARGET_EXEC && failure.errno == libc::ENOENT {
        Ok(())
    } else {
        Err(failed_step(failure))
    }
}

fn failure(frame: &Frame) -> Result<Failure, EngineError> {
    Failure::decode(&frame.payload).map_err(|_| protocol("its error is malformed", false))
}
