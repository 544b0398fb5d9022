//! A running guest and the host's side of its channel. Every wait has a deadline.

use std::fs::File;
use std::io::{Read as _, Write as _};
use std::os::fd::AsRawFd as _;
use std::path::PathBuf;
use std::process::{Child, ChildStdin, ChildStdout, Command, ExitStatus, Stdio};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::time::{Duration, Instant};

use crucible_guest::protocol::{
    Exited, Failure, FrameKind, HEADER_SIZE, Header, OnExit, PAYLOAD_MAX_TO_HOST, Ready, Started,
    VERSION,
};

use super::requests::{encode, exec};

/// The deadline of every wait.
pub(crate) const PATIENCE: Duration = Duration::from_secs(20);

/// A frame from the guest.
#[derive(Debug)]
pub(crate) struct Frame {
    pub(crate) kind: FrameKind,
    pub(crate) id: u32,
    pub(crate) payload: Vec<u8>,
}

/// The end of a command and its output.
#[derive(Debug)]
pub(crate) struct Ended {
    pub(crate) exited: Exited,
    pub(crate) stdout: Vec<u8>,
    pub(crate) stderr: Vec<u8>,
}

/// A guest that serves in a directory of its own, within a directory of this test. Dropping it
/// kills the guest and removes both directories.
#[derive(Debug)]
pub(crate) struct Guest {
    pub(crate) directory: PathBuf,
    child: Child,
    requests: Option<ChildStdin>,
    frames: Receiver<Frame>,
    last_id: u32,
}

/// Returns the program as a memory file. A child of another test could have a file on disk open for
/// writing, which makes execve(2) fail.
fn program() -> &'static File {
    static PROGRAM: OnceLock<File> = OnceLock::new();
    PROGRAM.get_or_init(|| {
        let memory = rustix::fs::memfd_create("guest", rustix::fs::MemfdFlags::CLOEXEC).unwrap();
        let mut file = File::from(memory);
        file.write_all(crucible_guest::BINARY.unwrap()).unwrap();
        file
    })
}

fn new_directory() -> PathBuf {
    static COUNT: AtomicU32 = AtomicU32::new(0);
    let number = COUNT.fetch_add(1, Ordering::Relaxed);
    let around =
        std::env::temp_dir().join(format!("crucible-serve-{}-{number}", std::process::id()));
    let path = around.join("guest");
    std::fs::create_dir_all(&path).unwrap();
    path
}

impl Guest {
    /// Starts a guest and waits for its `Ready` frame.
    pub(crate) fn start() -> Self {
        let directory = new_directory();
        let mut child = Command::new(format!("/proc/self/fd/{}", program().as_raw_fd()))
            .args(["serve", "--here"])
            .current_dir(&directory)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let (sender, frames) = channel();
        let output = child.stdout.take().unwrap();
        std::thread::spawn(move || read_frames(output, &sender));
        let requests = child.stdin.take();
        let guest = Self { directory, child, requests, frames, last_id: 0 };
        let frame = guest.next();
        assert_eq!((frame.kind, frame.id), (FrameKind::Ready, 0));
        let ready = Ready::decode(&frame.payload).unwrap();
        assert_eq!(ready.version, VERSION);
        assert!(ready.status.starts_with(b"Name:"), "{:?}", String::from_utf8_lossy(ready.status));
        guest
    }

    /// Waits for the next frame.
    #[track_caller]
    pub(crate) fn next(&self) -> Frame {
        self.frames.recv_timeout(PATIENCE).unwrap()
    }

    /// Sends raw bytes. Ignores errors, because the guest may have ended.
    pub(crate) fn send_raw(&mut self, bytes: &[u8]) {
        let _sent = self.requests.as_mut().unwrap().write_all(bytes);
    }

    /// Sends a request under a new id.
    pub(crate) fn send(&mut self, kind: FrameKind, payload: &[u8]) -> u32 {
        self.last_id += 1;
        self.send_as(self.last_id, kind, payload);
        self.last_id
    }

