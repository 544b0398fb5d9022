//! Arguments of `crucible verify`.

use std::path::PathBuf;

/// Examples for the end of `crucible verify --help`.
const AFTER_HELP: &str = "\
Examples:
  crucible history --data DIR export --key signing.key > export.jsonl
  crucible verify --key PUBLIC_KEY export.jsonl
  crucible verify export.jsonl                      each journal by itself

Exit status: 0 if the file is verified, 1 if not, 2 for a usage error.";

/// Verifies an export.
#[derive(Debug, clap::Args)]
#[command(after_help = AFTER_HELP)]
pub(crate) struct VerifyArgs {
    /// The file that `crucible history export` wrote; - is standard input.
    #[arg(value_name = "FILE")]
    pub(crate) file: PathBuf,
    /// The public key of the checkpoint, as `crucible history key` prints it.
    ///
    /// Without a key, only the chain of each journal is checked, which cannot detect that its end
    /// is missing.
    #[arg(long, value_name = "KEY")]
    pub(crate) key: Option<String>,
}
