//! The part of `rbake undo` that takes back a prune.

use std::fmt::Write as _;

use super::failures;
use super::waiting::with_notes;
use crate::cli::commands::recovery::confirm::Confirmation;
use crate::cli::commands::recovery::find::Places;
use crate::cli::exit::Exit;
use crate::cli::screen::Screen;
use crate::diag::{Class, Diagnostic, Diagnostics};
use crate::prune::record::PruneStatus;
use crate::pruner::{
    Deleter, PruneError, PruneRecordFile, PruneUndo, PruneWatch, RestoredItem, record_directory,
};
use crate::publish::journal::RunId;
use crate::registry::DeletionSettings;
use crate::types::blocking::unblock;
use crate::types::causes::in_one_line;

/// Takes back the prune `run`. `None` if there is no record of it on this machine.
pub(in crate::cli::commands) async fn undo_prune(
    run: &RunId,
    confirmation: Confirmation,
    json: bool,
    places: &Places<'_>,
    screen: &mut Screen,
) -> Result<Option<Exit>, Diagnostics> {
    let Some(directory) = record_directory(places.environment) else {
        return Ok(None);
    };
    let named = run.clone();
    let found = unblock(move || PruneRecordFile::reopen(&directory, &named)).await;
    let Some(mut file) = found.map_err(|error| failed(run, &error))? else {
        return Ok(None);
    };
    if file.record().status == PruneStatus::Undone {
        screen.note(&format!("nothing is left to do for the prune {run}"));
        return Ok(Some(Exit::Success));
    }
    let watch = PruneWatch::default();
    let name = file.record().header.repository.clone();
    let settings = DeletionSettings::of(places.environment);
    let settings = settings.map_err(|error| failures::of_settings(&error))?;
    let looking = Deleter::of(places.registries, places.security, &settings, &name);
    let deleter = looking.await.map_err(|error| failed(run, &error))?;
    let planning = PruneUndo::plan(&deleter, file.record(), &watch);
    let undo = with_notes(planning, name.familiar(), &watch, screen).await;
    let undo = undo.map_err(|error| failed(run, &error))?;
    if json {
        screen.data(&format!("{:#}\n", as_json(run, &undo)));
    } else {
        screen.message(&as_text(run, name.familiar(), &undo));
    }
    if undo.possible.is_empty() {
        return Ok(Some(if undo.impossible.is_empty() {
            Exit::Success
        } else {
            screen.diagnostics(&not_all(run, undo.impossible.len()).into())
        }));
    }
    if let Err(exit) = confirmation.ask(&places.interruption, screen)? {
        return Ok(Some(exit));
    }
    let restoring = undo.carry_out(deleter.repository(), &mut file, &watch);
    let restored = with_notes(restoring, name.familiar(), &watch, screen).await;
    let restored = restored.map_err(|error| failed(run, &error))?;
    for (item, why) in &restored.failed {
        screen.message(&format!("  {} is not back: {why}\n", item_name(item)));
    }
    screen.message(&format!(
        "prune {run} of {}: {} of {} put back\n",
        name.familiar(),
        restored.done.len(),
        undo.possible.len() + undo.impossible.len()
    ));
    let missing = restored.failed.len() + undo.impossible.len();
    Ok(Some(if missing == 0 {
        Exit::Success
    } else {
        screen.diagnostics(&not_all(run, missing).into())
    }))
}

fn failed(run: &RunId, error: &PruneError) -> Diagnostic {
    let message = format!("prune {run}: {}", in_one_line(error));
    Diagnostic::error(Class::Publish, "prune::failed", message)
        .help("the same command continues where it stopped")
}

fn not_all(run: &RunId, missing: usize) -> Diagnostic {
    let message = format!("{missing} of what the prune {run} deleted cannot be put back");
    Diagnostic::error(Class::Publish, "prune::gone", message)
        .help("build and push the images again: an unchanged build makes the same image")
        .help("a copy in another registry, or in the cache of a machine that pulled it, can be pushed again by its digest")
}

fn item_name(item: &RestoredItem) -> String {
    match item {
        RestoredItem::Manifest(digest) => digest.to_string(),
        RestoredItem::Tag(tag, digest) => format!("{tag} → {digest}"),
    }
}

fn as_text(run: &RunId, repository: &str, undo: &PruneUndo) -> String {
    // Writing to a string cannot fail.
    let mut text = format!("prune {run} of {repository}\n");
    for item in &undo.possible {
        let _ = writeln!(text, "  + {}", item_name(item));
    }
    if !undo.present.is_empty() {
        let _ = writeln!(text, "  {} still there", undo.present.len());
    }
    for (item, why) in &undo.impossible {
        let _ = writeln!(text, "  {} cannot be put back: {why}", item_name(item));
    }
    text
}

fn as_json(run: &RunId, undo: &PruneUndo) -> serde_json::Value {
    let one = |item: &RestoredItem| match item {
        RestoredItem::Manifest(digest) => serde_json::json!({"digest": digest.as_str()}),
        RestoredItem::Tag(tag, digest) => {
            serde_json::json!({"tag": tag.as_str(), "digest": digest.as_str()})
        }
    };
    let impossible = undo.impossible.iter().map(|(item, why)| {
        let mut item = one(item);
        item["why"] = why.as_str().into();
        item
    });
    serde_json::json!({
        "prune": run.as_str(),
        "possible": undo.possible.iter().map(one).collect::<Vec<_>>(),
        "present": undo.present.iter().map(one).collect::<Vec<_>>(),
        "impossible": impossible.collect::<Vec<_>>(),
    })
}
