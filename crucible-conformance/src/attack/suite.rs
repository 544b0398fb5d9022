//! The suite: every attack and its control.

use std::fmt;
use std::fs;
use std::io::Write as _;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use crucible_core::{Engine, EngineError, Layer};
use futures::StreamExt as _;

use super::definition::{Attack, ControlMethod};
use super::finding::{AttackFinding, AttackStatus, ControlResult};
use super::fixture::{FixtureError, setup};
use super::matrix::LayerMatrix;
use super::observation::{Assessment, Observation};
use super::report::AttackReport;
use super::sandboxed::run_on_engine;
use super::unsandboxed::run_unsandboxed;
use super::{binary, catalogue};

/// The number of attacks that run at the same time. Most of them sleep; some use a CPU each.
const CONCURRENT_ATTACKS: usize = 3;

/// Creates the engine under attack without some of its layers.
type MakeEngine = dyn Fn(&[Layer]) -> Result<Arc<dyn Engine>, EngineError> + Send + Sync;

/// Every attack, against one kind of engine.
pub struct AttackSuite {
    make_engine: Arc<MakeEngine>,
    attacks: Vec<Attack>,
    /// The directory of the program that the controls run.
    _directory: tempfile::TempDir,
    program: PathBuf,
}

impl fmt::Debug for AttackSuite {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("AttackSuite").field("attacks", &self.attacks.len()).finish_non_exhaustive()
    }
}

impl AttackSuite {
    /// Creates the suite for the engines that `make_engine` returns.
    ///
    /// The function receives the layers that the engine must not have. The list can be empty. If an
    /// engine cannot run without a layer, the function returns the engine's own error.
    ///
    /// # Errors
    /// Returns an error if the attack programs cannot be written to a temporary directory.
    pub fn new<F>(make_engine: F) -> Result<Self, FixtureError>
    where
        F: Fn(&[Layer]) -> Result<Arc<dyn Engine>, EngineError> + Send + Sync + 'static,
    {
        let binary = binary::BINARY.ok_or(FixtureError::NoPrograms)?;
        let directory = tempfile::tempdir().map_err(setup("create a directory"))?;
        let program = directory.path().join(binary::NAME);
        write_program(&program, binary).map_err(setup("write the attack programs"))?;
        fs::set_permissions(directory.path(), fs::Permissions::from_mode(0o755))
            .map_err(setup("change the mode of a directory"))?;
        Ok(Self {
            make_engine: Arc::new(make_engine),
            attacks: catalogue(),
            _directory: directory,
            program,
        })
    }

    /// Keeps the attacks that `wanted` selects by name, family, or number in the catalogue.
    #[must_use]
    pub fn only(mut self, wanted: &[String]) -> Self {
        let names = |attack: &Attack| [attack.name, attack.family, attack.catalogue];
        self.attacks.retain(|attack| {
            names(attack).iter().any(|name| wanted.iter().any(|wanted| wanted == name))
        });
        self
    }

    /// Returns the attacks.
    #[must_use]
    pub fn attacks(&self) -> &[Attack] {
        &self.attacks
    }

    /// Runs every attack and its control, and passes each finding to `each`.
    ///
    /// # Errors
    /// Returns an error if the engine cannot be created.
    ///
    /// # Cancel safety
    /// If the future is dropped, only controls can remain. They end by themselves within seconds.
    pub async fn run(
        &self,
        mut each: impl FnMut(&AttackFinding),
    ) -> Result<AttackReport, EngineError> {
        let engine = self.engine_without(&[]).await?;
        let runs = self.attacks.iter().map(|attack| self.assess(&engine, attack));
        let mut runs = futures::stream::iter(runs).buffered(CONCURRENT_ATTACKS);
        let mut findings = Vec::new();
        while let Some(finding) = runs.next().await {
            each(&finding);
            findings.push(finding);
        }
        Ok(AttackReport { findings })
    }

    /// Runs every attack once for each layer that can be waived, without that layer. Passes the
    /// name of each layer to `each`.
    ///
    /// # Errors
    /// Returns an error if the engine cannot be created.
    ///
    /// # Cancel safety
    /// If the future is dropped, nothing remains.
    pub async fn matrix(&self, mut each: impl FnMut(&str)) -> Result<LayerMatrix, EngineError> {
        let complete = self.engine_without(&[]).await?;
        let mut matrix = LayerMatrix::new(&self.attacks);
        for layer in Layer::ALL {
            if !complete.info().enforcement.enforces(*layer) {
                continue;
            }
            let Ok(engine) = self.engine_without(&[*layer]).await else {
                matrix.add_essential(*layer);
                continue;
            };
            each(layer.name());
            let runs = self.attacks.iter().map(|attack| async {
                run_on_engine(&engine, attack, &self.program).await.assess_harm(attack)
            });
            let column = futures::stream::iter(runs).buffered(CONCURRENT_ATTACKS);
            matrix.add(*layer, column.collect::<Vec<_>>().await);
        }
        Ok(matrix)
    }

    /// Creates an engine without these layers, in a thread that may block.
    async fn engine_without(&self, layers: &[Layer]) -> Result<Arc<dyn Engine>, EngineError> {
        let (make_engine, layers) = (Arc::clone(&self.make_engine), layers.to_vec());
        let made = tokio::task::spawn_blocking(move || make_engine(&layers)).await;
        made.map_err(|error| EngineError::Unavailable {
            what: "a thread that creates an engine".to_owned(),
            source: Some(error.into()),
        })?
    }

