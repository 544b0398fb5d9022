//! Cases on the input of a program.

use bytes::Bytes;
use crucible_core::{Evaluation, InputFile, Secret, Verdict};

use super::support::{MIB, Subject, assert_verdict, limits, run, shell, stdout_of};

/// Standard input delivers the given bytes and then ends.
pub async fn stdin_delivers_given_bytes(engine: Subject) {
    let evaluation =
        Evaluation::shell("cat; echo end").with_stdin("one\ntwo").with_limits(limits());
    assert_eq!(stdout_of(&run(&engine, &evaluation).await), "one\ntwoend\n");
}

/// Without input, standard input is at its end.
pub async fn missing_stdin_is_end_of_file(engine: Subject) {
    assert_eq!(shell(&engine, "cat; echo end").await, "end\n");
}

/// A program may close its standard input or exit without reading it.
pub async fn unread_stdin_is_not_an_error(engine: Subject) {
    let much = Bytes::from(vec![b'x'; 1_000_000]);
    for script in ["exec <&-; sleep 0.1; echo done", "echo done", "head -c 1 >/dev/null; echo done"]
    {
        let evaluation = Evaluation::shell(script).with_stdin(much.clone()).with_limits(limits());
        assert_eq!(stdout_of(&run(&engine, &evaluation).await), "done\n", "{script}");
    }
}

/// Input beyond the capacity of a pipe is delivered while the program reads.
pub async fn stdin_beyond_pipe_capacity_arrives(engine: Subject) {
    let much = Bytes::from(vec![b'x'; 3_000_000]);
    let evaluation = Evaluation::shell("sleep 0.2; wc -c").with_stdin(much).with_limits(limits());
    assert_eq!(stdout_of(&run(&engine, &evaluation).await).trim(), "3000000");
}

/// Arguments arrive unchanged: without a shell, quoting, or a limit below the kernel's.
pub async fn arguments_arrive_unchanged(engine: Subject) {
    let long = "y".repeat(100_000);
    let evaluation =
        Evaluation::python("import sys\nprint(sys.argv[1:6])\nprint(len(sys.argv[6]))")
            .with_arg("")
            .with_arg("a b")
            .with_arg("$HOME;`id`")
            .with_arg("'\"\\")
            .with_arg("ü\n")
            .with_arg(long);
    let outcome = run(&engine, &evaluation.with_limits(limits())).await;
    let expected = "['', 'a b', '$HOME;`id`', '\\'\"\\\\', 'ü\\n']\n100000\n";
    assert_eq!(stdout_of(&outcome), expected);
}

/// The environment has all given variables and none of the host's.
pub async fn environment_has_only_given_variables(engine: Subject) {
    let outcome = run(&engine, &Evaluation::command(["/usr/bin/env"]).with_limits(limits())).await;
    assert_eq!(stdout_of(&outcome), "");
    let evaluation = Evaluation::command(["/usr/bin/env"])
        .with_env("PLAIN", "a=b c")
        .with_env("SECRET", Secret::new("hunter2"))
        .with_limits(limits());
    assert_eq!(stdout_of(&run(&engine, &evaluation).await), "PLAIN=a=b c\nSECRET=hunter2\n");
}

/// Input files have their content and path, and the program can change them.
pub async fn input_files_are_in_place(engine: Subject) {
    let evaluation = Evaluation::shell(
        "cat data/deep/a.txt; wc -c < big; echo more >> data/deep/a.txt; pwd; ls -A",
    )
    .with_file("data/deep/a.txt", "content\n")
    .with_file("big", vec![b'z'; 5 * 1024 * 1024])
    .with_file(".hidden ü", "")
    .with_limits(limits());
    let text = stdout_of(&run(&engine, &evaluation).await);
    let lines: Vec<&str> = text.lines().collect();
    assert_eq!(lines, ["content", "5242880", "/box", ".hidden ü", "big", "data", "main.sh"]);
}

/// An input file with the executable flag can be executed.
pub async fn executable_input_file_can_run(engine: Subject) {
    let tool = InputFile::new("bin/tool", "#!/bin/sh\necho \"tool $1\"\n").with_executable();
    let evaluation =
        Evaluation::command(["bin/tool", "x"]).with_input_file(tool).with_limits(limits());
    assert_eq!(stdout_of(&run(&engine, &evaluation).await), "tool x\n");
}

/// Many input files are in place, and do not affect the next run.
pub async fn many_input_files_are_in_place(engine: Subject) {
    let mut evaluation = Evaluation::shell("set -- d/*; echo $#; cat d/* | wc -c");
    for number in 0..900 {
        evaluation = evaluation.with_file(format!("d/{number}"), vec![b'x'; 1000]);
    }
    let text =
        stdout_of(&run(&engine, &evaluation.with_limits(limits().with_disk_bytes(32 * MIB))).await);
    assert_eq!(text.split_whitespace().collect::<Vec<_>>(), ["900", "900000"]);
    let outcome = run(&engine, &Evaluation::shell("exit 4").with_limits(limits())).await;
    assert_verdict(&outcome, &Verdict::Exited { code: 4 });
}
