//! Gates: tests that decide whether the mutable tags of a run move.
//!
//! A gate target is built beside the others, and tests in its `RUN` steps. A command runs after all targets, and gets
//! the images by their digests. Either of them fails the run, so that no mutable tag moves. Files of gate targets, such as
//! reports, are saved whether the target succeeds or fails.

mod command;
mod saved;

use std::collections::BTreeSet;
use std::sync::Arc;

use super::Prepared;
use super::served;
use super::sources;
use crate::diag::{Class, Diagnostic, Diagnostics};
use crate::types::TargetName;

pub(super) use command::{GateCommand, GateImage};
pub(crate) use saved::SavedFiles;

/// The gates of a run.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct GateWishes {
    /// Targets that test in their `RUN` steps.
    pub(crate) targets: BTreeSet<TargetName>,
    /// Targets whose images only the command needs. They are pushed by digest, without their tags.
    pub(crate) images: BTreeSet<TargetName>,
    /// The command that runs after all targets.
    pub(crate) command: Option<String>,
    /// Whether a failure takes the immutable tags back, too.
    pub(crate) untags: bool,
    /// The files that are saved of the targets. `None` if there are none.
    pub(crate) saved: Option<Arc<SavedFiles>>,
}

impl GateWishes {
    /// Whether there is a gate.
    pub(crate) fn is_any(&self) -> bool {
        !self.targets.is_empty() || self.command.is_some()
    }
}

/// Finds gate targets that would prove nothing, because their own stage runs no command. A Dockerfile that is not on
/// this machine is not checked.
pub(crate) fn check(gates: &GateWishes, prepared: &Prepared) -> Diagnostics {
    let mut problems = Diagnostics::default();
    for ready in &prepared.targets {
        let target = &ready.planned;
        if !gates.targets.contains(&target.name) {
            continue;
        }
        let Ok(Some((_, text))) = served::dockerfile(&ready.places) else {
            continue;
        };
        let stage = target.attributes.stage.as_ref();
        let stage = stage.map(|stage| stage.value.as_ref());
        let text = String::from_utf8_lossy(&text);
        if sources::has_run(&text, stage) == Some(false) {
            let message = format!(
                "the gate `{}` proves nothing: its stage has no `RUN` step, so building it runs no test",
                target.name
            );
            let problem = Diagnostic::error(Class::Definition, "publish::empty-gate", message)
                .help("run the tests in a `RUN` step of this stage")
                .help(format!(
                    "or run the image: `--gate-image {} --gate-run COMMAND`",
                    target.name
                ));
            problems.push(problem.at(target.span(), ""));
        }
    }
    problems
}
