//! The groups of one sandbox: one in version 2, one for each controller in version 1.

use std::fs::{self, OpenOptions};
use std::io;
use std::os::fd::{AsFd as _, BorrowedFd, OwnedFd};
use std::path::{Path, PathBuf};
use std::sync::OnceLock;
use std::time::Duration;

use crucible_guest_client::CgroupCounters;

use super::counters::CounterFiles;
use super::detect::{Controller, Place, Version};
use super::files;

/// What a group may use.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct GroupLimits {
    pub(crate) memory_bytes: u64,
    /// Processes and threads, the guest included.
    pub(crate) processes: u64,
}

/// The groups of one sandbox.
#[derive(Debug)]
pub(crate) struct Group {
    memory: Option<Member>,
    pids: Option<Member>,
    cpu: Option<Member>,
    /// Every directory once.
    directories: Vec<PathBuf>,
    /// The opened `tasks` files of version 1.
    tasks: Vec<OwnedFd>,
    /// The opened directory of version 2.
    into: Option<OwnedFd>,
    /// What was set, if anything was.
    limits: Option<GroupLimits>,
    counters: OnceLock<CounterFiles>,
    /// What had been counted when the sandbox that has it now got it.
    start: CgroupCounters,
}

/// What part of its memory limit a group that is used again may start with, as a divisor. What a dead sandbox leaves is
/// mostly memory that the kernel keeps for whoever comes next.
const LEFT_OVER_PART: u64 = 64;

/// The guest and its command: whatever runs, there are two at once.
const PROCESSES_MIN: u64 = 2;

/// A directory of the group, in the hierarchy of a controller.
#[derive(Debug, Clone)]
pub(super) struct Member {
    pub(super) version: Version,
    pub(super) directory: PathBuf,
}

/// Whether a group has counted no more processes at once than the next sandbox has in any case, and refused none: then what it will have
/// counted by then is the next sandbox's, although the kernel sets nothing back.
fn counts_anew(counted: CgroupCounters) -> bool {
    counted.processes_peak.is_none_or(|peak| peak <= PROCESSES_MIN)
        && counted.forks_refused.is_none_or(|count| count == 0)
}

impl Group {
    /// Makes the groups named `name` in the engine's directories.
    pub(super) fn make(
        places: &[(Controller, Place)],
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
        for (controller, place) in places {
            let directory = place.parent.join(owner).join(name);
            let member = Member { version: place.version, directory: directory.clone() };
            match controller {
                Controller::Memory => group.memory = Some(member),
                Controller::Pids => group.pids = Some(member),
                Controller::Cpu => group.cpu = Some(member),
            }
            if group.directories.contains(&directory) {
                continue;
            }
            match fs::create_dir(&directory) {
                Ok(()) => group.directories.push(directory.clone()),
                Err(error) => return Err(group.undo(&directory, &error)),
            }
            if let Err(error) = group.open(place.version, &directory) {
                return Err(group.undo(&directory, &error));
            }
        }
        Ok(group)
    }

    fn open(&mut self, version: Version, directory: &Path) -> io::Result<()> {
        match version {
            // Permission is checked against whoever opens: the guest, who has none, writes to what it is handed.
            Version::V1 => self
                .tasks
                .push(OpenOptions::new().write(true).open(directory.join("tasks"))?.into()),
            Version::V2 => self.into = Some(fs::File::open(directory)?.into()),
        }
        Ok(())
    }

    fn undo(&self, directory: &Path, error: &io::Error) -> io::Error {
        self.discard();
        io::Error::new(error.kind(), format!("{}: {error}", directory.display()))
    }

    /// Removes what was made of a group that cannot be used.
    pub(super) fn discard(&self) {
        for made in &self.directories {
            if let Err(error) = fs::remove_dir(made) {
                tracing::warn!(cgroup = %made.display(), %error, "a cgroup was left");
            }
        }
    }

    /// What was set with [`Group::limit`].
    pub(super) fn limits(&self) -> Option<GroupLimits> {
        self.limits
    }

    /// What had been counted when the sandbox that has it now got it: nothing, in a group that has never been used.
    pub(crate) fn start(&self) -> CgroupCounters {
        self.start
    }

    /// Sets limits, once, before anything runs.
    pub(super) fn limit(&mut self, limits: GroupLimits) -> io::Result<()> {
        if let Some(Member { version, directory }) = &self.memory {
            let bytes = limits.memory_bytes.to_string();
            match version {
                Version::V1 => {
                    files::write(directory, "memory.limit_in_bytes", &bytes)?;
                    // Memory and swap together: the same, so that there is no swap. After the memory alone, which it
                    // must not be below. Kernels without swap accounting have no such file, and then no swap is charged.
                    if directory.join("memory.memsw.limit_in_bytes").exists() {
                        files::write(directory, "memory.memsw.limit_in_bytes", &bytes)?;
                    }
                }
                Version::V2 => {
                    files::write(directory, "memory.max", &bytes)?;
                    if directory.join("memory.swap.max").exists() {
                        files::write(directory, "memory.swap.max", "0")?;
                    }
                }
            }
        }
        if let Some(Member { directory, .. }) = &self.pids {
            files::write(directory, "pids.max", &limits.processes.to_string())?;
        }
        self.limits = Some(limits);
        Ok(())
    }

