//! The auditor: a thread that receives refused system calls, attributes and counts them, and
//! answers them.
//!
//! The answer is always the policy's error number. If the auditor let a call continue, its caller
//! could change the arguments in the meantime. Without the auditor, the kernel refuses these calls
//! (`ENOSYS`).
//!
//! The auditor is a thread and not a task: a program waits for the answer, and may block every task
//! of the host's runtime meanwhile.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::io;
use std::os::fd::{AsFd as _, OwnedFd};
use std::sync::atomic::{AtomicI32, Ordering};
use std::sync::mpsc::{self, Receiver, Sender, TryRecvError};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use crucible_guest::policy::{EPERM, Violation};
use rustix::event::{PollFd, PollFlags, Timespec};
use rustix::process::{Pid, PidfdFlags};

use super::ancestry;
use super::violations::{GuestId, ViolationCounts, ViolationLog};
use crate::linux::sys::WakeEvent;
use crate::linux::sys::seccomp::{self, Notification};

/// The pause of the auditor after a failed poll or read.
const RETRY_DELAY: Duration = Duration::from_millis(10);

/// The handle of the auditor thread.
#[derive(Debug)]
pub(crate) struct Auditor {
    pub(crate) violations: Arc<ViolationLog>,
    /// The error with which the last spawner got no listener, or 0.
    no_listener: AtomicI32,
    /// `None` once the auditor is stopped.
    listeners: Mutex<Option<Sender<FilterListener>>>,
    wake: WakeEvent,
    thread: Mutex<Option<JoinHandle<()>>>,
}

/// The listener of one spawner's filter. It reports the calls of the spawner's descendants.
#[derive(Debug)]
struct FilterListener {
    fd: OwnedFd,
    spawner: u32,
}

impl Auditor {
    /// Starts the thread.
    pub(crate) fn start() -> io::Result<Self> {
        let wake = WakeEvent::new()?;
        let violations = Arc::new(ViolationLog::default());
        let (sender, receiver) = mpsc::channel();
        let thread = AuditorThread {
            violations: Arc::clone(&violations),
            arriving: receiver,
            wake: wake.clone(),
            listeners: Vec::new(),
            next_number: 0,
            delayed: BinaryHeap::new(),
            unattributed: ViolationCounts::default(),
        };
        let thread = std::thread::Builder::new()
            .name("crucible-auditor".to_owned())
            .spawn(move || thread.run())?;
        Ok(Self {
            violations,
            no_listener: AtomicI32::new(0),
            listeners: Mutex::new(Some(sender)),
            wake,
            thread: Mutex::new(Some(thread)),
        })
    }

    /// Adds the listener of a new spawner's filter.
    pub(crate) fn listen(&self, fd: OwnedFd, spawner: u32) {
        self.no_listener.store(0, Ordering::Relaxed);
        let listeners = self.listeners.lock().unwrap_or_else(PoisonError::into_inner);
        // On failure the listener is closed, and the kernel refuses the calls by itself.
        let sent = listeners
            .as_ref()
            .is_some_and(|sender| sender.send(FilterListener { fd, spawner }).is_ok());
        if !sent {
            tracing::error!("the auditor has ended: violations are refused and not reported");
        }
        drop(listeners);
        self.wake.set();
    }

    /// Records that the kernel gave the spawner no listener.
    pub(crate) fn note_no_listener(&self, errno: i32) {
        self.no_listener.store(errno, Ordering::Relaxed);
    }

    /// Returns whether violations are reported, for people.
    pub(crate) fn describe(&self) -> String {
        match self.no_listener.load(Ordering::Relaxed) {
            0 => "violations are reported".to_owned(),
            libc::EBUSY => {
                "violations are not reported: the host itself runs under a listener for \
                            system calls"
                    .to_owned()
            }
            errno => {
                format!("violations are not reported: {}", io::Error::from_raw_os_error(errno))
            }
        }
    }

    /// Ends the thread. The kernel refuses the calls that still wait for an answer.
    pub(crate) fn stop(&self) {
        self.listeners.lock().unwrap_or_else(PoisonError::into_inner).take();
        self.wake.set();
        let thread = self.thread.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(thread) = thread
            && thread.join().is_err()
        {
            tracing::error!("the auditor panicked; violations may not have been reported");
        }
    }
}

impl Drop for Auditor {
    fn drop(&mut self) {
        self.stop();
    }
}

/// The state of the thread.
struct AuditorThread {
    violations: Arc<ViolationLog>,
    arriving: Receiver<FilterListener>,
    wake: WakeEvent,
    /// By number, because an index changes when an earlier listener ends.
    listeners: Vec<(u64, FilterListener)>,
    next_number: u64,
    /// Bounded by the threads of all sandboxes: each waits for one answer at most.
    delayed: BinaryHeap<Reverse<DelayedAnswer>>,
    /// Calls without a sandbox, counted so that their answers are delayed like the others.
    unattributed: ViolationCounts,
}

/// An answer that is sent later.
#[derive(Debug, PartialEq, Eq, PartialOrd, Ord)]
struct DelayedAnswer {
    due: Instant,
    listener: u64,
    id: u64,
    errno: u16,
}

/// The result of polling a listener.
#[derive(Clone, Copy, PartialEq, Eq)]
enum ListenerEvent {
    None,
    /// A call waits.
    Call,
    /// No process with this filter is left.
    End,
}

