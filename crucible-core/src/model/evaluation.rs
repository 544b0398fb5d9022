//! Evaluations: the programs to run.

use std::collections::BTreeMap;
use std::time::Duration;

use bytes::Bytes;
use serde::{Deserialize, Serialize};

use super::collect::Collect;
use super::command::{Command, EnvValue};
use super::input_file::InputFile;
use super::layer::Isolation;
use super::limits::Limits;
use super::network::Network;
use super::priority::Priority;
use super::retry::Retry;
use super::time::optional_duration_us;
use super::wire_bytes;

/// The program to run.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Program {
    /// A command.
    Command(Command),
    /// Source text in a [`Language`](crate::Language) that the host offers.
    Source {
        /// The name or an alias of the language.
        language: String,
        /// The source text.
        text: String,
        /// Arguments for the program.
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        args: Vec<String>,
    },
}

/// A program to run, its input, and its limits.
///
/// The defaults are closed: no network, no environment, no input, default [`Limits`], no collected
/// files. `submit` validates an evaluation and reports all problems together.
///
/// ```
/// use std::time::Duration;
/// use crucible_core::{Evaluation, Limits};
///
/// let evaluation = Evaluation::python("print(input())")
///     .with_stdin("hello\n")
///     .with_limits(Limits::new().with_wall(Duration::from_secs(2)).with_memory_bytes(64 << 20))
///     .with_label("course", "cs101");
/// assert_eq!(evaluation.limits.wall, Duration::from_secs(2));
/// ```
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Evaluation {
    /// The program.
    pub program: Program,
    /// The files to write beside the program.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub files: Vec<InputFile>,
    /// The standard input, followed by end-of-file.
    #[serde(default, with = "wire_bytes", skip_serializing_if = "Bytes::is_empty")]
    pub stdin: Bytes,
    /// The environment; for source, in addition to the language's.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub env: BTreeMap<String, EnvValue>,
    /// The limits of the program.
    #[serde(default)]
    pub limits: Limits,
    /// The limits of the compile step, in place of the language's own.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub compile_limits: Option<Limits>,
    /// The number of bytes of each output stream to keep, half from the beginning and half from the
    /// end. 1 MiB by default.
    #[serde(default = "default_capture_bytes")]
    pub capture_bytes: u64,
    /// The network policy.
    #[serde(default)]
    pub network: Network,
    /// The required layers.
    #[serde(default)]
    pub isolation: Isolation,
    /// The files to collect.
    #[serde(default)]
    pub collect: Collect,
    /// The name of the engine; `None` selects the platform's first.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub engine: Option<String>,
    /// The image, for an engine that runs images; `None` selects the engine's image for the
    /// language.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub image: Option<String>,
    /// The priority.
    #[serde(default)]
    pub priority: Priority,
    /// The tenant. Tenants take turns within a priority. The default is the empty name, an ordinary
    /// tenant.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub tenant: String,
    /// Labels for queries.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub labels: BTreeMap<String, String>,
    /// The retry policy after infrastructure failures.
    #[serde(default)]
    pub retry: Retry,
    /// The maximum wait for a worker, after which the evaluation ends as `Expired`. `None` is
    /// unlimited.
    #[serde(
        default,
        rename = "expires_in_us",
        with = "optional_duration_us",
        skip_serializing_if = "Option::is_none"
    )]
    pub expires_in: Option<Duration>,
    /// The idempotency key. A second submission with the same tenant and key returns the first
    /// evaluation's handle.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub idempotency_key: Option<String>,
}

/// Returns the default of [`Evaluation::capture_bytes`].
fn default_capture_bytes() -> u64 {
    1024 * 1024
}

impl Evaluation {
    /// Creates an evaluation of a program.
    #[must_use]
    pub fn new(program: Program) -> Self {
        Self {
            program,
            files: Vec::new(),
            stdin: Bytes::new(),
            env: BTreeMap::new(),
            limits: Limits::default(),
            compile_limits: None,
            capture_bytes: default_capture_bytes(),
            network: Network::None,
            isolation: Isolation::default(),
            collect: Collect::default(),
            engine: None,
            image: None,
            priority: Priority::Normal,
            tenant: String::new(),
            labels: BTreeMap::new(),
            retry: Retry::default(),
            expires_in: None,
            idempotency_key: None,
        }
    }

