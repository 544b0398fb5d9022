//! The groups of one sandbox: one in version 2, one per controller in version 1.

use std::fs::{self, OpenOptions};
use std::io;
use std::os::fd::{AsFd as _, BorrowedFd, OwnedFd};
use std::path::{Path, PathBuf};
use std::sync::OnceLock;
use std::time::Duration;

use crucible_guest_client::CgroupCounters;

use super::cgroup_root::{CgroupController, CgroupRoot, CgroupVersion};
use super::control_files;
use super::counter_files::{ControllerDirectory, CounterFiles};

/// The divisor of the memory limit. A group is reused only if it uses at most this part of its
/// limit. The memory that remains after a sandbox is mostly a cache of the kernel for the next one.
const LEFT_OVER_PART: u64 = 64;
/// The minimum number of processes of a sandbox: the guest and its command.
const PROCESSES_MIN: u64 = 2;

/// The limits of a group.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct CgroupLimits {
    pub(crate) memory_bytes: u64,
    /// Processes and threads, including the guest.
    pub(crate) processes: u64,
}

/// The groups of one sandbox.
#[derive(Debug)]
pub(crate) struct SandboxCgroup {
    memory: Option<ControllerDirectory>,
    pids: Option<ControllerDirectory>,
    cpu: Option<ControllerDirectory>,
    /// The directories of all controllers, without duplicates.
    directories: Vec<PathBuf>,
    /// The opened `tasks` files of version 1.
    tasks: Vec<OwnedFd>,
    /// The opened directory of version 2.
    into: Option<OwnedFd>,
    /// `None` until limits are set.
    limits: Option<CgroupLimits>,
    counters: OnceLock<CounterFiles>,
    /// The counters when the current sandbox got the group.
    start: CgroupCounters,
}

impl SandboxCgroup {
    /// Creates the groups named `name` in the engine's directories.
    pub(super) fn create(
        roots: &[(CgroupController, CgroupRoot)],
        owner: &str,
        name: &str,
    ) -> io::Result<Self> {
        let mut group = Self {
            memory: None,
            pids: None,
            cpu: None,
            directories: Vec::new(),
            tasks: Vec::new(),
            into: None,
            limits: None,
            counters: OnceLock::new(),
            start: CgroupCounters::default(),
        };
        for (controller, root) in roots {
            let path = root.parent.join(owner).join(name);
            let directory = ControllerDirectory { version: root.version, path: path.clone() };
            match controller {
                CgroupController::Memory => group.memory = Some(directory),
                CgroupController::Pids => group.pids = Some(directory),
                CgroupController::Cpu => group.cpu = Some(directory),
            }
            if group.directories.contains(&path) {
                continue;
            }
            match fs::create_dir(&path) {
                Ok(()) => group.directories.push(path.clone()),
                Err(error) => return Err(group.undo(&path, &error)),
            }
            if let Err(error) = group.open(root.version, &path) {
                return Err(group.undo(&path, &error));
            }
        }
        Ok(group)
    }

    fn open(&mut self, version: CgroupVersion, directory: &Path) -> io::Result<()> {
        match version {
            // The kernel checks the permission of the process that opens the file. The guest, which
            // has none, writes to the descriptor that it receives.
            CgroupVersion::V1 => self
                .tasks
                .push(OpenOptions::new().write(true).open(directory.join("tasks"))?.into()),
            CgroupVersion::V2 => self.into = Some(fs::File::open(directory)?.into()),
        }
        Ok(())
    }

    fn undo(&self, directory: &Path, error: &io::Error) -> io::Error {
        self.discard();
        control_files::with_path(directory, error)
    }

    /// Removes the directories of an unused group, and logs each failure.
    pub(super) fn discard(&self) {
        for directory in &self.directories {
            if let Err(error) = fs::remove_dir(directory) {
                tracing::warn!(cgroup = %directory.display(), %error, "cannot remove a cgroup");
            }
        }
    }

    /// Returns the limits that [`SandboxCgroup::limit`] set.
    pub(super) fn limits(&self) -> Option<CgroupLimits> {
        self.limits
    }

    /// Returns the counters when the current sandbox got the group: zero in a new group.
    pub(crate) fn start(&self) -> CgroupCounters {
        self.start
    }

    /// Sets the limits, once, before any process runs in the group.
    pub(super) fn limit(&mut self, limits: CgroupLimits) -> io::Result<()> {
        if let Some(ControllerDirectory { version, path }) = &self.memory {
            let bytes = limits.memory_bytes.to_string();
            match version {
                CgroupVersion::V1 => {
                    control_files::write(path, "memory.limit_in_bytes", &bytes)?;
                    // The same limit on memory and swap together leaves no swap. It must not be
                    // below the memory limit, so it comes second. Kernels without swap accounting
                    // have no such file, and charge no swap.
                    if path.join("memory.memsw.limit_in_bytes").exists() {
                        control_files::write(path, "memory.memsw.limit_in_bytes", &bytes)?;
                    }
                }
                CgroupVersion::V2 => {
                    control_files::write(path, "memory.max", &bytes)?;
                    if path.join("memory.swap.max").exists() {
                        control_files::write(path, "memory.swap.max", "0")?;
                    }
                }
            }
        }
        if let Some(ControllerDirectory { path, .. }) = &self.pids {
            control_files::write(path, "pids.max", &limits.processes.to_string())?;
        }
        self.limits = Some(limits);
        Ok(())
    }

