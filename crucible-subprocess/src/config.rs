//! How an engine is made.

use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use crucible_core::{Endpoint, EngineError, Language, Layer};

use crate::os::SubprocessEngine;
use crate::resolver::{Resolver, SystemResolver};
use crate::root_fs::RootFs;

/// Layers that this engine is built on: without one of them it could not keep its other promises.
const ESSENTIAL: [Layer; 7] = [
    Layer::UserNamespace,
    Layer::PidNamespace,
    Layer::MountNamespace,
    Layer::NoNewPrivileges,
    Layer::Capabilities,
    Layer::ReadOnlyRoot,
    Layer::BoundedDisk,
];

/// The most sandboxes of a size, and interpreters of a kind, that are kept for those to come: of four each, they hold half of the user ids that an
/// engine has.
const PREOPEN_MAX: usize = 128;

/// Who may follow whom in a slot.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[non_exhaustive]
pub enum SlotSharing {
    /// Anybody: what a sandbox leaves to the next is the same namespaces without anything in them, and the same user ids.
    #[default]
    All,
    /// Evaluations of one tenant only: for another tenant a slot is ended, and a new one made.
    Tenant,
}

/// How a [`SubprocessEngine`] is made. Closed by default:
///
/// | | default | why |
/// | --- | --- | --- |
/// | layers | all of them | a layer that is missing is an error, never a weaker sandbox |
/// | `root` | [`RootFs::host`] | no image is needed |
/// | `cgroup_parent` | `crucible` | beneath the host's own cgroup where the kernel allows, see `docs/host-setup.md` |
/// | `runtime_directory` | `/run/crucible` | holds locks only, gone with a reboot |
/// | `drain_deadline` | 250 ms | what a command wrote is in the pipe when it ends; what comes later is others' |
/// | `resolver` | the host's own | names of allow-lists mean inside what they mean outside |
/// | `resolve` | nothing | an allow-list leads to public addresses only |
/// | `preopen` | 0 | a sandbox that waits holds memory, a cgroup and user ids |
/// | `slots` | 0 | as above |
/// | `slot_sharing` | all | nothing of a sandbox is in the next |
/// | `ready_age` | 60 s | who asks seldom has them for nothing |
/// | `warm` | no language | an interpreter that waits holds as much memory as one that runs |
/// | `ready_interpreter_count` | one for each CPU | more cannot start at once |
#[derive(Debug, Clone)]
pub struct SubprocessBuilder {
    pub(crate) root: RootFs,
    pub(crate) waived: BTreeSet<Layer>,
    pub(crate) cgroup_parent: PathBuf,
    pub(crate) runtime_directory: PathBuf,
    pub(crate) drain_deadline: Duration,
    pub(crate) resolver: Arc<dyn Resolver>,
    pub(crate) pins: Vec<(Endpoint, SocketAddr)>,
    pub(crate) ready_sandboxes: usize,
    pub(crate) ready_age: Duration,
    pub(crate) slots: usize,
    pub(crate) slot_sharing: SlotSharing,
    pub(crate) ready_interpreters: Vec<(Language, Vec<String>)>,
    pub(crate) ready_interpreter_count: usize,
}

impl Default for SubprocessBuilder {
    fn default() -> Self {
        Self {
            root: RootFs::host(),
            waived: BTreeSet::new(),
            cgroup_parent: PathBuf::from("crucible"),
            runtime_directory: PathBuf::from("/run/crucible"),
            drain_deadline: Duration::from_millis(250),
            resolver: Arc::new(SystemResolver),
            pins: Vec::new(),
            ready_sandboxes: 0,
            ready_age: Duration::from_secs(60),
            slots: 0,
            slot_sharing: SlotSharing::default(),
            ready_interpreters: Vec::new(),
            ready_interpreter_count: std::thread::available_parallelism()
                .map_or(1, std::num::NonZero::get),
        }
    }
}

impl SubprocessBuilder {
    /// The defaults listed at [`SubprocessBuilder`].
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Sets the root file system that programs see.
    #[must_use]
    pub fn root(mut self, root: RootFs) -> Self {
        self.root = root;
        self
    }

