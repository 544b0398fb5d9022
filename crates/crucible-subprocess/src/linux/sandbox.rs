//! An open sandbox.

use std::collections::HashMap;
use std::os::fd::{AsFd as _, OwnedFd};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex as SyncMutex, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use crucible_core::{
    Command, EngineError, Entry, EntryKind, ExecIo, Exit, FileReason, Limits, Listing, PlannedFile, Sandbox,
    SandboxPath, SandboxSpec, Usage,
};
use crucible_guest::protocol::{self, Entries, Failure, FrameKind, ListRequest, ReadRequest, WriteRequest};
use rustix::net::{AddressFamily, SocketFlags, SocketType};
use rustix::process::Signal;
use tokio::net::UnixStream;
use tokio::sync::Mutex;

use super::cgroup::{Counters, Group};
use super::engine::Inner;
use super::errors::{file, lost, protocol, setup};
use super::exec::{self, KILL_CONFIRM};
use super::frames::Frame;
use super::janitor::Remains;
use super::link::{Ended, Link, Parts};
use super::request;
use super::slot::Slot;

/// How much of a file is written at once.
const WRITE_PIECE: usize = 256 * 1024;
/// How much of a file is asked for at once.
const READ_PIECE: u32 = 128 * 1024;
/// The most entries of a directory that are listed.
const ENTRIES_MAX: usize = 100_000;
/// How long the end of a guest that ends is waited for without giving the thread up.
const LAST_BREATH: Duration = Duration::from_micros(300);
/// How long the guest may take to end by itself when it is told to.
const CLOSE_GRACE: Duration = Duration::from_secs(2);

/// An open sandbox. Dropped without being closed, it is ended in the background.
#[derive(Debug)]
pub(super) struct SubprocessSandbox {
    inner: Arc<Inner>,
    /// `None` once it was handed to the janitor.
    open: Option<Open>,
}

/// The parts of an open sandbox.
#[derive(Debug)]
pub(super) struct Open {
    pub(super) link: Link,
    pub(super) slot: Slot,
    pub(super) limits: Limits,
    /// One command at a time.
    turn: Mutex<()>,
    pub(super) memory: SyncMutex<Memory>,
    /// A command was given up half way, or nothing more is to be asked.
    pub(super) spent: AtomicBool,
}

/// What is to be remembered between commands.
#[derive(Debug, Default)]
pub(super) struct Memory {
    /// The counters when the last command had ended.
    pub(super) counters: Counters,
    /// The counters before the first.
    start: Counters,
    /// Nothing has run since, or can.
    pub(super) is_last: bool,
    /// CPU time of the guest itself by then.
    pub(super) guest: Duration,
    /// CPU time of all commands, in user mode and in the kernel.
    pub(super) used: (Duration, Duration),
    /// Input files on their way, by the id of their request.
    pub(super) inputs: HashMap<u32, String>,
}

/// A channel to a guest: our end, the guest's.
pub(super) fn channel() -> Result<(OwnedFd, OwnedFd), EngineError> {
    rustix::net::socketpair(AddressFamily::UNIX, SocketType::STREAM, SocketFlags::CLOEXEC, None)
        .map_err(|error| setup("make the guest's socket", error))
}

impl SubprocessSandbox {
    /// Asks for a sandbox and sends its input files after it, without waiting until it stands.
    pub(super) async fn begin(
        inner: &Arc<Inner>,
        spec: SandboxSpec,
        ready: bool,
    ) -> Result<Self, EngineError> {
        inner.info.admit(&spec.isolation, &spec.network)?;
        inner.check_limits(&spec.limits)?;
        let lease = inner.lease(&spec.limits)?;
        let (ours, theirs) = channel()?;
        let Some(slot) = lease.slot() else { return Err(lost("opening a sandbox", false)) };
        let plan = inner.plan(slot, &spec.limits, ready);
        inner.open_guest(&plan, slot, theirs.as_fd()).await?;
        drop(theirs);
        // The guest is on its way. Without our end of its socket it ends again.
        let stream = std::os::unix::net::UnixStream::from(ours);
        stream.set_nonblocking(true).map_err(|error| setup("make the guest's socket", error))?;
        let stream = UnixStream::from_std(stream).map_err(|error| setup("make the guest's socket", error))?;
        let Some(slot) = lease.into_slot() else { return Err(lost("opening a sandbox", false)) };
        let counters = slot.group.as_ref().map(Group::start).unwrap_or_default();
        let open = Open {
            link: Link::new(stream),
            slot,
            limits: spec.limits,
            turn: Mutex::new(()),
            memory: SyncMutex::new(Memory { counters, start: counters, ..Memory::default() }),
            spent: AtomicBool::new(false),
        };
        let sandbox = Self { inner: Arc::clone(inner), open: Some(open) };
        sandbox.open()?.put_inputs(&spec.files).await?;
        Ok(sandbox)
    }