    /// Creates an evaluation of Python source.
    #[must_use]
    pub fn python(source: impl Into<String>) -> Self {
        Self::source("python", source)
    }

    /// Creates an evaluation of a POSIX shell script.
    #[must_use]
    pub fn shell(script: impl Into<String>) -> Self {
        Self::source("sh", script)
    }

    /// Creates an evaluation of a command: the program, then its arguments.
    #[must_use]
    pub fn command<S: Into<String>>(argv: impl IntoIterator<Item = S>) -> Self {
        Self::new(Program::Command(Command::new(argv)))
    }

    /// Creates an evaluation of source in a language that the host offers, see
    /// [`Languages`](crate::Languages).
    #[must_use]
    pub fn source(language: impl Into<String>, text: impl Into<String>) -> Self {
        Self::new(Program::Source {
            language: language.into(),
            text: text.into(),
            args: Vec::new(),
        })
    }

    /// Adds an argument for the program.
    #[must_use]
    pub fn with_arg(mut self, argument: impl Into<String>) -> Self {
        match &mut self.program {
            Program::Command(command) => command.argv.push(argument.into()),
            Program::Source { args, .. } => args.push(argument.into()),
        }
        self
    }

    /// Adds a file beside the program.
    #[must_use]
    pub fn with_file(mut self, path: impl Into<String>, content: impl Into<Bytes>) -> Self {
        self.files.push(InputFile::new(path, content));
        self
    }

    /// Adds an [`InputFile`] beside the program.
    #[must_use]
    pub fn with_input_file(mut self, file: InputFile) -> Self {
        self.files.push(file);
        self
    }

    /// Sets the standard input.
    #[must_use]
    pub fn with_stdin(mut self, stdin: impl Into<Bytes>) -> Self {
        self.stdin = stdin.into();
        self
    }

    /// Sets an environment variable, to a text or to a [`Secret`](crate::Secret).
    #[must_use]
    pub fn with_env(mut self, name: impl Into<String>, value: impl Into<EnvValue>) -> Self {
        self.env.insert(name.into(), value.into());
        self
    }

    /// Sets the limits.
    #[must_use]
    pub fn with_limits(mut self, limits: Limits) -> Self {
        self.limits = limits;
        self
    }

    /// Sets the limits of the compile step.
    #[must_use]
    pub fn with_compile_limits(mut self, limits: Limits) -> Self {
        self.compile_limits = Some(limits);
        self
    }

    /// Sets the number of bytes of each output stream to keep.
    #[must_use]
    pub fn with_capture_bytes(mut self, bytes: u64) -> Self {
        self.capture_bytes = bytes;
        self
    }

    /// Sets the network policy.
    #[must_use]
    pub fn with_network(mut self, network: Network) -> Self {
        self.network = network;
        self
    }

    /// Sets the required layers.
    #[must_use]
    pub fn with_isolation(mut self, isolation: Isolation) -> Self {
        self.isolation = isolation;
        self
    }

    /// Sets the files to collect.
    #[must_use]
    pub fn with_collect(mut self, collect: Collect) -> Self {
        self.collect = collect;
        self
    }

    /// Sets the engine.
    #[must_use]
    pub fn with_engine(mut self, name: impl Into<String>) -> Self {
        self.engine = Some(name.into());
        self
    }

    /// Sets the image, for an engine that runs images: `python:3.12-slim`. Other engines refuse the
    /// evaluation.
    #[must_use]
    pub fn with_image(mut self, image: impl Into<String>) -> Self {
        self.image = Some(image.into());
        self
    }

    /// Sets the priority.
    #[must_use]
    pub fn with_priority(mut self, priority: Priority) -> Self {
        self.priority = priority;
        self
    }