    /// Gives a layer up: it is *off*, and every outcome says so. Some layers cannot be given up; then
    /// [`build`](Self::build) says which.
    ///
    /// What is lost: without `memory_cgroup` memory is limited for each process only (`RLIMIT_AS`) and never a verdict;
    /// without `pids_cgroup` the number of processes is limited by `RLIMIT_NPROC` and never a verdict; without
    /// `cpu_cgroup` CPU time is sampled from `/proc`, which misses what ended unobserved; without `dedicated_user` all
    /// programs run as one user.
    #[must_use]
    pub fn waive(mut self, layer: Layer) -> Self {
        self.waived.insert(layer);
        self
    }

    /// Names the cgroup beneath which this engine makes its own: a relative name is put beneath the host's own cgroup
    /// (version 1), the root (version 2, as root), or the group that was delegated to the host (version 2, as an ordinary
    /// user or in a container); an absolute path, beneath `/sys/fs/cgroup` say, is taken as it is.
    #[must_use]
    pub fn cgroup_parent(mut self, parent: impl Into<PathBuf>) -> Self {
        self.cgroup_parent = parent.into();
        self
    }

    /// Names the directory for locks that keep the user ids of several hosts on one machine apart.
    #[must_use]
    pub fn runtime_directory(mut self, directory: impl Into<PathBuf>) -> Self {
        self.runtime_directory = directory.into();
        self
    }

    /// Sets how long the output of a command is waited for after its end, while something that it left behind holds its
    /// pipes open.
    #[must_use]
    pub fn drain_deadline(mut self, deadline: Duration) -> Self {
        self.drain_deadline = deadline;
        self
    }

    /// Sets how names of allow-lists are resolved. Whatever it finds, only public addresses are connected to.
    #[must_use]
    pub fn resolver(mut self, resolver: impl Resolver) -> Self {
        self.resolver = Arc::new(resolver);
        self
    }

    /// Says where an endpoint of allow-lists is, in place of the resolver: a mirror within the house, say.
    ///
    /// **This is the only way to an address that is not public**, and the address is not checked: programs whose allow-list
    /// has the endpoint reach whatever answers there. For all others nothing changes.
    #[must_use]
    pub fn resolve(mut self, endpoint: Endpoint, address: SocketAddr) -> Self {
        self.pins.push((endpoint, address));
        self
    }

    /// Keeps so many sandboxes open that nobody has asked for yet, of each of the (at most four) sizes that were asked for last:
    /// memory, processes, disk and inodes of the limits. Whoever asks for one then need not wait for it. Each is used once; another is
    /// opened in its place in the background. Where there is none, and for sandboxes with an allow-list, one is opened as without this.
    /// [`SubprocessEngine::ready_sandbox_stats`] counts.
    ///
    /// One that waits holds some hundred KiB of the kernel's memory, a cgroup, and its user ids; 128 of a size are the most.
    #[must_use]
    pub fn ready_sandboxes(mut self, sandboxes: usize) -> Self {
        self.ready_sandboxes = sandboxes;
        self
    }

    /// Keeps so many slots, of each of the (at most four) sizes that were asked for last: for hosts that run more than their processors
    /// can, one after another. A slot is a small process outside of every sandbox that keeps the user, network and UTS namespace and the
    /// user ids, and opens sandboxes in them one after another: each has pid, mount and IPC namespaces, files and processes of its own, and
    /// counters that begin anew. That takes half of the processor time of a sandbox that is made from nothing, and the next one always
    /// stands already.
    ///
    /// Somebody who takes the guest over, our own process in the sandbox, has the slot and those that follow in it: see `docs/security.md`
    /// and [`slot_sharing`](Self::slot_sharing).
    ///
    /// They are for [`run`](crucible_core::Engine::run); a sandbox that is opened for a session is none of theirs. A slot is ended, and
    /// another made in its place, after 1,000 sandboxes, and after any in which something was not as it should be: a limit that ended it, a
    /// call that the filter refused, a guest that did not end by itself. Where no slot is free, and for sandboxes with an allow-list, the
    /// evaluation has a sandbox that is [opened ahead](Self::ready_sandboxes) or made for it. [`SubprocessEngine::slot_stats`] counts.
    ///
    /// There should be some more than run at once; 128 of a size are the most.
    #[must_use]
    pub fn slots(mut self, slots: usize) -> Self {
        self.slots = slots;
        self
    }

