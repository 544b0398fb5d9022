//! The reasons for a refused connection, as the program receives them.

/// The reason for a refused connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum EgressRefusal {
    /// The bytes are not a request to a proxy.
    Malformed,
    /// The head is longer than any sensible one.
    TooLong,
    /// The request did not arrive in time.
    TooSlow,
    /// The request is not for a connection.
    NotSupported,
    /// The endpoint is not on the allow-list.
    NotListed,
    /// The name has an address that is not public.
    NotPublic,
    /// The name has no address, or cannot be resolved.
    Unresolved,
    /// None of the name's addresses accepts.
    Unreachable,
    /// The bytes in the tunnel are not TLS for the tunnel's host.
    OtherName,
}

impl EgressRefusal {
    /// Returns the status line's code and reason (RFC 9110, section 15).
    fn status(self) -> &'static str {
        match self {
            Self::Malformed => "400 Bad Request",
            Self::NotListed | Self::NotPublic | Self::OtherName => "403 Forbidden",
            Self::TooSlow => "408 Request Timeout",
            Self::TooLong => "431 Request Header Fields Too Large",
            Self::NotSupported => "501 Not Implemented",
            Self::Unresolved | Self::Unreachable => "502 Bad Gateway",
        }
    }

    /// Returns the reason, for people.
    pub(super) fn reason(self) -> &'static str {
        match self {
            Self::Malformed => "the request is malformed, or names two hosts",
            Self::TooLong => "the head of the request is too long",
            Self::TooSlow => "the request did not come in time",
            Self::NotSupported => "the proxy knows CONNECT, and requests for `http` addresses",
            Self::NotListed => "the host and port are not on the allow-list",
            Self::NotPublic => "the host has an address that is not public",
            Self::Unresolved => "the host has no address",
            Self::Unreachable => "the host cannot be reached",
            Self::OtherName => "the TLS connection is for another host than the tunnel",
        }
    }

    /// Returns the complete answer, which repeats no part of the request.
    pub(super) fn response(self) -> String {
        let (status, reason) = (self.status(), self.reason());
        format!(
            "HTTP/1.1 {status}\r\nContent-Type: text/plain\r\nContent-Length: {}\r\n\
             Connection: close\r\n\r\n{reason}\n",
            reason.len() + 1
        )
    }
}
