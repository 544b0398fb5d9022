//! The documentation page: figures replace the text between two marks.

use std::fs;
use std::io::{Error, ErrorKind, Result};
use std::path::Path;

use crate::chart;
use crate::report::Table;

const BEGIN: &str = "<!-- measured: from here to the end mark by ci/bench -->";
const END: &str = "<!-- measured: end -->";

pub(crate) fn write(path: &Path, machine: &str, tables: &[Table]) -> Result<()> {
    let page = fs::read_to_string(path)?;
    let marks =
        page.split_once(BEGIN).and_then(|(before, rest)| Some((before, rest.split_once(END)?.1)));
    let Some((before, after)) = marks else {
        let message = format!("the page has no lines `{BEGIN}` and `{END}`");
        return Err(Error::new(ErrorKind::InvalidData, message));
    };
    let charts = path.with_extension("");
    fs::create_dir_all(&charts)?;
    let directory = charts.file_name().unwrap_or_default().to_string_lossy().into_owned();
    let mut text = format!("{before}{BEGIN}\n\n{machine}\n");
    for table in tables {
        fs::write(charts.join(format!("{}.svg", table.name)), chart::svg(table))?;
        text.push_str(&format!(
            "\n## {}\n\n{}\n\n{}\n![{}]({directory}/{}.svg)\n",
            table.title,
            table.note,
            table.markdown(),
            table.title,
            table.name
        ));
    }
    text.push_str(&format!("\n{END}{after}"));
    fs::write(path, text)
}
