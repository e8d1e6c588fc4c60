//! Ends a run that was interrupted, or takes a run back.

use super::confirm::Confirmation;
use super::copying::CopyMeter;
use super::find::{Places, RunChoice, changed};
use super::session::{RecoveryArgs, failed, internal};
use super::text::{self, Obstacles};
use crate::cli::commands::prune::undo_prune;
use crate::cli::exit::Exit;
use crate::cli::screen::Screen;
use crate::diag::{Class, Diagnostic, Diagnostics};
use crate::publish::journal::{Journal, RunOrigin, RunStatus};
use crate::publisher::{PublishForce, Publisher, Record, RecoveryWish};
use crate::registry::TagObstacle;
use crate::run;
use crate::types::causes::in_one_line;

/// A verb that ends a run, or takes it back.
#[derive(Debug, Clone, Copy)]
pub(super) struct RecoveryVerb {
    pub(super) wish: RecoveryWish,
    /// The run that it means.
    pub(super) choice: RunChoice,
    /// Whether it may mean a run that is complete.
    pub(super) takes_complete: bool,
}

/// Does what `verb` says to the run that the user means.
pub(super) async fn recover(
    verb: &RecoveryVerb,
    args: &RecoveryArgs,
    agreed: bool,
    places: &Places<'_>,
    screen: &mut Screen,
) -> Result<Exit, Diagnostics> {
    // A prune has a name like a run.
    if let (RecoveryWish::Undo, true, Some(Ok(run))) = (
        verb.wish,
        verb.takes_complete,
        args.run.as_ref().map(|run| run.parse()),
    ) {
        let confirmation = Confirmation {
            dry_run: args.change.dry_run,
            agreed,
        };
        let undone = undo_prune(&run, confirmation, args.change.json, places, screen).await?;
        if let Some(exit) = undone {
            return Ok(exit);
        }
    }
    let record = places.find(args.run.as_deref(), &verb.choice).await?;
    let Some(journal) = record.journal() else {
        return Err(internal("the record of the run is empty").into());
    };
    let is_undone = journal.status == RunStatus::Undone && verb.wish == RecoveryWish::Undo;
    if is_undone {
        screen.note(&nothing_left(&journal));
        return Ok(Exit::Success);
    }
    let revision = journal.header.revision.clone();
    let history = run::history(places.environment).await;
    let registries = places.registries.clone();
    let publisher = Publisher::new(
        registries,
        record,
        revision,
        history,
        PublishForce::default(),
    );
    if verb.wish == RecoveryWish::Resume {
        update_records(&publisher, &journal, args.change.dry_run, places, screen).await?;
    }
    if journal.status == RunStatus::Complete && !verb.takes_complete {
        return Err(complete(&journal).into());
    }
    if verb.wish == RecoveryWish::Resume && is_copy(publisher.record(), &journal) {
        let run = &journal.header.run;
        screen.note(&format!("the images of run {run} are copied first"));
        if args.change.dry_run {
            return Ok(Exit::Success);
        }
        let meter = CopyMeter::default();
        let progress = |progress| meter.note(&progress);
        let work = publisher.finish_copy(places.security, &progress);
        let copied = meter.watch(work, screen).await;
        copied.map_err(|error| failed(&journal.header.run, &error))?;
    }
    let journal = publisher.record().journal().unwrap_or(journal);
    let planned = publisher.plan_recovery(verb.wish, places.security).await;
    let planned = planned.map_err(|error| failed(&journal.header.run, &error))?;
    let Some(recovery) = planned else {
        screen.note(&nothing_left(&journal));
        return Ok(Exit::Success);
    };
    let obstacles = publisher.removal_obstacles(&recovery, places.security);
    let obstacles = obstacles.await;
    if args.change.json {
        let json = text::as_json(&journal, &recovery, &obstacles);
        screen.data(&format!("{json:#}\n"));
    } else {
        screen.message(&text::as_text(&journal, &recovery));
    }
    warn(&obstacles, screen)?;
    let confirmation = Confirmation {
        dry_run: args.change.dry_run,
        agreed: agreed || recovery.changes.is_empty(),
    };
    if let Err(exit) = confirmation.ask(&places.interruption, screen)? {
        return Ok(exit);
    }
    places.check_unchanged(publisher.record(), &journal).await?;
    if !confirmation.agreed {
        // A later run may have published an image of this one, whose tags then stay.
        let again = publisher.plan_recovery(verb.wish, places.security).await;
        let again = again.map_err(|error| failed(&journal.header.run, &error))?;
        if again.as_ref() != Some(&recovery) {
            return Err(changed(&journal.header.run, None).into());
        }
    }
    let recovered = publisher.recover(&recovery, places.security).await;
    let recovered = recovered.map_err(|error| failed(&journal.header.run, &error))?;
    screen.message(&text::done_as_text(&journal, &recovery, &recovered));
    Ok(Exit::Success)
}

