//! The filter that the policy on system calls is compiled into.
//!
//! There is one filter. The spawner loads it once, and every guest and every target inherits it: loading one costs a tenth
//! of a whole run. What sets sandboxes up is refused like the rest, unless the caller passes a key along, a random number
//! of 64 bits. The spawner makes the key before it loads the filter, and a guest forgets it before it serves anybody; the
//! filter itself, which has the key in it, can be read by nobody but the host's root (`PTRACE_SECCOMP_GET_FILTER`).
//!
//! Refusals that matter go to a listener, which the host has: it notes them, and answers with the error number. Where
//! there can be no listener, the filter answers them itself. Calls of another ABI (i386, x32) end the process then: their
//! numbers mean other calls. Numbers that are newer than the policy do not exist.

use super::bpf::{
    self, ALLOW, AT_ARCHITECTURE, AT_NUMBER, Assembly, DATA, ERRNO, JUMP_IF_ANY_BIT,
    JUMP_IF_AT_LEAST, JUMP_IF_EQUAL, KILL_PROCESS, LOAD, NOTIFY, RETURN, at_argument,
};
use super::errno::{Errno, Result};
use super::sys::{self, Fd};
use crate::policy::{self, Action, Condition, ENOSYS, RULES, Rule};

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
/// What stands in for the address families of the internet until it is known whether they are admitted.
const INET_HOLES: [u32; 2] = [0x696E_6501, 0x696E_6502];
const AF_UNIX: u32 = 1;
const AF_INET: u32 = 2;
const AF_INET6: u32 = 10;
/// The answer to calls of another ABI: no call fails with such an error number.
const FOREIGN: u32 = NOTIFY | DATA;

static FILTER: Assembly = assemble(RULES);

/// Which sockets there may be besides local ones.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Sockets {
    Local,
    Tcp,
}

/// Who answers the refusals that matter.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Answerer {
    Listener,
    Filter,
}

/// Loads the filter for this process and all that it makes. Gives the listener to whom the refusals that matter go, or why
/// there is none: a kernel before 5.0, or a listener of somebody outside.
pub(crate) fn load(key: u64, sockets: Sockets) -> Result<core::result::Result<Fd, Errno>> {
    match sys::load_filter_with_listener(filter(key, sockets, Answerer::Listener).instructions()) {
        Ok(listener) => Ok(Ok(listener)),
        Err(error) => sys::load_filter(filter(key, sockets, Answerer::Filter).instructions())
            .map(|()| Err(error)),
    }
}

/// Loads the filter such that it answers everything itself.
pub(crate) fn load_without_listener(key: u64, sockets: Sockets) -> Result<()> {
    sys::load_filter(filter(key, sockets, Answerer::Filter).instructions())
}

fn filter(key: u64, sockets: Sockets, answerer: Answerer) -> Assembly {
    let mut filter = FILTER.clone();
    let [low, high] = bpf::halves(key);
    filter.replace(KEY_HOLES[0], low);
    filter.replace(KEY_HOLES[1], high);
    let families = match sockets {
        // A rule before this one has let them through: it never holds.
        Sockets::Local => [AF_UNIX; 2],
        Sockets::Tcp => [AF_INET, AF_INET6],
    };
    filter.replace(INET_HOLES[0], families[0]);
    filter.replace(INET_HOLES[1], families[1]);
    if answerer == Answerer::Filter {
        filter.answer(|answer| match answer {
            FOREIGN => Some(KILL_PROCESS),
            _ if answer & !DATA == NOTIFY => Some(ERRNO | answer & DATA),
            _ => None,
        });
    }
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
        // Those on one call stay in their order.
        while at > 0 && sorted[at - 1].number > sorted[at].number {
            let larger = sorted[at - 1];
            sorted[at - 1] = sorted[at];
            sorted[at] = larger;
            at -= 1;
        }
        unsorted += 1;
    }
    let mut filter = Assembly::new();
    filter.push(LOAD, 0, 0, AT_ARCHITECTURE);
    filter.push(JUMP_IF_EQUAL, 1, 0, policy::ARCHITECTURE);
    filter.push(RETURN, 0, 0, FOREIGN);
    filter.push(LOAD, 0, 0, AT_NUMBER);
    filter.push(JUMP_IF_AT_LEAST, 0, 4, policy::NEWEST_KNOWN + 1);
    filter.push(JUMP_IF_AT_LEAST, 0, 2, policy::FOREIGN_FIRST);
    filter.push(JUMP_IF_AT_LEAST, 1, 0, policy::FOREIGN_LAST + 1);
    filter.push(RETURN, 0, 0, FOREIGN);
    filter.push(RETURN, 0, 0, ERRNO | ENOSYS as u32);
    search(&mut filter, &sorted, 0, N);
    filter
}

