//! A request to the proxy: `CONNECT name:port`, or a request for an `http` address (RFC 9112,
//! section 3.2).

use crucible_core::Endpoint;
use httparse::{Error, Header, Status};

use super::egress_refusal::EgressRefusal;

/// The maximum number of bytes of a head.
pub(super) const HEAD_MAX: usize = 8 * 1024;
/// The maximum number of fields in a head.
const FIELDS_MAX: usize = 64;
/// Fields for the proxy itself, which it does not forward (RFC 9110, section 7.6.1). The proxy
/// writes its own `Host`.
const HOP_BY_HOP: [&str; 7] = [
    "connection",
    "host",
    "keep-alive",
    "proxy-authorization",
    "proxy-connection",
    "te",
    "upgrade",
];

/// The request of a program.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct ProxyRequest {
    /// The requested endpoint, in lower case and without the final dot of its name.
    pub(super) endpoint: Endpoint,
    pub(super) mode: ProxyMode,
    /// Number of bytes of the head. The following bytes are for the server.
    pub(super) length: usize,
}

/// The way in which the program wants to be connected.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum ProxyMode {
    /// A tunnel.
    Tunnel,
    /// A forwarded request with this head.
    Forward(Vec<u8>),
}

impl ProxyRequest {
    /// Parses a head. Returns `None` if bytes are missing.
    pub(super) fn parse(bytes: &[u8]) -> Result<Option<Self>, EgressRefusal> {
        let mut fields = [httparse::EMPTY_HEADER; FIELDS_MAX];
        let mut request = httparse::Request::new(&mut fields);
        let length = match request.parse(bytes) {
            Ok(Status::Complete(length)) => length,
            Ok(Status::Partial) if bytes.len() < HEAD_MAX => return Ok(None),
            Ok(Status::Partial) | Err(Error::TooManyHeaders) => return Err(EgressRefusal::TooLong),
            Err(_) => return Err(EgressRefusal::Malformed),
        };
        let (Some(method), Some(target)) = (request.method, request.path) else {
            return Err(EgressRefusal::Malformed);
        };
        let (endpoint, mode) = if method == "CONNECT" {
            (authority(target, None).ok_or(EgressRefusal::Malformed)?, ProxyMode::Tunnel)
        } else {
            let (endpoint, path) = http_address(target)?;
            let head = forwarded_head(method, &endpoint, &path, request.headers);
            (endpoint, ProxyMode::Forward(head))
        };
        // With two hosts in one request, the proxy would check one and the server would use the
        // other.
        let mut hosts =
            request.headers.iter().filter(|field| field.name.eq_ignore_ascii_case("host"));
        if let Some(host) = hosts.next() {
            let default = if mode == ProxyMode::Tunnel { endpoint.port } else { 80 };
            let named = std::str::from_utf8(host.value)
                .ok()
                .and_then(|text| authority(text, Some(default)));
            if named.as_ref() != Some(&endpoint) || hosts.next().is_some() {
                return Err(EgressRefusal::Malformed);
            }
        }
        Ok(Some(Self { endpoint, mode, length }))
    }
}

/// Parses `name:port`. The allow-list contains names only, so that addresses, user names and other
/// forms never match it.
fn authority(text: &str, default: Option<u16>) -> Option<Endpoint> {
    let (host, port) = match text.rsplit_once(':') {
        Some((host, port)) if port.bytes().all(|byte| byte.is_ascii_digit()) => {
            (host, port.parse().ok()?)
        }
        _ => (text, default?),
    };
    let host = host.strip_suffix('.').unwrap_or(host);
    (!host.is_empty()).then(|| Endpoint::new(host.to_ascii_lowercase(), port))
}

/// Parses the endpoint and the path of an `http` address.
fn http_address(target: &str) -> Result<(Endpoint, String), EgressRefusal> {
    let scheme = target.get(..7).filter(|scheme| scheme.eq_ignore_ascii_case("http://"));
    let rest =
        scheme.and_then(|scheme| target.get(scheme.len()..)).ok_or(EgressRefusal::NotSupported)?;
    let end = rest.find(['/', '?', '#']).unwrap_or(rest.len());
    let (host, path) = rest.split_at(end);
    let endpoint = authority(host, Some(80)).ok_or(EgressRefusal::Malformed)?;
    let path = if path.starts_with('/') { path.to_owned() } else { format!("/{path}") };
    Ok((endpoint, path))
}

