//! What the examples share: sizes and durations on the command line, engines by name, text that is safe to show.

use std::error::Error;
use std::time::Duration;

use crucible::{EngineError, Layer, Limits, SubprocessBuilder, SubprocessEngine, Usage};

/// Exit statuses. 0 is the program's `exited 0`.
pub(crate) const EXIT_VERDICT: u8 = 1;
pub(crate) const EXIT_USAGE: u8 = 2;
pub(crate) const EXIT_INFRASTRUCTURE: u8 = 3;

/// Why an example stops, and with which status.
#[derive(Debug)]
pub(crate) struct Failure {
    pub(crate) status: u8,
    pub(crate) message: String,
}

impl Failure {
    /// What was asked for cannot be.
    pub(crate) fn usage(message: impl Into<String>) -> Self {
        Self { status: EXIT_USAGE, message: message.into() }
    }

    /// Something failed that is not the program.
    pub(crate) fn infrastructure(error: &(dyn Error + 'static)) -> Self {
        Self { status: EXIT_INFRASTRUCTURE, message: crucible::chain(error) }
    }
}

/// The engines that are built in.
pub(crate) const ENGINES: [&str; 1] = ["subprocess"];

/// Makes the engine of this name, without the layers that are waived.
pub(crate) fn engine(name: &str, waived: &[Layer]) -> Result<SubprocessEngine, Failure> {
    if name != "subprocess" {
        return Err(Failure::usage(format!("no engine `{name}`; there is {}", ENGINES.join(", "))));
    }
    let builder = waived.iter().fold(SubprocessBuilder::new(), |builder, layer| builder.waive(*layer));
    builder.build().map_err(|error| match error {
        EngineError::Invalid(problems) => Failure::usage(problems.to_string()),
        error => Failure::infrastructure(&error),
    })
}

/// Limits from the command line.
#[derive(Debug, Clone, clap::Args)]
pub(crate) struct LimitArgs {
    /// Time by the clock, such as 5s or 1min.
    #[arg(long, value_name = "TIME", value_parser = duration, help_heading = "Limits")]
    pub(crate) wall: Option<Duration>,
    /// CPU time of the whole tree.
    #[arg(long, value_name = "TIME", value_parser = duration, help_heading = "Limits")]
    pub(crate) cpu: Option<Duration>,
    /// Memory of the whole tree, such as 128MiB.
    #[arg(long, value_name = "SIZE", value_parser = size, help_heading = "Limits")]
    pub(crate) memory: Option<u64>,
    /// Processes and threads at once.
    #[arg(long, value_name = "COUNT", help_heading = "Limits")]
    pub(crate) processes: Option<u32>,
    /// Bytes of output, both streams together.
    #[arg(long, value_name = "SIZE", value_parser = size, help_heading = "Limits")]
    pub(crate) output: Option<u64>,
    /// Bytes in all places that can be written to.
    #[arg(long, value_name = "SIZE", value_parser = size, help_heading = "Limits")]
    pub(crate) disk: Option<u64>,
    /// Files and directories in all places that can be written to.
    #[arg(long, value_name = "COUNT", help_heading = "Limits")]
    pub(crate) inodes: Option<u64>,
    /// Open files of each process.
    #[arg(long, value_name = "COUNT", help_heading = "Limits")]
    pub(crate) open_files: Option<u32>,
}

impl LimitArgs {
    /// The defaults, but for what was given.
    pub(crate) fn limits(&self) -> Limits {
        let mut limits = Limits::new();
        limits.wall = self.wall.unwrap_or(limits.wall);
        // A longer wall limit alone would be cut short by the default CPU limit.
        limits.cpu = self.cpu.unwrap_or_else(|| limits.cpu.max(self.wall.unwrap_or_default() / 2));
        limits.memory_bytes = self.memory.unwrap_or(limits.memory_bytes);
        limits.processes = self.processes.unwrap_or(limits.processes);
        limits.output_bytes = self.output.unwrap_or(limits.output_bytes);
        limits.disk_bytes = self.disk.unwrap_or(limits.disk_bytes);
        limits.inodes = self.inodes.unwrap_or(limits.inodes);
        limits.open_files = self.open_files.unwrap_or(limits.open_files);
        limits
    }
}

/// A duration with a unit; a bare number is seconds.
pub(crate) fn duration(text: &str) -> Result<Duration, String> {
    if let Ok(seconds) = text.parse::<f64>() {
        return Duration::try_from_secs_f64(seconds).map_err(|error| error.to_string());
    }
    humantime::parse_duration(text).map_err(|error| format!("{error}; say `5s`, `500ms` or `2min`"))
}

/// A size with a unit; a bare number is bytes.
pub(crate) fn size(text: &str) -> Result<u64, String> {
    let size: bytesize::ByteSize =
        text.parse().map_err(|error| format!("{error}; say `128MiB`, `64KiB` or a number of bytes"))?;
    Ok(size.as_u64())
}

/// What a run used, in a line.
pub(crate) fn usage_line(usage: &Usage, output_bytes: u64) -> String {
    let mut parts = vec![format!("wall {}", short(usage.wall)), format!("cpu {}", short(usage.cpu()))];
    if let Some(bytes) = usage.memory_peak_bytes {
        parts.push(format!("memory {}", bytesize::ByteSize(bytes).display().iec()));
    }
    if let Some(count) = usage.processes_peak {
        parts.push(format!("processes {count}"));
    }
    parts.push(format!("output {}", bytesize::ByteSize(output_bytes).display().iec()));
    parts.push(format!("setup {}", short(usage.setup)));
    parts.join(", ")
}

/// A duration with three digits.
pub(crate) fn short(duration: Duration) -> String {
    let seconds = duration.as_secs_f64();
    if seconds >= 1.0 {
        format!("{seconds:.2} s")
    } else if seconds >= 0.001 {
        format!("{:.1} ms", seconds * 1e3)
    } else {
        format!("{:.0} us", seconds * 1e6)
    }
}

/// Makes text from a guest safe to show: control characters could set a terminal's title, clear it, or type on it.
#[derive(Debug, Default)]
pub(crate) struct Inert {
    /// The beginning of a character whose rest has not come yet.
    pending: Vec<u8>,
}

impl Inert {
    /// The next piece, safe to show: control characters but line ends and tabs are written as escapes, what is not UTF-8
    /// as U+FFFD.
    pub(crate) fn push(&mut self, bytes: &[u8]) -> String {
        self.pending.extend_from_slice(bytes);
        let whole = match std::str::from_utf8(&self.pending) {
            Err(error) if error.error_len().is_none() => error.valid_up_to(),
            _ => self.pending.len(),
        };
        let rest = self.pending.split_off(whole);
        let text = String::from_utf8_lossy(&std::mem::replace(&mut self.pending, rest)).into_owned();
        let mut shown = String::with_capacity(text.len());
        for character in text.chars() {
            // Cc is C0, DEL and C1: the latter are escape sequences of one character.
            if character.is_control() && !matches!(character, '\n' | '\t') {
                shown.extend(character.escape_default());
            } else {
                shown.push(character);
            }
        }
        shown
    }
}

/// A whole text from a guest, safe to show.
pub(crate) fn inert(text: &str) -> String {
    Inert::default().push(text.as_bytes())
}