impl AuditorThread {
    fn run(mut self) {
        loop {
            loop {
                match self.arriving.try_recv() {
                    Ok(listener) => {
                        self.listeners.push((self.next_number, listener));
                        self.next_number += 1;
                    }
                    Err(TryRecvError::Empty) => break,
                    Err(TryRecvError::Disconnected) => return,
                }
            }
            self.send_due_answers();
            for (number, event) in self.wait() {
                match event {
                    ListenerEvent::None => {}
                    ListenerEvent::Call => self.receive(number),
                    ListenerEvent::End => self.listeners.retain(|(other, _)| *other != number),
                }
            }
        }
    }

    /// Sleeps until a listener has an event, an answer is due, or the thread is woken. Returns the
    /// event of each listener.
    fn wait(&self) -> Vec<(u64, ListenerEvent)> {
        let fds = self.listeners.iter().map(|(_, listener)| listener.fd.as_fd());
        let mut fds: Vec<PollFd<'_>> = std::iter::once(self.wake.as_fd())
            .chain(fds)
            .map(|fd| PollFd::from_borrowed_fd(fd, PollFlags::IN))
            .collect();
        let timeout = self
            .delayed
            .peek()
            .map(|Reverse(answer)| answer.due.saturating_duration_since(Instant::now()));
        let timeout = timeout.and_then(|timeout| Timespec::try_from(timeout).ok());
        match rustix::event::poll(&mut fds, timeout.as_ref()) {
            Ok(_) | Err(rustix::io::Errno::INTR) => {}
            Err(error) => {
                tracing::error!(%error, "the auditor cannot poll");
                std::thread::sleep(RETRY_DELAY);
            }
        }
        self.wake.clear();
        let events = fds.iter().skip(1).map(|fd| {
            let events = fd.revents();
            if events.contains(PollFlags::IN) {
                ListenerEvent::Call
            } else if events.intersects(PollFlags::HUP | PollFlags::ERR | PollFlags::NVAL) {
                ListenerEvent::End
            } else {
                ListenerEvent::None
            }
        });
        self.listeners.iter().map(|(number, _)| *number).zip(events).collect()
    }

    fn send_due_answers(&mut self) {
        let now = Instant::now();
        while self.delayed.peek().is_some_and(|Reverse(answer)| answer.due <= now) {
            let Some(Reverse(answer)) = self.delayed.pop() else { return };
            if let Some((_, listener)) =
                self.listeners.iter().find(|(number, _)| *number == answer.listener)
            {
                listener.answer(answer.id, answer.errno);
            }
        }
    }

    /// Receives one call, counts it, and answers it now or later.
    fn receive(&mut self, number: u64) {
        let Some((_, listener)) = self.listeners.iter().find(|(other, _)| *other == number) else {
            return;
        };
        let call = match seccomp::receive_notification(listener.fd.as_fd()) {
            Ok(call) => call,
            // The caller was killed before this read, or the read was interrupted.
            Err(error) if matches!(error.raw_os_error(), Some(libc::ENOENT | libc::EINTR)) => {
                return;
            }
            Err(error) => {
                tracing::error!(%error, "cannot receive a refused system call");
                std::thread::sleep(RETRY_DELAY);
                return;
            }
        };
        let Some(violation) = Violation::of(call.architecture, call.number, &call.arguments) else {
            tracing::error!(call.number, "the filter stopped a system call without a rule");
            listener.answer(call.id, EPERM);
            return;
        };
        let still_waits = || seccomp::is_waiting(listener.fd.as_fd(), call.id);
        let due = match listener.guest_of(&call) {
            Some(guest) => self.violations.record(guest, violation, still_waits),
            None if still_waits() => {
                // Logged once: a program that hides its origin must not fill the log.
                if self.unattributed.is_empty() {
                    tracing::warn!(
                        call.pid,
                        what = violation.name(),
                        "a refused system call belongs to no sandbox"
                    );
                }
                Some(self.unattributed.add(violation, Instant::now()))
            }
            None => None,
        };
        // Without a due time, the caller was killed and waits for no answer.
        let Some(due) = due else { return };
        let errno = violation.errno();
        if due <= Instant::now() {
            listener.answer(call.id, errno);
        } else {
            let answer = DelayedAnswer { due, listener: number, id: call.id, errno };
            self.delayed.push(Reverse(answer));
        }
    }
}

impl FilterListener {
    fn guest_of(&self, call: &Notification) -> Option<GuestId> {
        let pid = ancestry::guest_of(call.pid, self.spawner)?;
        let process = Pid::from_raw(i32::try_from(pid).ok()?)?;
        let pidfd = rustix::process::pidfd_open(process, PidfdFlags::empty()).ok()?;
        GuestId::new(pid, pidfd.as_fd())
    }

    fn answer(&self, id: u64, errno: u16) {
        match seccomp::refuse(self.fd.as_fd(), id, errno) {
            Ok(()) => {}
            // The caller was killed.
            Err(error) if error.raw_os_error() == Some(libc::ENOENT) => {}
            Err(error) => tracing::error!(%error, "cannot answer a refused system call"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn auditor_drop_ends_the_thread() {
        let auditor = Auditor::start().unwrap();
        let violations = Arc::downgrade(&auditor.violations);
        drop(auditor);
        // The thread held a reference.
        assert!(violations.upgrade().is_none());
    }
}
