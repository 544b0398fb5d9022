//! The spawner: a factory of sandboxes, one an engine.
//!
//! It holds no secret, it lives outside every sandbox, and it reads only what the host sends. When its socket ends, the
//! host is gone, however it went; then the spawner ends, and with it every guest that it made.

use super::errno::{Errno, Result, retry};
use super::memory::Once;
use super::open::{Factory, Listener};
use super::sys::{self, Fd, Fds};
use super::template::Template;
use crate::protocol::{
    Failure, Init, PACKET_MAX, PacketKind, SandboxPlan, SealReply, Step, TemplateOp, WireReader,
    WireWriter,
};

/// The socket to the host.
const HOST: Fd = Fd(0);

static PACKET: Once<[u8; PACKET_MAX]> = Once::new([0; PACKET_MAX]);

/// A step that failed.
#[derive(Debug, Clone, Copy)]
pub(crate) struct StepError(pub(crate) Step, pub(crate) Errno);

/// Names the step that a system call belongs to.
pub(crate) trait At<T> {
    fn at(self, step: Step) -> core::result::Result<T, StepError>;
}

impl<T> At<T> for Result<T> {
    fn at(self, step: Step) -> core::result::Result<T, StepError> {
        self.map_err(|error| StepError(step, error))
    }
}

pub(crate) fn main() -> ! {
    sys::set_name(c"crucible-spawn");
    match prepare().and_then(|()| serve()) {
        // The host is gone, or cannot be told.
        Ok(()) => sys::exit(0),
        Err(_) => sys::exit(1),
    }
}

/// Sheds what came from the host's process: signal dispositions, descriptors, the mask for new files.
fn prepare() -> Result<()> {
    sys::reset_signals()?;
    // Guests are not waited for: the host sees their end by their pidfd.
    sys::ignore_children()?;
    sys::umask(0);
    sys::close_from(3)
}

/// What the spawner has become so far.
enum Stage {
    Fresh,
    Building(Template),
    Ready(Factory),
}

fn serve() -> Result<()> {
    let Some(packet) = PACKET.take() else { return Err(Errno::BUSY) };
    let mut stage = Stage::Fresh;
    loop {
        let (count, mut fds) = retry(|| sys::receive(HOST, packet))?;
        if count == 0 {
            return Ok(());
        }
        let mut reader = WireReader::new(packet.get(..count).unwrap_or_default());
        let kind = reader.u8().ok().and_then(PacketKind::from_number);
        stage = match (kind, stage) {
            (Some(PacketKind::Init), Stage::Fresh) => {
                answered(begin(&mut reader), Stage::Building, Stage::Fresh)?
            }
            (Some(PacketKind::Template), Stage::Building(template)) => {
                reply(apply(&template, &mut reader))?;
                Stage::Building(template)
            }
            (Some(PacketKind::Seal), Stage::Building(template)) => seal(template)?,
            (Some(PacketKind::Open), Stage::Ready(factory)) => {
                open(&factory, &mut reader, &fds);
                Stage::Ready(factory)
            }
            (Some(PacketKind::MakeNetwork), Stage::Ready(factory)) => {
                make_network(&factory)?;
                Stage::Ready(factory)
            }
            (_, stage) => {
                reply(Err(StepError(Step::REQUEST, Errno::PROTO)))?;
                stage
            }
        };
        fds.close();
    }
}

fn begin(reader: &mut WireReader<'_>) -> core::result::Result<Template, StepError> {
    let init = Init::decode(reader).map_err(|_| StepError(Step::REQUEST, Errno::PROTO))?;
    Template::begin(&init)
}

fn apply(template: &Template, reader: &mut WireReader<'_>) -> core::result::Result<(), StepError> {
    let op = TemplateOp::decode(reader).map_err(|_| StepError(Step::REQUEST, Errno::PROTO))?;
    template.apply(&op).at(Step::TEMPLATE)
}

/// Enters the template and loads the filter. Its listener is the host's alone: no guest may ever have it.
fn seal(template: Template) -> Result<Stage> {
    let (factory, listener) = match template.seal().and_then(Factory::new) {
        Ok(sealed) => sealed,
        Err(error) => {
            reply(Err(error))?;
            return Ok(Stage::Fresh);
        }
    };
    let (fd, no_listener) = match listener {
        Listener::There(fd) => (Some(fd), 0),
        Listener::Refused(error) => (None, error.0),
        Listener::NotWanted => (None, 0),
    };
    let mut bytes = [0; 4];
    let mut writer = WireWriter::new(&mut bytes);
    SealReply { no_listener }.encode(&mut writer).map_err(|_| Errno::INVAL)?;
    let sent = send(PacketKind::Sealed, writer.written(), fd);
    if let Some(fd) = fd {
        sys::close(fd);
    }
    sent.map(|()| Stage::Ready(factory))
}

/// Opens a sandbox. What fails is said over the sandbox's own socket: that is where the host listens.
fn open(factory: &Factory, reader: &mut WireReader<'_>, fds: &Fds) {
    let Some(socket) = fds.as_slice().first() else { return };
    let control = super::control::Control::socket(*socket);
    let opened = match SandboxPlan::decode(reader) {
        Ok(plan) => factory.open(&plan, control, fds.as_slice().get(1..).unwrap_or_default()),
        Err(_) => Err(StepError(Step::REQUEST, Errno::PROTO)),
    };
    if let Err(StepError(step, error)) = opened {
        // If the host cannot be told, it has closed its end and does not care.
        let _told = control.fail(0, step, error);
    }
}

fn make_network(factory: &Factory) -> Result<()> {
    match factory.make_network() {
        Ok(namespace) => {
            let sent = send(PacketKind::Done, &[], Some(namespace));
            sys::close(namespace);
            sent
        }
        Err(error) => reply(Err(error)),
    }
}

/// Answers a step that moves to another stage; one that fails leaves `otherwise`.
fn answered<T>(
    result: core::result::Result<T, StepError>,
    stage: impl FnOnce(T) -> Stage,
    otherwise: Stage,
) -> Result<Stage> {
    match result {
        Ok(value) => {
            reply(Ok(()))?;
            Ok(stage(value))
        }
        Err(error) => {
            reply(Err(error))?;
            Ok(otherwise)
        }
    }
}

fn reply(result: core::result::Result<(), StepError>) -> Result<()> {
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
