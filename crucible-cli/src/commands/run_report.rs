//! The report of `crucible run` on an outcome.

use std::fs;
use std::io;
use std::path::Path;

use crucible::Outcome;
use crucible::result::{Artifact, Verdict};

use crate::failure::Failure;
use crate::format::usage_line;
use crate::json;
use crate::output::print_line;
use crate::terminal_text::escaped;

/// Prints the outcome: its JSON to standard output, or its verdict and usage to standard error.
///
/// # Errors
/// Returns a failure if standard output cannot be written.
pub(super) fn report(outcome: &Outcome, json: bool, verbose: bool) -> Result<(), Failure> {
    if json {
        print_line(&json::to_line(outcome)?)?;
    } else if matches!(outcome.verdict(), Verdict::CompileFailed { .. }) {
        // The compiler's output is not live output. It is in the outcome.
        let text = outcome.stdout.to_text().into_owned() + &outcome.stderr.to_text();
        eprintln!("{}", escaped(text.trim_end()));
    }
    let output_bytes = outcome.stdout.total_bytes + outcome.stderr.total_bytes;
    eprintln!(
        "{} ({})",
        escaped(&outcome.verdict().to_string()),
        usage_line(&outcome.usage, output_bytes)
    );
    let waived: Vec<_> = outcome.enforcement.waived().map(|layer| layer.name()).collect();
    if !waived.is_empty() {
        eprintln!("waived: {}", waived.join(", "));
    }
    for file in &outcome.skipped {
        eprintln!("not collected: {:?}: {}", file.path, file.reason);
    }
    if verbose {
        for evidence in outcome.evidence() {
            eprintln!("evidence: {evidence:?}");
        }
        for line in outcome.enforcement.reports() {
            eprintln!("layer {}: {} {}", line.layer, line.status, line.detail);
        }
    }
    Ok(())
}

/// Writes the collected files beneath a directory.
///
/// The guest chose their paths. A path cannot lead out of the directory, except through symbolic
/// links that are already in it.
///
/// # Errors
/// Returns a failure if a file cannot be written.
pub(super) fn save_artifacts(artifacts: &[Artifact], directory: &Path) -> Result<(), Failure> {
    for artifact in artifacts {
        let path = directory.join(artifact.path.as_str());
        save(artifact, &path).map_err(|error| Failure::file("write", &path, &error))?;
    }
    Ok(())
}

/// Writes one collected file.
fn save(artifact: &Artifact, path: &Path) -> io::Result<()> {
    if let Some(parent) = path.parent() {
        fs::create_dir_all(parent)?;
    }
    fs::write(path, artifact.content.clone().unwrap_or_default())?;
    if artifact.executable { make_executable(path) } else { Ok(()) }
}

/// Gives everyone the permission to execute a file.
#[cfg(unix)]
fn make_executable(path: &Path) -> io::Result<()> {
    fs::set_permissions(path, std::os::unix::fs::PermissionsExt::from_mode(0o755))
}

/// Does nothing: this system has no executable bit.
#[cfg(not(unix))]
fn make_executable(_: &Path) -> io::Result<()> {
    Ok(())
}
