//! The report of a command's end.

use super::frame_batch::FrameBatch;
use super::guest::{Guest, NextStep};
use super::reap::{self, CommandExit};
use super::running_command::RunningCommand;
use super::sys::{self, Errno, Result, SIGKILL};
use crate::protocol::{Exited, FrameKind, OnExit};

impl Guest {
    /// Reaps all processes that have ended, and reports the command if it is among them.
    pub(super) fn reap(&mut self) -> Result<NextStep> {
        reap::drain(self.children)?;
        let mut batch = FrameBatch::new();
        if let Some(running) = &mut self.running {
            running.add_start(&mut batch)?;
        }
        let target = self.running.as_ref().map(|running| running.pid);
        let Some(exit) = reap::reap_all(target)? else {
            self.channel.send_batch(&mut batch, None)?;
            return Ok(NextStep::Serve);
        };
        let Some(running) = self.running.take() else { return Ok(NextStep::Serve) };
        self.report(&running, exit, &mut batch)?;
        if running.on_exit != OnExit::Seal {
            return Ok(NextStep::Serve);
        }
        // The host builds its outcome now. The guest's own end takes a while, and the host does not
        // wait for it.
        sys::yield_now();
        Ok(NextStep::End)
    }

    /// Reports the command's end, and kills its remaining processes if requested.
    fn report(
        &mut self,
        running: &RunningCommand,
        exit: CommandExit,
        batch: &mut FrameBatch,
    ) -> Result<()> {
        let space = match &self.container.disk {
            Some(disk) => Some(disk.free_space()),
            None if self.context.bounded => self.files.free_space(),
            None => None,
        };
        if let Some(cgroup) = self.container.cgroup {
            batch
                .add(FrameKind::CgroupCounts, running.id, |writer| cgroup.read().encode(writer))?;
        }
        let mut exited = Exited {
            wait_status: exit.status,
            empty: false,
            deadline: running.deadline_passed,
            survivors: 0,
            wall_us: sys::now_us().saturating_sub(running.began_us),
            user_us: exit.usage.user_us,
            system_us: exit.usage.system_us,
            maxrss_kib: exit.usage.maxrss_kib,
            guest_us: sys::usage_of_self().cpu_us(),
            free_bytes: space.map_or(u64::MAX, |space| space.free_bytes),
            free_inodes: space.map_or(u64::MAX, |space| space.free_inodes),
        };
        let remaining = if self.is_init { -1 } else { -running.pid };
        let keeps = running.on_exit == OnExit::KeepBackground;
        exited.empty = !keeps
            && (exit.alone
                || sys::kill(remaining, SIGKILL) == Err(Errno::SRCH) && reap::is_empty()?);
        // Framed output precedes the end. With framed output the report of the start was sent at
        // once.
        self.streams.drain(self.channel)?;
        batch.add(FrameKind::Exited, running.id, |writer| exited.encode(writer))?;
        self.channel.send_batch(batch, running.mounts)?;
        if keeps || exited.empty {
            return Ok(());
        }
        // The host already has the command's own end. The remaining processes may take longer.
        let survivors = reap::reap_everything(remaining)?;
        self.channel.answer(FrameKind::Empty, running.id, |writer| writer.u32(survivors))
    }
}
