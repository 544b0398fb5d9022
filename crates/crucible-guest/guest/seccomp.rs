//! The policy on system calls, and the filter that it is compiled into.
//!
//! There is one filter. The spawner loads it once, and every guest and every target inherits it: loading one costs a tenth
//! of a whole run. What sets sandboxes up is refused like the rest, unless the caller passes a key along, a random number
//! of 64 bits. The spawner makes the key before it loads the filter, and a guest forgets it before it serves anybody; the
//! filter itself, which has the key in it, can be read by nobody but the host's root (`PTRACE_SECCOMP_GET_FILTER`).
//!
//! Calls of another ABI (32-bit, x32) end the process: their numbers mean other calls. Numbers that are newer than this
//! list do not exist.

use super::bpf::{
    self, ALLOW, AT_ARCHITECTURE, AT_NUMBER, Assembly, ERRNO, JUMP_IF_ANY_BIT, JUMP_IF_AT_LEAST,
    JUMP_IF_EQUAL, KILL_PROCESS, LOAD, RETURN, at_argument,
};
use super::sys::machine::{AUDIT_ARCH, FOREIGN_ABI_BIT};

/// What is refused, and how.
#[derive(Debug, Clone, Copy)]
enum Refusal {
    /// Always, with this error number.
    Always(u16),
    /// If the argument has any of these bits.
    AnyBit { argument: u8, bits: u32, errno: u16 },
    /// If the argument is one of these.
    OneOf { argument: u8, values: &'static [u32], errno: u16 },
    /// If the argument is none of these.
    NoneOf { argument: u8, values: &'static [u32], errno: u16 },
    /// If the pointer is not null, and an argument is what a condition says; the first that holds counts.
    WithPointer { pointer: u8, conditions: &'static [Condition] },
}

/// That an argument is this, and the error number for it.
#[derive(Debug, Clone, Copy)]
struct Condition {
    argument: u8,
    value: u32,
    errno: u16,
}

use Refusal::{Always, AnyBit, NoneOf, OneOf, WithPointer};

const EPERM: u16 = 1;
const ENOSYS: u16 = 38;
const EAFNOSUPPORT: u16 = 97;
/// The call does nothing and says that it did.
const PRETEND: u16 = 0;

/// The newest call that this list was reviewed for (Linux 6.17: `file_setattr`).
const NEWEST_KNOWN: u32 = 469;

/// A call by number, and its refusal.
type Rule = (u32, Refusal);

/// `CLONE_NEWNS | NEWCGROUP | NEWUTS | NEWIPC | NEWUSER | NEWPID | NEWNET`
const NEW_NAMESPACES: u32 = 0x7E02_0000;
const CLONE_NEWTIME: u32 = 0x80;
const AF_UNIX: u32 = 1;
const RLIMIT_CORE: u32 = 4;
const TIOCSTI: u32 = 0x5412;
const TIOCLINUX: u32 = 0x541C;

/// The guest is process 1. Where it has the target's user, the target could take its descriptors or its life.
const LIMIT_THE_GUEST: Condition = Condition { argument: 0, value: 1, errno: EPERM };
const LIMIT_CORES: Condition = Condition { argument: 1, value: RLIMIT_CORE, errno: PRETEND };

/// What is refused.
const RULES: [Rule; 79] = [
    // Other processes' memory and descriptors: the guest's, a neighbour's.
    (101, Always(EPERM)), // ptrace
    (310, Always(EPERM)), // process_vm_readv
    (311, Always(EPERM)), // process_vm_writev
    (312, Always(EPERM)), // kcmp
    (438, Always(EPERM)), // pidfd_getfd
    (440, Always(EPERM)), // process_madvise
    (448, Always(EPERM)), // process_mrelease
    // Another root. The template is sealed before this is loaded.
    (155, Always(EPERM)), // pivot_root
    (161, Always(EPERM)), // chroot
    // Mounts by descriptor, and a view of all mounts. We mount by path.
    (428, Always(EPERM)), // open_tree
    (429, Always(EPERM)), // move_mount
    (430, Always(EPERM)), // fsopen
    (431, Always(EPERM)), // fsconfig
    (432, Always(EPERM)), // fsmount
    (433, Always(EPERM)), // fspick
    (442, Always(EPERM)), // mount_setattr
    (457, Always(EPERM)), // statmount
    (458, Always(EPERM)), // listmount
    (467, Always(EPERM)), // open_tree_attr
    // Files by handle go round every path check (open_by_handle_at(2); the escape known as Shocker).
    (303, Always(EPERM)), // name_to_handle_at
    (304, Always(EPERM)), // open_by_handle_at
    // Keyrings are shared by user id, not by namespace.
    (248, Always(EPERM)), // add_key
    (249, Always(EPERM)), // request_key
    (250, Always(EPERM)), // keyctl
    // Large, young, or privileged parts of the kernel that programs do without.
    (298, Always(EPERM)),  // perf_event_open
    (300, Always(EPERM)),  // fanotify_init
    (321, Always(EPERM)),  // bpf
    (323, Always(EPERM)), // userfaultfd: holds the kernel still in the middle of a copy (CVE-2016-5195 exploits)
    (425, Always(ENOSYS)), // io_uring_setup: does what filters refuse, out of their sight
    (426, Always(ENOSYS)), // io_uring_enter
    (427, Always(ENOSYS)), // io_uring_register
    // The machine itself: modules, a new kernel, clocks, swap, accounting, ports, quotas, the log.
    (103, Always(EPERM)), // syslog
    (134, Always(EPERM)), // uselib
    (139, Always(EPERM)), // sysfs
    (153, Always(EPERM)), // vhangup
    (154, Always(EPERM)), // modify_ldt
    (156, Always(EPERM)), // _sysctl
    (159, Always(EPERM)), // adjtimex
    (163, Always(EPERM)), // acct
    (164, Always(EPERM)), // settimeofday
    (167, Always(EPERM)), // swapon
    (168, Always(EPERM)), // swapoff
    (169, Always(EPERM)), // reboot
    (171, Always(EPERM)), // setdomainname
    (172, Always(EPERM)), // iopl
    (173, Always(EPERM)), // ioperm
    (174, Always(EPERM)), // create_module
    (175, Always(EPERM)), // init_module
    (176, Always(EPERM)), // delete_module
    (179, Always(EPERM)), // quotactl
    (180, Always(EPERM)), // nfsservctl
    (212, Always(EPERM)), // lookup_dcookie
    (227, Always(EPERM)), // clock_settime
    (246, Always(EPERM)), // kexec_load
    (305, Always(EPERM)), // clock_adjtime
    (313, Always(EPERM)), // finit_module
    (320, Always(EPERM)), // kexec_file_load
    (443, Always(EPERM)), // quotactl_fd
    // Where memory lies on the machine: a neighbour's business, and a way to measure it.
    (237, Always(EPERM)), // mbind
    (238, Always(EPERM)), // set_mempolicy
    (239, Always(EPERM)), // get_mempolicy
    (256, Always(EPERM)), // migrate_pages
    (279, Always(EPERM)), // move_pages
    (450, Always(EPERM)), // set_mempolicy_home_node
    // Left from other times.
    (136, Always(EPERM)),  // ustat
    (236, Always(ENOSYS)), // vserver
    // Setting sandboxes up is the guest's. Nested namespaces open most of the kernel's surface to whoever is root in
    // one.
    (165, Always(EPERM)),                                             // mount
    (166, Always(EPERM)),                                             // umount2
    (170, Always(EPERM)),                                             // sethostname
    (308, Always(EPERM)),                                             // setns
    (56, AnyBit { argument: 0, bits: NEW_NAMESPACES, errno: EPERM }), // clone
    (272, AnyBit { argument: 0, bits: NEW_NAMESPACES | CLONE_NEWTIME, errno: EPERM }), // unshare
    // Its flags are in memory, where a filter cannot look; libraries fall back to clone(2).
    (435, Always(ENOSYS)), // clone3
    // No address family but the local one: there is no network, and AF_ALG, AF_NETLINK, AF_PACKET, AF_VSOCK and the
    // rest are surface (CVE-2026-31431 among others).
    (41, NoneOf { argument: 0, values: &[AF_UNIX], errno: EAFNOSUPPORT }), // socket
    (53, NoneOf { argument: 0, values: &[AF_UNIX], errno: EAFNOSUPPORT }), // socketpair
    // Typing on somebody's terminal (CVE-2017-5226), and pasting on the console. There is no terminal; should there be.
    (16, OneOf { argument: 1, values: &[TIOCSTI, TIOCLINUX], errno: EPERM }), // ioctl
    // Execution domains: the usual, 32-bit, and the question; the rest switches old bugs on.
    (135, NoneOf { argument: 0, values: &[0, 8, 0x2_0000, 0x2_0008, 0xffff_ffff], errno: EPERM }), // personality
    // The core limit is 1, at which the kernel starts no crash handler of the host (core(5)); lowering it to 0 would
    // start one. So it cannot be changed, and programs that set it are told that they did.
    (160, OneOf { argument: 0, values: &[RLIMIT_CORE], errno: PRETEND }), // setrlimit
    (302, WithPointer { pointer: 2, conditions: &[LIMIT_THE_GUEST, LIMIT_CORES] }), // prlimit64
];

/// The calls that set sandboxes up, for whoever has the key.
const KEYED: [u32; 6] = [
    165, // mount
    166, // umount2
    170, // sethostname
    272, // unshare
    308, // setns
    435, // clone3
];
/// Where the key is passed: no call in `KEYED` has a sixth argument.
const KEY_ARGUMENT: u8 = 5;
/// What stands in for the halves of the key until there is one.
const KEY_HOLES: [u32; 2] = [0x6B65_7901, 0x6B65_7902];

static FILTER: Assembly = assemble(RULES);

/// The filter, with this key.
pub(crate) fn filter(key: u64) -> Assembly {
    let mut filter = FILTER.clone();
    let [low, high] = bpf::halves(key);
    filter.replace(KEY_HOLES[0], low);
    filter.replace(KEY_HOLES[1], high);
    filter
}

/// Compiles rules into a filter: a search tree over the numbers, since the kernel takes time for each instruction when
/// it loads a filter, and again for each call.
#[expect(
    clippy::indexing_slicing,
    reason = "it runs at compile time, where an index out of bounds is a compile error"
)]
const fn assemble<const N: usize>(rules: [Rule; N]) -> Assembly {
    let mut sorted = rules;
    let mut unsorted = 1;
    while unsorted < N {
        let mut at = unsorted;
        while at > 0 && sorted[at - 1].0 > sorted[at].0 {
            let larger = sorted[at - 1];
            sorted[at - 1] = sorted[at];
            sorted[at] = larger;
            at -= 1;
        }
        assert!(at == 0 || sorted[at - 1].0 != sorted[at].0, "a call has two rules");
        unsorted += 1;
    }
    let mut filter = Assembly::new();
    filter.push(LOAD, 0, 0, AT_ARCHITECTURE);
    filter.push(JUMP_IF_EQUAL, 1, 0, AUDIT_ARCH);
    filter.push(RETURN, 0, 0, KILL_PROCESS);
    filter.push(LOAD, 0, 0, AT_NUMBER);
    filter.push(JUMP_IF_AT_LEAST, 0, 1, FOREIGN_ABI_BIT);
    filter.push(RETURN, 0, 0, KILL_PROCESS);
    filter.push(JUMP_IF_AT_LEAST, 0, 1, NEWEST_KNOWN + 1);
    filter.push(RETURN, 0, 0, ERRNO | ENOSYS as u32);
    search(&mut filter, &sorted, 0, N);
    filter
}

#[expect(
    clippy::indexing_slicing,
    reason = "it runs at compile time, where an index out of bounds is a compile error"
)]
const fn search<const N: usize>(filter: &mut Assembly, rules: &[Rule; N], from: usize, to: usize) {
    if to - from > 1 {
        let middle = usize::midpoint(from, to);
        let jump = filter.length();
        filter.push(JUMP_IF_AT_LEAST, 0, 0, rules[middle].0);
        search(filter, rules, from, middle);
        filter.land_here(jump);
        search(filter, rules, middle, to);
        return;
    }
    let (number, refusal) = rules[from];
    filter.push(JUMP_IF_EQUAL, 1, 0, number);
    filter.push(RETURN, 0, 0, ALLOW);
    let mut index = 0;
    while index < KEYED.len() {
        if KEYED[index] == number {
            allow_with_key(filter);
        }
        index += 1;
    }
    refuse(filter, refusal);
}

