//! The measured figures.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use serde_json::{Map, Value, json};

use crate::curve::Curve;
use crate::support::{Case, ratio};

/// All tables and figures of a run.
#[derive(Debug)]
pub(crate) struct Report {
    tables: Vec<Table>,
    figures: BTreeMap<String, Map<String, Value>>,
}

/// A table: one row per case, the baseline first.
#[derive(Debug)]
pub(crate) struct Table {
    pub(crate) name: &'static str,
    pub(crate) title: String,
    /// The explanation for the reader.
    pub(crate) note: String,
    pub(crate) columns: Vec<&'static str>,
    pub(crate) rows: Vec<(String, Vec<String>)>,
    /// The figure of each row in the chart.
    pub(crate) bars: Vec<(String, f64)>,
    /// Curves, which replace the bars.
    pub(crate) curve: Option<Curve>,
    pub(crate) unit: &'static str,
}

impl Report {
    pub(crate) fn new() -> Self {
        Self { tables: Vec::new(), figures: BTreeMap::new() }
    }

    pub(crate) fn tables(&self) -> &[Table] {
        &self.tables
    }

    pub(crate) fn add(&mut self, table: Table) {
        self.tables.push(table);
    }

    /// Sets a figure of the JSON output.
    pub(crate) fn set(&mut self, of: &str, name: &str, value: impl Into<Value>) {
        self.figures.entry(of.to_owned()).or_default().insert(name.to_owned(), value.into());
    }

    /// Sets the figures of a case and its ratio to a yardstick.
    pub(crate) fn set_case(&mut self, of: &str, case: &Case<'_>, yardstick: &Case<'_>) {
        self.set(of, "ratio", round(ratio(case.median(), yardstick.median())));
        for (name, quantile) in [("median_us", 0.5), ("p99_us", 0.99), ("min_us", 0.0)] {
            self.set(of, name, micros(case.quantile(quantile)));
        }
        self.set(of, "yardstick", yardstick.name);
        self.set(of, "yardstick_median_us", micros(yardstick.median()));
    }

    pub(crate) fn json(&self, machine: &str) -> String {
        let mut all: Map<String, Value> =
            self.figures.iter().map(|(of, figures)| (of.clone(), json!(figures))).collect();
        all.insert("machine".to_owned(), json!(machine));
        let mut text = serde_json::to_string_pretty(&all).expect("plain values");
        text.push('\n');
        text
    }
}

impl Table {
    /// Adds a table of times with their ratios to the first case.
    pub(crate) fn of_cases(
        name: &'static str,
        title: impl Into<String>,
        note: impl Into<String>,
        cases: &[Case<'_>],
    ) -> Self {
        let first = cases.first().map(Case::median).unwrap_or_default();
        let row = |case: &Case<'_>| {
            let times =
                [0.5, 0.99, 0.0].map(|quantile| format!("{} µs", micros(case.quantile(quantile))));
            let ratio = format!("{:.2}", ratio(case.median(), first));
            (case.name.to_owned(), times.into_iter().chain([ratio]).collect())
        };
        Self {
            name,
            title: title.into(),
            note: note.into(),
            columns: vec!["median", "p99", "minimum", "ratio"],
            rows: cases.iter().map(row).collect(),
            bars: cases
                .iter()
                .map(|case| (case.name.to_owned(), case.median().as_secs_f64() * 1000.0))
                .collect(),
            curve: None,
            unit: "ms, median",
        }
    }

    /// Returns the table as text for a terminal.
    pub(crate) fn text(&self) -> String {
        let mut text = format!("{}\n", self.title);
        let width = self.rows.iter().map(|(name, _)| name.chars().count()).max().unwrap_or(0);
        let _written = write!(text, "{:width$}", "");
        self.columns.iter().for_each(|column| {
            let _written = write!(text, " {column:>12}");
        });
        for (name, values) in &self.rows {
            let _written = write!(text, "\n{name:width$}");
            values.iter().for_each(|value| {
                let _written = write!(text, " {value:>12}");
            });
        }
        text
    }

    /// Returns the table as Markdown.
    pub(crate) fn markdown(&self) -> String {
        let mut text = format!(
            "| | {} |\n|---|{}\n",
            self.columns.join(" | "),
            "--:|".repeat(self.columns.len())
        );
        for (name, values) in &self.rows {
            let _written = writeln!(text, "| {name} | {} |", values.join(" | "));
        }
        text
    }
}

pub(crate) fn micros(time: std::time::Duration) -> u64 {
    u64::try_from(time.as_micros()).unwrap_or(u64::MAX)
}

/// Rounds to three decimals; more digits are noise.
pub(crate) fn round(value: f64) -> f64 {
    (value * 1000.0).round() / 1000.0
}
