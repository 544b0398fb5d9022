//! A chart of curves with two logarithmic axes, for growth over factors of a thousand.

use std::fmt::Write as _;

use crate::chart::escape_xml;
use crate::report::Table;

/// The left margin, in pixels.
const LEFT: f64 = 80.0;
/// The top margin, in pixels.
const TOP: f64 = 44.0;
/// The width of the plot, in pixels.
const WIDTH: f64 = 560.0;
/// The height of the plot, in pixels.
const HEIGHT: f64 = 260.0;
/// The colours of the curves, in order.
const COLOURS: [&str; 3] = ["#2b6cb0", "#a0aec0", "#dd6b20"];

/// Curves over a common axis.
#[derive(Debug)]
pub(crate) struct Curve {
    /// The position of each row on the axis.
    at: Vec<f64>,
    /// The curves: a name, and one figure per row.
    lines: Vec<(&'static str, Vec<f64>)>,
}

/// The range of a logarithmic axis, as powers of ten.
struct Axis {
    least: f64,
    most: f64,
}

impl Axis {
    /// Creates the range of the figures above zero: a logarithmic axis has no zero.
    fn covering<'a>(figures: impl Iterator<Item = &'a f64>) -> Self {
        let powers = figures.filter(|figure| **figure > 0.0).map(|figure| figure.log10());
        let (least, most) = powers
            .fold((f64::MAX, f64::MIN), |(least, most), power| (power.min(least), power.max(most)));
        Self { least, most }
    }

    /// Returns the fraction of the axis below a figure.
    fn share(&self, figure: f64) -> f64 {
        (figure.log10() - self.least) / (self.most - self.least).max(f64::MIN_POSITIVE)
    }
}

impl Curve {
    pub(crate) fn new<const N: usize>(names: [&'static str; N]) -> Self {
        Self { at: Vec::new(), lines: names.map(|name| (name, Vec::new())).into() }
    }

    /// Adds a figure to each curve; zeros are omitted.
    pub(crate) fn push<const N: usize>(&mut self, at: f64, figures: [f64; N]) {
        self.at.push(at);
        self.lines.iter_mut().zip(figures).for_each(|((_, line), figure)| line.push(figure));
    }

    /// Returns the curves as SVG, with the names of the table's rows as axis labels.
    pub(crate) fn svg(&self, table: &Table) -> String {
        let across = Axis::covering(self.at.iter());
        let up = Axis::covering(self.lines.iter().flat_map(|(_, line)| line));
        let up = Axis { least: up.least.floor(), most: up.most.ceil() };
        let x = |figure: f64| LEFT + 20.0 + across.share(figure) * (WIDTH - 40.0);
        let y = |figure: f64| TOP + HEIGHT * (1.0 - up.share(figure));
        let mut svg = format!(
            "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"860\" height=\"350\" font-family=\"sans-serif\" \
             font-size=\"13\">\n<rect width=\"100%\" height=\"100%\" fill=\"white\"/>\n<text x=\"8\" y=\"22\" \
             font-weight=\"bold\">{} ({})</text>\n",
            escape_xml(&table.title),
            escape_xml(table.unit)
        );
        for power in up.least as i32..=up.most as i32 {
            let figure = 10_f64.powi(power);
            let (line, text) = (y(figure), y(figure) + 4.0);
            let _written = writeln!(
                svg,
                "<path d=\"M{LEFT} {line:.1}h{WIDTH}\" stroke=\"#e2e8f0\"/>\
                 <text x=\"72\" y=\"{text:.1}\" text-anchor=\"end\">{figure}</text>"
            );
        }
        for ((name, _), at) in table.rows.iter().zip(&self.at).filter(|(_, at)| **at > 0.0) {
            let (at, name) = (x(*at), escape_xml(name));
            let _written =
                writeln!(svg, "<text x=\"{at:.1}\" y=\"326\" text-anchor=\"middle\">{name}</text>");
        }
        for (index, ((name, line), colour)) in self.lines.iter().zip(COLOURS).enumerate() {
            let points =
                self.at.iter().zip(line).filter(|(at, figure)| **at > 0.0 && **figure > 0.0);
            let points: Vec<_> =
                points.map(|(at, figure)| format!("{:.1},{:.1}", x(*at), y(*figure))).collect();
            let (points, name, text) =
                (points.join(" "), escape_xml(name), TOP + 20.0 * index as f64 + 12.0);
            let _written = writeln!(
                svg,
                "<polyline points=\"{points}\" fill=\"none\" stroke=\"{colour}\" stroke-width=\"2\"/>\
                 <text x=\"664\" y=\"{text:.0}\" fill=\"{colour}\">{name}</text>"
            );
        }
        svg.push_str("</svg>\n");
        svg
    }
}