/// Finds the call among those of the rules in this range.
#[expect(
    clippy::indexing_slicing,
    reason = "it runs at compile time, where an index out of bounds is a compile error"
)]
const fn search<const N: usize>(filter: &mut Assembly, rules: &[Rule; N], from: usize, to: usize) {
    let mut middle = usize::midpoint(from, to);
    // Rules on one call are not torn apart.
    while middle < to && rules[middle].number == rules[from].number {
        middle += 1;
    }
    while middle < to && rules[middle - 1].number == rules[middle].number {
        middle -= 1;
    }
    if middle < to {
        let jump = filter.length();
        filter.push(JUMP_IF_AT_LEAST, 0, 0, rules[middle].number);
        search(filter, rules, from, middle);
        filter.land_here(jump);
        search(filter, rules, middle, to);
        return;
    }
    let number = rules[from].number;
    filter.push(JUMP_IF_EQUAL, 1, 0, number);
    filter.push(RETURN, 0, 0, ALLOW);
    let mut index = 0;
    while index < KEYED.len() {
        if KEYED[index] == number {
            allow_with_key(filter);
        }
        index += 1;
    }
    let mut at = from;
    let mut every = false;
    while at < to {
        assert!(!every, "a rule is never reached");
        every = rules[at].conditions.is_empty();
        apply(filter, &rules[at]);
        at += 1;
    }
    if !every {
        filter.push(RETURN, 0, 0, ALLOW);
    }
}

const fn allow_with_key(filter: &mut Assembly) {
    filter.push(LOAD, 0, 0, at_argument(KEY_ARGUMENT));
    filter.push(JUMP_IF_EQUAL, 0, 3, KEY_HOLES[0]);
    filter.push(LOAD, 0, 0, at_argument(KEY_ARGUMENT) + 4);
    filter.push(JUMP_IF_EQUAL, 0, 1, KEY_HOLES[1]);
    filter.push(RETURN, 0, 0, ALLOW);
}

/// Gives a rule's answer if all of its tests hold, and goes on behind it if not.
#[expect(
    clippy::indexing_slicing,
    reason = "it runs at compile time, where an index out of bounds is a compile error"
)]
const fn apply(filter: &mut Assembly, rule: &Rule) {
    let mut end = filter.length() + 1;
    let mut index = 0;
    while index < rule.conditions.len() {
        end += length(rule.conditions[index]);
        index += 1;
    }
    index = 0;
    while index < rule.conditions.len() {
        check(filter, rule.conditions[index], end);
        index += 1;
    }
    let answer = match rule.action {
        Action::Allow => ALLOW,
        Action::Refuse(errno) => ERRNO | errno as u32,
        Action::Report(errno) => NOTIFY | errno as u32,
    };
    filter.push(RETURN, 0, 0, answer);
}

/// How many instructions a test takes.
const fn length(test: Condition) -> usize {
    match test {
        Condition::OneOf(_, values) => 1 + values.len(),
        Condition::AnyBit(..) => 2,
        Condition::NotNull(_) => 4,
        Condition::Inet(_) => 1 + INET_HOLES.len(),
    }
}

