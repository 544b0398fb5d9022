//! The host name in a TLS ClientHello (RFC 8446, section 4.1.2; RFC 6066, section 3).
//!
//! The proxy decrypts nothing. It rejects every ambiguous message: a second name, a second list of
//! names, or extra bytes make a ClientHello invalid.

/// The maximum number of bytes of a ClientHello, including its record headers. Hellos with
/// post-quantum keys have about 2 KiB.
pub(super) const HELLO_MAX: usize = 16 * 1024;

const RECORD_HANDSHAKE: u8 = 22;
const RECORD_LENGTH_MAX: usize = 1 << 14;
const CLIENT_HELLO: usize = 1;
const EXTENSION_SERVER_NAME: usize = 0;
const HOST_NAME: usize = 0;

/// The content of the first bytes of a stream.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum ClientHello {
    /// More bytes are needed.
    Incomplete,
    /// A ClientHello for this host, in lower case.
    For(String),
    /// The bytes are not a ClientHello, or it names no host.
    Invalid,
}

impl ClientHello {
    /// Parses the first bytes of a stream.
    pub(super) fn parse(stream: &[u8]) -> Self {
        match handshake(stream) {
            Ok(Some(hello)) => server_name(&hello).map_or(Self::Invalid, Self::For),
            Ok(None) if stream.len() < HELLO_MAX => Self::Incomplete,
            Ok(None) | Err(InvalidHello) => Self::Invalid,
        }
    }
}

struct InvalidHello;

/// Assembles the body of the first handshake message from its records. Returns `None` if bytes are
/// missing.
fn handshake(stream: &[u8]) -> Result<Option<Vec<u8>>, InvalidHello> {
    let mut rest = Cursor(stream);
    let mut message = Vec::new();
    loop {
        if let Some((header, body)) = message.split_first_chunk::<4>() {
            let [kind, length @ ..] = header;
            let length = number(length);
            if usize::from(*kind) != CLIENT_HELLO || length > HELLO_MAX || body.len() > length {
                return Err(InvalidHello);
            }
            if body.len() == length {
                return Ok(Some(body.to_vec()));
            }
        }
        // Checked before the header is complete, so that a client with another protocol is refused
        // immediately.
        if rest.0.first().is_some_and(|kind| *kind != RECORD_HANDSHAKE) {
            return Err(InvalidHello);
        }
        let Some([_, major, _, length @ ..]) = rest.take(5) else { return Ok(None) };
        let length = number(length);
        if *major != 3 || !(1..=RECORD_LENGTH_MAX).contains(&length) {
            return Err(InvalidHello);
        }
        let Some(fragment) = rest.take(length) else { return Ok(None) };
        message.extend_from_slice(fragment);
    }
}

/// Returns the only host name of the only server name extension.
fn server_name(hello: &[u8]) -> Option<String> {
    let mut hello = Cursor(hello);
    // Version and random number, then session, cipher suites and compression methods.
    hello.take(2 + 32)?;
    hello.vector(1)?;
    hello.vector(2)?;
    hello.vector(1)?;
    let mut extensions = hello.vector(2).filter(|_| hello.is_empty())?;
    let mut found = None;
    while !extensions.is_empty() {
        let kind = number(extensions.take(2)?);
        let content = extensions.vector(2)?;
        if kind == EXTENSION_SERVER_NAME && found.replace(content).is_some() {
            return None;
        }
    }
    let mut content = found?;
    let mut names = content.vector(2).filter(|_| content.is_empty())?;
    let kind = number(names.take(1)?);
    let name = names.vector(2).filter(|_| names.is_empty())?.0;
    if kind != HOST_NAME || name.is_empty() || !name.is_ascii() {
        return None;
    }
    String::from_utf8(name.to_ascii_lowercase()).ok()
}

/// The unread bytes.
struct Cursor<'a>(&'a [u8]);

impl<'a> Cursor<'a> {
    fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    fn take(&mut self, count: usize) -> Option<&'a [u8]> {
        let (taken, rest) = self.0.split_at_checked(count)?;
        self.0 = rest;
        Some(taken)
    }

    /// Reads bytes after their length, which has `width` bytes.
    fn vector(&mut self, width: usize) -> Option<Self> {
        let length = number(self.take(width)?);
        self.take(length).map(Self)
    }
}

