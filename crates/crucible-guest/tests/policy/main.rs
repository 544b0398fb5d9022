//! The policy and its documentation: `docs/seccomp.md` is generated from the rules.

#![expect(clippy::unwrap_used, reason = "a panic is how a test reports a failure")]

use std::fmt::Write as _;
use std::path::Path;

use crucible_guest::policy::{
    ALLOWED, ARCHITECTURE, Action, EAFNOSUPPORT, ENOSYS, EPERM, FOREIGN_FIRST, FOREIGN_LAST,
    NEWEST_KNOWN, PRETEND, RULES, Reason, Rule, Violation,
};

/// The environment variable that makes the test write the page instead of comparing it.
const UPDATE: &str = "CRUCIBLE_UPDATE_DOCS";

const INTRODUCTION: &str = "\
# System calls

This page is generated from `crates/crucible-guest/src/policy`. A test of that crate fails if the
two differ. To regenerate the page, run
`CRUCIBLE_UPDATE_DOCS=1 cargo test -p crucible-guest --test policy`. The numbers are those of x86-64.

A call that no line refuses is allowed. A refused call fails with the given error number.
*Reported* calls are also evidence of a policy violation, because no ordinary program makes them. If
several lines cover a call, the first match applies. Attacks are families of the attack suite.
";

const OTHER_CALLS: &str = "\
## All other calls

| calls | answer |
| --- | --- |
| of another ABI: i386, x32 | `ENOSYS`, reported. If violations cannot be reported, the kernel \
kills the process (`SIGSYS`). Their numbers mean other calls, which would bypass every line above \
(CVE-2014-0038). Attacks: F6 |
";

fn describe(action: Action) -> String {
    let (errno, reported) = match action {
        Action::Allow => return "allowed".to_owned(),
        Action::Refuse(errno) => (errno, ""),
        Action::Report(errno) => (errno, ", reported"),
    };
    let name = match errno {
        PRETEND => "succeeds without effect",
        EPERM => "`EPERM`",
        ENOSYS => "`ENOSYS`",
        EAFNOSUPPORT => "`EAFNOSUPPORT`",
        other => panic!("error number {other} has no name here"),
    };
    format!("{name}{reported}")
}

/// Breaks a text into lines of at most 120 columns.
fn wrap(text: &str) -> String {
    let mut lines = String::new();
    let mut column = 0;
    for word in text.split(' ') {
        if column > 0 && column + 1 + word.len() > 120 {
            lines.push('\n');
            column = 0;
        } else if column > 0 {
            lines.push(' ');
            column += 1;
        }
        lines.push_str(word);
        column += word.len();
    }
    lines
}

/// Returns the page that documents the policy.
fn page() -> String {
    let mut page = INTRODUCTION.to_owned();
    let mut reasons: Vec<&Reason> = Vec::new();
    for rule in &RULES {
        if !reasons.contains(&rule.reason) {
            reasons.push(rule.reason);
        }
    }
    for reason in reasons {
        let Reason { title, attacks, why } = reason;
        writeln!(
            page,
            "\n## {title}\n\n{}\nAttacks: {attacks}.\n\n\
             | number | call | answer |\n| --- | --- | --- |",
            wrap(why)
        )
        .unwrap();
        for rule in RULES.iter().filter(|rule| rule.reason == reason) {
            let Rule { number, name, which, .. } = rule;
            let space = if which.is_empty() { "" } else { " " };
            writeln!(page, "| {number} | `{name}`{space}{which} | {} |", describe(rule.action))
                .unwrap();
        }
    }
    writeln!(
        page,
        "\n{OTHER_CALLS}| newer than {NEWEST_KNOWN} | \
         `ENOSYS`, because the policy does not cover them yet |"
    )
    .unwrap();
    writeln!(page, "\n## Reviewed and allowed\n\n| calls | why |\n| --- | --- |").unwrap();
    for allowed in &ALLOWED {
        writeln!(page, "| {} | {} |", allowed.calls, allowed.why).unwrap();
    }
    page
}

#[test]
fn page_matches_the_rules() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/seccomp.md");
    let page = page();
    if std::env::var_os(UPDATE).is_some() {
        std::fs::write(&path, &page).unwrap();
    }
    let current = std::fs::read_to_string(&path).unwrap();
    assert!(
        current == page,
        "`docs/seccomp.md` differs from the policy\n\
         fix: set `{UPDATE}=1`, run this test again, and review the page"
    );
}

#[test]
fn call_has_one_name_and_a_covered_number() {
    for rule in &RULES {
        assert!(rule.number <= NEWEST_KNOWN, "{}", rule.name);
        for other in &RULES {
            assert_eq!(
                rule.number == other.number,
                rule.name == other.name,
                "{} and {}",
                rule.name,
                other.name
            );
        }
        assert_eq!(
            rule.conditions.is_empty(),
            rule.which.is_empty() || rule.which.contains("any"),
            "{}",
            rule.name
        );
        assert!(!rule.reason.why.is_empty() && !rule.reason.attacks.is_empty(), "{}", rule.name);
    }
}

#[test]
fn reported_call_has_a_name_and_an_error_number() {
    let namespace = [0x1000_0000, 0, 0, 0, 0, 0];
    let of = |number, arguments: [u64; 6]| Violation::of(ARCHITECTURE, number, &arguments);
    let mount = of(165, [0; 6]).unwrap();
    assert_eq!(
        (mount.name(), mount.which(), mount.errno(), mount.is_call()),
        ("mount", "", EPERM, true)
    );
    let unshare = of(272, namespace).unwrap();
    assert_eq!((unshare.name(), unshare.which()), ("unshare", "with a new namespace"));
    assert_eq!(of(272, [0; 6]), None);
    let alg = of(41, [38, 5, 0, 0, 0, 0]).unwrap();
    assert_eq!((alg.name(), alg.which(), alg.errno()), ("socket", "of AF_ALG", EAFNOSUPPORT));
    for family in [1, 2, 10, 16] {
        assert_eq!(of(41, [family, 1, 0, 0, 0, 0]), None, "family {family}");
    }
    assert_eq!(of(101, [0; 6]), None);
    assert_eq!(of(0, [0; 6]), None);
    for number in [FOREIGN_FIRST, FOREIGN_LAST] {
        let foreign = of(number, [0; 6]).unwrap();
        assert_eq!((foreign.errno(), foreign.is_call()), (ENOSYS, false));
    }
    assert_eq!(of(FOREIGN_LAST + 1, [0; 6]), None);
    assert!(Violation::of(0x4000_0003, 21, &[0; 6]).is_some(), "mount(2) of i386");
}
