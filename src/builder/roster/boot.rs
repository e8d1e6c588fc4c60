//! Starts the nodes of a builder, and waits until they answer.
//!
//! Start at [`boot`].

use futures_util::future::join_all;

use super::BuilderEntry;
use crate::builder::discovery::refused;
use crate::builder::embedded::Launcher;
use crate::builder::error::ChooseError;
use crate::builder::reach::Reacher;
use crate::diag::Diagnostic;
use crate::event::EventSink;
use crate::types::Environment;
use crate::types::requirements::Requirements;

/// Starts all nodes of `entry` that do not run, all at the same time. Slow steps are reported to `events`. Returns
/// warnings.
///
/// # Errors
/// The first node that does not answer or cannot be started.
pub(crate) async fn boot(
    entry: BuilderEntry,
    environment: &Environment,
    launcher: &Launcher,
    events: &EventSink,
) -> Result<Vec<Diagnostic>, ChooseError> {
    if let Some(problem) = entry.problem {
        return Err(problem);
    }
    let requirements = Requirements::none();
    let reacher = Reacher {
        requirements: &requirements,
        environment,
        events,
        launcher: Some(launcher),
    };
    let boots = entry.nodes.into_iter().map(|node| async {
        let candidate = node.candidate?;
        match reacher.reach(&candidate, None).await {
            Ok(reached) => Ok(reached.warnings),
            Err(refusal) => Err(refused(candidate, refusal).await),
        }
    });
    let mut warnings = Vec::new();
    for booted in join_all(boots).await {
        warnings.extend(booted?);
    }
    Ok(warnings)
}
