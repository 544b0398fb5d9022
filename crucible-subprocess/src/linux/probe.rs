//! Trying a sandbox out before anyone relies on it, and saying what a failure means.

use std::os::fd::{AsFd as _, OwnedFd};
use std::sync::Arc;
use std::time::{Duration, Instant};

use crucible_core::{Command, EngineError, Layer, Limits, Network, UnavailableMechanism};
use crucible_guest::protocol::{self, Failure, FrameKind, STDIO_PASSED, Step};
use crucible_guest_client::Frame;
use crucible_guest_client::errors::{failed_step, lost, protocol, setup};
use crucible_guest_client::request;
use rustix::net::sockopt;

use super::engine::Inner;
use super::exec;
use super::frames::{FrameReader, ReadError, send_blocking};
use super::host::Host;
use super::janitor::Remains;
use super::resources::Size;
use super::spawner::SendError;

/// How long the first sandbox may take.
const TIMEOUT: Duration = Duration::from_secs(10);
/// A program that no root file system has.
const NO_PROGRAM: &str = "/crucible/no/such/program";

/// Opens a sandbox and lets a target get as far as execve(2) in it, through every layer. Blocks.
pub(super) fn try_out(inner: &Arc<Inner>) -> Result<(), EngineError> {
    let limits = Limits::new();
    let lease = inner.lease(Size::from(&limits), &Network::None)?;
    let Some(holdings) = lease.holdings() else { return Err(lost("trying a sandbox out", false)) };
    let (ours, theirs) = blocking_pair()?;
    let plan = inner.resources().plan(holdings, Size::from(&limits), &Network::None, true);
    match inner.resources().ask_spawner(&plan, holdings, theirs.as_fd()) {
        Ok(()) => {}
        Err(SendError::Failed(error)) => return Err(error),
        Err(SendError::Busy | SendError::Gone) => return Err(lost("trying a sandbox out", false)),
    }
    drop(theirs);
    let mut reader = FrameReader::new();
    let tried = talk(inner, &limits, &ours, &mut reader);
    if let Some(holdings) = lease.into_holdings() {
        inner.bury(Remains {
            holdings,
            guest: None,
            pidfd: reader.take_pidfd(),
            channel: Some(ours),
            mounts: None,
        });
    }
    tried
}

fn blocking_pair() -> Result<(OwnedFd, OwnedFd), EngineError> {
    let (ours, theirs) = super::sandbox::channel()?;
    sockopt::set_socket_timeout(&ours, sockopt::Timeout::Recv, Some(TIMEOUT))
        .map_err(|error| setup("bound the guest's answers", error))?;
    Ok((ours, theirs))
}

fn talk(
    inner: &Inner,
    limits: &Limits,
    channel: &OwnedFd,
    reader: &mut FrameReader,
) -> Result<(), EngineError> {
    let pipes = [(); 3].map(|()| rustix::pipe::pipe_with(rustix::pipe::PipeFlags::CLOEXEC));
    let mut streams = Vec::with_capacity(3);
    for pipe in pipes {
        streams.push(pipe.map_err(|error| setup("make a pipe", error))?);
    }
    let command = Command::new([NO_PROGRAM]);
    let rlimits = exec::rlimits(inner.resources(), limits)?;
    let terms = request::ExecParameters {
        stdio: STDIO_PASSED,
        variables: &[],
        on_exit: protocol::OnExit::Seal,
        deadline_us: 0,
        status: true,
        quiet_us: 0,
        lend_mounts: false,
        rlimits: &rlimits,
    };
    let payload = request::exec(&command, terms)?;
    let deadline = Instant::now() + TIMEOUT;
    let mut asked = false;
    while Instant::now() < deadline {
        let frame = match reader.next_blocking(channel.as_fd()) {
            Ok(Some(frame)) => frame,
            Ok(None) => return Err(lost("trying a sandbox out", false)),
            Err(ReadError::Malformed) => {
                return Err(protocol("what it says is not a frame", false));
            }
            Err(ReadError::Io(error)) => return Err(setup("hear from the guest", error)),
        };
        match frame.kind {
            FrameKind::Opened => {}
            FrameKind::Ready if !asked => {
                asked = true;
                let stdio = [
                    streams.first().map(|p| p.0.as_fd()),
                    streams.get(1).map(|p| p.1.as_fd()),
                    streams.get(2).map(|p| p.1.as_fd()),
                ];
                let stdio: Vec<_> = stdio.into_iter().flatten().collect();
                send_blocking(channel.as_fd(), FrameKind::Exec, 1, &payload, &stdio)?;
            }
            FrameKind::ExecFailed => return judge(&frame),
            FrameKind::Failed => {
                return Err(failure(&frame).map_or_else(|error| error, failed_step));
            }
            _ => return Err(protocol("it says what nobody asked for", false)),
        }
    }
    Err(lost("trying a sandbox out", false))
}

