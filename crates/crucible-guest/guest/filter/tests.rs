//! Tests of the filter, with an interpreter in place of the kernel.

use proptest::prelude::*;

use super::bpf::{ALLOW, DATA, ERRNO, KILL_PROCESS, NOTIFY, RETURN};
use super::bpf_machine::run;
use super::compiler::{FOREIGN, INET_HOLES, KEY_HOLES, KEYED};
use super::syscall_filter::{AF_INET, AF_INET6, Answerer, SocketPolicy, build};
use crate::policy::{
    ARCHITECTURE, Action, Condition, EAFNOSUPPORT, ENOSYS, EPERM, FOREIGN_FIRST, FOREIGN_LAST,
    NEWEST_KNOWN, RULES,
};

const I386: u32 = 0x4000_0003;
const KEY: u64 = 0x1234_5678_9abc_def1;

fn answer_to(sockets: SocketPolicy, answerer: Answerer, number: u32, arguments: [u64; 6]) -> u32 {
    run(build(KEY, sockets, answerer).instructions(), ARCHITECTURE, number, arguments)
}

fn answer_to_target(number: u32, arguments: [u64; 6]) -> u32 {
    answer_to(SocketPolicy::LocalOnly, Answerer::Listener, number, arguments)
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

/// Returns the answer by the rules, evaluated one after another.
fn expected(number: u32, arguments: [u64; 6]) -> u32 {
    let rule = RULES.iter().find(|rule| rule.number == number && rule.is_about(&arguments));
    match rule.map_or(Action::Allow, |rule| rule.action) {
        Action::Allow => ALLOW,
        Action::Refuse(errno) => refused(errno),
        Action::Report(errno) => reported(errno),
    }
}

/// Generates arguments that rules compare with, and others.
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
    fn filter_answers_as_the_rules_do(
        rule in 0..RULES.len(),
        number in 0..=NEWEST_KNOWN,
        arguments in proptest::array::uniform6(argument()),
    ) {
        for number in [number, RULES[rule].number] {
            let answer = answer_to_target(number, arguments);
            prop_assert_eq!(answer, expected(number, arguments), "call {}", number);
        }
    }

    #[test]
    fn filter_without_listener_gives_the_same_answers(
        number in 0..=NEWEST_KNOWN, arguments in proptest::array::uniform6(argument()),
    ) {
        let with = answer_to_target(number, arguments);
        let wanted = if with & !DATA == NOTIFY { ERRNO | with & DATA } else { with };
        let without = answer_to(SocketPolicy::LocalOnly, Answerer::Filter, number, arguments);
        prop_assert_eq!(without, wanted);
    }
}

#[test]
fn rule_refuses_its_call_and_no_other() {
    for number in 0..=NEWEST_KNOWN {
        assert_eq!(answer_to_target(number, [0; 6]), expected(number, [0; 6]), "call {number}");
        if !RULES.iter().any(|rule| rule.number == number) {
            assert_eq!(answer_to_target(number, [u64::MAX; 6]), ALLOW, "call {number}");
        }
    }
}