/// Encodes the head for the server. The connection carries this request only, because the proxy
/// would not check a second one.
fn forwarded_head(method: &str, endpoint: &Endpoint, path: &str, fields: &[Header<'_>]) -> Vec<u8> {
    let port = if endpoint.port == 80 { String::new() } else { format!(":{}", endpoint.port) };
    let mut head =
        format!("{method} {path} HTTP/1.1\r\nHost: {}{port}\r\n", endpoint.host).into_bytes();
    for field in fields {
        if !HOP_BY_HOP.iter().any(|name| field.name.eq_ignore_ascii_case(name)) {
            head.extend_from_slice(field.name.as_bytes());
            head.extend_from_slice(b": ");
            head.extend_from_slice(field.value);
            head.extend_from_slice(b"\r\n");
        }
    }
    head.extend_from_slice(b"Connection: close\r\n\r\n");
    head
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn parsed(text: &str) -> Result<Option<ProxyRequest>, EgressRefusal> {
        ProxyRequest::parse(text.as_bytes())
    }

    #[track_caller]
    fn endpoint(text: &str) -> String {
        parsed(text).unwrap().unwrap().endpoint.to_string()
    }

    #[test]
    fn tunnel_leads_to_the_named_endpoint() {
        for head in [
            "CONNECT Pypi.Org:443 HTTP/1.1\r\nHost: pypi.org:443\r\n\r\n",
            "CONNECT pypi.org.:443 HTTP/1.0\r\n\r\n",
            "CONNECT pypi.org:0443 HTTP/1.1\r\nhost: PYPI.org.\r\nUser-Agent: x\r\n\r\nrest",
        ] {
            assert_eq!(endpoint(head), "pypi.org:443", "{head:?}");
            for end in 0..head.find("\r\n\r\n").unwrap() + 4 {
                assert_eq!(parsed(&head[..end]), Ok(None), "{:?}", &head[..end]);
            }
        }
        let request = parsed("CONNECT a:1 HTTP/1.1\r\n\r\nrest").unwrap().unwrap();
        assert_eq!((request.length, request.mode), (24, ProxyMode::Tunnel));
    }

    #[test]
    fn request_with_two_hosts_is_malformed() {
        for head in [
            "CONNECT a.example:443 HTTP/1.1\r\nHost: b.example:443\r\n\r\n",
            "CONNECT a.example:443 HTTP/1.1\r\nHost: a.example:80\r\n\r\n",
            "CONNECT a.example:443 HTTP/1.1\r\nHost: a.example\r\nHost: a.example\r\n\r\n",
            "CONNECT a.example:443 HTTP/1.1\r\nHost: a.example\r\nhOST: b.example\r\n\r\n",
            "CONNECT a.example:443 HTTP/1.1\r\nHost: \r\n\r\n",
            "GET http://a.example/ HTTP/1.1\r\nHost: b.example\r\n\r\n",
            "GET http://a.example:81/ HTTP/1.1\r\nHost: a.example\r\n\r\n",
        ] {
            assert_eq!(parsed(head), Err(EgressRefusal::Malformed), "{head:?}");
        }
    }

    #[test]
    fn other_requests_are_refused() {
        for (head, refusal) in [
            ("CONNECT a.example HTTP/1.1\r\n\r\n", EgressRefusal::Malformed),
            ("CONNECT a.example: HTTP/1.1\r\n\r\n", EgressRefusal::Malformed),
            ("CONNECT :443 HTTP/1.1\r\n\r\n", EgressRefusal::Malformed),
            ("CONNECT .:443 HTTP/1.1\r\n\r\n", EgressRefusal::Malformed),
            ("CONNECT a.example:+443 HTTP/1.1\r\n\r\n", EgressRefusal::Malformed),
            ("CONNECT a.example:65979 HTTP/1.1\r\n\r\n", EgressRefusal::Malformed),
            ("CONNECT a.example:443 HTTP/9\r\n\r\n", EgressRefusal::Malformed),
            ("\x16\x03\x01\x02\x00\x01", EgressRefusal::Malformed),
            ("GET / HTTP/1.1\r\nHost: a.example\r\n\r\n", EgressRefusal::NotSupported),
            ("GET https://a.example/ HTTP/1.1\r\n\r\n", EgressRefusal::NotSupported),
            ("GET ftp://a.example/ HTTP/1.1\r\n\r\n", EgressRefusal::NotSupported),
            ("OPTIONS * HTTP/1.1\r\n\r\n", EgressRefusal::NotSupported),
            ("GET http:///x HTTP/1.1\r\n\r\n", EgressRefusal::Malformed),
        ] {
            assert_eq!(parsed(head), Err(refusal), "{head:?}");
        }
        let long = format!("CONNECT a.example:443 HTTP/1.1\r\nX: {}", "x".repeat(HEAD_MAX));
        assert_eq!(parsed(&long), Err(EgressRefusal::TooLong));
        let many =
            format!("CONNECT a.example:443 HTTP/1.1\r\n{}\r\n", "X: y\r\n".repeat(FIELDS_MAX + 1));
        assert_eq!(parsed(&many), Err(EgressRefusal::TooLong));
    }

    /// Addresses are parsed as endpoints that no allow-list contains.
    #[test]
    fn address_is_kept_as_written() {
        for (written, read) in [
            ("127.0.0.1:443", "127.0.0.1:443"),
            ("[::ffff:127.0.0.1]:443", "[::ffff:127.0.0.1]:443"),
            ("user@a.example:443", "user@a.example:443"),
            ("0x7f000001:443", "0x7f000001:443"),
            ("b.example:80:443", "b.example:80:443"),
        ] {
            assert_eq!(endpoint(&format!("CONNECT {written} HTTP/1.1\r\n\r\n")), read);
        }
    }

    #[test]
    fn forwarded_request_has_no_hop_by_hop_fields() {
        let head = "GET HTTP://A.example:8080/x?y=1 HTTP/1.1\r\nHost: a.EXAMPLE:8080\r\n\
                    Proxy-Connection: keep-alive\r\nConnection: keep-alive\r\n\
                    Proxy-Authorization: secret\r\n\
                    Accept: */*\r\nContent-Length: 3\r\n\r\nabc";
        let request = parsed(head).unwrap().unwrap();
        assert_eq!(request.endpoint.to_string(), "a.example:8080");
        assert_eq!(&head[request.length..], "abc");
        let ProxyMode::Forward(head) = request.mode else { panic!("{request:?}") };
        let wanted = "GET /x?y=1 HTTP/1.1\r\nHost: a.example:8080\r\nAccept: */*\r\n\
                      Content-Length: 3\r\nConnection: close\r\n\r\n";
        assert_eq!(String::from_utf8(head).unwrap(), wanted);
        for (target, line) in [("http://a", "GET / HTTP/1.1"), ("http://a?q", "GET /?q HTTP/1.1")] {
            let request = parsed(&format!("GET {target} HTTP/1.0\r\n\r\n")).unwrap().unwrap();
            assert_eq!(request.endpoint.to_string(), "a:80");
            let ProxyMode::Forward(head) = request.mode else { panic!("{request:?}") };
            assert!(
                String::from_utf8(head).unwrap().starts_with(&format!("{line}\r\nHost: a\r\n"))
            );
        }
    }

    proptest! {
        #[test]
        fn parse_never_panics(bytes in proptest::collection::vec(any::<u8>(), 0..300)) {
            let _any = ProxyRequest::parse(&bytes);
        }

        #[test]
        fn forwarded_head_has_no_smuggled_lines(
            target in "http://[ -~\r\n]{0,40}",
            value in "[ -~\r\n\t]{0,40}",
        ) {
            let head = format!("GET {target} HTTP/1.1\r\nX: {value}\r\n\r\n");
            if let Ok(Some(ProxyRequest { mode: ProxyMode::Forward(head), .. })) =
                ProxyRequest::parse(head.as_bytes())
            {
                let text = String::from_utf8(head).unwrap();
                let lines: Vec<_> = text.split("\r\n").collect();
                prop_assert!(lines[0].ends_with(" HTTP/1.1"), "{:?}", text);
                prop_assert_eq!(lines[0].split(' ').count(), 3, "{:?}", text);
                prop_assert!(text.ends_with("\r\nConnection: close\r\n\r\n"));
                prop_assert_eq!(text.matches("\r\n\r\n").count(), 1);
                let is_host = |line: &&&str| line.to_ascii_lowercase().starts_with("host:");
                prop_assert_eq!(lines.iter().filter(is_host).count(), 1);
            }
        }
    }
}
