//! `rbake promote`: moves the mutable tags of a held run.

use clap::{CommandFactory as _, Parser};

use super::confirm::Confirmation;
use super::copied::{CopyWish, copy};
use super::find::{Places, RunChoice};
use super::moves::{self, RunMoves};
use super::session::{ChangeArgs, NamedRepositories, failed, internal, parse, run_verb};
use crate::cli::exit::Exit;
use crate::cli::screen::Screen;
use crate::cli::usage;
use crate::diag::{Class, Diagnostic, Diagnostics};
use crate::publish::journal::{EntryState, Journal, RunOrigin, RunStatus};
use crate::types::Environment;

/// The run that `promote` means.
pub(super) const HELD: RunChoice = RunChoice {
    is_meant: |journal| journal.status == RunStatus::Held,
    takes_unreadable: false,
    only_builds: true,
    none: "no run is held",
    several: "several runs are held",
    help: Some("`rbake --push --hold` makes a run that can be promoted"),
};

/// Moves the mutable tags of a held run.
#[derive(Debug, Parser)]
#[command(
    name = "rbake promote",
    about = "Move the mutable tags of a held run, or copy images to another registry",
    long_about = "Move the mutable tags of a run that was built with `--hold`. A tag that a newer commit holds stays. With `--to`, copy the images of a run, or one image, to another repository or registry, with their attestations and signatures, and set their tags there.",
    max_term_width = 100
)]
struct PromoteArgs {
    /// The run, such as `20261128T223000Z-0a1b2c3d`, or at least 7 digits of its commit, which mean the newest run of this
    /// commit. With `--to` also an image, such as `registry.example.com/web:latest`. Default: the only run that is held
    #[arg(value_name = "RUN|COMMIT|IMAGE")]
    run: Option<String>,
    /// Copy the images to this repository, and set the tag there, or else the tags that they have. If it ends with `/`, each image
    /// goes to a repository below it that has its name
    #[arg(long, value_name = "REPOSITORY[:TAG]")]
    to: Option<String>,
    #[command(flatten)]
    change: ChangeArgs,
    /// Move mutable tags to the commit of the run, even if a newer commit holds them
    #[arg(long)]
    force_backwards: bool,
    /// Do it without asking
    #[arg(long, short = 'y')]
    yes: bool,
}

/// The clap command, for help and completion.
pub(in crate::cli) fn promote_command() -> clap::Command {
    PromoteArgs::command()
}

/// Runs `rbake promote`.
pub(in crate::cli) fn promote(
    program: &str,
    words: &[String],
    environment: &Environment,
    screen: &mut Screen,
) -> Exit {
    match parse::<PromoteArgs>(program, "promote", words) {
        Ok(args) => run_verb(
            &args.change.places,
            NamedRepositories::Flag(&args.change.from),
            environment,
            screen,
            async |places, screen| match &args.to {
                Some(to) => {
                    let wish = CopyWish {
                        what: args.run.as_deref(),
                        to,
                        backwards: args.force_backwards,
                        json: args.change.json,
                        confirmation: Confirmation {
                            dry_run: args.change.dry_run,
                            agreed: args.yes,
                        },
                    };
                    copy(&wish, &places, screen).await
                }
                None => promote_run(&args, &places, screen).await,
            },
        ),
        Err(error) => usage(&error, screen),
    }
}

async fn promote_run(
    args: &PromoteArgs,
    places: &Places<'_>,
    screen: &mut Screen,
) -> Result<Exit, Diagnostics> {
    let held = places.find(args.run.as_deref(), &HELD).await?;
    let Some(journal) = held.journal() else {
        return Err(internal("the record of the run is empty").into());
    };
    match journal.status {
        RunStatus::Held => {}
        RunStatus::Complete => {
            let run = &journal.header.run;
            screen.note(&format!("run {run} is complete already"));
            return Ok(Exit::Success);
        }
        _ => return Err(not_held(&journal).into()),
    }
    let moves = RunMoves {
        places,
        journal: &journal,
        states: &[EntryState::Planned, EntryState::Done, EntryState::Undone],
        origin: RunOrigin::Promotion(journal.header.run.clone()),
        backwards: args.force_backwards,
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
    places.check_unchanged(&held, &journal).await?;
    let moved = publisher.republish(&images, places.security).await;
    let moved = moved.map_err(fails)?;
    let recorded = publisher.has_promoted(&held, &moved, places.security).await;
    recorded.map_err(fails)?;
    moves::show_done("promoted", &journal, &publisher, &moved, screen);
    Ok(Exit::Success)
}

fn not_held(journal: &Journal) -> Diagnostic {
    let run = &journal.header.run;
    let (why, help) = match journal.status {
        RunStatus::Open | RunStatus::Moving | RunStatus::Undoing => (
            "was interrupted",
            format!("`rbake resume {run}` finishes it, or takes it back if an image is missing"),
        ),
        RunStatus::Failed => (
            "failed before its images were whole or accepted",
            format!("build again; `rbake untag {run}` takes back the tags that it has set"),
        ),
        RunStatus::Undone => ("was taken back", "build again".to_owned()),
        RunStatus::Held | RunStatus::Complete => ("is not held", "build again".to_owned()),
    };
    let message = format!("run {run} cannot be promoted, because it {why}");
    Diagnostic::error(Class::Usage, "publish::not-held", message).help(help)
}