    fn open(&self) -> Result<&Open, EngineError> {
        match &self.open {
            Some(open) if !open.spent.load(Ordering::Acquire) => Ok(open),
            _ => Err(EngineError::Closed { what: "the sandbox".to_owned() }),
        }
    }

    /// Waits until the sandbox stands, with its input files in place.
    pub(super) async fn wait_until_ready(&self) -> Result<(), EngineError> {
        let open = self.open()?;
        let stands = async {
            open.link.ready().await?;
            // Whatever was sent before has been done when this is answered.
            super::watch::measure(&open.link).await.map(drop)
        };
        match tokio::time::timeout(exec::SETUP_TIMEOUT, stands).await {
            Ok(Ok(())) => open.check_inputs().await,
            Ok(Err(ended)) => Err(open.why(ended, false)),
            Err(_) => Err(lost("opening a sandbox", false)),
        }
    }
}

impl Open {
    /// What the kernel has counted so far; nothing where there is no cgroup.
    pub(super) fn counters(&self) -> Result<Counters, EngineError> {
        match &self.slot.group {
            Some(group) => group.counters().map_err(|error| setup("read a cgroup", error)),
            None => Ok(Counters::default()),
        }
    }

    /// What the end of the link means.
    pub(super) fn why(&self, ended: Ended, started: bool) -> EngineError {
        match ended {
            Ended::Gone => lost(if started { "running" } else { "setting it up" }, started),
            Ended::Error(EngineError::Protocol { what, .. }) => protocol(what, started),
            Ended::Error(error) => error,
        }
    }

    pub(super) fn remember(&self) -> std::sync::MutexGuard<'_, Memory> {
        self.memory.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What had been counted, and what the guest itself had used, when the last command had ended.
    pub(super) fn before(&self) -> (Counters, Duration) {
        let memory = self.remember();
        (memory.counters, memory.guest)
    }

    /// Sends input files. They are not answered; the next command fails if one could not be written.
    async fn put_inputs(&self, files: &[PlannedFile]) -> Result<(), EngineError> {
        for file in files {
            let id = self.link.ask().id;
            self.remember().inputs.insert(id, file.path.to_string());
            let sent = self.send_file(id, &file.path, &file.content, file.executable, true).await;
            sent.map_err(|ended| self.why(ended, false))?;
        }
        Ok(())
    }

    async fn send_file(
        &self,
        id: u32,
        path: &SandboxPath,
        content: &[u8],
        executable: bool,
        quiet: bool,
    ) -> Result<(), Ended> {
        let name = request::path(path);
        let mode = if executable { 0o755 } else { 0o644 };
        let count = content.len().div_ceil(WRITE_PIECE).max(1);
        for index in 0..count {
            let start = index * WRITE_PIECE;
            let data = content.get(start..content.len().min(start + WRITE_PIECE)).unwrap_or_default();
            let piece =
                WriteRequest { first: index == 0, last: index + 1 == count, quiet, mode, path: &name, data };
            let head =
                request::encode(16 + name.len(), |writer| piece.encode_head(writer)).map_err(Ended::Error)?;
            self.link.send(FrameKind::Write, id, &head, data, &[]).await?;
        }
        Ok(())
    }

    /// Whether an input file has failed, without waiting for one to.
    async fn check_inputs(&self) -> Result<(), EngineError> {
        let failed = self.link.take_unasked();
        match failed {
            Some(frame) => Err(self.input_failure(&frame)),
            None => Ok(()),
        }
    }

