//! An interpreter that is started before its program is known.

use std::os::fd::AsFd as _;

use crucible_core::{EngineError, Limits};

use super::ready_sandbox::ReadySandbox;
use crate::linux::interpreter::{InterpreterStreams, ReadyLanguage};
use crate::linux::resources::{ResourceAllocator, SandboxSize};
use crate::linux::teardown::Remnants;

/// The kind of a ready interpreter. Interpreters of one kind are interchangeable.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct InterpreterKind {
    /// Index of the language.
    pub(super) language: usize,
    size: SandboxSize,
    rlimits: Vec<u8>,
}

impl InterpreterKind {
    /// Returns the kind for a language and limits.
    pub(super) fn new(
        language: usize,
        limits: &Limits,
        allocator: &ResourceAllocator,
    ) -> Result<Self, EngineError> {
        let rlimits = allocator.rlimits(limits)?;
        Ok(Self { language, size: SandboxSize::from(limits), rlimits })
    }
}

/// An interpreter that is ready or starting, in its own sandbox.
#[derive(Debug)]
pub(crate) struct ReadyInterpreter {
    pub(crate) sandbox: ReadySandbox,
    pub(crate) streams: InterpreterStreams,
}

impl ReadyInterpreter {
    /// Opens a sandbox and starts an interpreter in it. Adds the remnants of a failed attempt to
    /// `remnants`.
    pub(super) fn start(
        allocator: &ResourceAllocator,
        language: &ReadyLanguage,
        kind: &InterpreterKind,
        remnants: &mut Vec<Remnants>,
    ) -> Result<Self, EngineError> {
        let sandbox = ReadySandbox::open(allocator, kind.size, remnants)?;
        match InterpreterStreams::start(language, &kind.rlimits, sandbox.channel.as_fd()) {
            Ok(streams) => Ok(Self { sandbox, streams }),
            Err(error) => {
                remnants.push(sandbox.into_remnants());
                Err(error)
            }
        }
    }
}
