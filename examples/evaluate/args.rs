//! The command line, and what it asks for.

use std::path::{Path, PathBuf};

use clap::Parser;
use crucible::{Collect, Endpoint, Evaluation, InputFile, Languages, Layer, Network};

use crate::common::Failure;
use crate::limits::LimitArgs;

/// Evaluate one program in a sandbox: a file by its extension, code with --language, or a command.
#[derive(Debug, Parser)]
#[command(
    version,
    after_help = "Exit status: 0 for `exited 0`, 1 for any other verdict, 2 for a usage error, \
    3 for an infrastructure error."
)]
pub(crate) struct Args {
    /// The program: a source file whose extension names its language. Or `doctor`: say what this host can enforce.
    #[arg(value_name = "FILE", required_unless_present_any = ["code", "command"])]
    file: Option<PathBuf>,
    /// Arguments for the program; with --command, the command itself.
    #[arg(value_name = "ARG", last = true)]
    arguments: Vec<String>,
    /// The language of the code, or of the file.
    #[arg(short, long, value_name = "LANGUAGE")]
    language: Option<String>,
    /// The code to evaluate, in the language given by --language.
    #[arg(short, long, value_name = "CODE", conflicts_with = "file", requires = "language")]
    code: Option<String>,
    /// Run a command: --command -- ARGV.
    #[arg(long, conflicts_with_all = ["file", "code", "language"])]
    command: bool,
    /// The engine to run it on: subprocess; built with `--features docker` also docker and gvisor, which run the image that
    /// `CRUCIBLE_IMAGE` names, or one that `ci/docker image` makes of this machine's own files.
    #[arg(long, default_value = "subprocess", value_name = "ENGINE")]
    engine: String,
    /// The image to run it in, for an engine that runs images.
    #[arg(long, value_name = "IMAGE")]
    image: Option<String>,
    /// Go without a layer, by its name, as `doctor` lists them.
    #[arg(long, value_name = "LAYER")]
    waive: Vec<Layer>,
    /// Let the program reach this TCP endpoint, through a proxy that its environment names; may be given several times.
    /// Without it there is no network.
    #[arg(long, value_name = "HOST:PORT")]
    allow: Vec<Endpoint>,
    #[command(flatten)]
    limits: LimitArgs,
    /// A file to give to the program as its standard input; - is this command's own.
    #[arg(long, value_name = "FILE")]
    stdin: Option<PathBuf>,
    /// A file or directory to put beside the program.
    #[arg(long, value_name = "PATH")]
    input: Vec<PathBuf>,
    /// Bring out files that match this pattern.
    #[arg(long, value_name = "GLOB", requires = "into")]
    collect: Vec<String>,
    /// The directory to bring files out into.
    #[arg(long, value_name = "DIR", requires = "collect")]
    into: Option<PathBuf>,
    /// An environment variable for the program.
    #[arg(long, value_name = "K=V")]
    env: Vec<String>,
    /// Keep the evaluation and what came of it in this directory, which is made if it is not there; `history` looks into it.
    /// What an earlier run left there unfinished is run as well.
    #[arg(long, value_name = "DIR")]
    data: Option<PathBuf>,
    /// Print the outcome as JSON, in place of the program's output.
    #[arg(long)]
    json: bool,
    /// Say more: evidence and layers; twice, what the library does.
    #[arg(short, long, action = clap::ArgAction::Count)]
    pub(crate) verbose: u8,
}

/// What is to be done.
#[derive(Debug)]
pub(crate) enum Action {
    Doctor { engine: String, json: bool },
    Evaluate(Box<Request>),
}

/// What is to be evaluated, and how it is to be shown.
#[derive(Debug)]
pub(crate) struct Request {
    pub(crate) evaluation: Evaluation,
    pub(crate) engine: String,
    pub(crate) waived: Vec<Layer>,
    pub(crate) into: Option<PathBuf>,
    pub(crate) data: Option<PathBuf>,
    pub(crate) json: bool,
    pub(crate) verbose: bool,
}

