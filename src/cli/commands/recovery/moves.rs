//! Moves of mutable tags to the images of an earlier run: what is planned and what was done, as text and as JSON.

use std::fmt::Write as _;

use serde_json::{Value, json};

use super::find::Places;
use super::session::failed;
use super::text::heading;
use crate::cli::screen::Screen;
use crate::diag::{Diagnostic, Diagnostics};
use crate::publish::journal::file::JournalFile;
use crate::publish::journal::{EntryState, Journal, RunOrigin, RunStatus};
use crate::publish::revision::MoveNote;
use crate::publisher::{
    JournalTemplate, MovedTags, PlannedTag, PublishForce, Publisher, Record, TagEnd, WholeImage,
};
use crate::run;
use crate::types::causes::in_one_line;

/// A run that moves mutable tags to the images of another one.
pub(super) struct RunMoves<'a> {
    pub(super) places: &'a Places<'a>,
    /// The journal of the other run.
    pub(super) journal: &'a Journal,
    /// The states of the entries in it whose tags are moved.
    pub(super) states: &'a [EntryState],
    pub(super) origin: RunOrigin,
    pub(super) backwards: bool,
}

impl RunMoves<'_> {
    /// What publishes the images, and the images. An earlier attempt on this machine that was interrupted is continued.
    pub(super) async fn publisher(&self) -> Result<(Publisher, Vec<WholeImage>), Diagnostics> {
        let places = self.places;
        let header = &self.journal.header;
        let record = match self.interrupted().await {
            Some(record) => record,
            None => Record::new(JournalTemplate {
                directory: crate::publish::journal::file::directory(places.environment),
                revision: header.revision.clone(),
                origin: self.origin.clone(),
                backwards: self.backwards,
                clock: places.clock.clone(),
            }),
        };
        let history = run::history(places.environment).await;
        let force = PublishForce {
            backwards: self.backwards,
            replace: false,
        };
        let registries = places.registries.clone();
        let publisher = Publisher::new(registries, record, header.revision.clone(), history, force);
        let images = publisher.images_of(self.journal, self.states, places.security);
        let images = images.await.map_err(|error| failed(&header.run, &error))?;
        Ok((publisher, images))
    }

    async fn interrupted(&self) -> Option<Record> {
        let directory = self.places.directory()?;
        let found = self.places.on_this_machine().await;
        let mut journals = found.into_iter().filter_map(|found| found.journal.ok());
        let attempt = journals.find(|journal| {
            let header = &journal.header;
            // A record may name tags that the held run does not have; continuing it would move those.
            let mut tags = journal.entries.keys();
            header.origin == self.origin
                && header.backwards == self.backwards
                && journal.status == RunStatus::Moving
                && tags.all(|tag| self.journal.entries.contains_key(tag))
        })?;
        let reopened = JournalFile::reopen(&directory, &attempt.header.run);
        reopened.ok().map(Record::of_file)
    }
}

/// Whether the tag changes.
pub(super) fn is_change(planned: &PlannedTag) -> bool {
    matches!(planned.end, TagEnd::Set { .. })
}

/// Shows what is planned.
pub(super) fn show(journal: &Journal, planned: &[PlannedTag], json: bool, screen: &mut Screen) {
    if json {
        screen.data(&format!("{:#}\n", as_json(journal, planned)));
    } else {
        screen.message(&as_text(journal, planned));
    }
}

fn as_text(journal: &Journal, planned: &[PlannedTag]) -> String {
    heading(journal) + &tag_lines(planned)
}

/// What is planned for each tag, for people.
pub(super) fn tag_lines(planned: &[PlannedTag]) -> String {
    let mut text = String::new();
    for one in planned {
        let tag = &one.tag;
        // Writing to a string cannot fail.
        let _ = match &one.end {
            TagEnd::Set { note, .. } => {
                let note = note.filter(|note| *note != MoveNote::Forced);
                let note = note.map_or(String::new(), |note| format!(" (but {})", note.as_str()));
                writeln!(text, "  {tag} → {}{note}", one.to)
            }
            TagEnd::KeptByNewer { newer } => {
                writeln!(text, "  {tag} stays: the newer commit {newer} holds it")
            }
            TagEnd::Stayed | TagEnd::Held { .. } | TagEnd::KeptComplete { .. } => {
                writeln!(text, "  {tag} is right already")
            }
        };
    }
    text
}

fn as_json(journal: &Journal, planned: &[PlannedTag]) -> Value {
    let mut fields = tag_fields(planned);
    fields["run"] = journal.header.run.as_str().into();
    fields
}

/// What is planned for the tags, for programs.
pub(super) fn tag_fields(planned: &[PlannedTag]) -> Value {
    let mut changes = Vec::new();
    let mut reached = Vec::new();
    let mut kept = Vec::new();
    for one in planned {
        let tag = one.tag.to_string();
        match &one.end {
            TagEnd::Set { note, was } => changes.push(json!({
                "tag": tag,
                "now": was.as_ref().map(ToString::to_string),
                "to": one.to.to_string(),
                "note": note.map(MoveNote::as_str),
            })),
            TagEnd::KeptByNewer { newer } => {
                kept.push(json!({"tag": tag, "newer": newer.as_str()}));
            }
            TagEnd::Stayed | TagEnd::Held { .. } | TagEnd::KeptComplete { .. } => {
                reached.push(tag);
            }
        }
    }
    json!({
        "run": null,
        "changes": changes,
        "reached": reached,
        "kept": kept,
    })
}

/// Shows what became of the tags of `journal`, which the run of `publisher` moved.
pub(super) fn show_done(
    act: &str,
    journal: &Journal,
    publisher: &Publisher,
    moved: &MovedTags,
    screen: &mut Screen,
) {
    let causes = [
        moved.blind.as_ref().map(|error| {
            let error = in_one_line(error);
            format!("runs that move the same tags at the same time cannot be seen: {error}")
        }),
        moved.unrecorded.as_ref().map(|error| {
            let error = in_one_line(error);
            format!("the end of the run is not recorded in the registry: {error}")
        }),
    ];
    let codes = ["publish::alone", "publish::record"];
    for (cause, code) in causes.into_iter().zip(codes) {
        if let Some(cause) = cause {
            screen.diagnostic(&Diagnostic::warning(code, cause));
        }
    }
    let count = |is: fn(&TagEnd) -> bool| {
        let reports = moved.reports.iter();
        reports.filter(|report| is(&report.end)).count()
    };
    let set = count(|end| matches!(end, TagEnd::Set { .. }));
    let kept = count(|end| matches!(end, TagEnd::KeptByNewer { .. }));
    let tags = if set == 1 { "tag" } else { "tags" };
    let run = &journal.header.run;
    let mut text = format!("run {run} {act}: {set} {tags} changed");
    if kept > 0 {
        let _ = write!(text, ", {kept} left at newer commits");
    }
    if let Some(by) = publisher.record().run() {
        let _ = write!(text, " (recorded as run {by})");
    }
    screen.message(&format!("{text}\n"));
}
