//! Running one command: from the request to its exit.

use std::os::fd::{AsFd as _, OwnedFd};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use crucible_core::{
    Captured, Command, EngineError, Evidence, ExecOptions, ExecOutcome, Layer, Limits, OnExit,
    OutputSink, OutputStream, Stdin,
};
use crucible_guest::protocol::{Exited, FrameKind, Rlimit, STDIO_PASSED};
use crucible_guest_client::errors::setup;
use crucible_guest_client::{
    Channel as _, CommandExchange, CommandIo, CommandMeters, CommandRun, CommandSession,
    GuestSandboxExt as _, KILL_CONFIRM, KillLog, OutputMeter, PendingRequest, RECEIVER_GRACE,
    SETUP_TIMEOUT, request,
};
use tokio_util::sync::CancellationToken;

use super::egress;
use super::engine::Inner;
use super::interpreter;
use super::link::Link;
use super::outcome;
use super::pump::{Flow, Pipes, Pump, feed};
use super::resources::Resources;
use super::sandbox::Open;

/// How long the guest delays the report of a command's start. Most short commands end before, so the host wakes once, at
/// the end. A command that fills its output pipe within this time waits until the report.
const QUIET: Duration = Duration::from_millis(1);

/// Runs a command. Dropping the future poisons the sandbox.
pub(super) async fn exec(
    inner: &Arc<Inner>,
    open: &Open,
    command: &Command,
    options: ExecOptions,
) -> Result<ExecOutcome, EngineError> {
    let (mut session, CommandIo { stdin, output, capture_bytes }) =
        CommandSession::begin(command, options, &open.limits, &open.lock, open.baseline())?;
    let waiting = open.take_waiting();
    let was_waiting = waiting.is_some();
    let asked = match waiting {
        Some(waiting) => {
            if let Some(group) = &open.holdings.group {
                // The CPU time of the interpreter's start is not the program's.
                session.baseline.counters.cpu =
                    group.cpu().map_err(|error| setup("read a cgroup", error))?;
            }
            let has_input = !matches!(&stdin, Stdin::Bytes(bytes) if bytes.is_empty());
            let resume = waiting.take_up(inner, &open.link, command, has_input);
            open.within(SETUP_TIMEOUT, "giving an interpreter its program", resume).await?
        }
        None => ask(inner, open, command, &session, &output).await?,
    };
    if let Some(group) = &open.holdings.group {
        // Opened now, while the guest starts the command.
        group.open_counters().map_err(|error| setup("read a cgroup", error))?;
    }
    let Asked { question, stdin: stdin_end, outputs, fed, status } = asked;
    let meter = OutputMeter::new(session.limits().output_bytes);
    let exchange = CommandExchange { channel: &open.link, request: question, kill: || open.kill() };
    let streams = Streams { stdin_end, stdin, outputs, output, capture_bytes };
    let (mut run, captured) =
        supervise(inner, open, &mut session, exchange, &meter, streams).await?;
    let CommandRun { kill_log, end, .. } = &mut run;
    if let (Some(fed), true, false) = (&fed, end.exited.is_some(), kill_log.has_killed()) {
        interpreter::was_given(&open.link, fed)?;
    }
    if was_waiting && let Some(exited) = &mut end.exited {
        (exited.wall_us, session.baseline.guest_cpu) = since_resume(kill_log, exited);
    }
    let is_ordinary = !kill_log.has_killed() && !end.gone;
    let builder =
        session.evidence_builder(run, open.counters()?, open.limits.memory_bytes, meter.bytes());
    if let Some(error) = builder.lost_guest() {
        return Err(error);
    }
    let end = &builder.run.end;
    let enforcement =
        outcome::enforcement(inner, (end, status), &open.limits, open.proxy.as_ref())?;
    let usage = if was_waiting { builder.usage_since_resume() } else { builder.usage() };
    // The guest has reported that no other process is left, and that it exits.
    let is_over = session.on_exit() == OnExit::Seal && end.exited.is_some() && !end.unconfirmed;
    {
        let mut memory = open.remember();
        memory.account.record(&builder, &usage);
        memory.has_run = true;
        memory.is_last = is_over;
    }
    session.finish(end);
    let mut evidence = builder.into_evidence();
    // A violation is counted before its system call returns, so before the process can end.
    let violations = inner.auditor().violations.take(|| open.link.guest());
    evidence.extend(violations.into_iter().map(|what| Evidence::Violation { what }));
    open.remember().is_clean =
        is_ordinary && !evidence.iter().any(|fact| matches!(fact, Evidence::Violation { .. }));
    let is_left = is_over && inner.resources().may_leave() && open.is_doomed_alone();
    if is_over && !is_left && !open.confirm_death().await {
        evidence.push(Evidence::NotConfirmedDead);
    }
    let [stdout, stderr] = captured;
    Ok(ExecOutcome::new(evidence)
        .with_output(stdout, stderr)
        .with_usage(usage)
        .with_enforcement(enforcement))
}

/// The host's ends of a command's streams, and what is transferred over them.
struct Streams {
    stdin_end: OwnedFd,
    stdin: Stdin,
    outputs: [OwnedFd; 2],
    output: OutputSink,
    capture_bytes: usize,
}