    /// Sets the tenant.
    #[must_use]
    pub fn with_tenant(mut self, tenant: impl Into<String>) -> Self {
        self.tenant = tenant.into();
        self
    }

    /// Adds a label.
    #[must_use]
    pub fn with_label(mut self, name: impl Into<String>, value: impl Into<String>) -> Self {
        self.labels.insert(name.into(), value.into());
        self
    }

    /// Sets the retry policy.
    #[must_use]
    pub fn with_retry(mut self, retry: Retry) -> Self {
        self.retry = retry;
        self
    }

    /// Sets the maximum wait for a worker.
    #[must_use]
    pub fn with_expires_in(mut self, expires_in: Duration) -> Self {
        self.expires_in = Some(expires_in);
        self
    }

    /// Sets the idempotency key.
    #[must_use]
    pub fn with_idempotency_key(mut self, key: impl Into<String>) -> Self {
        self.idempotency_key = Some(key.into());
        self
    }

    /// Returns the names of the variables whose secret values this host does not have.
    pub fn lost_secrets(&self) -> impl Iterator<Item = &str> {
        let command_env = match &self.program {
            Program::Command(command) => Some(&command.env),
            Program::Source { .. } => None,
        };
        let values = command_env.into_iter().chain([&self.env]).flatten();
        values.filter(|(_, value)| value.reveal().is_none()).map(|(name, _)| name.as_str())
    }

    /// Returns the evaluation without the values of its secrets, as a storage returns it; `None` if
    /// it has no secrets.
    pub(crate) fn without_secrets(&self) -> Option<Self> {
        let mut evaluation = self.clone();
        let command_env = match &mut evaluation.program {
            Program::Command(command) => Some(&mut command.env),
            Program::Source { .. } => None,
        };
        let values =
            command_env.into_iter().chain([&mut evaluation.env]).flat_map(BTreeMap::values_mut);
        let mut found = false;
        for value in values {
            if let EnvValue::Secret(secret) = value {
                secret.erase();
                found = true;
            }
        }
        found.then_some(evaluation)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::secret::Secret;

    #[test]
    fn default_evaluation_is_closed() {
        let evaluation = Evaluation::python("pass");
        assert_eq!(evaluation.network, Network::None);
        assert!(
            evaluation.env.is_empty()
                && evaluation.stdin.is_empty()
                && evaluation.collect.is_empty()
        );
        assert_eq!(evaluation.limits, Limits::default());
    }

    #[test]
    fn evaluation_round_trips_without_secrets() {
        let evaluation = Evaluation::source("c", "int main(){}")
            .with_arg("-v")
            .with_file("data.bin", &b"\xff\x00"[..])
            .with_stdin("in")
            .with_env("TOKEN", Secret::new("hunter2"))
            .with_expires_in(Duration::from_secs(60))
            .with_idempotency_key("k1");
        let json = serde_json::to_string(&evaluation).unwrap();
        assert!(!json.contains("hunter2"));
        let read: Evaluation = serde_json::from_str(&json).unwrap();
        assert_eq!(read.files, evaluation.files);
        assert_eq!(read.expires_in, evaluation.expires_in);
        assert_eq!(read.env["TOKEN"].reveal(), None);
    }

    #[test]
    fn without_secrets_removes_all_values() {
        let command =
            Command::new(["env"]).with_env("A", Secret::new("hunter2")).with_env("B", "plain");
        let evaluation =
            Evaluation::new(Program::Command(command)).with_env("C", Secret::new("hunter3"));
        let erased = evaluation.without_secrets().unwrap();
        let Program::Command(command) = &erased.program else { panic!() };
        assert_eq!((command.env["A"].reveal(), command.env["B"].reveal()), (None, Some("plain")));
        assert_eq!(erased.env["C"].reveal(), None);
        assert_eq!(Evaluation::command(["env"]).with_env("B", "plain").without_secrets(), None);
    }

    #[test]
    fn with_arg_appends_to_command() {
        let Program::Command(command) = Evaluation::command(["ls"]).with_arg("-l").program else {
            panic!()
        };
        assert_eq!(command.argv, ["ls", "-l"]);
    }
}