const fn allow_with_key(filter: &mut Assembly) {
    filter.push(LOAD, 0, 0, at_argument(KEY_ARGUMENT));
    filter.push(JUMP_IF_EQUAL, 0, 3, KEY_HOLES[0]);
    filter.push(LOAD, 0, 0, at_argument(KEY_ARGUMENT) + 4);
    filter.push(JUMP_IF_EQUAL, 0, 1, KEY_HOLES[1]);
    filter.push(RETURN, 0, 0, ALLOW);
}

const fn refuse(filter: &mut Assembly, refusal: Refusal) {
    match refusal {
        Always(errno) => filter.push(RETURN, 0, 0, ERRNO | errno as u32),
        AnyBit { argument, bits, errno } => {
            filter.push(LOAD, 0, 0, at_argument(argument));
            filter.push(JUMP_IF_ANY_BIT, 1, 0, bits);
            filter.push(RETURN, 0, 0, ALLOW);
            filter.push(RETURN, 0, 0, ERRNO | errno as u32);
        }
        OneOf { argument, values, errno } => {
            compare(filter, argument, values);
            filter.push(RETURN, 0, 0, ALLOW);
            filter.push(RETURN, 0, 0, ERRNO | errno as u32);
        }
        NoneOf { argument, values, errno } => {
            compare(filter, argument, values);
            filter.push(RETURN, 0, 0, ERRNO | errno as u32);
            filter.push(RETURN, 0, 0, ALLOW);
        }
        WithPointer { pointer, conditions } => {
            filter.push(LOAD, 0, 0, at_argument(pointer));
            filter.push(JUMP_IF_EQUAL, 0, 3, 0);
            filter.push(LOAD, 0, 0, at_argument(pointer) + 4);
            filter.push(JUMP_IF_EQUAL, 0, 1, 0);
            filter.push(RETURN, 0, 0, ALLOW);
            refuse_if(filter, conditions);
        }
    }
}