#[test]
fn key_allows_its_calls_and_no_other() {
    let with = |key: u64| [0x1000_0000, 0, 0, 0, 0, key];
    for number in 0..=NEWEST_KNOWN {
        let refused = answer_to_target(number, with(0));
        let opened = if KEYED.contains(&number) { ALLOW } else { refused };
        assert_eq!(answer_to_target(number, with(KEY)), opened, "call {number}");
        for wrong in [1, KEY + 1, KEY ^ 1 << 32, KEY >> 32, KEY & 0xffff_ffff, u64::MAX] {
            assert_eq!(
                answer_to_target(number, with(wrong)),
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
fn built_filter_has_no_placeholder() {
    for sockets in [SocketPolicy::LocalOnly, SocketPolicy::LocalAndTcp] {
        for answerer in [Answerer::Listener, Answerer::Filter] {
            let filter = build(KEY, sockets, answerer);
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
fn foreign_abi_differs_from_unknown_number() {
    for (answerer, foreign) in [(Answerer::Listener, FOREIGN), (Answerer::Filter, KILL_PROCESS)] {
        let filter = build(KEY, SocketPolicy::LocalOnly, answerer);
        assert_eq!(run(filter.instructions(), I386, 0, [0; 6]), foreign);
        assert_eq!(run(filter.instructions(), I386, 1000, [0; 6]), foreign);
        for number in [FOREIGN_FIRST, FOREIGN_FIRST | 165, FOREIGN_LAST] {
            assert_eq!(
                answer_to(SocketPolicy::LocalOnly, answerer, number, [0; 6]),
                foreign,
                "call {number:#x}"
            );
        }
        for number in [NEWEST_KNOWN + 1, 1000, FOREIGN_FIRST - 1, FOREIGN_LAST + 1, u32::MAX] {
            assert_eq!(
                answer_to(SocketPolicy::LocalOnly, answerer, number, [0; 6]),
                refused(ENOSYS),
                "call {number:#x}"
            );
        }
        assert_eq!(answer_to(SocketPolicy::LocalOnly, answerer, NEWEST_KNOWN, [0; 6]), ALLOW);
    }
}

#[test]
fn new_namespace_is_reported_and_thread_is_allowed() {
    let thread = 0x003d_0f00;
    assert_eq!(answer_to_target(56, first(thread)), ALLOW);
    assert_eq!(answer_to_target(56, first(17)), ALLOW);
    for bit in [17, 25, 26, 27, 28, 29, 30] {
        assert_eq!(
            answer_to_target(56, first(thread | 1 << bit)),
            reported(EPERM),
            "clone, bit {bit}"
        );
        assert_eq!(answer_to_target(272, first(1 << bit)), reported(EPERM), "unshare, bit {bit}");
    }
    assert_eq!(answer_to_target(272, first(0x80)), reported(EPERM));
    assert_eq!(answer_to_target(272, first(0x400)), ALLOW);
    assert_eq!(answer_to_target(435, [0; 6]), refused(ENOSYS));
}

#[test]
fn other_socket_families_are_refused() {
    for family in 0..64 {
        let wanted = match family {
            1 => ALLOW,
            17 | 38 | 40 => reported(EAFNOSUPPORT),
            _ => refused(EAFNOSUPPORT),
        };
        assert_eq!(answer_to_target(41, first(family)), wanted, "family {family}");
        let wanted = if family == 1 { ALLOW } else { refused(EAFNOSUPPORT) };
        assert_eq!(answer_to_target(53, first(family)), wanted, "family {family}");
    }
    // Bits that the kernel ignores do not hide a family.
    assert_eq!(answer_to_target(41, first(1 << 32 | 2)), refused(EAFNOSUPPORT));
    assert_eq!(answer_to_target(41, [2, 1, 6, 0, 0, 0]), refused(EAFNOSUPPORT));
}

#[test]
fn network_policy_allows_tcp_and_no_other_protocol() {
    for answerer in [Answerer::Listener, Answerer::Filter] {
        let answer = |family, kind, protocol| {
            answer_to(SocketPolicy::LocalAndTcp, answerer, 41, [family, kind, protocol, 0, 0, 0])
        };
        for family in 0..64 {
            for kind in 0..16 {
                for flags in [0, 0x800, 0x8_0000, 0x8_0800, 0x10, 0x100_0000] {
                    for protocol in [0, 6, 1, 17, 132, 136, 255, 256, 262] {
                        let stream = kind == 1 && [0, 0x800, 0x8_0000, 0x8_0800].contains(&flags);
                        let tcp = [2, 10].contains(&family) && stream && [0, 6].contains(&protocol);
                        let actual = answer(family, kind | flags, protocol);
                        let what = format!(
                            "family {family}, type {kind} | {flags:#x}, protocol {protocol}"
                        );
                        assert_eq!(actual == ALLOW, family == 1 || tcp, "{what}");
                    }
                }
            }
        }
        assert_eq!(answer(2, 2, 0), refused(EAFNOSUPPORT), "UDP");
        assert_eq!(answer(10, 3, 6), refused(EAFNOSUPPORT), "raw");
        assert_eq!(
            answer_to(SocketPolicy::LocalAndTcp, answerer, 53, first(2)),
            refused(EAFNOSUPPORT)
        );
    }
    // The answers to all other calls are the same.
    for number in (0..=NEWEST_KNOWN).filter(|number| *number != 41) {
        let answer =
            answer_to(SocketPolicy::LocalAndTcp, Answerer::Listener, number, [2, 1, 6, 0, 0, 0]);
        assert_eq!(answer, answer_to_target(number, [2, 1, 6, 0, 0, 0]), "call {number}");
    }
}

#[test]
fn terminals_personalities_and_core_limit_are_checked() {
    assert_eq!(answer_to_target(16, [0, 0x5412, 0, 0, 0, 0]), reported(EPERM));
    assert_eq!(answer_to_target(16, [0, 1 << 32 | 0x5412, 0, 0, 0, 0]), reported(EPERM));
    assert_eq!(answer_to_target(16, [0, 0x541C, 0, 0, 0, 0]), reported(EPERM));
    assert_eq!(answer_to_target(16, [0, 0x5401, 0, 0, 0, 0]), ALLOW);
    assert_eq!(answer_to_target(135, first(0xffff_ffff)), ALLOW);
    assert_eq!(answer_to_target(135, first(0x0004_0000)), refused(EPERM));
    assert_eq!(answer_to_target(160, first(4)), ERRNO);
    assert_eq!(answer_to_target(160, first(7)), ALLOW);
    assert_eq!(answer_to_target(302, [0, 4, 0, 0x7fff_0000, 0, 0]), ALLOW);
    assert_eq!(answer_to_target(302, [0, 4, 0x7fff_0000, 0, 0, 0]), ERRNO);
    assert_eq!(answer_to_target(302, [0, 4, 0x7fff_0000_0000, 0, 0, 0]), ERRNO);
    assert_eq!(answer_to_target(302, [0, 7, 0x7fff_0000, 0, 0, 0]), ALLOW);
}

#[test]
fn limits_of_process_1_cannot_be_set() {
    for limit in 0..16 {
        assert_eq!(answer_to_target(302, [1, limit, 0x7fff_0000_0000, 0, 0, 0]), ERRNO | 1);
        assert_eq!(
            answer_to_target(302, [1 << 32 | 1, limit, 0x7fff_0000_0000, 0, 0, 0]),
            ERRNO | 1
        );
        assert_eq!(answer_to_target(302, [1, limit, 0, 0x7fff_0000_0000, 0, 0]), ALLOW);
    }
    assert_eq!(answer_to_target(302, [2, 7, 0x7fff_0000_0000, 0, 0, 0]), ALLOW);
}
