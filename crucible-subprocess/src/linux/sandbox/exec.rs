//! The execution of one command, from its request to its outcome.

use std::os::fd::{AsFd as _, OwnedFd};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use crucible_core::{
    Captured, Command, EngineError, Evidence, ExecOptions, ExecOutcome, OnExit, OutputSink,
    OutputStream, Stdin,
};
use crucible_guest::protocol::{FrameKind, STDIO_PASSED};
use crucible_guest_client::errors::setup;
use crucible_guest_client::{
    Channel as _, CommandExchange, CommandIo, CommandMeters, CommandRun, CommandSession,
    GuestSandboxExt as _, KILL_CONFIRM, OutputMeter, PendingRequest, RECEIVER_GRACE, SETUP_TIMEOUT,
    request,
};
use tokio_util::sync::CancellationToken;

use super::context::SandboxContext;
use super::enforcement::enforcement;
use super::open_sandbox::OpenSandbox;
use super::streams::{OutputReader, OutputState, StdioPipes, feed_stdin};
use crate::linux::channel::GuestChannel;
use crate::linux::egress::proxy_variables;
use crate::linux::interpreter::{StartedInterpreter, WaitingInterpreter, check_started};

/// The time by which the guest delays the report of a command's start. Most short commands end
/// earlier, so the host wakes once, at the end. A command that fills its output pipe within this
/// time blocks until the report.
const QUIET_TIME: Duration = Duration::from_millis(1);

/// Executes a command.
///
/// # Cancel safety
/// Dropping the future poisons the sandbox.
pub(super) async fn exec(
    context: &SandboxContext,
    open: &OpenSandbox,
    command: &Command,
    options: ExecOptions,
) -> Result<ExecOutcome, EngineError> {
    let (mut session, CommandIo { stdin, output, capture_bytes }) =
        CommandSession::begin(command, options, &open.limits, &open.lock, open.baseline())?;
    let waiting = open.take_waiting();
    let was_waiting = waiting.is_some();
    let started = match waiting {
        Some(waiting) => start_waiting(open, &mut session, waiting, command, &stdin).await?,
        None => request_start(context, open, command, &session, &output).await?,
    };
    if let Some(group) = &open.reservation.group {
        // Opened now, while the guest starts the command.
        group.open_counters().map_err(|error| setup("read a cgroup", error))?;
    }
    let StartedCommand { request, stdin: stdin_end, outputs, start, is_sampled } = started;
    let meter = OutputMeter::new(session.limits().output_bytes);
    let exchange = CommandExchange { channel: &open.channel, request, kill: || open.kill() };
    let streams = CommandStreams { stdin_end, stdin, outputs, output, capture_bytes };
    let (mut run, captured) =
        supervise(context, open, &mut session, exchange, &meter, streams).await?;
    let CommandRun { kill_log, end, .. } = &mut run;
    if let (Some(start), true, false) = (&start, end.exited.is_some(), kill_log.has_killed()) {
        check_started(&open.channel, start)?;
    }
    if was_waiting && let Some(exited) = &mut end.exited {
        // The guest's own time before the start message is unknown, and none of it is subtracted.
        session.baseline.guest_cpu = Duration::from_micros(exited.guest_us);
        let elapsed = u64::try_from(kill_log.elapsed().as_micros()).unwrap_or(u64::MAX);
        exited.wall_us = exited.wall_us.min(elapsed);
    }
    let output_bytes = meter.bytes();
    let finished = FinishedCommand { run, captured, output_bytes, was_waiting, is_sampled };
    conclude(context, open, session, finished).await
}

/// A command that has ended, and its output.
struct FinishedCommand {
    run: CommandRun,
    captured: [Captured; 2],
    output_bytes: u64,
    /// A waiting interpreter ran the command.
    was_waiting: bool,
    /// The guest sent the command's status file.
    is_sampled: bool,
}

