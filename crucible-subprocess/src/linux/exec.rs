//! Running one command: from the request to its exit.

use std::os::fd::{AsFd as _, OwnedFd};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use crucible_core::{
    Command, EngineError, Evidence, ExecOptions, ExecOutcome, InvalidInput, Layer, Limits, OnExit,
    OutputStream, Stdin,
};
use crucible_guest::protocol::{Exited, FrameKind, Rlimit, STDIO_PASSED};
use crucible_guest_client::errors::{lost, setup};
use crucible_guest_client::{
    Channel as _, CommandSupervisor, CpuWatch, Disconnected, EvidenceBuilder, Exchange,
    KILL_CONFIRM, KillLog, Meter, PendingRequest, PoisonOnDrop, RECEIVER_GRACE, SETUP_TIMEOUT,
    request, wire,
};
use tokio_util::sync::CancellationToken;

use super::egress;
use super::engine::Inner;
use super::interpreter;
use super::outcome;
use super::pump::{Flow, Pipes, Pump, feed};
use super::resources::Resources;
use super::sandbox::Open;

/// How much of each stream is kept if nobody says.
const CAPTURE_DEFAULT: u64 = 1024 * 1024;
/// How long nobody hears that a command runs: most of those that are short end before, and we are woken once, by the end. One that writes
/// more meanwhile than its pipe holds waits for as long.
const QUIET: Duration = Duration::from_millis(1);

