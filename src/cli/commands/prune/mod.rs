//! `rbake prune images` and `rbake prune cache`: delete from registries what nobody needs any more.
//!
//! [`args`] has the flags, whose doc comments are the help texts; [`work`] plans, shows and carries out. [`undo`] is a
//! part of `rbake undo`.

mod args;
mod digests;
mod failures;
mod json;
mod signals;
mod text;
mod undo;
mod waiting;
mod work;

use clap::{CommandFactory as _, FromArgMatches as _};

use args::{PruneArgs, PruneWhat};
use work::PruneJob;

use super::recovery::session::{NamedRepositories, run_verb};
use crate::cli::exit::Exit;
use crate::cli::screen::Screen;
use crate::cli::usage;
use crate::definition::model::{CacheKind, Target};
use crate::registry::DeletionSettings;
use crate::types::Environment;

pub(super) use undo::undo_prune;

/// The clap command, for help and completion.
pub(in crate::cli) fn command() -> clap::Command {
    PruneArgs::command()
}

/// Runs `rbake prune`.
pub(in crate::cli) fn run(
    program: &str,
    words: &[String],
    environment: &Environment,
    screen: &mut Screen,
) -> Exit {
    let name = format!("{program} prune");
    let words = std::iter::once(name.as_str()).chain(words.iter().map(String::as_str));
    let matches = command().bin_name(name.clone()).try_get_matches_from(words);
    let args = match matches.and_then(|matches| PruneArgs::from_arg_matches(&matches)) {
        Ok(args) => args,
        Err(error) => return usage(&error, screen),
    };
    let (shared, policy, references): (_, _, fn(&Target) -> Vec<String>) = match args.what {
        PruneWhat::Images(images) => (images.shared.clone(), images.policy(), tags_of),
        PruneWhat::Cache(cache) => (cache.shared.clone(), cache.policy(), caches_of),
    };
    run_verb(
        &shared.places,
        NamedRepositories::Arguments(&shared.repositories),
        environment,
        screen,
        async |places, screen| {
            let repositories = places.repositories_or(references)?;
            let settings =
                DeletionSettings::of(environment).map_err(|error| failures::of_settings(&error))?;
            let job = PruneJob {
                args: &shared,
                policy,
                repositories,
                places: &places,
                settings: &settings,
            };
            job.run(screen).await
        },
    )
}

/// The images that a target is pushed to.
fn tags_of(target: &Target) -> Vec<String> {
    let tags = target.tags.iter();
    tags.map(|tag| tag.value.to_string()).collect()
}

/// The caches that a target exports to registries.
fn caches_of(target: &Target) -> Vec<String> {
    let caches = target.cache_to.iter().map(|cache| &cache.value);
    let caches = caches.filter(|cache| cache.kind == CacheKind::Registry);
    let references = caches.filter_map(|cache| cache.attr("ref"));
    references.map(ToString::to_string).collect()
}