/// Derives the outcome of a command, and waits for the end of a sealed sandbox.
async fn conclude(
    context: &SandboxContext,
    open: &OpenSandbox,
    session: CommandSession<'_>,
    finished: FinishedCommand,
) -> Result<ExecOutcome, EngineError> {
    let FinishedCommand { run, captured, output_bytes, was_waiting, is_sampled } = finished;
    let is_regular = !run.kill_log.has_killed() && !run.end.gone;
    let memory_limit = open.limits.memory_bytes;
    let builder = session.evidence_builder(run, open.counters()?, memory_limit, output_bytes);
    if let Some(error) = builder.lost_guest() {
        return Err(error);
    }
    let end = &builder.run.end;
    let enforcement = enforcement(context, end, is_sampled, &open.limits, open.proxy.as_ref())?;
    let usage = if was_waiting { builder.usage_since_resume() } else { builder.usage() };
    // The guest has reported that no other process is left, and that it exits.
    let is_over = session.on_exit() == OnExit::Seal && end.exited.is_some() && !end.unconfirmed;
    {
        let mut history = open.history();
        history.account.record(&builder, &usage);
        history.has_run = true;
        history.is_over = is_over;
    }
    session.finish(end);
    let mut evidence = builder.into_evidence();
    // A violation is counted before its system call returns, so before the process can end.
    let violations = context.allocator.auditor().violations.take(|| open.channel.guest());
    evidence.extend(violations.into_iter().map(|what| Evidence::Violation { what }));
    open.history().is_regular =
        is_regular && !evidence.iter().any(|fact| matches!(fact, Evidence::Violation { .. }));
    let is_deferred = is_over && context.allocator.may_defer_teardown() && open.kill_lone_guest();
    if is_over && !is_deferred && !open.confirm_death().await {
        evidence.push(Evidence::NotConfirmedDead);
    }
    let [stdout, stderr] = captured;
    Ok(ExecOutcome::new(evidence)
        .with_output(stdout, stderr)
        .with_usage(usage)
        .with_enforcement(enforcement))
}

/// The host's ends of a command's streams, and the data for them.
struct CommandStreams {
    stdin_end: OwnedFd,
    stdin: Stdin,
    outputs: [OwnedFd; 2],
    output: OutputSink,
    capture_bytes: usize,
}

/// Follows a command to its end, and reads its output streams.
async fn supervise<K: Fn() + Send + Sync>(
    context: &SandboxContext,
    open: &OpenSandbox,
    session: &mut CommandSession<'_>,
    exchange: CommandExchange<'_, GuestChannel, K>,
    meter: &OutputMeter,
    streams: CommandStreams,
) -> Result<(CommandRun, [Captured; 2]), EngineError> {
    let (forwarding_ended, started, complete) =
        (CancellationToken::new(), AtomicBool::new(false), AtomicBool::new(false));
    let CommandStreams { stdin_end, stdin, outputs: [stdout, stderr], output, capture_bytes } =
        streams;
    let state = OutputState {
        meter,
        forwarding_ended: &forwarding_ended,
        started: &started,
        complete: &complete,
    };
    let reader = |stream, end, sink| OutputReader::new(stream, end, capture_bytes, sink, state);
    let mut stdout = reader(OutputStream::Stdout, stdout, output.clone());
    let mut stderr = reader(OutputStream::Stderr, stderr, output);
    let meters = CommandMeters {
        output: meter,
        cpu_time: || open.reservation.group.as_ref().and_then(|group| group.cpu().ok().flatten()),
        cpus: context.allocator.host().cpus,
        started: Some(&started),
    };
    let run = {
        let readers = async {
            tokio::join!(stdout.run(), stderr.run());
        };
        let feed = feed_stdin(stdin_end, stdin);
        tokio::pin!(readers, feed);
        let run = session.supervise(exchange, meters, readers.as_mut(), feed.as_mut()).await?;
        if !run.output_ended {
            let on_exit = session.on_exit();
            // The exiting guest keeps the other ends of the pipes open, so that no end of file
            // wakes this task.
            complete.store(on_exit == OnExit::Seal && run.end.is_complete(), Ordering::Relaxed);
            started.store(true, Ordering::Relaxed);
            let keeps_background = on_exit == OnExit::KeepBackground;
            let grace = if keeps_background { context.drain_deadline } else { RECEIVER_GRACE };
            if tokio::time::timeout(grace, &mut readers).await.is_err() {
                forwarding_ended.cancel();
                if !keeps_background {
                    // Every writer is dead, so the pipes end.
                    let _ended = tokio::time::timeout(KILL_CONFIRM, &mut readers).await;
                }
            }
        }
        run
    };
    stdout.read_rest();
    stderr.read_rest();
    Ok((run, [stdout.finish(), stderr.finish()]))
}