/// Runs a command. Whoever drops this gives the sandbox up.
pub(super) async fn exec(
    inner: &Arc<Inner>,
    open: &Open,
    command: &Command,
    io: ExecOptions,
) -> Result<ExecOutcome, EngineError> {
    InvalidInput::check(command.problems("command"))?;
    if let Some(name) = command.lost_secrets().next() {
        return Err(EngineError::SecretLost { name: name.to_owned() });
    }
    let began = Instant::now();
    let given_up = PoisonOnDrop::unless_done(&open.spent);
    let ExecOptions {
        stdin,
        output,
        capture_bytes,
        wall,
        cpu,
        output_bytes,
        signals,
        cancel,
        after,
        ..
    } = io;
    let wall = wall.unwrap_or(open.limits.wall);
    let meter = Meter::new(output_bytes.unwrap_or(open.limits.output_bytes));
    let (mut before, mut guest_before) = open.before();
    let waiting = open.take_waiting();
    let has_waited = waiting.is_some();
    if has_waited && let Some(group) = &open.holdings.group {
        // What it took to start is not the program's.
        before.cpu = group.cpu().map_err(|error| setup("read a cgroup", error))?;
    }
    let has_input = !matches!(&stdin, Stdin::Bytes(bytes) if bytes.is_empty());
    let Asked { question, stdin: stdin_end, outputs: [stdout, stderr], fed, status } = match waiting
    {
        Some(waiting) => {
            let word = waiting.take_up(inner, &open.link, command, has_input);
            open.within(SETUP_TIMEOUT, "giving an interpreter its program", word).await?
        }
        None => {
            // Whoever listens, or has something to tell it, is not kept waiting.
            let is_quiet = output.is_none() && signals.is_none();
            let quiet = if is_quiet { QUIET.min(wall / 4) } else { Duration::ZERO };
            ask(inner, open, command, after, wall, quiet).await?
        }
    };
    let (deaf, started, complete) =
        (CancellationToken::new(), AtomicBool::new(false), AtomicBool::new(false));
    let budget = usize::try_from(capture_bytes.unwrap_or(CAPTURE_DEFAULT)).unwrap_or(usize::MAX);
    let flow = Flow { meter: &meter, deaf: &deaf, started: &started, complete: &complete };
    let mut stdout = Pump::new(OutputStream::Stdout, stdout, budget, output.clone(), flow);
    let mut stderr = Pump::new(OutputStream::Stderr, stderr, budget, output, flow);
    let watch = CpuWatch {
        limit: cpu.unwrap_or(open.limits.cpu),
        before: before.cpu.unwrap_or_default(),
        counted: || open.holdings.group.as_ref().and_then(|group| group.cpu().ok().flatten()),
        channel: &open.link,
        cpus: inner.host().cpus,
    };
    if let Some(group) = &open.holdings.group {
        // The guest has enough to do meanwhile.
        group.open_counters().map_err(|error| setup("read a cgroup", error))?;
    }
    let exchange = Exchange { channel: &open.link, question, kill: || open.kill() };
    let mut control = CommandSupervisor::new(exchange, after, wall, began).telling(&started);
    {
        let pumps = async { tokio::join!(stdout.run(), stderr.run()) };
        let feed = feed(stdin_end, stdin);
        tokio::pin!(pumps, feed);
        let (mut read, mut fed) = (false, false);
        {
            let controlled = control.run(&meter, &watch, &cancel, signals);
            tokio::pin!(controlled);
            loop {
                tokio::select! {
                    // The first: what is heard of the command decides whether its output is looked for.
                    biased;
                    done = &mut controlled => break done?,
                    _ = &mut pumps, if !read => read = true,
                    () = &mut feed, if !fed => fed = true,
                }
            }
        }
        if !read {
            // The guest, which ends now, has the other ends too: that we woke at the command's end cost the command's end.
            complete.store(after == OnExit::Seal && control.leaves_nobody(), Ordering::Relaxed);
            started.store(true, Ordering::Relaxed);
            let grace =
                if after == OnExit::KeepBackground { inner.drain_deadline } else { RECEIVER_GRACE };
            if tokio::time::timeout(grace, &mut pumps).await.is_err() {
                deaf.cancel();
                if after != OnExit::KeepBackground {
                    // Every writer is dead: there is an end, and nobody is waited for any more.
                    let _end = tokio::time::timeout(KILL_CONFIRM, &mut pumps).await;
                }
            }
        }
    }
    stdout.read_rest();
    stderr.read_rest();
    let (ledger, mut end) = control.into_end();
    if let (Some(fed), true, false) = (&fed, end.exited.is_some(), ledger.has_killed()) {
        interpreter::was_given(&open.link, fed)?;
    }
    if has_waited && let Some(exited) = &mut end.exited {
        (exited.wall_us, guest_before) = since_the_word(&ledger, exited);
    }
    let facts = EvidenceBuilder {
        before,
        guest_before,
        now: open.counters()?,
        memory_limit: open.limits.memory_bytes,
        output: (meter.bytes(), output_bytes.unwrap_or(open.limits.output_bytes)),
        wall_limit: wall,
        cpu_limit: cpu.unwrap_or(open.limits.cpu),
        elapsed: ledger.elapsed(),
        end: &end,
    };
    if end.gone && end.exited.is_none() && !ledger.has_killed() && !facts.explains_a_lost_guest() {
        return Err(lost("running", end.status.is_some()));
    }
    let enforcement =
        outcome::enforcement(inner, (&end, status), &open.limits, open.proxy.as_ref())?;
    let usage = if has_waited { facts.usage_since_the_word() } else { facts.usage() };
    {
        let mut memory = open.remember();
        memory.counters = facts.now;
        memory.has_run = true;
        memory.is_last = after == OnExit::Seal && end.exited.is_some() && !end.unconfirmed;
        memory.used.0 = memory.used.0.saturating_add(usage.cpu_user);
        memory.used.1 = memory.used.1.saturating_add(usage.cpu_system);
        memory.guest =
            end.exited.map_or(guest_before, |exited| Duration::from_micros(exited.guest_us));
    }
    if after != OnExit::Seal && !end.gone {
        given_up.not_after_all();
    }
    let is_ordinary = !ledger.has_killed() && !end.gone;
    let mut evidence = facts.evidence(ledger.into_entries());
    // What the command's processes did was counted before they were answered, and so before they could end.
    let violations = inner.auditor().violations.take(|| open.link.guest());
    evidence.extend(violations.into_iter().map(|what| Evidence::Violation { what }));
    open.remember().is_clean =
        is_ordinary && !evidence.iter().any(|fact| matches!(fact, Evidence::Violation { .. }));
    let (stdout, stderr) = (stdout.finish(), stderr.finish());
    // The guest has said that nothing is left but itself, and that it ends: meanwhile we have done our sums.
    let ends = after == OnExit::Seal && end.exited.is_some() && !end.unconfirmed;
    let is_left = ends && inner.resources().may_leave() && open.is_doomed_alone();
    if ends && !is_left && !open.confirm_death().await {
        evidence.push(Evidence::NotConfirmedDead);
    }
    Ok(ExecOutcome::new(evidence)
        .with_output(stdout, stderr)
        .with_usage(usage)
        .with_enforcement(enforcement))
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
    after: OnExit,
    wall: Duration,
    quiet: Duration,
) -> Result<Asked<'a>, EngineError> {
    let Pipes { theirs, stdin, outputs } =
        Pipes::new().map_err(|error| setup("make the command's pipes", error))?;
    let rlimits = rlimits(inner.resources(), &open.limits)?;
    let status = inner.word.is_due();
    let variables = open.proxy.as_ref().map_or_else(Vec::new, |_| egress::variables(command));
    let terms = request::Terms {
        stdio: STDIO_PASSED,
        variables: &variables,
        after: wire(after),
        deadline_us: crucible_guest_client::guest_deadline_us(wall),
        status,
        quiet_us: u32::try_from(quiet.as_micros()).unwrap_or(u32::MAX),
        // In a slot the next sandbox stands already, and where we need not wait for this one's end nobody does.
        lend_mounts: open.holdings.slot.is_none() && !inner.resources().may_leave(),
        rlimits: &rlimits,
    };
    let payload = request::exec(command, terms)?;
    let question = open.link.desk().ask();
    let fds = [theirs[0].as_fd(), theirs[1].as_fd(), theirs[2].as_fd()];
    let sent = open.link.send_with(FrameKind::Exec, question.id(), &payload, &[], &fds);
    let sent = open.within(SETUP_TIMEOUT, "starting a command", async {
        // One that is gone may have said why: that is read later.
        if let Err(Disconnected::Error(error)) = sent.await { Err(error) } else { Ok(()) }
    });
    sent.await?;
    Ok(Asked { question, stdin, outputs, status, fed: None })
}

/// How long a command has run that had waited before, and the guest's own time, of which it is not known how much was before: none of it
/// is taken off.
fn since_the_word(ledger: &KillLog, exited: &Exited) -> (u64, Duration) {
    let elapsed = u64::try_from(ledger.elapsed().as_micros()).unwrap_or(u64::MAX);
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
