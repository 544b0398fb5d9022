//! Linux signals.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// The signals of Linux on x86_64 and aarch64 (signal(7)), in the order of their numbers from 1.
const NAMES: [&str; 31] = [
    "SIGHUP",
    "SIGINT",
    "SIGQUIT",
    "SIGILL",
    "SIGTRAP",
    "SIGABRT",
    "SIGBUS",
    "SIGFPE",
    "SIGKILL",
    "SIGUSR1",
    "SIGSEGV",
    "SIGUSR2",
    "SIGPIPE",
    "SIGALRM",
    "SIGTERM",
    "SIGSTKFLT",
    "SIGCHLD",
    "SIGCONT",
    "SIGSTOP",
    "SIGTSTP",
    "SIGTTIN",
    "SIGTTOU",
    "SIGURG",
    "SIGXCPU",
    "SIGXFSZ",
    "SIGVTALRM",
    "SIGPROF",
    "SIGWINCH",
    "SIGIO",
    "SIGPWR",
    "SIGSYS",
];
/// The highest signal number (`_NSIG`); 32 and up are real-time signals, written `SIGRT32` and so
/// on.
const LAST: i32 = 64;

/// A Linux signal, stored as its number and serialized as its name.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Signal(i32);

impl Signal {
    /// `SIGINT`: the interrupt of Ctrl-C.
    pub const INT: Self = Self(2);
    /// `SIGABRT`: the signal of abort(3).
    pub const ABRT: Self = Self(6);
    /// `SIGKILL`: a signal that a program can neither catch nor ignore.
    pub const KILL: Self = Self(9);
    /// `SIGSEGV`: an invalid memory reference.
    pub const SEGV: Self = Self(11);
    /// `SIGTERM`: the request to terminate.
    pub const TERM: Self = Self(15);
    /// `SIGXCPU`: the process exceeded the CPU time limit of setrlimit(2).
    pub const XCPU: Self = Self(24);
    /// `SIGSYS`: a seccomp filter rejected a system call.
    pub const SYS: Self = Self(31);

    /// Returns the signal with a number from 1 to 64.
    #[must_use]
    pub fn from_number(number: i32) -> Option<Self> {
        (1..=LAST).contains(&number).then_some(Self(number))
    }

    /// Returns the number of the signal.
    #[must_use]
    pub fn number(self) -> i32 {
        self.0
    }
}

impl fmt::Display for Signal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match usize::try_from(self.0 - 1).ok().and_then(|index| NAMES.get(index)) {
            Some(name) => f.write_str(name),
            None => write!(f, "SIGRT{}", self.0),
        }
    }
}

impl fmt::Debug for Signal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// An error for a text that is not the name of a [`Signal`].
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{text:?} is not a signal; use a name such as `SIGTERM`")]
pub struct ParseSignalError {
    text: String,
}

impl FromStr for Signal {
    type Err = ParseSignalError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let number = match NAMES.iter().position(|name| *name == text) {
            Some(index) => i32::try_from(index).ok().map(|index| index + 1),
            None => text
                .strip_prefix("SIGRT")
                .and_then(|digits| digits.parse().ok())
                .filter(|n| *n > 31),
        };
        number
            .and_then(Self::from_number)
            .ok_or_else(|| ParseSignalError { text: text.chars().take(32).collect() })
    }
}

impl Serialize for Signal {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Signal {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = std::borrow::Cow::<'de, str>::deserialize(deserializer)?;
        text.parse().map_err(serde::de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn signal_names_and_numbers_round_trip() {
        assert_eq!(Signal::SEGV.to_string(), "SIGSEGV");
        assert_eq!(Signal::KILL.number(), 9);
        assert_eq!(Signal::SYS.to_string(), "SIGSYS");
        for number in 1..=LAST {
            let signal = Signal::from_number(number).unwrap();
            assert_eq!(signal.to_string().parse::<Signal>().unwrap(), signal);
        }
        for text in ["", "SEGV", "SIGRT31", "SIGRT65", "SIGRT", "sigkill", "9"] {
            assert!(text.parse::<Signal>().is_err(), "{text}");
        }
        assert_eq!(Signal::from_number(0), None);
        assert_eq!(Signal::from_number(65), None);
    }
}
