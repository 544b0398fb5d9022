//! Cases on verdicts: a table of programs and the verdict that each must get on every engine.

use std::time::Duration;

use crucible_core::{
    Deviation, Ending, Evaluation, Layer, Limit, Limits, NotStartedReason, Signal, Verdict,
};

use super::support::{
    MIB, Subject, assert_verdict, enforces, exceeded, limits, program, run, run_to, slowness,
    stdout_of,
};

/// Defines cases of one form: a program under limits gets a verdict, if the engine enforces layers.
macro_rules! programs {
    ($(
        $(#[$doc:meta])*
        $case:ident($layers:expr): $language:literal, $file:literal, $limits:expr => $verdict:expr;
    )+) => { $(
        $(#[$doc])*
        pub async fn $case(engine: Subject) {
            if enforces(&engine, &$layers).await {
                let evaluation =
                    Evaluation::source($language, program!($file)).with_limits($limits);
                run_to(&engine, &evaluation, &$verdict).await;
            }
        }
    )+ };
}

fn short_wall() -> Limits {
    limits().with_wall(Duration::from_millis(700))
}

fn short_cpu() -> Limits {
    limits().with_cpu(Duration::from_millis(700))
}

/// Returns limits for fork bombs. After refused forks the programs run until the wall limit.
fn few_processes() -> Limits {
    limits().with_processes(20).with_wall(Duration::from_secs(2) * slowness())
}

const NONE: [Layer; 0] = [];
const MEMORY: [Layer; 1] = [Layer::MemoryCgroup];
const PIDS: [Layer; 1] = [Layer::PidsCgroup];
const CPU: [Layer; 1] = [Layer::CpuCgroup];
const DISK: [Layer; 1] = [Layer::BoundedDisk];

programs! {
    /// An exit code is reported as it is.
    exit_3_is_exited(NONE): "sh", "exit_3.sh", limits() => Verdict::Exited { code: 3 };

    /// The exit code of timeout(1) is not a timeout, and the output 'Killed' is not a kill.
    exit_124_is_not_a_timeout(NONE): "sh", "exit_124.sh", limits() => Verdict::Exited { code: 124 };

    /// The exit code of a shell after a killed child is not a kill.
    exit_137_is_not_a_kill(NONE): "sh", "exit_137.sh", limits() => Verdict::Exited { code: 137 };

    /// A program that ends by its own signal is `signaled`.
    own_sigsegv_is_signaled(NONE):
        "sh", "segv.sh", limits() => Verdict::Signaled { signal: Signal::SEGV };

    /// A program that sends itself `SIGKILL` is `signaled`, without a limit.
    own_sigkill_is_signaled(NONE):
        "sh", "kill_itself.sh", limits() => Verdict::Signaled { signal: Signal::KILL };

    /// A sleeping program exceeds the wall limit.
    endless_sleep_exceeds_wall(NONE):
        "sh", "sleep_for_ever.sh", short_wall() => exceeded(Limit::Wall);

    /// A program that ignores signals exceeds the wall limit.
    ignored_signals_exceed_wall(NONE):
        "python", "ignore_signals.py", short_wall() => exceeded(Limit::Wall);

    /// A stopped program exceeds the wall limit.
    self_stop_exceeds_wall(NONE): "sh", "stop_itself.sh", short_wall() => exceeded(Limit::Wall);

    /// A busy loop exceeds the CPU limit, not the wall limit.
    busy_loop_exceeds_cpu(NONE): "python", "spin.py", short_cpu() => exceeded(Limit::Cpu);

    /// The CPU time of all threads counts.
    busy_loop_in_four_threads_exceeds_cpu(NONE):
        "c", "spin_in_four.c", short_cpu() => exceeded(Limit::Cpu);

    /// The CPU time of all processes counts, although each process is below the limit.
    busy_loop_in_children_exceeds_cpu(CPU):
        "sh", "spin_in_children.sh", short_cpu() => exceeded(Limit::Cpu);

    /// One large allocation exceeds the memory limit.
    large_allocation_exceeds_memory(MEMORY):
        "python", "allocate.py", limits() => exceeded(Limit::Memory);

    /// Many small allocations exceed the memory limit.
    gradual_allocation_exceeds_memory(MEMORY):
        "c", "allocate_slowly.c", limits() => exceeded(Limit::Memory);

    /// A fork bomb exceeds the process limit.
    fork_bomb_exceeds_processes(PIDS):
        "sh", "fork_bomb.sh", few_processes() => exceeded(Limit::Processes);

    /// Threads count as processes, as in the kernel.
    thread_bomb_exceeds_processes(PIDS):
        "python", "thread_bomb.py", few_processes() => exceeded(Limit::Processes);

    /// Endless standard output exceeds the output limit.
    endless_stdout_exceeds_output(NONE):
        "sh", "endless_stdout.sh", limits() => exceeded(Limit::Output);

    /// Endless standard error exceeds the output limit.
    endless_stderr_exceeds_output(NONE):
        "python", "endless_stderr.py", limits() => exceeded(Limit::Output);

    /// A full `/tmp` exceeds the disk limit.
    full_tmp_exceeds_disk(DISK): "python", "fill_tmp.py", limits() => exceeded(Limit::Disk);

    /// A full working directory exceeds the disk limit.
    full_work_dir_exceeds_disk(DISK): "python", "fill_box.py", limits() => exceeded(Limit::Disk);

    /// Empty files in `/tmp` exceed the disk limit by their inodes.
    full_tmp_inodes_exceed_disk(DISK):
        "python", "fill_tmp_with_inodes.py", limits() => exceeded(Limit::Disk);

    /// Directories in the working directory exceed the disk limit by their inodes.
    full_work_dir_inodes_exceed_disk(DISK):
        "python", "fill_box_with_inodes.py", limits() => exceeded(Limit::Disk);

    /// A stack overflow is `signaled`, not a memory limit.
    stack_overflow_is_signaled(NONE):
        "c", "stack_overflow.c", limits() => Verdict::Signaled { signal: Signal::SEGV };
}

/// A child that is killed for memory determines the verdict, although its parent survives. The
/// evidence keeps the parent's exit.
pub async fn child_allocation_exceeds_memory(engine: Subject) {
    if enforces(&engine, &MEMORY).await {
        let source = program!("allocate_in_child.py");
        let evaluation = Evaluation::python(source).with_limits(limits());
        let outcome = run_to(&engine, &evaluation, &exceeded(Limit::Memory)).await;
        if !engine.info().differs(Deviation::OutOfMemoryEndsAll) {
            assert_eq!(outcome.ending(), Some(Ending::Exited { code: 5 }));
            assert_eq!(outcome.stdout.to_text(), "the parent lives on\n");
        }
    }
}

/// A file system that was full and was freed is only an error to the program. No limit is exceeded.
pub async fn freed_disk_space_is_only_a_program_error(engine: Subject) {
    if enforces(&engine, &DISK).await {
        let source = program!("fill_and_tidy.py");
        let outcome = run(&engine, &Evaluation::python(source).with_limits(limits())).await;
        assert_eq!(stdout_of(&outcome), "there was no space left\n");
    }
}

fn not_started(reason: NotStartedReason) -> Verdict {
    Verdict::NotStarted { reason }
}

/// A program that does not exist, by path or in `PATH`, is not started.
pub async fn missing_program_is_not_started(engine: Subject) {
    for program in ["/no/such/program", "no-such-program", "./missing"] {
        let outcome = run(&engine, &Evaluation::command([program]).with_limits(limits())).await;
        assert_verdict(&outcome, &not_started(NotStartedReason::NoSuchProgram));
        assert_eq!(outcome.ending(), None);
    }
}

/// A file without execute permission is not started.
pub async fn non_executable_file_is_not_started(engine: Subject) {
    let evaluation = Evaluation::command(["./data"]).with_file("data", "#!/bin/sh\necho no\n");
    let outcome = run(&engine, &evaluation.with_limits(limits())).await;
    assert_verdict(&outcome, &not_started(NotStartedReason::PermissionDenied));
}

/// An executable file in an unknown format is not started.
pub async fn file_of_unknown_format_is_not_started(engine: Subject) {
    let file = crucible_core::InputFile::new("noise", "\u{7f}noise").with_executable();
    let evaluation = Evaluation::command(["./noise"]).with_input_file(file);
    let outcome = run(&engine, &evaluation.with_limits(limits())).await;
    assert_verdict(&outcome, &not_started(NotStartedReason::BadFormat));
}

/// A program with a missing working directory is not started.
pub async fn missing_directory_is_not_started(engine: Subject) {
    let directory = "missing".try_into().unwrap();
    let command = crucible_core::Command::new(["true"]).with_directory(directory);
    let program = crucible_core::Program::Command(command);
    let outcome = run(&engine, &Evaluation::new(program).with_limits(limits())).await;
    assert_verdict(&outcome, &not_started(NotStartedReason::NoSuchDirectory));
}

/// A syntax error is `compile_failed`, and the outcome has the compiler's messages.
pub async fn syntax_error_is_compile_failed(engine: Subject) {
    let evaluation = Evaluation::source("c", program!("syntax_error.c")).with_limits(limits());
    let outcome = run(&engine, &evaluation).await;
    assert_verdict(
        &outcome,
        &Verdict::CompileFailed { cause: Box::new(Verdict::Exited { code: 1 }) },
    );
    assert!(outcome.stderr.to_text().contains("nonsense"), "{}", outcome.stderr.to_text());
    assert_eq!(outcome.ending(), None);
}

/// A compiler that reads endlessly is ended by the compile limits.
pub async fn endless_compilation_is_compile_failed(engine: Subject) {
    let compile =
        Limits::for_compiling().with_cpu(Duration::from_secs(2)).with_memory_bytes(256 * MIB);
    let evaluation =
        Evaluation::source("c", program!("compile_bomb.c")).with_compile_limits(compile);
    let outcome = run(&engine, &evaluation.with_limits(limits())).await;
    match outcome.verdict() {
        Verdict::CompileFailed { cause } => assert!(!cause.is_success(), "{cause}"),
        other => panic!("{other}"),
    }
}

/// The compile step is isolated like the program.
pub async fn compiler_cannot_read_host_files(engine: Subject) {
    let evaluation =
        Evaluation::source("c", program!("peek_at_compile_time.c")).with_limits(limits());
    let outcome = run(&engine, &evaluation).await;
    assert_eq!(outcome.verdict().kind(), "compile_failed");
    assert!(!outcome.stderr.to_text().contains("root:"), "{}", outcome.stderr.to_text());
}

/// A compiled program runs.
pub async fn compiled_program_runs(engine: Subject) {
    let evaluation =
        Evaluation::source("c", program!("hello.c")).with_arg("one").with_limits(limits());
    let outcome = run(&engine, &evaluation).await;
    assert_eq!(stdout_of(&outcome), "hello from C, 2\n");
}
