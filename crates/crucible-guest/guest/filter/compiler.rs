//! The compiler from the rules of the policy to BPF. It runs at compile time.

use super::bpf::{
    ALLOW, AT_ARCHITECTURE, AT_NUMBER, Assembly, DATA, ERRNO, JUMP_IF_ANY_BIT, JUMP_IF_AT_LEAST,
    JUMP_IF_EQUAL, LOAD, NOTIFY, RETURN, at_argument,
};
use crate::policy::{self, Action, Condition, ENOSYS, Rule};

/// The system calls that set sandboxes up. The filter allows them to a caller that passes the key.
pub(super) const KEYED: [u32; 6] = [
    165, // mount
    166, // umount2
    170, // sethostname
    272, // unshare
    308, // setns
    435, // clone3
];
/// The argument that contains the key. No call in `KEYED` has a sixth argument.
const KEY_ARGUMENT: u8 = 5;
/// Placeholders for the two halves of the key.
pub(super) const KEY_HOLES: [u32; 2] = [0x6B65_7901, 0x6B65_7902];
/// Placeholders for the address families of the internet, until the socket policy is known.
pub(super) const INET_HOLES: [u32; 2] = [0x696E_6501, 0x696E_6502];
/// The answer to calls of another ABI. No call fails with such an error number.
pub(super) const FOREIGN: u32 = NOTIFY | DATA;

/// Compiles rules into a filter. It is a search tree over the numbers. The kernel takes time for
/// each instruction when it loads a filter, and again at each call.
#[expect(
    clippy::indexing_slicing,
    reason = "it runs at compile time, where an index out of bounds is a compile error"
)]
pub(super) const fn assemble<const N: usize>(rules: [Rule; N]) -> Assembly {
    let mut sorted = rules;
    let mut unsorted = 1;
    while unsorted < N {
        let mut at = unsorted;
        // Rules on the same call keep their order.
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

/// Emits the search for a call among the rules `from..to`.
#[expect(
    clippy::indexing_slicing,
    reason = "it runs at compile time, where an index out of bounds is a compile error"
)]
const fn search<const N: usize>(filter: &mut Assembly, rules: &[Rule; N], from: usize, to: usize) {
    let mut middle = usize::midpoint(from, to);
    // Rules on the same call stay together.
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

/// Emits the answer to calls with the key.
const fn allow_with_key(filter: &mut Assembly) {
    filter.push(LOAD, 0, 0, at_argument(KEY_ARGUMENT));
    filter.push(JUMP_IF_EQUAL, 0, 3, KEY_HOLES[0]);
    filter.push(LOAD, 0, 0, at_argument(KEY_ARGUMENT) + 4);
    filter.push(JUMP_IF_EQUAL, 0, 1, KEY_HOLES[1]);
    filter.push(RETURN, 0, 0, ALLOW);
}

/// Emits a rule: its answer if all of its conditions hold. Otherwise execution continues after it.
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

/// Returns the number of instructions of a condition.
const fn length(condition: Condition) -> usize {
    match condition {
        Condition::OneOf(_, values) => 1 + values.len(),
        Condition::AnyBit(..) => 2,
        Condition::NotNull(_) => 4,
        Condition::Inet(_) => 1 + INET_HOLES.len(),
    }
}

/// Emits a condition. If it holds, execution continues after it, and otherwise at `end`.
const fn check(filter: &mut Assembly, condition: Condition, end: usize) {
    match condition {
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

/// Emits the comparison of an argument with several values.
#[expect(
    clippy::indexing_slicing,
    clippy::cast_possible_truncation,
    reason = "it runs at compile time, where an index out of bounds is an error; values are few"
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

/// Returns the distance of a jump from the next instruction to `end`.
#[expect(clippy::cast_possible_truncation, reason = "checked before")]
const fn distance(filter: &Assembly, end: usize) -> u8 {
    let distance = end - filter.length() - 1;
    assert!(distance <= u8::MAX as usize, "a jump is too long");
    distance as u8
}
