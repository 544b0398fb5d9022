//! The remains of a host that is killed with SIGKILL while sandboxes start, run and end.

use std::io::{BufRead as _, BufReader};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use crucible::engine::RunContext;
use crucible::{Engine as _, Evaluation, SubprocessEngine};

use crate::host_resources;
use crate::report::{Report, Table};
use crate::scale::Scale;

/// The promised time until no process of a killed host remains.
const CLEANUP_TIME: Duration = Duration::from_secs(2);
/// The longest lifetime of a working host, in milliseconds.
const LIFE_MS: u64 = 300;
/// Parallel runs in the host.
const AT_ONCE: usize = 8;

/// The counted remains of killed hosts.
#[derive(Debug, Default, Clone, Copy)]
struct Remains {
    processes: usize,
    groups: usize,
    mounts: usize,
}

/// Kills hosts and counts their remains.
pub(crate) fn measure(report: &mut Report, scale: &Scale) {
    let mounts = host_resources::mounts();
    let mut left = Remains::default();
    let mut hosts = Vec::new();
    for kill in 0..scale.kills {
        let life = Duration::from_millis(kill as u64 * 37 % LIFE_MS);
        let host = start_and_kill_host(life);
        let began = Instant::now();
        // Processes that are still exiting get the promised time.
        let processes = loop {
            let processes = host_resources::processes_of(host).len();
            if processes == 0 || began.elapsed() > CLEANUP_TIME {
                break processes;
            }
            std::thread::sleep(Duration::from_millis(5));
        };
        left.processes += processes;
        hosts.push(host);
    }
    // The next engine removes the cgroups of a dead host.
    drop(SubprocessEngine::new().expect("an engine"));
    left.groups = hosts.iter().map(|host| host_resources::groups_of(*host).len()).sum();
    left.mounts = host_resources::mounts().saturating_sub(mounts);
    report.set("leaks", "kills", scale.kills);
    report.set("leaks", "left", left.processes + left.groups + left.mounts);
    let rows = [
        ("processes, 2 s later", left.processes),
        ("cgroups, after the next engine started", left.groups),
        ("mounts", left.mounts),
    ];
    report.add(Table {
        name: "leaks",
        title: "After SIGKILL".to_owned(),
        note: format!(
            "{} hosts were killed while {AT_ONCE} parallel sandboxes started, ran and ended in \
             each; the table counts the remains of all hosts.",
            scale.kills
        ),
        columns: vec!["left"],
        rows: rows
            .iter()
            .map(|(name, count)| ((*name).to_owned(), vec![count.to_string()]))
            .collect(),
        bars: rows.iter().map(|(name, count)| ((*name).to_owned(), *count as f64)).collect(),
        curve: None,
        unit: "left",
    });
}

/// Starts a host, kills it after `life`, and returns its process id.
fn start_and_kill_host(life: Duration) -> u32 {
    let own = std::env::current_exe().expect("this program");
    let mut child =
        Command::new(own).arg("--victim").stdout(Stdio::piped()).spawn().expect("a host");
    let mut line = String::new();
    let stdout = child.stdout.take().expect("its output");
    BufReader::new(stdout).read_line(&mut line).expect("its output");
    assert_eq!(line, "working\n", "the host did not start working");
    std::thread::sleep(life);
    let host = child.id();
    child.kill().expect("it can be killed");
    child.wait().expect("it is reaped");
    host
}

/// Runs short and long programs without end, until the process is killed.
pub(crate) fn run_victim() -> ! {
    let runtime = tokio::runtime::Runtime::new().expect("a runtime");
    let engine = SubprocessEngine::builder().ready_sandboxes(2).build().expect("an engine");
    println!("working");
    runtime.block_on(async {
        let work = |engine: SubprocessEngine, number: usize| async move {
            let script =
                if number.is_multiple_of(2) { "sleep 60 & sleep 60" } else { "echo short" };
            let evaluation = Evaluation::shell(script);
            loop {
                let _outcome = engine.run(&evaluation, &RunContext::new()).await;
            }
        };
        futures::future::join_all((0..AT_ONCE).map(|number| work(engine.clone(), number))).await;
    });
    unreachable!("the tasks never end")
}
