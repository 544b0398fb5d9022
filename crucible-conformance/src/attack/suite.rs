//! The suite: every attack, and its control.

use std::fmt;
use std::fs;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use crucible_core::{Engine, EngineError, Layer};
use futures::StreamExt as _;

use super::bare::attack_nobody;
use super::engine_run::attack_engine;
use super::entry::{Attack, Control};
use super::finding::{ControlResult, Finding, Status};
use super::matrix::Matrix;
use super::observation::Reading;
use super::report::Report;
use super::scene::{SceneError, setup};
use super::{catalogue, programs};

/// How many attacks run at once. Most of them sleep; some want a CPU each.
const AT_ONCE: usize = 3;

/// Makes engines of the kind under attack, without some of their layers.
type Make = dyn Fn(&[Layer]) -> Result<Arc<dyn Engine>, EngineError> + Send + Sync;

/// Every attack, against one kind of engine.
pub struct Suite {
    make: Arc<Make>,
    attacks: Vec<Attack>,
    /// Where the program is on the host, for the controls.
    _directory: tempfile::TempDir,
    program: PathBuf,
}

impl fmt::Debug for Suite {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Suite").field("attacks", &self.attacks.len()).finish_non_exhaustive()
    }
}

impl Suite {
    /// The suite against the engines that `make` makes: without the layers that it is given, of which there may be none.
    /// Where there is no such engine without a layer, it is refused as an engine refuses it.
    ///
    /// # Errors
    /// The programs cannot be put where the controls find them.
    pub fn new(
        make: impl Fn(&[Layer]) -> Result<Arc<dyn Engine>, EngineError> + Send + Sync + 'static,
    ) -> Result<Self, SceneError> {
        let binary = programs::BINARY.ok_or(SceneError::NoPrograms)?;
        let directory = tempfile::tempdir().map_err(setup("make a directory"))?;
        let program = directory.path().join(programs::NAME);
        write_program(&program, binary).map_err(setup("write the programs"))?;
        let open_to_all = std::os::unix::fs::PermissionsExt::from_mode(0o755);
        fs::set_permissions(directory.path(), open_to_all).map_err(setup("open a directory"))?;
        Ok(Self { make: Arc::new(make), attacks: catalogue(), _directory: directory, program })
    }

    /// Keeps the attacks that `wanted` names: by their name, their family, or their number in the catalogue.
    #[must_use]
    pub fn only(mut self, wanted: &[String]) -> Self {
        let names = |attack: &Attack| [attack.name, attack.family, attack.catalogue];
        self.attacks.retain(|attack| {
            names(attack).iter().any(|name| wanted.iter().any(|wanted| wanted == name))
        });
        self
    }

    /// The attacks.
    #[must_use]
    pub fn attacks(&self) -> &[Attack] {
        &self.attacks
    }

    /// Runs every attack and its control; hands each finding over as it is made.
    ///
    /// # Errors
    /// There is no engine.
    ///
    /// # Cancel safety
    /// Dropping the future leaves nothing behind but controls, which end by themselves within seconds.
    pub async fn run(&self, mut each: impl FnMut(&Finding)) -> Result<Report, EngineError> {
        let engine = self.engine(&[]).await?;
        let runs = self.attacks.iter().map(|attack| self.find_out(&engine, attack));
        let mut runs = futures::stream::iter(runs).buffered(AT_ONCE);
        let mut findings = Vec::new();
        while let Some(finding) = runs.next().await {
            each(&finding);
            findings.push(finding);
        }
        Ok(Report { findings })
    }

    /// Runs every attack without each layer that can be waived.
    ///
    /// # Errors
    /// There is no engine.
    ///
    /// # Cancel safety
    /// Dropping the future leaves nothing behind.
    pub async fn matrix(&self, mut each: impl FnMut(&str)) -> Result<Matrix, EngineError> {
        let whole = self.engine(&[]).await?;
        let mut matrix = Matrix::new(&self.attacks);
        for layer in Layer::ALL {
            if !whole.info().enforcement.enforces(*layer) {
                continue;
            }
            let Ok(engine) = self.engine(&[*layer]).await else {
                matrix.cannot_be_waived(*layer);
                continue;
            };
            each(layer.name());
            let runs = self.attacks.iter().map(|attack| async {
                attack_engine(&engine, attack, &self.program).await.harm(attack)
            });
            let readings = futures::stream::iter(runs).buffered(AT_ONCE).collect::<Vec<_>>().await;
            matrix.add(*layer, readings);
        }
        Ok(matrix)
    }

