//! The handle of an open sandbox.

use std::os::fd::OwnedFd;
use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;
use crucible_core::{
    Command, Endpoint, EngineError, ExecOptions, ExecOutcome, Limits, Listing, PlannedFile,
    Sandbox, SandboxPath, Usage,
};
use crucible_guest_client::errors::{lost, setup};
use crucible_guest_client::{GuestSandboxExt as _, SETUP_TIMEOUT};

use super::context::SandboxContext;
use super::exec::exec;
use super::open_sandbox::OpenSandbox;
use super::reservation_guard::ReservationGuard;
use crate::linux::channel::{ChannelParts, GuestSocket};
use crate::linux::egress::EgressProxy;
use crate::linux::interpreter::{InterpreterStreams, ReadyLanguage, WaitingInterpreter};
use crate::linux::resources::Reservation;
use crate::linux::teardown::Remnants;

/// An open sandbox. Dropping it without [`close`](Sandbox::close) ends it in the background.
#[derive(Debug)]
pub(crate) struct SubprocessSandbox {
    context: Arc<SandboxContext>,
    /// `None` once the sandbox is closed.
    open: Option<OpenSandbox>,
}

impl SubprocessSandbox {
    /// Adopts a sandbox that is ready or starting. `channel` is the host's end of its channel.
    ///
    /// The guest ends when the host closes its end, so a failure leaves no guest behind.
    pub(crate) fn adopt(
        context: &Arc<SandboxContext>,
        guard: ReservationGuard,
        channel: OwnedFd,
        limits: Limits,
    ) -> Result<Self, EngineError> {
        let socket =
            GuestSocket::new(channel).map_err(|error| setup("create the guest's socket", error))?;
        let Some(reservation) = guard.into_reservation() else {
            return Err(lost("opening a sandbox", false));
        };
        Ok(Self::new(context, reservation, limits, socket))
    }

    /// Creates a sandbox with its guest at the other end of `socket`.
    pub(crate) fn new(
        context: &Arc<SandboxContext>,
        reservation: Reservation,
        limits: Limits,
        socket: GuestSocket,
    ) -> Self {
        let open = OpenSandbox::new(reservation, limits, socket);
        Self { context: Arc::clone(context), open: Some(open) }
    }

    /// Waits for the sandbox's egress listener, and starts the proxy on it.
    pub(crate) async fn start_proxy(&mut self, endpoints: &[Endpoint]) -> Result<(), EngineError> {
        let open = self.open()?;
        let listener = tokio::time::timeout(SETUP_TIMEOUT, open.channel.egress_listener()).await;
        let listener = match listener {
            Ok(listener) => listener.map_err(|reason| reason.into_error(false))?,
            Err(_) => return Err(lost("opening a sandbox", false)),
        };
        let proxy = EgressProxy::start(listener, endpoints, Arc::clone(&self.context.resolver))?;
        if let Some(open) = &mut self.open {
            open.proxy = Some(proxy);
        }
        Ok(())
    }

    /// Sends the input files.
    pub(crate) async fn put_inputs(&self, files: &[PlannedFile]) -> Result<(), EngineError> {
        self.open()?.put_inputs(files).await
    }

    /// Adopts the interpreter in the sandbox, waits until it is ready, and sends the input files.
    /// Returns `false` if the interpreter has ended.
    pub(crate) async fn adopt_interpreter(
        &self,
        language: Arc<ReadyLanguage>,
        streams: InterpreterStreams,
        files: &[PlannedFile],
    ) -> Result<bool, EngineError> {
        let open = self.open()?;
        let waiting = WaitingInterpreter::adopt(&open.channel, language, streams);
        if !open.within(SETUP_TIMEOUT, "starting an interpreter", waiting.is_ready()).await? {
            return Ok(false);
        }
        open.put_inputs(files).await?;
        open.set_waiting(waiting);
        Ok(true)
    }

    /// Waits until the sandbox is ready and its input files are in place.
    pub(crate) async fn wait_until_ready(&self) -> Result<(), EngineError> {
        self.open()?.wait_until_ready().await
    }

    fn open(&self) -> Result<&OpenSandbox, EngineError> {
        let open = self.open.as_ref().ok_or_else(closed)?;
        open.lock.check()?;
        Ok(open)
    }

    /// Recycles the sandbox's slot if possible, or schedules the teardown.
    fn release(&mut self) {
        if let Some(open) = self.open.take_if(|open| open.is_recyclable()) {
            let slots = Arc::clone(&self.context.slots);
            slots.recycle(&self.context, open.reservation, open.channel.into_parts());
        }
        self.schedule_teardown();
    }

    fn schedule_teardown(&mut self) {
        let Some(OpenSandbox { channel, reservation, .. }) = self.open.take() else { return };
        if let Some(slot) = &reservation.slot {
            self.context.slots.discard(slot.size);
        }
        let ChannelParts { socket, guest, pidfd, mounts, .. } = channel.into_parts();
        let channel = Some(socket.into_inner());
        let remnants = Remnants { reservation, guest, pidfd, channel, mounts };
        self.context.schedule_teardown(remnants);
    }
}

#[async_trait]
impl Sandbox for SubprocessSandbox {
    async fn exec(
        &self,
        command: &Command,
        options: ExecOptions,
    ) -> Result<ExecOutcome, EngineError> {
        let open = self.open()?;
        let _turn = open.lock.acquire().await?;
        exec(&self.context, open, command, options).await
    }

    async fn write(
        &self,
        path: &SandboxPath,
        content: Bytes,
        executable: bool,
    ) -> Result<(), EngineError> {
        self.open()?.write_file(path, &content, executable).await
    }

    async fn read(&self, path: &SandboxPath, limit: u64) -> Result<Bytes, EngineError> {
        self.open()?.read_file(path, limit).await
    }

    async fn list(&self, path: &SandboxPath) -> Result<Listing, EngineError> {
        self.open()?.list_directory(path).await
    }

    async fn close(mut self: Box<Self>) -> Result<Usage, EngineError> {
        let open = self.open.as_ref().ok_or_else(closed)?;
        open.request_close().await;
        let is_closed = open.wait_until_closed().await;
        let usage = open.total_usage();
        if let Some(proxy) = self.open.as_mut().and_then(|open| open.proxy.as_mut()) {
            proxy.stop().await;
        }
        self.release();
        if is_closed { usage } else { Err(lost("closing: the guest is still alive", true)) }
    }
}

impl Drop for SubprocessSandbox {
    fn drop(&mut self) {
        if let Some(open) = &self.open {
            open.kill();
        }
        self.schedule_teardown();
    }
}

fn closed() -> EngineError {
    EngineError::Closed { what: "the sandbox".to_owned() }
}
