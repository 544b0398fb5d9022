//! The auditor: a thread that hears of refused calls that matter, notes whose they are, and answers them.
//!
//! The answer is the policy's error number, always: a call that the kernel was told to go on with could have been changed
//! in the meantime by whoever made it. When the auditor is gone, the kernel itself refuses these calls (`ENOSYS`).
//!
//! It is a thread and not a task, because a program waits for it that may hold up whatever the host's runtime does.

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
use rustix::event::{EventfdFlags, PollFd, PollFlags, Timespec};
use rustix::process::{Pid, PidfdFlags};

use super::ancestry;
use super::sys::{self, Notification};
use super::violations::{Guest, Offences, Violations};

/// How long the auditor does not listen when it cannot.
const TRY_AGAIN: Duration = Duration::from_millis(10);

/// The auditor's door.
#[derive(Debug)]
pub(super) struct Auditor {
    pub(super) violations: Arc<Violations>,
    /// Why there was no listener the last time that a spawner started; 0 if there was one.
    no_listener: AtomicI32,
    /// `None` once the auditor was told to stop.
    listeners: Mutex<Option<Sender<Listener>>>,
    bell: Arc<OwnedFd>,
    thread: Mutex<Option<JoinHandle<()>>>,
}

/// Where the kernel tells of the calls of all that a spawner made.
#[derive(Debug)]
struct Listener {
    fd: OwnedFd,
    spawner: u32,
}

impl Auditor {
    pub(super) fn start() -> io::Result<Self> {
        let bell =
            Arc::new(rustix::event::eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK)?);
        let violations = Arc::new(Violations::default());
        let (sender, receiver) = mpsc::channel();
        let work = Work {
            violations: Arc::clone(&violations),
            arriving: receiver,
            bell: Arc::clone(&bell),
            listeners: Vec::new(),
            next_number: 0,
            late: BinaryHeap::new(),
            nobodys: Offences::default(),
        };
        let thread = std::thread::Builder::new()
            .name("crucible-auditor".to_owned())
            .spawn(move || work.run())?;
        Ok(Self {
            violations,
            no_listener: AtomicI32::new(0),
            listeners: Mutex::new(Some(sender)),
            bell,
            thread: Mutex::new(Some(thread)),
        })
    }

    /// Listens to what a new spawner's filter stops.
    pub(super) fn listen(&self, fd: OwnedFd, spawner: u32) {
        self.no_listener.store(0, Ordering::Relaxed);
        let listeners = self.listeners.lock().unwrap_or_else(PoisonError::into_inner);
        // One that cannot be handed over is closed: the kernel refuses by itself what it would have told of.
        let sent =
            listeners.as_ref().is_some_and(|door| door.send(Listener { fd, spawner }).is_ok());
        if !sent {
            tracing::error!("the auditor is gone: violations are refused and not reported");
        }
        drop(listeners);
        self.ring();
    }

    /// The kernel gave no listener.
    pub(super) fn cannot_listen(&self, errno: i32) {
        self.no_listener.store(errno, Ordering::Relaxed);
    }

    /// Whether violations are reported, for people.
    pub(super) fn describe(&self) -> String {
        match self.no_listener.load(Ordering::Relaxed) {
            0 => "violations are reported".to_owned(),
            libc::EBUSY => {
                "violations are not reported: the host itself runs under a listener for system calls"
                    .to_owned()
            }
            errno => format!("violations are not reported: {}", io::Error::from_raw_os_error(errno)),
        }
    }

    /// Ends the auditor. What still waits for an answer is refused by the kernel.
    pub(super) fn stop(&self) {
        self.listeners.lock().unwrap_or_else(PoisonError::into_inner).take();
        self.ring();
        let thread = self.thread.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(thread) = thread
            && thread.join().is_err()
        {
            tracing::error!("the auditor panicked; violations may not have been reported");
        }
    }

    fn ring(&self) {
        // A bell that rings already is heard.
        let _rung = rustix::io::write(&*self.bell, &1_u64.to_ne_bytes());
    }
}

impl Drop for Auditor {
    fn drop(&mut self) {
        self.stop();
    }
}