/// Goes on with the next instruction after these if the test holds, else to the one at `end`.
const fn check(filter: &mut Assembly, test: Condition, end: usize) {
    match test {
        Condition::OneOf(argument, values) => compare(filter, argument, values, end),
        Condition::Inet(argument) => compare(filter, argument, &INET_HOLES, end),
        Condition::AnyBit(argument, bits) => {
            filter.push(LOAD, 0, 0, at_argument(argument));
            filter.push(JUMP_IF_ANY_BIT, 0, distance(filter, end), bits);
        }
        Condition::NotNull(pointer) => {
            filter.push(LOAD, 0, 0, at_argument(pointer));
            filter.push(JUMP_IF_EQUAL, 0, 2, 0);
            filter.push(LOAD, 0, 0, at_argument(pointer) + 4);
            filter.push(JUMP_IF_EQUAL, distance(filter, end), 0, 0);
        }
    }
}

#[expect(
    clippy::indexing_slicing,
    clippy::cast_possible_truncation,
    reason = "it runs at compile time, where an index out of bounds is a compile error; there are few values"
)]
const fn compare(filter: &mut Assembly, argument: u8, values: &[u32], end: usize) {
    filter.push(LOAD, 0, 0, at_argument(argument));
    let mut index = 0;
    while index + 1 < values.len() {
        filter.push(JUMP_IF_EQUAL, (values.len() - index - 1) as u8, 0, values[index]);
        index += 1;
    }
    filter.push(JUMP_IF_EQUAL, 0, distance(filter, end), values[index]);
}

