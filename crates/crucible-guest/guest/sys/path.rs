//! Paths as C strings.

use core::ffi::CStr;

use super::errno::{Errno, Result};

/// Returns bytes that end with their only NUL as a C string.
pub(crate) fn c_str(bytes: &[u8]) -> Result<&CStr> {
    CStr::from_bytes_with_nul(bytes).map_err(|_| Errno::INVAL)
}

/// One name of a path, followed by a NUL.
pub(crate) struct PathName([u8; 256]);

impl PathName {
    /// Copies the name. Fails if it has more than 255 bytes (`NAME_MAX`).
    pub(crate) fn new(name: &[u8]) -> Result<Self> {
        let mut bytes = [0; 256];
        bytes
            .get_mut(..name.len())
            .filter(|room| room.len() < 256)
            .ok_or(Errno::INVAL)?
            .copy_from_slice(name);
        Ok(Self(bytes))
    }

    pub(crate) fn as_c_str(&self) -> Result<&CStr> {
        CStr::from_bytes_until_nul(&self.0).map_err(|_| Errno::INVAL)
    }
}

/// Splits `a/b/c` into `a/b` and `c`. A single name has no directory.
pub(crate) fn split_path(path: &CStr) -> (Option<&[u8]>, &[u8]) {
    let bytes = path.to_bytes();
    match bytes.iter().rposition(|byte| *byte == b'/') {
        Some(at) => (bytes.get(..at), bytes.get(at + 1..).unwrap_or_default()),
        None => (None, bytes),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn path_splits_at_its_last_slash() {
        assert_eq!(split_path(c"a"), (None, &b"a"[..]));
        assert_eq!(split_path(c"a/b/c"), (Some(&b"a/b"[..]), &b"c"[..]));
    }

    #[test]
    fn name_of_256_bytes_is_refused() {
        let longest = PathName::new(&[b'x'; 255]).unwrap();
        assert_eq!(longest.as_c_str().unwrap().to_bytes(), [b'x'; 255]);
        assert!(PathName::new(&[b'x'; 256]).is_err());
    }
}
