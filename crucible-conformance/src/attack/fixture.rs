//! The host objects that an attack can reach, and the harm done to them.

use std::fs;
use std::io;
use std::net::{TcpListener, UdpSocket};
use std::os::linux::net::SocketAddrExt as _;
use std::os::unix::fs::PermissionsExt as _;
use std::os::unix::net::{SocketAddr, UnixListener};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::atomic::{AtomicU64, Ordering};

use super::definition::{Attack, FixtureNeeds, SharedIpcKind};

/// The fixture of an attack cannot be set up.
#[derive(Debug, thiserror::Error)]
pub enum FixtureError {
    /// The target has no attack programs.
    #[error("the attacks are programs for Linux on x86-64")]
    NoPrograms,
    /// The host refused a step.
    #[error("cannot {what}")]
    Setup {
        /// The step.
        what: &'static str,
        /// The cause.
        #[source]
        source: io::Error,
    },
}

/// Returns a function that turns the failure of a step into an error.
pub(super) fn setup(what: &'static str) -> impl FnOnce(io::Error) -> FixtureError {
    move |source| FixtureError::Setup { what, source }
}

/// The host objects for one attack. Each fixture has its own, and removes them when it is dropped.
#[derive(Debug)]
pub(super) struct AttackFixture {
    /// The unique mark of this fixture: it begins each report line and is in each command line.
    pub(super) mark: String,
    directory: tempfile::TempDir,
    canary: Canary,
    bystander: Bystander,
    listeners: CanaryListeners,
    host_name: String,
    /// The further parameter of the program.
    pub(super) parameter: String,
    shared: Option<SharedIpcObjects>,
    /// The program that removes what an attack left for its second run.
    cleanup_program: Option<PathBuf>,
    _leaked: Option<fs::File>,
}

/// A file of the host that attacks must neither read nor change.
#[derive(Debug)]
struct Canary {
    path: PathBuf,
    secret: String,
}

/// A process of the host that attacks must not end.
#[derive(Debug)]
struct Bystander {
    process: Child,
    /// The process lives until this is closed.
    _stdin: Option<ChildStdin>,
}

/// Sockets of the host that attacks must not reach.
#[derive(Debug)]
struct CanaryListeners {
    tcp: TcpListener,
    udp: UdpSocket,
    abstract_name: String,
    abstract_socket: UnixListener,
    path_socket: UnixListener,
}

/// A memory segment and a message queue of the host; removed when dropped.
#[derive(Debug)]
struct SharedIpcObjects {
    program: PathBuf,
    key: String,
    queue: String,
}

impl AttackFixture {
    /// Sets a fixture up, in a thread that may block.
    pub(super) async fn set_up(program: &Path, attack: &Attack) -> Result<Self, FixtureError> {
        let (program, attack) = (program.to_owned(), attack.clone());
        let made =
            tokio::task::spawn_blocking(move || Self::set_up_blocking(&program, &attack)).await;
        made.map_err(|error| setup("set up the fixture")(io::Error::other(error)))?
    }

    fn set_up_blocking(program: &Path, attack: &Attack) -> Result<Self, FixtureError> {
        let mark = format!("m{:x}x{:x}", std::process::id(), next_number());
        let directory = tempfile::tempdir().map_err(setup("create a directory"))?;
        let open_to_all = fs::Permissions::from_mode(0o777);
        fs::set_permissions(directory.path(), open_to_all)
            .map_err(setup("change the mode of a directory"))?;
        fs::create_dir(directory.path().join("work")).map_err(setup("create a directory"))?;
        let canary = Canary::new(directory.path().join("canary"), &mark)?;
        let leaked = match attack.needs {
            FixtureNeeds::LeakedDescriptor => Some(open_inheritable(&canary.path)?),
            _ => None,
        };
        let (parameter, shared) = prepare_parameter(program, attack, &mark)?;
        let has_leftovers = matches!(attack.needs, FixtureNeeds::TwoRuns);
        Ok(Self {
            bystander: Bystander::start(program)?,
            listeners: CanaryListeners::new(directory.path(), &mark)?,
            canary,
            host_name: host_name(),
            parameter,
            shared,
            cleanup_program: has_leftovers.then(|| program.to_owned()),
            mark,
            directory,
            _leaked: leaked,
        })
    }