/// Decodes a big-endian number of at most three bytes.
fn number(bytes: &[u8]) -> usize {
    bytes.iter().fold(0, |number, byte| number << 8 | usize::from(*byte))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn vector(width: usize, content: &[u8]) -> Vec<u8> {
        let length = content.len().to_be_bytes();
        [&length[8 - width..], content].concat()
    }

    fn names(entries: &[(u8, &[u8])]) -> Vec<u8> {
        let list: Vec<u8> = entries
            .iter()
            .flat_map(|(kind, name)| [&[*kind][..], &vector(2, name)].concat())
            .collect();
        vector(2, &list)
    }

    fn body(extensions: &[(u16, Vec<u8>)]) -> Vec<u8> {
        let extensions: Vec<u8> = extensions
            .iter()
            .flat_map(|(kind, content)| [&kind.to_be_bytes()[..], &vector(2, content)].concat())
            .collect();
        let mut hello = vec![3, 3];
        hello.extend([7; 32]);
        hello.extend(vector(1, &[1; 32]));
        hello.extend(vector(2, &[0x13, 1, 0x13, 2]));
        hello.extend(vector(1, &[0]));
        hello.extend(vector(2, &extensions));
        hello
    }

    /// Encodes a message in records of `size` bytes each.
    fn records(kind: u8, body: &[u8], size: usize) -> Vec<u8> {
        let message = [&[kind][..], &vector(3, body)].concat();
        message
            .chunks(size)
            .flat_map(|piece| [&[22, 3, 1][..], &vector(2, piece)].concat())
            .collect()
    }

    fn hello(name: &str) -> Vec<u8> {
        body(&[(10, vec![0, 2, 0, 29]), (0, names(&[(0, name.as_bytes())])), (43, vec![2, 3, 4])])
    }

    fn hello_for(name: &str) -> ClientHello {
        ClientHello::For(name.to_owned())
    }

    #[test]
    fn name_is_found_in_records_of_any_size() {
        let body = hello("Pypi.Org");
        for size in [1, 2, 3, 4, 5, 7, 64, 16_384] {
            let stream = records(1, &body, size);
            assert_eq!(
                ClientHello::parse(&stream),
                hello_for("pypi.org"),
                "in records of {size} bytes"
            );
            for end in 0..stream.len() {
                assert_eq!(
                    ClientHello::parse(&stream[..end]),
                    ClientHello::Incomplete,
                    "{end} bytes of records of {size}"
                );
            }
            // The following bytes belong to the tunnel.
            assert_eq!(
                ClientHello::parse(&[&stream[..], b"\x17\x03\x03\x00\x01x"].concat()),
                hello_for("pypi.org")
            );
        }
    }

    #[test]
    fn hello_without_exactly_one_host_is_invalid() {
        let name = |entries: &[(u8, &[u8])]| (0_u16, names(entries));
        let mut odd = names(&[(0, b"a")]);
        odd.push(0);
        for extensions in [
            vec![],
            vec![(10, vec![1])],
            vec![name(&[])],
            vec![name(&[(0, b"")])],
            vec![name(&[(1, b"a.example")])],
            vec![name(&[(0, b"a.example"), (0, b"b.example")])],
            vec![name(&[(0, b"a.example")]), name(&[(0, b"b.example")])],
            vec![name(&[(0, b"a.example")]), name(&[(0, b"a.example")])],
            vec![name(&[(0, "\u{e4}.example".as_bytes())])],
            vec![(0, odd)],
            vec![(0, vec![])],
        ] {
            assert_eq!(
                ClientHello::parse(&records(1, &body(&extensions), 9999)),
                ClientHello::Invalid,
                "{extensions:?}"
            );
        }
        let mut longer = hello("a");
        longer.push(0);
        assert_eq!(
            ClientHello::parse(&records(1, &longer, 9999)),
            ClientHello::Invalid,
            "bytes after the extensions"
        );
    }

    #[test]
    fn other_bytes_are_invalid_at_once() {
        let body = hello("a");
        assert_eq!(ClientHello::parse(b"G"), ClientHello::Invalid);
        assert_eq!(ClientHello::parse(b"SSH-2.0"), ClientHello::Invalid);
        assert_eq!(
            ClientHello::parse(&records(2, &body, 9999)),
            ClientHello::Invalid,
            "another message"
        );
        assert_eq!(
            ClientHello::parse(&[22, 2, 0, 0, 1, 1]),
            ClientHello::Invalid,
            "another version"
        );
        assert_eq!(ClientHello::parse(&[22, 3, 1, 0, 0]), ClientHello::Invalid, "an empty record");
        assert_eq!(
            ClientHello::parse(&[22, 3, 1, 0x40, 1]),
            ClientHello::Invalid,
            "a record that is too long"
        );
        assert_eq!(
            ClientHello::parse(&[22, 3, 1, 0, 4, 1, 1, 0, 0]),
            ClientHello::Invalid,
            "a message that is too long"
        );
        // Two messages in one record.
        let mut two = [&[1][..], &vector(3, &body)].concat();
        two.extend([1, 0, 0, 0]);
        assert_eq!(
            ClientHello::parse(&[&[22, 3, 1][..], &vector(2, &two)].concat()),
            ClientHello::Invalid
        );
        // Records so small that headers take most of the bytes.
        let endless = records(1, &vec![0; HELLO_MAX], 1);
        assert_eq!(ClientHello::parse(&endless[..HELLO_MAX]), ClientHello::Invalid);
    }

    proptest! {
        #[test]
        fn parse_never_panics(stream in proptest::collection::vec(any::<u8>(), 0..400)) {
            let _any = ClientHello::parse(&stream);
        }

        /// A changed byte changes the name only if it is part of the name.
        #[test]
        fn changed_byte_changes_one_byte_of_the_name(at in 0_usize..200, to in any::<u8>()) {
            let mut stream = records(1, &hello("name.example"), 9999);
            let at = at % stream.len();
            stream[at] = to;
            if let ClientHello::For(name) = ClientHello::parse(&stream) {
                let pairs = name.bytes().zip("name.example".bytes());
                let differing = pairs.filter(|(a, b)| a != b).count();
                prop_assert!(differing <= 1 && name.len() == 12, "{}", name);
            }
        }
    }
}
