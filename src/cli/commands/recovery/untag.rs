//! `rbake untag`: takes back what a run did that is not published.

use clap::{CommandFactory as _, Parser};

use super::find::RunChoice;
use super::recover::{RecoveryVerb, recover};
use super::session::{NamedRepositories, RecoveryArgs, parse, run_verb};
use crate::cli::exit::Exit;
use crate::cli::screen::Screen;
use crate::cli::usage;
use crate::publish::journal::{EntryState, Journal, RunStatus};
use crate::publisher::RecoveryWish;
use crate::types::Environment;

/// The runs that `untag` means.
const UNPUBLISHED: RunChoice = RunChoice {
    is_meant: is_unpublished,
    takes_unreadable: true,
    only_builds: true,
    none: "there is no run that is held, failed or interrupted",
    several: "several runs are held, failed or interrupted",
    help: Some("`rbake undo RUN` takes back a run that is complete"),
};

/// Takes back what a run did that is not published.
#[derive(Debug, Parser)]
#[command(
    name = "rbake untag",
    about = "Take back the tags of a run that is held, failed or was interrupted",
    long_about = "Take back the tags of a run that is held, failed or was interrupted: those that it moved point where they did before, and those that it made are removed. The images stay in the registry, and so do tags that somebody else has moved since then. A run that is complete is refused; `rbake undo` takes it back.",
    max_term_width = 100
)]
struct UntagArgs {
    #[command(flatten)]
    shared: RecoveryArgs,
    /// Do it without asking
    #[arg(long, short = 'y')]
    yes: bool,
}

/// The clap command, for help and completion.
pub(in crate::cli) fn untag_command() -> clap::Command {
    UntagArgs::command()
}

/// Runs `rbake untag`.
pub(in crate::cli) fn untag(
    program: &str,
    words: &[String],
    environment: &Environment,
    screen: &mut Screen,
) -> Exit {
    let verb = RecoveryVerb {
        wish: RecoveryWish::Undo,
        choice: UNPUBLISHED,
        takes_complete: false,
    };
    match parse::<UntagArgs>(program, "untag", words) {
        Ok(args) => run_verb(
            &args.shared.change.places,
            NamedRepositories::Flag(&args.shared.change.from),
            environment,
            screen,
            async |places, screen| recover(&verb, &args.shared, args.yes, &places, screen).await,
        ),
        Err(error) => usage(&error, screen),
    }
}

fn is_unpublished(journal: &Journal) -> bool {
    let has_tags = || {
        let mut entries = journal.entries.values();
        entries.any(|entry| matches!(entry.state, EntryState::Planned | EntryState::Done))
    };
    match journal.status {
        RunStatus::Open | RunStatus::Moving | RunStatus::Undoing | RunStatus::Held => true,
        RunStatus::Failed => has_tags(),
        RunStatus::Complete | RunStatus::Undone => false,
    }
}
