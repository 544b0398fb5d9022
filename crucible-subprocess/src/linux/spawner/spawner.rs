//! The spawner of an engine, restarted if it ends.

use std::os::fd::{BorrowedFd, OwnedFd};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crucible_core::EngineError;
use crucible_guest::protocol::{InitFlags, PacketKind, SandboxPlan};
use crucible_guest_client::errors::{lost, protocol, setup};
use rustix::io::Errno;

use super::guest_program::sealed_program;
use super::packet_socket::encode_packet;
use super::process::{SpawnerConfig, SpawnerProcess};
use crate::linux::audit::Auditor;

/// The spawner of an engine.
#[derive(Debug)]
pub(crate) struct Spawner {
    config: SpawnerConfig,
    program: Arc<OwnedFd>,
    /// Receives the calls that the filter stops.
    auditor: Arc<Auditor>,
    process: Mutex<Option<SpawnerProcess>>,
}

/// The reason why the spawner did not get a request.
#[derive(Debug)]
pub(crate) enum SpawnError {
    /// The socket is full. The caller may try again.
    Busy,
    /// The spawner has ended. [`Spawner::restart`] starts it again.
    Gone,
    /// Another error.
    Failed(EngineError),
}

impl SpawnError {
    /// Returns the error for a caller that does not try again. The next requested sandbox restarts
    /// the spawner.
    pub(crate) fn into_error(self, doing: &str) -> EngineError {
        match self {
            Self::Failed(error) => error,
            Self::Busy | Self::Gone => lost(doing, false),
        }
    }
}

impl Spawner {
    /// Starts the spawner, which builds the root template.
    pub(crate) fn start(config: SpawnerConfig, auditor: Arc<Auditor>) -> Result<Self, EngineError> {
        let program = Arc::new(sealed_program()?);
        let spawner = Self { config, program, auditor, process: Mutex::new(None) };
        spawner.restart()?;
        Ok(spawner)
    }

    /// Returns a spawner with one more flag. It starts with its first sandbox.
    pub(crate) fn dormant_with(&self, flag: InitFlags) -> Self {
        let config = SpawnerConfig { flags: self.config.flags.with(flag), ..self.config.clone() };
        let (program, auditor) = (Arc::clone(&self.program), Arc::clone(&self.auditor));
        Self { config, program, auditor, process: Mutex::new(None) }
    }

    fn process(&self) -> MutexGuard<'_, Option<SpawnerProcess>> {
        // The process is replaced as a whole, so the value is consistent after a panic.
        self.process.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Starts the spawner if it has ended. Blocks for a few milliseconds.
    pub(crate) fn restart(&self) -> Result<(), EngineError> {
        let mut process = self.process();
        if let Some(running) = process.as_mut() {
            match running.child.try_wait() {
                Ok(None) => return Ok(()),
                Ok(Some(status)) => tracing::warn!(%status, "the spawner ended; restarting it"),
                Err(error) => tracing::warn!(%error, "the spawner is lost; restarting it"),
            }
        }
        *process = None;
        *process = Some(SpawnerProcess::start(&self.program, &self.config, &self.auditor)?);
        Ok(())
    }

    /// Requests a sandbox. Never blocks.
    pub(crate) fn open(
        &self,
        plan: &SandboxPlan,
        fds: &[BorrowedFd<'_>],
    ) -> Result<(), SpawnError> {
        let mut packet = [0; 64];
        let length = encode_packet(&mut packet, PacketKind::Open, |writer| plan.encode(writer))
            .map_err(SpawnError::Failed)?;
        let process = self.process();
        let Some(process) = process.as_ref() else { return Err(SpawnError::Gone) };
        match process.post(packet.get(..length).unwrap_or_default(), fds) {
            Ok(()) => Ok(()),
            Err(Errno::AGAIN) => Err(SpawnError::Busy),
            Err(Errno::PIPE | Errno::CONNRESET) => Err(SpawnError::Gone),
            Err(error) => Err(SpawnError::Failed(setup("ask the spawner for a sandbox", error))),
        }
    }

    /// Creates a network namespace. Blocks until the spawner has sent it.
    pub(crate) fn create_network(&self) -> Result<OwnedFd, EngineError> {
        let process = self.process();
        let Some(process) = process.as_ref() else {
            return Err(EngineError::Closed { what: "the spawner".to_owned() });
        };
        process
            .request(PacketKind::MakeNetwork, |_| Ok(()))?
            .ok_or_else(|| protocol("the spawner sent no namespace", false))
    }

    /// Returns `true` if the spawner is alive.
    pub(crate) fn is_alive(&self) -> bool {
        self.process().as_mut().is_some_and(|process| matches!(process.child.try_wait(), Ok(None)))
    }

    /// Ends the spawner and all its guests. Blocks until the spawner has ended.
    pub(crate) fn stop(&self) {
        *self.process() = None;
    }
}
