//! Durations, sizes and usage as text, and their parsers.

use std::time::Duration;

use bytesize::ByteSize;
use crucible::result::Usage;

/// Parses a duration with a unit; a bare number is in seconds.
pub(crate) fn parse_duration(text: &str) -> Result<Duration, String> {
    if let Ok(seconds) = text.parse::<f64>() {
        return Duration::try_from_secs_f64(seconds).map_err(|error| error.to_string());
    }
    humantime::parse_duration(text)
        .map_err(|error| format!("{error}\nfix: write `5s`, `500ms` or `2min`"))
}

/// Parses a size with a unit; a bare number is in bytes.
pub(crate) fn parse_size(text: &str) -> Result<u64, String> {
    let size: ByteSize = text
        .parse()
        .map_err(|error| format!("{error}\nfix: write `128MiB`, `64KiB` or a number of bytes"))?;
    Ok(size.as_u64())
}

/// Returns the usage of a run as one line.
pub(crate) fn usage_line(usage: &Usage, output_bytes: u64) -> String {
    let mut parts = vec![
        format!("wall {}", short_duration(usage.wall)),
        format!("cpu {}", short_duration(usage.cpu())),
    ];
    if let Some(bytes) = usage.memory_peak_bytes {
        parts.push(format!("memory {}", ByteSize(bytes).display().iec()));
    }
    if let Some(count) = usage.processes_peak {
        parts.push(format!("processes {count}"));
    }
    parts.push(format!("output {}", ByteSize(output_bytes).display().iec()));
    parts.push(format!("setup {}", short_duration(usage.setup)));
    parts.join(", ")
}

/// Returns a duration in the largest unit that keeps it above 1.
pub(crate) fn short_duration(duration: Duration) -> String {
    let seconds = duration.as_secs_f64();
    if seconds >= 1.0 {
        format!("{seconds:.2} s")
    } else if seconds >= 0.001 {
        format!("{:.1} ms", seconds * 1e3)
    } else {
        format!("{:.0} us", seconds * 1e6)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bare_numbers_are_seconds_and_bytes() {
        assert_eq!(parse_duration("1.5"), Ok(Duration::from_millis(1500)));
        assert_eq!(parse_size("512"), Ok(512));
        assert_eq!(parse_size("1KiB"), Ok(1024));
    }

    #[test]
    fn short_duration_selects_the_unit() {
        let text = |micros| short_duration(Duration::from_micros(micros));
        assert_eq!([text(12), text(1_500), text(2_340_000)], ["12 us", "1.5 ms", "2.34 s"]);
    }
}
