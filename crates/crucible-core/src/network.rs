//! What a program may reach.

use serde::{Deserialize, Serialize};

use crate::Problem;

/// What a program may reach over the network.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Network {
    /// Nothing: no interface, no address family but `AF_UNIX`, not even the loopback.
    #[default]
    None,
    /// These endpoints and nothing else. An engine that cannot enforce the list refuses the evaluation.
    Allow(Vec<Endpoint>),
}

impl Network {
    pub(crate) fn problems(&self, field: &str) -> Vec<Problem> {
        match self {
            Self::None => Vec::new(),
            Self::Allow(endpoints) if endpoints.is_empty() => {
                vec![Problem::new(field, "is an empty allow-list; say `none`")]
            }
            Self::Allow(endpoints) => endpoints
                .iter()
                .enumerate()
                .filter_map(|(i, e)| e.problem(&format!("{field}[{i}]")))
                .collect(),
        }
    }
}

/// A host and a TCP port that a program may reach.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Endpoint {
    /// The host by its DNS name, without a trailing dot. Addresses are not names.
    pub host: String,
    /// The TCP port.
    pub port: u16,
}

impl Endpoint {
    /// The endpoint `host:port`.
    #[must_use]
    pub fn new(host: impl Into<String>, port: u16) -> Self {
        Self { host: host.into(), port }
    }

    /// Names are letters, digits and hyphens in labels of at most 63 bytes, 253 in all (RFC 1123, section 2.1), and
    /// at least one label is not a number, so that no address passes for a name.
    fn problem(&self, field: &str) -> Option<Problem> {
        let label = |label: &str| {
            (1..=63).contains(&label.len())
                && label.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-')
                && !label.starts_with('-')
                && !label.ends_with('-')
        };
        let named = self.host.len() <= 253
            && self.host.split('.').all(label)
            && self.host.split('.').next_back().is_some_and(|l| !l.bytes().all(|b| b.is_ascii_digit()));
        if !named {
            Some(Problem::new(field, format!("has a host {:?} that is not a DNS name", self.host)))
        } else if self.port == 0 {
            Some(Problem::new(field, "has port 0"))
        } else {
            None
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_endpoint_has_a_name_and_a_port() {
        let good = Network::Allow(vec![Endpoint::new("pypi.org", 443), Endpoint::new("a-1.example", 80)]);
        assert!(good.problems("network").is_empty());
        for (host, port) in [
            ("", 1),
            ("10.0.0.1", 80),
            ("::1", 80),
            ("a b", 80),
            ("-a.com", 80),
            ("a.com.", 80),
            ("a.com", 0),
        ] {
            let problems = Network::Allow(vec![Endpoint::new(host, port)]).problems("network");
            assert_eq!(problems.len(), 1, "{host}:{port}");
            assert_eq!(problems[0].field, "network[0]");
        }
        assert_eq!(Network::Allow(vec![]).problems("network").len(), 1);
    }
}
