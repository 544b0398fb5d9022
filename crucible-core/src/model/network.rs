//! Network policies.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use super::problem::Problem;

/// The network policy of a program.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Network {
    /// No network: no interface, no loopback, and no address family except `AF_UNIX`.
    #[default]
    None,
    /// Access to these endpoints only. An engine that cannot enforce the list refuses the
    /// evaluation.
    Allow(Vec<Endpoint>),
}

impl Network {
    /// Returns the problems of this policy. `field` is its name.
    #[must_use]
    pub fn problems(&self, field: &str) -> Vec<Problem> {
        match self {
            Self::None => Vec::new(),
            Self::Allow(endpoints) if endpoints.is_empty() => {
                vec![Problem::new(field, "is an empty allow-list; use `none`")]
            }
            Self::Allow(endpoints) => endpoints
                .iter()
                .enumerate()
                .filter_map(|(i, e)| e.problem(&format!("{field}[{i}]")))
                .collect(),
        }
    }
}

/// A host and a TCP port.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Endpoint {
    /// The DNS name of the host, without a trailing dot. IP addresses are not valid.
    pub host: String,
    /// The TCP port.
    pub port: u16,
}

impl Endpoint {
    /// Creates the endpoint `host:port`.
    #[must_use]
    pub fn new(host: impl Into<String>, port: u16) -> Self {
        Self { host: host.into(), port }
    }

    /// Returns the problem of this endpoint, if there is one.
    ///
    /// A DNS name has labels of letters, digits and hyphens, of at most 63 bytes each and 253 bytes
    /// in total (RFC 1123, section 2.1). The last label must not be a decimal or hexadecimal
    /// number, so that no form of an IP address is accepted.
    fn problem(&self, field: &str) -> Option<Problem> {
        let label = |label: &str| {
            (1..=63).contains(&label.len())
                && label.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-')
                && !label.starts_with('-')
                && !label.ends_with('-')
        };
        let named = self.host.len() <= 253
            && self.host.split('.').all(label)
            && self.host.split('.').next_back().is_some_and(|label| !is_number(label));
        if !named {
            Some(Problem::new(
                field,
                format!("has the host {:?}, which is not a DNS name", self.host),
            ))
        } else if self.port == 0 {
            Some(Problem::new(field, "has port 0"))
        } else {
            None
        }
    }
}

/// Returns `true` if the label can be a part of an IP address (inet_aton(3)).
fn is_number(label: &str) -> bool {
    let hexadecimal = label.strip_prefix("0x").or_else(|| label.strip_prefix("0X"));
    match hexadecimal {
        Some(digits) => digits.bytes().all(|b| b.is_ascii_hexdigit()),
        None => label.bytes().all(|b| b.is_ascii_digit()),
    }
}

impl fmt::Display for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.host, self.port)
    }
}

/// An error for a text that is not a host and a port.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{text:?} is not `HOST:PORT`, with the DNS name of a host and a TCP port")]
pub struct ParseEndpointError {
    text: String,
}

impl FromStr for Endpoint {
    type Err = ParseEndpointError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let parts = text.rsplit_once(':');
        let digits = |port: &&str| port.bytes().all(|b| b.is_ascii_digit());
        let endpoint = parts.and_then(|(host, port)| {
            Some(Self::new(host, Some(port).filter(digits)?.parse().ok()?))
        });
        endpoint
            .filter(|endpoint| endpoint.problem("").is_none())
            .ok_or_else(|| ParseEndpointError { text: text.chars().take(300).collect() })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn endpoint_without_name_or_port_is_refused() {
        let good =
            Network::Allow(vec![Endpoint::new("pypi.org", 443), Endpoint::new("a-1.example", 80)]);
        assert!(good.problems("network").is_empty());
        for (host, port) in [
            ("", 1),
            ("10.0.0.1", 80),
            ("2130706433", 80),
            ("0x7f000001", 80),
            ("127.0.0.0X1", 80),
            ("0177.0.1", 80),
            ("0x", 80),
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

    #[test]
    fn endpoint_parses_from_host_and_port() {
        let endpoint: Endpoint = "pypi.org:443".parse().unwrap();
        assert_eq!(
            (endpoint.clone(), endpoint.to_string()),
            (Endpoint::new("pypi.org", 443), "pypi.org:443".to_owned())
        );
        for text in [
            "",
            "pypi.org",
            "pypi.org:",
            ":443",
            "a.b:0",
            "a.b:65536",
            "a.b:+1",
            "a.b: 1",
            "127.0.0.1:1",
            "[::1]:80",
            "a b:1",
        ] {
            assert!(text.parse::<Endpoint>().is_err(), "{text:?}");
        }
    }
}
