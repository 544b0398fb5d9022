//! What the examples share: exit statuses, engines by name, text that is safe to show.

use std::error::Error;
use std::sync::Arc;

use crucible::{Engine, EngineError, Layer, SubprocessBuilder};
use serde::Serialize;

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
        Self { status: EXIT_INFRASTRUCTURE, message: crucible::error_chain(error) }
    }
}

/// The engines that are built in.
#[cfg(not(feature = "docker"))]
pub(crate) const ENGINES: [&str; 1] = ["subprocess"];
/// The engines that are built in.
#[cfg(feature = "docker")]
pub(crate) const ENGINES: [&str; 3] = ["subprocess", "docker", "gvisor"];

/// The image of containers if `CRUCIBLE_IMAGE` names none: made of this machine's own files by `ci/docker image`.
#[cfg(feature = "docker")]
const IMAGE: &str = "crucible-local:latest";

/// Makes the engine of this name, without the layers that are waived.
pub(crate) fn engine(name: &str, waived: &[Layer]) -> Result<Arc<dyn Engine>, Failure> {
    if !ENGINES.contains(&name) {
        return Err(Failure::usage(format!("no engine `{name}`; there is {}", ENGINES.join(", "))));
    }
    try_engine(name, waived).map_err(|error| match error {
        EngineError::Invalid(problems) => Failure::usage(problems.to_string()),
        error => Failure::infrastructure(&error),
    })
}

/// As [`engine`], for those who look at the error themselves.
pub(crate) fn try_engine(name: &str, waived: &[Layer]) -> Result<Arc<dyn Engine>, EngineError> {
    #[cfg(feature = "docker")]
    if name != "subprocess" {
        let builder = waived.iter().fold(containers(name), |builder, layer| builder.waive(*layer));
        return Ok(Arc::new(builder.build_blocking()?));
    }
    let _the_only_one = name;
    let builder =
        waived.iter().fold(SubprocessBuilder::new(), |builder, layer| builder.waive(*layer));
    Ok(Arc::new(builder.build()?))
}

/// How an engine of containers is made here: on the daemon that `DOCKER_HOST` names, or the usual one.
#[cfg(feature = "docker")]
pub(crate) fn containers(name: &str) -> crucible::docker::DockerBuilder {
    let image = std::env::var("CRUCIBLE_IMAGE").unwrap_or_else(|_| IMAGE.to_owned());
    let builder = crucible::DockerEngine::builder().image(image);
    if name == "gvisor" {
        builder.runtime(crucible::docker::Runtime::named("runsc"))
    } else {
        builder
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
        let text =
            String::from_utf8_lossy(&std::mem::replace(&mut self.pending, rest)).into_owned();
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

/// A line of JSON, safe to show: C0 is escaped by JSON itself, DEL and C1 are not, and a terminal obeys the latter.
pub(crate) fn json_line(value: &impl Serialize) -> serde_json::Result<String> {
    let text = serde_json::to_string(value)?;
    let mut shown = String::with_capacity(text.len());
    for character in text.chars() {
        // Only within a string: outside of one JSON has none.
        if character.is_control() {
            shown.push_str(&format!("\\u{:04x}", u32::from(character)));
        } else {
            shown.push(character);
        }
    }
    Ok(shown)
}
