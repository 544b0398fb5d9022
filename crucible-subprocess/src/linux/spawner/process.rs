//! One process of the spawner, from its start to its end.

use std::os::fd::{AsRawFd as _, BorrowedFd, OwnedFd};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use crucible_core::EngineError;
use crucible_guest::protocol::{
    Failure, Init, InitFlags, Overflow, PACKET_MAX, PacketKind, SealReply, TemplateOp, WireWriter,
};
use crucible_guest_client::errors::{failed_step, protocol, setup};
use rustix::io::Errno;
use rustix::net::SendFlags;

use super::packet_socket::{PacketSocket, encode_packet};
use super::template_plan::TemplatePlan;
use crate::linux::audit::Auditor;

/// The time limit for one step. After it the spawner counts as stuck.
const STEP_TIMEOUT: Duration = Duration::from_secs(10);

/// The configuration that a spawner starts with.
#[derive(Debug, Clone)]
pub(crate) struct SpawnerConfig {
    pub(crate) flags: InitFlags,
    pub(crate) uid: u32,
    pub(crate) gid: u32,
    pub(crate) template: TemplatePlan,
}

/// A running spawner, ended on drop.
#[derive(Debug)]
pub(super) struct SpawnerProcess {
    socket: PacketSocket,
    pub(super) child: Child,
}

impl SpawnerProcess {
    /// Starts the process, has it build the root template, and seals it.
    pub(super) fn start(
        program: &OwnedFd,
        config: &SpawnerConfig,
        auditor: &Auditor,
    ) -> Result<Self, EngineError> {
        let (socket, theirs) = PacketSocket::pair(STEP_TIMEOUT)?;
        // A plain spawn, which does not copy the host's memory map. The path leads to the sealed
        // program, whatever is mounted on /proc outside.
        let child = Command::new(format!("/proc/self/fd/{}", program.as_raw_fd()))
            .arg("spawn")
            .env_clear()
            .current_dir("/")
            .stdin(Stdio::from(theirs))
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .map_err(|error| setup("start the spawner", error))?;
        let process = Self { socket, child };
        process.build_root(config)?;
        process.seal(config, auditor)?;
        Ok(process)
    }

    fn build_root(&self, config: &SpawnerConfig) -> Result<(), EngineError> {
        let mut mount_point = config.template.mount_point().as_os_str().as_encoded_bytes().to_vec();
        mount_point.push(0);
        let init = Init {
            flags: config.flags,
            uid: config.uid,
            gid: config.gid,
            mount_point: &mount_point,
        };
        self.request(PacketKind::Init, |writer| init.encode(writer))?;
        config.template.apply(|op: &TemplateOp<'_>, path: &Path| {
            let done = self.request(PacketKind::Template, |writer| op.encode(writer));
            done.map(drop).map_err(|error| match error {
                EngineError::Setup { step, source } => {
                    EngineError::Setup { step: format!("{step} ({path:?})"), source }
                }
                other => other,
            })
        })
    }

    /// Has the spawner enter the template and load its filter.
    fn seal(&self, config: &SpawnerConfig, auditor: &Auditor) -> Result<(), EngineError> {
        let (body, listener) = self.ask(PacketKind::Seal, |_| Ok(()), PacketKind::Sealed)?;
        let SealReply { no_listener } = SealReply::decode(&body).map_err(|_| malformed())?;
        match listener {
            Some(listener) => auditor.listen(listener, self.child.id()),
            None if !config.flags.has(InitFlags::SECCOMP) => {}
            None if no_listener != 0 => auditor.note_no_listener(no_listener),
            None => return Err(malformed()),
        }
        Ok(())
    }

    /// Sends a packet without waiting for an answer. Never blocks.
    pub(super) fn post(&self, packet: &[u8], fds: &[BorrowedFd<'_>]) -> Result<(), Errno> {
        self.socket.send(packet, fds, SendFlags::NOSIGNAL | SendFlags::DONTWAIT)
    }

    /// Sends a packet and waits until it is done. Returns the descriptor in the answer.
    pub(super) fn request(
        &self,
        kind: PacketKind,
        write: impl FnOnce(&mut WireWriter<'_>) -> Result<(), Overflow>,
    ) -> Result<Option<OwnedFd>, EngineError> {
        match self.ask(kind, write, PacketKind::Done)? {
            (body, fd) if body.is_empty() => Ok(fd),
            _ => Err(malformed()),
        }
    }

    /// Sends a packet and waits for an answer of the wanted kind. Returns its body and descriptor.
    fn ask(
        &self,
        kind: PacketKind,
        write: impl FnOnce(&mut WireWriter<'_>) -> Result<(), Overflow>,
        wanted: PacketKind,
    ) -> Result<(Vec<u8>, Option<OwnedFd>), EngineError> {
        let mut packet = vec![0; PACKET_MAX];
        let length = encode_packet(&mut packet, kind, write)?;
        self.socket
            .send(packet.get(..length).unwrap_or_default(), &[], SendFlags::NOSIGNAL)
            .map_err(|error| setup("send to the spawner", error))?;
        let mut answer = [0; 64];
        let (length, mut fds) = self
            .socket
            .receive(&mut answer)
            .map_err(|error| setup("receive from the spawner", error))?;
        let answer = answer.get(..length).unwrap_or_default();
        match answer.split_first() {
            Some((kind, body)) if *kind == wanted as u8 => Ok((body.to_vec(), fds.pop())),
            Some((kind, body)) if *kind == PacketKind::Failed as u8 => {
                match Failure::decode(body) {
                    Ok(failure) => Err(failed_step(failure)),
                    Err(_) => Err(malformed()),
                }
            }
            Some(_) => Err(malformed()),
            None => Err(setup(
                "receive from the spawner",
                std::io::Error::from(std::io::ErrorKind::UnexpectedEof),
            )),
        }
    }
}

impl Drop for SpawnerProcess {
    fn drop(&mut self) {
        // End of file on its socket ends the spawner. SIGKILL ends a spawner that does not react.
        if self.socket.shut_down().is_err() {
            tracing::debug!("the spawner's socket was already closed");
        }
        let pid = self.child.id();
        for _ in 0..200 {
            match self.child.try_wait() {
                Ok(None) => std::thread::sleep(Duration::from_millis(1)),
                Ok(Some(_)) => return,
                Err(error) => {
                    tracing::warn!(pid, %error, "cannot wait for the spawner");
                    return;
                }
            }
        }
        tracing::warn!(pid, "the spawner did not end by itself");
        if let Err(error) = self.child.kill().and_then(|()| self.child.wait().map(drop)) {
            tracing::error!(pid, %error, "cannot end the spawner");
        }
    }
}

fn malformed() -> EngineError {
    protocol("the spawner's answer is malformed", false)
}