/// Brings the records of a run that has ended up to date where registries did not get its last step.
async fn update_records(
    publisher: &Publisher,
    journal: &Journal,
    dry_run: bool,
    places: &Places<'_>,
    screen: &mut Screen,
) -> Result<(), Diagnostics> {
    let run = &journal.header.run;
    let outdated = publisher.outdated_records(places.security).await;
    let outdated = outdated.map_err(|error| failed(run, &error))?;
    if outdated.is_empty() {
        return Ok(());
    }
    if !dry_run {
        let updated = publisher.update_records(&outdated).await;
        updated.map_err(|error| failed(run, &error))?;
    }
    for repository in &outdated {
        let name = repository.name().familiar();
        let done = if dry_run { "is to be" } else { "was" };
        screen.note(&format!(
            "the record of run {run} in `{name}` {done} brought up to date: the run has ended"
        ));
    }
    Ok(())
}

/// Warns of repositories from which no tag can be removed: the other tags of the run can be taken back nevertheless.
///
/// # Errors
/// A variable makes no sense. That is mended more quickly than a run that was taken back only in part.
fn warn(obstacles: &Obstacles, screen: &mut Screen) -> Result<(), Diagnostic> {
    for (repository, obstacle) in obstacles {
        let message = format!(
            "no tag can be removed from `{}`: {}",
            repository.familiar(),
            in_one_line(&**obstacle)
        );
        let code = "publish::no-removal";
        let problem = match &**obstacle {
            TagObstacle::Setting(_) => {
                Diagnostic::error(Class::Usage, code, message).note("nothing was changed")
            }
            _ => Diagnostic::warning(code, message),
        };
        let problem = match obstacle.help() {
            Some(help) => problem.help(help),
            None => problem,
        };
        if matches!(**obstacle, TagObstacle::Setting(_)) {
            return Err(problem);
        }
        screen.diagnostic(&problem);
    }
    Ok(())
}

/// Whether the run copies images and has not copied all of them. The record in a registry does not make rbake copy: anybody who may
/// push there could have an image copied that only the user may read. Such a run is taken back.
fn is_copy(record: &Record, journal: &Journal) -> bool {
    journal.status == RunStatus::Open
        && matches!(journal.header.origin, RunOrigin::Copy(_))
        && record.is_on_this_machine()
}

fn nothing_left(journal: &Journal) -> String {
    let run = &journal.header.run;
    match journal.status {
        RunStatus::Held => format!("run {run} is held; `rbake promote {run}` moves its tags"),
        _ => format!("nothing is left to do for run {run}"),
    }
}

fn complete(journal: &Journal) -> Diagnostic {
    let run = &journal.header.run;
    let message = format!("run {run} is complete: its tags are in use");
    Diagnostic::error(Class::Usage, "publish::complete", message)
        .help(format!("`rbake undo {run}` takes it back nevertheless"))
}
