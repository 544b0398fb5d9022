//! Growth of cost with the amount of work: one curve per file.

mod blocked;
mod inputs;
mod listeners;
mod output;
mod queued;
mod running;

use crate::report::Report;
use crate::scale::Scale;

pub(crate) fn measure(report: &mut Report, scale: &Scale) {
    queued::measure(report, scale);
    running::measure(report, scale);
    output::measure(report, scale);
    inputs::measure(report, scale);
    listeners::measure(report, scale);
}

/// Formats a number with thousands separators.
pub(crate) fn grouped(number: u64) -> String {
    let digits = number.to_string();
    let mut text = String::new();
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}
