//! `crucible completions` and `crucible man`.

use std::fs;

use super::support::{Run, crucible};

#[test]
fn completions_name_the_commands_for_each_shell() {
    for shell in ["bash", "zsh", "fish", "elvish", "powershell"] {
        let run = Run::of(&mut crucible(["completions", shell]));
        assert_eq!((run.status, run.stderr.as_str()), (0, ""), "{run:?}");
        for command in ["run", "batch", "history", "attack", "--memory"] {
            let name = command.trim_start_matches('-');
            assert!(run.stdout.contains(name), "{shell}: {command}");
        }
    }
    assert_eq!(Run::of(&mut crucible(["completions", "nosuch"])).status, 2);
}

#[test]
fn man_writes_a_page_for_each_command() {
    let directory = tempfile::tempdir().unwrap();
    let pages = directory.path().join("man1");
    let run = Run::of(crucible(["man"]).arg(&pages));
    assert_eq!((run.status, run.stdout.as_str()), (0, ""), "{run:?}");
    for name in ["crucible", "crucible-run", "crucible-history-list", "crucible-attack"] {
        let page = fs::read_to_string(pages.join(format!("{name}.1"))).unwrap();
        assert!(page.contains(".TH") && page.contains("SYNOPSIS"), "{name}: {page}");
    }
    let run = Run::of(crucible(["man"]).arg(pages.join("crucible.1")));
    assert_eq!(run.status, 2, "{run:?}");
    assert!(run.stderr.starts_with("error: cannot write "), "{run:?}");
}

#[test]
fn each_command_has_help_with_an_example() {
    let history = ["list", "show", "follow", "verify", "key", "checkpoint", "export", "purge"];
    let commands = ["run", "batch", "history", "verify", "doctor", "attack", "completions", "man"]
        .map(|command| vec![command])
        .into_iter()
        .chain(
            history.into_iter().chain(["dead", "redrive"]).map(|action| vec!["history", action]),
        );
    for command in commands {
        let run = Run::of(crucible(&command).arg("--help"));
        assert_eq!((run.status, run.stderr.as_str()), (0, ""), "{command:?}: {run:?}");
        assert!(run.stdout.contains("\nExample"), "{command:?}: {run:?}");
    }
}
