//! Evaluations after validation: the files, the compile step and the command.

use std::collections::BTreeSet;
use std::time::Duration;

use bytes::Bytes;

use crate::model::{
    Collect, Command, Compile, Evaluation, InvalidInput, Language, Languages, Limits, Problem,
    Program, SandboxPath,
};

/// The maximum number of bytes of standard input. The engine holds it in memory. Larger input must
/// be a file.
const STDIN_MAX: usize = 64 * 1024 * 1024;
/// The maximum number of bytes to keep of each output stream. The platform holds them in memory and
/// writes them into the journal.
const CAPTURE_MAX: u64 = 256 * 1024 * 1024;
/// The maximum number of bytes of a label, a tenant or an idempotency key. Storages use them as
/// index keys.
const NAME_MAX: usize = 256;
/// The maximum number of labels of an evaluation.
const LABELS_MAX: usize = 64;

/// A file to write into a sandbox, with a valid path.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct PlannedFile {
    /// The path in the sandbox.
    pub path: SandboxPath,
    /// The content.
    pub content: Bytes,
    /// Whether the file is executable.
    pub executable: bool,
}

impl PlannedFile {
    /// Creates a file to write into a sandbox.
    #[must_use]
    pub fn new(path: SandboxPath, content: Bytes, executable: bool) -> Self {
        Self { path, content, executable }
    }
}

/// The compile step of an [`EvaluationPlan`].
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct PlannedCompile {
    /// The compiler and its arguments.
    pub command: Command,
    /// The compiler's limits.
    pub limits: Limits,
    /// The files that the compiler produces.
    pub produces: Collect,
}

/// A valid evaluation with its language resolved: the files, the compile step and the command.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct EvaluationPlan {
    /// The files to write, including the source.
    pub files: Vec<PlannedFile>,
    /// The compile step. It runs in a separate sandbox with the same files.
    pub compile: Option<PlannedCompile>,
    /// The command to run.
    pub command: Command,
}

impl EvaluationPlan {
    /// Validates an evaluation and resolves its language.
    ///
    /// # Errors
    /// [`InvalidInput`] lists all problems of the evaluation.
    pub fn new(evaluation: &Evaluation, languages: &Languages) -> Result<Self, InvalidInput> {
        let mut problems = field_problems(evaluation);
        let mut files = given_files(evaluation, &mut problems);
        let (mut command, language) = match &evaluation.program {
            Program::Command(command) => (command.clone(), None),
            Program::Source { language, text, args } => match languages.get(language) {
                Some(language) => {
                    let source = Bytes::from(text.clone().into_bytes());
                    files.insert(0, PlannedFile::new(language.file.clone(), source, false));
                    let mut command = language.run.clone();
                    command.argv.extend(args.iter().cloned());
                    (command, Some(language))
                }
                None => {
                    problems.push(unknown_language(language, languages));
                    (Command::new(["true"]), None)
                }
            },
        };
        command
            .env
            .extend(evaluation.env.iter().map(|(name, value)| (name.clone(), value.clone())));
        problems.extend(command.problems(if language.is_some() { "args" } else { "command" }));
        let compile = language
            .and_then(|language| language.compile.as_ref())
            .map(|compile| planned_compile(compile, evaluation.compile_limits.as_ref()));
        check_files(&files, &evaluation.limits, language, &mut problems);
        InvalidInput::check(problems)?;
        Ok(Self { files, compile, command })
    }
}

/// Returns the problem of a language that the host does not offer.
fn unknown_language(name: &str, languages: &Languages) -> Problem {
    let known: Vec<_> = languages.names().collect();
    let shown: String = name.chars().take(64).collect();
    Problem::new("language", format!("{shown:?} is unknown; this host offers {}", known.join(", ")))
}

/// Returns the compile step of a language, with the evaluation's limits if it sets some.
fn planned_compile(compile: &Compile, limits: Option<&Limits>) -> PlannedCompile {
    let limits = limits.unwrap_or(&compile.limits).clone();
    let produces =
        Collect::matching(compile.produces.iter().cloned()).with_bytes_max(limits.disk_bytes);
    PlannedCompile { command: compile.command.clone(), limits, produces }
}