    /// Returns a directory of the host that the attack may write to without an engine.
    pub(super) fn work_dir(&self) -> PathBuf {
        self.directory.path().join("work")
    }

    /// Returns the arguments of the program.
    pub(super) fn arguments(&self, attack: &Attack, work_dir: &Path) -> Vec<String> {
        let port = |address: io::Result<std::net::SocketAddr>| {
            address.map_or(0, |address| address.port()).to_string()
        };
        vec![
            attack.name.to_owned(),
            self.mark.clone(),
            self.bystander.process.id().to_string(),
            self.canary.path.display().to_string(),
            port(self.listeners.tcp.local_addr()),
            port(self.listeners.udp.local_addr()),
            self.listeners.abstract_name.clone(),
            self.directory.path().join("socket").display().to_string(),
            work_dir.display().to_string(),
            self.parameter.clone(),
        ]
    }

    /// Returns the harm to the host, given the bytes that the program wrote.
    pub(super) fn observed_harm(&mut self, written: &[&[u8]]) -> Vec<String> {
        let mut harm = Vec::new();
        let mut add = |harmed: bool, what: &str| {
            if harmed {
                harm.push(what.to_owned());
            }
        };
        add(self.canary.is_in(written), "a file of the host was read");
        add(!self.canary.is_intact(), "a file of the host was changed");
        add(!self.bystander.is_alive(), "a process of the host was ended");
        let listeners = &self.listeners;
        add(listeners.tcp.accept().is_ok(), "a TCP connection reached the host");
        add(listeners.udp.recv(&mut [0; 64]).is_ok(), "a UDP datagram reached the host");
        let connected = listeners.abstract_socket.accept().is_ok();
        add(connected, "a connection reached an abstract socket of the host");
        let connected = listeners.path_socket.accept().is_ok();
        add(connected, "a connection reached a socket file of the host");
        add(host_name() != self.host_name, "the name of the host was changed");
        add(!self.surviving_processes().is_empty(), "a process survived");
        harm
    }

    /// Returns the processes of the attack, found by their command lines.
    pub(super) fn surviving_processes(&self) -> Vec<i32> {
        let entries = fs::read_dir("/proc").into_iter().flatten().flatten();
        let processes = entries.filter_map(|entry| entry.file_name().to_str()?.parse::<i32>().ok());
        processes
            .filter(|pid| {
                let line = fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
                contains(&line, self.mark.as_bytes())
            })
            .collect()
    }
}

impl Drop for AttackFixture {
    fn drop(&mut self) {
        drop(self.shared.take());
        if let Some(program) = &self.cleanup_program {
            // A drop cannot report an error.
            let _status = Command::new(program).args(["forget", &self.parameter]).status();
        }
    }
}

impl Canary {
    fn new(path: PathBuf, mark: &str) -> Result<Self, FixtureError> {
        let secret = format!("the secret of {mark}");
        fs::write(&path, &secret).map_err(setup("write a file"))?;
        Ok(Self { path, secret })
    }

    /// Returns `true` if the secret is in one of these texts.
    fn is_in(&self, written: &[&[u8]]) -> bool {
        written.iter().any(|text| contains(text, self.secret.as_bytes()))
    }

    /// Returns `true` if the file has its original content.
    fn is_intact(&self) -> bool {
        fs::read(&self.path).is_ok_and(|content| content == self.secret.as_bytes())
    }
}

impl Bystander {
    fn start(program: &Path) -> Result<Self, FixtureError> {
        let mut process = Command::new(program)
            .arg("bystander")
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .spawn()
            .map_err(setup("start a process"))?;
        let stdin = process.stdin.take();
        Ok(Self { process, _stdin: stdin })
    }

    fn is_alive(&mut self) -> bool {
        matches!(self.process.try_wait(), Ok(None))
    }
}

