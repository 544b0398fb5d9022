//! What is allocated, as another program counts it: an allocator that counts would be in the way of everything else here.

use crate::report::{Report, Table, round};
use crate::rivals;
use crate::scale::Scale;

/// What the program prints, and what that is.
const NAMES: [(&str, &str); 5] = [
    ("evaluation", "crucible over an engine that does nothing: submit to outcome"),
    ("run", "crucible: a sandboxed run, cold"),
    ("preopened", "crucible: a sandboxed run, pre-opened"),
    ("chunk", "crucible: 64 KiB of output, kept or dropped"),
    ("chunk_streamed", "crucible: 64 KiB of output, kept or dropped, and passed on"),
];

pub(crate) fn measure(report: &mut Report, _: &Scale) {
    let program =
        std::env::current_exe().expect("this program").with_file_name("crucible-allocations");
    let Some(program) = program.to_str().filter(|path| std::path::Path::new(path).exists()) else {
        eprintln!("allocations are left out: crucible-allocations is not beside this program");
        return;
    };
    let output = rivals::standard(&[program]);
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
        note: "By all threads of the host together, counted by the allocator of a program of its own. Output: what a run allocates that writes \
               many times 64 KiB, beyond one that writes 64 KiB, for each."
            .to_owned(),
        columns: vec!["allocations", "bytes"],
        rows,
        bars,
        curve: None,
        unit: "allocations",
    });
}