struct Work {
    violations: Arc<Violations>,
    arriving: Receiver<Listener>,
    bell: Arc<OwnedFd>,
    /// By number: the place in the list changes when one before it ends.
    listeners: Vec<(u64, Listener)>,
    next_number: u64,
    /// Bounded by the threads of all sandboxes: none waits for two answers.
    late: BinaryHeap<Reverse<Late>>,
    /// What could not be attributed, so that it is kept waiting like the rest.
    nobodys: Offences,
}

/// An answer that waits: when, to whom, and what.
#[derive(Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Late {
    due: Instant,
    listener: u64,
    id: u64,
    errno: u16,
}

/// What became of a listener.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Heard {
    Nothing,
    /// There is something to read.
    Call,
    /// Nobody is left whom the filter could stop.
    End,
}

impl Work {
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
            self.answer_late();
            let heard = self.wait();
            for (number, heard) in heard {
                match heard {
                    Heard::Nothing => {}
                    Heard::Call => self.hear(number),
                    Heard::End => self.listeners.retain(|(other, _)| *other != number),
                }
            }
        }
    }

    /// Sleeps until there is something to do; says of each listener what was heard.
    fn wait(&self) -> Vec<(u64, Heard)> {
        let fds = self.listeners.iter().map(|(_, listener)| listener.fd.as_fd());
        let mut fds: Vec<PollFd<'_>> = std::iter::once(self.bell.as_fd())
            .chain(fds)
            .map(|fd| PollFd::from_borrowed_fd(fd, PollFlags::IN))
            .collect();
        let timeout = self
            .late
            .peek()
            .map(|Reverse(late)| late.due.saturating_duration_since(Instant::now()));
        let timeout = timeout.and_then(|timeout| Timespec::try_from(timeout).ok());
        match rustix::event::poll(&mut fds, timeout.as_ref()) {
            Ok(_) | Err(rustix::io::Errno::INTR) => {}
            Err(error) => {
                tracing::error!(%error, "the auditor cannot wait");
                std::thread::sleep(TRY_AGAIN);
            }
        }
        let mut rings = [0; 8];
        // Nobody rang.
        let _heard = rustix::io::read(&*self.bell, &mut rings);
        let found = fds.iter().skip(1).map(|fd| {
            let found = fd.revents();
            if found.contains(PollFlags::IN) {
                Heard::Call
            } else if found.intersects(PollFlags::HUP | PollFlags::ERR | PollFlags::NVAL) {
                Heard::End
            } else {
                Heard::Nothing
            }
        });
        self.listeners.iter().map(|(number, _)| *number).zip(found).collect()
    }

    fn answer_late(&mut self) {
        let now = Instant::now();
        while self.late.peek().is_some_and(|Reverse(late)| late.due <= now) {
            let Some(Reverse(late)) = self.late.pop() else { return };
            if let Some((_, listener)) =
                self.listeners.iter().find(|(number, _)| *number == late.listener)
            {
                listener.answer(late.id, late.errno);
            }
        }
    }

    /// Reads one notification, notes it, and answers, now or later.
    fn hear(&mut self, number: u64) {
        let Some((_, listener)) = self.listeners.iter().find(|(other, _)| *other == number) else {
            return;
        };
        let call = match sys::receive_notification(listener.fd.as_fd()) {
            Ok(call) => call,
            // Who made the call was ended before we heard of it, or we were interrupted.
            Err(error) if matches!(error.raw_os_error(), Some(libc::ENOENT | libc::EINTR)) => {
                return;
            }
            Err(error) => {
                tracing::error!(%error, "a refused system call cannot be read");
                std::thread::sleep(TRY_AGAIN);
                return;
            }
        };
        let Some(violation) = Violation::of(call.architecture, call.number, &call.arguments) else {
            tracing::error!(call.number, "a system call was stopped that no rule reports");
            listener.answer(call.id, EPERM);
            return;
        };
        let still_waits = || sys::is_waiting(listener.fd.as_fd(), call.id);
        let due = match listener.guest_of(&call) {
            Some(guest) => self.violations.record(guest, violation, still_waits),
            None if still_waits() => {
                // Once: a program that makes itself hard to find must not fill the log.
                if self.nobodys.is_empty() {
                    tracing::warn!(
                        call.pid,
                        what = violation.name(),
                        "a refused system call is nobody's"
                    );
                }
                Some(self.nobodys.add(violation, Instant::now()))
            }
            None => None,
        };
        // Who made the call was ended meanwhile: nobody waits for an answer.
        let Some(due) = due else { return };
        let errno = violation.errno();
        if due <= Instant::now() {
            listener.answer(call.id, errno);
        } else {
            self.late.push(Reverse(Late { due, listener: number, id: call.id, errno }));
        }
    }
}