    /// Returns the opened `tasks` files, with which the guest joins the group.
    pub(crate) fn tasks(&self) -> impl ExactSizeIterator<Item = BorrowedFd<'_>> {
        self.tasks.iter().map(|fd| fd.as_fd())
    }

    /// Returns the opened directory of a version 2 group, in which the kernel creates the guest.
    pub(crate) fn clone_into(&self) -> Option<BorrowedFd<'_>> {
        self.into.as_ref().map(|fd| fd.as_fd())
    }

    /// Opens the counters ahead of the end of a command.
    pub(crate) fn open_counters(&self) -> io::Result<()> {
        self.counter_files().map(drop)
    }

    /// Closes the counters. The next read opens them again.
    pub(super) fn close_counters(&mut self) {
        self.counters.take();
    }

    fn counter_files(&self) -> io::Result<&CounterFiles> {
        if let Some(files) = self.counters.get() {
            return Ok(files);
        }
        let files =
            CounterFiles::open(self.memory.as_ref(), self.pids.as_ref(), self.cpu.as_ref())?;
        Ok(self.counters.get_or_init(|| files))
    }

    /// Reads the number of processes and threads in the group, or `None` without the controller.
    pub(crate) fn processes(&self) -> io::Result<Option<u64>> {
        self.counter_files()?.processes()
    }

    /// Reads the CPU time of all current and past processes of the group.
    pub(crate) fn cpu(&self) -> io::Result<Option<Duration>> {
        self.counter_files()?.cpu()
    }

    /// Reads all counters.
    pub(crate) fn counters(&self) -> io::Result<CgroupCounters> {
        self.counter_files()?.read()
    }

    /// Kills every process in the group in one step, where the kernel can (version 2, Linux 5.14).
    /// Returns `false` where it cannot.
    pub(crate) fn kill(&self) -> bool {
        self.directories
            .iter()
            .any(|directory| control_files::write(directory, "cgroup.kill", "1").is_ok())
    }

    /// Removes the groups. Fails with `EBUSY` while a process runs in one.
    pub(super) fn remove(&mut self) -> io::Result<()> {
        while let Some(directory) = self.directories.last() {
            match fs::remove_dir(directory) {
                Ok(()) => {}
                Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                Err(error) => return Err(error),
            }
            self.directories.pop();
        }
        Ok(())
    }

    /// Prepares a group without processes for another sandbox with the same limits.
    ///
    /// `name` is the name of a directory that has to be replaced. Returns `false` if the group must
    /// be removed instead; the removal shows whether a process still runs in it.
    ///
    /// Creating and removing groups costs the kernel a quarter of a whole run. In version 2 the
    /// group is one directory, and most kernels cannot reset its memory peak.
    pub(super) fn reuse(&mut self, name: &str) -> io::Result<bool> {
        let Some(limits) = self.limits else { return Ok(false) };
        // Without opened counters, no sandbox has used the group.
        if self.counters.get().is_none() {
            return Ok(false);
        }
        // The count includes dead processes that were not reaped. Once the spawner is gone, reaping
        // is up to the host's process 1.
        if self.processes()? != Some(0) {
            return Ok(false);
        }
        let members = [&self.memory, &self.pids, &self.cpu].into_iter().flatten();
        if members.clone().any(|member| member.version == CgroupVersion::V2)
            || members.count() != self.directories.len()
        {
            return Ok(false);
        }
        let Some(mut counters) = self.counters.take() else { return Ok(false) };
        let counted = counters.read()?;
        if counted.oom_kills > Some(0)
            || !counters.reset_memory(limits.memory_bytes / LEFT_OVER_PART)?
        {
            return Ok(false);
        }
        self.start = if is_valid_start(counted) {
            counted
        } else {
            self.replace_pids(name, limits, &mut counters)?;
            counters.read()?
        };
        self.counters = OnceLock::from(counters);
        Ok(true)
    }

    /// Creates another group to count processes in, because the old peak cannot be reset.
    fn replace_pids(
        &mut self,
        name: &str,
        limits: CgroupLimits,
        counters: &mut CounterFiles,
    ) -> io::Result<()> {
        let Some(pids) = &mut self.pids else { return Ok(()) };
        fs::remove_dir(&pids.path)?;
        let index = self.directories.iter().position(|directory| *directory == pids.path);
        let path = pids.path.with_file_name(name);
        fs::create_dir(&path)?;
        pids.path.clone_from(&path);
        if let Some(index) = index
            && let (Some(directory), Some(tasks)) =
                (self.directories.get_mut(index), self.tasks.get_mut(index))
        {
            directory.clone_from(&path);
            *tasks = OpenOptions::new().write(true).open(path.join("tasks"))?.into();
        }
        control_files::write(&path, "pids.max", &limits.processes.to_string())?;
        counters.watch_processes(pids)
    }

    /// Returns the paths of the groups, for messages.
    pub(crate) fn describe(&self) -> String {
        self.directories
            .iter()
            .map(|directory| directory.display().to_string())
            .collect::<Vec<_>>()
            .join(", ")
    }
}

/// Returns `true` if the next sandbox can start with these counters.
///
/// The kernel resets neither the peak of processes nor the refused forks. A peak that every sandbox
/// reaches, and no refused fork, do not distort the next sandbox's counters.
fn is_valid_start(counted: CgroupCounters) -> bool {
    counted.processes_peak.is_none_or(|peak| peak <= PROCESSES_MIN)
        && counted.forks_refused.is_none_or(|count| count == 0)
}
