//! A language whose interpreters start ahead of their programs.
//!
//! Each interpreter runs one program, in its own sandbox. So programs share no memory, no hash seed
//! and no address layout.

use std::sync::Arc;

use crucible_core::{
    Command, Evaluation, EvaluationPlan, InvalidInput, Language, Languages, Network, Problem,
    SandboxPath,
};

/// The code that an interpreter runs before its program.
const BOOTSTRAP: &str = include_str!("ready_interpreter.py");
/// The directory of the bootstrap in the sandbox.
const DIRECTORY: &str = ".crucible";
/// The variable with the interpreter's module path.
const MODULE_PATH: &str = "PYTHONPATH";
/// Prefixes of the variables that an interpreter and its libraries read when they start.
const READ_AT_START: [&str; 10] =
    ["PYTHON", "PATH", "HOME", "LD_", "LC_", "LANG", "GLIBC_", "MALLOC_", "OPENSSL_", "TZ"];
/// Directories that an interpreter searches when it starts: the user's modules, and the bootstrap.
const SEARCHED_AT_START: [&str; 2] = [".local", DIRECTORY];

/// A language whose interpreters start ahead of their programs.
#[derive(Debug, Clone)]
pub(crate) struct ReadyLanguage {
    language: Language,
    modules: Vec<String>,
}

impl ReadyLanguage {
    /// Creates a language whose interpreters import these modules.
    pub(crate) fn new(language: Language, modules: Vec<String>) -> Self {
        Self { language, modules }
    }

    /// Returns the problems of the configuration.
    pub(crate) fn problems(&self) -> Vec<Problem> {
        let problem = |message: String| Problem::new("ready_interpreters", message);
        let [interpreter, file] = &*self.language.run.argv else {
            let message = "does not run an interpreter with exactly one file; it cannot be started \
                           ahead of time";
            return vec![problem(message.to_owned())];
        };
        let mut problems = Vec::new();
        let name = interpreter.rsplit('/').next().unwrap_or_default();
        if !name.starts_with("python3")
            || *file != self.language.file.as_str()
            || self.language.compile.is_some()
        {
            problems.push(problem(format!(
                "`{interpreter}` cannot be started ahead of its program; Python 3 can"
            )));
        }
        if let Some(variable) = self.language.run.env.keys().find(|name| is_read_at_start(name)) {
            problems.push(problem(format!(
                "sets `{variable}`, which changes the start of the interpreter"
            )));
        }
        for module in self.modules.iter().filter(|module| !module.split('.').all(is_identifier)) {
            problems.push(problem(format!("`{module}` is not the name of a module")));
        }
        problems
    }

    /// Returns `true` if the evaluation can run in a waiting interpreter: it runs what the
    /// interpreter has started to run.
    fn accepts(&self, evaluation: &Evaluation, plan: &EvaluationPlan) -> bool {
        let (run, command) = (&self.language.run, &plan.command);
        let is_searched = |path: &SandboxPath| {
            SEARCHED_AT_START.iter().any(|searched| path.as_str().starts_with(searched))
        };
        command.argv.starts_with(&run.argv)
            && command.directory == run.directory
            && plan.compile.is_none()
            && !plan.files.iter().any(|file| is_searched(&file.path))
            && !plan
                .files
                .iter()
                .any(|file| file.path == self.language.file && may_be_zip(&file.content))
            && evaluation.network == Network::None
            && evaluation.collect.is_empty()
            && run.env.iter().all(|(name, value)| command.env.get(name) == Some(value))
            && !command.env.keys().any(|name| is_read_at_start(name))
            && command.lost_secrets().next().is_none()
    }

    /// Encodes the program's arguments and environment, which the bootstrap reads before the
    /// program's own input.
    pub(super) fn start_message(&self, command: &Command) -> Vec<u8> {
        let push = |bytes: &mut Vec<u8>, text: &str| {
            bytes.extend_from_slice(text.as_bytes());
            bytes.push(0);
        };
        let (mut arguments, mut variables) = (Vec::new(), Vec::new());
        for argument in command.argv.iter().skip(self.language.run.argv.len()) {
            push(&mut arguments, argument);
        }
        for (name, value) in
            command.env.iter().filter(|(name, _)| !self.language.run.env.contains_key(*name))
        {
            push(&mut variables, &format!("{name}={}", value.reveal().unwrap_or_default()));
        }
        let mut message = format!("{:08x}{:08x}", arguments.len(), variables.len()).into_bytes();
        message.append(&mut arguments);
        message.append(&mut variables);
        message
    }

