//! `crucible doctor`: the layers that this host can enforce.

use crate::args::doctor::DoctorArgs;
use crate::engines;
use crate::failure::{ExitStatus, Failure};
use crate::json;
use crate::output::print_line;

/// Prints the host report. A missing layer is an infrastructure error.
///
/// # Errors
/// Returns a failure if the report cannot be made or printed.
pub(crate) fn doctor(args: &DoctorArgs) -> Result<ExitStatus, Failure> {
    let report = engines::host_report(&args.engine)?;
    let status =
        if report.is_complete() { ExitStatus::Success } else { ExitStatus::Infrastructure };
    if args.json {
        print_line(&json::to_line(&report)?)?;
        return Ok(status);
    }
    print_line(report.to_string().trim_end())?;
    if report.is_complete() {
        print_line("this host can enforce every layer")?;
    } else if report.missing().count() < report.layers.len() {
        let options: Vec<_> =
            report.missing().map(|probe| format!("--waive {}", probe.layer)).collect();
        print_line(&format!("to run without the missing layers: {}", options.join(" ")))?;
    }
    Ok(status)
}
