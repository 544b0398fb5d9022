//! Attacks against engines that lack one layer.

use std::fmt::{self, Write as _};

use crucible_core::Layer;

use super::entry::Attack;
use super::observation::Reading;

/// Attack by layer: what stops an attack where one layer is missing.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct Matrix {
    rows: Vec<Row>,
    columns: Vec<Layer>,
    essential: Vec<Layer>,
}

#[derive(Debug, Clone)]
struct Row {
    name: &'static str,
    catalogue: &'static str,
    does: &'static str,
    holds: &'static str,
    layers: &'static [Layer],
    cells: Vec<Reading>,
}

impl Matrix {
    pub(super) fn new(attacks: &[Attack]) -> Self {
        let row = |attack: &Attack| Row {
            name: attack.name,
            catalogue: attack.catalogue,
            does: attack.does,
            holds: attack.holds,
            layers: attack.layers,
            cells: Vec::new(),
        };
        Self { rows: attacks.iter().map(row).collect(), columns: Vec::new(), essential: Vec::new() }
    }

    pub(super) fn cannot_be_waived(&mut self, layer: Layer) {
        self.essential.push(layer);
    }

    pub(super) fn add(&mut self, layer: Layer, readings: Vec<Reading>) {
        self.columns.push(layer);
        for (row, reading) in self.rows.iter_mut().zip(readings) {
            row.cells.push(reading);
        }
    }

    /// What could not be told, by attack and layer.
    #[must_use]
    pub fn unclear(&self) -> Vec<String> {
        let cells = self
            .rows
            .iter()
            .flat_map(|row| row.cells.iter().zip(&self.columns).map(move |cell| (row, cell)));
        cells
            .filter_map(|(row, (reading, layer))| match reading {
                Reading::Unclear(why) | Reading::NoProof(why) => {
                    Some(format!("{} without {layer}: {why}", row.name))
                }
                Reading::Held | Reading::Harm(_) => None,
            })
            .collect()
    }
}

/// As Markdown.
impl fmt::Display for Matrix {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("| attack | |")?;
        for layer in &self.columns {
            write!(f, " {layer} |")?;
        }
        f.write_str("\n| --- | --- |")?;
        for _ in &self.columns {
            f.write_str(" --- |")?;
        }
        f.write_char('\n')?;
        for row in &self.rows {
            write!(f, "| {} | `{}` |", row.catalogue, row.name)?;
            for cell in &row.cells {
                f.write_str(match cell {
                    Reading::Held => " · |",
                    Reading::Harm(_) => " **open** |",
                    Reading::Unclear(_) | Reading::NoProof(_) => " ? |",
                })?;
            }
            f.write_char('\n')?;
        }
        f.write_str(
            "\n| attack | what it does | what must hold | stopped by |\n| --- | --- | --- | --- |\n",
        )?;
        for row in &self.rows {
            let layers: Vec<_> = row.layers.iter().map(|layer| layer.name()).collect();
            let layers =
                if layers.is_empty() { "the engine itself".to_owned() } else { layers.join(", ") };
            writeln!(f, "| `{}` | {} | {} | {layers} |", row.name, row.does, row.holds)?;
        }
        let essential: Vec<_> = self.essential.iter().map(|layer| format!("`{layer}`")).collect();
        if !essential.is_empty() {
            writeln!(
                f,
                "\nThere is no sandbox without {}: these cannot be waived.",
                essential.join(", ")
            )?;
        }
        Ok(())
    }
}
