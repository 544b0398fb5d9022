//! The paths that are counted: what the host does for each run, beside waiting for the kernel.

mod capture;
mod journal;
mod platform;
mod protocol;
mod queue;
mod sample;
mod storage;
mod verdict;

/// A path.
#[derive(Debug)]
pub(crate) struct Path {
    pub(crate) name: &'static str,
    /// How many steps are counted: enough for what happens now and then to come out even.
    pub(crate) steps: usize,
    /// Makes everything that is not to be counted, for so many steps, and gives one of them.
    pub(crate) prepare: fn(usize) -> Step,
}

/// One step of a path.
pub(crate) type Step = Box<dyn FnMut()>;

pub(crate) const ALL: [Path; 11] = [
    Path { name: "protocol: encode a request to run", steps: 64, prepare: protocol::encode },
    Path { name: "protocol: decode what a guest says", steps: 64, prepare: protocol::decode },
    Path { name: "verdict: from facts", steps: 64, prepare: verdict::from_facts },
    Path { name: "output: collect 1 MiB in pieces of 64 KiB", steps: 2, prepare: capture::collect },
    Path {
        name: "journal: hash an evaluation in canonical form",
        steps: 64,
        prepare: journal::hash,
    },
    Path { name: "journal: chain a start and an end", steps: 64, prepare: journal::chain },
    Path { name: "outcome: to JSON and back", steps: 64, prepare: verdict::to_json_and_back },
    Path { name: "queue: enqueue, claim and ack", steps: 64, prepare: queue::cycle },
    Path { name: "storage: append three and read", steps: 64, prepare: storage::append },
    Path { name: "platform: submit to outcome", steps: 64, prepare: platform::evaluate },
    Path {
        name: "platform: submit to outcome, 16 at once",
        steps: 8,
        prepare: platform::evaluate_many,
    },
];
