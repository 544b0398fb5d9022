//! Tables of text with aligned columns.

use std::fmt;

use unicode_width::UnicodeWidthStr as _;

/// The space between two columns.
const GAP: &str = "  ";

/// The alignment of a column.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Align {
    /// At the start of the column.
    Left,
    /// At the end of the column, for numbers.
    Right,
}

/// A table with a header. `Display` writes it without a line end after the last row.
#[derive(Debug)]
pub(crate) struct TextTable<const N: usize> {
    align: [Align; N],
    rows: Vec<[String; N]>,
}

impl<const N: usize> TextTable<N> {
    /// Creates a table with the given header and all columns at the left.
    pub(crate) fn new(header: [&str; N]) -> Self {
        Self { align: [Align::Left; N], rows: vec![header.map(str::to_owned)] }
    }

    /// Sets the alignment of each column.
    pub(crate) fn with_align(mut self, align: [Align; N]) -> Self {
        self.align = align;
        self
    }

    /// Adds a row.
    pub(crate) fn push(&mut self, row: [String; N]) {
        self.rows.push(row);
    }

    /// Returns the display width of each column.
    fn widths(&self) -> [usize; N] {
        let mut widths = [0; N];
        for row in &self.rows {
            for (width, cell) in widths.iter_mut().zip(row) {
                *width = (*width).max(cell.width());
            }
        }
        widths
    }
}

impl<const N: usize> fmt::Display for TextTable<N> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let widths = self.widths();
        for (index, row) in self.rows.iter().enumerate() {
            let mut line = String::new();
            for ((cell, width), align) in row.iter().zip(widths).zip(self.align) {
                let padding = " ".repeat(width.saturating_sub(cell.width()));
                let (before, after) = match align {
                    Align::Left => ("", padding.as_str()),
                    Align::Right => (padding.as_str(), ""),
                };
                line.extend([before, cell, after, GAP]);
            }
            let end = if index + 1 < self.rows.len() { "\n" } else { "" };
            write!(f, "{}{end}", line.trim_end())?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_align_by_display_width() {
        let mut table = TextTable::new(["name", "count"]).with_align([Align::Left, Align::Right]);
        table.push(["漢字字".to_owned(), "7".to_owned()]);
        table.push(["ab".to_owned(), "12".to_owned()]);
        assert_eq!(table.to_string(), "name    count\n漢字字      7\nab         12");
    }
}
