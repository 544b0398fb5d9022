//! Directory entries in the kernel's format.

/// An entry as getdents64(2) writes it.
pub(crate) struct DirectoryEntry<'a> {
    /// The offset of the next entry, for lseek(2).
    pub(crate) next: u64,
    pub(crate) name: &'a [u8],
}

/// The entries in a buffer that getdents64(2) has filled.
pub(crate) struct DirectoryEntries<'a>(&'a [u8]);

impl<'a> DirectoryEntries<'a> {
    pub(crate) fn new(buffer: &'a [u8]) -> Self {
        Self(buffer)
    }
}

impl<'a> Iterator for DirectoryEntries<'a> {
    type Item = DirectoryEntry<'a>;

    fn next(&mut self) -> Option<Self::Item> {
        // `struct linux_dirent64`: inode, offset of the next entry, length of this entry, type,
        // name.
        const NAME_AT: usize = 19;
        let next = u64::from_le_bytes(*self.0.get(8..16)?.first_chunk()?);
        let length = usize::from(u16::from_le_bytes(*self.0.get(16..18)?.first_chunk()?));
        let (entry, rest) = self.0.split_at_checked(length.max(NAME_AT))?;
        self.0 = rest;
        let name = entry.get(NAME_AT..)?.split(|byte| *byte == 0).next()?;
        Some(DirectoryEntry { next, name })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn iteration_ends_at_a_truncated_entry() {
        let mut buffer = Vec::new();
        for (offset, name) in [(5_u64, "a"), (9, "long name")] {
            let length = (19 + name.len() + 1).next_multiple_of(8);
            let end = buffer.len() + length;
            buffer.extend(1_u64.to_le_bytes());
            buffer.extend(offset.to_le_bytes());
            buffer.extend(u16::try_from(length).unwrap().to_le_bytes());
            buffer.push(8);
            buffer.extend(name.as_bytes());
            buffer.resize(end, 0);
        }
        let entries: Vec<_> =
            DirectoryEntries::new(&buffer).map(|entry| (entry.next, entry.name.to_vec())).collect();
        assert_eq!(entries, [(5, b"a".to_vec()), (9, b"long name".to_vec())]);
        assert_eq!(DirectoryEntries::new(&buffer[..20]).count(), 0);
    }
}
