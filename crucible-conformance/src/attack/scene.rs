//! What is on the host for an attack to reach, and what became of it.

use std::fs;
use std::io;
use std::net::{TcpListener, UdpSocket};
use std::os::linux::net::SocketAddrExt as _;
use std::os::unix::net::{SocketAddr, UnixListener};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::atomic::{AtomicU64, Ordering};

use super::entry::{Attack, Needs, SharedKind};

/// The scene of an attack cannot be set up.
#[derive(Debug, thiserror::Error)]
pub enum SceneError {
    /// The programs are for Linux on x86-64.
    #[error("the attacks are programs for Linux on x86-64")]
    NoPrograms,
    /// The host does not let us.
    #[error("cannot {what}")]
    Setup {
        /// What cannot be done.
        what: &'static str,
        /// Why.
        #[source]
        source: io::Error,
    },
}

pub(super) fn setup(what: &'static str) -> impl FnOnce(io::Error) -> SceneError {
    move |source| SceneError::Setup { what, source }
}

/// What is on the host for one attack to reach. Everything is made for it alone, and goes when this is dropped.
#[derive(Debug)]
pub(super) struct Scene {
    /// Nobody else's: it tells whose a line or a process is.
    pub(super) mark: String,
    directory: tempfile::TempDir,
    file: PathBuf,
    secret: String,
    bystander: Child,
    /// The bystander lives until this is closed.
    _life: Option<ChildStdin>,
    tcp: TcpListener,
    udp: UdpSocket,
    abstract_name: String,
    abstract_socket: UnixListener,
    socket: UnixListener,
    host_name: String,
    /// What the attack is told besides.
    pub(super) extra: String,
    shared: Option<Shared>,
    /// What removes that which the attack left for the next, if it does.
    leaves: Option<PathBuf>,
    _leaked: Option<fs::File>,
}

/// A memory segment and a message queue of the host; removed when dropped.
#[derive(Debug)]
struct Shared {
    program: PathBuf,
    key: String,
    queue: String,
}

impl Drop for Shared {
    fn drop(&mut self) {
        // Nobody can be told. What stays is a page of memory, under a number that is never used again.
        let _status =
            Command::new(&self.program).args(["unshare", &self.key, &self.queue]).status();
    }
}

/// A number that no other scene of this process has.
fn number() -> u64 {
    static NEXT: AtomicU64 = AtomicU64::new(1);
    NEXT.fetch_add(1, Ordering::Relaxed)
}

impl Scene {
    /// Sets a scene up, in a thread that may block.
    pub(super) async fn set_up(program: &Path, attack: &Attack) -> Result<Self, SceneError> {
        let (program, attack) = (program.to_owned(), attack.clone());
        let made = tokio::task::spawn_blocking(move || Self::new(&program, &attack)).await;
        made.map_err(|error| setup("set the scene up")(io::Error::other(error)))?
    }

    fn new(program: &Path, attack: &Attack) -> Result<Self, SceneError> {
        let mark = format!("m{:x}x{:x}", std::process::id(), number());
        let directory = tempfile::tempdir().map_err(setup("make a directory"))?;
        let open_to_all = std::os::unix::fs::PermissionsExt::from_mode(0o777);
        fs::set_permissions(directory.path(), open_to_all).map_err(setup("open a directory"))?;
        let (file, place) = (directory.path().join("canary"), directory.path().join("place"));
        fs::create_dir(&place).map_err(setup("make a directory"))?;
        let secret = format!("the secret of {mark}");
        fs::write(&file, &secret).map_err(setup("write a file"))?;
        let mut bystander = Command::new(program)
            .arg("bystander")
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .spawn()
            .map_err(setup("start a process"))?;
        let life = bystander.stdin.take();
        let tcp = TcpListener::bind("127.0.0.1:0").map_err(setup("listen on the loopback"))?;
        tcp.set_nonblocking(true).map_err(setup("listen on the loopback"))?;
        let udp = UdpSocket::bind("127.0.0.1:0").map_err(setup("listen on the loopback"))?;
        udp.set_nonblocking(true).map_err(setup("listen on the loopback"))?;
        let abstract_name = format!("crucible-{mark}");
        let address =
            SocketAddr::from_abstract_name(&abstract_name).map_err(setup("name a socket"))?;
        let abstract_socket =
            UnixListener::bind_addr(&address).map_err(setup("listen on a socket"))?;
        abstract_socket.set_nonblocking(true).map_err(setup("listen on a socket"))?;
        let socket = UnixListener::bind(directory.path().join("socket"))
            .map_err(setup("listen on a socket"))?;
        socket.set_nonblocking(true).map_err(setup("listen on a socket"))?;
        let (extra, shared) = Self::extra(program, attack, &mark)?;
        let leaked = match attack.needs {
            Needs::LeakedDescriptor => Some(leak(&file)?),
            _ => None,
        };
        Ok(Self {
            file,
            secret,
            bystander,
            _life: life,
            tcp,
            udp,
            abstract_name,
            abstract_socket,
            socket,
            host_name: host_name(),
            extra,
            shared,
            leaves: matches!(attack.needs, Needs::Twice).then(|| program.to_owned()),
            mark,
            directory,
            _leaked: leaked,
        })
    }

