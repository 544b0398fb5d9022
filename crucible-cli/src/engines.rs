//! The engines of this build, by name.

use std::sync::Arc;

use crucible::engine::{Engine, EngineError, HostReport};
use crucible::model::Layer;
use crucible::subprocess::SubprocessBuilder;

use crate::args::engine::EngineArgs;
use crate::failure::Failure;

/// The names of the engines in this build.
#[cfg(not(feature = "docker"))]
pub(crate) const ENGINES: [&str; 1] = ["subprocess"];
/// The names of the engines in this build.
#[cfg(feature = "docker")]
pub(crate) const ENGINES: [&str; 3] = ["subprocess", "docker", "gvisor"];

/// The image of containers if `CRUCIBLE_IMAGE` is not set. `ci/docker image` builds it from files
/// of the host.
#[cfg(feature = "docker")]
const DEFAULT_IMAGE: &str = "crucible-local:latest";

/// Creates the engine that the arguments select.
///
/// # Errors
/// Returns a failure if the engine cannot start on this host.
pub(crate) fn create(args: &EngineArgs) -> Result<Arc<dyn Engine>, Failure> {
    try_create(&args.name, &args.waive).map_err(|error| match error {
        EngineError::Invalid(problems) => Failure::usage(problems.to_string()),
        error => Failure::infrastructure(&error)
            .with_fix("see `crucible doctor` for the layers of this host"),
    })
}

/// Creates the engine of this name without the waived layers.
///
/// # Errors
/// Returns the error of the engine.
pub(crate) fn try_create(name: &str, waived: &[Layer]) -> Result<Arc<dyn Engine>, EngineError> {
    #[cfg(feature = "docker")]
    if name != "subprocess" {
        let builder =
            waived.iter().fold(container_builder(name), |builder, layer| builder.waive(*layer));
        return Ok(Arc::new(builder.build_blocking()?));
    }
    #[cfg(not(feature = "docker"))]
    let _only_engine = name;
    let builder =
        waived.iter().fold(SubprocessBuilder::new(), |builder, layer| builder.waive(*layer));
    Ok(Arc::new(builder.build()?))
}

/// Returns a report of the layers that this host offers to the engine of this name.
///
/// # Errors
/// Returns a failure if the report cannot be made.
pub(crate) fn host_report(name: &str) -> Result<HostReport, Failure> {
    #[cfg(feature = "docker")]
    if name != "subprocess" {
        let runtime =
            tokio::runtime::Runtime::new().map_err(|error| Failure::infrastructure(&error))?;
        return Ok(runtime.block_on(crucible::docker::doctor(container_builder(name))));
    }
    #[cfg(not(feature = "docker"))]
    let _only_engine = name;
    Ok(crucible::subprocess::doctor())
}

/// Returns the builder of a container engine, on the daemon that `DOCKER_HOST` names or on the
/// default daemon.
#[cfg(feature = "docker")]
fn container_builder(name: &str) -> crucible::docker::DockerBuilder {
    let image = std::env::var("CRUCIBLE_IMAGE").unwrap_or_else(|_| DEFAULT_IMAGE.to_owned());
    let builder = crucible::docker::DockerEngine::builder().image(image);
    if name == "gvisor" {
        builder.runtime(crucible::docker::Runtime::named("runsc"))
    } else {
        builder
    }
}
