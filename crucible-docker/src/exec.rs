//! Running one command: from the request to its exit.

use std::sync::Arc;
use std::time::Instant;

use crucible_core::{
    Command, EngineError, ExecOptions, ExecOutcome, InvalidInput, Layer, Limits, OnExit, Stdin,
};
use crucible_guest::protocol::{FrameKind, Rlimit};
use crucible_guest_client::errors::lost;
use crucible_guest_client::{
    Channel as _, ChannelExt as _, CommandSupervisor, CpuWatch, Disconnected, EvidenceBuilder,
    Exchange, PoisonOnDrop, RECEIVER_GRACE, SETUP_TIMEOUT, guest_deadline_us, request, wire,
};

use crate::attachment::Attachment;
use crate::enforcement;
use crate::engine::Inner;
use crate::outputs::{Outputs, pass_on};
use crate::sandbox::Open;

/// How much of each stream is kept if nobody says.
const CAPTURE_DEFAULT: u64 = 1024 * 1024;
/// How much of the input is sent at once: what a pipe holds.
const PIECE: usize = 64 * 1024;
/// `RLIMIT_NPROC` (getrlimit(2)).
const RLIMIT_NPROC: u32 = 6;

/// Runs a command. Whoever drops this gives the sandbox up.
pub(crate) async fn exec(
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
    let cpu_limit = cpu.unwrap_or(open.limits.cpu);
    let output_limit = output_bytes.unwrap_or(open.limits.output_bytes);
    let budget = usize::try_from(capture_bytes.unwrap_or(CAPTURE_DEFAULT)).unwrap_or(usize::MAX);
    let channel = &open.container.attachment;
    let (outputs, pieces) = Outputs::new(budget, output_limit, &output);
    let outputs = Arc::new(outputs);
    channel.set_outputs(Some(Arc::clone(&outputs))).await;
    let (before, guest_before) = open.before();
    let path = path_of_image(open, command);
    let terms = request::Terms {
        stdio: 0,
        variables: &path,
        after: wire(after),
        deadline_us: guest_deadline_us(wall),
        status: true,
        quiet_us: 0,
        lend_mounts: false,
        rlimits: &rlimits(inner, &open.limits)?,
    };
    let payload = request::exec(command, terms)?;
    let question = channel.desk().ask();
    let sent = channel.send(FrameKind::Exec, question.id(), &payload, &[]);
    let sent = open.within(inner, SETUP_TIMEOUT, "starting a command", async {
        // One that is gone may have said why: that is read below.
        if let Err(Disconnected::Error(error)) = sent.await { Err(error) } else { Ok(()) }
    });
    sent.await?;
    let watch = CpuWatch {
        limit: cpu_limit,
        before: before.cpu.unwrap_or_default(),
        // The guest sees the container's cgroup, or asks its own kernel.
        counted: || None,
        channel,
        cpus: inner.cpus,
    };
    let exchange = Exchange { channel, question, kill: || open.kill(inner) };
    let mut control = CommandSupervisor::new(exchange, after, wall, began);
    {
        let passed = pass_on(pieces, output);
        tokio::pin!(passed);
        let mut fed = Box::pin(feed(channel, stdin));
        let (mut has_passed, mut has_fed) = (false, false);
        let controlled = control.run(&outputs.meter, &watch, &cancel, signals);
        tokio::pin!(controlled);
        loop {
            tokio::select! {
                done = &mut controlled => break done?,
                () = &mut passed, if !has_passed => has_passed = true,
                () = &mut fed, if !has_fed => has_fed = true,
            }
        }
        // It may be about to read for all, and is not asked to go on any more.
        drop(fed);
        // A piece may wait to be passed on, for whoever listens is slow; nothing else of this command comes any more.
        let held = async {
            channel.pass_on_held().await;
            outputs.close();
        };
        let taken = async {
            if !has_passed {
                (&mut passed).await;
            }
        };
        let rest = async { tokio::join!(held, taken) };
        if tokio::time::timeout(RECEIVER_GRACE, rest).await.is_err() {
            tracing::debug!("whoever gets live output does not take the rest of it");
        }
        outputs.deaf.cancel();
        channel.set_outputs(None).await;
    }
    let (ledger, end) = control.into_end();
    let mut now = end.counters().unwrap_or(before);
    if end.gone && end.exited.is_none() && !ledger.has_killed() {
        // Where the guest cannot outlive it, its kernel says so to the daemon.
        if open.container.ran_out_of_memory(inner).await {
            now.oom_kills = Some(now.oom_kills.unwrap_or(0) + 1);
            now.memory_limit_hits = Some(now.memory_limit_hits.unwrap_or(0) + 1);
        }
    }
    let facts = EvidenceBuilder {
        before,
        guest_before,
        now,
        memory_limit: open.container.policy.memory_bytes,
        output: (outputs.meter.bytes(), output_limit),
        wall_limit: wall,
        cpu_limit,
        elapsed: ledger.elapsed(),
        end: &end,
    };
    if end.gone && end.exited.is_none() && !ledger.has_killed() && !facts.explains_a_lost_guest() {
        let error = lost("running", end.status.is_some());
        return Err(open.container.autopsy(inner, error).await);
    }
    let enforcement = enforcement::of_command(inner, &open.container, &end, &open.limits)?;
    let mut usage = facts.usage();
    open.note_peaks(&mut usage, &end);
    // Process 1 has waited for all there was, and ends: what is left is an empty container, which is removed behind our back.
    let is_over = after == OnExit::Seal && end.exited.is_some() && !end.unconfirmed && !end.gone;
    open.note_end(&facts, &usage, is_over);
    if after != OnExit::Seal && !end.gone {
        given_up.not_after_all();
    }
    let evidence = facts.evidence(ledger.into_entries());
    let (stdout, stderr) = outputs.finish();
    Ok(ExecOutcome::new(evidence)
        .with_output(stdout, stderr)
        .with_usage(usage)
        .with_enforcement(enforcement))
}