#[expect(
    clippy::indexing_slicing,
    reason = "it runs at compile time, where an index out of bounds is a compile error"
)]
const fn refuse_if(filter: &mut Assembly, conditions: &[Condition]) {
    let mut index = 0;
    while index < conditions.len() {
        let Condition { argument, value, errno } = conditions[index];
        filter.push(LOAD, 0, 0, at_argument(argument));
        filter.push(JUMP_IF_EQUAL, 0, 1, value);
        filter.push(RETURN, 0, 0, ERRNO | errno as u32);
        index += 1;
    }
    filter.push(RETURN, 0, 0, ALLOW);
}

/// Goes to the second instruction after these if the argument is one of the values, else to the first.
///
/// Only the low half is compared: the kernel takes all these arguments as 32-bit numbers.
#[expect(
    clippy::indexing_slicing,
    clippy::cast_possible_truncation,
    reason = "it runs at compile time, where an index out of bounds is a compile error; there are few values"
)]
const fn compare(filter: &mut Assembly, argument: u8, values: &[u32]) {
    filter.push(LOAD, 0, 0, at_argument(argument));
    let mut index = 0;
    while index < values.len() {
        filter.push(JUMP_IF_EQUAL, (values.len() - index) as u8, 0, values[index]);
        index += 1;
    }
}

