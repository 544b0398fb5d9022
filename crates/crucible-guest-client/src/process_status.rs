//! The status file of a process (proc(5)).

use std::str::FromStr;

/// The lines of a status file that show which layers are in force.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ProcessStatus {
    /// Effective user id, as the reader's user namespace names it.
    pub uid: Option<u32>,
    /// Whether execve(2) cannot grant privileges (`no_new_privs`).
    pub no_new_privs: Option<bool>,
    /// The seccomp mode; 2 means filters.
    pub seccomp: Option<u32>,
    /// The number of seccomp filters.
    pub seccomp_filters: Option<u32>,
    /// The union of permitted, effective and bounding capabilities.
    pub capabilities: Option<u64>,
    /// The effective capabilities.
    pub effective: Option<u64>,
    /// The number of pid namespaces that contain the process, from the reader's downwards.
    pub pid_namespaces: Option<usize>,
}

impl ProcessStatus {
    /// Parses a status file. The guest supplies it, so a line that is missing or malformed becomes
    /// `None`.
    #[must_use]
    pub fn parse(text: &[u8]) -> Self {
        let text = String::from_utf8_lossy(text);
        let mut status = Self::default();
        let mut capabilities = Some(0);
        for line in text.lines() {
            let Some((key, value)) = line.split_once(':') else { continue };
            let value = value.trim();
            match key {
                "Uid" => status.uid = nth(value, 1),
                "NoNewPrivs" => status.no_new_privs = nth::<u32>(value, 0).map(|bit| bit == 1),
                "Seccomp" => status.seccomp = nth(value, 0),
                "Seccomp_filters" => status.seccomp_filters = nth(value, 0),
                "CapPrm" | "CapEff" | "CapBnd" => {
                    let set = u64::from_str_radix(value, 16).ok();
                    if key == "CapEff" {
                        status.effective = set;
                    }
                    capabilities = capabilities.zip(set).map(|(all, set)| all | set);
                    status.capabilities = capabilities;
                }
                "NSpid" => status.pid_namespaces = Some(value.split_whitespace().count()),
                _ => {}
            }
        }
        status
    }
}

fn nth<T: FromStr>(value: &str, index: usize) -> Option<T> {
    value.split_whitespace().nth(index)?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn relevant_lines_are_parsed() {
        let text =
            b"Name:\tx\nUid:\t0\t1000\t0\t0\nNSpid:\t2\nCapPrm:\t0\nCapEff:\t0\nCapBnd:\t00000000000001c0\n\
                     NoNewPrivs:\t1\nSeccomp:\t2\nSeccomp_filters:\t2\n";
        let status = ProcessStatus::parse(text);
        assert_eq!(status.uid, Some(1000));
        assert_eq!(status.no_new_privs, Some(true));
        assert_eq!((status.seccomp, status.seccomp_filters), (Some(2), Some(2)));
        assert_eq!(status.capabilities, Some(0x1c0));
        assert_eq!(status.pid_namespaces, Some(1));
    }

    #[test]
    fn malformed_lines_become_none() {
        assert_eq!(ProcessStatus::parse(b"\xff\xfe:\nUid:\nCapEff:\tzz\n").uid, None);
        assert_eq!(ProcessStatus::parse(b""), ProcessStatus::default());
    }
}
