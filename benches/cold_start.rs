//! What one isolated run of a small static program costs, from cold: beside a bare process without any isolation, and
//! beside bubblewrap. Run it on a quiet machine: `cargo bench --bench cold_start [-- --rounds N]`.

#![allow(missing_docs, clippy::expect_used, reason = "a benchmark that cannot go on has nothing to measure")]

#[path = "support/bare.rs"]
mod bare;
mod support;

use std::cell::Cell;
use std::hint::black_box;
use std::path::Path;
use std::process::Command;

use bare::Bare;
use crucible::{Engine as _, Evaluation, RunContext, SubprocessEngine};
use support::{Case, Order, forget, print_table, ratio, rounds_or, run_rounds};

const PROGRAM: &str = "/bin/busybox";
const BWRAP: &str = "/usr/bin/bwrap";
const BWRAP_OPTIONS: &str = "--unshare-all --ro-bind /usr /usr --symlink usr/bin /bin --symlink usr/lib /lib \
    --symlink usr/lib64 /lib64 --proc /proc --dev /dev --tmpfs /tmp";
/// How many rounds are measured before the host's heap is made large, or small again.
const BLOCK: usize = 20;
const LARGE: usize = 1 << 30;

fn main() -> Result<(), String> {
    if !Path::new(PROGRAM).exists() {
        return Err(format!("{PROGRAM} is not there: install `busybox-static`"));
    }
    let rounds = rounds_or(300)?;
    let runtime = tokio::runtime::Runtime::new().expect("a runtime");
    let engine = SubprocessEngine::new().expect("an engine");
    let context = RunContext::new();
    let evaluation = Evaluation::command([PROGRAM, "echo", "hi"]);
    let run = || {
        let outcome = runtime.block_on(engine.run(&evaluation, &context)).expect("a run");
        assert_eq!(outcome.stdout.to_text(), "hi\n", "{}", outcome.verdict());
    };
    let bare = Bare::new(&[PROGRAM, "echo", "hi"], 0);
    let is_large = Cell::new(false);
    let mut cases = vec![
        Case::new("bare vfork+exec (no isolation)", || assert_eq!(bare.run(), b"hi\n")),
        Case::new("std::process::Command (no isolation)", || {
            let output = Command::new(PROGRAM).args(["echo", "hi"]).output().expect("a process");
            assert_eq!(output.stdout, b"hi\n");
        }),
        Case::new("crucible", run),
    ];
    if Path::new(BWRAP).exists() {
        cases.push(Case::new("bwrap --unshare-all", || {
            let mut command = Command::new(BWRAP);
            command.args(BWRAP_OPTIONS.split_whitespace()).args([PROGRAM, "echo", "hi"]);
            assert_eq!(command.output().expect("bwrap").stdout, b"hi\n");
        }));
    } else {
        println!("{BWRAP} is not there (install `bubblewrap`): no comparison with it");
    }
    let mut large = vec![
        Case::new("bare vfork+exec, host with 1 GiB of heap", || assert_eq!(bare.run(), b"hi\n")),
        Case::new("crucible, host with 1 GiB of heap", || {
            assert!(is_large.get());
            run();
        }),
    ];
    let directory = tempfile::tempdir().expect("a directory");
    let (guest, system) = (guest(directory.path()), Bare::new(&["/bin/true"], 0));
    let mut programs = vec![
        Case::new("/bin/true, bare", || assert_eq!(system.run(), b"")),
        Case::new("the guest program, bare", || assert_eq!(guest.run(), b"")),
    ];
    let mut order = Order::new();
    run_rounds(&mut programs, rounds, &mut order);
    run_rounds(&mut cases, BLOCK, &mut order);
    forget(&mut cases);
    for done in (0..rounds).step_by(BLOCK) {
        let count = BLOCK.min(rounds - done);
        run_rounds(&mut cases, count, &mut order);
        // Written to, so that it is really there.
        let heap = black_box(vec![1_u8; LARGE]);
        is_large.set(true);
        run_rounds(&mut large, count, &mut order);
        is_large.set(false);
        drop(black_box(heap));
    }
    print_table(&cases);
    print_table(&large);
    print_table(&programs);
    let median = |cases: &[Case<'_>], name: &str| {
        cases.iter().find(|case| case.name.starts_with(name)).map(Case::median).unwrap_or_default()
    };
    let (bare, ours) = (median(&cases, "bare"), median(&cases, "crucible"));
    println!("crucible to bare vfork+exec: {:.2} (at most 2.6)", ratio(ours, bare));
    if cases.iter().any(|case| case.name.starts_with("bwrap")) {
        println!("crucible to bwrap:           {:.2} (at most 0.5)", ratio(ours, median(&cases, "bwrap")));
    }
    let (bare_large, ours_large) = (median(&large, "bare"), median(&large, "crucible"));
    println!("with 1 GiB of heap to bare:  {:.2}", ratio(ours_large, bare_large));
    println!("large heap to small heap:    {:.2}", ratio(ours_large, ours));
    Ok(())
}

/// The program that is process 1 of each sandbox, told nothing: it starts, and exits with 64.
fn guest(directory: &Path) -> Bare {
    let path = directory.join("guest");
    std::fs::write(&path, crucible_guest::BINARY.expect("a guest for this machine")).expect("a file");
    std::fs::set_permissions(&path, std::os::unix::fs::PermissionsExt::from_mode(0o755)).expect("a mode");
    Bare::new(&[path.to_str().expect("a path in UTF-8")], 64)
}
