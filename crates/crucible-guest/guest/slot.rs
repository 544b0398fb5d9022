//! A slot: what sandboxes that follow one another share, kept by a small process outside of them.
//!
//! Kept are the user, network and UTS namespaces, and what nobody in them can ever do: an empty bounding set, locked secure bits,
//! `no_new_privs`, the filter. Each sandbox has pid, mount and IPC namespaces of its own, its own files and processes, and whatever cgroups
//! come along. Its guest is a child that runs in the slot's memory, with nothing to be copied, and while it does the slot sleeps;
//! when the kernel has reaped it, which it does last of all in the sandbox, the slot says so and may open the next.

use core::sync::atomic::AtomicI32;

use super::control::Control;
use super::errno::{Errno, retry};
use super::memory::Once;
use super::open::{Joined, namespaces_of_a_sandbox};
use super::sandbox::{self, Inherited, Opening};
use super::serve::Guest;
use super::spawn::{At as _, StepError};
use super::sys::{self, Fd, Fds};
use crate::protocol::{FrameKind, SandboxPlan, Step, WireReader};

/// The guest's stack: its largest buffers there have some KiB.
#[repr(C, align(16))]
struct Stack([u8; 256 * 1024]);

static STACK: Once<Stack> = Once::new(Stack([0; 256 * 1024]));

/// Longer than any plan.
const PLAN_MAX: usize = 128;

struct Slot {
    control: Control,
    stack: &'static mut Stack,
    /// A pipe that only the slot writes to, which it never does: its end tells a guest that the slot is gone.
    life: (Fd, Fd),
    /// A pipe with the key in it: a guest that shares our memory is to forget it.
    key: (Fd, Fd),
}

/// Sets the slot up, and serves until the host is gone.
pub(crate) fn main(inherited: &Inherited) -> ! {
    let served = Slot::new(inherited).and_then(|mut slot| slot.serve());
    if let Err(StepError(step, error)) = served {
        // If the host cannot be told, it is gone.
        let _told = inherited.control.fail(0, step, error);
        sys::exit(1)
    }
    sys::exit(0)
}

impl Slot {
    fn new(inherited: &Inherited) -> core::result::Result<Self, StepError> {
        let control = sandbox::become_slot(inherited)?;
        let stack = STACK.take().ok_or(StepError(Step::SLOT, Errno::BUSY))?;
        let life = sys::pipe().at(Step::SLOT)?;
        let key = sys::pipe().at(Step::SLOT)?;
        sys::hide_key(key.1).at(Step::SLOT)?;
        sys::forget_key();
        Ok(Self { control, stack, life, key })
    }

    fn serve(&mut self) -> core::result::Result<(), StepError> {
        let mut buffer = [0; PLAN_MAX];
        loop {
            let Some((header, mut fds)) = self.control.read_frame(&mut buffer).at(Step::REQUEST)?
            else {
                return Ok(());
            };
            let payload = buffer.get(..header.length as usize).unwrap_or_default();
            match (header.kind, SandboxPlan::decode(&mut WireReader::new(payload))) {
                (FrameKind::Next, Ok(plan)) => self.open(&plan, &mut fds)?,
                // The last sandbox ended by itself, and the host did not know yet.
                (FrameKind::Close, _) => return Ok(()),
                _ => return Err(StepError(Step::REQUEST, Errno::PROTO)),
            }
        }
    }

    /// Opens a sandbox, and returns when it has ended.
    fn open(&mut self, plan: &SandboxPlan, fds: &mut Fds) -> core::result::Result<(), StepError> {
        let Joined { cgroup, tasks, .. } = Joined::new(plan, fds.as_slice())?;
        let mut opening = Opening {
            plan: *plan,
            control: self.control,
            tasks,
            life: self.life,
            pid: AtomicI32::new(0),
        };
        sys::recall_key(self.key.0).at(Step::SLOT)?;
        sys::hide_key(self.key.1).at(Step::SLOT)?;
        let flags = namespaces_of_a_sandbox(plan);
        let ended =
            sys::vfork_into(flags, cgroup, &mut self.stack.0, guest, &mut opening, |opening| {
                opening.pid.as_ptr()
            });
        // One that was killed may not have come to it.
        sys::forget_key();
        ended.at(Step::CLONE)?;
        let reaped = retry(sys::reap_next).at(Step::CLONE)?;
        // SAFETY: the guest took it, and has been reaped.
        unsafe { Guest::give_back_memory() };
        fds.close();
        self.control
            .answer(FrameKind::SandboxExited, 0, |writer| writer.i32(reaped.status))
            .at(Step::REQUEST)
    }
}

/// The guest's first function. It runs in the slot's memory, on a stack of its own.
extern "C" fn guest(opening: *mut u8) -> ! {
    // SAFETY: `Slot::open` passes an `Opening`, which it keeps alive and does not touch until this process has ended.
    let opening = unsafe { &*opening.cast::<Opening>() };
    sandbox::main_in_slot(opening)
}
