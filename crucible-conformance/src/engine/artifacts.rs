//! Cases on collected files.

use crucible_core::{Collect, Digest, Evaluation, Outcome, SkipReason};

use super::support::{MIB, Subject, limits, run, stdout_of};

fn collecting(script: &str, collect: Collect) -> Evaluation {
    Evaluation::shell(script).with_limits(limits()).with_collect(collect)
}

fn paths(outcome: &Outcome) -> Vec<&str> {
    outcome.artifacts.iter().map(|artifact| artifact.path.as_str()).collect()
}

fn skipped(outcome: &Outcome) -> Vec<(&str, SkipReason)> {
    let mut skipped: Vec<_> =
        outcome.skipped.iter().map(|file| (file.path.as_str(), file.reason)).collect();
    skipped.sort_unstable_by_key(|(path, _)| *path);
    skipped
}

/// Exactly the matching files are collected, with content, hash, and executable flag.
pub async fn matching_files_are_collected(engine: Subject) {
    let script = "mkdir -p out/deep; echo one > out/a.txt; \
                  echo two > out/deep/b.txt; echo three > other; \
                  printf x > out/tool.txt; chmod +x out/tool.txt; chmod 000 out/a.txt";
    let outcome =
        run(&engine, &collecting(script, Collect::matching(["out/**/*.txt", "missing"]))).await;
    stdout_of(&outcome);
    let mut found = paths(&outcome);
    found.sort_unstable();
    assert_eq!(found, ["out/a.txt", "out/deep/b.txt", "out/tool.txt"]);
    for artifact in &outcome.artifacts {
        let content = artifact.content.as_ref().unwrap();
        assert_eq!(
            (artifact.size_bytes, artifact.sha256),
            (content.len() as u64, Digest::of(content))
        );
        assert_eq!(artifact.executable, artifact.path.as_str() == "out/tool.txt");
    }
    assert_eq!(skipped(&outcome), []);
}

/// Only regular files are collected, and no link is followed.
pub async fn links_and_fifos_are_skipped(engine: Subject) {
    let script = "ln -s /etc/passwd passwd; ln -s / root; mkfifo fifo; ln main.sh hard; \
                  ln -s /proc/self/environ env; \
                  python3 -c 'import socket; socket.socket(socket.AF_UNIX).bind(\"socket\")'";
    let outcome = run(&engine, &collecting(script, Collect::matching(["**/*"]))).await;
    stdout_of(&outcome);
    assert_eq!(paths(&outcome), ["hard", "main.sh"]);
    let other = SkipReason::NotRegular;
    let expected =
        [("env", other), ("fifo", other), ("passwd", other), ("root", other), ("socket", other)];
    assert_eq!(skipped(&outcome), expected);
}

/// Files beyond the bounds on bytes, files and depth are listed with the reason.
pub async fn collection_bounds_are_enforced(engine: Subject) {
    let script = "truncate -s 1G sparse; head -c 3000000 /dev/zero > big; echo small > small; \
                  mkdir -p d/d/d; echo deep > d/d/d/deep";
    let collect = Collect::matching(["sparse", "big", "small", "d/**/deep"])
        .with_bytes_max(MIB)
        .with_depth_max(3);
    let outcome = run(&engine, &collecting(script, collect)).await;
    stdout_of(&outcome);
    assert_eq!(paths(&outcome), ["small"]);
    let expected = [
        ("big", SkipReason::TooLarge),
        ("d/d/d", SkipReason::TooDeep),
        ("sparse", SkipReason::TooLarge),
    ];
    assert_eq!(skipped(&outcome), expected);
    let script = "i=0; while [ $i -lt 30 ]; do echo > f$i; i=$((i+1)); done";
    let outcome =
        run(&engine, &collecting(script, Collect::matching(["f*"]).with_files_max(10))).await;
    assert_eq!(outcome.artifacts.len(), 10);
    assert_eq!(outcome.skipped.len(), 20);
    assert!(outcome.skipped.iter().all(|file| file.reason == SkipReason::TooMany));
}

/// A file with a name that is not UTF-8 is listed as skipped, and the other files are collected.
pub async fn non_utf8_names_are_listed_as_skipped(engine: Subject) {
    let source = "
for name in (b'\\xff\\xfe', b'new\\nline', b'-rf', b'a b', '\\u00fc'.encode()):
    open(name, 'w').close()
";
    let evaluation = Evaluation::python(source)
        .with_limits(limits())
        .with_collect(Collect::matching(["[!m]*", "-*"]));
    let outcome = run(&engine, &evaluation).await;
    stdout_of(&outcome);
    let mut found = paths(&outcome);
    found.sort_unstable();
    assert_eq!(found, ["-rf", "a b", "new\nline", "ü"]);
    assert_eq!(outcome.skipped.len(), 1);
    assert_eq!(outcome.skipped[0].reason, SkipReason::BadName);
}