/// Returns the problems of each field alone.
fn field_problems(evaluation: &Evaluation) -> Vec<Problem> {
    let mut problems = evaluation.limits.problems("limits");
    if let Some(limits) = &evaluation.compile_limits {
        problems.extend(limits.problems("compile_limits"));
    }
    problems.extend(evaluation.network.problems("network"));
    problems.extend(evaluation.collect.problems("collect"));
    problems.extend(evaluation.retry.problems("retry"));
    problems.extend(name_problems(evaluation));
    if evaluation.expires_in == Some(Duration::ZERO) {
        problems.push(Problem::new("expires_in_us", "is zero; omit it to wait without a limit"));
    }
    if evaluation.stdin.len() > STDIN_MAX {
        let message =
            format!("is {} bytes; at most {STDIN_MAX}: pass it as a file", evaluation.stdin.len());
        problems.push(Problem::new("stdin", message));
    }
    if evaluation.capture_bytes > CAPTURE_MAX {
        let message = format!("is {}; at most {CAPTURE_MAX}", evaluation.capture_bytes);
        problems.push(Problem::new("capture_bytes", message));
    }
    problems
}

/// Returns the problems of the tenant, the idempotency key, the image and the labels.
fn name_problems(evaluation: &Evaluation) -> Vec<Problem> {
    let mut problems = Vec::new();
    let mut check = |field: &str, text: &str, may_be_empty: bool| {
        if text.len() > NAME_MAX {
            let message = format!("is {} bytes long; at most {NAME_MAX}", text.len());
            problems.push(Problem::new(field, message));
        } else if text.is_empty() && !may_be_empty {
            problems.push(Problem::new(field, "is empty"));
        }
    };
    check("tenant", &evaluation.tenant, true);
    if let Some(key) = &evaluation.idempotency_key {
        check("idempotency_key", key, false);
    }
    if let Some(image) = &evaluation.image {
        check("image", image, false);
    }
    for (label, value) in &evaluation.labels {
        check("labels", label, false);
        check("labels", value, true);
    }
    if let Some(image) = evaluation.image.as_deref().filter(|image| !is_image_name(image)) {
        problems.push(Problem::new("image", format!("{image:?} is not the name of an image")));
    }
    if evaluation.labels.len() > LABELS_MAX {
        let message = format!("are {}; at most {LABELS_MAX}", evaluation.labels.len());
        problems.push(Problem::new("labels", message));
    }
    problems
}

/// Returns `true` unless a daemon could read the text as an option or as several words.
fn is_image_name(image: &str) -> bool {
    !image.starts_with('-') && !image.contains(|c: char| c.is_whitespace() || c.is_control())
}

/// Returns the evaluation's own files. An invalid path becomes a problem.
fn given_files(evaluation: &Evaluation, problems: &mut Vec<Problem>) -> Vec<PlannedFile> {
    let mut files = Vec::with_capacity(evaluation.files.len() + 1);
    for (index, file) in evaluation.files.iter().enumerate() {
        match SandboxPath::new(file.path.as_str()) {
            Ok(path) if path.is_root() => {
                problems
                    .push(Problem::new(format!("files[{index}].path"), "is the working directory"));
            }
            Ok(path) => files.push(PlannedFile::new(path, file.content.clone(), file.executable)),
            Err(error) => {
                let message = format!("is wrong: {error}");
                problems.push(Problem::new(format!("files[{index}].path"), message));
            }
        }
    }
    files
}

