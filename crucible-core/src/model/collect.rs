//! The selection of files to collect from a sandbox.

use glob::{MatchOptions, Pattern};
use serde::{Deserialize, Serialize};

use super::path::SandboxPath;
use super::problem::Problem;

/// The files to collect after the program has ended, and the bounds of the collection.
///
/// Patterns match whole paths beneath the working directory: `?` and `*` match within a name, `**`
/// any number of directories, `[…]` a set of characters. Only regular files are collected.
/// [`Outcome::skipped`](crate::Outcome::skipped) lists the other matches, with the reason.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
#[non_exhaustive]
pub struct Collect {
    /// The patterns; none by default.
    pub patterns: Vec<String>,
    /// The maximum number of files; 1000 by default.
    pub files_max: usize,
    /// The maximum number of bytes in all files together; 64 MiB by default, like the disk limit.
    pub bytes_max: u64,
    /// The maximum depth of directories; 16 by default.
    pub depth_max: usize,
}

impl Default for Collect {
    fn default() -> Self {
        Self { patterns: Vec::new(), files_max: 1000, bytes_max: 64 * 1024 * 1024, depth_max: 16 }
    }
}

impl Collect {
    /// Collects the files that match `patterns`, within the default bounds.
    #[must_use]
    pub fn matching<S: Into<String>>(patterns: impl IntoIterator<Item = S>) -> Self {
        Self { patterns: patterns.into_iter().map(Into::into).collect(), ..Self::default() }
    }

    /// Sets [`Collect::bytes_max`].
    #[must_use]
    pub fn with_bytes_max(mut self, bytes: u64) -> Self {
        self.bytes_max = bytes;
        self
    }

    /// Sets [`Collect::files_max`].
    #[must_use]
    pub fn with_files_max(mut self, files: usize) -> Self {
        self.files_max = files;
        self
    }

    /// Sets [`Collect::depth_max`].
    #[must_use]
    pub fn with_depth_max(mut self, depth: usize) -> Self {
        self.depth_max = depth;
        self
    }

    /// Returns `true` if there is no pattern.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.patterns.is_empty()
    }

    /// Returns the compiled patterns.
    pub(crate) fn path_patterns(&self) -> PathPatterns {
        PathPatterns(
            self.patterns.iter().filter_map(|pattern| Pattern::new(pattern).ok()).collect(),
        )
    }

    /// Returns the problems of the selection. `field` is its name.
    pub(crate) fn problems(&self, field: &str) -> Vec<Problem> {
        let patterns = self.patterns.iter().enumerate();
        let mut problems: Vec<Problem> = patterns
            .filter_map(|(i, pattern)| pattern_problem(&format!("{field}.patterns[{i}]"), pattern))
            .collect();
        if self.depth_max > 64 {
            problems.push(Problem::new(
                format!("{field}.depth_max"),
                "is more than 64, the deepest path",
            ));
        }
        problems
    }
}

/// Returns the problem of a pattern, if there is one.
pub(crate) fn pattern_problem(field: &str, pattern: &str) -> Option<Problem> {
    if pattern.starts_with('/') || pattern.split('/').any(|name| name == "..") {
        let message =
            format!("is {pattern:?}; a pattern is relative to the working directory, without `..`");
        return Some(Problem::new(field, message));
    }
    match Pattern::new(pattern) {
        Ok(_) if pattern.is_empty() => Some(Problem::new(field, "is empty")),
        Ok(_) => None,
        Err(error) => Some(Problem::new(field, format!("is {pattern:?}: {}", error.msg))),
    }
}

/// Compiled patterns.
#[derive(Debug)]
pub(crate) struct PathPatterns(Vec<Pattern>);

impl PathPatterns {
    /// Returns `true` if a pattern matches the path.
    pub(crate) fn matches(&self, path: &SandboxPath) -> bool {
        let options = MatchOptions {
            case_sensitive: true,
            require_literal_separator: true,
            require_literal_leading_dot: false,
        };
        self.0.iter().any(|pattern| pattern.matches_with(path.as_str(), options))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn matched(patterns: &[&str], path: &str) -> bool {
        Collect::matching(patterns.iter().copied())
            .path_patterns()
            .matches(&SandboxPath::new(path).unwrap())
    }

    #[test]
    fn patterns_match_whole_paths() {
        assert!(matched(&["*.txt"], "a.txt"));
        assert!(!matched(&["*.txt"], "out/a.txt"));
        assert!(matched(&["**/*.txt"], "a.txt"));
        assert!(matched(&["**/*.txt"], "out/deep/a.txt"));
        assert!(matched(&["out/*"], "out/.hidden"));
        assert!(matched(&["nothing", "a?b"], "a-b"));
        assert!(!matched(&[], "a"));
    }

    #[test]
    fn invalid_pattern_is_a_problem() {
        for pattern in ["", "/etc/*", "../x", "a/../b", "a***", "[a"] {
            let problems = Collect::matching([pattern]).problems("collect");
            assert_eq!(problems.len(), 1, "{pattern:?}");
            assert_eq!(problems[0].field, "collect.patterns[0]");
        }
    }
}