    /// An engine without these layers, made in a thread that may block.
    async fn engine(&self, without: &[Layer]) -> Result<Arc<dyn Engine>, EngineError> {
        let (make, without) = (Arc::clone(&self.make), without.to_vec());
        let made = tokio::task::spawn_blocking(move || make(&without)).await;
        made.map_err(|error| EngineError::Unavailable {
            what: "a thread that makes an engine".to_owned(),
            source: Some(error.into()),
        })?
    }

    async fn find_out(&self, engine: &Arc<dyn Engine>, attack: &Attack) -> Finding {
        let info = engine.info();
        if let Some((difference, why)) = attack.harmless
            && info.differs(difference)
        {
            return Finding {
                name: attack.name,
                family: attack.family,
                catalogue: attack.catalogue,
                status: Status::DoesNotApply,
                detail: why.to_owned(),
                verdict: None,
                control: ControlResult::NotShown { reason: "it was not run".to_owned() },
            };
        }
        let enforcement = info.enforcement;
        let seen = attack_engine(engine, attack, &self.program).await;
        let covered = attack.layers.is_empty()
            || attack.layers.iter().any(|layer| enforcement.enforces(*layer));
        let (status, detail) = match seen.blocked(attack) {
            Reading::Held => (Status::Blocked, String::new()),
            Reading::Harm(what) if !covered => (Status::NotCovered, what),
            Reading::Harm(what) => (Status::Escaped, what),
            Reading::Unclear(why) | Reading::NoProof(why) if !covered => (Status::NotCovered, why),
            Reading::Unclear(why) | Reading::NoProof(why) => (Status::Inconclusive, why),
        };
        let control = self.control(attack).await;
        let status = match (&status, &control) {
            (Status::Blocked, ControlResult::Failed { .. }) => Status::ControlFailed,
            _ => status,
        };
        let verdict = seen.outcome.as_ref().map(|outcome| outcome.verdict().to_string());
        Finding {
            name: attack.name,
            family: attack.family,
            catalogue: attack.catalogue,
            status,
            detail,
            verdict,
            control,
        }
    }

    /// The same program where nothing stops it: by an engine without the layers or, where there is none, by no engine.
    async fn control(&self, attack: &Attack) -> ControlResult {
        if let Some(result) = self.control_by_waiver(attack).await {
            return result;
        }
        let (kinds, excuse) = match &attack.control {
            Control::Bare(kinds) | Control::Timeout(kinds, _) => (*kinds, None),
            Control::BareIfThere(kinds, reason) => (*kinds, Some(*reason)),
            Control::Collector | Control::Judge => ("", None),
            Control::NotShown(reason) => {
                return ControlResult::NotShown { reason: (*reason).to_owned() };
            }
        };
        let seen = attack_nobody(attack, &self.program, &self.kinds(kinds)).await;
        let seen = match seen.harm(attack) {
            Reading::Harm(harm) => {
                return ControlResult::Harm { without: "without an engine".to_owned(), harm };
            }
            // A program that did not run to its end shows nothing, and no excuse covers it.
            Reading::Unclear(why) => return ControlResult::Failed { seen: why },
            Reading::NoProof(why) => why,
            Reading::Held => "no harm without an engine".to_owned(),
        };
        match excuse {
            Some(reason) => ControlResult::NotShown { reason: reason.to_owned() },
            None if !rustix::process::geteuid().is_root() => {
                ControlResult::NotShown { reason: "it takes root to do this harm".to_owned() }
            }
            None => ControlResult::Failed { seen },
        }
    }

    /// An ordinary user makes scratch namespaces in a user namespace of his own.
    fn kinds(&self, kinds: &str) -> String {
        let scratch = kinds.contains(['m', 'u', 'i', 'n', 'p']);
        let user = if scratch && !rustix::process::geteuid().is_root() { "U" } else { "" };
        format!("{kinds}{user}")
    }

    async fn control_by_waiver(&self, attack: &Attack) -> Option<ControlResult> {
        if attack.layers.is_empty() {
            return None;
        }
        let engine = self.engine(attack.layers).await.ok()?;
        match attack_engine(&engine, attack, &self.program).await.harm(attack) {
            Reading::Harm(harm) => {
                let names: Vec<_> = attack.layers.iter().map(|layer| layer.name()).collect();
                Some(ControlResult::Harm { without: format!("without {}", names.join(", ")), harm })
            }
            // Another layer stands in: a plain process has none.
            Reading::Held | Reading::NoProof(_) | Reading::Unclear(_) => None,
        }
    }
}

/// Written, closed, and only then executable: a program that is open for writing cannot be started.
fn write_program(path: &Path, binary: &[u8]) -> std::io::Result<()> {
    let mut file = fs::File::create(path)?;
    file.write_all(binary)?;
    drop(file);
    fs::set_permissions(path, std::os::unix::fs::PermissionsExt::from_mode(0o755))
}
