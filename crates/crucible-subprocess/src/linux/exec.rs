//! Running one command: from the request to its exit.

use std::os::fd::AsFd as _;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use bytes::Bytes;
use crucible_core::{
    After, Command, EngineError, Evidence, ExecIo, Exit, InvalidInput, KillReason, OutputStream, Signal,
};
use crucible_guest::protocol::{self, ExecFailed, Exited, Failure, FrameKind, Started, Step};
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use super::egress;
use super::engine::Inner;
use super::errors::{failed_step, lost, protocol, setup};
use super::frames::Frame;
use super::ledger::Ledger;
use super::link::{Ended, Link, Question};
use super::outcome::{self, Facts};
use super::pump::{Meter, Pipes, Pump, feed};
use super::request;
use super::sandbox::Open;
use super::watch::CpuWatch;

/// How long it may take until a sandbox stands and its command runs.
pub(super) const SETUP_TIMEOUT: Duration = Duration::from_secs(30);
/// How long the guest may take to end a command before the kernel ends the guest.
const KILL_GRACE: Duration = Duration::from_millis(500);
/// How long a killed sandbox may take to be confirmed dead.
pub(super) const KILL_CONFIRM: Duration = Duration::from_secs(2);
/// By how much the guest's own deadline is later than the host's, which decides.
const GUEST_DEADLINE_MARGIN: Duration = Duration::from_secs(1);
/// How long whoever gets live output may take for the rest, after the command has ended.
const RECEIVER_GRACE: Duration = Duration::from_secs(5);
/// How much of each stream is kept if nobody says.
const CAPTURE_DEFAULT: u64 = 1024 * 1024;

/// How a command ended, as far as the guest said.
#[derive(Debug, Default)]
pub(super) struct End {
    /// The command's status file right after it was executed.
    pub(super) status: Option<Bytes>,
    pub(super) exec_failed: Option<Failure>,
    pub(super) exited: Option<Exited>,
    pub(super) survivors: u64,
    /// Something could not be confirmed dead.
    pub(super) unconfirmed: bool,
    /// The guest is gone.
    pub(super) gone: bool,
    /// From the request to the start of the command.
    pub(super) setup: Duration,
}

