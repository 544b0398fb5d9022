//! The configuration of an engine.

use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use crucible_core::{Endpoint, EngineError, InvalidInput, Language, Layer, Problem};

use crate::SubprocessEngine;
use crate::resolver::{Resolver, SystemResolver};
use crate::root_fs::RootFs;
use crate::slot_sharing::SlotSharing;

/// The layers that cannot be waived, because the other layers depend on them.
const ESSENTIAL: [Layer; 7] = [
    Layer::UserNamespace,
    Layer::PidNamespace,
    Layer::MountNamespace,
    Layer::NoNewPrivileges,
    Layer::Capabilities,
    Layer::ReadOnlyRoot,
    Layer::BoundedDisk,
];

/// The maximum number of ready sandboxes of one size, and ready interpreters of one kind. With four
/// sizes and kinds each, they use half of an engine's user ids.
const READY_MAX: usize = 128;

/// Builder of a [`SubprocessEngine`]. The defaults are the strictest configuration:
///
/// | | default | why |
/// | --- | --- | --- |
/// | layers | all of them | a missing layer is an error, never a weaker sandbox |
/// | `root` | [`RootFs::host`] | no image is needed |
/// | `cgroup_parent` | `crucible` | beneath the host's own cgroup, see `docs/host-setup.md` |
/// | `runtime_directory` | `/run/crucible` | contains locks only, removed by a reboot |
/// | `drain_deadline` | 250 ms | a command's own output is in the pipe when it ends |
/// | `resolver` | the host's own | names in allow-lists mean the same inside and outside |
/// | `resolve` | nothing | an allow-list leads to public addresses only |
/// | `ready_sandboxes` | 0 | a ready sandbox holds memory, a cgroup and user ids |
/// | `slots` | 0 | as above |
/// | `slot_sharing` | all | a sandbox passes no state to the next one |
/// | `ready_age` | 60 s | hosts that run few programs should not hold sandboxes |
/// | `ready_interpreters` | no language | each holds as much memory as a running one |
/// | `ready_interpreter_count` | one per CPU | more cannot start in parallel |
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
    /// Creates a builder with the defaults listed at [`SubprocessBuilder`].
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Sets the root file system of sandboxes.
    #[must_use]
    pub fn root(mut self, root: RootFs) -> Self {
        self.root = root;
        self
    }

    /// Waives a layer: it is *off*, and every outcome reports it. [`build`](Self::build) refuses to
    /// waive essential layers.
    ///
    /// Consequences:
    /// - without `memory_cgroup`, memory is limited per process (`RLIMIT_AS`), and exceeding the
    ///   limit is never a verdict;
    /// - without `pids_cgroup`, `RLIMIT_NPROC` limits the number of processes, and exceeding the
    ///   limit is never a verdict;
    /// - without `cpu_cgroup`, CPU time is sampled from `/proc`, which misses processes that end
    ///   between two samples;
    /// - without `dedicated_user`, all programs run as one user.
    #[must_use]
    pub fn waive(mut self, layer: Layer) -> Self {
        self.waived.insert(layer);
        self
    }

    /// Sets the cgroup beneath which this engine creates its own groups.
    ///
    /// A relative name is created beneath the host's own cgroup (version 1) or beneath the root
    /// (version 2, as root). With version 2 as an ordinary user or in a container, it is created
    /// beneath the group that is delegated to the host. An absolute path, for example beneath
    /// `/sys/fs/cgroup`, is used as it is.
    #[must_use]
    pub fn cgroup_parent(mut self, parent: impl Into<PathBuf>) -> Self {
        self.cgroup_parent = parent.into();
        self
    }

    /// Sets the directory for locks that keep the user ids of several hosts on one machine apart.
    #[must_use]
    pub fn runtime_directory(mut self, directory: impl Into<PathBuf>) -> Self {
        self.runtime_directory = directory.into();
        self
    }

    /// Sets how long the engine waits for more output after the end of a command, while a
    /// background process holds its pipes open.
    #[must_use]
    pub fn drain_deadline(mut self, deadline: Duration) -> Self {
        self.drain_deadline = deadline;
        self
    }

    /// Sets the resolver of allow-listed names. The engine connects to public addresses only,
    /// whatever the resolver returns.
    #[must_use]
    pub fn resolver(mut self, resolver: impl Resolver) -> Self {
        self.resolver = Arc::new(resolver);
        self
    }

    /// Sets the address of an allow-listed endpoint, in place of the resolver: for example of an
    /// internal mirror.
    ///
    /// **This is the only way to an address that is not public**, and the engine does not check the
    /// address: programs whose allow-list has the endpoint reach the service at that address. Other
    /// programs are not affected.
    #[must_use]
    pub fn resolve(mut self, endpoint: Endpoint, address: SocketAddr) -> Self {
        self.pins.push((endpoint, address));
        self
    }

    /// Sets how many sandboxes are opened ahead of time, of each of the last four requested sizes.
    ///
    /// A size consists of the memory, process, disk and inode limits. A ready sandbox saves its
    /// caller the time to open one. Each is used once, and the engine opens another in the
    /// background. Without a ready sandbox, and for sandboxes with an allow-list, the engine opens
    /// a new one. [`SubprocessEngine::ready_sandbox_stats`] returns statistics.
    ///
    /// A ready sandbox holds some hundred KiB of kernel memory, a cgroup, and its user ids. The
    /// maximum is 128 per size.
    #[must_use]
    pub fn ready_sandboxes(mut self, sandboxes: usize) -> Self {
        self.ready_sandboxes = sandboxes;
        self
    }

    /// Sets how many slots are kept, of each of the last four requested sizes.
    ///
    /// Slots are for hosts that run more programs than their CPUs can run in parallel. A slot is a
    /// small process outside of every sandbox. It keeps the user, network and UTS namespaces and
    /// the user ids, and opens one sandbox after another in them. Each sandbox has its own pid,
    /// mount and IPC namespaces, files and processes, and counters that start at zero. That takes
    /// half of the CPU time of a new sandbox, and the next sandbox is always ready.
    ///
    /// A program that takes over the guest agent in its sandbox also controls the slot and its
    /// later sandboxes: see `docs/security.md` and [`slot_sharing`](Self::slot_sharing).
    ///
    /// Only [`run`](crucible_core::Engine::run) uses slots; sessions do not. A slot is replaced
    /// after 1,000 sandboxes, and after each irregular one: a limit that ended the program, a call
    /// that the filter refused, a guest that did not end by itself. Without a free slot, and for
    /// sandboxes with an allow-list, the evaluation gets a [ready sandbox](Self::ready_sandboxes)
    /// or a new one.
    /// [`SubprocessEngine::slot_stats`] returns statistics.
    ///
    /// Configure some more slots than programs that run in parallel. The maximum is 128 per size.
    #[must_use]
    pub fn slots(mut self, slots: usize) -> Self {
        self.slots = slots;
        self
    }

    /// Sets which evaluations may use a slot one after another.
    #[must_use]
    pub fn slot_sharing(mut self, sharing: SlotSharing) -> Self {
        self.slot_sharing = sharing;
        self
    }

    /// Starts interpreters of a language ahead of time. They import these modules and wait for a
    /// program.
    ///
    /// Each interpreter waits in its own sandbox, with every layer, and runs one program. So no
    /// program's data is ever in the memory of another program, and each has its own hash seed and
    /// address layout. The time of the start does not count as the program's.
    ///
    /// The program finds the usual `__main__`, `sys.argv`, `sys.path`, environment and input. The
    /// modules are already in `sys.modules`. If a module cannot be imported, the program's own
    /// import reports it. Objects that a program adds to one of these modules are released later
    /// than usual, when the interpreter cannot print any more.
    ///
    /// An evaluation runs without a ready interpreter if:
    /// - no interpreter is ready;
    /// - it collects files or has an allow-list;
    /// - it sets a variable that an interpreter reads when it starts (such as `PATH`, `HOME`,
    ///   `PYTHON…`, `LD_…`, `LC_…`, `LANG`, `TZ`);
    /// - [`Layer::CpuCgroup`] is waived.
    ///
    /// [`SubprocessEngine::ready_interpreter_stats`] returns statistics.
    ///
    /// The host enforces every limit as usual. The guest's own wall deadline, for a stopped host,
    /// is missing, because it would have to be set before the evaluation is known.
    ///
    /// Only Python 3 is supported, run as `python3 FILE`: [`build`](Self::build) refuses others.
    #[must_use]
    pub fn ready_interpreters<S: Into<String>>(
        mut self,
        language: Language,
        modules: impl IntoIterator<Item = S>,
    ) -> Self {
        self.ready_interpreters.push((language, modules.into_iter().map(Into::into).collect()));
        self
    }

    /// Sets how many interpreters wait, of each of the last four requested pairs of a language and
    /// limits.
    #[must_use]
    pub fn ready_interpreter_count(mut self, interpreters: usize) -> Self {
        self.ready_interpreter_count = interpreters;
        self
    }

    /// Sets how long a ready sandbox, a slot or a ready interpreter waits for a program.
    ///
    /// After that time it is closed, and the engine opens no more of its size until the next
    /// request. The engine checks the age every five seconds.
    #[must_use]
    pub fn ready_age(mut self, age: Duration) -> Self {
        self.ready_age = age;
        self
    }

    /// Creates the engine: starts its spawner, and opens a first sandbox to check every layer.
    /// Blocks for a few milliseconds.
    ///
    /// # Errors
    /// - [`EngineError::LayerUnavailable`] names every missing layer and its fix;
    /// - [`EngineError::Invalid`] names invalid settings, such as an essential layer in
    ///   [`waive`](Self::waive);
    /// - [`EngineError::Setup`] names the step that failed.
    pub fn build(self) -> Result<SubprocessEngine, EngineError> {
        let counts = [
            ("ready_sandboxes", self.ready_sandboxes),
            ("slots", self.slots),
            ("ready_interpreter_count", self.ready_interpreter_count),
        ];
        let too_many =
            counts.into_iter().filter(|(_, count)| *count > READY_MAX).map(|(field, count)| {
                Problem::new(field, format!("is {count}; the maximum is {READY_MAX}"))
            });
        let problems = self.waived.iter().filter(|layer| ESSENTIAL.contains(layer)).map(|layer| {
            let message = format!("names `{layer}`, without which this engine cannot run anything");
            Problem::new("waive", message)
        });
        InvalidInput::check(problems.chain(too_many).collect())?;
        SubprocessEngine::from_builder(self)
    }
}
