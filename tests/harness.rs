//! How a project's own tests use Crucible: plain `#[test]` functions without an async runtime, one platform for all.
//!
//! The project here is a course, and its first exercise: *read whole numbers, one a line, and print their sum*. What
//! students hand in is run by the course's tests, and students hand in all kinds of things.

#![cfg(all(feature = "subprocess", feature = "memory"))]
#![expect(clippy::expect_used, reason = "in a test it is how a failure is reported")]

use std::sync::LazyLock;
use std::time::Duration;

use crucible::blocking::Crucible;
use crucible::{Evaluation, Limits, Outcome};

/// One platform for the whole test binary: the tests share its workers, so that however many tests run at once, no more
/// programs run at once than there are CPUs.
static CRUCIBLE: LazyLock<Crucible> =
    LazyLock::new(|| Crucible::new().expect("this host has a sandbox"));

/// What the exercise allows. The wall limit is far above the CPU limit: a slow machine must not fail a right answer, and
/// a program that computes for ever is ended by the CPU time that it used, however long that takes by the clock.
fn limits() -> Limits {
    Limits::new()
        .with_wall(Duration::from_secs(40))
        .with_cpu(Duration::from_secs(3))
        .with_memory_bytes(64 << 20)
        .with_output_bytes(64 << 10)
}

/// What a student gets for an answer.
#[derive(Debug, PartialEq)]
enum Grade {
    /// The output is the expected one.
    Right,
    /// The program ended well, and printed this.
    Wrong(String),
    /// The program did not end well; this is the verdict.
    Failed(String),
}

/// A verdict says how the program ended. Whether its output is right is for the host to say.
fn grade(outcome: &Outcome, expected: &str) -> Grade {
    if !outcome.is_success() {
        return Grade::Failed(outcome.verdict().to_string());
    }
    let output = outcome.stdout.to_text();
    if output.trim_end() == expected { Grade::Right } else { Grade::Wrong(output.into_owned()) }
}

/// One of the answers handed in, and what its grade must be.
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
            // Its wall limit is below its CPU limit, so it is the clock that ends it.
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
        // An exit code is the program's own word and nothing else: 137 is no proof of a kill.
        case("a pretender", "import sys\nprint('Killed')\nsys.exit(137)", failed("exited 137")),
        case("a syntax error", "print(sum(", failed("exited 1")),
    ]
}

#[test]
fn a_class_is_graded() {
    // Everything is handed in first: it runs at once, as far as there are workers, while this waits for the first.
    let handed_in: Vec<_> = cases()
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
    for (case, handle) in handed_in {
        // An error here would be the infrastructure's. Whatever the *program* did is an outcome.
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
fn a_student_is_shown_what_went_wrong() {
    let program = Evaluation::python("print('so far')\nprint(1 // 0)").with_limits(limits());
    let outcome = CRUCIBLE.evaluate(program).expect("the platform works");
    assert_eq!(outcome.verdict().to_string(), "exited 1");
    assert_eq!(outcome.stdout.to_text(), "so far\n");
    let last = outcome.stderr.to_text().lines().last().map(str::to_owned);
    assert!(last.as_deref().is_some_and(|line| line.starts_with("ZeroDivisionError")), "{last:?}");
}

#[test]
fn c_is_compiled_before_it_is_run() {
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
fn what_does_not_compile_says_so_in_the_words_of_the_compiler() {
    let program = Evaluation::source("c", "int main(void) { return 0 }").with_limits(limits());
    let outcome = CRUCIBLE.evaluate(program).expect("the platform works");
    assert_eq!(outcome.verdict().to_string(), "compile_failed: the compiler exited 1");
    // Such an outcome's output is the compiler's: the program never ran.
    let words = outcome.stderr.to_text();
    assert!(words.contains("main.c:1:") && words.contains("error: expected"), "{words}");
    assert_eq!(outcome.stdout.total_bytes, 0);
}

#[test]
fn the_solution_on_the_graders_disk_is_out_of_reach() {
    let solution = tempfile::NamedTempFile::new().expect("there is a place for a file");
    std::fs::write(&solution, "42").expect("it can be written");
    let path = solution.path().display();
    let source = format!("print(open({:?}).read())", path.to_string());
    let outcome = CRUCIBLE
        .evaluate(Evaluation::python(source).with_limits(limits()))
        .expect("the platform works");
    assert_eq!(grade(&outcome, "42"), failed("exited 1"));
    assert!(outcome.stderr.to_text().contains("FileNotFoundError"), "{}", outcome.stderr.to_text());
}

#[test]
fn a_mistake_of_the_grader_is_an_error_and_no_verdict() {
    // The caller's mistakes are told all at once, before anything runs, and are never a student's bad grade.
    let evaluation =
        Evaluation::source("pyhton", "print(42)").with_limits(limits().with_memory_bytes(0));
    let error = CRUCIBLE.submit(evaluation).expect_err("there is no such language");
    // As everywhere, an error's own words leave out its cause; `chain` has both.
    let words = crucible::model::error_chain(&error);
    assert!(words.contains("pyhton") && words.contains("limits.memory_bytes"), "{words}");
}
