//! Who kills, and what must hold afterwards.

use std::collections::BTreeSet;
use std::io::{BufRead as _, BufReader};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::mpsc;
use std::time::Duration;

use crucible::model::{EvaluationId, Timestamp};

use crate::{Kind, host, invariants};

/// The longest that a host lives once it works, in microseconds: it accepts some hundred evaluations a second, which are all read
/// again after each death.
const LIFE_US: u64 = 300_000;
/// How long a host may take to come as far as it is to be killed.
const PATIENCE: Duration = Duration::from_secs(60);

pub(crate) fn kill_repeatedly(kind: Kind) {
    let kills: u32 = match std::env::var("CRUCIBLE_CRASH_KILLS") {
        Ok(text) => text.parse().unwrap(),
        Err(_) => 50,
    };
    let mut random = Random::new();
    println!("CRUCIBLE_CRASH_SEED={}", random.seed());
    // What a failure leaves is what tells why.
    let mut directory = tempfile::Builder::new().disable_cleanup(true).tempdir().unwrap();
    let path = directory.path().join("data");
    println!("in {}", path.display());
    let (mut accepted, mut hosts) = (BTreeSet::new(), Vec::new());
    for round in 0..kills {
        let moment = Generation::random(&mut random);
        let before = accepted.len();
        let pid = live_and_die(&path, kind, moment, &mut accepted);
        invariants::nothing_of(pid, &path);
        hosts.push(pid);
        invariants::everything_is_there(&path, kind, &accepted);
        println!("{round}: {moment:?}: {} more accepted", accepted.len() - before);
    }
    assert!(
        accepted.len() > 10,
        "only {} were accepted in all: the hosts died too soon",
        accepted.len()
    );
    invariants::everything_ends_once(&path, kind, &accepted);
    invariants::no_group_of(&hosts);
    println!("{} accepted, {kills} kills", accepted.len());
    directory.disable_cleanup(false);
}

/// When a host is killed.
#[derive(Debug, Clone, Copy)]
enum Generation {
    /// So long after it began to open the directory.
    Opening(Duration),
    /// So long after it has taken up what was left.
    Running(Duration),
}

impl Generation {
    fn random(random: &mut Random) -> Self {
        if random.below(5) == 0 {
            Self::Opening(Duration::from_micros(random.below(100_000)))
        } else {
            Self::Running(Duration::from_micros(random.below(LIFE_US)))
        }
    }
}

/// Starts a host, kills it at its moment, and adds what it said it had accepted. Gives its process id.
fn live_and_die(
    path: &Path,
    kind: Kind,
    moment: Generation,
    accepted: &mut BTreeSet<EvaluationId>,
) -> u32 {
    let mut child = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "host::host", "--nocapture"])
        .env(host::DIRECTORY, path)
        .env(host::KIND, if kind == Kind::Sled { "sled" } else { "default" })
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let (sender, lines) = mpsc::channel();
    let stdout = BufReader::new(child.stdout.take().unwrap());
    let reader = std::thread::spawn(move || {
        // The last line may be cut: then it says nothing.
        stdout.lines().map_while(Result::ok).try_for_each(|line| sender.send(line))
    });
    let (word, life) = match moment {
        Generation::Opening(life) => ("opening", life),
        Generation::Running(life) => ("recovered", life),
    };
    let mut heard = Vec::new();
    loop {
        match lines.recv_timeout(PATIENCE) {
            Ok(line) if line == word => break,
            Ok(line) => heard.push(line),
            Err(error) => panic!("no `{word}`: {error}: {heard:?}: {}", complaint(child)),
        }
    }
    std::thread::sleep(life);
    assert!(child.try_wait().unwrap().is_none(), "the host ended by itself: {}", complaint(child));
    let pid = child.id();
    child.kill().unwrap();
    child.wait().unwrap();
    // The pipe ends with its last holder, and no sandbox may hold it.
    heard.extend(lines.iter());
    let _ended = reader.join().unwrap();
    accepted.extend(
        heard.iter().filter_map(|line| line.strip_prefix("ack ")?.parse::<EvaluationId>().ok()),
    );
    pid
}

fn complaint(mut child: Child) -> String {
    let _killed = child.kill();
    let output = child.wait_with_output().unwrap();
    String::from_utf8_lossy(&output.stderr).into_owned()
}

/// SplitMix64: any sequence will do, if it can be had again.
#[derive(Debug)]
pub(crate) struct Random(u64);

impl Random {
    pub(crate) fn new() -> Self {
        match std::env::var("CRUCIBLE_CRASH_SEED") {
            Ok(text) => Self(text.parse().unwrap()),
            Err(_) => Self(Timestamp::now().as_micros()),
        }
    }

    /// What it began with.
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