/// How far the instruction that comes next has to jump to get to `end`.
#[expect(clippy::cast_possible_truncation, reason = "checked before")]
const fn distance(filter: &Assembly, end: usize) -> u8 {
    let distance = end - filter.length() - 1;
    assert!(distance <= u8::MAX as usize, "a jump is too long");
    distance as u8
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::bpf::machine::run;
    use super::*;
    use crate::policy::{
        ARCHITECTURE, EAFNOSUPPORT, EPERM, FOREIGN_FIRST, FOREIGN_LAST, NEWEST_KNOWN,
    };

    const I386: u32 = 0x4000_0003;
    const KEY: u64 = 0x1234_5678_9abc_def1;

    fn told(sockets: Sockets, answerer: Answerer, number: u32, arguments: [u64; 6]) -> u32 {
        run(filter(KEY, sockets, answerer).instructions(), ARCHITECTURE, number, arguments)
    }

    fn target_says(number: u32, arguments: [u64; 6]) -> u32 {
        told(Sockets::Local, Answerer::Listener, number, arguments)
    }

    fn first(argument: u64) -> [u64; 6] {
        [argument, 0, 0, 0, 0, 0]
    }

    fn refused(errno: u16) -> u32 {
        ERRNO | u32::from(errno)
    }

    fn reported(errno: u16) -> u32 {
        NOTIFY | u32::from(errno)
    }

    /// What the rules say of a call, read one after another.
    fn rules_say(number: u32, arguments: [u64; 6]) -> u32 {
        let rule = RULES.iter().find(|rule| rule.number == number && rule.is_about(&arguments));
        match rule.map_or(Action::Allow, |rule| rule.action) {
            Action::Allow => ALLOW,
            Action::Refuse(errno) => refused(errno),
            Action::Report(errno) => reported(errno),
        }
    }

    /// Arguments that rules ask for, and others.
    fn argument() -> impl Strategy<Value = u64> {
        let asked: Vec<u64> = RULES
            .iter()
            .flat_map(|rule| rule.conditions)
            .flat_map(|test| match *test {
                Condition::OneOf(_, values) => values.to_vec(),
                Condition::AnyBit(_, bits) => vec![bits, bits & bits.wrapping_neg()],
                Condition::NotNull(_) | Condition::Inet(_) => vec![0, AF_INET, AF_INET6],
            })
            .map(u64::from)
            .collect();
        prop_oneof![
            4 => proptest::sample::select(asked.clone()),
            1 => proptest::sample::select(asked).prop_map(|value| value | 1 << 32),
            1 => any::<u64>(),
        ]
    }

    proptest! {
        #[test]
        fn the_filter_says_what_the_rules_say(
            rule in 0..RULES.len(), number in 0..=NEWEST_KNOWN, arguments in proptest::array::uniform6(argument()),
        ) {
            for number in [number, RULES[rule].number] {
                prop_assert_eq!(target_says(number, arguments), rules_say(number, arguments), "call {}", number);
            }
        }

        #[test]
        fn without_a_listener_the_filter_gives_the_listeners_answers(
            number in 0..=NEWEST_KNOWN, arguments in proptest::array::uniform6(argument()),
        ) {
            let with = target_says(number, arguments);
            let wanted = if with & !DATA == NOTIFY { ERRNO | with & DATA } else { with };
            prop_assert_eq!(told(Sockets::Local, Answerer::Filter, number, arguments), wanted);
        }
    }

    #[test]
    fn every_rule_refuses_its_call_and_no_other() {
        for number in 0..=NEWEST_KNOWN {
            assert_eq!(target_says(number, [0; 6]), rules_say(number, [0; 6]), "call {number}");
            if !RULES.iter().any(|rule| rule.number == number) {
                assert_eq!(target_says(number, [u64::MAX; 6]), ALLOW, "call {number}");
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
                assert_eq!(
                    target_says(number, with(wrong)),
                    refused,
                    "call {number}, key {wrong:#x}"
                );
            }
            if KEYED.contains(&number) {
                assert_ne!(refused, ALLOW, "call {number}");
            }
        }
    }

    #[test]
    fn nothing_stands_in_any_more() {
        for sockets in [Sockets::Local, Sockets::Tcp] {
            for answerer in [Answerer::Listener, Answerer::Filter] {
                let filter = filter(KEY, sockets, answerer);
                let holes = KEY_HOLES.into_iter().chain(INET_HOLES).collect::<Vec<_>>();
                assert!(filter.instructions().iter().all(|i| !holes.contains(&i.operand)));
                let asks = filter
                    .instructions()
                    .iter()
                    .any(|i| i.code == RETURN && i.operand & !DATA == NOTIFY);
                assert_eq!(asks, answerer == Answerer::Listener);
            }
        }
    }

    #[test]
    fn other_abis_are_told_from_what_does_not_exist() {
        for (answerer, foreign) in [(Answerer::Listener, FOREIGN), (Answerer::Filter, KILL_PROCESS)]
        {
            let filter = filter(KEY, Sockets::Local, answerer);
            assert_eq!(run(filter.instructions(), I386, 0, [0; 6]), foreign);
            assert_eq!(run(filter.instructions(), I386, 1000, [0; 6]), foreign);
            for number in [FOREIGN_FIRST, FOREIGN_FIRST | 165, FOREIGN_LAST] {
                assert_eq!(
                    told(Sockets::Local, answerer, number, [0; 6]),
                    foreign,
                    "call {number:#x}"
                );
            }
            for number in [NEWEST_KNOWN + 1, 1000, FOREIGN_FIRST - 1, FOREIGN_LAST + 1, u32::MAX] {
                assert_eq!(
                    told(Sockets::Local, answerer, number, [0; 6]),
                    refused(ENOSYS),
                    "call {number:#x}"
                );
            }
            assert_eq!(told(Sockets::Local, answerer, NEWEST_KNOWN, [0; 6]), ALLOW);
        }
    }

    #[test]
    fn namespaces_are_reported_and_threads_are_not() {
        let thread = 0x003d_0f00;
        assert_eq!(target_says(56, first(thread)), ALLOW);
        assert_eq!(target_says(56, first(17)), ALLOW);
        for bit in [17, 25, 26, 27, 28, 29, 30] {
            assert_eq!(
                target_says(56, first(thread | 1 << bit)),
                reported(EPERM),
                "clone, bit {bit}"
            );
            assert_eq!(target_says(272, first(1 << bit)), reported(EPERM), "unshare, bit {bit}");
        }
        assert_eq!(target_says(272, first(0x80)), reported(EPERM));
        assert_eq!(target_says(272, first(0x400)), ALLOW);
        assert_eq!(target_says(435, [0; 6]), refused(ENOSYS));
    }

    #[test]
    fn only_local_sockets() {
        for family in 0..64 {
            let wanted = match family {
                1 => ALLOW,
                17 | 38 | 40 => reported(EAFNOSUPPORT),
                _ => refused(EAFNOSUPPORT),
            };
            assert_eq!(target_says(41, first(family)), wanted, "family {family}");
            let wanted = if family == 1 { ALLOW } else { refused(EAFNOSUPPORT) };
            assert_eq!(target_says(53, first(family)), wanted, "family {family}");
        }
        // What the kernel cuts off does not hide a family.
        assert_eq!(target_says(41, first(1 << 32 | 2)), refused(EAFNOSUPPORT));
        assert_eq!(target_says(41, [2, 1, 6, 0, 0, 0]), refused(EAFNOSUPPORT));
    }

    #[test]
    fn where_the_network_is_admitted_tcp_is_and_nothing_else() {
        for answerer in [Answerer::Listener, Answerer::Filter] {
            let says = |family, kind, protocol| {
                told(Sockets::Tcp, answerer, 41, [family, kind, protocol, 0, 0, 0])
            };
            for family in 0..64 {
                for kind in 0..16 {
                    for flags in [0, 0x800, 0x8_0000, 0x8_0800, 0x10, 0x100_0000] {
                        for protocol in [0, 6, 1, 17, 132, 136, 255, 256, 262] {
                            let stream =
                                kind == 1 && [0, 0x800, 0x8_0000, 0x8_0800].contains(&flags);
                            let tcp =
                                [2, 10].contains(&family) && stream && [0, 6].contains(&protocol);
                            let said = says(family, kind | flags, protocol);
                            let what = format!(
                                "family {family}, type {kind} | {flags:#x}, protocol {protocol}"
                            );
                            assert_eq!(said == ALLOW, family == 1 || tcp, "{what}");
                        }
                    }
                }
            }
            assert_eq!(says(2, 2, 0), refused(EAFNOSUPPORT), "UDP");
            assert_eq!(says(10, 3, 6), refused(EAFNOSUPPORT), "raw");
            assert_eq!(told(Sockets::Tcp, answerer, 53, first(2)), refused(EAFNOSUPPORT));
        }
        // Nothing else changes.
        for number in (0..=NEWEST_KNOWN).filter(|number| *number != 41) {
            let told = told(Sockets::Tcp, Answerer::Listener, number, [2, 1, 6, 0, 0, 0]);
            assert_eq!(told, target_says(number, [2, 1, 6, 0, 0, 0]), "call {number}");
        }
    }

    #[test]
    fn terminals_personalities_and_the_core_limit() {
        assert_eq!(target_says(16, [0, 0x5412, 0, 0, 0, 0]), reported(EPERM));
        assert_eq!(target_says(16, [0, 1 << 32 | 0x5412, 0, 0, 0, 0]), reported(EPERM));
        assert_eq!(target_says(16, [0, 0x541C, 0, 0, 0, 0]), reported(EPERM));
        assert_eq!(target_says(16, [0, 0x5401, 0, 0, 0, 0]), ALLOW);
        assert_eq!(target_says(135, first(0xffff_ffff)), ALLOW);
        assert_eq!(target_says(135, first(0x0004_0000)), refused(EPERM));
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
            assert_eq!(
                target_says(302, [1 << 32 | 1, limit, 0x7fff_0000_0000, 0, 0, 0]),
                ERRNO | 1
            );
            assert_eq!(target_says(302, [1, limit, 0, 0x7fff_0000_0000, 0, 0]), ALLOW);
        }
        assert_eq!(target_says(302, [2, 7, 0x7fff_0000_0000, 0, 0, 0]), ALLOW);
    }
}
