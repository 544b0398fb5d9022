//! A slot: a small process that owns what consecutive sandboxes share, outside of them.
//!
//! It owns the user, network and UTS namespaces, and the permanent restrictions of every process in
//! them: an empty bounding set, locked secure bits, `no_new_privs`, the filter. Each sandbox has
//! pid, mount and IPC namespaces, files, processes and cgroups of its own.
//!
//! A sandbox's guest is a child that runs in the slot's memory, so that nothing is copied. The slot
//! sleeps meanwhile. The kernel lets it reap the guest last of all processes in the sandbox. Then
//! the slot reports the end and can open the next sandbox.

use core::sync::atomic::AtomicI32;

use super::guest::Guest;
use super::host_channel::HostChannel;
use super::sandbox::{self, ForkContext, SlotContext, sandbox_namespaces};
use super::sandbox_fds::SandboxFds;
use super::static_cell::StaticCell;
use super::step_error::{AtStep as _, StepError, StepResult};
use super::sys::{self, Errno, Fd, Fds, retry};
use crate::protocol::{FrameKind, SandboxPlan, Step, WireReader};

/// The guest's stack. Its largest buffers on the stack have a few KiB.
#[repr(C, align(16))]
struct GuestStack([u8; 256 * 1024]);

static STACK: StaticCell<GuestStack> = StaticCell::new(GuestStack([0; 256 * 1024]));

/// More bytes than any plan has.
const PLAN_MAX: usize = 128;

struct SlotServer {
    channel: HostChannel,
    stack: &'static mut GuestStack,
    /// Both ends of a pipe. Only the slot can write to it, and never does: when it hangs up, a
    /// guest knows that the slot has ended.
    life: (Fd, Fd),
    /// Both ends of a pipe that contains the key. The guest shares the slot's memory, which must
    /// not contain the key while the guest runs.
    key: (Fd, Fd),
}

/// Sets the slot up, and serves until the host closes the channel.
pub(crate) fn main(context: &ForkContext) -> ! {
    let served = SlotServer::new(context).and_then(|mut slot| slot.serve());
    if let Err(StepError(step, error)) = served {
        // A failure to send means that the host has ended.
        let _sent = context.channel.fail(0, step, error);
        sys::exit(1)
    }
    sys::exit(0)
}

impl SlotServer {
    fn new(context: &ForkContext) -> StepResult<Self> {
        let channel = sandbox::become_slot(context)?;
        let stack = STACK.take().ok_or(StepError(Step::SLOT, Errno::BUSY))?;
        let life = sys::pipe().at(Step::SLOT)?;
        let key = sys::pipe().at(Step::SLOT)?;
        sys::store_key_in_pipe(key.1).at(Step::SLOT)?;
        sys::erase_key();
        Ok(Self { channel, stack, life, key })
    }

    fn serve(&mut self) -> StepResult<()> {
        let mut buffer = [0; PLAN_MAX];
        loop {
            let Some((header, mut fds)) = self.channel.read_frame(&mut buffer).at(Step::REQUEST)?
            else {
                return Ok(());
            };
            let payload = buffer.get(..header.length as usize).unwrap_or_default();
            match (header.kind, SandboxPlan::decode(&mut WireReader::new(payload))) {
                (FrameKind::Next, Ok(plan)) => self.open(&plan, &mut fds)?,
                // The last sandbox ended on its own before the host sent this to its guest.
                (FrameKind::Close, _) => return Ok(()),
                _ => return Err(StepError::MALFORMED),
            }
        }
    }

    /// Opens a sandbox, and returns when it has ended.
    fn open(&mut self, plan: &SandboxPlan, fds: &mut Fds) -> StepResult<()> {
        let SandboxFds { cgroup, tasks, .. } = SandboxFds::new(plan, fds.as_slice())?;
        let mut context = SlotContext {
            plan: *plan,
            channel: self.channel,
            tasks,
            life: self.life,
            pid: AtomicI32::new(0),
        };
        sys::load_key_from_pipe(self.key.0).at(Step::SLOT)?;
        sys::store_key_in_pipe(self.key.1).at(Step::SLOT)?;
        let flags = sandbox_namespaces(plan);
        let ended =
            sys::vfork_into(flags, cgroup, &mut self.stack.0, guest, &mut context, |context| {
                context.pid.as_ptr()
            });
        // A guest that was killed early may not have cleared the key.
        sys::erase_key();
        ended.at(Step::CLONE)?;
        let reaped = retry(sys::reap_next).at(Step::CLONE)?;
        // SAFETY: the guest that took the memory has been reaped.
        unsafe { Guest::give_back_memory() };
        fds.close();
        self.channel
            .answer(FrameKind::SandboxExited, 0, |writer| writer.i32(reaped.status))
            .at(Step::REQUEST)
    }
}

/// The guest's first function. It runs in the slot's memory, on a stack of its own.
extern "C" fn guest(context: *mut u8) -> ! {
    // SAFETY: `SlotServer::open` passes a `SlotContext`, which it keeps alive and does not access
    // until this process has ended.
    let context = unsafe { &*context.cast::<SlotContext>() };
    sandbox::main_in_slot(context)
}