/// Checks all files together: unique paths, no file beneath another file, and sizes within the
/// limits.
fn check_files(
    files: &[PlannedFile],
    limits: &Limits,
    language: Option<&Language>,
    problems: &mut Vec<Problem>,
) {
    let mut seen = BTreeSet::new();
    let mut directories = BTreeSet::new();
    for file in files {
        let path = file.path.as_str();
        if !seen.insert(path) {
            let message = match language {
                Some(language) if language.file.as_str() == path => {
                    format!("have {path:?}, which is the path of the source")
                }
                _ => format!("have {path:?} twice"),
            };
            problems.push(Problem::new("files", message));
        }
        directories.extend(path.match_indices('/').filter_map(|(end, _)| path.get(..end)));
    }
    for path in seen.intersection(&directories) {
        problems.push(Problem::new("files", format!("have {path:?} as a file and as a directory")));
    }
    let bytes: u64 = files.iter().map(|file| file.content.len() as u64).sum();
    if bytes > limits.disk_bytes {
        let message = format!("take {bytes} bytes; the disk limit is {}", limits.disk_bytes);
        problems.push(Problem::new("files", message));
    }
    let inodes = (files.len() + directories.len()) as u64;
    if inodes > limits.inodes {
        let message =
            format!("are {inodes} files and directories; the inode limit is {}", limits.inodes);
        problems.push(Problem::new("files", message));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn plan(evaluation: &Evaluation) -> Result<EvaluationPlan, InvalidInput> {
        EvaluationPlan::new(evaluation, &Languages::builtin())
    }

    fn fields(evaluation: &Evaluation) -> Vec<String> {
        plan(evaluation)
            .unwrap_err()
            .problems()
            .iter()
            .map(|problem| problem.field.clone())
            .collect()
    }

    #[test]
    fn source_becomes_file_and_command() {
        let plan = plan(&Evaluation::python("pass").with_arg("-v").with_env("A", "1")).unwrap();
        assert_eq!(plan.files[0].path.as_str(), "main.py");
        assert_eq!(plan.command.argv, ["python3", "main.py", "-v"]);
        assert_eq!(plan.command.env.len(), 1);
        assert_eq!(plan.compile, None);
    }

    #[test]
    fn compiled_language_has_step_with_own_limits() {
        let planned = plan(&Evaluation::source("c", "")).unwrap();
        let compile = planned.compile.unwrap();
        assert_eq!(compile.command.argv[0], "cc");
        assert_eq!(compile.limits, Limits::for_compiling());
        let tight = Limits::new().with_wall(Duration::from_secs(1));
        let planned =
            plan(&Evaluation::source("c", "").with_compile_limits(tight.clone())).unwrap();
        assert_eq!(planned.compile.unwrap().limits, tight);
    }

    #[test]
    fn plan_reports_all_problems_at_once() {
        let evaluation = Evaluation::command(Vec::<String>::new())
            .with_file("../x", "")
            .with_file("/etc/passwd", "")
            .with_limits(Limits::new().with_wall(Duration::ZERO).with_memory_bytes(u64::MAX))
            .with_expires_in(Duration::ZERO)
            .with_collect(Collect::matching([""]));
        assert_eq!(
            fields(&evaluation),
            [
                "limits.wall_us",
                "limits.memory_bytes",
                "collect.patterns[0]",
                "expires_in_us",
                "files[0].path",
                "files[1].path",
                "command"
            ]
        );
    }

    #[test]
    fn unknown_language_error_lists_known_ones() {
        let error = plan(&Evaluation::source("cobol", "")).unwrap_err().to_string();
        assert!(error.contains("\"cobol\" is unknown") && error.contains("python"), "{error}");
    }

    #[test]
    fn files_that_collide_or_exceed_limits_are_refused() {
        let python = || Evaluation::python("pass");
        assert_eq!(fields(&python().with_file("main.py", "")), ["files"]);
        assert_eq!(fields(&python().with_file("a", "").with_file("a", "")), ["files"]);
        assert_eq!(fields(&python().with_file("a", "").with_file("a/b", "")), ["files"]);
        let small = Limits::new().with_disk_bytes(64 * 1024);
        assert_eq!(
            fields(&python().with_limits(small).with_file("big", vec![0; 65_536])),
            ["files"]
        );
        let mut many = python().with_limits(Limits::new().with_inodes(16));
        for index in 0..16 {
            many = many.with_file(format!("d/{index}"), "");
        }
        assert_eq!(fields(&many), ["files"]);
    }

    #[test]
    fn oversized_names_and_input_are_refused() {
        let long = "x".repeat(257);
        assert_eq!(fields(&Evaluation::shell("").with_tenant(&long)), ["tenant"]);
        assert_eq!(fields(&Evaluation::shell("").with_idempotency_key("")), ["idempotency_key"]);
        assert_eq!(fields(&Evaluation::shell("").with_label(long, "")), ["labels"]);
        assert_eq!(fields(&Evaluation::shell("").with_capture_bytes(u64::MAX)), ["capture_bytes"]);
        assert_eq!(fields(&Evaluation::shell("").with_stdin(vec![0; STDIN_MAX + 1])), ["stdin"]);
    }
}
