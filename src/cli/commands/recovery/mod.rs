//! The verbs that work on recorded runs. `rbake resume` and `rbake undo` are here: they finish a run that was interrupted
//! while it published, or take a run back.
//!
//! [`session`] has what the verbs share. The doc comments of flags are their help texts.

pub(in crate::cli::commands) mod confirm;
mod copied;
mod copying;
mod digest;
pub(in crate::cli::commands) mod find;
mod interruption;
mod moves;
mod promote;
mod recover;
mod releases;
mod rollback;
pub(in crate::cli::commands) mod session;
mod text;
mod untag;

use clap::{CommandFactory as _, Parser};

use find::RunChoice;
use recover::{RecoveryVerb, recover};
use session::{NamedRepositories, RecoveryArgs, parse, run_verb};

use crate::cli::exit::Exit;
use crate::cli::screen::Screen;
use crate::cli::usage;
use crate::publisher::RecoveryWish;
use crate::types::Environment;

pub(in crate::cli) use digest::{digest, digest_command};
pub(in crate::cli) use promote::{promote, promote_command};
pub(in crate::cli) use releases::{releases, releases_command};
pub(in crate::cli) use rollback::{rollback, rollback_command};
pub(in crate::cli) use untag::{untag, untag_command};

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
    long_about = "Take back the tags of a run: those that it moved point where they did before, and those that it made are removed. A tag that somebody else has moved since then stays. RUN may also be the name of a prune on this machine: then what the registry still has is put back.",
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
    let verb = RecoveryVerb {
        wish: RecoveryWish::Resume,
        choice: INTERRUPTED,
        takes_complete: true,
    };
    match parse::<ResumeArgs>(program, "resume", words) {
        Ok(args) => run_verb(
            &args.shared.change.places,
            NamedRepositories::Flag(&args.shared.change.from),
            environment,
            screen,
            async |places, screen| recover(&verb, &args.shared, true, &places, screen).await,
        ),
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
    let verb = RecoveryVerb {
        wish: RecoveryWish::Undo,
        choice: RunChoice {
            help: Some("name the run to undo a finished one"),
            ..INTERRUPTED
        },
        takes_complete: true,
    };
    match parse::<UndoArgs>(program, "undo", words) {
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