/// The program is not there: everything before it held.
fn judge(frame: &Frame) -> Result<(), EngineError> {
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

pub(super) fn no_landlock() -> UnavailableMechanism {
    UnavailableMechanism::new(
        Layer::Landlock,
        "the kernel has no Landlock, or has it switched off",
        "use Linux 5.13 or later with `landlock` in the `lsm=` kernel parameter",
    )
}

pub(super) fn no_dedicated_user(host: &Host) -> UnavailableMechanism {
    UnavailableMechanism::new(
        Layer::DedicatedUser,
        format!("user {} has no other user ids than its own", host.uid),
        "run the host as root",
    )
}

/// Says which layer a failed step means, where it means one.
pub(super) fn explain(error: EngineError, host: &Host) -> EngineError {
    let EngineError::Setup { step, source } = &error else { return error };
    let is = |candidate: Step| candidate.describe().is_some_and(|text| step.starts_with(text));
    let early = [
        Step::SPAWNER_NAMESPACES,
        Step::SPAWNER_MAPS,
        Step::SPAWNER_PRIVATE,
        Step::TEMPLATE,
        Step::CLONE,
    ];
    let cause = source.as_ref().map(|source| format!(": {source}")).unwrap_or_default();
    if early.into_iter().any(is)
        && let Some(obstacle) = host.user_namespace_obstacle()
    {
        // Some let a namespace be made in which nothing is allowed.
        let reason = format!("{}: cannot {step}{cause}", obstacle.reason);
        return EngineError::LayerUnavailable {
            missing: vec![UnavailableMechanism::new(Layer::UserNamespace, reason, obstacle.fix)],
        };
    }
    let (layer, fix) = if is(Step::SPAWNER_NAMESPACES)
        || is(Step::SPAWNER_MAPS)
        || is(Step::CLONE)
        || is(Step::MAPS)
    {
        let fix = if host.is_root() {
            "give the host `CAP_SYS_ADMIN` in its own user namespace (in a container: `--privileged`, or a seccomp \
             profile that allows `clone3` and `mount`)"
        } else {
            "allow user namespaces for ordinary users, see `docs/host-setup.md`"
        };
        (Layer::UserNamespace, fix)
    } else if is(Step::SPAWNER_PRIVATE)
        || is(Step::TEMPLATE)
        || is(Step::PIVOT)
        || is(Step::MOUNT_DISK)
    {
        (Layer::MountNamespace, "allow mounting in a mount namespace of its own (`CAP_SYS_ADMIN`)")
    } else if is(Step::MOUNT_PROC) {
        let fix = "run where `/proc` is fully visible (in a container: `--security-opt systempaths=unconfined`)";
        (Layer::PidNamespace, fix)
    } else if is(Step::NETNS) || is(Step::ENTER_NETNS) {
        (Layer::NetworkNamespace, "raise `user.max_net_namespaces`")
    } else if is(Step::CGROUP_NAMESPACE) {
        (Layer::CgroupNamespace, "raise `user.max_cgroup_namespaces`")
    } else if is(Step::SPAWNER_SECCOMP) {
        (Layer::Seccomp, "use a kernel with `CONFIG_SECCOMP_FILTER`")
    } else if is(Step::LANDLOCK) {
        (Layer::Landlock, "use a kernel with Landlock")
    } else {
        return error;
    };
    EngineError::LayerUnavailable {
        missing: vec![UnavailableMechanism::new(layer, format!("cannot {step}{cause}"), fix)],
    }
}