    /// Which input file failed, and why.
    pub(super) fn input_failure(&self, frame: &Frame) -> EngineError {
        let path = self.remember().inputs.get(&frame.id).cloned().unwrap_or_default();
        match Failure::decode(&frame.payload) {
            Ok(failure) => file(path, failure),
            Err(_) => protocol("its error is malformed", false),
        }
    }

    /// Asks about a file and waits for the answer of the right kind.
    async fn ask_about(
        &self,
        kind: FrameKind,
        payload: &[u8],
        path: &SandboxPath,
        wanted: FrameKind,
    ) -> Result<Frame, EngineError> {
        let question = self.link.ask();
        let asked = async {
            self.link.send(kind, question.id, payload, &[], &[]).await?;
            self.link.answer(&question).await
        };
        let frame = asked.await.map_err(|ended| self.why(ended, false))?;
        self.expect(frame, path, wanted)
    }

    fn expect(&self, frame: Frame, path: &SandboxPath, wanted: FrameKind) -> Result<Frame, EngineError> {
        if frame.kind == wanted {
            return Ok(frame);
        }
        match (frame.kind, Failure::decode(&frame.payload)) {
            (FrameKind::Failed, Ok(failure)) => Err(file(path.as_str(), failure)),
            _ => Err(protocol("it answers something else", false)),
        }
    }
}

#[async_trait]
impl Sandbox for SubprocessSandbox {
    async fn exec(&self, command: &Command, io: ExecIo) -> Result<Exit, EngineError> {
        let open = self.open()?;
        let _turn = open.turn.lock().await;
        // The one before may have been given up.
        let open = self.open()?;
        exec::exec(&self.inner, open, command, io).await
    }

    async fn write(&self, path: &SandboxPath, content: Bytes, executable: bool) -> Result<(), EngineError> {
        let open = self.open()?;
        let question = open.link.ask();
        let written = async {
            open.send_file(question.id, path, &content, executable, false).await?;
            open.link.answer(&question).await
        };
        let frame = written.await.map_err(|ended| open.why(ended, false))?;
        open.expect(frame, path, FrameKind::Done).map(drop)
    }

    async fn read(&self, path: &SandboxPath, limit: u64) -> Result<Bytes, EngineError> {
        let open = self.open()?;
        let name = request::path(path);
        let mut content = Vec::new();
        loop {
            // One byte more than wanted tells a file that fits from one that does not.
            let left = limit.saturating_add(1).saturating_sub(content.len() as u64);
            let length = u32::try_from(left).unwrap_or(READ_PIECE).min(READ_PIECE);
            let ask = ReadRequest { offset: content.len() as u64, length, path: &name };
            let payload = request::encode(32 + name.len(), |writer| ask.encode(writer))?;
            let frame = open.ask_about(FrameKind::Read, &payload, path, FrameKind::Data).await?;
            let Some((last, bytes)) = frame.payload.split_first() else {
                return Err(protocol("its data is malformed", false));
            };
            if bytes.len() as u64 > u64::from(length) || (bytes.is_empty() && *last == 0) {
                return Err(protocol("its data is not what was asked for", false));
            }
            content.extend_from_slice(bytes);
            if content.len() as u64 > limit {
                return Err(EngineError::File { path: path.to_string(), reason: FileReason::TooLarge });
            }
            if *last == 1 {
                return Ok(content.into());
            }
        }
    }

    async fn list(&self, path: &SandboxPath) -> Result<Listing, EngineError> {
        let open = self.open()?;
        let name = request::path(path);
        let malformed = |_| protocol("its entries are malformed", false);
        let mut entries = Vec::new();
        let mut cursor = 0;
        loop {
            let ask = ListRequest { cursor, path: &name };
            let payload = request::encode(32 + name.len(), |writer| ask.encode(writer))?;
            let frame = open.ask_about(FrameKind::List, &payload, path, FrameKind::Entries).await?;
            let mut page = Entries::decode(&frame.payload).map_err(malformed)?;
            let before = entries.len();
            while let Some(entry) = page.next_entry().map_err(malformed)? {
                if entries.len() == ENTRIES_MAX {
                    return Ok(Listing::new(entries, true));
                }
                let kind = match entry.kind {
                    protocol::EntryKind::File => EntryKind::File,
                    protocol::EntryKind::Directory => EntryKind::Directory,
                    protocol::EntryKind::Other => EntryKind::Other,
                };
                let name = Bytes::copy_from_slice(entry.name);
                entries.push(Entry::new(name, kind, entry.size, entry.mode & 0o111 != 0));
            }
            if page.next == 0 {
                return Ok(Listing::new(entries, false));
            }
            if entries.len() == before {
                return Err(protocol("its entries have no end", false));
            }
            cursor = page.next;
        }
    }

