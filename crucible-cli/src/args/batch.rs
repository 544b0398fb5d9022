//! Arguments of `crucible batch`.

use std::path::PathBuf;

use crate::args::engine::EngineArgs;
use crate::args::limits::LimitArgs;

/// Formats and examples for the end of `crucible batch --help`.
const AFTER_HELP: &str = r#"Input, one evaluation per line:
  {"key":"a1","language":"python","source":"print(1)","stdin":"","limits":{"wall_us":5000000}}
  {"key":"a2","command":["sh","-c","exit 3"],"network":{"allow":["pypi.org:443"]}}

Output, one outcome per line, in the order in which they end:
  {"key":"a1","id":"…","state":"finished","outcome":{…}}

Examples:
  crucible batch evaluations.jsonl > outcomes.jsonl
  crucible batch --workers 8 --wall 10s -              read standard input
  crucible batch --data results evaluations.jsonl      resumes after an interruption

A line that is not a valid evaluation is reported with its number, and the other lines run. The
first Ctrl-C lets the running programs end; the second cancels them.

Exit status: 0 if every line has an outcome, 2 if a line is invalid, 3 for an infrastructure error,
130 if interrupted."#;

/// Runs a file of JSON lines.
#[derive(Debug, clap::Args)]
#[command(after_help = AFTER_HELP)]
pub(crate) struct BatchArgs {
    /// The evaluations, one JSON object per line; - is standard input.
    #[arg(value_name = "FILE")]
    pub(crate) file: PathBuf,
    /// The engine.
    #[command(flatten)]
    pub(crate) engine: EngineArgs,
    /// Programs at the same time [default: the number of CPUs].
    #[arg(long, value_name = "COUNT")]
    pub(crate) workers: Option<usize>,
    /// Keep evaluations and outcomes in this directory, and resume an interrupted batch.
    ///
    /// The directory is created if it does not exist. A line is identified by its key, or without
    /// a key by its content; lines with an outcome do not run again.
    #[arg(long, value_name = "DIR")]
    pub(crate) data: Option<PathBuf>,
    /// Limits for the lines without their own.
    #[command(flatten)]
    pub(crate) limits: LimitArgs,
}