    /// The opened `tasks` files, for the guest to join by.
    pub(crate) fn tasks(&self) -> impl ExactSizeIterator<Item = BorrowedFd<'_>> {
        self.tasks.iter().map(|fd| fd.as_fd())
    }

    /// The opened directory of a version 2 group, for the guest to be born in.
    pub(crate) fn born_in(&self) -> Option<BorrowedFd<'_>> {
        self.into.as_ref().map(|fd| fd.as_fd())
    }

    /// Opens what is read when a command has ended, while there is time.
    pub(crate) fn open_counters(&self) -> io::Result<()> {
        self.counter_files().map(drop)
    }

    /// Closes what [`Group::open_counters`] has opened; it is opened again when it is needed.
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

    /// How many processes and threads are in the group; `None` where nothing counts them.
    pub(crate) fn processes(&self) -> io::Result<Option<u64>> {
        self.counter_files()?.processes()
    }

    /// CPU time of everything that runs or has run in the group.
    pub(crate) fn cpu(&self) -> io::Result<Option<Duration>> {
        self.counter_files()?.cpu()
    }

    /// What the kernel has counted so far.
    pub(crate) fn counters(&self) -> io::Result<CgroupCounters> {
        self.counter_files()?.read()
    }

    /// Ends everything in the group at once, where the kernel can (version 2, 5.14).
    pub(crate) fn kill(&self) -> bool {
        self.directories.iter().any(|directory| files::write(directory, "cgroup.kill", "1").is_ok())
    }

    /// Removes the groups; `EBUSY` as long as something runs in one.
    pub(crate) fn remove(&mut self) -> io::Result<()> {
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

    /// Makes a group in which everything has died ready for another sandbox with the same limits; `name` is for what has to be made
    /// anew. `false` if it has to be removed instead, which shows whether anything runs in it.
    ///
    /// Making and removing groups costs the kernel a quarter of a whole run. In version 2 the group is one directory, and most
    /// kernels do not set the peak of its memory back.
    pub(super) fn reuse(&mut self, name: &str) -> io::Result<bool> {
        let Some(limits) = self.limits else { return Ok(false) };
        // Where nobody has looked at it, it has not been used.
        if self.counters.get().is_none() {
            return Ok(false);
        }
        // Those count too that are dead and that nobody has waited for: once the spawner is gone, that is up to the host's process 1.
        if self.processes()? != Some(0) {
            return Ok(false);
        }
        let members = [&self.memory, &self.pids, &self.cpu].into_iter().flatten();
        if members.clone().any(|member| member.version == Version::V2)
            || members.count() != self.directories.len()
        {
            return Ok(false);
        }
        let Some(mut counters) = self.counters.take() else { return Ok(false) };
        let counted = counters.read()?;
        if counted.oom_kills > Some(0)
            || !counters.start_again(limits.memory_bytes / LEFT_OVER_PART)?
        {
            return Ok(false);
        }
        self.start = if counts_anew(counted) {
            counted
        } else {
            self.renew_pids(name, limits, &mut counters)?;
            counters.read()?
        };
        self.counters = OnceLock::from(counters);
        Ok(true)
    }

    /// Another group to count processes in: the peak of the old one cannot be set back.
    fn renew_pids(
        &mut self,
        name: &str,
        limits: GroupLimits,
        counters: &mut CounterFiles,
    ) -> io::Result<()> {
        let Some(pids) = &mut self.pids else { return Ok(()) };
        fs::remove_dir(&pids.directory)?;
        let place = self.directories.iter().position(|directory| *directory == pids.directory);
        let directory = pids.directory.with_file_name(name);
        fs::create_dir(&directory)?;
        pids.directory.clone_from(&directory);
        if let Some(place) = place
            && let (Some(slot), Some(tasks)) =
                (self.directories.get_mut(place), self.tasks.get_mut(place))
        {
            slot.clone_from(&directory);
            *tasks = OpenOptions::new().write(true).open(directory.join("tasks"))?.into();
        }
        files::write(&directory, "pids.max", &limits.processes.to_string())?;
        counters.watch_processes(pids)
    }

    /// Where the groups are, for messages.
    pub(crate) fn describe(&self) -> String {
        self.directories
            .iter()
            .map(|directory| directory.display().to_string())
            .collect::<Vec<_>>()
            .join(", ")
    }
}
