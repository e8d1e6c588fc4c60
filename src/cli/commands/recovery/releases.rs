//! `rbake releases`: the runs that are recorded in repositories.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;

use clap::{CommandFactory as _, Parser};
use serde_json::{Value, json};

use super::find::Places;
use super::session::{NamedRepositories, PlaceArgs, cannot_look, parse, run_verb};
use crate::cli::exit::Exit;
use crate::cli::screen::Screen;
use crate::cli::usage;
use crate::diag::Diagnostics;
use crate::publish::class::TagClass;
use crate::publish::journal::{
    EntryState, Journal, JournalEntry, PublishedTag, RunOrigin, RunStatus,
};
use crate::publisher::tags_now;
use crate::types::{Digest, Environment, ImageRepository};

/// The digits of a commit that are shown.
const COMMIT_DIGITS: usize = 12;

/// Where mutable tags point. A tag that was not looked up is not in it.
type TagsNow = BTreeMap<PublishedTag, Option<Digest>>;

/// Lists the recorded runs.
#[derive(Debug, Parser)]
#[command(
    name = "rbake releases",
    about = "List what was published, when, and from which commit",
    long_about = "List the runs that are recorded in repositories, the newest first, with the tags that they set. A mutable tag that still points to the image of a run is marked. At most 64 runs of each repository are listed.",
    max_term_width = 100
)]
struct ReleasesArgs {
    /// The repositories. Default: those of the definition
    #[arg(value_name = "REPOSITORY")]
    repositories: Vec<String>,
    /// Print the list as JSON
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    places: PlaceArgs,
}

/// The clap command, for help and completion.
pub(in crate::cli) fn releases_command() -> clap::Command {
    ReleasesArgs::command()
}

/// Runs `rbake releases`.
pub(in crate::cli) fn releases(
    program: &str,
    words: &[String],
    environment: &Environment,
    screen: &mut Screen,
) -> Exit {
    match parse::<ReleasesArgs>(program, "releases", words) {
        Ok(args) => run_verb(
            &args.places,
            NamedRepositories::Arguments(&args.repositories),
            environment,
            screen,
            async |places, screen| list(args.json, &places, screen).await,
        ),
        Err(error) => usage(&error, screen),
    }
}

async fn list(json: bool, places: &Places<'_>, screen: &mut Screen) -> Result<Exit, Diagnostics> {
    let repositories = places.repositories()?;
    let runs = places.recorded().await?;
    let tags = mutable_tags(&runs, &repositories);
    let now = tags_now(places.registries, places.security, tags).await;
    let now = now.map_err(|error| cannot_look(&error))?;
    if json {
        let runs: Vec<Value> = runs.iter().map(|run| as_json(run, &now)).collect();
        return Ok(screen.data(&format!("{:#}\n", Value::from(runs))));
    }
    if runs.is_empty() {
        let names: Vec<&str> = repositories.iter().map(ImageRepository::familiar).collect();
        screen.note(&match names.as_slice() {
            [] => "no run is recorded: the definition names no repository".to_owned(),
            names => format!("no run is recorded in {}", names.join(", ")),
        });
        return Ok(Exit::Success);
    }
    let mut text = String::new();
    for run in &runs {
        text += &as_text(run, &now);
    }
    Ok(screen.data(&text))
}

/// The mutable tags of `runs` in `repositories`. A record may name others, which somebody else may have written into it.
fn mutable_tags(runs: &[Journal], repositories: &[ImageRepository]) -> BTreeSet<PublishedTag> {
    let entries = runs.iter().flat_map(|run| &run.entries);
    let mutable = entries.filter(|(_, entry)| entry.class == TagClass::Mutable);
    let tags = mutable.map(|(tag, _)| tag.clone());
    tags.filter(|tag| repositories.contains(tag.repository()))
        .collect()
}

/// Whether the tag still points to the image of the run. `None` if it was not looked up.
fn is_current(tag: &PublishedTag, entry: &JournalEntry, now: &TagsNow) -> Option<bool> {
    let now = now.get(tag)?;
    Some(entry.class == TagClass::Mutable && now.as_ref() == Some(&entry.to))
}

