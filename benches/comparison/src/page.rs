//! The documentation page: figures replace the text between two marks.

use std::fs;
use std::io::{Error, ErrorKind, Result};
use std::path::Path;

use crate::chart;
use crate::report::Table;

const BEGIN: &str = "<!-- measured: from here to the end mark by ci/bench -->";
const END: &str = "<!-- measured: end -->";
/// The width of a paragraph, in characters.
const WIDTH: usize = 116;

/// Replaces the text between the marks, and writes one chart per table beside the page.
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
    let mut text = format!("{before}{BEGIN}\n\n{}\n", wrapped(machine));
    for table in tables {
        fs::write(charts.join(format!("{}.svg", table.name)), chart::svg(table))?;
        text.push_str(&format!(
            "\n## {}\n\n{}\n\n{}\n![{}]({directory}/{}.svg)\n",
            table.title,
            wrapped(&table.note),
            table.markdown(),
            table.title,
            table.name
        ));
    }
    text.push_str(&format!("\n{END}{after}"));
    fs::write(path, text)
}

/// Breaks a paragraph into lines of at most [`WIDTH`] characters.
fn wrapped(paragraph: &str) -> String {
    let mut text = String::new();
    let mut width = 0;
    for word in paragraph.split_whitespace() {
        let length = word.chars().count();
        if width > 0 && width + 1 + length > WIDTH {
            text.push('\n');
            width = 0;
        } else if width > 0 {
            text.push(' ');
            width += 1;
        }
        text.push_str(word);
        width += length;
    }
    text
}
