//! What is to be done for a run, and what was done, as text and as JSON.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::sync::Arc;

use serde_json::json;

use crate::publish::journal::recovery::{Recovery, RecoveryDirection};
use crate::publish::journal::{Journal, PublishedTag, RunStatus};
use crate::publisher::Recovered;
use crate::registry::TagObstacle;
use crate::types::causes::in_one_line;
use crate::types::{Digest, ImageRepository};

/// The repositories from which no tag can be removed, and why.
pub(super) type Obstacles = BTreeMap<ImageRepository, Arc<TagObstacle>>;

/// The first line about a run.
pub(super) fn heading(journal: &Journal) -> String {
    let header = &journal.header;
    let commit = header.revision.as_ref();
    let commit = commit.map_or(String::new(), |commit| format!(" of commit {commit}"));
    format!(
        "run {}{commit}, {}\n",
        header.run,
        match journal.status {
            RunStatus::Open => "interrupted before its images were whole",
            RunStatus::Moving => "interrupted while it moved tags",
            RunStatus::Complete => "complete",
            RunStatus::Held => "held",
            RunStatus::Undoing => "partly taken back",
            RunStatus::Undone => "taken back",
            RunStatus::Failed => "failed before it moved tags",
        }
    )
}

fn place(digest: Option<&Digest>) -> String {
    digest.map_or("removed".to_owned(), ToString::to_string)
}

/// What is to be done, for people.
pub(super) fn as_text(journal: &Journal, recovery: &Recovery) -> String {
    // Writing to a string cannot fail.
    let mut text = heading(journal);
    for change in &recovery.changes {
        let _ = writeln!(text, "  {} → {}", change.tag, place(change.to.as_ref()));
    }
    for tag in &recovery.reached {
        let _ = writeln!(text, "  {tag} is right already");
    }
    for (tag, now) in &recovery.elsewhere {
        text += &elsewhere(tag, now.as_ref());
    }
    for (tag, run) in &recovery.published {
        let _ = writeln!(text, "  {tag} stays: run {run} has published its image");
    }
    text
}

fn elsewhere(tag: &PublishedTag, now: Option<&Digest>) -> String {
    match now {
        Some(now) => format!("  {tag} stays: somebody else has moved it to {now}\n"),
        None => format!("  {tag} stays away: somebody else has removed it\n"),
    }
}

/// What is to be done, for programs.
pub(super) fn as_json(
    journal: &Journal,
    recovery: &Recovery,
    obstacles: &Obstacles,
) -> serde_json::Value {
    let digest = |digest: &Option<Digest>| digest.as_ref().map(ToString::to_string);
    let changes = recovery.changes.iter().map(|change| {
        json!({
            "tag": change.tag.to_string(),
            "now": digest(&change.now),
            "to": digest(&change.to),
        })
    });
    let elsewhere = recovery.elsewhere.iter();
    let elsewhere = elsewhere.map(|(tag, now)| json!({"tag": tag.to_string(), "now": digest(now)}));
    let published = recovery.published.iter();
    let published =
        published.map(|(tag, run)| json!({"tag": tag.to_string(), "run": run.as_str()}));
    let reached = recovery.reached.iter().map(ToString::to_string);
    let obstacles = obstacles.iter().map(|(repository, obstacle)| {
        json!({"repository": repository.to_string(), "reason": in_one_line(&**obstacle)})
    });
    json!({
        "run": journal.header.run.as_str(),
        "direction": match recovery.direction {
            RecoveryDirection::Forward => "forward",
            RecoveryDirection::Back => "back",
        },
        "changes": changes.collect::<Vec<_>>(),
        "reached": reached.collect::<Vec<_>>(),
        "elsewhere": elsewhere.collect::<Vec<_>>(),
        "published": published.collect::<Vec<_>>(),
        "obstacles": obstacles.collect::<Vec<_>>(),
    })
}

/// What was done, for people.
pub(super) fn done_as_text(
    journal: &Journal,
    recovery: &Recovery,
    recovered: &Recovered,
) -> String {
    let mut text = String::new();
    // Those that were planned as such were shown with the plan.
    let later = recovered.elsewhere.iter().skip(recovery.elsewhere.len());
    for (tag, now) in later {
        text += &elsewhere(tag, now.as_ref());
    }
    for (tag, newer) in &recovered.newer {
        let _ = writeln!(
            text,
            "  {tag} is set to the image of the newer commit {newer}"
        );
    }
    let count = recovered.changed.len();
    let tags = if count == 1 { "tag" } else { "tags" };
    let end = match recovery.direction {
        RecoveryDirection::Forward => "finished",
        RecoveryDirection::Back => "taken back",
    };
    let run = &journal.header.run;
    let _ = writeln!(text, "run {run} {end}: {count} {tags} changed");
    text
}