fn status(run: &Journal) -> &'static str {
    match run.status {
        RunStatus::Open | RunStatus::Moving => "open",
        RunStatus::Complete => "complete",
        RunStatus::Held => "held",
        RunStatus::Undoing => "being taken back",
        RunStatus::Undone => "taken back",
        RunStatus::Failed => "failed",
    }
}

/// What became of a tag, if it was not set to the image of the run.
fn state(run: RunStatus, entry: &JournalEntry) -> Option<&'static str> {
    match entry.state {
        EntryState::Done => None,
        EntryState::Planned => Some("not moved yet"),
        // It was moved, but another one could not be.
        EntryState::Undone if run == RunStatus::Held => Some("not moved yet"),
        EntryState::Undone => Some("taken back"),
        EntryState::Kept => Some("stayed where it was"),
    }
}

/// The tags of a run by name. The record has the order in which images became whole, which differs from run to run.
fn sorted(run: &Journal) -> BTreeMap<&PublishedTag, &JournalEntry> {
    run.entries.iter().collect()
}

fn as_text(run: &Journal, now: &TagsNow) -> String {
    let header = &run.header;
    let commit = header.revision.as_ref().map_or_else(
        || "-".repeat(COMMIT_DIGITS),
        |commit| commit.id.as_str().chars().take(COMMIT_DIGITS).collect(),
    );
    let dirty = header.revision.as_ref().is_some_and(|commit| commit.dirty);
    let origin = match &header.origin {
        RunOrigin::Build => String::new(),
        RunOrigin::Promotion(run) => format!("  promotes {run}"),
        RunOrigin::Rollback(run) => format!("  rolls back to {run}"),
        RunOrigin::Copy(copies) => {
            let from: Vec<&str> = copies.values().map(ImageRepository::familiar).collect();
            format!("  copied from {}", from.join(", "))
        }
    };
    let mut text = format!(
        "{}  {}  {commit}{}  {}{origin}\n",
        header.run,
        header.started,
        if dirty { "-dirty" } else { "" },
        status(run),
    );
    let entries = sorted(run);
    let names: Vec<String> = entries.keys().map(|tag| tag.familiar()).collect();
    let width = names.iter().map(String::len).max().unwrap_or_default();
    for ((tag, entry), name) in entries.into_iter().zip(&names) {
        let image = format!("{}:{}", entry.to.algorithm(), entry.to.short());
        let end = match (is_current(tag, entry, now), state(run.status, entry)) {
            (Some(true), _) => "  ← now",
            (_, Some(state)) => &format!("  {state}"),
            (_, None) => "",
        };
        // Writing to a string cannot fail.
        let _ = writeln!(text, "  {name:width$}  {image}{end}");
    }
    text
}

/// The repositories from which a run copied its images. `None` if it did not.
fn copies(origin: &RunOrigin) -> Option<Value> {
    let RunOrigin::Copy(copies) = origin else {
        return None;
    };
    let copies = copies.iter();
    let copies = copies.map(|(to, from)| json!({"from": from.to_string(), "to": to.to_string()}));
    Some(copies.collect())
}

fn as_json(run: &Journal, now: &TagsNow) -> Value {
    let header = &run.header;
    let (promotes, rolls_back_to) = match &header.origin {
        RunOrigin::Build | RunOrigin::Copy(_) => (None, None),
        RunOrigin::Promotion(run) => (Some(run.as_str()), None),
        RunOrigin::Rollback(run) => (None, Some(run.as_str())),
    };
    let tags = sorted(run).into_iter().map(|(tag, entry)| {
        json!({
            "tag": tag.to_string(),
            "class": entry.class.as_str(),
            "was": entry.was.as_ref().map(Digest::as_str),
            "to": entry.to.as_str(),
            "state": match entry.state {
                EntryState::Planned => "planned",
                EntryState::Done => "done",
                EntryState::Undone => "undone",
                EntryState::Kept => "kept",
            },
            "current": is_current(tag, entry, now),
        })
    });
    json!({
        "run": header.run.as_str(),
        "started": header.started.to_string(),
        "commit": header.revision.as_ref().map(ToString::to_string),
        "status": status(run),
        "promotes": promotes,
        "rolls-back-to": rolls_back_to,
        "copies": copies(&header.origin),
        "tags": tags.collect::<Vec<_>>(),
    })
}
