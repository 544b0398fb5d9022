//! The run of one command in a sandbox.

use std::sync::Arc;

use crucible_core::{
    Command, EngineError, ExecOptions, ExecOutcome, Layer, Limits, OnExit, OutputChunk, OutputSink,
    Stdin,
};
use crucible_guest::protocol::{FrameKind, Rlimit};
use crucible_guest_client::{
    Channel as _, ChannelExt as _, CommandExchange, CommandIo, CommandMeters, CommandRun,
    CommandSession, GuestSandboxExt as _, RECEIVER_GRACE, request,
};
use tokio::sync::mpsc;

use crate::config::Settings;
use crate::connection::{Attachment, CommandOutput, forward};
use crate::container::enforcement_of_command;
use crate::sandbox::DockerSandbox;

/// The size of one piece of input: the capacity of a pipe.
const PIECE: usize = 64 * 1024;
/// `RLIMIT_NPROC` (getrlimit(2)).
const RLIMIT_NPROC: u32 = 6;
/// The lowest number of CPUs that is assumed. The daemon may be on another machine with more CPUs
/// than this one.
const CPUS_MIN: u32 = 8;

impl DockerSandbox {
    /// Runs a command. Dropping the future poisons the sandbox.
    pub(crate) async fn run_command(
        &self,
        command: &Command,
        options: ExecOptions,
    ) -> Result<ExecOutcome, EngineError> {
        let (settings, container) = (self.pool.settings(), &self.container);
        let (mut session, CommandIo { stdin, output, capture_bytes }) =
            CommandSession::begin(command, options, &self.limits, &self.lock, self.baseline())?;
        let channel = &container.attachment;
        let (streams, chunks) =
            CommandOutput::new(capture_bytes, session.limits().output_bytes, &output);
        let streams = Arc::new(streams);
        channel.set_output(Some(Arc::clone(&streams))).await;
        let rlimits = rlimits(settings, &self.limits)?;
        let variables = self.image_variables(command);
        let parameters =
            request::ExecParameters { variables: &variables, ..session.parameters(&rlimits) };
        let payload = request::exec(command, parameters)?;
        let request = channel.router().open_request();
        self.send_start(channel.send(FrameKind::Exec, request.id(), &payload, &[])).await?;
        let exchange = CommandExchange { channel, request, kill: || container.kill() };
        let io = Transfer { stdin, output, chunks, streams: &streams };
        let run = supervise(&mut session, exchange, io).await?;
        let mut now = run.end.counters().unwrap_or(session.baseline.counters);
        // A guest that was killed for lack of memory cannot report it. The daemon reports it
        // instead.
        if run.guest_was_lost() && container.ran_out_of_memory().await {
            now.oom_kills = Some(now.oom_kills.unwrap_or(0) + 1);
            now.memory_limit_hits = Some(now.memory_limit_hits.unwrap_or(0) + 1);
        }
        let builder =
            session.evidence_builder(run, now, container.memory_limit(), streams.meter.bytes());
        if let Some(error) = builder.lost_guest() {
            return Err(container.diagnose_loss(error).await);
        }
        let end = &builder.run.end;
        let engine = &self.pool.info.enforcement;
        let enforcement = enforcement_of_command(settings, engine, container, end, &self.limits)?;
        let mut usage = builder.usage();
        container.correct_peaks(&mut usage, end);
        // The guest has waited for every process and exits. The empty container is removed in the
        // background.
        let is_over = session.on_exit() == OnExit::Seal && end.is_complete();
        self.record(&builder, &usage, is_over);
        session.finish(end);
        let (stdout, stderr) = streams.finish();
        Ok(ExecOutcome::new(builder.into_evidence())
            .with_output(stdout, stderr)
            .with_usage(usage)
            .with_enforcement(enforcement))
    }

    /// Returns the image's `PATH` as a variable, unless the command sets one.
    fn image_variables(&self, command: &Command) -> Vec<String> {
        match &self.path {
            Some(path) if !command.env.contains_key("PATH") => vec![format!("PATH={path}")],
            _ => Vec::new(),
        }
    }
}

/// The streams of a command.
struct Transfer<'a> {
    stdin: Stdin,
    output: OutputSink,
    chunks: Option<mpsc::Receiver<OutputChunk>>,
    streams: &'a CommandOutput,
}

/// Follows a command to its end, and transfers its streams.
async fn supervise<K: Fn() + Send + Sync>(
    session: &mut CommandSession<'_>,
    exchange: CommandExchange<'_, Attachment, K>,
    transfer: Transfer<'_>,
) -> Result<CommandRun, EngineError> {
    let Transfer { stdin, output, chunks, streams } = transfer;
    let channel = exchange.channel;
    let meters = CommandMeters {
        output: &streams.meter,
        // The guest reads the container's cgroup, or asks gVisor's kernel.
        cpu_time: || None,
        cpus: cpus(),
        started: None,
    };
    let forwarding = forward(chunks, output);
    tokio::pin!(forwarding);
    let mut feeding = Box::pin(feed(channel, stdin));
    let run = session.supervise(exchange, meters, forwarding.as_mut(), feeding.as_mut()).await?;
    // The feeding future may hold the channel's read lock while it waits. It is not polled any
    // more.
    drop(feeding);
    // With a slow receiver, a chunk may have been read but not forwarded. No other output of this
    // command follows.
    let held = async {
        channel.forward_held().await;
        streams.close();
    };
    let forwarded = async {
        if !run.output_ended {
            forwarding.as_mut().await;
        }
    };
    let rest = async { tokio::join!(held, forwarded) };
    if tokio::time::timeout(RECEIVER_GRACE, rest).await.is_err() {
        tracing::debug!("the receiver of live output does not take the remaining output");
    }
    streams.detached.cancel();
    channel.set_output(None).await;
    Ok(run)
}

/// Returns the number of CPUs that a command can use in parallel. A number above the true one only
/// shortens the interval of CPU time measurements.
fn cpus() -> u32 {
    let local = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
    u32::try_from(local).unwrap_or(u32::MAX).max(CPUS_MIN)
}

/// Returns the encoded resource limits of each process, including a replacement for a missing limit
/// of the runtime.
fn rlimits(settings: &Settings, limits: &Limits) -> Result<Vec<u8>, EngineError> {
    let mut wanted = request::process_limits(limits);
    if !settings.runtime.is_gvisor() {
        wanted.extend(request::priority_limits());
    }
    if settings.runtime.counts_own_threads() || settings.waived.contains(&Layer::PidsCgroup) {
        // The kernel counts per user. Only this sandbox uses the id.
        let processes = u64::from(limits.processes);
        wanted.push(Rlimit { resource: RLIMIT_NPROC, soft: processes, hard: processes });
    }
    request::rlimits(&wanted)
}

/// Writes a command's standard input. A command may close its input or leave it unread.
async fn feed(channel: &Attachment, stdin: Stdin) {
    // A failure ends the input, not the command.
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
    let _sent = channel.send(FrameKind::CloseStdin, request.id(), &[], &[]).await;
}

/// Writes a piece of input. Returns `false` if the command no longer reads.
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
