//! Tests of policy violations: refused calls are reported with their name and their count.

use std::time::Duration;

use super::runs::{printed, python, run, without};
use crucible_core::{
    Command, Engine as _, Evaluation, Evidence, ExecOptions, ExecOutcome, Layer, Limits, Outcome,
    SandboxSpec, Verdict,
};
use crucible_guest::policy::{Action, Condition, RULES, Rule};

/// The beginning of every program. `call` returns the error number.
const PRELUDE: &str = "
import ctypes, os, sys
libc = ctypes.CDLL(None, use_errno=True)
def call(number, *arguments):
    ctypes.set_errno(0)
    if libc.syscall(ctypes.c_long(number), *map(ctypes.c_long, arguments)) != -1:
        return 0
    return ctypes.get_errno()
";
const MOUNT: &str = "call(165, 0, 0, 0, 0, 0)";
const SETNS: &str = "call(308, 0, 0)";

fn program(source: &str) -> Evaluation {
    let limits = Limits::new().with_wall(Duration::from_secs(40)).with_processes(40);
    Evaluation::python(format!("{PRELUDE}{source}")).with_limits(limits)
}

fn violations(evidence: &[Evidence]) -> Vec<&str> {
    evidence
        .iter()
        .filter_map(|fact| match fact {
            Evidence::Violation { what } => Some(what.as_str()),
            _ => None,
        })
        .collect()
}

/// Returns the violations and the output of a program that exited with 0.
#[track_caller]
fn reported(outcome: &Outcome) -> (Vec<&str>, String) {
    let (stdout, stderr) = (outcome.stdout.to_text(), outcome.stderr.to_text());
    assert_eq!(
        outcome.ending().map(Verdict::from),
        Some(Verdict::Exited { code: 0 }),
        "{stdout}\n{stderr}"
    );
    let found = violations(outcome.evidence());
    match found.first() {
        Some(what) => {
            assert_eq!(*outcome.verdict(), Verdict::PolicyViolation { what: (*what).to_owned() })
        }
        None => assert!(outcome.is_success(), "{}", outcome.verdict()),
    }
    (found, stdout.trim().to_owned())
}

/// Returns arguments that match a rule.
fn arguments(rule: &Rule) -> [u64; 6] {
    // A rule without a test matches arguments that no earlier rule on the call matches.
    let first = if rule.conditions.is_empty() { 0x4_0000 } else { 0 };
    let mut arguments = [first, 0, 0, 0, 0, 0];
    for test in rule.conditions {
        let (index, value) = match *test {
            Condition::OneOf(index, values) => (index, *values.first().unwrap()),
            Condition::AnyBit(index, bits) => (index, bits & bits.wrapping_neg()),
            Condition::NotNull(index) => (index, 8),
            Condition::Inet(index) => (index, 2),
        };
        *arguments.get_mut(usize::from(index)).unwrap() = u64::from(value);
    }
    arguments
}

/// Each refused call fails with the error number of its rule, and each reported rule is reported
/// once.
#[test]
fn each_refusal_matches_the_policy() {
    let engine = without(&[]);
    let rules: Vec<_> = RULES.iter().filter(|rule| rule.action != Action::Allow).collect();
    // Few enough that the engine does not delay a call.
    for rules in rules.chunks(16) {
        let mut source = String::new();
        let mut numbers = Vec::new();
        let mut wanted = Vec::new();
        for rule in rules {
            let list = arguments(rule).map(|argument| argument.to_string()).join(", ");
            source.push_str(&format!("print(call({}, {list}))\n", rule.number));
            let (Action::Refuse(errno) | Action::Report(errno)) = rule.action else { continue };
            numbers.push(errno.to_string());
            if matches!(rule.action, Action::Report(_)) {
                let space = if rule.which.is_empty() { "" } else { " " };
                wanted.push(format!("{}(2){space}{} was refused, once", rule.name, rule.which));
            }
        }
        let outcome = run(&engine, &program(&source));
        let (found, printed) = reported(&outcome);
        let names: Vec<_> = rules.iter().map(|rule| rule.name).collect();
        assert_eq!(printed.lines().collect::<Vec<_>>(), numbers, "{names:?}");
        assert_eq!(found, wanted);
    }
}

#[test]
fn violations_are_counted_per_call() {
    let engine = without(&[]);
    let outcome = run(&engine, &program(&format!("for _ in range(3): {MOUNT}\n{SETNS}\n{MOUNT}")));
    let (found, _) = reported(&outcome);
    assert_eq!(found, ["mount(2) was refused, 4 times", "setns(2) was refused, once"]);
}

#[test]
fn ordinary_refused_calls_are_not_reported() {
    let source = "
import socket
for family in (socket.AF_INET, socket.AF_INET6, socket.AF_NETLINK):
    try:
        socket.socket(family)
        print('opened', family)
    except OSError as error:
        print(error.errno, end=' ')
for number in (101, 310, 250, 298, 425, 237, 239, 435, 447, 458):
    print(call(number, 0, 0, 0, 0, 0, 0), end=' ')
print(call(135, 0x40000), call(1000))";
    let engine = without(&[]);
    let outcome = run(&engine, &program(source));
    assert_eq!(printed(&outcome), "97 97 97 1 1 1 1 38 1 1 38 38 38 1 38");
    assert_eq!(violations(outcome.evidence()), Vec::<&str>::new());
}

#[test]
fn call_of_another_abi_is_refused_and_reported() {
    // getpid(2) with its number in the x32 ABI.
    let engine = without(&[]);
    let outcome = run(&engine, &program("print(call(0x40000000 + 39), call(-1))"));
    let (found, printed) = reported(&outcome);
    assert_eq!(printed, "38 38");
    assert_eq!(found, ["a call of another ABI (i386, x32) was refused, once"]);
}