    /// Returns the bootstrap, with the modules to import.
    pub(super) fn bootstrap(&self) -> String {
        format!("{BOOTSTRAP}wait({:?})\n", self.modules)
    }

    /// Returns the command that starts an interpreter with the bootstrap.
    pub(super) fn start_command(&self) -> Command {
        self.language.run.clone().with_env(MODULE_PATH, format!("/box/{DIRECTORY}"))
    }
}

/// Returns the index of the first language that accepts the evaluation.
///
/// # Errors
/// The evaluation has no plan.
pub(crate) fn language_for(
    ready: &[Arc<ReadyLanguage>],
    evaluation: &Evaluation,
    languages: &Languages,
) -> Result<Option<usize>, InvalidInput> {
    if ready.is_empty() {
        return Ok(None);
    }
    let plan = EvaluationPlan::new(evaluation, languages)?;
    Ok(ready.iter().position(|language| language.accepts(evaluation, &plan)))
}

fn is_read_at_start(variable: &str) -> bool {
    READ_AT_START.iter().any(|prefix| variable.starts_with(prefix))
}

fn is_identifier(name: &str) -> bool {
    let mut characters = name.chars();
    characters.next().is_some_and(|first| first.is_alphabetic() || first == '_')
        && characters.all(|other| other.is_alphanumeric() || other == '_')
}

/// Returns `true` if an interpreter would take the program for an archive of modules: it contains
/// an end of central directory record (`zipimport`).
fn may_be_zip(program: &[u8]) -> bool {
    program.windows(4).any(|bytes| bytes == b"PK\x05\x06")
}

#[cfg(test)]
mod tests {
    use crucible_core::Collect;

    use super::*;

    fn problems(language: Language, modules: &[&str]) -> usize {
        let modules = modules.iter().map(|&name| name.to_owned()).collect();
        ReadyLanguage::new(language, modules).problems().len()
    }

    #[test]
    fn only_plain_python_commands_are_valid() {
        assert_eq!(problems(Language::python(), &["json", "os.path", "_a1"]), 0);
        assert_eq!(problems(Language::python(), &["", "a b", "1a", "a.", "x\"]; evil("]), 5);
        let languages = Languages::builtin();
        for name in ["sh", "node", "c"] {
            assert_eq!(problems(languages.get(name).unwrap().clone(), &[]), 1, "{name}");
        }
        let main = || "main.py".try_into().unwrap();
        let isolated = Command::new(["python3", "-I", "main.py"]);
        assert_eq!(problems(Language::new("python", main(), isolated), &[]), 1);
        let variable = Command::new(["python3", "main.py"]).with_env("PYTHONHASHSEED", "1");
        assert_eq!(problems(Language::new("python", main(), variable), &[]), 1);
    }

    #[test]
    fn evaluation_that_changes_the_start_is_not_accepted() {
        let language = ReadyLanguage::new(Language::python(), Vec::new());
        let accepts = |evaluation: &Evaluation| {
            language.accepts(
                evaluation,
                &EvaluationPlan::new(evaluation, &Languages::builtin()).unwrap(),
            )
        };
        assert!(accepts(&Evaluation::python("pass")));
        assert!(accepts(&Evaluation::python("pass").with_arg("-x").with_env("TOKEN", "t")));
        for variable in ["PYTHONHASHSEED", "PATH", "HOME", "LC_ALL", "LD_PRELOAD"] {
            assert!(!accepts(&Evaluation::python("pass").with_env(variable, "x")), "{variable}");
        }
        for path in [".local/lib/python3.11/site-packages/x.pth", ".crucible/sitecustomize.py"] {
            assert!(!accepts(&Evaluation::python("pass").with_file(path, "x")), "{path}");
        }
        assert!(!accepts(&Evaluation::python("x = 'PK\x05\x06'")));
        assert!(!accepts(&Evaluation::shell("true")));
        let collect = Collect::matching(["out"]);
        assert!(!accepts(&Evaluation::python("pass").with_collect(collect)));
    }

    #[test]
    fn start_message_has_arguments_and_variables() {
        let language = ReadyLanguage::new(Language::python(), Vec::new());
        let command = Command::new(["python3", "main.py", "a", ""]).with_env("N", "v=1");
        assert_eq!(language.start_message(&command), b"0000000300000006a\0\0N=v=1\0");
    }
}