/// An image whose programs are not where programs are as a rule says where; a command that says so itself goes first.
fn path_of_image(open: &Open, command: &Command) -> Vec<String> {
    match &open.path {
        Some(path) if !command.env.contains_key("PATH") => vec![format!("PATH={path}")],
        _ => Vec::new(),
    }
}

/// The resource limits of each process, and those that stand in for what the runtime does not limit.
fn rlimits(inner: &Inner, limits: &Limits) -> Result<Vec<u8>, EngineError> {
    let settings = &inner.daemon.settings;
    let mut wanted = request::process_limits(limits);
    if !settings.runtime.is_gvisor() {
        wanted.extend(request::priority_limits());
    }
    if settings.runtime.counts_own_threads() || settings.waived.contains(&Layer::PidsCgroup) {
        // Counted for the user, who is this sandbox's alone.
        let processes = u64::from(limits.processes);
        wanted.push(Rlimit { resource: RLIMIT_NPROC, soft: processes, hard: processes });
    }
    request::rlimits(&wanted)
}

/// Feeds a command's standard input. A command that does not read it, or closes it, is none of our business.
async fn feed(channel: &Attachment, stdin: Stdin) {
    // An answer that it failed, or none, ends the feeding and nothing else.
    let _fed = match stdin {
        Stdin::Bytes(bytes) => feed_bytes(channel, &bytes).await,
        Stdin::Stream(mut pieces) => {
            let mut fed = true;
            while fed && let Some(bytes) = pieces.recv().await {
                fed = feed_bytes(channel, &bytes).await;
            }
            fed
        }
        _ => true,
    };
    let question = channel.desk().ask();
    let _told = channel.send(FrameKind::CloseStdin, question.id(), &[], &[]).await;
}

/// `false` if nobody reads any more.
async fn feed_bytes(channel: &Attachment, bytes: &[u8]) -> bool {
    for piece in bytes.chunks(PIECE) {
        let question = channel.desk().ask();
        let fed = async {
            channel.send(FrameKind::Stdin, question.id(), piece, &[]).await?;
            channel.answer(&question).await
        };
        match fed.await {
            Ok(answer) if answer.kind == FrameKind::Done => {}
            _ => return false,
        }
    }
    true
}
