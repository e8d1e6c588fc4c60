//! `rbake rollback`: moves mutable tags back to the images of an earlier run.

use clap::{CommandFactory as _, Parser};

use super::confirm::Confirmation;
use super::find::{Places, RunChoice};
use super::moves::{self, RunMoves};
use super::session::{ChangeArgs, NamedRepositories, failed, internal, parse, run_verb};
use crate::cli::exit::Exit;
use crate::cli::screen::Screen;
use crate::cli::usage;
use crate::diag::{Class, Diagnostic, Diagnostics};
use crate::publish::journal::{EntryState, Journal, RunOrigin, RunStatus};
use crate::types::Environment;

/// The run that `rollback` means if a commit is named. There is no default.
const BUILT: RunChoice = RunChoice {
    is_meant: |_| false,
    takes_unreadable: false,
    only_builds: true,
    none: "name the run to roll back to",
    several: "several runs were found",
    help: Some("`rbake releases` lists the runs"),
};

/// Moves mutable tags back to the images of an earlier run.
#[derive(Debug, Parser)]
#[command(
    name = "rbake rollback",
    about = "Move mutable tags back to the images of an earlier run",
    long_about = "Move the mutable tags of an earlier run that is complete back to its images, together, although newer ones were published since then. Immutable tags stay. The next build moves the tags forward again.",
    max_term_width = 100
)]
struct RollbackArgs {
    /// The run, such as `20261128T223000Z-0a1b2c3d`, or at least 7 digits of its commit, which mean the newest run of this
    /// commit
    #[arg(value_name = "RUN|COMMIT")]
    run: String,
    #[command(flatten)]
    change: ChangeArgs,
    /// Do it without asking
    #[arg(long, short = 'y')]
    yes: bool,
}

/// The clap command, for help and completion.
pub(in crate::cli) fn rollback_command() -> clap::Command {
    RollbackArgs::command()
}

/// Runs `rbake rollback`.
pub(in crate::cli) fn rollback(
    program: &str,
    words: &[String],
    environment: &Environment,
    screen: &mut Screen,
) -> Exit {
    match parse::<RollbackArgs>(program, "rollback", words) {
        Ok(args) => run_verb(
            &args.change.places,
            NamedRepositories::Flag(&args.change.from),
            environment,
            screen,
            async |places, screen| roll_back(&args, &places, screen).await,
        ),
        Err(error) => usage(&error, screen),
    }
}

async fn roll_back(
    args: &RollbackArgs,
    places: &Places<'_>,
    screen: &mut Screen,
) -> Result<Exit, Diagnostics> {
    let record = places.find(Some(&args.run), &BUILT).await?;
    let Some(journal) = record.journal() else {
        return Err(internal("the record of the run is empty").into());
    };
    if journal.status != RunStatus::Complete {
        return Err(not_complete(&journal).into());
    }
    let moves = RunMoves {
        places,
        journal: &journal,
        states: &[EntryState::Done],
        origin: RunOrigin::Rollback(journal.header.run.clone()),
        backwards: true,
    };
    let (publisher, images) = moves.publisher().await?;
    let fails = |error| failed(&journal.header.run, &error);
    let planned = publisher.plan_moves(&images).await.map_err(fails)?;
    moves::show(&journal, &planned, args.change.json, screen);
    let confirmation = Confirmation {
        dry_run: args.change.dry_run,
        agreed: args.yes || !planned.iter().any(moves::is_change),
    };
    if let Err(exit) = confirmation.ask(&places.interruption, screen)? {
        return Ok(exit);
    }
    places.check_unchanged(&record, &journal).await?;
    let moved = publisher.republish(&images, places.security).await;
    let moved = moved.map_err(fails)?;
    moves::show_done("is back", &journal, &publisher, &moved, screen);
    Ok(Exit::Success)
}

fn not_complete(journal: &Journal) -> Diagnostic {
    let run = &journal.header.run;
    let (why, help) = match journal.status {
        RunStatus::Held => (
            "is held",
            Some(format!("`rbake promote {run}` moves its tags")),
        ),
        RunStatus::Open | RunStatus::Moving | RunStatus::Undoing => (
            "was interrupted",
            Some(format!("`rbake resume {run}` ends it")),
        ),
        RunStatus::Failed => ("failed", None),
        RunStatus::Undone => ("was taken back", None),
        RunStatus::Complete => ("is complete", None),
    };
    let message = format!("run {run} is not one to roll back to, because it {why}");
    let problem = Diagnostic::error(Class::Usage, "publish::not-complete", message);
    help.into_iter().fold(problem, Diagnostic::help)
}
