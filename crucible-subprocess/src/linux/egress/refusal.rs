//! Why a connection was refused, as the program is told.

/// Why a connection was refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Refusal {
    /// What came is not a request to a proxy.
    Malformed,
    /// Its head is longer than any sensible one.
    TooLong,
    /// It did not come in time.
    TooSlow,
    /// It asks for something else than a connection.
    NotSupported,
    /// The endpoint is not on the list.
    NotListed,
    /// The name leads to an address that is not public.
    NotPublic,
    /// The name has no address, or could not be resolved.
    Unresolved,
    /// None of its addresses answers.
    Unreachable,
    /// What came through the tunnel is not TLS for the name that was asked for.
    OtherName,
}

impl Refusal {
    /// The status line's code and reason (RFC 9110, section 15).
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

    /// Why, in words.
    pub(super) fn words(self) -> &'static str {
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

    /// The answer, complete. Nothing of the request is in it.
    pub(super) fn response(self) -> String {
        let (status, words) = (self.status(), self.words());
        format!(
            "HTTP/1.1 {status}\r\nContent-Type: text/plain\r\nContent-Length: {}\r\nConnection: close\r\n\r\n{words}\n",
            words.len() + 1
        )
    }
}
