//! The loop that kills a host and checks the invariants.

use std::collections::BTreeSet;
use std::io::{BufRead as _, BufReader};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::mpsc;
use std::time::Duration;

use crucible::model::{EvaluationId, Timestamp};

use crate::{StoreKind, host, invariants};

/// The maximum running time of a host in microseconds. A host accepts some hundred evaluations per
/// second, and the test reads all of them after each kill.
const RUNNING_US_MAX: u64 = 300_000;
/// The time limit for a host to reach the state in which it is killed.
const START_TIMEOUT: Duration = Duration::from_secs(60);

pub(crate) fn kill_repeatedly(kind: StoreKind) {
    let kills: u32 = match std::env::var("CRUCIBLE_CRASH_KILLS") {
        Ok(text) => text.parse().unwrap(),
        Err(_) => 50,
    };
    let mut random = Random::new();
    println!("CRUCIBLE_CRASH_SEED={}", random.seed());
    // Keep the directory after a failure, for diagnosis.
    let mut directory = tempfile::Builder::new().disable_cleanup(true).tempdir().unwrap();
    let path = directory.path().join("data");
    println!("in {}", path.display());
    let (mut accepted, mut hosts) = (BTreeSet::new(), Vec::new());
    for round in 0..kills {
        let kill_time = KillTime::random(&mut random);
        let before = accepted.len();
        let pid = run_and_kill(&path, kind, kill_time, &mut accepted);
        invariants::assert_no_processes_of(pid, &path);
        hosts.push(pid);
        invariants::assert_accepted_exist(&path, kind, &accepted);
        println!("{round}: {kill_time:?}: {} more accepted", accepted.len() - before);
    }
    assert!(
        accepted.len() > 10,
        "only {} evaluations were accepted: the hosts were killed too early",
        accepted.len()
    );
    invariants::assert_all_end_once(&path, kind, &accepted);
    invariants::assert_no_cgroups_of(&hosts);
    println!("{} accepted, {kills} kills", accepted.len());
    directory.disable_cleanup(false);
}

/// The time at which a host is killed.
#[derive(Debug, Clone, Copy)]
enum KillTime {
    /// This long after it began to open the directory.
    Opening(Duration),
    /// This long after it has recovered the evaluations of earlier hosts.
    Running(Duration),
}

impl KillTime {
    fn random(random: &mut Random) -> Self {
        if random.below(5) == 0 {
            Self::Opening(Duration::from_micros(random.below(100_000)))
        } else {
            Self::Running(Duration::from_micros(random.below(RUNNING_US_MAX)))
        }
    }
}

/// Starts a host, kills it, and adds the evaluations that it accepted. Returns its process id.
fn run_and_kill(
    path: &Path,
    kind: StoreKind,
    kill_time: KillTime,
    accepted: &mut BTreeSet<EvaluationId>,
) -> u32 {
    let mut child = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "host::host", "--nocapture"])
        .env(host::DIRECTORY, path)
        .env(host::KIND, if kind == StoreKind::Sled { "sled" } else { "default" })
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let (sender, lines) = mpsc::channel();
    let stdout = BufReader::new(child.stdout.take().unwrap());
    let reader = std::thread::spawn(move || {
        // Ignore an incomplete last line.
        stdout.lines().map_while(Result::ok).try_for_each(|line| sender.send(line))
    });
    let (state, delay) = match kill_time {
        KillTime::Opening(delay) => ("opening", delay),
        KillTime::Running(delay) => ("recovered", delay),
    };
    let mut output = Vec::new();
    loop {
        match lines.recv_timeout(START_TIMEOUT) {
            Ok(line) if line == state => break,
            Ok(line) => output.push(line),
            Err(error) => panic!("no `{state}`: {error}: {output:?}: {}", stderr_of(child)),
        }
    }
    std::thread::sleep(delay);
    assert!(child.try_wait().unwrap().is_none(), "the host ended by itself: {}", stderr_of(child));
    let pid = child.id();
    child.kill().unwrap();
    child.wait().unwrap();
    // The pipe ends when its last holder ends. No sandbox may hold it.
    output.extend(lines.iter());
    let _ended = reader.join().unwrap();
    accepted.extend(
        output.iter().filter_map(|line| line.strip_prefix("ack ")?.parse::<EvaluationId>().ok()),
    );
    pid
}

/// Kills a host and returns its standard error.
fn stderr_of(mut child: Child) -> String {
    let _killed = child.kill();
    let output = child.wait_with_output().unwrap();
    String::from_utf8_lossy(&output.stderr).into_owned()
}

/// A reproducible random generator: SplitMix64.
#[derive(Debug)]
pub(crate) struct Random(u64);

impl Random {
    pub(crate) fn new() -> Self {
        match std::env::var("CRUCIBLE_CRASH_SEED") {
            Ok(text) => Self(text.parse().unwrap()),
            Err(_) => Self(Timestamp::now().as_micros()),
        }
    }

    /// Returns the seed.
    pub(crate) fn seed(&self) -> u64 {
        self.0
    }

    pub(crate) fn below(&mut self, bound: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (mixed ^ (mixed >> 31)) % bound
    }
}