/// Runs a command. Whoever drops this gives the sandbox up.
pub(super) async fn exec(
    inner: &Arc<Inner>,
    open: &Open,
    command: &Command,
    io: ExecIo,
) -> Result<Exit, EngineError> {
    InvalidInput::check(command.problems("command"))?;
    if let Some(name) = command.lost_secrets().next() {
        return Err(EngineError::SecretLost { name: name.to_owned() });
    }
    let began = Instant::now();
    let given_up = GivenUp { open, done: false };
    let ExecIo { stdin, output, capture_bytes, wall, cpu, output_bytes, signals, cancel, after, .. } = io;
    let wall = wall.unwrap_or(open.limits.wall);
    let meter = Meter::new(output_bytes.unwrap_or(open.limits.output_bytes));
    let Pipes { theirs, stdin: stdin_end, outputs: [stdout, stderr] } =
        Pipes::new().map_err(|error| setup("make the command's pipes", error))?;
    let rlimits = request::rlimits(inner, &open.limits)?;
    let deadline = u64::try_from((wall + GUEST_DEADLINE_MARGIN).as_micros()).unwrap_or(u64::MAX);
    let variables = open.proxy.as_ref().map_or_else(Vec::new, |_| egress::variables(command));
    let payload = request::exec(command, &variables, wire(after), deadline, &rlimits)?;
    let question = open.link.ask();
    let fds = [theirs[0].as_fd(), theirs[1].as_fd(), theirs[2].as_fd()];
    let sent = open.link.send(FrameKind::Exec, question.id, &payload, &[], &fds);
    let sent = open.within(SETUP_TIMEOUT, "starting a command", async {
        // One that is gone may have said why: that is read below.
        if let Err(Ended::Error(error)) = sent.await { Err(error) } else { Ok(()) }
    });
    sent.await?;
    drop(theirs);
    let deaf = CancellationToken::new();
    let budget = usize::try_from(capture_bytes.unwrap_or(CAPTURE_DEFAULT)).unwrap_or(usize::MAX);
    let mut stdout = Pump::new(OutputStream::Stdout, stdout, budget, &meter, output.clone(), &deaf);
    let mut stderr = Pump::new(OutputStream::Stderr, stderr, budget, &meter, output, &deaf);
    let running = CancellationToken::new();
    let (before, guest_before) = open.before();
    let watch = CpuWatch {
        limit: cpu.unwrap_or(open.limits.cpu),
        before: before.cpu.unwrap_or_default(),
        group: open.slot.group.as_ref(),
        link: &open.link,
        cpus: inner.host.cpus,
    };
    if let Some(group) = &open.slot.group {
        // The guest has enough to do meanwhile.
        group.open_counters().map_err(|error| setup("read a cgroup", error))?;
    }
    let mut control = Control {
        open,
        question,
        after,
        wall,
        began,
        running: &running,
        ledger: Ledger::default(),
        end: End::default(),
    };
    {
        let pumps = async { tokio::join!(stdout.run(), stderr.run()) };
        let feed = feed(stdin_end, stdin);
        tokio::pin!(pumps, feed);
        let (mut read, mut fed) = (false, false);
        let controlled = control.run(&meter, &watch, &cancel, signals);
        tokio::pin!(controlled);
        loop {
            tokio::select! {
                done = &mut controlled => break done?,
                _ = &mut pumps, if !read => read = true,
                () = &mut feed, if !fed => fed = true,
            }
        }
        if !read {
            let grace = if after == After::Keep { inner.drain_deadline } else { RECEIVER_GRACE };
            if tokio::time::timeout(grace, &mut pumps).await.is_err() {
                deaf.cancel();
                if after != After::Keep {
                    // Every writer is dead: there is an end, and nobody is waited for any more.
                    let _end = tokio::time::timeout(KILL_CONFIRM, &mut pumps).await;
                }
            }
        }
    }
    stdout.read_rest();
    stderr.read_rest();
    let Control { ledger, end, .. } = control;
    let facts = Facts {
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
    let enforcement = outcome::enforcement(inner, &end, &open.limits, open.proxy.as_ref())?;
    let usage = facts.usage();
    {
        let mut memory = open.remember();
        memory.counters = facts.now;
        memory.is_last = after == After::Close && end.exited.is_some() && !end.unconfirmed;
        memory.used.0 = memory.used.0.saturating_add(usage.cpu_user);
        memory.used.1 = memory.used.1.saturating_add(usage.cpu_system);
        memory.guest = end.exited.map_or(guest_before, |exited| Duration::from_micros(exited.guest_us));
    }
    if after != After::Close && !end.gone {
        given_up.not_after_all();
    }
    let mut evidence = facts.evidence(ledger.into_entries());
    // What the command's processes did was counted before they were answered, and so before they could end.
    let violations = inner.auditor().violations.take(|| open.link.guest());
    evidence.extend(violations.into_iter().map(|what| Evidence::Violation { what }));
    let (stdout, stderr) = (stdout.finish(), stderr.finish());
    // The guest has said that nothing is left but itself, and that it ends: meanwhile we have done our sums.
    let ends = after == After::Close && end.exited.is_some() && !end.unconfirmed;
    if ends && !open.confirm_death().await {
        evidence.push(Evidence::NotConfirmedDead);
    }
    Ok(Exit::new(evidence).with_output(stdout, stderr).with_usage(usage).with_enforcement(enforcement))
}

fn wire(after: After) -> protocol::After {
    match after {
        After::End => protocol::After::End,
        After::Close => protocol::After::Close,
        _ => protocol::After::Keep,
    }
}

/// Marks the sandbox as spent when a command is given up half way: what it does then is unknown.
struct GivenUp<'a> {
    open: &'a Open,
    done: bool,
}

impl GivenUp<'_> {
    fn not_after_all(mut self) {
        self.done = true;
    }
}

impl Drop for GivenUp<'_> {
    fn drop(&mut self) {
        if !self.done {
            self.open.spent.store(true, Ordering::Release);
        }
    }
}

/// Follows one command to its end, and ends it when it must.
struct Control<'a> {
    open: &'a Open,
    question: Question<'a>,
    after: After,
    wall: Duration,
    began: Instant,
    /// Cancelled when the command has started: deadlines count from then.
    running: &'a CancellationToken,
    ledger: Ledger,
    end: End,
}

/// What there is still to wait for.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Next {
    Wait,
    Done,
}

