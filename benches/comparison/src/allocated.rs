//! Allocations, counted by a separate program, because a counting allocator would slow down the
//! other measurements.

use crate::peers;
use crate::report::{Report, Table, round};
use crate::scale::Scale;

/// Keys that the program prints, and their labels.
const NAMES: [(&str, &str); 5] = [
    ("evaluation", "crucible over an engine without work: submit to outcome"),
    ("run", "crucible: a sandboxed run, cold"),
    ("ready", "crucible: a sandboxed run, ready sandbox"),
    ("chunk", "crucible: 64 KiB of output, stored or discarded"),
    ("chunk_streamed", "crucible: 64 KiB of output, stored or discarded, and streamed"),
];

pub(crate) fn measure(report: &mut Report, _: &Scale) {
    let program =
        std::env::current_exe().expect("this program").with_file_name("crucible-allocations");
    let Some(program) = program.to_str().filter(|path| std::path::Path::new(path).exists()) else {
        eprintln!("allocations: SKIPPED, crucible-allocations is not built");
        return;
    };
    let output = peers::standard(&[program]);
    let said = String::from_utf8_lossy(&output);
    let (mut rows, mut bars) = (Vec::new(), Vec::new());
    for line in said.lines() {
        let mut parts = line.split(' ');
        let name = parts.next().unwrap_or_default();
        let mut number =
            || parts.next().and_then(|number| number.parse::<f64>().ok()).expect("a number");
        let (count, bytes) = (number(), number());
        let title = NAMES.iter().find(|(key, _)| *key == name).map_or(name, |(_, title)| title);
        report.set("allocations", name, round(count));
        report.set("allocations", &format!("{name}_bytes"), bytes.round());
        rows.push((
            title.to_owned(),
            vec![format!("{:.1}", count.max(0.0)), format!("{bytes:.0}")],
        ));
        bars.push((title.to_owned(), count));
    }
    report.add(Table {
        name: "allocations",
        title: "Allocations".to_owned(),
        note: "All threads of the host, counted by the allocator of a separate program. Output: \
             the allocations of a run that writes many blocks of 64 KiB, minus those of a run \
             that writes one, per block."
            .to_owned(),
        columns: vec!["allocations", "bytes"],
        rows,
        bars,
        curve: None,
        unit: "allocations",
    });
}