impl Drop for Bystander {
    fn drop(&mut self) {
        // The process may have ended already.
        let _killed = self.process.kill();
        let _reaped = self.process.wait();
    }
}

impl CanaryListeners {
    fn new(directory: &Path, mark: &str) -> Result<Self, FixtureError> {
        let listen = || setup("listen on the loopback");
        let tcp = TcpListener::bind("127.0.0.1:0").map_err(listen())?;
        tcp.set_nonblocking(true).map_err(listen())?;
        let udp = UdpSocket::bind("127.0.0.1:0").map_err(listen())?;
        udp.set_nonblocking(true).map_err(listen())?;
        let listen = || setup("listen on a Unix socket");
        let abstract_name = format!("crucible-{mark}");
        let address = SocketAddr::from_abstract_name(&abstract_name).map_err(listen())?;
        let abstract_socket = UnixListener::bind_addr(&address).map_err(listen())?;
        abstract_socket.set_nonblocking(true).map_err(listen())?;
        let path_socket = UnixListener::bind(directory.join("socket")).map_err(listen())?;
        path_socket.set_nonblocking(true).map_err(listen())?;
        Ok(Self { tcp, udp, abstract_name, abstract_socket, path_socket })
    }
}

impl SharedIpcObjects {
    fn create(program: &Path, mark: &str) -> Result<Self, FixtureError> {
        let key = (u64::from(std::process::id()) << 8 | next_number() & 0xff) & 0x7fff_ffff;
        let shared = Self {
            program: program.to_owned(),
            key: key.to_string(),
            queue: format!("crucible-{mark}"),
        };
        let status = Command::new(program).args(["share", &shared.key, &shared.queue]).status();
        let status = status.map_err(setup("create a memory segment"))?;
        if !status.success() {
            let refused = io::Error::other("the kernel refused a call");
            return Err(setup("create a memory segment and a message queue")(refused));
        }
        Ok(shared)
    }
}

impl Drop for SharedIpcObjects {
    fn drop(&mut self) {
        // A drop cannot report an error. At worst a page of memory remains, under a number that is
        // not used again.
        let _status =
            Command::new(&self.program).args(["unshare", &self.key, &self.queue]).status();
    }
}

/// Prepares what the attack needs, and returns the parameter of the program.
fn prepare_parameter(
    program: &Path,
    attack: &Attack,
    mark: &str,
) -> Result<(String, Option<SharedIpcObjects>), FixtureError> {
    match &attack.needs {
        FixtureNeeds::TwoRuns => Ok((format!("left{mark}"), None)),
        FixtureNeeds::Results(_, count) => Ok((count.to_string(), None)),
        FixtureNeeds::InboundConnection => {
            let port = TcpListener::bind("127.0.0.1:0").and_then(|listener| listener.local_addr());
            Ok((port.map_err(setup("find a free port"))?.port().to_string(), None))
        }
        FixtureNeeds::SharedIpc(kind) => {
            let shared = SharedIpcObjects::create(program, mark)?;
            let parameter = match kind {
                SharedIpcKind::Segment => shared.key.clone(),
                SharedIpcKind::Queue => shared.queue.clone(),
            };
            Ok((parameter, Some(shared)))
        }
        FixtureNeeds::Nothing | FixtureNeeds::LeakedDescriptor => Ok(("none".to_owned(), None)),
    }
}

/// Returns a number that is unique in this process.
fn next_number() -> u64 {
    static NEXT: AtomicU64 = AtomicU64::new(1);
    NEXT.fetch_add(1, Ordering::Relaxed)
}

fn contains(text: &[u8], part: &[u8]) -> bool {
    text.windows(part.len()).any(|window| window == part)
}

fn host_name() -> String {
    fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default()
}

/// Opens a file with a descriptor that child processes inherit.
fn open_inheritable(path: &Path) -> Result<fs::File, FixtureError> {
    let file = fs::File::open(path).map_err(setup("open a file"))?;
    rustix::io::fcntl_setfd(&file, rustix::io::FdFlags::empty())
        .map_err(|error| setup("clear the close-on-exec flag")(error.into()))?;
    Ok(file)
}