impl Listener {
    fn guest_of(&self, call: &Notification) -> Option<Guest> {
        let pid = ancestry::guest_of(call.pid, self.spawner)?;
        let process = Pid::from_raw(i32::try_from(pid).ok()?)?;
        let pidfd = rustix::process::pidfd_open(process, PidfdFlags::empty()).ok()?;
        Guest::new(pid, pidfd.as_fd())
    }

    fn answer(&self, id: u64, errno: u16) {
        match sys::refuse(self.fd.as_fd(), id, errno) {
            Ok(()) => {}
            // It was ended.
            Err(error) if error.raw_os_error() == Some(libc::ENOENT) => {}
            Err(error) => tracing::error!(%error, "a refused system call cannot be answered"),
        }
    }
}

#[cfg(test)]
mod tests {
    use crucible_core::{
        Engine as _, Evaluation, Evidence, Layer, LayerStatus, Outcome, RunContext, Signal, Verdict,
    };

    use super::*;
    use crate::SubprocessEngine;

    /// Runs Python source on an engine that was made under a listener of the host's.
    fn run_under_a_listener(source: &'static str) -> (Outcome, String) {
        // Filters belong to threads.
        let run = std::thread::spawn(move || {
            let mut builder = SubprocessEngine::builder();
            if !rustix::process::geteuid().is_root() {
                rustix::thread::set_no_new_privs(true).unwrap();
                for layer in
                    [Layer::MemoryCgroup, Layer::PidsCgroup, Layer::CpuCgroup, Layer::DedicatedUser]
                {
                    builder = builder.waive(layer);
                }
            }
            let _listener = sys::listen_to_nothing().unwrap();
            let engine = builder.build().unwrap();
            let runtime =
                tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
            let outcome = runtime
                .block_on(engine.run(&Evaluation::python(source), &RunContext::new()))
                .unwrap();
            let info = engine.info();
            let report =
                info.enforcement.reports().iter().find(|report| report.layer == Layer::Seccomp);
            (outcome, report.unwrap().detail.clone())
        });
        run.join().unwrap()
    }

    #[test]
    fn without_a_listener_calls_are_refused_and_the_report_says_what_is_missing() {
        let source = "
import ctypes
libc = ctypes.CDLL(None, use_errno=True)
print(libc.unshare(0x10000000), ctypes.get_errno())
print(libc.mount(b'none', b'/tmp', b'tmpfs', 0, None), ctypes.get_errno())";
        let (outcome, detail) = run_under_a_listener(source);
        let lacks =
            "violations are not reported: the host itself runs under a listener for system calls";
        assert_eq!(detail, lacks);
        assert_eq!(outcome.stdout.to_text(), "-1 1\n-1 1\n", "{}", outcome.stderr.to_text());
        assert_eq!(*outcome.verdict(), Verdict::Exited { code: 0 });
        assert!(!outcome.evidence().iter().any(|fact| matches!(fact, Evidence::Violation { .. })));
        assert_eq!(outcome.enforcement.status(Layer::Seccomp), LayerStatus::Enforced);
        let report =
            outcome.enforcement.reports().iter().find(|report| report.layer == Layer::Seccomp);
        assert!(report.unwrap().detail.ends_with(lacks), "{report:?}");
    }

    #[test]
    fn without_a_listener_calls_of_another_abi_end_the_process() {
        let source = "import ctypes; ctypes.CDLL(None).syscall(ctypes.c_long(0x40000000 + 39))";
        let (outcome, _) = run_under_a_listener(source);
        assert_eq!(
            *outcome.verdict(),
            Verdict::Signaled { signal: Signal::from_number(31).unwrap() }
        );
    }

    #[test]
    fn an_auditor_that_is_dropped_is_gone() {
        let auditor = Auditor::start().unwrap();
        let violations = Arc::downgrade(&auditor.violations);
        let bell = Arc::downgrade(&auditor.bell);
        drop(auditor);
        // The thread held both.
        assert!(violations.upgrade().is_none() && bell.upgrade().is_none());
    }
}
