//! A whole platform in one call.

use std::future::Future;
use std::path::Path;

use crucible_core::{BuildError, Crucible, EngineError, RecoverError};
use crucible_subprocess::SubprocessEngine;

use crate::{DataDirectory, OpenError};

/// A platform that needs nothing but a directory.
pub trait Embedded: Sized {
    /// A platform with a durable storage and a durable queue in one directory, and the engine of sandboxed subprocesses with
    /// every layer; it goes on with what a process before this one accepted and did not end.
    ///
    /// Whoever wants it otherwise builds the same of its parts: a [`DataDirectory`], [`Crucible::builder`],
    /// [`Crucible::recover`].
    ///
    /// ```no_run
    /// use crucible::{Crucible, Embedded as _, Evaluation};
    ///
    /// # async fn example() -> Result<(), Box<dyn std::error::Error>> {
    /// let crucible = Crucible::embedded("/var/lib/grader").await?;
    /// let outcome = crucible.evaluate(Evaluation::python("print(6 * 7)")).await?;
    /// assert_eq!(outcome.stdout.to_text(), "42\n");
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Cancel safety
    /// Dropping the future leaves the directory as it was, but for what was recovered.
    ///
    /// # Errors
    /// See [`EmbeddedError`]. Another process that has the directory is named.
    fn embedded(
        path: impl AsRef<Path> + Send,
    ) -> impl Future<Output = Result<Self, EmbeddedError>> + Send;
}

/// There is no platform.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum EmbeddedError {
    /// The directory cannot be opened.
    #[error(transparent)]
    Open(#[from] OpenError),
    /// This host cannot isolate programs as it should.
    #[error("there is no sandbox on this host")]
    Engine(#[from] EngineError),
    /// The parts do not fit together.
    #[error("the platform could not be built")]
    Build(#[from] BuildError),
    /// What was not done could not be taken up again.
    #[error("what was accepted before could not be taken up again")]
    Recover(#[from] RecoverError),
}

impl Embedded for Crucible {
    async fn embedded(path: impl AsRef<Path> + Send) -> Result<Self, EmbeddedError> {
        // Before the directory is made: a host that cannot isolate needs none.
        let engine = tokio::task::spawn_blocking(SubprocessEngine::new).await;
        let engine = engine.map_err(|error| EngineError::Unavailable {
            what: "a thread that makes an engine".to_owned(),
            source: Some(error.into()),
        })??;
        let directory = DataDirectory::open(path).await?;
        let crucible = Self::builder()
            .engine("subprocess", engine)
            .storage(directory.storage())
            .queue(directory.queue())
            .build()?;
        crucible.recover().await?;
        Ok(crucible)
    }
}
