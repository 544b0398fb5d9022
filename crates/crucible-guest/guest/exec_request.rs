//! The start of a command for the host.

use super::guest::Guest;
use super::proc_usage;
use super::reap;
use super::running_command::{PendingStart, RunningCommand, STATUS_MAX};
use super::step_error::{AtStep as _, StepError, StepResult};
use super::sys::{self, Errno, Fds, O_CLOEXEC, O_RDONLY};
use super::target::{LaunchError, Target};
use crate::protocol::{Exec, Failure, FrameKind, OnExit, STDIO_PASSED, Step};

impl Guest {
    /// Starts a command.
    pub(super) fn exec(&mut self, id: u32, exec: &Exec<'_>, fds: &mut Fds) -> StepResult<()> {
        if self.running.is_some() {
            return Err(StepError(Step::BUSY, Errno::BUSY));
        }
        // Input files precede their command. A failed write is the command's failure.
        self.files.take_input_failure()?;
        let mut passed = Fds::none();
        let stdio = if exec.stdio == STDIO_PASSED {
            passed = fds.take();
            match *passed.as_slice() {
                [stdin, stdout, stderr] => [stdin, stdout, stderr],
                _ => {
                    passed.close();
                    return Err(StepError::MALFORMED);
                }
            }
        } else {
            self.streams.open().at(Step::STREAMS)?
        };
        let began_us = sys::now_us();
        let started = self.launcher.start(&self.context, exec, stdio);
        match (&started, exec.on_exit, passed.as_slice()) {
            // The guest keeps the output streams open until its own end. So the command's last
            // process does not wake the host's reader, which would delay the command's end.
            (Ok(_), OnExit::Seal, [stdin, ..]) => sys::close(*stdin),
            _ => passed.close(),
        }
        self.streams.close_target_ends();
        match started {
            Ok(target) => self.on_started(id, exec, began_us, target),
            Err(error) => {
                self.streams.close();
                self.on_start_error(id, error)
            }
        }
    }

    fn on_started(
        &mut self,
        id: u32,
        exec: &Exec<'_>,
        began_us: u64,
        target: Target,
    ) -> StepResult<()> {
        let Target { pid, confinement } = target;
        // The report waits only if the command's output reaches the host without the guest.
        // Otherwise it has to precede the output.
        let quiet_us = if exec.stdio == STDIO_PASSED { u64::from(exec.quiet_us) } else { 0 };
        let at_us = began_us.saturating_add(quiet_us);
        let running = self.running.insert(RunningCommand {
            pid,
            id,
            on_exit: exec.on_exit,
            began_us,
            start: Some(PendingStart {
                at_us,
                confinement,
                status: [0; STATUS_MAX],
                status_length: 0,
            }),
            deadline_us: (exec.deadline_us > 0).then(|| began_us.saturating_add(exec.deadline_us)),
            deadline_passed: false,
            mounts: None,
        });
        if let (true, Some(start)) = (exec.status, &mut running.start) {
            // If the command has ended, its status file is still readable: it stays a zombie until
            // the guest reaps it.
            let status = &mut start.status;
            start.status_length = proc_usage::read_status_of_child(pid, status).at(Step::USAGE)?;
        }
        self.send_due_start().at(Step::USAGE)?;
        let lends = exec.lend_mounts && exec.on_exit == OnExit::Seal;
        if let (true, Some(running)) = (lends, &mut self.running) {
            running.mounts = sys::open(c"/proc/self/ns/mnt", O_RDONLY | O_CLOEXEC, 0).ok();
        }
        Ok(())
    }

    fn on_start_error(&mut self, id: u32, error: LaunchError) -> StepResult<()> {
        match error {
            LaunchError::NoProcess(error) => Err(StepError(Step::TARGET_CLONE, error)),
            LaunchError::Failed { pid, step, error } => {
                reap::wait_for(pid).at(Step::TARGET_CLONE)?;
                match step {
                    Step::TARGET_EXEC | Step::TARGET_DIRECTORY => {
                        let failure = Failure { step, errno: error.0 };
                        let answer =
                            self.channel.answer(FrameKind::ExecFailed, id, |w| failure.encode(w));
                        answer.at(Step::TARGET_EXEC)
                    }
                    step => Err(StepError(step, error)),
                }
            }
        }
    }
}
