//! An example of a project whose own tests use Crucible: plain `#[test]` functions without an async
//! runtime, and one platform for all of them.
//!
//! The project is a course with one exercise: *read whole numbers, one per line, and print their
//! sum*. The tests of the course run the students' answers, which contain all kinds of faults.

#![cfg(all(feature = "subprocess", feature = "memory"))]
#![expect(clippy::expect_used, reason = "a test fails by panicking")]

use std::sync::LazyLock;
use std::time::Duration;

use crucible::blocking::Crucible;
use crucible::{Evaluation, Limits, Outcome};

/// The platform of the test binary. All tests share its workers, so that at most one program per
/// CPU runs at a time.
static CRUCIBLE: LazyLock<Crucible> =
    LazyLock::new(|| Crucible::new().expect("this host can run sandboxes"));

/// Returns the limits of the exercise.
///
/// The wall limit is far above the CPU limit, so that a slow machine does not fail a right answer.
/// The CPU limit ends a program that computes endlessly.
fn limits() -> Limits {
    Limits::new()
        .with_wall(Duration::from_secs(40))
        .with_cpu(Duration::from_secs(3))
        .with_memory_bytes(64 << 20)
        .with_output_bytes(64 << 10)
}

/// The grade of an answer.
#[derive(Debug, PartialEq)]
enum Grade {
    /// The program printed the expected output.
    Right,
    /// The program exited with 0 and printed this.
    Wrong(String),
    /// The program failed with this verdict.
    Failed(String),
}

/// Grades an outcome. The verdict is about the end of the program; the host compares the output.
fn grade(outcome: &Outcome, expected: &str) -> Grade {
    if !outcome.is_success() {
        return Grade::Failed(outcome.verdict().to_string());
    }
    let output = outcome.stdout.to_text();
    if output.trim_end() == expected { Grade::Right } else { Grade::Wrong(output.into_owned()) }
}

/// An answer and its expected grade.
struct Case {
    name: &'static str,
    source: &'static str,
    limits: Limits,
    grade: Grade,
}

fn case(name: &'static str, source: &'static str, grade: Grade) -> Case {
    Case { name, source, limits: limits(), grade }
}

fn failed(verdict: &str) -> Grade {
    Grade::Failed(verdict.to_owned())
}

fn cases() -> Vec<Case> {
    vec![
        case("right", "import sys\nprint(sum(int(line) for line in sys.stdin))", Grade::Right),
        case(
            "the greatest, not the sum",
            "import sys\nprint(max(int(line) for line in sys.stdin))",
            Grade::Wrong("30\n".to_owned()),
        ),
        Case {
            // The wall limit is below the CPU limit, so that the wall limit ends the program.
            limits: limits().with_wall(Duration::from_secs(1)),
            ..case(
                "an endless loop, by the clock",
                "while True: pass",
                failed("limit_exceeded wall"),
            )
        },
        case("an endless loop, by its CPU time", "while True: pass", failed("limit_exceeded cpu")),
        case("a memory hog", "print(len(b'x' * (1 << 30)))", failed("limit_exceeded memory")),
        case("a flood of output", "while True: print('sum')", failed("limit_exceeded output")),
        case("an exception", "print(int('ten'))", failed("exited 1")),
        case("a crash", "import os\nos.abort()", failed("signaled SIGABRT")),
        // The program chooses its exit code: 137 is no proof of a kill.
        case("a pretender", "import sys\nprint('Killed')\nsys.exit(137)", failed("exited 137")),
        case("a syntax error", "print(sum(", failed("exited 1")),
    ]
}

#[test]
fn answers_get_expected_grades() {
    // Submits all answers first. They run in parallel while this test waits for the first outcome.
    let submitted: Vec<_> = cases()
        .into_iter()
        .map(|case| {
            let evaluation = Evaluation::python(case.source)
                .with_stdin("10\n2\n30\n")
                .with_limits(case.limits.clone())
                .with_label("answer", case.name);
            let handle = CRUCIBLE.submit(evaluation).expect("the evaluation is well formed");
            (case, handle)
        })
        .collect();
    for (case, handle) in submitted {
        // An error would be an infrastructure failure. Every end of a program is an outcome.
        let outcome = handle.wait().expect("the platform works");
        assert_eq!(
            grade(&outcome, "42"),
            case.grade,
            "{}: {}",
            case.name,
            outcome.stderr.to_text()
        );
    }
}

#[test]
fn failed_answer_shows_output_and_error() {
    let program = Evaluation::python("print('so far')\nprint(1 // 0)").with_limits(limits());
    let outcome = CRUCIBLE.evaluate(program).expect("the platform works");
    assert_eq!(outcome.verdict().to_string(), "exited 1");
    assert_eq!(outcome.stdout.to_text(), "so far\n");
    let last = outcome.stderr.to_text().lines().last().map(str::to_owned);
    assert!(last.as_deref().is_some_and(|line| line.starts_with("ZeroDivisionError")), "{last:?}");
}

#[test]
fn c_answer_is_compiled_and_run() {
    let source = r#"
        #include <stdio.h>
        int main(void) {
            long sum = 0, number;
            while (scanf("%ld", &number) == 1) sum += number;
            printf("%ld\n", sum);
        }
    "#;
    let program = Evaluation::source("c", source).with_stdin("10\n2\n30\n").with_limits(limits());
    let outcome = CRUCIBLE.evaluate(program).expect("the platform works");
    assert_eq!(grade(&outcome, "42"), Grade::Right, "{}", outcome.stderr.to_text());
}

#[test]
fn compile_failure_has_the_compiler_messages() {
    let program = Evaluation::source("c", "int main(void) { return 0 }").with_limits(limits());
    let outcome = CRUCIBLE.evaluate(program).expect("the platform works");
    assert_eq!(outcome.verdict().to_string(), "compile_failed: the compiler exited 1");
    // The output is the compiler's, because the program did not run.
    let messages = outcome.stderr.to_text();
    assert!(messages.contains("main.c:1:") && messages.contains("error: expected"), "{messages}");
    assert_eq!(outcome.stdout.total_bytes, 0);
}

#[test]
fn solution_on_the_host_is_unreadable() {
    let solution = tempfile::NamedTempFile::new().expect("a temporary file can be created");
    std::fs::write(&solution, "42").expect("the file can be written");
    let path = solution.path().display();
    let source = format!("print(open({:?}).read())", path.to_string());
    let outcome = CRUCIBLE
        .evaluate(Evaluation::python(source).with_limits(limits()))
        .expect("the platform works");
    assert_eq!(grade(&outcome, "42"), failed("exited 1"));
    assert!(outcome.stderr.to_text().contains("FileNotFoundError"), "{}", outcome.stderr.to_text());
}

#[test]
fn invalid_evaluation_is_an_error_without_verdict() {
    // The error contains all mistakes of the caller, before a program runs. None becomes a bad
    // grade.
    let evaluation =
        Evaluation::source("pyhton", "print(42)").with_limits(limits().with_memory_bytes(0));
    let error = CRUCIBLE.submit(evaluation).expect_err("the language does not exist");
    // `Display` excludes the causes of an error; `error_chain` includes them.
    let text = crucible::model::error_chain(&error);
    assert!(text.contains("pyhton") && text.contains("limits.memory_bytes"), "{text}");
}
