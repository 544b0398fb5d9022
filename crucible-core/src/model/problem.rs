//! Problems with a caller's input.

use std::fmt;

/// A problem with one field of a caller's input.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Problem {
    /// The path of the field: `limits.wall`, `command[0]`, `env.PATH`.
    pub field: String,
    /// The problem and the valid values. It continues a sentence that begins with the field.
    pub message: String,
}

impl Problem {
    /// Creates a problem with `field`.
    #[must_use]
    pub fn new(field: impl Into<String>, message: impl Into<String>) -> Self {
        Self { field: field.into(), message: message.into() }
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "`{}` {}", self.field, self.message)
    }
}

/// All problems of a caller's input.
///
/// INVARIANT: there is at least one problem.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct InvalidInput {
    problems: Vec<Problem>,
}

impl InvalidInput {
    /// Returns `Ok` if `problems` is empty.
    ///
    /// # Errors
    /// Returns an error with all problems if there is one.
    pub fn check(problems: Vec<Problem>) -> Result<(), Self> {
        if problems.is_empty() { Ok(()) } else { Err(Self { problems }) }
    }

    /// Creates an error with a single problem.
    #[must_use]
    pub fn single(field: impl Into<String>, message: impl Into<String>) -> Self {
        Self { problems: vec![Problem::new(field, message)] }
    }

    /// Returns the problems, at least one.
    #[must_use]
    pub fn problems(&self) -> &[Problem] {
        &self.problems
    }
}

impl fmt::Display for InvalidInput {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, problem) in self.problems.iter().enumerate() {
            if index > 0 {
                f.write_str("; ")?;
            }
            problem.fmt(f)?;
        }
        Ok(())
    }
}

impl std::error::Error for InvalidInput {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn error_lists_all_problems() {
        assert_eq!(InvalidInput::check(vec![]), Ok(()));
        let error = InvalidInput::check(vec![
            Problem::new("a", "is missing"),
            Problem::new("b", "is zero"),
        ])
        .unwrap_err();
        assert_eq!(error.to_string(), "`a` is missing; `b` is zero");
        assert_eq!(error.problems().len(), 2);
    }
}
