//! The policy on system calls: which of them a sandbox refuses, with which error, for which reason,
//! and which refusals it reports.
//!
//! The rules are in `rules.rs`, and reviewed calls that are allowed are in `allowed.rs`. The guest
//! compiles the rules into the filter that the kernel enforces. The host uses them to name refused
//! calls, and a test generates `docs/seccomp.md` from them. The numbers are those of x86-64.

mod allowed;
mod rules;

pub use allowed::{ALLOWED, AllowedCalls};
pub use rules::RULES;

/// The architecture in seccomp's notation: `AUDIT_ARCH_X86_64` (linux/audit.h).
pub const ARCHITECTURE: u32 = 0xC000_003E;
/// The first number of the x32 ABI, whose calls have this bit set (`__X32_SYSCALL_BIT`).
pub const FOREIGN_FIRST: u32 = 0x4000_0000;
/// The last number that the policy treats as x32. No ABI has calls with higher numbers.
pub const FOREIGN_LAST: u32 = FOREIGN_FIRST + 0x3ff;
/// The newest call that the policy covers (Linux 6.17: `file_setattr`). The filter answers newer
/// calls with `ENOSYS`.
pub const NEWEST_KNOWN: u32 = 469;

/// `EPERM`
pub const EPERM: u16 = 1;
/// `ENOSYS`: as if the kernel did not have the call. Libraries handle that error.
pub const ENOSYS: u16 = 38;
/// `EAFNOSUPPORT`
pub const EAFNOSUPPORT: u16 = 97;
/// The call succeeds without effect.
pub const PRETEND: u16 = 0;

/// The filter's answer to a call that matches a rule.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Action {
    /// Allows the call, regardless of later rules.
    Allow,
    /// Fails with this error number, without a report.
    Refuse(u16),
    /// Fails with this error number and reports a violation: no ordinary program makes this call.
    Report(u16),
}

/// A condition on the arguments of a call. It compares only the low half of an argument, because
/// the kernel reads all of these arguments as 32-bit numbers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Condition {
    /// The argument is one of these values.
    OneOf(u8, &'static [u32]),
    /// The argument has any of these bits set.
    AnyBit(u8, u32),
    /// The argument is a pointer and not null. All of its 64 bits count.
    NotNull(u8),
    /// The argument is `AF_INET` or `AF_INET6`, and the sandbox's network policy allows them.
    Inet(u8),
}

/// A rule of the policy. The first rule on a call whose conditions all hold applies. If none
/// applies, the call is allowed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Rule {
    /// The call's number.
    pub number: u32,
    /// The call's name.
    pub name: &'static str,
    /// The conditions. Without conditions the rule applies to every call with this number.
    pub conditions: &'static [Condition],
    /// A description of the conditions, to follow the name.
    pub which: &'static str,
    /// The answer.
    pub action: Action,
    /// The reason.
    pub reason: &'static Reason,
}

/// The reason why calls are refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Reason {
    /// The common subject of these calls.
    pub title: &'static str,
    /// The families of the attack suite that use them.
    pub attacks: &'static str,
    /// The way in which an attacker would use them, with examples of kernel vulnerabilities.
    pub why: &'static str,
}

/// A refused call that is reported: the index of a rule, or the use of another ABI.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Violation(u16);

/// The use of another ABI, which no rule has as its index.
const FOREIGN: Violation = Violation(u16::MAX);

impl Violation {
    /// Returns the violation of a call that the filter stopped, by its ABI, number and arguments;
    /// `None` if no rule reports it.
    #[must_use]
    pub fn of(architecture: u32, number: u32, arguments: &[u64; 6]) -> Option<Self> {
        if architecture != ARCHITECTURE || (FOREIGN_FIRST..=FOREIGN_LAST).contains(&number) {
            return Some(FOREIGN);
        }
        let index =
            RULES.iter().position(|rule| rule.number == number && rule.is_about(arguments))?;
        match RULES.get(index)?.action {
            Action::Report(_) => u16::try_from(index).ok().map(Self),
            Action::Allow | Action::Refuse(_) => None,
        }
    }

    fn rule(self) -> Option<&'static Rule> {
        RULES.get(usize::from(self.0))
    }

    /// Returns the error number with which the call fails.
    #[must_use]
    pub fn errno(self) -> u16 {
        match self.rule().map(|rule| rule.action) {
            Some(Action::Report(errno) | Action::Refuse(errno)) => errno,
            Some(Action::Allow) | None => ENOSYS,
        }
    }

    /// Returns the name of the call in the manual pages.
    #[must_use]
    pub fn name(self) -> &'static str {
        self.rule().map_or("a call of another ABI (i386, x32)", |rule| rule.name)
    }

    /// Returns the description of the refused arguments, to follow the name; empty if the call is
    /// always refused.
    #[must_use]
    pub fn which(self) -> &'static str {
        self.rule().map_or("", |rule| rule.which)
    }

    /// Returns `true` if the name is that of a system call.
    #[must_use]
    pub fn is_call(self) -> bool {
        self.rule().is_some()
    }
}

impl Rule {
    /// Returns `true` if the rule applies to a call of its number with these arguments, in a
    /// sandbox without a network.
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
