//! A platform in one call.

use std::future::Future;
use std::path::Path;

use crucible_core::engine::EngineError;
use crucible_core::platform::{BuildError, Crucible, RecoverError};
use crucible_subprocess::SubprocessEngine;

use crate::data_directory::{DataDirectory, OpenDirectoryError};

/// An extension of [`Crucible`] that creates a complete platform from a directory.
pub trait Embedded: Sized {
    /// Creates a platform with a durable storage and a durable queue in one directory, and the
    /// subprocess engine with all layers. The platform continues the unfinished evaluations of
    /// earlier processes.
    ///
    /// For other options, compose a [`DataDirectory`],
    /// [`Crucible::builder`] and [`Crucible::recover`].
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
    /// If the future is dropped, the directory is unchanged, except for evaluations that were
    /// already recovered.
    ///
    /// # Errors
    /// Returns [`EmbeddedError`] if another process has the directory open, if the engine is
    /// unavailable, or if recovery fails.
    fn embedded(
        path: impl AsRef<Path> + Send,
    ) -> impl Future<Output = Result<Self, EmbeddedError>> + Send;
}

/// An error while an embedded platform is created.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum EmbeddedError {
    /// The directory cannot be opened.
    #[error(transparent)]
    Open(#[from] OpenDirectoryError),
    /// This host cannot provide all layers of isolation.
    #[error("cannot create the sandbox engine")]
    Engine(#[from] EngineError),
    /// The platform cannot be built.
    #[error("cannot build the platform")]
    Build(#[from] BuildError),
    /// Unfinished evaluations cannot be recovered.
    #[error("cannot recover unfinished evaluations")]
    Recover(#[from] RecoverError),
}

impl Embedded for Crucible {
    async fn embedded(path: impl AsRef<Path> + Send) -> Result<Self, EmbeddedError> {
        // Create the engine before the directory: without an engine the directory is not needed.
        let engine = tokio::task::spawn_blocking(SubprocessEngine::new).await;
        let engine = engine.map_err(|error| EngineError::Unavailable {
            what: "the thread that creates the engine".to_owned(),
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
