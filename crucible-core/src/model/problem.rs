//! What is wrong with something that a caller gave.

use std::fmt;

/// One thing that is wrong with a caller's input: which field, and what about it.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Problem {
    /// The offending field, as the caller knows it: `limits.wall`, `command[0]`, `env.PATH`.
    pub field: String,
    /// What is wrong with it, and what would be right.
    pub message: String,
}

impl Problem {
    /// A problem with `field`.
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

/// Everything that is wrong with a caller's input, found in one go.
///
/// INVARIANT: there is at least one problem.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct InvalidInput {
    problems: Vec<Problem>,
}

impl InvalidInput {
    /// `Ok` if `problems` is empty, else the error that lists them.
    ///
    /// # Errors
    /// When there is any problem.
    pub fn check(problems: Vec<Problem>) -> Result<(), Self> {
        if problems.is_empty() { Ok(()) } else { Err(Self { problems }) }
    }

    /// An error with a single problem.
    #[must_use]
    pub fn single(field: impl Into<String>, message: impl Into<String>) -> Self {
        Self { problems: vec![Problem::new(field, message)] }
    }

    /// The problems, at least one.
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
    fn every_problem_is_listed() {
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
