//! The Landlock ruleset: file access rights by directory, independent of the mounts (landlock(7)).

use core::ffi::CStr;

use super::sys::{self, Errno, Fd, Result, RulesetAttributes};

/// `EXECUTE | READ_FILE | READ_DIR`
const READ: u64 = 1 | 1 << 2 | 1 << 3;
/// `READ_FILE | WRITE_FILE | IOCTL_DEV`: to use a device, not to create one.
const USE_DEVICE: u64 = 1 << 1 | 1 << 2 | 1 << 15;
/// The same for all devices in a directory.
const USE_DEVICES: u64 = USE_DEVICE | 1 << 3;
/// `BIND_TCP | CONNECT_TCP`
const ALL_TCP: u64 = 1 | 1 << 1;
/// `ABSTRACT_UNIX_SOCKET | SIGNAL`
const ALL_SCOPES: u64 = 1 | 1 << 1;

/// Restricts the guest and everything that it starts:
///
/// - Reading and executing is allowed everywhere.
/// - Writing is allowed in `/tmp` and `/box`, and to `devices`. If `devices` is empty, writing is
///   allowed to all devices in `/dev`.
/// - TCP is refused, except for connections to `proxy`.
/// - Abstract sockets and processes outside the domain are out of reach.
///
/// There is one domain for all commands of a sandbox, so that they can reach each other.
///
/// This runs after all mounts: a rule on a directory that a mount covers later has no effect.
pub(crate) fn restrict(abi: u8, proxy: Option<u16>, devices: &[&CStr]) -> Result<()> {
    let all = file_system_rights(abi);
    let attributes = RulesetAttributes {
        file_system: all,
        network: if abi >= 4 { ALL_TCP } else { 0 },
        scoped: if abi >= 6 { ALL_SCOPES } else { 0 },
    };
    let ruleset = sys::create_ruleset(&attributes, attributes_size(abi))?;
    let directories = [(c"/", READ), (c"/tmp", all), (c"/box", all), (c"/dev/shm", all)];
    // `/dev/shm` is a link to `/tmp`, except in containers, which name their devices.
    let count = if devices.is_empty() { 3 } else { 4 };
    let restricted = directories
        .into_iter()
        .take(count)
        .try_for_each(|(directory, access)| sys::allow_beneath(ruleset, directory, access & all))
        .and_then(|()| allow_devices(ruleset, devices, all))
        .and_then(|()| match proxy {
            Some(port) if abi >= 4 => sys::allow_connect(ruleset, port),
            _ => Ok(()),
        })
        .and_then(|()| sys::restrict_self(ruleset));
    sys::close(ruleset);
    restricted
}

fn allow_devices(ruleset: Fd, devices: &[&CStr], all: u64) -> Result<()> {
    if devices.is_empty() {
        return sys::allow_beneath(ruleset, c"/dev", USE_DEVICES & all);
    }
    devices.iter().try_for_each(|device| {
        match sys::allow_beneath(ruleset, device, USE_DEVICE & all) {
            // Not every container has all devices.
            Err(Errno::NOENT) => Ok(()),
            other => other,
        }
    })
}

/// Returns all rights on files that an ABI has: 13 in the first, then `REFER`, `TRUNCATE`,
/// `IOCTL_DEV`.
const fn file_system_rights(abi: u8) -> u64 {
    let count = match abi {
        0 | 1 => 13,
        2 => 14,
        3 | 4 => 15,
        _ => 16,
    };
    (1 << count) - 1
}

/// Returns the size of an ABI's attributes. The kernel refuses fields that it does not know.
const fn attributes_size(abi: u8) -> usize {
    match abi {
        0..=3 => 8,
        4 | 5 => 16,
        _ => 24,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn later_abi_has_more_rights() {
        assert_eq!(file_system_rights(1), 0x1fff);
        assert_eq!(file_system_rights(2), 0x3fff);
        assert_eq!(file_system_rights(3), 0x7fff);
        assert_eq!(file_system_rights(7), 0xffff);
        assert_eq!((attributes_size(3), attributes_size(4), attributes_size(7)), (8, 16, 24));
    }
}
