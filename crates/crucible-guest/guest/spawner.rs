//! The spawner: the process that opens the sandboxes of one engine.
//!
//! It has no secret, runs outside every sandbox, and reads only what the host sends. When its
//! socket hangs up, the host has ended, for whatever reason. Then the spawner ends, and with it
//! every guest.

use super::factory::{SandboxFactory, SeccompListener};
use super::host_channel::HostChannel;
use super::root_template::RootTemplate;
use super::static_cell::StaticCell;
use super::step_error::{AtStep as _, StepError, StepResult};
use super::sys::{self, Errno, Fd, Fds, Result, retry};
use crate::protocol::{
    Failure, Init, PACKET_MAX, PacketKind, SandboxPlan, SealReply, Step, TemplateOp, WireReader,
    WireWriter,
};

/// The socket to the host.
const HOST: Fd = Fd(0);

static PACKET: StaticCell<[u8; PACKET_MAX]> = StaticCell::new([0; PACKET_MAX]);

/// Runs the role.
pub(crate) fn main() -> ! {
    sys::set_name(c"crucible-spawn");
    match prepare().and_then(|()| serve()) {
        // On an error the host has ended, or is unreachable.
        Ok(()) => sys::exit(0),
        Err(_) => sys::exit(1),
    }
}

/// Resets the state inherited from the host's process: signal dispositions, file descriptors,
/// umask.
fn prepare() -> Result<()> {
    sys::reset_signals()?;
    // The spawner does not wait for guests: the host observes their end through their pidfds.
    sys::ignore_children()?;
    sys::umask(0);
    sys::close_from(3)
}

/// The progress of the spawner's setup.
enum SpawnerStage {
    Fresh,
    Building(RootTemplate),
    Ready(SandboxFactory),
}

fn serve() -> Result<()> {
    let Some(packet) = PACKET.take() else { return Err(Errno::BUSY) };
    let mut stage = SpawnerStage::Fresh;
    loop {
        let (count, mut fds) = retry(|| sys::receive(HOST, packet))?;
        if count == 0 {
            return Ok(());
        }
        let mut reader = WireReader::new(packet.get(..count).unwrap_or_default());
        let kind = reader.u8().ok().and_then(PacketKind::from_number);
        stage = match (kind, stage) {
            (Some(PacketKind::Init), SpawnerStage::Fresh) => begin(&mut reader)?,
            (Some(PacketKind::Template), SpawnerStage::Building(template)) => {
                reply(apply(&template, &mut reader))?;
                SpawnerStage::Building(template)
            }
            (Some(PacketKind::Seal), SpawnerStage::Building(template)) => seal(template)?,
            (Some(PacketKind::Open), SpawnerStage::Ready(factory)) => {
                open(&factory, &mut reader, &fds);
                SpawnerStage::Ready(factory)
            }
            (Some(PacketKind::MakeNetwork), SpawnerStage::Ready(factory)) => {
                make_network(&factory)?;
                SpawnerStage::Ready(factory)
            }
            (_, stage) => {
                reply(Err(StepError::MALFORMED))?;
                stage
            }
        };
        fds.close();
    }
}

fn begin(reader: &mut WireReader<'_>) -> Result<SpawnerStage> {
    let template = Init::decode(reader)
        .map_err(|_| StepError::MALFORMED)
        .and_then(|init| RootTemplate::begin(&init));
    match template {
        Ok(template) => {
            reply(Ok(()))?;
            Ok(SpawnerStage::Building(template))
        }
        Err(error) => {
            reply(Err(error))?;
            Ok(SpawnerStage::Fresh)
        }
    }
}

fn apply(template: &RootTemplate, reader: &mut WireReader<'_>) -> StepResult<()> {
    let op = TemplateOp::decode(reader).map_err(|_| StepError::MALFORMED)?;
    template.apply(&op).at(Step::TEMPLATE)
}

/// Enters the template and loads the filter. Only the host keeps the listener: a guest with access
/// to it could approve refused calls.
fn seal(template: RootTemplate) -> Result<SpawnerStage> {
    let (factory, listener) = match template.seal().and_then(SandboxFactory::new) {
        Ok(sealed) => sealed,
        Err(error) => {
            reply(Err(error))?;
            return Ok(SpawnerStage::Fresh);
        }
    };
    let (fd, no_listener) = match listener {
        SeccompListener::Present(fd) => (Some(fd), 0),
        SeccompListener::Unavailable(error) => (None, error.0),
        SeccompListener::NotRequested => (None, 0),
    };
    let mut bytes = [0; 4];
    let mut writer = WireWriter::new(&mut bytes);
    SealReply { no_listener }.encode(&mut writer).map_err(|_| Errno::INVAL)?;
    let sent = send(PacketKind::Sealed, writer.written(), fd);
    if let Some(fd) = fd {
        sys::close(fd);
    }
    sent.map(|()| SpawnerStage::Ready(factory))
}

/// Opens a sandbox. Errors go to the sandbox's own socket, on which the host listens.
fn open(factory: &SandboxFactory, reader: &mut WireReader<'_>, fds: &Fds) {
    let Some(socket) = fds.as_slice().first() else { return };
    let channel = HostChannel::socket(*socket);
    let opened = match SandboxPlan::decode(reader) {
        Ok(plan) => factory.open(&plan, channel, fds.as_slice().get(1..).unwrap_or_default()),
        Err(_) => Err(StepError::MALFORMED),
    };
    if let Err(StepError(step, error)) = opened {
        // A failure to send means that the host has closed its end and needs no answer.
        let _sent = channel.fail(0, step, error);
    }
}

fn make_network(factory: &SandboxFactory) -> Result<()> {
    match factory.make_network() {
        Ok(namespace) => {
            let sent = send(PacketKind::Done, &[], Some(namespace));
            sys::close(namespace);
            sent
        }
        Err(error) => reply(Err(error)),
    }
}

fn reply(result: StepResult<()>) -> Result<()> {
    match result {
        Ok(()) => send(PacketKind::Done, &[], None),
        Err(StepError(step, error)) => {
            let mut bytes = [0; 8];
            let mut writer = WireWriter::new(&mut bytes);
            Failure { step, errno: error.0 }.encode(&mut writer).map_err(|_| Errno::INVAL)?;
            send(PacketKind::Failed, writer.written(), None)
        }
    }
}

fn send(kind: PacketKind, body: &[u8], fd: Option<Fd>) -> Result<()> {
    retry(|| sys::send(HOST, &[kind as u8], body, fd)).map(drop)
}
