//! A line of the input: one evaluation.

use std::collections::BTreeMap;

use crucible::{Endpoint, Evaluation, Limits, Network, Program};
use serde::Deserialize;

/// One evaluation. Fields that are not known are refused: a limit that is spelt wrongly must not be no limit.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Line {
    /// Whatever the caller knows it by.
    #[serde(default)]
    pub(crate) key: serde_json::Value,
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
    network: Option<Reach>,
}

/// What a program may reach, each as `host:port`.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Reach {
    allow: Vec<String>,
}

impl Reach {
    fn network(self) -> Result<Network, String> {
        let endpoints = self.allow.iter().map(|text| text.parse::<Endpoint>());
        endpoints
            .collect::<Result<_, _>>()
            .map(Network::Allow)
            .map_err(|error| format!("`network`: {error}"))
    }
}

impl Line {
    /// Reads a line.
    pub(crate) fn parse(text: &str) -> Result<Self, String> {
        serde_json::from_str(text).map_err(|error| error.to_string())
    }

    /// The evaluation that it describes.
    pub(crate) fn evaluation(self, limits: &Limits) -> Result<Evaluation, String> {
        let mut evaluation = match (self.language, self.source, self.command) {
            (Some(language), Some(source), None) => Evaluation::source(language, source),
            (None, None, Some(command)) => Evaluation::command(command),
            (None, Some(_), None) => return Err("`source` needs a `language`".to_owned()),
            (Some(_), None, None) => return Err("`language` needs a `source`".to_owned()),
            (_, _, Some(_)) => {
                return Err("`command` goes without `language` and `source`".to_owned());
            }
            (None, None, None) => {
                return Err("there is neither `language` and `source` nor `command`".to_owned());
            }
        };
        for argument in self.args {
            evaluation = evaluation.with_arg(argument);
        }
        for (name, value) in self.env {
            evaluation = evaluation.with_env(name, value);
        }
        for (path, content) in self.files {
            evaluation = evaluation.with_file(path, content);
        }
        if let Some(reach) = self.network {
            evaluation = evaluation.with_network(reach.network()?);
        }
        if matches!(&evaluation.program, Program::Command(command) if command.argv.is_empty()) {
            return Err("`command` is empty".to_owned());
        }
        Ok(evaluation
            .with_stdin(self.stdin)
            .with_limits(self.limits.unwrap_or_else(|| limits.clone())))
    }
}
