//! Running one command: from the request to its exit.

use crucible_core::{
    Command, EngineError, ExecOptions, ExecOutcome, Layer, Limits, OnExit, OutputChunk, OutputSink,
    Stdin,
};
use crucible_guest::protocol::{FrameKind, Rlimit};
use crucible_guest_client::{
    Channel as _, ChannelExt as _, CommandExchange, CommandIo, CommandMeters, CommandRun,
    CommandSession, GuestSandboxExt as _, RECEIVER_GRACE, request,
};
use std::sync::Arc;
use tokio::sync::mpsc;

use crate::attachment::Attachment;
use crate::enforcement;
use crate::engine::Inner;
use crate::outputs::{Outputs, pass_on};
use crate::sandbox::DockerSandbox;

/// The size of one piece of input: the capacity of a pipe.
const PIECE: usize = 64 * 1024;
/// `RLIMIT_NPROC` (getrlimit(2)).
const RLIMIT_NPROC: u32 = 6;

/// Runs a command. Dropping the future poisons the sandbox.
pub(crate) async fn exec(
    sandbox: &DockerSandbox,
    command: &Command,
    options: ExecOptions,
) -> Result<ExecOutcome, EngineError> {
    let (inner, container) = (&sandbox.inner, &sandbox.container);
    let (mut session, CommandIo { stdin, output, capture_bytes }) = CommandSession::begin(
        command,
        options,
        &sandbox.limits,
        &sandbox.lock,
        sandbox.baseline(),
    )?;
    let channel = &container.attachment;
    let (outputs, chunks) = Outputs::new(capture_bytes, session.limits().output_bytes, &output);
    let outputs = Arc::new(outputs);
    channel.set_outputs(Some(Arc::clone(&outputs))).await;
    let rlimits = rlimits(inner, &sandbox.limits)?;
    let variables = path_of_image(sandbox, command);
    let parameters =
        request::ExecParameters { variables: &variables, ..session.parameters(&rlimits) };
    let payload = request::exec(command, parameters)?;
    let request = channel.router().open_request();
    sandbox.send_start(channel.send(FrameKind::Exec, request.id(), &payload, &[])).await?;
    let exchange = CommandExchange { channel, request, kill: || sandbox.kill() };
    let streams = Streams { stdin, output, chunks, outputs: &outputs };
    let run = supervise(inner, &mut session, exchange, streams).await?;
    let mut now = run.end.counters().unwrap_or(session.baseline.counters);
    // A guest that was killed for lack of memory cannot report it. The daemon reports it instead.
    if run.guest_was_lost() && container.ran_out_of_memory(inner).await {
        now.oom_kills = Some(now.oom_kills.unwrap_or(0) + 1);
        now.memory_limit_hits = Some(now.memory_limit_hits.unwrap_or(0) + 1);
    }
    let memory_limit = container.policy.memory_bytes;
    let builder = session.evidence_builder(run, now, memory_limit, outputs.meter.bytes());
    if let Some(error) = builder.lost_guest() {
        return Err(container.autopsy(inner, error).await);
    }
    let end = &builder.run.end;
    let enforcement = enforcement::of_command(inner, container, end, &sandbox.limits)?;
    let mut usage = builder.usage();
    container.correct_peaks(&mut usage, end);
    // The guest has waited for every process and exits. The empty container is removed in the background.
    let is_over = session.on_exit() == OnExit::Seal && end.is_complete();
    sandbox.record(&builder, &usage, is_over);
    session.finish(end);
    let (stdout, stderr) = outputs.finish();
    Ok(ExecOutcome::new(builder.into_evidence())
        .with_output(stdout, stderr)
        .with_usage(usage)
        .with_enforcement(enforcement))
}

/// The streams of a command.
struct Streams<'a> {
    stdin: Stdin,
    output: OutputSink,
    chunks: Option<mpsc::Receiver<OutputChunk>>,
    outputs: &'a Outputs,
}

/// Follows a command to its end, and transfers its streams.
async fn supervise<K: Fn() + Send + Sync>(
    inner: &Inner,
    session: &mut CommandSession<'_>,
    exchange: CommandExchange<'_, Attachment, K>,
    streams: Streams<'_>,
) -> Result<CommandRun, EngineError> {
    let Streams { stdin, output, chunks, outputs } = streams;
    let channel = exchange.channel;
    let meters = CommandMeters {
        output: &outputs.meter,
        // The guest reads the container's cgroup, or asks gVisor's kernel.
        cpu_time: || None,
        cpus: inner.cpus,
        started: None,
    };
    let passed = pass_on(chunks, output);
    tokio::pin!(passed);
    let mut fed = Box::pin(feed(channel, stdin));
    let run = session.supervise(exchange, meters, passed.as_mut(), fed.as_mut()).await?;
    // The input task may hold the channel's read lock while it waits. It is not polled any more.
    drop(fed);
    // A slow receiver may leave a chunk that was read but not delivered. No other output of this command follows.
    let held = async {
        channel.pass_on_held().await;
        outputs.close();
    };
    let taken = async {
        if !run.output_ended {
            passed.as_mut().await;
        }
    };
    let rest = async { tokio::join!(held, taken) };
    if tokio::time::timeout(RECEIVER_GRACE, rest).await.is_err() {
        tracing::debug!("the receiver of live output does not take the remaining output");
    }
    outputs.deaf.cancel();
    channel.set_outputs(None).await;
    Ok(run)
}

/// An image whose programs are not where programs are as a rule says where; a command that says so itself goes first.
fn path_of_image(sandbox: &DockerSandbox, command: &Command) -> Vec<String> {
    match &sandbox.path {
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
    let request = channel.router().open_request();
    let _told = channel.send(FrameKind::CloseStdin, request.id(), &[], &[]).await;
}

/// `false` if nobody reads any more.
async fn feed_bytes(channel: &Attachment, bytes: &[u8]) -> bool {
    for piece in bytes.chunks(PIECE) {
        let request = channel.router().open_request();
        let fed = async {
            channel.send(FrameKind::Stdin, request.id(), piece, &[]).await?;
            channel.response(&request).await
        };
        match fed.await {
            Ok(answer) if answer.kind == FrameKind::Done => {}
            _ => return false,
        }
    }
    true
}