    async fn close(mut self: Box<Self>) -> Result<Usage, EngineError> {
        let Some(open) = &self.open else {
            return Err(EngineError::Closed { what: "the sandbox".to_owned() });
        };
        if !open.spent.swap(true, Ordering::AcqRel) {
            // A guest that does not listen is ended below.
            let told = open.link.send(FrameKind::Close, 0, &[], &[], &[]);
            let _told = tokio::time::timeout(CLOSE_GRACE, told).await;
        }
        let dead = open.wait_until_dead().await;
        let usage = open.total_usage();
        self.bury();
        if dead { usage } else { Err(lost("closing: it could not be confirmed dead", true)) }
    }
}

impl Open {
    /// Waits until the guest is dead, which takes everything with it; ends it if it takes too long.
    async fn wait_until_dead(&self) -> bool {
        if self.link.pidfd().is_none() {
            // The spawner's word comes first of all, or the channel ends.
            let _read = tokio::time::timeout(CLOSE_GRACE, self.link.read_to_end()).await;
        }
        if self.link.pidfd().is_none() {
            // There never was a guest.
            return true;
        }
        self.confirm_death().await
    }

    /// Waits for the death of a guest that has said that it ends; ends it if it takes too long. `false` if it still lives.
    pub(super) async fn confirm_death(&self) -> bool {
        // It dies within a fraction of a millisecond: to sleep as a task and be woken by another thread takes longer.
        if self.link.dies_within(LAST_BREATH)
            || tokio::time::timeout(CLOSE_GRACE, self.link.died()).await.is_ok()
        {
            return true;
        }
        self.kill();
        tokio::time::timeout(KILL_CONFIRM, self.link.died()).await.is_ok()
    }

    /// Ends everything at once, by the kernel's hand.
    pub(super) fn kill(&self) {
        if let Some(group) = &self.slot.group {
            group.kill();
        }
        if let Some(pidfd) = self.link.pidfd() {
            // It may just have died.
            let _ended = rustix::process::pidfd_send_signal(pidfd, Signal::KILL);
        }
    }

    /// What the sandbox used as a whole.
    fn total_usage(&self) -> Result<Usage, EngineError> {
        let mut usage = Usage::default();
        let known = {
            let memory = self.remember();
            memory.is_last.then_some(memory.counters)
        };
        let counters = known.map_or_else(|| self.counters(), Ok)?;
        let memory = self.remember();
        (usage.cpu_user, usage.cpu_system) = memory.used;
        // What nobody waited for, such as what a command left running, is not split.
        let before = memory.start.cpu.unwrap_or_default();
        let total = counters.cpu.unwrap_or_default().saturating_sub(before).saturating_sub(memory.guest);
        usage.cpu_user += total.saturating_sub(usage.cpu_user + usage.cpu_system);
        drop(memory);
        usage.memory_peak_bytes = counters.memory_peak_bytes;
        usage.processes_peak = counters.processes_peak.map(|peak| peak.saturating_sub(1));
        Ok(usage)
    }
}

impl SubprocessSandbox {
    fn bury(&mut self) {
        let Some(Open { link, slot, .. }) = self.open.take() else { return };
        let Parts { stream, guest, pidfd, mounts } = link.into_parts();
        let channel = stream.into_std().ok().map(OwnedFd::from);
        self.inner.bury(Remains { slot, guest, pidfd, channel, mounts });
    }
}

impl Drop for SubprocessSandbox {
    fn drop(&mut self) {
        if let Some(open) = &self.open {
            open.kill();
        }
        self.bury();
    }
}
