//! What a target asks of the daemon and an old daemon does not do, without saying so.

use super::{Lowering, SolveSpec};
use crate::diag::Diagnostic;
use crate::engine::Capabilities;
use crate::engine::spec::StepLimits;
use crate::plan::PlannedTarget;

/// The daemon of a run, as far as it decides which targets can be built.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::run) struct DaemonTraits {
    /// Its version, if it reports one.
    pub(in crate::run) version: Option<String>,
    /// Whether one solve can have several outputs. Before v0.13, all but the first are dropped silently.
    pub(in crate::run) several_exports: bool,
    /// Whether it knows attestations. Before v0.11, requests for them are ignored.
    pub(in crate::run) attestations: bool,
    /// Whether steps can have limits on memory and processors. Before that, limits are ignored.
    pub(in crate::run) step_limits: bool,
}

impl DaemonTraits {
    /// The traits of a daemon with `capabilities`.
    pub(in crate::run) fn of(capabilities: &Capabilities) -> Self {
        Self {
            version: capabilities.version.clone(),
            several_exports: capabilities.multiple_exporters(),
            attestations: capabilities.attestations(),
            step_limits: capabilities.step_resources(),
        }
    }

    /// The daemon, for messages.
    fn name(&self) -> String {
        match &self.version {
            Some(version) => format!("this builder (BuildKit {version})"),
            None => "this builder (a BuildKit before v0.12)".to_owned(),
        }
    }
}

/// Reports what `spec` asks for and the daemon would silently leave out: an error if the result would be another one.
pub(super) fn check(lowering: &mut Lowering<'_>, spec: &SolveSpec) {
    let daemon = &lowering.setting.daemon;
    let (name, target) = (daemon.name(), lowering.target);
    let (several_exports, attestations) = (daemon.several_exports, daemon.attestations);
    if !several_exports && spec.exports.len() > 1 {
        let span = target.output.iter().nth(1).and_then(|output| output.span);
        let count = spec.exports.len();
        let message = format!("{name} makes one output of a target, and {count} are wanted");
        let problem = lowering.problem("run::old-builder", span, message);
        lowering.problems.push(
            problem.help("use BuildKit v0.13 or newer, or a target of its own for each output"),
        );
    }
    let wanted = target.attest.iter().find(|attest| !attest.value.disabled);
    if let Some(attest) = wanted.filter(|_| !attestations) {
        let message = format!("{name} does not make attestations");
        let problem = lowering.problem("run::old-builder", attest.span, message);
        lowering
            .problems
            .push(problem.help("use BuildKit v0.11 or newer, or disable the attestation"));
    }
}

/// Warns once for a run that `targets` have limits that the daemon ignores.
pub(in crate::run) fn ignored_limits<'a>(
    daemon: &DaemonTraits,
    targets: impl IntoIterator<Item = (&'a PlannedTarget, &'a StepLimits)>,
) -> Option<Diagnostic> {
    if daemon.step_limits {
        return None;
    }
    let limited = targets
        .into_iter()
        .filter(|(_, limits)| **limits != StepLimits::default());
    let names: Vec<String> = limited
        .map(|(target, _)| format!("`{}`", target.name))
        .collect();
    if names.is_empty() {
        return None;
    }
    let message = format!(
        "{} does not limit the memory and the processors of steps, as wanted for {}",
        daemon.name(),
        names.join(", ")
    );
    Some(Diagnostic::warning("run::ignored-limits", message))
}