#[cfg(test)]
mod tests {
    use super::super::bpf::machine::run;
    use super::*;

    const I386: u32 = 0x4000_0003;

    const KEY: u64 = 0x1234_5678_9abc_def1;

    fn target_says(number: u32, arguments: [u64; 6]) -> u32 {
        run(filter(KEY).instructions(), AUDIT_ARCH, number, arguments)
    }

    fn first(argument: u64) -> [u64; 6] {
        [argument, 0, 0, 0, 0, 0]
    }

    #[test]
    fn every_rule_refuses_its_call_and_no_other() {
        for number in 0..=NEWEST_KNOWN {
            let said = target_says(number, [0; 6]);
            match RULES.iter().find(|rule| rule.0 == number) {
                None => assert_eq!(said, ALLOW, "call {number}"),
                Some((_, Always(errno))) => assert_eq!(said, ERRNO | u32::from(*errno), "call {number}"),
                // These have tests of their own.
                Some(_) => {}
            }
        }
    }

    #[test]
    fn the_whole_key_opens_its_calls_and_no_other() {
        let with = |key: u64| [0x1000_0000, 0, 0, 0, 0, key];
        for number in 0..=NEWEST_KNOWN {
            let refused = target_says(number, with(0));
            let opened = if KEYED.contains(&number) { ALLOW } else { refused };
            assert_eq!(target_says(number, with(KEY)), opened, "call {number}");
            for wrong in [1, KEY + 1, KEY ^ 1 << 32, KEY >> 32, KEY & 0xffff_ffff, u64::MAX] {
                assert_eq!(target_says(number, with(wrong)), refused, "call {number}, key {wrong:#x}");
            }
            if KEYED.contains(&number) {
                assert_ne!(refused, ALLOW, "call {number}");
            }
        }
        let holes = filter(KEY).instructions().iter().filter(|i| KEY_HOLES.contains(&i.operand)).count();
        assert_eq!(holes, 0, "every place of the key has it");
    }

