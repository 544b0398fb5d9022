//! The context of an attack: the host objects to attack, and the report of the attempts.

use core::ffi::CStr;

use super::report::TextBuffer;
use super::sys::{self, SysError};

/// The arguments of a program, in the order of the command line.
pub(crate) struct AttackContext {
    pub(crate) name: &'static CStr,
    /// The secret prefix of every report line.
    pub(crate) mark: &'static CStr,
    /// A process of the host that must survive.
    pub(crate) pid: i32,
    /// A file of the host that must be neither read nor changed.
    pub(crate) file: &'static CStr,
    /// A TCP port of the host's loopback with a listener.
    pub(crate) tcp: u16,
    /// A UDP port of the host's loopback with a listener.
    pub(crate) udp: u16,
    /// The name of an abstract socket with a listener.
    pub(crate) abstract_name: &'static CStr,
    /// The path of a socket with a listener.
    pub(crate) socket: &'static CStr,
    /// A writable directory.
    pub(crate) work_dir: &'static CStr,
    /// The further parameter of this attack.
    pub(crate) parameter: &'static CStr,
}

impl AttackContext {
    /// Parses the arguments of a program.
    pub(crate) fn from_arguments(arguments: &[&'static CStr]) -> Option<Self> {
        let mut arguments = arguments.iter().copied();
        let name = arguments.next()?;
        let mut next = || arguments.next().unwrap_or_default();
        Some(Self {
            name,
            mark: next(),
            pid: i32::try_from(parse_number(next())).ok()?,
            file: next(),
            tcp: u16::try_from(parse_number(next())).ok()?,
            udp: u16::try_from(parse_number(next())).ok()?,
            abstract_name: next(),
            socket: next(),
            work_dir: next(),
            parameter: next(),
        })
    }

    fn line(&self, kind: &[u8]) -> TextBuffer {
        let mut line = TextBuffer::new();
        line.push(self.mark.to_bytes()).push(b" ").push(kind);
        line
    }

    /// Reports that the program runs.
    pub(crate) fn begin(&self) {
        self.line(b"begin").write();
    }

    /// Reports that every attempt was made, and exits.
    pub(crate) fn end(&self) -> ! {
        self.line(b"end").write();
        sys::exit(0)
    }

    /// Reports an attempt with its error number, or with 0 if it succeeded.
    pub(crate) fn report_attempt<T>(&self, what: &[u8], result: &Result<T, SysError>) {
        let errno = match result {
            Ok(_) => 0,
            Err(error) => u64::from(error.0.unsigned_abs()),
        };
        self.line(b"tried ").push(what).push(b" ").number(errno).write();
    }

    /// Reports harm.
    pub(crate) fn report_harm(&self, what: &[u8]) {
        self.line(b"harm ").push(what).write();
    }

    /// Reports something for the host to judge.
    pub(crate) fn report_finding(&self, what: &[u8]) {
        self.line(b"found ").push(what).write();
    }

    /// Reports that the attack could not be prepared, and exits.
    pub(crate) fn abort_setup(&self, what: &[u8], error: SysError) -> ! {
        self.line(b"broken ")
            .push(what)
            .push(b" ")
            .number(u64::from(error.0.unsigned_abs()))
            .write();
        sys::exit(3)
    }

    /// Returns a path in the writable directory.
    pub(crate) fn path_in_work_dir(&self, name: &[u8]) -> TextBuffer {
        let mut path = TextBuffer::new();
        path.push(self.work_dir.to_bytes()).push(b"/").push(name);
        path
    }
}

/// Parses a decimal number. Returns 0 if the text is not one.
pub(crate) fn parse_number(text: &CStr) -> u64 {
    text.to_bytes()
        .iter()
        .try_fold(0u64, |sum, byte| {
            let digit = byte.checked_sub(b'0').filter(|digit| *digit < 10)?;
            sum.checked_mul(10)?.checked_add(u64::from(digit))
        })
        .unwrap_or_default()
}
