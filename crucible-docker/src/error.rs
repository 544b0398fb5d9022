//! From what a daemon says to what a host is told. None of it is ever the program's doing.

use bollard::errors::Error;
use crucible_core::EngineError;

/// What stands for the daemon in messages.
pub(crate) const DAEMON: &str = "the Docker daemon";

/// A call that failed.
pub(crate) fn failed(step: impl Into<String>, error: Error) -> EngineError {
    match &error {
        Error::DockerResponseServerError { status_code, message } => {
            if is_away(*status_code, message) {
                return EngineError::Unavailable {
                    what: DAEMON.to_owned(),
                    source: Some(error.into()),
                };
            }
            EngineError::setup(step, error)
        }
        // Whether the call was carried out nobody knows: whatever it made is found by its name or labels, and removed.
        Error::RequestTimeoutError
        | Error::IOError { .. }
        | Error::HyperResponseError { .. }
        | Error::HyperLegacyError { .. }
        | Error::SocketNotFoundError(_) => unavailable(error),
        _ => EngineError::setup(step, error),
    }
}

/// Too many requests, a proxy that reaches nobody, a disk that is full: it may pass.
fn is_away(status: u16, message: &str) -> bool {
    matches!(status, 429 | 502 | 503 | 504) || message.contains("no space left on device")
}

pub(crate) fn unavailable(error: Error) -> EngineError {
    EngineError::Unavailable { what: DAEMON.to_owned(), source: Some(error.into()) }
}

/// The status of an answer, if there was one.
pub(crate) fn status(error: &Error) -> Option<u16> {
    match error {
        Error::DockerResponseServerError { status_code, .. } => Some(*status_code),
        _ => None,
    }
}

/// Whether what was to be removed, ended or looked at is not there, or is already on its way.
pub(crate) fn is_gone(error: &Error) -> bool {
    match error {
        Error::DockerResponseServerError { status_code: 404, .. } => true,
        Error::DockerResponseServerError { status_code: 409, message } => {
            message.contains("already in progress")
        }
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use crucible_core::EngineErrorKind;

    use super::*;

    fn answered(status_code: u16, message: &str) -> Error {
        Error::DockerResponseServerError { status_code, message: message.to_owned() }
    }

    #[test]
    fn what_may_pass_is_told_from_what_will_not() {
        for (status, message, kind) in [
            (429, "toomanyrequests", EngineErrorKind::Unavailable),
            (503, "<html>no server is available</html>", EngineErrorKind::Unavailable),
            (500, "write /var/lib/docker/x: no space left on device", EngineErrorKind::Unavailable),
            (500, "OCI runtime create failed", EngineErrorKind::Setup),
            (400, "invalid", EngineErrorKind::Setup),
            (403, "<html>Forbidden</html>", EngineErrorKind::Setup),
        ] {
            let error = failed("make a container", answered(status, message));
            assert_eq!(error.kind(), kind, "{status} {message}");
            assert!(error.is_retryable() && !error.target_started());
        }
        assert_eq!(failed("", Error::RequestTimeoutError).kind(), EngineErrorKind::Unavailable);
    }

    #[test]
    fn gone_is_gone() {
        assert!(is_gone(&answered(404, "No such container: x")));
        assert!(is_gone(&answered(409, "removal of container x is already in progress")));
        assert!(!is_gone(&answered(409, "Conflict. The container name is already in use")));
    }
}
