//! The verbs that work on recorded runs. `rbake resume` and `rbake undo` are here: they finish a run that was interrupted
//! while it published, or take a run back.
//!
//! [`session`] has what the verbs share. The doc comments of flags are their help texts.

mod confirm;
mod find;
mod moves;
mod promote;
mod session;
mod text;

use clap::{CommandFactory as _, Parser};

use confirm::Confirmation;
use find::{Places, RunChoice};
use session::{RecoveryArgs, failed, internal, parse, run_verb};

use crate::cli::exit::Exit;
use crate::cli::screen::Screen;
use crate::cli::usage;
use crate::diag::Diagnostics;
use crate::publish::journal::{Journal, RunStatus};
use crate::publisher::{PublishForce, Publisher, RecoveryWish};
use crate::run;
use crate::types::Environment;

pub(in crate::cli) use promote::{promote, promote_command};

/// The runs that `resume` and `undo` mean.
const INTERRUPTED: RunChoice = RunChoice {
    is_meant: |journal| journal.status.is_open(),
    takes_unreadable: true,
    only_builds: false,
    none: "no run was interrupted",
    several: "several runs were interrupted",
    help: None,
};

/// Finishes a run that was interrupted while it moved tags.
#[derive(Debug, Parser)]
#[command(
    name = "rbake resume",
    about = "Finish a run that was interrupted while it published",
    long_about = "Finish a run that was interrupted while it published. If all its images are in the registry, the tags that it has not moved yet are moved. Otherwise, its tags are taken back.",
    max_term_width = 100
)]
struct ResumeArgs {
    #[command(flatten)]
    shared: RecoveryArgs,
}

/// Takes back the tags of a run.
#[derive(Debug, Parser)]
#[command(
    name = "rbake undo",
    about = "Take back the tags of a run",
    long_about = "Take back the tags of a run: those that it moved point where they did before, and those that it made are removed. A tag that somebody else has moved since then stays.",
    max_term_width = 100
)]
struct UndoArgs {
    #[command(flatten)]
    shared: RecoveryArgs,
    /// Do it without asking
    #[arg(long, short = 'y')]
    yes: bool,
}

/// The clap commands, for help and completion.
pub(in crate::cli) fn resume_command() -> clap::Command {
    ResumeArgs::command()
}

/// See [`resume_command`].
pub(in crate::cli) fn undo_command() -> clap::Command {
    UndoArgs::command()
}

/// Runs `rbake resume`.
pub(in crate::cli) fn resume(
    program: &str,
    words: &[String],
    environment: &Environment,
    screen: &mut Screen,
) -> Exit {
    match parse::<ResumeArgs>(program, "resume", words) {
        Ok(args) => run_verb(&args.shared, environment, screen, async |places, screen| {
            recover(RecoveryWish::Resume, &INTERRUPTED, true, &places, screen).await
        }),
        Err(error) => usage(&error, screen),
    }
}

/// Runs `rbake undo`.
pub(in crate::cli) fn undo(
    program: &str,
    words: &[String],
    environment: &Environment,
    screen: &mut Screen,
) -> Exit {
    match parse::<UndoArgs>(program, "undo", words) {
        Ok(args) => run_verb(&args.shared, environment, screen, async |places, screen| {
            let choice = RunChoice {
                help: Some("name the run to undo a finished one"),
                ..INTERRUPTED
            };
            recover(RecoveryWish::Undo, &choice, args.yes, &places, screen).await
        }),
        Err(error) => usage(&error, screen),
    }
}

/// Ends the run that the user means, or takes it back.
async fn recover(
    wish: RecoveryWish,
    choice: &RunChoice,
    agreed: bool,
    places: &Places<'_>,
    screen: &mut Screen,
) -> Result<Exit, Diagnostics> {
    let record = places.find(choice).await?;
    let Some(journal) = record.journal() else {
        return Err(internal("the record of the run is empty").into());
    };
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
    let planned = publisher.plan_recovery(wish, places.security).await;
    let planned = planned.map_err(|error| failed(&journal.header.run, &error))?;
    let Some(recovery) = planned else {
        screen.note(&nothing_left(&journal));
        return Ok(Exit::Success);
    };
    if places.args.json {
        screen.data(&format!("{:#}\n", text::as_json(&journal, &recovery)));
    } else {
        screen.message(&text::as_text(&journal, &recovery));
    }
    let confirmation = Confirmation {
        dry_run: places.args.dry_run,
        agreed: agreed || recovery.changes.is_empty(),
    };
    if let Err(exit) = confirmation.ask(screen)? {
        return Ok(exit);
    }
    let recovered = publisher.recover(&recovery, places.security).await;
    let recovered = recovered.map_err(|error| failed(&journal.header.run, &error))?;
    screen.message(&text::done_as_text(&journal, &recovery, &recovered));
    Ok(Exit::Success)
}

fn nothing_left(journal: &Journal) -> String {
    let run = &journal.header.run;
    match journal.status {
        RunStatus::Held => format!("run {run} is held; `rbake promote {run}` moves its tags"),
        _ => format!("nothing is left to do for run {run}"),
    }
}