/// A command that was requested from the guest.
struct StartedCommand<'a> {
    request: PendingRequest<'a>,
    stdin: OwnedFd,
    outputs: [OwnedFd; 2],
    /// The unanswered request with the start message of a waiting interpreter.
    start: Option<PendingRequest<'a>>,
    /// Whether the guest sends the command's status file.
    is_sampled: bool,
}

/// Starts the program of a waiting interpreter.
async fn start_waiting<'a>(
    open: &'a OpenSandbox,
    session: &mut CommandSession<'_>,
    waiting: WaitingInterpreter,
    command: &Command,
    stdin: &Stdin,
) -> Result<StartedCommand<'a>, EngineError> {
    if let Some(group) = &open.reservation.group {
        // The CPU time of the interpreter's start is not the program's.
        session.baseline.counters.cpu =
            group.cpu().map_err(|error| setup("read a cgroup", error))?;
    }
    let has_input = !matches!(stdin, Stdin::Bytes(bytes) if bytes.is_empty());
    let start = waiting.start(&open.channel, command, has_input);
    let StartedInterpreter { request, stdin, outputs, start } =
        open.within(SETUP_TIMEOUT, "giving an interpreter its program", start).await?;
    Ok(StartedCommand { request, stdin, outputs, start, is_sampled: true })
}

/// Requests the start of a command.
async fn request_start<'a>(
    context: &SandboxContext,
    open: &'a OpenSandbox,
    command: &Command,
    session: &CommandSession<'_>,
    output: &OutputSink,
) -> Result<StartedCommand<'a>, EngineError> {
    let StdioPipes { theirs, stdin, outputs } =
        StdioPipes::new().map_err(|error| setup("create the command's pipes", error))?;
    let allocator = &context.allocator;
    let rlimits = allocator.rlimits(&open.limits)?;
    let is_sampled = context.status_sampler.is_due();
    let variables = open.proxy.as_ref().map_or_else(Vec::new, |_| proxy_variables(command));
    // A caller that follows the output or sends signals gets the report of the start immediately.
    let is_quiet = output.is_none() && !session.accepts_signals();
    let quiet = if is_quiet { QUIET_TIME.min(session.limits().wall / 4) } else { Duration::ZERO };
    let parameters = request::ExecParameters {
        stdio: STDIO_PASSED,
        variables: &variables,
        status: is_sampled,
        quiet_us: u32::try_from(quiet.as_micros()).unwrap_or(u32::MAX),
        // In a slot the next sandbox is open already. With a deferred teardown no caller waits for
        // the unmounting.
        lend_mounts: open.reservation.slot.is_none() && !allocator.may_defer_teardown(),
        ..session.parameters(&rlimits)
    };
    let payload = request::exec(command, parameters)?;
    let request = open.channel.router().open_request();
    let fds = [theirs[0].as_fd(), theirs[1].as_fd(), theirs[2].as_fd()];
    let sent = open.channel.send_with(FrameKind::Exec, request.id(), &payload, &[], &fds);
    open.send_start(sent).await?;
    Ok(StartedCommand { request, stdin, outputs, start: None, is_sampled })
}