    /// Runs an attack and its control.
    async fn assess(&self, engine: &Arc<dyn Engine>, attack: &Attack) -> AttackFinding {
        if let Some((deviation, reason)) = attack.not_applicable
            && engine.info().differs(deviation)
        {
            return AttackFinding {
                name: attack.name,
                family: attack.family,
                catalogue: attack.catalogue,
                status: AttackStatus::DoesNotApply,
                detail: reason.to_owned(),
                verdict: None,
                control: ControlResult::NotShown { reason: "it was not run".to_owned() },
            };
        }
        let seen = run_on_engine(engine, attack, &self.program).await;
        let (status, detail) = status_of(&seen, engine, attack);
        let control = self.control(attack).await;
        let status = match (&status, &control) {
            (AttackStatus::Blocked, ControlResult::Failed { .. }) => AttackStatus::ControlFailed,
            _ => status,
        };
        let verdict = seen.outcome.as_ref().map(|outcome| outcome.verdict().to_string());
        AttackFinding {
            name: attack.name,
            family: attack.family,
            catalogue: attack.catalogue,
            status,
            detail,
            verdict,
            control,
        }
    }

    /// Runs the same program where nothing stops it: by an engine without the layers, or without an
    /// engine.
    async fn control(&self, attack: &Attack) -> ControlResult {
        if let Some(result) = self.control_by_waiver(attack).await {
            return result;
        }
        let (kinds, excuse) = match &attack.control {
            ControlMethod::Unsandboxed(kinds) | ControlMethod::UnsandboxedWithTimeout(kinds, _) => {
                (*kinds, None)
            }
            ControlMethod::UnsandboxedIfSupported(kinds, reason) => (*kinds, Some(*reason)),
            ControlMethod::NaiveCollector | ControlMethod::NaiveJudge => ("", None),
            ControlMethod::NotShown(reason) => {
                return ControlResult::NotShown { reason: (*reason).to_owned() };
            }
        };
        let seen = run_unsandboxed(attack, &self.program, &scratch_kinds(kinds)).await;
        let seen = match seen.assess_harm(attack) {
            Assessment::Harm(harm) => {
                return ControlResult::Harm { without: "without an engine".to_owned(), harm };
            }
            // A program that did not run to its end shows nothing, whatever the kernel supports.
            Assessment::Inconclusive(why) => return ControlResult::Failed { seen: why },
            Assessment::NoProof(why) => why,
            Assessment::NoHarm => "no harm without an engine".to_owned(),
        };
        match excuse {
            Some(reason) => ControlResult::NotShown { reason: reason.to_owned() },
            None if !rustix::process::geteuid().is_root() => {
                ControlResult::NotShown { reason: "only root can do this harm".to_owned() }
            }
            None => ControlResult::Failed { seen },
        }
    }

    /// Runs the attack by an engine without the layers that stop it. Returns `None` if there is no
    /// such engine or it shows no harm.
    async fn control_by_waiver(&self, attack: &Attack) -> Option<ControlResult> {
        if attack.layers.is_empty() {
            return None;
        }
        let engine = self.engine_without(attack.layers).await.ok()?;
        match run_on_engine(&engine, attack, &self.program).await.assess_harm(attack) {
            Assessment::Harm(harm) => {
                let names: Vec<_> = attack.layers.iter().map(|layer| layer.name()).collect();
                Some(ControlResult::Harm { without: format!("without {}", names.join(", ")), harm })
            }
            // Another layer stops the attack as well. A plain process has none.
            Assessment::NoHarm | Assessment::NoProof(_) | Assessment::Inconclusive(_) => None,
        }
    }
}

/// Returns the status of an attack and its detail, before its control.
fn status_of(
    seen: &Observation,
    engine: &Arc<dyn Engine>,
    attack: &Attack,
) -> (AttackStatus, String) {
    let enforcement = engine.info().enforcement;
    let covered =
        attack.layers.is_empty() || attack.layers.iter().any(|layer| enforcement.enforces(*layer));
    match seen.assess(attack) {
        Assessment::NoHarm => (AttackStatus::Blocked, String::new()),
        Assessment::Harm(what) if !covered => (AttackStatus::NotCovered, what),
        Assessment::Harm(what) => (AttackStatus::Escaped, what),
        Assessment::Inconclusive(why) | Assessment::NoProof(why) if !covered => {
            (AttackStatus::NotCovered, why)
        }
        Assessment::Inconclusive(why) | Assessment::NoProof(why) => {
            (AttackStatus::Inconclusive, why)
        }
    }
}

/// Returns the kinds of scratch namespaces. An ordinary user creates them in its own user
/// namespace.
fn scratch_kinds(kinds: &str) -> String {
    let scratch = kinds.contains(['m', 'u', 'i', 'n', 'p']);
    let user = if scratch && !rustix::process::geteuid().is_root() { "U" } else { "" };
    format!("{kinds}{user}")
}

/// Writes, closes, and only then makes the program executable: a file that is open for writing
/// cannot be executed.
fn write_program(path: &Path, binary: &[u8]) -> std::io::Result<()> {
    let mut file = fs::File::create(path)?;
    file.write_all(binary)?;
    drop(file);
    fs::set_permissions(path, fs::Permissions::from_mode(0o755))
}
