//! Arguments of `crucible run`.

use std::path::PathBuf;

use crucible::model::Endpoint;

use crate::args::engine::EngineArgs;
use crate::args::limits::LimitArgs;

/// Examples for the end of `crucible run --help`.
const AFTER_HELP: &str = "\
Examples:
  crucible run hello.py                                run a file; its extension names the language
  crucible run hello.py -- --name value                with arguments
  crucible run --language sh --code 'exit 3'           run code
  crucible run --wall 1s --command -- sleep 60         run a command
  crucible run --stdin data.txt --input lib tool.py    with standard input and a directory
  crucible run --collect 'out/*' --into results job.py save files that the program wrote
  crucible run --allow pypi.org:443 fetch.py           let it reach one endpoint
  crucible run --json hello.py                         print the outcome as JSON

Exit status: 0 for `exited 0`, 1 for any other verdict, 2 for a usage error, 3 for an
infrastructure error.";

/// Runs one program.
#[derive(Debug, clap::Args)]
#[command(after_help = AFTER_HELP)]
pub(crate) struct RunArgs {
    /// The source file. Its extension names the language.
    #[arg(value_name = "FILE", required_unless_present_any = ["code", "command"])]
    pub(crate) file: Option<PathBuf>,
    /// Arguments for the program; with --command, the command itself.
    #[arg(value_name = "ARG", last = true)]
    pub(crate) arguments: Vec<String>,
    /// The language of the code or of the file.
    #[arg(short, long, value_name = "LANGUAGE")]
    pub(crate) language: Option<String>,
    /// The code to run, in the language given by --language.
    #[arg(short, long, value_name = "CODE", conflicts_with = "file", requires = "language")]
    pub(crate) code: Option<String>,
    /// Run a command: --command -- ARGV.
    #[arg(long, conflicts_with_all = ["file", "code", "language"])]
    pub(crate) command: bool,
    /// The engine.
    #[command(flatten)]
    pub(crate) engine: EngineArgs,
    /// The image, for an engine that runs images.
    #[arg(long, value_name = "IMAGE", help_heading = "Engine")]
    pub(crate) image: Option<String>,
    /// Let the program reach this TCP endpoint through a proxy; repeatable.
    ///
    /// The environment of the program names the proxy. Without this option the program has no
    /// network.
    #[arg(long, value_name = "HOST:PORT")]
    pub(crate) allow: Vec<Endpoint>,
    /// The limits.
    #[command(flatten)]
    pub(crate) limits: LimitArgs,
    /// The program's standard input: a file, or - for this command's own.
    #[arg(long, value_name = "FILE")]
    pub(crate) stdin: Option<PathBuf>,
    /// A file or directory to copy beside the program; repeatable.
    #[arg(long, value_name = "PATH")]
    pub(crate) input: Vec<PathBuf>,
    /// Collect files that match this pattern; repeatable.
    #[arg(long, value_name = "GLOB", requires = "into")]
    pub(crate) collect: Vec<String>,
    /// The directory for the collected files.
    #[arg(long, value_name = "DIR", requires = "collect")]
    pub(crate) into: Option<PathBuf>,
    /// An environment variable for the program; repeatable.
    #[arg(long, value_name = "NAME=VALUE")]
    pub(crate) env: Vec<String>,
    /// Keep the evaluation and its outcome in this directory, for `crucible history`.
    ///
    /// The directory is created if it does not exist. Evaluations that an earlier run left
    /// unfinished in it run as well.
    #[arg(long, value_name = "DIR")]
    pub(crate) data: Option<PathBuf>,
    /// Print the outcome as JSON instead of the program's output.
    #[arg(long)]
    pub(crate) json: bool,
}
