//! The images that programs run in.

use std::collections::HashMap;
use std::sync::Mutex;
use std::sync::PoisonError;

use bollard::models::ImageInspect;
use crucible_core::{EngineError, Layer, SandboxSpec};
use tokio::sync::Mutex as AsyncMutex;

use crate::daemon::Daemon;
use crate::pull::{PullPolicy, pull};

/// Where programs are looked for without an image's word.
const DEFAULT_PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";
/// What daemons and compilers call the machine that the guest is built for.
const ARCHITECTURE: &str = "amd64";

/// What is known of an image.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Image {
    /// By what name it was asked for.
    pub(crate) name: String,
    /// Where its programs are, if not where programs are as a rule.
    pub(crate) path: Option<String>,
}

/// The images that have been looked at.
#[derive(Debug, Default)]
pub(crate) struct Images {
    known: Mutex<HashMap<String, Image>>,
    /// One pull at a time: others of the same image find it there.
    pulling: AsyncMutex<()>,
}

impl Images {
    /// The image for a sandbox: what the evaluation names, what its language has, or what there is for everything.
    pub(crate) fn name_for(daemon: &Daemon, spec: &SandboxSpec) -> Result<String, EngineError> {
        let settings = &daemon.settings;
        let of_language = || settings.images.get(spec.language.as_deref()?);
        let named = spec.image.as_ref().or_else(of_language).or(settings.image.as_ref());
        named.cloned().ok_or_else(|| EngineError::Unsupported {
            engine: settings.runtime.engine_name().to_owned(),
            what: match &spec.language {
                Some(language) => format!("the language `{language}`: no image is named for it"),
                None => "commands without an image: none is named for them".to_owned(),
            },
        })
    }

    /// Makes sure that an image is there and can be run.
    pub(crate) async fn get(&self, daemon: &Daemon, name: &str) -> Result<Image, EngineError> {
        if let Some(image) = self.known(name) {
            return Ok(image);
        }
        let _turn = self.pulling.lock().await;
        if let Some(image) = self.known(name) {
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
        let image = checked(daemon, name, found)?;
        self.known
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .insert(name.to_owned(), image.clone());
        Ok(image)
    }

    fn known(&self, name: &str) -> Option<Image> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner).get(name).cloned()
    }

    /// It is not there any more.
    pub(crate) fn forget(&self, name: &str) {
        self.known.lock().unwrap_or_else(PoisonError::into_inner).remove(name);
    }
}

fn checked(daemon: &Daemon, name: &str, found: Option<ImageInspect>) -> Result<Image, EngineError> {
    let settings = &daemon.settings;
    let unsupported = |what: String| EngineError::Unsupported {
        engine: settings.runtime.engine_name().to_owned(),
        what,
    };
    let Some(found) = found else {
        return Err(unsupported(format!(
            "image `{name}`, which the daemon does not have; pull it (`docker pull {name}`), or set a pull policy"
        )));
    };
    let (os, architecture) = (found.os.unwrap_or_default(), found.architecture.unwrap_or_default());
    // Imported images may say nothing.
    let fits = (os.is_empty() || os == "linux")
        && (architecture.is_empty() || architecture == ARCHITECTURE);
    if !fits {
        return Err(unsupported(format!(
            "image `{name}`, which is for {os}/{architecture}; the guest is for linux/{ARCHITECTURE}"
        )));
    }
    let config = found.config.unwrap_or_default();
    let volumes = config.volumes.unwrap_or_default();
    if !volumes.is_empty() && !settings.waived.contains(&Layer::BoundedDisk) {
        return Err(unsupported(format!(
            "image `{name}`, which declares volumes ({}): what is written there has no bound; make an image without them, or \
             waive `{}`",
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