/// A flood of violations is slowed down until its wall limit. Other sandboxes are not affected.
#[test]
fn violation_flood_slows_only_its_sandbox() {
    let engine = without(&[]);
    let source = format!("for _ in range(10000): {MOUNT}\nprint('through')");
    let wall = Duration::from_secs(3) * crucible_conformance::slowness();
    let flood = program(&source).with_limits(Limits::new().with_wall(wall));
    let (flooded, others) = std::thread::scope(|scope| {
        let flood = scope.spawn(|| run(&engine, &flood));
        let mut others = 0;
        while !flood.is_finished() {
            assert_eq!(python(&engine, &Limits::new(), "print(6 * 7)"), "42");
            others += 1;
        }
        (flood.join().unwrap(), others)
    });
    assert!(others > 0);
    let found = violations(flooded.evidence());
    let [what] = found[..] else { panic!("{found:?}") };
    let count = what
        .strip_prefix("mount(2) was refused, at least ")
        .and_then(|rest| rest.strip_suffix(" times"));
    let count: u32 = count.unwrap_or_else(|| panic!("{what}")).parse().unwrap();
    // The wall limit leaves time for this range.
    assert!((17..10_000).contains(&count), "{what}");
    assert_eq!(*flooded.verdict(), Verdict::PolicyViolation { what: what.to_owned() });
    assert_eq!(flooded.stdout.to_text(), "");
}

/// Violations of descendants and threads count, also of renamed and orphaned processes.
#[test]
fn violations_of_descendants_and_threads_count() {
    let engine = without(&[]);
    let source = format!(
        "
import threading, time
def descend(depth, name):
    if depth == 0:
        libc.prctl(15, name.encode())
        {MOUNT}
        os._exit(0)
    if os.fork() == 0:
        descend(depth - 1, name)
    os.wait()
    os._exit(0)
if os.fork() == 0:
    descend(1, 'a) S 1 1 (')
os.wait()
if os.fork() == 0:
    descend(20, 'deep')
os.wait()
reader, writer = os.pipe()
if os.fork() == 0:
    os.setsid()
    if os.fork() != 0:
        os._exit(0)
    while os.getppid() != 1:
        time.sleep(0.01)
    {MOUNT}
    os.write(writer, b'x')
    os._exit(0)
os.wait()
os.read(reader, 1)
thread = threading.Thread(target=lambda: {MOUNT})
thread.start()
thread.join()
print('done')"
    );
    let outcome = run(&engine, &program(&source));
    let (found, printed) = reported(&outcome);
    assert_eq!(printed, "done");
    assert_eq!(found, ["mount(2) was refused, 4 times"]);
}

/// A violation is reported even if it is the last call of a program.
#[test]
fn last_violation_before_exit_is_reported() {
    let engine = without(&[]);
    for _ in 0..50 {
        let outcome = run(&engine, &program(&format!("{MOUNT}; os._exit(0)")));
        assert_eq!(reported(&outcome).0, ["mount(2) was refused, once"]);
    }
}

#[test]
fn session_commands_have_their_own_violations() {
    let engine = without(&[]);
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let sandbox = engine.open(SandboxSpec::new()).await.unwrap();
        let exec = async |source: &str| -> ExecOutcome {
            let source = format!("{PRELUDE}{source}");
            sandbox
                .exec(&Command::new(["python3", "-c", &source]), ExecOptions::new())
                .await
                .unwrap()
        };
        for round in 0..3 {
            let exit = exec(&format!("{MOUNT}; {MOUNT}; print('no')")).await;
            assert_eq!(violations(&exit.evidence), ["mount(2) was refused, 2 times"]);
            let exit = exec("print('nothing')").await;
            assert_eq!(violations(&exit.evidence), Vec::<&str>::new(), "round {round}");
            assert_eq!(exit.verdict(), Verdict::Exited { code: 0 });
            let exit = exec(SETNS).await;
            assert_eq!(violations(&exit.evidence), ["setns(2) was refused, once"]);
        }
        sandbox.close().await.unwrap();
    });
}

#[test]
fn concurrent_sandboxes_do_not_mix_violations() {
    let engine = without(&[]);
    let cases: [(String, &[&str]); 3] = [
        (format!("for _ in range(9): {MOUNT}"), &["mount(2) was refused, 9 times"]),
        (format!("for _ in range(5): {SETNS}"), &["setns(2) was refused, 5 times"]),
        ("for _ in range(1000): os.getppid()".to_owned(), &[]),
    ];
    std::thread::scope(|scope| {
        for (source, wanted) in &cases {
            let engine = &engine;
            scope.spawn(move || {
                for _ in 0..15 {
                    assert_eq!(reported(&run(engine, &program(source))).0, *wanted);
                }
            });
        }
    });
}

#[test]
fn seccomp_layer_reports_violation_support() {
    let engine = without(&[]);
    let detail = |enforcement: &crucible_core::Enforcement| {
        let report =
            enforcement.reports().iter().find(|report| report.layer == Layer::Seccomp).unwrap();
        report.detail.clone()
    };
    assert_eq!(detail(&engine.info().enforcement), "violations are reported");
    let outcome = run(&engine, &program("pass"));
    assert_eq!(detail(&outcome.enforcement), "1 filter, violations are reported");
}

/// Without the layer there are no violations, because no filter refuses a call.
#[test]
fn waived_seccomp_reports_no_violations() {
    let engine = without(&[Layer::Seccomp]);
    let outcome = run(&engine, &program(&format!("print({MOUNT} != 0)")));
    assert_eq!(printed(&outcome), "True");
}