impl Control<'_> {
    async fn run(
        &mut self,
        meter: &Meter,
        watch: &CpuWatch<'_>,
        cancel: &CancellationToken,
        mut signals: Option<mpsc::Receiver<Signal>>,
    ) -> Result<(), EngineError> {
        let (running, wall_limit) = (self.running, self.wall);
        let wall = async {
            running.cancelled().await;
            tokio::time::sleep(wall_limit).await;
        };
        let cpu = async {
            running.cancelled().await;
            watch.reached().await
        };
        // Until the command runs; then for the steps of ending it.
        let patience = tokio::time::sleep(SETUP_TIMEOUT);
        tokio::pin!(wall, cpu, patience);
        let link: &Link = &self.open.link;
        loop {
            let killed = self.ledger.has_killed();
            let started = self.end.status.is_some();
            let waiting_to_start = !started;
            let reason = tokio::select! {
                biased;
                answer = link.answer(&self.question) => match answer {
                    Ok(frame) => {
                        if self.heard(&frame)? == Next::Done {
                            return Ok(());
                        }
                        if self.end.exited.is_some() {
                            // What was left behind is being ended.
                            patience.as_mut().reset(tokio::time::Instant::now() + KILL_CONFIRM);
                        }
                        continue;
                    }
                    Err(ended) => return self.lost(ended),
                },
                () = cancel.cancelled(), if !killed => (KillReason::Cancelled, None),
                () = meter.exceeded(), if !killed => (KillReason::Output, Some(output_proof(meter))),
                proof = &mut cpu, if !killed => (KillReason::Cpu, Some(proof)),
                () = &mut wall, if !killed => (KillReason::Wall, None),
                signal = next_signal(&mut signals), if started => {
                    self.signal(signal, false).await;
                    continue;
                }
                () = &mut patience, if killed || waiting_to_start || self.end.exited.is_some() => {
                    if self.escalate() == Next::Done {
                        return Ok(());
                    }
                    patience.as_mut().reset(tokio::time::Instant::now() + KILL_CONFIRM);
                    continue;
                }
            };
            let (reason, proof) = reason;
            self.ledger.kill(reason, proof);
            patience.as_mut().reset(tokio::time::Instant::now() + KILL_GRACE);
            self.signal(Signal::KILL, self.after != After::Keep).await;
        }
    }

    /// Takes note of what the guest says.
    fn heard(&mut self, frame: &Frame) -> Result<Next, EngineError> {
        let started = self.end.status.is_some();
        let malformed = |_| protocol("what it says of the command is malformed", started);
        match frame.kind {
            FrameKind::Started if !started => {
                let said = Started::decode(&frame.payload).map_err(malformed)?;
                self.end.status = Some(frame.payload.slice_ref(said.status));
                self.end.setup = self.began.elapsed();
                self.ledger.begin();
                self.running.cancel();
                Ok(Next::Wait)
            }
            FrameKind::ExecFailed if !started => {
                self.end.exec_failed = Some(ExecFailed::decode(&frame.payload).map_err(malformed)?.0);
                self.end.setup = self.began.elapsed();
                Ok(Next::Done)
            }
            FrameKind::Failed if !started => {
                let failure = Failure::decode(&frame.payload).map_err(malformed)?;
                Err(match (failure.step, self.open.link.take_unasked()) {
                    (Step::INPUT, Some(input)) => self.open.input_failure(&input),
                    _ => failed_step(failure),
                })
            }
            FrameKind::Exited if started && self.end.exited.is_none() => {
                let exited = Exited::decode(&frame.payload).map_err(malformed)?;
                self.end.exited = Some(exited);
                self.end.survivors = u64::from(exited.survivors);
                Ok(if exited.empty || self.after == After::Keep { Next::Done } else { Next::Wait })
            }
            FrameKind::Empty if self.end.exited.is_some() => {
                let count = frame.payload.first_chunk().map(|bytes| u32::from_le_bytes(*bytes));
                self.end.survivors = count.map(u64::from).ok_or_else(|| malformed(protocol::Malformed))?;
                Ok(Next::Done)
            }
            _ => Err(protocol("it says of the command what cannot be", started)),
        }
    }

    /// The guest is gone, or talks nonsense.
    fn lost(&mut self, ended: Ended) -> Result<(), EngineError> {
        match ended {
            Ended::Gone => {
                self.end.gone = true;
                Ok(())
            }
            Ended::Error(_) => Err(self.open.why(ended, self.end.status.is_some())),
        }
    }

    /// Asks the guest to send a signal. One that does not listen is dealt with when patience ends.
    async fn signal(&self, signal: Signal, everything: bool) {
        let mut payload = [0; 5];
        if let Some((last, number)) = payload.split_last_mut() {
            number.copy_from_slice(&signal.number().to_le_bytes());
            *last = u8::from(everything);
        }
        let id = self.question.id;
        let sent = self.open.link.send(FrameKind::Signal, id, &payload, &[], &[]);
        let _sent = tokio::time::timeout(KILL_GRACE, sent).await;
    }

    /// The guest did not do what it was asked to: it is ended, and everything with it. The second time, we give up.
    fn escalate(&mut self) -> Next {
        if self.end.unconfirmed {
            return Next::Done;
        }
        self.end.unconfirmed = true;
        self.open.kill();
        Next::Wait
    }
}

fn output_proof(meter: &Meter) -> Evidence {
    Evidence::OutputBytes { bytes: meter.bytes(), limit_bytes: meter.limit() }
}

async fn next_signal(signals: &mut Option<mpsc::Receiver<Signal>>) -> Signal {
    if let Some(receiver) = signals
        && let Some(signal) = receiver.recv().await
    {
        return signal;
    }
    std::future::pending().await
}
