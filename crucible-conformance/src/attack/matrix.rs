//! The matrix of attacks and layers.

use std::fmt::{self, Write as _};

use crucible_core::Layer;

use super::definition::Attack;
use super::observation::Assessment;

/// The result of each attack against an engine that lacks one layer.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct LayerMatrix {
    rows: Vec<MatrixRow>,
    columns: Vec<Layer>,
    essential: Vec<Layer>,
}

#[derive(Debug, Clone)]
struct MatrixRow {
    attack: Attack,
    cells: Vec<Assessment>,
}

impl LayerMatrix {
    pub(super) fn new(attacks: &[Attack]) -> Self {
        let row = |attack: &Attack| MatrixRow { attack: attack.clone(), cells: Vec::new() };
        Self { rows: attacks.iter().map(row).collect(), columns: Vec::new(), essential: Vec::new() }
    }

    /// Adds a layer that cannot be waived.
    pub(super) fn add_essential(&mut self, layer: Layer) {
        self.essential.push(layer);
    }

    /// Adds the column of a layer, with one assessment for each attack.
    pub(super) fn add(&mut self, layer: Layer, column: Vec<Assessment>) {
        self.columns.push(layer);
        for (row, assessment) in self.rows.iter_mut().zip(column) {
            row.cells.push(assessment);
        }
    }

    /// Returns a line for each cell without a clear result: the attack, the layer, the reason.
    #[must_use]
    pub fn inconclusive(&self) -> Vec<String> {
        let cells = self
            .rows
            .iter()
            .flat_map(|row| row.cells.iter().zip(&self.columns).map(move |cell| (row, cell)));
        cells
            .filter_map(|(row, (assessment, layer))| match assessment {
                Assessment::Inconclusive(why) | Assessment::NoProof(why) => {
                    Some(format!("{} without {layer}: {why}", row.attack.name))
                }
                Assessment::NoHarm | Assessment::Harm(_) => None,
            })
            .collect()
    }

    fn write_results(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
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
            write!(f, "| {} | `{}` |", row.attack.catalogue, row.attack.name)?;
            for cell in &row.cells {
                f.write_str(match cell {
                    Assessment::NoHarm => " · |",
                    Assessment::Harm(_) => " **open** |",
                    Assessment::Inconclusive(_) | Assessment::NoProof(_) => " ? |",
                })?;
            }
            f.write_char('\n')?;
        }
        Ok(())
    }

    fn write_attacks(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("| attack | what it does | what must hold | stopped by |\n")?;
        f.write_str("| --- | --- | --- | --- |\n")?;
        for MatrixRow { attack, .. } in &self.rows {
            let layers: Vec<_> = attack.layers.iter().map(|layer| layer.name()).collect();
            let layers =
                if layers.is_empty() { "the engine itself".to_owned() } else { layers.join(", ") };
            let Attack { name, action, expectation, .. } = attack;
            writeln!(f, "| `{name}` | {action} | {expectation} | {layers} |")?;
        }
        Ok(())
    }
}

/// Formats the matrix as two Markdown tables and a line on the essential layers.
impl fmt::Display for LayerMatrix {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.write_results(f)?;
        f.write_char('\n')?;
        self.write_attacks(f)?;
        let essential: Vec<_> = self.essential.iter().map(|layer| format!("`{layer}`")).collect();
        if !essential.is_empty() {
            let essential = essential.join(",\n");
            writeln!(
                f,
                "\nThese layers cannot be waived, because the sandbox needs them:\n{essential}."
            )?;
        }
        Ok(())
    }
}
