//! The lines of a record.

use std::fmt::Write as _;

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use serde::Deserialize;
use serde_json::{Value, json};

use super::{DeletedManifest, PruneEvent, PruneHeader, PruneRecord, PruneStatus, RecordedStep};
use crate::prune::plan::{PruneAct, StepOutcome};
use crate::types::{Digest, ImageRepository, Reference};

/// The version of the format. Another one is refused, because its meaning is not known.
const VERSION: u32 = 1;

/// A record cannot be read.
#[derive(Debug, thiserror::Error)]
pub(crate) enum PruneRecordError {
    /// The first line is missing or was not written completely, so that nothing was deleted.
    #[error("the record is empty")]
    Empty,
    /// It was written by a newer rbake.
    #[error("the record has version {0}, but this rbake reads version {VERSION}")]
    Version(u32),
    /// A line is not JSON, although others follow.
    #[error("line {0} of the record is damaged")]
    Line(usize, #[source] serde_json::Error),
    /// A field is missing or has no valid value.
    #[error("the field `{0}` of the record is missing or not valid")]
    Field(&'static str),
    /// It has more steps than rbake makes.
    #[error("the record has too many steps")]
    TooMany,
}

#[derive(Debug, Deserialize)]
struct RecordFields {
    prune: Option<u32>,
    run: Option<String>,
    started: Option<String>,
    repository: Option<String>,
    plan: Option<String>,
    #[serde(rename = "older-than")]
    older_than: Option<String>,
    step: Option<usize>,
    act: Option<String>,
    digest: Option<String>,
    #[serde(default)]
    tags: Vec<String>,
    #[serde(rename = "type")]
    media_type: Option<String>,
    manifest: Option<String>,
    outcome: Option<String>,
    status: Option<String>,
}

const OUTCOMES: [(&str, StepOutcome); 5] = [
    ("done", StepOutcome::Done),
    ("already-gone", StepOutcome::AlreadyGone),
    ("failed", StepOutcome::Failed),
    ("refused", StepOutcome::Refused),
    ("blocked", StepOutcome::Blocked),
];
const STATUSES: [(&str, PruneStatus); 4] = [
    ("open", PruneStatus::Open),
    ("complete", PruneStatus::Complete),
    ("partial", PruneStatus::Partial),
    ("undone", PruneStatus::Undone),
];

fn named<T: Copy>(
    names: &[(&str, T)],
    text: &str,
    field: &'static str,
) -> Result<T, PruneRecordError> {
    let found = names.iter().find(|(name, _)| *name == text);
    found
        .map(|(_, value)| *value)
        .ok_or(PruneRecordError::Field(field))
}

fn name<T: Copy + PartialEq>(names: &[(&'static str, T)], value: T) -> &'static str {
    let found = names.iter().find(|(_, named)| *named == value);
    found.map_or("", |(name, _)| name)
}

fn parsed<T: std::str::FromStr>(
    text: Option<&String>,
    field: &'static str,
) -> Result<T, PruneRecordError> {
    let parsed = text.and_then(|text| text.parse().ok());
    parsed.ok_or(PruneRecordError::Field(field))
}

impl RecordFields {
    fn header(&self) -> Result<PruneHeader, PruneRecordError> {
        match self.prune {
            Some(VERSION) => {}
            Some(other) => return Err(PruneRecordError::Version(other)),
            None => return Err(PruneRecordError::Field("prune")),
        }
        let repository: Reference = parsed(self.repository.as_ref(), "repository")?;
        Ok(PruneHeader {
            run: parsed(self.run.as_ref(), "run")?,
            started: parsed(self.started.as_ref(), "started")?,
            repository: ImageRepository::of(&repository),
            plan: parsed(self.plan.as_ref(), "plan")?,
            older_than: parsed(self.older_than.as_ref(), "older-than")?,
        })
    }

    fn event(&self, number: usize) -> Result<PruneEvent, PruneRecordError> {
        if let Some(status) = &self.status {
            return Ok(PruneEvent::Status(named(&STATUSES, status, "status")?));
        }
        let step = self.step.ok_or(PruneRecordError::Field("step"))?;
        if let Some(outcome) = &self.outcome {
            return Ok(PruneEvent::Ended(
                step,
                named(&OUTCOMES, outcome, "outcome")?,
            ));
        }
        // Steps are numbered in their order.
        if step != number {
            return Err(PruneRecordError::Field("step"));
        }
        let tags: Result<_, _> = self.tags.iter().map(|tag| tag.parse()).collect();
        let tags: std::collections::BTreeSet<crate::types::ImageTag> =
            tags.map_err(|_| PruneRecordError::Field("tags"))?;
        let act = match (self.act.as_deref(), tags.first()) {
            (Some("delete"), _) => PruneAct::DeleteManifest,
            (Some("untag"), Some(tag)) => PruneAct::RemoveTag(tag.clone()),
            _ => return Err(PruneRecordError::Field("act")),
        };
        let digest: Digest = parsed(self.digest.as_ref(), "digest")?;
        Ok(PruneEvent::Planned(Box::new(RecordedStep {
            act,
            manifest: self.manifest(&digest)?,
            digest,
            tags,
            outcome: None,
        })))
    }

    /// The content of the manifest, which must have the digest: somebody may have edited the file.
    fn manifest(&self, digest: &Digest) -> Result<Option<DeletedManifest>, PruneRecordError> {
        let (Some(media_type), Some(manifest)) = (&self.media_type, &self.manifest) else {
            return Ok(None);
        };
        let bytes = BASE64_STANDARD.decode(manifest).ok();
        let bytes = bytes.filter(|bytes| digest.of_same_algorithm(bytes) == *digest);
        Ok(Some(DeletedManifest {
            media_type: media_type.clone(),
            bytes: bytes.ok_or(PruneRecordError::Field("manifest"))?,
        }))
    }
}

/// Returns the line of the header, with its end.
pub(crate) fn header_line(header: &PruneHeader) -> String {
    let fields = json!({
        "prune": VERSION,
        "run": header.run.as_str(),
        "started": header.started.to_string(),
        "repository": header.repository.to_string(),
        "plan": header.plan.as_str(),
        "older-than": header.older_than.to_string(),
    });
    format!("{fields}\n")
}

/// Returns the lines of `events`, with their ends. The first planned step among them has the number `next`.
pub(crate) fn event_lines(events: &[PruneEvent], mut next: usize) -> String {
    let mut text = String::new();
    for event in events {
        let fields = match event {
            PruneEvent::Planned(step) => {
                next += 1;
                planned(step, next - 1)
            }
            PruneEvent::Ended(number, outcome) => {
                json!({"step": number, "outcome": name(&OUTCOMES, *outcome)})
            }
            PruneEvent::Status(status) => json!({"status": name(&STATUSES, *status)}),
        };
        // Writing to a string cannot fail.
        let _ = writeln!(text, "{fields}");
    }
    text
}

fn planned(step: &RecordedStep, number: usize) -> Value {
    let act = match step.act {
        PruneAct::RemoveTag(_) => "untag",
        PruneAct::DeleteManifest => "delete",
    };
    let tags = step.tags.iter().map(crate::types::ImageTag::as_str);
    let mut fields = json!({
        "step": number,
        "act": act,
        "digest": step.digest.as_str(),
        "tags": tags.collect::<Vec<_>>(),
    });
    if let Some(manifest) = &step.manifest {
        fields["type"] = manifest.media_type.as_str().into();
        fields["manifest"] = BASE64_STANDARD.encode(&manifest.bytes).into();
    }
    fields
}

/// Reads a record from its lines. Returns it with the length of the text up to the last whole line.
///
/// A crash may leave the last line unfinished. It is ignored then.
pub(crate) fn fold(text: &[u8]) -> Result<(PruneRecord, usize), PruneRecordError> {
    let mut record: Option<PruneRecord> = None;
    let mut whole = 0;
    for (number, line) in text.split_inclusive(|byte| *byte == b'\n').enumerate() {
        let is_last = whole + line.len() == text.len();
        let fields: RecordFields = match serde_json::from_slice(line) {
            Ok(fields) if line.ends_with(b"\n") => fields,
            Err(error) if !is_last => return Err(PruneRecordError::Line(number + 1, error)),
            _ => break,
        };
        match &mut record {
            None => record = Some(PruneRecord::new(fields.header()?)),
            Some(record) => {
                let event = fields.event(record.steps.len())?;
                record.apply(event)?;
            }
        }
        whole += line.len();
    }
    let record = record.ok_or(PruneRecordError::Empty)?;
    Ok((record, whole))
}
