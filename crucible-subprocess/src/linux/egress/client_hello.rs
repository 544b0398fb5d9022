//! The host name in a TLS ClientHello (RFC 8446, section 4.1.2; RFC 6066, section 3).
//!
//! Nothing is decrypted, and nothing is believed that could be read in two ways: a second name, a second list of names, or
//! bytes left over make it no ClientHello.

/// The most bytes that a ClientHello takes with the headers of its records. Those with keys that withstand quantum computers
/// have about 2 KiB.
pub(super) const HELLO_MAX: usize = 16 * 1024;

const RECORD_HANDSHAKE: u8 = 22;
const RECORD_LENGTH_MAX: usize = 1 << 14;
const CLIENT_HELLO: usize = 1;
const EXTENSION_SERVER_NAME: usize = 0;
const HOST_NAME: usize = 0;

/// What the beginning of a stream says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Hello {
    /// Not enough yet.
    More,
    /// A ClientHello for this host, in lower case.
    For(String),
    /// No ClientHello, or one that names no host.
    No,
}

/// Reads the beginning of a stream.
pub(super) fn read(stream: &[u8]) -> Hello {
    match handshake(stream) {
        Ok(Some(hello)) => server_name(&hello).map_or(Hello::No, Hello::For),
        Ok(None) if stream.len() < HELLO_MAX => Hello::More,
        Ok(None) | Err(NoHello) => Hello::No,
    }
}

struct NoHello;

/// The body of the first handshake message, put together from its records; `None` if it has not all come.
fn handshake(stream: &[u8]) -> Result<Option<Vec<u8>>, NoHello> {
    let mut rest = Cut(stream);
    let mut message = Vec::new();
    loop {
        if let Some((header, body)) = message.split_first_chunk::<4>() {
            let [kind, length @ ..] = header;
            let length = number(length);
            if usize::from(*kind) != CLIENT_HELLO || length > HELLO_MAX || body.len() > length {
                return Err(NoHello);
            }
            if body.len() == length {
                return Ok(Some(body.to_vec()));
            }
        }
        // Before the header is there as a whole: a client that speaks first of something else gets no time for it.
        if rest.0.first().is_some_and(|kind| *kind != RECORD_HANDSHAKE) {
            return Err(NoHello);
        }
        let Some([_, major, _, length @ ..]) = rest.take(5) else { return Ok(None) };
        let length = number(length);
        if *major != 3 || !(1..=RECORD_LENGTH_MAX).contains(&length) {
            return Err(NoHello);
        }
        let Some(fragment) = rest.take(length) else { return Ok(None) };
        message.extend_from_slice(fragment);
    }
}

/// The only host name of the only extension for it.
fn server_name(hello: &[u8]) -> Option<String> {
    let mut hello = Cut(hello);
    // Version and random number; session, cipher suites, compression methods.
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

/// What is left to be read.
struct Cut<'a>(&'a [u8]);

impl<'a> Cut<'a> {
    fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    fn take(&mut self, count: usize) -> Option<&'a [u8]> {
        let (taken, rest) = self.0.split_at_checked(count)?;
        self.0 = rest;
        Some(taken)
    }

    /// Bytes after their count, which is a number of `width` bytes.
    fn vector(&mut self, width: usize) -> Option<Self> {
        let length = number(self.take(width)?);
        self.take(length).map(Self)
    }
}

/// A number, the most significant byte first. Three bytes at most.
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

    /// In records of `size` bytes each.
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

    fn says(name: &str) -> Hello {
        Hello::For(name.to_owned())
    }

    #[test]
    fn the_name_is_found_however_it_is_cut() {
        let body = hello("Pypi.Org");
        for size in [1, 2, 3, 4, 5, 7, 64, 16_384] {
            let stream = records(1, &body, size);
            assert_eq!(read(&stream), says("pypi.org"), "in records of {size} bytes");
            for end in 0..stream.len() {
                assert_eq!(read(&stream[..end]), Hello::More, "{end} bytes of records of {size}");
            }
            // What comes after it is the tunnel's.
            assert_eq!(read(&[&stream[..], b"\x17\x03\x03\x00\x01x"].concat()), says("pypi.org"));
        }
    }

    #[test]
    fn what_names_no_host_or_two_is_none() {
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
            assert_eq!(read(&records(1, &body(&extensions), 9999)), Hello::No, "{extensions:?}");
        }
        let mut longer = hello("a");
        longer.push(0);
        assert_eq!(read(&records(1, &longer, 9999)), Hello::No, "bytes after the extensions");
    }

    #[test]
    fn what_is_no_client_hello_is_refused_at_once() {
        let body = hello("a");
        assert_eq!(read(b"G"), Hello::No);
        assert_eq!(read(b"SSH-2.0"), Hello::No);
        assert_eq!(read(&records(2, &body, 9999)), Hello::No, "another message");
        assert_eq!(read(&[22, 2, 0, 0, 1, 1]), Hello::No, "another version");
        assert_eq!(read(&[22, 3, 1, 0, 0]), Hello::No, "an empty record");
        assert_eq!(read(&[22, 3, 1, 0x40, 1]), Hello::No, "a record that is too long");
        assert_eq!(read(&[22, 3, 1, 0, 4, 1, 1, 0, 0]), Hello::No, "a message that is too long");
        // Two messages in one record.
        let mut two = [&[1][..], &vector(3, &body)].concat();
        two.extend([1, 0, 0, 0]);
        assert_eq!(read(&[&[22, 3, 1][..], &vector(2, &two)].concat()), Hello::No);
        // Pieces so small that their headers are most of it.
        let endless = records(1, &vec![0; HELLO_MAX], 1);
        assert_eq!(read(&endless[..HELLO_MAX]), Hello::No);
    }

    proptest! {
        #[test]
        fn nothing_panics(stream in proptest::collection::vec(any::<u8>(), 0..400)) {
            let _any = read(&stream);
        }

        /// One byte that is another never makes another name of it, other than by being in the name.
        #[test]
        fn a_changed_byte_changes_no_more_than_the_name(at in 0_usize..200, to in any::<u8>()) {
            let mut stream = records(1, &hello("name.example"), 9999);
            let at = at % stream.len();
            stream[at] = to;
            if let Hello::For(name) = read(&stream) {
                let differing = name.bytes().zip("name.example".bytes()).filter(|(a, b)| a != b).count();
                prop_assert!(differing <= 1 && name.len() == 12, "{}", name);
            }
        }
    }
}
