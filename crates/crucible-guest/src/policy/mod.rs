//! The policy on system calls: which are refused to whom runs in a sandbox, how, why, and which refusals are reported.
//!
//! The rules are in `rules.rs`, what was looked at and is allowed in `considered.rs`. The guest compiles the rules into
//! the filter that the kernel enforces; the host names what was refused by them; `docs/seccomp.md` is written from them.
//! Numbers are those of x86-64.

mod allowed;
mod rules;

pub use allowed::{ALLOWED, AllowedCalls};
pub use rules::RULES;

/// The architecture as seccomp names it: `AUDIT_ARCH_X86_64` (linux/audit.h).
pub const ARCHITECTURE: u32 = 0xC000_003E;
/// Calls of the x32 ABI have this bit in their number (`__X32_SYSCALL_BIT`) ...
pub const FOREIGN_FIRST: u32 = 0x4000_0000;
/// ... and no more than these numbers beyond it. What lies further is no call in any ABI.
pub const FOREIGN_LAST: u32 = FOREIGN_FIRST + 0x3ff;
/// The newest call that the policy was reviewed for (Linux 6.17: `file_setattr`). What is newer does not exist: `ENOSYS`.
pub const NEWEST_KNOWN: u32 = 469;

/// `EPERM`
pub const EPERM: u16 = 1;
/// `ENOSYS`: as if the kernel had no such call. Libraries know what to do then.
pub const ENOSYS: u16 = 38;
/// `EAFNOSUPPORT`
pub const EAFNOSUPPORT: u16 = 97;
/// The call does nothing and says that it did.
pub const PRETEND: u16 = 0;

/// What is answered to a call that a rule is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Action {
    /// It is let through, whatever a later rule says of it.
    Allow,
    /// It fails with this error number, and that is all.
    Refuse(u16),
    /// It fails with this error number, and the outcome says so: no ordinary program makes this call.
    Report(u16),
}

/// What must hold for a rule to be about a call. Only the low half of an argument is compared: the kernel takes all of
/// these as 32-bit numbers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Condition {
    /// An argument is one of these.
    OneOf(u8, &'static [u32]),
    /// An argument has any of these bits.
    AnyBit(u8, u32),
    /// An argument, a pointer, is not null: all of its 64 bits count.
    NotNull(u8),
    /// An argument is `AF_INET` or `AF_INET6`, in a sandbox whose network policy admits them.
    Inet(u8),
}

/// One line of the policy. Of the rules on a call the first whose tests all hold counts; where none does, the call is
/// allowed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Rule {
    /// The call's number.
    pub number: u32,
    /// The call's name.
    pub name: &'static str,
    /// What must hold; nothing, and the rule is about every call with this number.
    pub conditions: &'static [Condition],
    /// The tests in words, to go after the name.
    pub which: &'static str,
    /// What is answered.
    pub action: Action,
    /// Why.
    pub reason: &'static Reason,
}

/// Why calls are refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Reason {
    /// What these calls have in common.
    pub title: &'static str,
    /// The families of attacks that they serve, as the attack suite names them.
    pub attacks: &'static str,
    /// What they would do for an attacker, with examples of what kernels got wrong.
    pub why: &'static str,
}

/// A refused call that is reported: a rule of the policy, by its place in the list, or the use of another ABI.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Violation(u16);

/// Beyond every rule.
const FOREIGN: Violation = Violation(u16::MAX);

impl Violation {
    /// What a call is that the kernel says was stopped by the filter: its number, its ABI, its arguments. `None`: no rule
    /// reports it.
    #[must_use]
    pub fn of(architecture: u32, number: u32, arguments: &[u64; 6]) -> Option<Self> {
        if architecture != ARCHITECTURE || (FOREIGN_FIRST..=FOREIGN_LAST).contains(&number) {
            return Some(FOREIGN);
        }
        let place =
            RULES.iter().position(|rule| rule.number == number && rule.is_about(arguments))?;
        match RULES.get(place)?.action {
            Action::Report(_) => u16::try_from(place).ok().map(Self),
            Action::Allow | Action::Refuse(_) => None,
        }
    }

    fn rule(self) -> Option<&'static Rule> {
        RULES.get(usize::from(self.0))
    }

    /// The error number that the call fails with.
    #[must_use]
    pub fn errno(self) -> u16 {
        match self.rule().map(|rule| rule.action) {
            Some(Action::Report(errno) | Action::Refuse(errno)) => errno,
            Some(Action::Allow) | None => ENOSYS,
        }
    }

    /// The name of the call, as manuals have it.
    #[must_use]
    pub fn name(self) -> &'static str {
        self.rule().map_or("a call of another ABI (i386, x32)", |rule| rule.name)
    }

    /// What about the call was not allowed, to go after its name; empty if it never is.
    #[must_use]
    pub fn which(self) -> &'static str {
        self.rule().map_or("", |rule| rule.which)
    }

    /// Whether the name is that of a system call.
    #[must_use]
    pub fn is_call(self) -> bool {
        self.rule().is_some()
    }
}

impl Rule {
    /// Whether the rule is about a call of its number with these arguments, in a sandbox without a network.
    #[must_use]
    pub fn is_about(&self, arguments: &[u64; 6]) -> bool {
        self.conditions.iter().all(|test| test.holds(arguments))
    }
}

impl Condition {
    #[expect(clippy::cast_possible_truncation, reason = "the low half is what is compared")]
    fn holds(self, arguments: &[u64; 6]) -> bool {
        let argument = |index: u8| arguments.get(usize::from(index)).copied().unwrap_or_default();
        match self {
            Self::OneOf(index, values) => values.contains(&(argument(index) as u32)),
            Self::AnyBit(index, bits) => argument(index) as u32 & bits != 0,
            Self::NotNull(index) => argument(index) != 0,
            Self::Inet(_) => false,
        }
    }
}
