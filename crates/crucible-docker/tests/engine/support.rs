//! What the tests share.

use crucible_core::EngineError;
use crucible_docker::{DockerBuilder, DockerEngine, Runtime};

/// Made by `tests/docker image`.
pub(crate) const IMAGE: &str = "crucible-local:latest";

pub(crate) fn builder() -> DockerBuilder {
    DockerEngine::builder().image(IMAGE)
}

/// gVisor, under the name that `tests/docker start` gives it.
pub(crate) fn gvisor() -> DockerBuilder {
    builder().runtime(Runtime::named("runsc"))
}

/// An engine, or why there is none on this machine. What is no matter of the machine fails.
pub(crate) async fn made(builder: DockerBuilder) -> Result<DockerEngine, String> {
    match builder.build().await {
        Ok(engine) => Ok(engine),
        Err(error @ (EngineError::Unavailable { .. } | EngineError::Unsupported { .. })) => {
            let reason =
                format!("{}: `tests/docker start && tests/docker image`", crucible_core::chain(&error));
            assert!(!is_required(), "there has to be a daemon: {reason}");
            Err(reason)
        }
        Err(error) => panic!("{}", crucible_core::chain(&error)),
    }
}

fn is_required() -> bool {
    ["CI", "CRUCIBLE_REQUIRE_DOCKER"]
        .iter()
        .any(|name| std::env::var_os(name).is_some_and(|value| !value.is_empty()))
}
