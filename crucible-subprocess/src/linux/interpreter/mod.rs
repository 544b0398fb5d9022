//! Interpreters that start before their program is known.

mod interpreter_streams;
mod ready_language;
mod waiting_interpreter;

pub(crate) use interpreter_streams::InterpreterStreams;
pub(crate) use ready_language::{ReadyLanguage, language_for};
pub(crate) use waiting_interpreter::{StartedInterpreter, WaitingInterpreter, check_started};
