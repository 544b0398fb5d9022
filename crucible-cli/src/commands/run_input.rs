//! The evaluation that `crucible run` submits.

use std::fs;
use std::io::{self, Read as _};
use std::path::Path;

use crucible::model::{Collect, InputFile, Languages};
use crucible::{Evaluation, Network};

use crate::args::run::RunArgs;
use crate::failure::Failure;

/// Returns the evaluation, and reads every file that the arguments name.
///
/// # Errors
/// Returns a failure if a file cannot be read or an argument is invalid.
pub(super) fn evaluation(args: &mut RunArgs) -> Result<Evaluation, Failure> {
    let mut evaluation = program(args)?.with_limits(args.limits.limits());
    if let Some(path) = &args.stdin {
        evaluation = evaluation.with_stdin(read_stdin(path)?);
    }
    for path in &args.input {
        for file in input_files(path)? {
            evaluation = evaluation.with_input_file(file);
        }
    }
    if let Some(image) = args.image.take() {
        evaluation = evaluation.with_image(image);
    }
    for variable in &args.env {
        let (name, value) = variable.split_once('=').ok_or_else(|| {
            Failure::usage(format!("cannot set --env {variable}: not of the form NAME=VALUE"))
        })?;
        evaluation = evaluation.with_env(name, value);
    }
    if !args.allow.is_empty() {
        evaluation = evaluation.with_network(Network::Allow(std::mem::take(&mut args.allow)));
    }
    if !args.collect.is_empty() {
        let patterns = std::mem::take(&mut args.collect);
        evaluation = evaluation.with_collect(Collect::matching(patterns));
    }
    Ok(evaluation)
}

/// Returns an evaluation of the command, the code or the file, with its arguments.
fn program(args: &RunArgs) -> Result<Evaluation, Failure> {
    if args.command {
        if args.arguments.is_empty() {
            return Err(Failure::usage("--command needs a command")
                .with_fix("write it after `--`: --command -- ARGV"));
        }
        return Ok(Evaluation::command(args.arguments.iter().cloned()));
    }
    let source = match (&args.code, &args.file) {
        (Some(code), _) => {
            Evaluation::source(args.language.clone().unwrap_or_default(), code.clone())
        }
        (None, Some(file)) => source_file(file, args.language.as_deref())?,
        (None, None) => return Err(Failure::usage("no program; see `crucible run --help`")),
    };
    Ok(args.arguments.iter().fold(source, |source, argument| source.with_arg(argument)))
}

/// Returns an evaluation of a source file.
fn source_file(file: &Path, language: Option<&str>) -> Result<Evaluation, Failure> {
    let language = match language {
        Some(language) => language.to_owned(),
        None => language_of(file)?,
    };
    let text = String::from_utf8(read(file)?)
        .map_err(|_| Failure::file("read", file, &"not UTF-8 text"))?;
    Ok(Evaluation::source(language, text))
}

/// Returns the name of the language that the extension of a file names.
fn language_of(file: &Path) -> Result<String, Failure> {
    let languages = Languages::builtin();
    let extension = file.extension().and_then(|extension| extension.to_str()).unwrap_or_default();
    if let Some(language) = languages.by_extension(extension) {
        return Ok(language.name.clone());
    }
    let names = languages.names().collect::<Vec<_>>().join(", ");
    Err(Failure::file("run", file, &"its extension names no language")
        .with_fix(format!("add --language with one of {names}")))
}

/// Reads a file that the arguments name.
fn read(path: &Path) -> Result<Vec<u8>, Failure> {
    fs::read(path).map_err(|error| Failure::file("read", path, &error))
}

/// Reads the standard input of the program.
fn read_stdin(path: &Path) -> Result<Vec<u8>, Failure> {
    if path != Path::new("-") {
        return read(path);
    }
    let mut bytes = Vec::new();
    io::stdin()
        .read_to_end(&mut bytes)
        .map_err(|error| Failure::usage(format!("cannot read standard input: {error}")))?;
    Ok(bytes)
}

/// Returns a file under its own name, or a directory with all its files.
fn input_files(path: &Path) -> Result<Vec<InputFile>, Failure> {
    let name = path
        .file_name()
        .and_then(|name| name.to_str())
        .ok_or_else(|| Failure::file("read --input", path, &"it has no name"))?;
    let mut files = Vec::new();
    add_input(path, name, &mut files)?;
    Ok(files)
}

/// Adds the file at `path` under `name`, or the files of the directory at `path`.
fn add_input(path: &Path, name: &str, files: &mut Vec<InputFile>) -> Result<(), Failure> {
    let failed = |error: io::Error| Failure::file("read --input", path, &error);
    let metadata = fs::metadata(path).map_err(failed)?;
    if !metadata.is_dir() {
        let file = InputFile::new(name, read(path)?);
        files.push(if is_executable(&metadata) { file.with_executable() } else { file });
        return Ok(());
    }
    for entry in fs::read_dir(path).map_err(failed)? {
        let entry = entry.map_err(failed)?;
        let path = entry.path();
        let refused = |reason: &str| Failure::file("read --input", &path, &reason);
        // Links to directories can form a cycle.
        if entry.file_type().map_err(failed)?.is_symlink() && path.is_dir() {
            return Err(refused("it is a symbolic link to a directory"));
        }
        let inner = entry.file_name();
        let inner = inner.to_str().ok_or_else(|| refused("its name is not UTF-8"))?;
        add_input(&path, &format!("{name}/{inner}"), files)?;
    }
    Ok(())
}

/// Returns `true` if the owner, the group or others may execute the file.
#[cfg(unix)]
fn is_executable(metadata: &fs::Metadata) -> bool {
    std::os::unix::fs::PermissionsExt::mode(&metadata.permissions()) & 0o111 != 0
}

/// Returns `false`: this system has no executable bit.
#[cfg(not(unix))]
fn is_executable(_: &fs::Metadata) -> bool {
    false
}
