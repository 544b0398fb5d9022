//! Sample input: an ordinary evaluation and its outcome.

use std::time::Duration;

use bytes::Bytes;
use crucible_core::{
    Captured, Ending, Enforcement, Evaluation, Evidence, Layer, LayerStatus, Limits, Outcome,
    WorkerId,
};

const SOURCE: &str =
    "import json\n\n\ndef main():\n    print(json.dumps({\"answer\": 6 * 7}))\n\n\nmain()\n";

pub(super) fn evaluation() -> Evaluation {
    Evaluation::python(SOURCE.repeat(8))
        .with_arg("--verbose")
        .with_env("LANG", "C.UTF-8")
        .with_env("SEED", "7")
        .with_file("data/input.json", Bytes::from_static(b"{\"numbers\": [1, 2, 3]}"))
        .with_limits(Limits::new().with_wall(Duration::from_secs(10)))
        .with_tenant("tenant-1")
        .with_label("suite", "nightly")
        .with_label("case", "42")
}

pub(super) fn outcome() -> Outcome {
    let enforced =
        |report: Enforcement, layer: &Layer| report.with(*layer, LayerStatus::Enforced, "");
    Outcome::new(
        "only",
        vec![Evidence::Waited {
            ending: Ending::Exited { code: 0 },
            after: Duration::from_millis(12),
        }],
    )
    .with_output(Captured::complete(Bytes::from_static(b"{\"answer\": 42}\n")), Captured::empty())
    .with_enforcement(Layer::ALL.iter().fold(Enforcement::new(), enforced))
}

pub(super) fn worker() -> WorkerId {
    WorkerId::new("host/1")
}
