//! What surrounds an attack: what there is on the host for it to reach, and how it says what it did.

use core::ffi::CStr;

use super::report::ReportLine;
use super::sys::{self, Errno};

/// The arguments of a program, in their order.
pub(crate) struct AttackContext {
    pub(crate) name: &'static CStr,
    /// Begins every line of the report. Nobody else knows it.
    pub(crate) mark: &'static CStr,
    /// A process of the host that must live on.
    pub(crate) pid: i32,
    /// A file of the host that must be neither read nor written to.
    pub(crate) file: &'static CStr,
    /// A port of the host's loopback on which somebody listens (TCP), and one (UDP).
    pub(crate) tcp: u16,
    pub(crate) udp: u16,
    /// The name of an abstract socket on which somebody listens.
    pub(crate) abstract_name: &'static CStr,
    /// The path of a socket on which somebody listens.
    pub(crate) socket: &'static CStr,
    /// A directory that may be written to.
    pub(crate) work_dir: &'static CStr,
    /// What this attack needs besides.
    pub(crate) parameter: &'static CStr,
}

impl AttackContext {
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

    fn line(&self, kind: &[u8]) -> ReportLine {
        let mut line = ReportLine::new();
        line.push(self.mark.to_bytes()).push(b" ").push(kind);
        line
    }

    pub(crate) fn begin(&self) {
        self.line(b"begin").write();
    }

    /// Everything was tried.
    pub(crate) fn end(&self) -> ! {
        self.line(b"end").write();
        sys::exit(0)
    }

    /// Something was tried: the report has its error number, 0 if it was done.
    pub(crate) fn report_attempt<T>(&self, what: &[u8], result: &Result<T, Errno>) {
        let errno = match result {
            Ok(_) => 0,
            Err(error) => u64::from(error.0.unsigned_abs()),
        };
        self.line(b"tried ").push(what).push(b" ").number(errno).write();
    }

    /// What must not be possible has been done.
    pub(crate) fn report_harm(&self, what: &[u8]) {
        self.line(b"harm ").push(what).write();
    }

    /// Something was found, for the host to judge.
    pub(crate) fn report_finding(&self, what: &[u8]) {
        self.line(b"found ").push(what).write();
    }

    /// The context itself cannot be set up: nothing was tried.
    pub(crate) fn abort_setup(&self, what: &[u8], error: Errno) -> ! {
        self.line(b"broken ")
            .push(what)
            .push(b" ")
            .number(u64::from(error.0.unsigned_abs()))
            .write();
        sys::exit(3)
    }

    /// A path in the directory that may be written to.
    pub(crate) fn path_in_work_dir(&self, name: &[u8]) -> ReportLine {
        let mut path = ReportLine::new();
        path.push(self.work_dir.to_bytes()).push(b"/").push(name);
        path
    }
}

/// A decimal number; 0 if it is none.
pub(crate) fn parse_number(text: &CStr) -> u64 {
    text.to_bytes()
        .iter()
        .try_fold(0u64, |sum, byte| {
            let digit = byte.checked_sub(b'0').filter(|digit| *digit < 10)?;
            sum.checked_mul(10)?.checked_add(u64::from(digit))
        })
        .unwrap_or_default()
}