    pub(crate) fn send_as(&mut self, id: u32, kind: FrameKind, payload: &[u8]) {
        let length = u32::try_from(payload.len()).unwrap();
        let mut frame = encode(|writer| Header { kind, id, length }.encode(writer));
        frame.extend_from_slice(payload);
        self.send_raw(&frame);
    }

    /// Requests a command with framed streams.
    pub(crate) fn ask(&mut self, argv: &[&str], on_exit: OnExit) -> u32 {
        self.send(FrameKind::Exec, &exec(argv, on_exit, 0))
    }

    /// Starts a shell script and returns its request's id and its process id.
    #[track_caller]
    pub(crate) fn start_shell(&mut self, script: &str, on_exit: OnExit) -> (u32, u32) {
        let id = self.ask(&["/bin/sh", "-c", script], on_exit);
        (id, self.started(id))
    }

    /// Waits for the `Started` frame of a command and returns its process id.
    #[track_caller]
    pub(crate) fn started(&self, id: u32) -> u32 {
        let frame = self.next();
        assert_eq!((frame.kind, frame.id), (FrameKind::Started, id), "{frame:?}");
        Started::decode(&frame.payload).unwrap().pid
    }

    /// Collects output until the command has ended.
    #[track_caller]
    pub(crate) fn finish(&self, id: u32) -> Ended {
        let (mut stdout, mut stderr) = (Vec::new(), Vec::new());
        loop {
            let frame = self.next();
            match frame.kind {
                FrameKind::Stdout => stdout.extend(frame.payload),
                FrameKind::Stderr => stderr.extend(frame.payload),
                FrameKind::Exited => {
                    assert_eq!(frame.id, id);
                    return Ended {
                        exited: Exited::decode(&frame.payload).unwrap(),
                        stdout,
                        stderr,
                    };
                }
                other => panic!("{other:?} while a command runs"),
            }
        }
    }

    /// Collects output until the command and its remaining processes have ended.
    #[track_caller]
    pub(crate) fn finish_all(&self, id: u32) -> Ended {
        let ended = self.finish(id);
        if !ended.exited.empty {
            let empty = self.next();
            assert_eq!((empty.kind, empty.id), (FrameKind::Empty, id), "{empty:?}");
        }
        ended
    }

    /// Runs a shell script until it and its remaining processes have ended.
    #[track_caller]
    pub(crate) fn shell(&mut self, script: &str) -> Ended {
        let (id, _) = self.start_shell(script, OnExit::KillBackground);
        self.finish_all(id)
    }

    /// Waits for the `Failed` frame of a request.
    #[track_caller]
    pub(crate) fn failure(&self, id: u32) -> Failure {
        let frame = self.next();
        assert_eq!((frame.kind, frame.id), (FrameKind::Failed, id), "{frame:?}");
        Failure::decode(&frame.payload).unwrap()
    }

    /// Closes the host's end of the channel.
    pub(crate) fn hang_up(&mut self) {
        self.requests = None;
    }

    /// Waits until the guest has ended and returns its status.
    #[track_caller]
    pub(crate) fn wait(&mut self) -> ExitStatus {
        let began = Instant::now();
        loop {
            if let Some(status) = self.child.try_wait().unwrap() {
                return status;
            }
            assert!(began.elapsed() < PATIENCE, "the guest is still alive");
            std::thread::sleep(Duration::from_millis(2));
        }
    }
}

impl Drop for Guest {
    fn drop(&mut self) {
        self.hang_up();
        // The guest ends by itself now. If it does not, the test has already failed.
        let _killed = self.child.kill();
        let _reaped = self.child.wait();
        let _removed = std::fs::remove_dir_all(self.directory.parent().unwrap());
    }
}

fn read_frames(mut output: ChildStdout, sender: &Sender<Frame>) {
    let mut header = [0; HEADER_SIZE];
    while output.read_exact(&mut header).is_ok() {
        let Header { kind, id, length } = Header::decode(&header, PAYLOAD_MAX_TO_HOST).unwrap();
        let mut payload = vec![0; usize::try_from(length).unwrap()];
        output.read_exact(&mut payload).unwrap();
        if sender.send(Frame { kind, id, payload }).is_err() {
            return;
        }
    }
}
