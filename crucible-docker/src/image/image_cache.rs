//! The images that the engine has verified.

use std::collections::HashMap;
use std::sync::Mutex;
use std::sync::PoisonError;

use bollard::models::ImageInspect;
use crucible_core::{EngineError, Layer, SandboxSpec};
use tokio::sync::Mutex as AsyncMutex;

use crate::config::PullPolicy;
use crate::connection::Daemon;

use super::pull::pull;

/// The search path of an image that does not set `PATH`.
const DEFAULT_PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";
/// The guest's architecture, in the daemon's terms.
const ARCHITECTURE: &str = "amd64";

/// An image that can run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Image {
    /// The name under which it was requested.
    pub(crate) name: String,
    /// The image's own `PATH`, if it differs from the usual one.
    pub(crate) path: Option<String>,
}

/// The images that the engine has verified.
#[derive(Debug, Default)]
pub(crate) struct ImageCache {
    verified: Mutex<HashMap<String, Image>>,
    /// Serializes pulls, so that a second request for the same image finds it pulled.
    pulling: AsyncMutex<()>,
}

impl ImageCache {
    /// Returns the name of the image for a sandbox: the evaluation's, its language's, or the
    /// default.
    pub(crate) fn name_for(daemon: &Daemon, spec: &SandboxSpec) -> Result<String, EngineError> {
        let settings = &daemon.settings;
        let for_language = || settings.images.get(spec.language.as_deref()?);
        let name = spec.image.as_ref().or_else(for_language).or(settings.image.as_ref());
        name.cloned().ok_or_else(|| EngineError::Unsupported {
            engine: settings.runtime.engine_name().to_owned(),
            what: match &spec.language {
                Some(language) => format!("the language `{language}`: it has no image"),
                None => "commands without an image: there is no default image".to_owned(),
            },
        })
    }

    /// Returns a verified image, and pulls it if the policy demands that.
    pub(crate) async fn get(&self, daemon: &Daemon, name: &str) -> Result<Image, EngineError> {
        if let Some(image) = self.verified(name) {
            return Ok(image);
        }
        let _turn = self.pulling.lock().await;
        if let Some(image) = self.verified(name) {
            return Ok(image);
        }
        let policy = daemon.settings.pull;
        let mut found = match policy {
            PullPolicy::Always => None,
            PullPolicy::Never | PullPolicy::Missing => daemon.image(name).await?,
        };
        if found.is_none() && policy != PullPolicy::Never {
            pull(daemon, name).await?;
            found = daemon.image(name).await?;
        }
        let image = verify(daemon, name, found)?;
        self.verified
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .insert(name.to_owned(), image.clone());
        Ok(image)
    }

    fn verified(&self, name: &str) -> Option<Image> {
        self.verified.lock().unwrap_or_else(PoisonError::into_inner).get(name).cloned()
    }

    /// Removes an image that the daemon no longer has.
    pub(crate) fn evict(&self, name: &str) {
        self.verified.lock().unwrap_or_else(PoisonError::into_inner).remove(name);
    }
}

/// Checks that an image can run.
fn verify(daemon: &Daemon, name: &str, found: Option<ImageInspect>) -> Result<Image, EngineError> {
    let settings = &daemon.settings;
    let unsupported = |what: String| EngineError::Unsupported {
        engine: settings.runtime.engine_name().to_owned(),
        what,
    };
    let Some(found) = found else {
        return Err(unsupported(format!(
            "image `{name}`, which the daemon does not have\n\
             fix: pull it (`docker pull {name}`), or set a pull policy"
        )));
    };
    let (os, architecture) = (found.os.unwrap_or_default(), found.architecture.unwrap_or_default());
    // Imported images may not declare them.
    let fits = (os.is_empty() || os == "linux")
        && (architecture.is_empty() || architecture == ARCHITECTURE);
    if !fits {
        return Err(unsupported(format!(
            "image `{name}`, which is for {os}/{architecture}; \
             the guest is for linux/{ARCHITECTURE}"
        )));
    }
    let config = found.config.unwrap_or_default();
    let volumes = config.volumes.unwrap_or_default();
    if !volumes.is_empty() && !settings.waived.contains(&Layer::BoundedDisk) {
        return Err(unsupported(format!(
            "image `{name}`, which declares volumes ({}) of unlimited size\n\
             fix: build an image without them, or waive `{}`",
            volumes.join(", "),
            Layer::BoundedDisk
        )));
    }
    let variables = config.env.unwrap_or_default();
    let path = variables.iter().find_map(|variable| variable.strip_prefix("PATH="));
    let path = path
        .filter(|path| path.split(':').any(|at| !DEFAULT_PATH.split(':').any(|usual| usual == at)));
    Ok(Image { name: name.to_owned(), path: path.map(str::to_owned) })
}
