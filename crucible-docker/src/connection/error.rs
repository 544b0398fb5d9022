//! Conversion of the daemon's errors. All of them are infrastructure failures, never the program's.

use bollard::errors::Error;
use crucible_core::EngineError;

/// The name of the daemon in messages.
pub(crate) const DAEMON: &str = "the Docker daemon";

/// Returns the error of a failed call.
pub(crate) fn call_failed(step: impl Into<String>, error: Error) -> EngineError {
    match &error {
        Error::DockerResponseServerError { status_code, message } => {
            if is_temporary(*status_code, message) {
                return EngineError::Unavailable {
                    what: DAEMON.to_owned(),
                    source: Some(error.into()),
                };
            }
            EngineError::setup(step, error)
        }
        // The daemon may have performed the call. Its container is found by name or label, and
        // removed.
        Error::RequestTimeoutError
        | Error::IOError { .. }
        | Error::HyperResponseError { .. }
        | Error::HyperLegacyError { .. }
        | Error::SocketNotFoundError(_) => unavailable(error),
        _ => EngineError::setup(step, error),
    }
}

/// Returns `true` for too many requests, a proxy without a daemon, or a full disk.
fn is_temporary(status: u16, message: &str) -> bool {
    matches!(status, 429 | 502 | 503 | 504) || message.contains("no space left on device")
}

/// Returns the error of a daemon that does not respond.
pub(crate) fn unavailable(error: Error) -> EngineError {
    EngineError::Unavailable { what: DAEMON.to_owned(), source: Some(error.into()) }
}

/// Returns the status code of the daemon's response, if there was one.
pub(crate) fn status(error: &Error) -> Option<u16> {
    match error {
        Error::DockerResponseServerError { status_code, .. } => Some(*status_code),
        _ => None,
    }
}

/// Returns `true` if the container of the call does not exist, or is already being removed.
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

    fn response(status_code: u16, message: &str) -> Error {
        Error::DockerResponseServerError { status_code, message: message.to_owned() }
    }

    #[test]
    fn temporary_errors_are_unavailable_and_others_setup() {
        for (status, message, kind) in [
            (429, "toomanyrequests", EngineErrorKind::Unavailable),
            (503, "<html>no server is available</html>", EngineErrorKind::Unavailable),
            (500, "write /var/lib/docker/x: no space left on device", EngineErrorKind::Unavailable),
            (500, "OCI runtime create failed", EngineErrorKind::Setup),
            (400, "invalid", EngineErrorKind::Setup),
            (403, "<html>Forbidden</html>", EngineErrorKind::Setup),
        ] {
            let error = call_failed("create a container", response(status, message));
            assert_eq!(error.kind(), kind, "{status} {message}");
            assert!(error.is_retryable() && !error.target_started());
        }
        assert_eq!(
            call_failed("", Error::RequestTimeoutError).kind(),
            EngineErrorKind::Unavailable
        );
    }

    #[test]
    fn missing_and_disappearing_containers_are_gone() {
        assert!(is_gone(&response(404, "No such container: x")));
        assert!(is_gone(&response(409, "removal of container x is already in progress")));
        assert!(!is_gone(&response(409, "Conflict. The container name is already in use")));
    }
}
