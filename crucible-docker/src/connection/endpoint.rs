//! The address of the daemon.

use std::path::Path;
use std::time::Duration;

use bollard::Docker;
use crucible_core::EngineError;

use super::error::DAEMON;

/// The usual socket of a daemon.
const DOCKER_SOCKET: &str = "/var/run/docker.sock";

/// Returns a client for the configured endpoint, or for the first existing one, and its address.
pub(super) fn connect(
    endpoint: Option<&str>,
    timeout: Duration,
) -> Result<(String, Docker), EngineError> {
    let configured = endpoint
        .map(str::to_owned)
        .or_else(|| std::env::var("DOCKER_HOST").ok().filter(|host| !host.is_empty()));
    let candidates = match configured {
        Some(configured) => vec![configured],
        None => sockets(),
    };
    let mut last_error = None;
    for candidate in &candidates {
        match Docker::connect_with_host(candidate) {
            Ok(client) => return Ok((candidate.clone(), client.with_timeout(timeout))),
            Err(error) => last_error = Some(error),
        }
    }
    Err(EngineError::Unavailable {
        what: format!("{DAEMON} (tried {})", candidates.join(", ")),
        source: last_error.map(Into::into),
    })
}

/// Returns the usual sockets that exist on this machine, or all of them if none exists.
fn sockets() -> Vec<String> {
    #[cfg(windows)]
    return vec!["npipe:////./pipe/docker_engine".to_owned()];
    #[cfg(not(windows))]
    {
        let mut paths = vec![DOCKER_SOCKET.to_owned()];
        if let Ok(runtime) = std::env::var("XDG_RUNTIME_DIR") {
            paths.push(format!("{runtime}/docker.sock"));
            paths.push(format!("{runtime}/podman/podman.sock"));
        }
        paths.push("/run/podman/podman.sock".to_owned());
        let existing: Vec<_> =
            paths.iter().filter(|path| Path::new(path).exists()).cloned().collect();
        let paths = if existing.is_empty() { paths } else { existing };
        paths.into_iter().map(|path| format!("unix://{path}")).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn error_names_the_address_that_was_tried() {
        let error = connect(Some("unix:///no/such/socket"), Duration::from_secs(1)).unwrap_err();
        assert_eq!(error.kind(), crucible_core::EngineErrorKind::Unavailable);
        assert!(error.to_string().contains("unix:///no/such/socket"), "{error}");
        assert!(connect(Some("gopher://x"), Duration::from_secs(1)).is_err());
    }
}
