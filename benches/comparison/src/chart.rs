//! A chart of a table: one bar per row, or curves.

use std::fmt::Write as _;

use crate::report::Table;

/// The height of a row, in pixels.
const ROW: f64 = 26.0;
/// The width of the labels, in pixels.
const LABELS: f64 = 330.0;
/// The width of the longest bar, in pixels.
const BARS: f64 = 420.0;
/// The height of the title, in pixels.
const TOP: f64 = 40.0;

/// Returns the table's bars or curves as SVG.
pub(crate) fn svg(table: &Table) -> String {
    if let Some(curve) = &table.curve {
        return curve.svg(table);
    }
    let most = table.bars.iter().map(|(_, value)| *value).fold(f64::MIN_POSITIVE, f64::max);
    let height = table.bars.iter().fold(TOP + 10.0, |height, _| height + ROW);
    let width = LABELS + BARS + 90.0;
    let mut svg = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"{width}\" height=\"{height}\" font-family=\"sans-serif\" \
         font-size=\"13\">\n<rect width=\"100%\" height=\"100%\" fill=\"white\"/>\n<text x=\"8\" y=\"22\" \
         font-weight=\"bold\">{} ({})</text>\n",
        escape_xml(&table.title),
        table.unit
    );
    let mut y = TOP;
    for (name, value) in &table.bars {
        let length = value / most * BARS;
        let fill = if name.contains("crucible") { "#2b6cb0" } else { "#a0aec0" };
        let (bar, middle) = (y + 4.0, y + 17.0);
        let _written = writeln!(
            svg,
            "<text x=\"{:.0}\" y=\"{middle:.0}\" text-anchor=\"end\">{}</text>\
             <rect x=\"{LABELS}\" y=\"{bar:.0}\" width=\"{length:.1}\" height=\"18\" fill=\"{fill}\"/>\
             <text x=\"{:.0}\" y=\"{middle:.0}\">{}</text>",
            LABELS - 8.0,
            escape_xml(name),
            LABELS + length + 6.0,
            format_figure(*value)
        );
        y += ROW;
    }
    svg.push_str("</svg>\n");
    svg
}

/// Formats a figure: integral from 100, otherwise with two decimals.
fn format_figure(value: f64) -> String {
    if value >= 100.0 { format!("{value:.0}") } else { format!("{value:.2}") }
}

/// Escapes text for XML.
pub(crate) fn escape_xml(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;")
}