    #[test]
    fn other_abis_end_the_process_and_unknown_calls_do_not_exist() {
        assert_eq!(run(filter(KEY).instructions(), I386, 0, [0; 6]), KILL_PROCESS);
        assert_eq!(target_says(FOREIGN_ABI_BIT | 1, [0; 6]), KILL_PROCESS);
        assert_eq!(target_says(u32::MAX, [0; 6]), KILL_PROCESS);
        assert_eq!(target_says(NEWEST_KNOWN + 1, [0; 6]), ERRNO | u32::from(ENOSYS));
        assert_eq!(target_says(NEWEST_KNOWN, [0; 6]), ALLOW);
    }

    #[test]
    fn namespaces_are_refused_and_threads_are_not() {
        let thread = 0x003d_0f00;
        assert_eq!(target_says(56, first(thread)), ALLOW);
        assert_eq!(target_says(56, first(17)), ALLOW);
        for bit in [17, 25, 26, 27, 28, 29, 30] {
            assert_eq!(target_says(56, first(thread | 1 << bit)), ERRNO | 1, "clone, bit {bit}");
            assert_eq!(target_says(272, first(1 << bit)), ERRNO | 1, "unshare, bit {bit}");
        }
        assert_eq!(target_says(272, first(0x80)), ERRNO | 1);
        assert_eq!(target_says(272, first(0x400)), ALLOW);
        assert_eq!(target_says(435, [0; 6]), ERRNO | u32::from(ENOSYS));
    }

    #[test]
    fn only_local_sockets() {
        for family in 0..64 {
            let wanted = if family == 1 { ALLOW } else { ERRNO | u32::from(EAFNOSUPPORT) };
            assert_eq!(target_says(41, first(family)), wanted, "family {family}");
            assert_eq!(target_says(53, first(family)), wanted, "family {family}");
        }
        // What the kernel cuts off does not hide a family.
        assert_eq!(target_says(41, first(1 << 32 | 2)), ERRNO | u32::from(EAFNOSUPPORT));
    }

    #[test]
    fn terminals_personalities_and_the_core_limit() {
        assert_eq!(target_says(16, [0, 0x5412, 0, 0, 0, 0]), ERRNO | 1);
        assert_eq!(target_says(16, [0, 1 << 32 | 0x5412, 0, 0, 0, 0]), ERRNO | 1);
        assert_eq!(target_says(16, [0, 0x541C, 0, 0, 0, 0]), ERRNO | 1);
        assert_eq!(target_says(16, [0, 0x5401, 0, 0, 0, 0]), ALLOW);
        assert_eq!(target_says(135, first(0xffff_ffff)), ALLOW);
        assert_eq!(target_says(135, first(0x0004_0000)), ERRNO | 1);
        assert_eq!(target_says(160, first(4)), ERRNO);
        assert_eq!(target_says(160, first(7)), ALLOW);
        assert_eq!(target_says(302, [0, 4, 0, 0x7fff_0000, 0, 0]), ALLOW);
        assert_eq!(target_says(302, [0, 4, 0x7fff_0000, 0, 0, 0]), ERRNO);
        assert_eq!(target_says(302, [0, 4, 0x7fff_0000_0000, 0, 0, 0]), ERRNO);
        assert_eq!(target_says(302, [0, 7, 0x7fff_0000, 0, 0, 0]), ALLOW);
    }

    #[test]
    fn the_guest_is_not_limited() {
        for limit in 0..16 {
            assert_eq!(target_says(302, [1, limit, 0x7fff_0000_0000, 0, 0, 0]), ERRNO | 1);
            assert_eq!(target_says(302, [1 << 32 | 1, limit, 0x7fff_0000_0000, 0, 0, 0]), ERRNO | 1);
            assert_eq!(target_says(302, [1, limit, 0, 0x7fff_0000_0000, 0, 0]), ALLOW);
        }
        assert_eq!(target_says(302, [2, 7, 0x7fff_0000_0000, 0, 0, 0]), ALLOW);
    }
}
