//! The counted paths: the host's own work for each run. Each function prepares one path.

mod capture;
mod journal;
mod platform;
mod protocol;
mod queue;
mod sample;
mod storage;
mod verdict;

/// A counted path.
#[derive(Debug)]
pub(crate) struct Path {
    pub(crate) name: &'static str,
    /// The number of counted steps, large enough to average occasional work.
    pub(crate) steps: usize,
    /// Prepares the given number of steps without counting, and returns the function of one step.
    pub(crate) prepare: fn(usize) -> Step,
}

/// One step of a path.
pub(crate) type Step = Box<dyn FnMut()>;

pub(crate) const ALL: [Path; 11] = [
    Path { name: "protocol: encode a request to run", steps: 64, prepare: protocol::encode },
    Path { name: "protocol: decode a guest's frames", steps: 64, prepare: protocol::decode },
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
