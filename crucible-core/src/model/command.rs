//! Commands.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::path::SandboxPath;
use super::problem::Problem;
use super::secret::Secret;

/// The maximum length of one argument or `NAME=value`, with the final NUL (`MAX_ARG_STRLEN`,
/// execve(2)).
const LONGEST_STRING: usize = 131_072;
/// The maximum size of arguments and environment together, with a final NUL and a pointer for each
/// string.
///
/// Linux allows a quarter of the stack limit (2 MiB of 8 MiB, execve(2)). The kernel's own
/// additions count too.
const LARGEST_VECTOR: usize = 2 * 1024 * 1024 - 32 * 1024;

/// The value of an environment variable.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(untagged)]
#[non_exhaustive]
pub enum EnvValue {
    /// A public value.
    Plain(String),
    /// A value that is never printed, logged or stored in plain text.
    Secret(Secret),
}

impl EnvValue {
    /// Returns the value; `None` for a secret that was read back from a storage.
    #[must_use]
    pub fn reveal(&self) -> Option<&str> {
        match self {
            Self::Plain(value) => Some(value),
            Self::Secret(secret) => secret.reveal(),
        }
    }
}

impl From<&str> for EnvValue {
    fn from(value: &str) -> Self {
        Self::Plain(value.to_owned())
    }
}

impl From<String> for EnvValue {
    fn from(value: String) -> Self {
        Self::Plain(value)
    }
}

impl From<Secret> for EnvValue {
    fn from(secret: Secret) -> Self {
        Self::Secret(secret)
    }
}

/// A command to execute in a sandbox.
///
/// The environment is empty by default, and never includes the host's. The engine searches a
/// program without a `/` in the directories of `PATH`. Without `PATH`, it searches
/// `/usr/local/sbin`, `/usr/local/bin`, `/usr/sbin`, `/usr/bin`, `/sbin` and `/bin`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Command {
    /// The program and its arguments.
    pub argv: Vec<String>,
    /// The environment.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub env: BTreeMap<String, EnvValue>,
    /// The start directory, beneath the working directory; `None` is the working directory itself.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub directory: Option<SandboxPath>,
}

impl Command {
    /// Creates a command from the program and its arguments.
    #[must_use]
    pub fn new<S: Into<String>>(argv: impl IntoIterator<Item = S>) -> Self {
        Self {
            argv: argv.into_iter().map(Into::into).collect(),
            env: BTreeMap::new(),
            directory: None,
        }
    }

    /// Sets an environment variable.
    #[must_use]
    pub fn with_env(mut self, name: impl Into<String>, value: impl Into<EnvValue>) -> Self {
        self.env.insert(name.into(), value.into());
        self
    }

    /// Sets the start directory, beneath the working directory.
    #[must_use]
    pub fn with_directory(mut self, directory: SandboxPath) -> Self {
        self.directory = Some(directory);
        self
    }

    /// Returns the problems of this command. `field` is the name of the argument list.
    #[must_use]
    pub fn problems(&self, field: &str) -> Vec<Problem> {
        let mut problems = Vec::new();
        match self.argv.first() {
            None => problems.push(Problem::new(field, "is empty; it needs at least a program")),
            Some(program) if program.is_empty() => {
                problems
                    .push(Problem::new(format!("{field}[0]"), "is empty; it names the program"));
            }
            Some(_) => {}
        }
        let mut size = 0_usize;
        for (index, argument) in self.argv.iter().enumerate() {
            size += argument.len() + 1 + size_of::<usize>();
            problems.extend(string_problem(
                &format!("{field}[{index}]"),
                argument.len() + 1,
                argument,
            ));
            if problems.len() > 20 {
                return problems;
            }
        }
        for (name, value) in &self.env {
            let shown: String = name.chars().take(64).collect();
            let value = value.reveal().unwrap_or_default();
            size += name.len() + value.len() + 2 + size_of::<usize>();
            if name.is_empty() || name.contains(['=', '\0']) {
                let message = "is not a variable name: it is empty, or contains `=` or NUL";
                problems.push(Problem::new(format!("env.{shown}"), message));
            }
            problems.extend(string_problem(
                &format!("env.{shown}"),
                name.len() + value.len() + 2,
                value,
            ));
            if problems.len() > 20 {
                return problems;
            }
        }
        if size > LARGEST_VECTOR {
            let message = format!(
                "and the environment take {size} bytes together ({} arguments, {} variables); \
                 the kernel accepts {LARGEST_VECTOR}: pass the data as a file or as stdin",
                self.argv.len(),
                self.env.len()
            );
            problems.push(Problem::new(field, message));
        }
        problems
    }

    /// Returns the names of the variables whose secret values this host does not have.
    pub fn lost_secrets(&self) -> impl Iterator<Item = &str> {
        self.env.iter().filter(|(_, value)| value.reveal().is_none()).map(|(name, _)| name.as_str())
    }
}

/// Returns the problem of an argument or an environment variable, if there is one.
fn string_problem(field: &str, size: usize, text: &str) -> Option<Problem> {
    if text.contains('\0') {
        Some(Problem::new(field, "contains a NUL byte"))
    } else if size > LONGEST_STRING {
        Some(Problem::new(
            field,
            format!("is {size} bytes long; the kernel accepts {LONGEST_STRING}"),
        ))
    } else {
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fields(command: &Command) -> Vec<String> {
        command.problems("command").into_iter().map(|problem| problem.field).collect()
    }

    #[test]
    fn plain_command_has_no_problem() {
        let command =
            Command::new(["sh", "-c", "", "ü"]).with_env("A", "").with_env("B", Secret::new("x"));
        assert_eq!(fields(&command), Vec::<String>::new());
    }

    #[test]
    fn commands_that_exceed_kernel_limits_are_refused() {
        assert_eq!(fields(&Command::new(Vec::<String>::new())), ["command"]);
        assert_eq!(fields(&Command::new([""])), ["command[0]"]);
        assert_eq!(fields(&Command::new(["a\0b"])), ["command[0]"]);
        assert_eq!(fields(&Command::new(["a".to_owned(), "x".repeat(131_072)])), ["command[1]"]);
        assert!(fields(&Command::new(["a".to_owned(), "x".repeat(131_071)])).is_empty());
        let three_megabytes = Command::new((0..30).map(|_| "x".repeat(100_000)));
        assert_eq!(fields(&three_megabytes), ["command"]);
        let mut crowded = Command::new(["env"]);
        for index in 0..100_000 {
            crowded = crowded.with_env(format!("VARIABLE_{index}"), "0123456789");
        }
        assert_eq!(fields(&crowded), ["command"]);
        for name in ["", "A=B", "A\0"] {
            assert_eq!(fields(&Command::new(["env"]).with_env(name, "v")).len(), 1, "{name:?}");
        }
    }

    #[test]
    fn plain_and_secret_values_have_distinct_wire_forms() {
        let command = Command::new(["env"]).with_env("A", "1").with_env("B", Secret::new("s3cret"));
        let json = serde_json::to_string(&command).unwrap();
        assert_eq!(json, r#"{"argv":["env"],"env":{"A":"1","B":{"secret":true}}}"#);
        let read: Command = serde_json::from_str(&json).unwrap();
        assert_eq!(read.lost_secrets().collect::<Vec<_>>(), ["B"]);
        assert_eq!(command.lost_secrets().count(), 0);
    }
}