    fn extra(
        program: &Path,
        attack: &Attack,
        mark: &str,
    ) -> Result<(String, Option<Shared>), SceneError> {
        match &attack.needs {
            Needs::Twice => Ok((format!("left{mark}"), None)),
            Needs::Results(_, count) => Ok((count.to_string(), None)),
            Needs::Caller => {
                let port =
                    TcpListener::bind("127.0.0.1:0").and_then(|listener| listener.local_addr());
                Ok((port.map_err(setup("find a free port"))?.port().to_string(), None))
            }
            Needs::Shared(kind) => {
                let key = (u64::from(std::process::id()) << 8 | number() & 0xff) & 0x7fff_ffff;
                let shared = Shared {
                    program: program.to_owned(),
                    key: key.to_string(),
                    queue: format!("crucible-{mark}"),
                };
                let made =
                    Command::new(program).args(["share", &shared.key, &shared.queue]).status();
                let made = made.map_err(setup("make a memory segment"))?;
                if !made.success() {
                    let refused = io::Error::other("the kernel refuses it");
                    return Err(setup("make a memory segment and a message queue")(refused));
                }
                let extra = match kind {
                    SharedKind::Segment => shared.key.clone(),
                    SharedKind::Queue => shared.queue.clone(),
                };
                Ok((extra, Some(shared)))
            }
            Needs::Nothing | Needs::LeakedDescriptor => Ok(("none".to_owned(), None)),
        }
    }

    /// A directory of the host that the attack may write to, where nothing isolates it.
    pub(super) fn place(&self) -> PathBuf {
        self.directory.path().join("place")
    }

    /// The arguments of the program.
    pub(super) fn arguments(&self, attack: &Attack, place: &Path) -> Vec<String> {
        let port = |address: io::Result<std::net::SocketAddr>| {
            address.map_or(0, |address| address.port()).to_string()
        };
        vec![
            attack.name.to_owned(),
            self.mark.clone(),
            self.bystander.id().to_string(),
            self.file.display().to_string(),
            port(self.tcp.local_addr()),
            port(self.udp.local_addr()),
            self.abstract_name.clone(),
            self.directory.path().join("socket").display().to_string(),
            place.display().to_string(),
            self.extra.clone(),
        ]
    }

    /// The harm that can be seen from here, given what the program wrote.
    pub(super) fn harm(&mut self, written: &[&[u8]]) -> Vec<String> {
        let mut harm = Vec::new();
        let mut add = |harmed: bool, what: &str| {
            if harmed {
                harm.push(what.to_owned());
            }
        };
        let secret = self.secret.as_bytes();
        let told = written.iter().any(|text| text.windows(secret.len()).any(|part| part == secret));
        add(told, "a file of the host was read");
        let kept = fs::read(&self.file).is_ok_and(|content| content == secret);
        add(!kept, "a file of the host was changed");
        add(!matches!(self.bystander.try_wait(), Ok(None)), "a process of the host was ended");
        add(self.tcp.accept().is_ok(), "a connection came in (TCP)");
        add(self.udp.recv(&mut [0; 64]).is_ok(), "a datagram came in (UDP)");
        add(self.abstract_socket.accept().is_ok(), "a connection came in (abstract socket)");
        add(self.socket.accept().is_ok(), "a connection came in (socket file)");
        add(host_name() != self.host_name, "the host has another name");
        add(!self.left_behind().is_empty(), "a process is left");
        harm
    }

    /// The processes of the attack, by their command lines.
    pub(super) fn left_behind(&self) -> Vec<i32> {
        let entries = fs::read_dir("/proc").into_iter().flatten().flatten();
        let processes = entries.filter_map(|entry| entry.file_name().to_str()?.parse::<i32>().ok());
        processes
            .filter(|pid| {
                let line = fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
                line.windows(self.mark.len()).any(|part| part == self.mark.as_bytes())
            })
            .collect()
    }
}

impl Drop for Scene {
    fn drop(&mut self) {
        drop(self.shared.take());
        if let Some(program) = &self.leaves {
            // As above.
            let _status = Command::new(program).args(["forget", &self.extra]).status();
        }
        // It is gone already, or ends now.
        let _killed = self.bystander.kill();
        let _reaped = self.bystander.wait();
    }
}

fn host_name() -> String {
    fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default()
}

/// A descriptor that every program started from here inherits, unless somebody closes it.
fn leak(path: &Path) -> Result<fs::File, SceneError> {
    let file = fs::File::open(path).map_err(setup("open a file"))?;
    rustix::io::fcntl_setfd(&file, rustix::io::FdFlags::empty())
        .map_err(|error| setup("keep a descriptor open")(error.into()))?;
    Ok(file)
}