/// Follows a command to its end, and reads its output streams.
async fn supervise<K: Fn() + Send + Sync>(
    inner: &Inner,
    open: &Open,
    session: &mut CommandSession<'_>,
    exchange: CommandExchange<'_, Link, K>,
    meter: &OutputMeter,
    streams: Streams,
) -> Result<(CommandRun, [Captured; 2]), EngineError> {
    let (deaf, started, complete) =
        (CancellationToken::new(), AtomicBool::new(false), AtomicBool::new(false));
    let Streams { stdin_end, stdin, outputs: [stdout, stderr], output, capture_bytes } = streams;
    let flow = Flow { meter, deaf: &deaf, started: &started, complete: &complete };
    let mut stdout = Pump::new(OutputStream::Stdout, stdout, capture_bytes, output.clone(), flow);
    let mut stderr = Pump::new(OutputStream::Stderr, stderr, capture_bytes, output, flow);
    let meters = CommandMeters {
        output: meter,
        cpu_time: || open.holdings.group.as_ref().and_then(|group| group.cpu().ok().flatten()),
        cpus: inner.host().cpus,
        started: Some(&started),
    };
    let run = {
        let pumps = async {
            tokio::join!(stdout.run(), stderr.run());
        };
        let feed = feed(stdin_end, stdin);
        tokio::pin!(pumps, feed);
        let run = session.supervise(exchange, meters, pumps.as_mut(), feed.as_mut()).await?;
        if !run.output_ended {
            let on_exit = session.on_exit();
            // The exiting guest holds the other ends of the pipes open, so no end of file wakes this task.
            complete.store(on_exit == OnExit::Seal && run.end.is_complete(), Ordering::Relaxed);
            started.store(true, Ordering::Relaxed);
            let keeps_background = on_exit == OnExit::KeepBackground;
            let grace = if keeps_background { inner.drain_deadline } else { RECEIVER_GRACE };
            if tokio::time::timeout(grace, &mut pumps).await.is_err() {
                deaf.cancel();
                if !keeps_background {
                    // Every writer is dead, so the pipes end. The receiver of live output gets nothing more.
                    let _end = tokio::time::timeout(KILL_CONFIRM, &mut pumps).await;
                }
            }
        }
        run
    };
    stdout.read_rest();
    stderr.read_rest();
    Ok((run, [stdout.finish(), stderr.finish()]))
}

/// A command that was asked for.
pub(super) struct Asked<'a> {
    pub(super) question: PendingRequest<'a>,
    pub(super) stdin: OwnedFd,
    pub(super) outputs: [OwnedFd; 2],
    /// Whether its status file is sent along.
    pub(super) status: bool,
    /// The word to go, for one that had waited.
    pub(super) fed: Option<PendingRequest<'a>>,
}

/// Asks for a command.
async fn ask<'a>(
    inner: &Inner,
    open: &'a Open,
    command: &Command,
    session: &CommandSession<'_>,
    output: &OutputSink,
) -> Result<Asked<'a>, EngineError> {
    let Pipes { theirs, stdin, outputs } =
        Pipes::new().map_err(|error| setup("make the command's pipes", error))?;
    let rlimits = rlimits(inner.resources(), &open.limits)?;
    let status = inner.word.is_due();
    let variables = open.proxy.as_ref().map_or_else(Vec::new, |_| egress::variables(command));
    // A caller that follows the output or sends signals gets the report of the start at once.
    let is_quiet = output.is_none() && !session.accepts_signals();
    let quiet = if is_quiet { QUIET.min(session.limits().wall / 4) } else { Duration::ZERO };
    let parameters = request::ExecParameters {
        stdio: STDIO_PASSED,
        variables: &variables,
        status,
        quiet_us: u32::try_from(quiet.as_micros()).unwrap_or(u32::MAX),
        // In a slot the next sandbox is open already, and where `may_leave` holds no caller waits for the unmounting.
        lend_mounts: open.holdings.slot.is_none() && !inner.resources().may_leave(),
        ..session.parameters(&rlimits)
    };
    let payload = request::exec(command, parameters)?;
    let question = open.link.router().open_request();
    let fds = [theirs[0].as_fd(), theirs[1].as_fd(), theirs[2].as_fd()];
    let sent = open.link.send_with(FrameKind::Exec, question.id(), &payload, &[], &fds);
    open.send_start(sent).await?;
    Ok(Asked { question, stdin, outputs, status, fed: None })
}

/// How long a command has run that had waited before, and the guest's own time, of which it is not known how much was before: none of it
/// is taken off.
fn since_resume(kill_log: &KillLog, exited: &Exited) -> (u64, Duration) {
    let elapsed = u64::try_from(kill_log.elapsed().as_micros()).unwrap_or(u64::MAX);
    (exited.wall_us.min(elapsed), Duration::from_micros(exited.guest_us))
}

/// The resource limits of each process, and those that stand in for cgroups that were waived.
pub(super) fn rlimits(resources: &Resources, limits: &Limits) -> Result<Vec<u8>, EngineError> {
    let mut wanted = Vec::new();
    let same = |resource, value| Rlimit { resource, soft: value, hard: value };
    if !resources.is_waived(Layer::Rlimits) {
        wanted.extend(request::process_limits(limits));
        wanted.extend(request::priority_limits());
    }
    if resources.is_waived(Layer::MemoryCgroup) {
        wanted.push(same(libc::RLIMIT_AS, limits.memory_bytes));
    }
    if resources.is_waived(Layer::PidsCgroup) {
        // Counted for the user in its own user namespace; the guest is one of them where both share an id.
        let processes = u64::from(limits.processes) + u64::from(!resources.host.is_root());
        wanted.push(same(libc::RLIMIT_NPROC, processes));
    }
    request::rlimits(&wanted)
}
