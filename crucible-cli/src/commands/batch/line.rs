//! A line of the input: one evaluation.

use std::collections::BTreeMap;

use crucible::model::{Endpoint, Program};
use crucible::{Evaluation, Limits, Network};
use serde::Deserialize;

/// One evaluation.
///
/// Unknown fields are refused: a misspelt limit must not become a missing limit.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct BatchLine {
    /// The caller's identifier of the line; any JSON value.
    #[serde(default)]
    pub(super) key: serde_json::Value,
    language: Option<String>,
    source: Option<String>,
    command: Option<Vec<String>>,
    #[serde(default)]
    args: Vec<String>,
    #[serde(default)]
    stdin: String,
    #[serde(default)]
    env: BTreeMap<String, String>,
    #[serde(default)]
    files: BTreeMap<String, String>,
    limits: Option<Limits>,
    network: Option<LineNetwork>,
}

/// The endpoints that a program may reach, each as `host:port`.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct LineNetwork {
    allow: Vec<String>,
}

impl LineNetwork {
    /// Returns the network policy.
    fn network(self) -> Result<Network, String> {
        let endpoints = self.allow.iter().map(|text| text.parse::<Endpoint>());
        endpoints
            .collect::<Result<_, _>>()
            .map(Network::Allow)
            .map_err(|error| format!("`network`: {error}"))
    }
}

impl BatchLine {
    /// Parses a line.
    pub(super) fn parse(text: &str) -> Result<Self, String> {
        serde_json::from_str(text).map_err(|error| error.to_string())
    }

    /// Returns the evaluation. `default_limits` apply to a line without limits.
    pub(super) fn evaluation(self, default_limits: &Limits) -> Result<Evaluation, String> {
        let mut evaluation = program(self.language, self.source, self.command)?;
        for argument in self.args {
            evaluation = evaluation.with_arg(argument);
        }
        for (name, value) in self.env {
            evaluation = evaluation.with_env(name, value);
        }
        for (path, content) in self.files {
            evaluation = evaluation.with_file(path, content);
        }
        if let Some(network) = self.network {
            evaluation = evaluation.with_network(network.network()?);
        }
        if matches!(&evaluation.program, Program::Command(command) if command.argv.is_empty()) {
            return Err("`command` is empty".to_owned());
        }
        Ok(evaluation
            .with_stdin(self.stdin)
            .with_limits(self.limits.unwrap_or_else(|| default_limits.clone())))
    }
}

/// Returns an evaluation of the source or of the command.
fn program(
    language: Option<String>,
    source: Option<String>,
    command: Option<Vec<String>>,
) -> Result<Evaluation, String> {
    match (language, source, command) {
        (Some(language), Some(source), None) => Ok(Evaluation::source(language, source)),
        (None, None, Some(command)) => Ok(Evaluation::command(command)),
        (None, Some(_), None) => Err("`source` needs a `language`".to_owned()),
        (Some(_), None, None) => Err("`language` needs a `source`".to_owned()),
        (_, _, Some(_)) => Err("`command` excludes `language` and `source`".to_owned()),
        (None, None, None) => Err("neither `language` and `source` nor `command`".to_owned()),
    }
}