impl Args {
    /// Reads every file that the command line names.
    pub(crate) fn action(self) -> Result<Action, Failure> {
        if self.file.as_deref() == Some(Path::new("doctor")) && self.language.is_none() {
            return Ok(Action::Doctor { engine: self.engine, json: self.json });
        }
        let mut evaluation = self.program()?.with_limits(self.limits.limits());
        if let Some(path) = &self.stdin {
            evaluation = evaluation.with_stdin(read_stdin(path)?);
        }
        for path in &self.input {
            for file in inputs(path)? {
                evaluation = evaluation.with_input_file(file);
            }
        }
        if let Some(image) = self.image {
            evaluation = evaluation.with_image(image);
        }
        for variable in &self.env {
            let (name, value) = variable.split_once('=').ok_or_else(|| {
                Failure::usage(format!("--env {variable}: it is not of the form NAME=VALUE"))
            })?;
            evaluation = evaluation.with_env(name, value);
        }
        if !self.allow.is_empty() {
            evaluation = evaluation.with_network(Network::Allow(self.allow));
        }
        if !self.collect.is_empty() {
            evaluation = evaluation.with_collect(Collect::matching(self.collect));
        }
        Ok(Action::Evaluate(Box::new(Request {
            evaluation,
            engine: self.engine,
            waived: self.waive,
            into: self.into,
            data: self.data,
            json: self.json,
            verbose: self.verbose > 0,
        })))
    }

    fn program(&self) -> Result<Evaluation, Failure> {
        if self.command {
            if self.arguments.is_empty() {
                return Err(Failure::usage("--command needs a command: --command -- ARGV"));
            }
            return Ok(Evaluation::command(self.arguments.iter().cloned()));
        }
        let source = match (&self.code, &self.file) {
            (Some(code), _) => {
                Evaluation::source(self.language.clone().unwrap_or_default(), code.clone())
            }
            (None, Some(file)) => {
                let language = match &self.language {
                    Some(language) => language.clone(),
                    None => language_of(file)?,
                };
                let text = String::from_utf8(read(file)?).map_err(|_| {
                    Failure::usage(format!("{}: it is not UTF-8 text", file.display()))
                })?;
                Evaluation::source(language, text)
            }
            (None, None) => return Err(Failure::usage("there is nothing to evaluate; see --help")),
        };
        Ok(self.arguments.iter().fold(source, |source, argument| source.with_arg(argument)))
    }
}

fn language_of(file: &Path) -> Result<String, Failure> {
    let languages = Languages::builtin();
    let extension = file.extension().and_then(|extension| extension.to_str()).unwrap_or_default();
    match languages.by_extension(extension) {
        Some(language) => Ok(language.name.clone()),
        None => Err(Failure::usage(format!(
            "{}: its extension names no language; say --language, one of {}",
            file.display(),
            languages.names().collect::<Vec<_>>().join(", ")
        ))),
    }
}

fn read(path: &Path) -> Result<Vec<u8>, Failure> {
    std::fs::read(path).map_err(|error| Failure::usage(format!("{}: {error}", path.display())))
}

fn read_stdin(path: &Path) -> Result<Vec<u8>, Failure> {
    if path != Path::new("-") {
        return read(path);
    }
    let mut bytes = Vec::new();
    std::io::Read::read_to_end(&mut std::io::stdin(), &mut bytes)
        .map_err(|error| Failure::usage(format!("standard input: {error}")))?;
    Ok(bytes)
}

/// A file under its own name; a directory with everything in it.
fn inputs(path: &Path) -> Result<Vec<InputFile>, Failure> {
    let name = path.file_name().and_then(|name| name.to_str()).ok_or_else(|| {
        Failure::usage(format!("--input {}: it has no name to go by", path.display()))
    })?;
    let mut files = Vec::new();
    add(path, name, &mut files)?;
    Ok(files)
}

fn add(path: &Path, name: &str, files: &mut Vec<InputFile>) -> Result<(), Failure> {
    let fail =
        |error: std::io::Error| Failure::usage(format!("--input {}: {error}", path.display()));
    let metadata = std::fs::metadata(path).map_err(fail)?;
    if !metadata.is_dir() {
        let file = InputFile::new(name, read(path)?);
        files.push(if is_executable(&metadata) { file.with_executable() } else { file });
        return Ok(());
    }
    for entry in std::fs::read_dir(path).map_err(fail)? {
        let entry = entry.map_err(fail)?;
        // Links to directories can lead round in circles.
        if entry.file_type().map_err(fail)?.is_symlink() && entry.path().is_dir() {
            let path = entry.path();
            return Err(Failure::usage(format!(
                "--input {}: it is a link to a directory",
                path.display()
            )));
        }
        let inner = entry.file_name();
        let inner = inner.to_str().ok_or_else(|| {
            Failure::usage(format!("--input {}: its name is not UTF-8", entry.path().display()))
        })?;
        add(&entry.path(), &format!("{name}/{inner}"), files)?;
    }
    Ok(())
}

#[cfg(unix)]
fn is_executable(metadata: &std::fs::Metadata) -> bool {
    std::os::unix::fs::PermissionsExt::mode(&metadata.permissions()) & 0o111 != 0
}

#[cfg(not(unix))]
fn is_executable(_: &std::fs::Metadata) -> bool {
    false
}