    /// Sets who may follow whom in a slot.
    #[must_use]
    pub fn slot_sharing(mut self, sharing: SlotSharing) -> Self {
        self.slot_sharing = sharing;
        self
    }

    /// Keeps interpreters of a language started that have imported these modules and wait for a program, so that an evaluation in that
    /// language need not wait for the interpreter. Each waits in a sandbox of its own, with every layer, and runs one program: nothing of
    /// one program's is ever in the memory of another's, and each has its own hash seed and layout of addresses. What it took to start is
    /// not counted as the program's time.
    ///
    /// The program finds what it would find otherwise: `__main__`, `sys.argv`, `sys.path`, its environment, its input. What differs is
    /// that the modules are in `sys.modules` already. A module that cannot be imported is left to the program's own import.
    /// What a program puts into one of them is let go later at its end than it would be, when nothing can be printed any more.
    ///
    /// An evaluation is run cold, as without this, if no interpreter waits; if it brings files out (`collect`) or has an allow-list; if it
    /// sets a variable that an interpreter reads when it starts (`PATH`, `HOME`, `PYTHON…`, `LD_…`, `LC_…`, `LANG`, `TZ` among them); and where
    /// [`Layer::CpuCgroup`] is waived. [`SubprocessEngine::ready_interpreter_stats`] counts.
    ///
    /// Every limit is the host's to enforce, as ever; what is not there is the guest's own wall deadline, for a host that has stopped: it would
    /// have to be set before it is known.
    ///
    /// Only Python 3 can wait, run as `python3 FILE`: [`build`](Self::build) refuses others.
    #[must_use]
    pub fn ready_interpreters<S: Into<String>>(
        mut self,
        language: Language,
        modules: impl IntoIterator<Item = S>,
    ) -> Self {
        self.ready_interpreters.push((language, modules.into_iter().map(Into::into).collect()));
        self
    }

    /// Sets how many interpreters wait, of each of the (at most four) pairs of a language and limits that were asked for last.
    #[must_use]
    pub fn ready_interpreter_count(mut self, interpreters: usize) -> Self {
        self.ready_interpreter_count = interpreters;
        self
    }

    /// Sets for how long a sandbox waits that was opened ahead of time, in a slot or not, or an interpreter that was started. After that it is closed, and no more are opened of its size
    /// until one is asked for. It is looked at every five seconds.
    #[must_use]
    pub fn ready_age(mut self, age: Duration) -> Self {
        self.ready_age = age;
        self
    }

    /// Makes the engine: starts its spawner and opens a first sandbox to see that every layer holds. Blocks for a few
    /// milliseconds.
    ///
    /// # Errors
    /// [`EngineError::LayerUnavailable`] names every layer that cannot be had and what mends it;
    /// [`EngineError::Invalid`] a layer that cannot be waived; [`EngineError::Setup`] the step that failed.
    pub fn build(self) -> Result<SubprocessEngine, EngineError> {
        let counts = [
            ("ready_sandboxes", self.ready_sandboxes),
            ("slots", self.slots),
            ("ready_interpreter_count", self.ready_interpreter_count),
        ];
        let too_many =
            counts.into_iter().filter(|(_, count)| *count > PREOPEN_MAX).map(|(field, count)| {
                crucible_core::Problem::new(
                    field,
                    format!("is {count}; {PREOPEN_MAX} are the most"),
                )
            });
        let problems = self.waived.iter().filter(|layer| ESSENTIAL.contains(layer)).map(|layer| {
            let message = format!("names `{layer}`, without which this engine cannot run anything");
            crucible_core::Problem::new("waive", message)
        });
        crucible_core::InvalidInput::check(problems.chain(too_many).collect())?;
        SubprocessEngine::from_builder(self)
    }
}
