//! A journal as lines of JSON, each of which records one step. A person can read them:
//!
//! ```json
//! {"journal":1,"run":"20261128T223000Z-0a1b2c3d","started":"2026-11-28T22:30:00Z","rbake":"0.1.0","revision":"1f…"}
//! {"state":"planned","image":"docker.io/a/b","tag":"latest","class":"mutable","was":"sha256:…","to":"sha256:…"}
//! {"status":"moving"}
//! {"state":"done","image":"docker.io/a/b","tag":"latest"}
//! {"status":"complete"}
//! ```
//!
//! The same names of fields are used in a registry, see [`super::artifact`]. Unknown fields are ignored.

use serde::Deserialize;
use serde_json::value::RawValue;
use serde_json::{Map, Value, json};

use super::{
    ENTRY_LIMIT, EntryState, Journal, JournalEntry, JournalEvent, JournalEventError, JournalHeader,
    PublishedTag, RunId, RunOrigin, RunStatus,
};
use crate::publish::class::TagClass;
use crate::types::{Digest, ImageRepository, Reference};

/// The version of the format. Another one is refused, because its meaning is not known.
pub(super) const VERSION: u32 = 1;

/// A journal cannot be read.
#[derive(Debug, thiserror::Error)]
pub(crate) enum JournalFormatError {
    /// The first line is missing or was not written completely, so that no change was made.
    #[error("the journal is empty")]
    Empty,
    /// It was written by a newer rbake.
    #[error("the journal has version {0}, but this rbake reads version {VERSION}")]
    Version(u32),
    /// It is not JSON.
    #[error("the journal is not valid JSON")]
    Json(#[source] serde_json::Error),
    /// A line is not JSON, although others follow.
    #[error("line {0} of the journal is damaged")]
    Line(usize, #[source] serde_json::Error),
    /// A field is missing or has no valid value.
    #[error("the field `{0}` of the journal is missing or not valid")]
    Field(&'static str),
    /// A step does not fit those before it.
    #[error("the steps of the journal do not fit together")]
    Event(#[from] JournalEventError),
}

/// The fields of a line or of an object.
#[derive(Debug, Default, Deserialize)]
pub(super) struct JournalFields {
    journal: Option<u32>,
    run: Option<String>,
    started: Option<String>,
    rbake: Option<String>,
    revision: Option<String>,
    promotes: Option<String>,
    #[serde(rename = "rolls-back-to")]
    rolls_back_to: Option<String>,
    /// The repositories from which images are copied.
    #[serde(default)]
    copies: Vec<CopiedRepository>,
    #[serde(default)]
    backwards: bool,
    status: Option<String>,
    state: Option<String>,
    image: Option<String>,
    tag: Option<String>,
    class: Option<String>,
    was: Option<String>,
    to: Option<String>,
    /// Only in a registry.
    settled: Option<String>,
    /// Only in a registry. Not parsed yet, because it may be a list of a million empty objects.
    #[serde(default)]
    entries: Vec<Box<RawValue>>,
}

/// A repository from which images are copied, and the one that gets them.
#[derive(Debug, Deserialize)]
struct CopiedRepository {
    from: String,
    to: String,
}

impl CopiedRepository {
    fn read(&self) -> Option<(ImageRepository, ImageRepository)> {
        let parse = |text: &str| {
            let reference: Reference = text.parse().ok()?;
            let repository = ImageRepository::of(&reference);
            // A tag or a digest would make another name of it.
            (repository.to_string() == text).then_some(repository)
        };
        Some((parse(&self.to)?, parse(&self.from)?))
    }
}

const STATES: [(&str, EntryState); 4] = [
    ("planned", EntryState::Planned),
    ("done", EntryState::Done),
    ("undone", EntryState::Undone),
    ("kept", EntryState::Kept),
];
const STATUSES: [(&str, RunStatus); 7] = [
    ("open", RunStatus::Open),
    ("moving", RunStatus::Moving),
    ("complete", RunStatus::Complete),
    ("held", RunStatus::Held),
    ("undoing", RunStatus::Undoing),
    ("undone", RunStatus::Undone),
    ("failed", RunStatus::Failed),
];
const CLASSES: [(&str, TagClass); 2] = [
    (TagClass::Immutable.as_str(), TagClass::Immutable),
    (TagClass::Mutable.as_str(), TagClass::Mutable),
];

fn named<T: Copy>(
    names: &[(&str, T)],
    text: Option<&String>,
    field: &'static str,
) -> Result<T, JournalFormatError> {
    let found = text.and_then(|text| names.iter().find(|(name, _)| name == text));
    let found = found.map(|(_, value)| *value);
    found.ok_or(JournalFormatError::Field(field))
}

fn name<T: Copy + PartialEq>(names: &[(&'static str, T)], value: T) -> &'static str {
    let found = names.iter().find(|(_, named)| *named == value);
    found.map_or("", |(name, _)| name)
}

fn parsed<T: std::str::FromStr>(
    text: Option<&String>,
    field: &'static str,
) -> Result<T, JournalFormatError> {
    let text = text.ok_or(JournalFormatError::Field(field))?;
    text.parse().map_err(|_| JournalFormatError::Field(field))
}

impl JournalFields {
    /// Reads the header.
    pub(super) fn header(&self) -> Result<JournalHeader, JournalFormatError> {
        match self.journal {
            Some(VERSION) => {}
            Some(other) => return Err(JournalFormatError::Version(other)),
            None => return Err(JournalFormatError::Field("journal")),
        }
        let revision = self.revision.as_ref();
        Ok(JournalHeader {
            run: parsed(self.run.as_ref(), "run")?,
            started: parsed(self.started.as_ref(), "started")?,
            rbake: parsed(self.rbake.as_ref(), "rbake")?,
            revision: revision
                .map(|text| parsed(Some(text), "revision"))
                .transpose()?,
            origin: self.origin()?,
            backwards: self.backwards,
        })
    }

    fn origin(&self) -> Result<RunOrigin, JournalFormatError> {
        if self.copies.len() > ENTRY_LIMIT {
            return Err(JournalEventError::TooMany.into());
        }
        Ok(match (&self.promotes, &self.rolls_back_to) {
            (Some(run), _) => RunOrigin::Promotion(parsed(Some(run), "promotes")?),
            (None, Some(run)) => RunOrigin::Rollback(parsed(Some(run), "rolls-back-to")?),
            (None, None) if self.copies.is_empty() => RunOrigin::Build,
            (None, None) => {
                let copies = self.copies.iter().map(CopiedRepository::read);
                let copies = copies.collect::<Option<_>>();
                RunOrigin::Copy(copies.ok_or(JournalFormatError::Field("copies"))?)
            }
        })
    }

    /// Reads the status.
    pub(super) fn status(&self) -> Result<RunStatus, JournalFormatError> {
        named(&STATUSES, self.status.as_ref(), "status")
    }

    /// Reads the run before which all others have ended.
    pub(super) fn settled(&self) -> Result<Option<RunId>, JournalFormatError> {
        let settled = self.settled.as_ref();
        settled
            .map(|text| parsed(Some(text), "settled"))
            .transpose()
    }

    fn tag(&self) -> Result<PublishedTag, JournalFormatError> {
        let (Some(image), Some(tag)) = (&self.image, &self.tag) else {
            return Err(JournalFormatError::Field("image"));
        };
        PublishedTag::parse(image, tag).map_err(|_| JournalFormatError::Field("tag"))
    }

    /// Reads the entries of an object.
    pub(super) fn entries(&self) -> Result<Vec<(PublishedTag, JournalEntry)>, JournalFormatError> {
        if self.entries.len() > ENTRY_LIMIT {
            return Err(JournalEventError::TooMany.into());
        }
        let read = |raw: &RawValue| {
            let fields: Self = serde_json::from_str(raw.get()).map_err(JournalFormatError::Json)?;
            fields.entry()
        };
        self.entries.iter().map(|raw| read(raw)).collect()
    }

    /// Reads a whole entry.
    fn entry(&self) -> Result<(PublishedTag, JournalEntry), JournalFormatError> {
        let was = self.was.as_ref();
        let entry = JournalEntry {
            class: named(&CLASSES, self.class.as_ref(), "class")?,
            was: was.map(|text| parsed(Some(text), "was")).transpose()?,
            to: parsed(self.to.as_ref(), "to")?,
            state: named(&STATES, self.state.as_ref(), "state")?,
        };
        Ok((self.tag()?, entry))
    }

    fn event(&self) -> Result<JournalEvent, JournalFormatError> {
        if self.status.is_some() {
            return Ok(JournalEvent::Status(self.status()?));
        }
        let state = named(&STATES, self.state.as_ref(), "state")?;
        if state == EntryState::Planned {
            let (tag, entry) = self.entry()?;
            return Ok(JournalEvent::Planned(tag, entry));
        }
        Ok(JournalEvent::Marked(self.tag()?, state))
    }
}

/// Returns the fields of the header, without a status.
pub(super) fn header_fields(header: &JournalHeader) -> Map<String, Value> {
    let mut fields = Map::new();
    let mut add = |key: &str, value: Value| drop(fields.insert(key.to_owned(), value));
    add("journal", VERSION.into());
    add("run", header.run.as_str().into());
    add("started", header.started.to_string().into());
    add("rbake", header.rbake.as_str().into());
    if let Some(revision) = &header.revision {
        add("revision", revision.to_string().into());
    }
    match &header.origin {
        RunOrigin::Build => {}
        RunOrigin::Promotion(run) => add("promotes", run.as_str().into()),
        RunOrigin::Rollback(run) => add("rolls-back-to", run.as_str().into()),
        RunOrigin::Copy(copies) => {
            let copies = copies.iter();
            let copies =
                copies.map(|(to, from)| json!({"from": from.to_string(), "to": to.to_string()}));
            add("copies", copies.collect());
        }
    }
    if header.backwards {
        add("backwards", true.into());
    }
    fields
}

/// Returns the name of a status.
pub(super) fn status_name(status: RunStatus) -> &'static str {
    name(&STATUSES, status)
}

/// Returns the fields of an entry.
pub(super) fn entry_fields(tag: &PublishedTag, entry: &JournalEntry) -> Value {
    json!({
        "state": name(&STATES, entry.state),
        "image": tag.repository().to_string(),
        "tag": tag.tag().as_str(),
        "class": entry.class.as_str(),
        "was": entry.was.as_ref().map(Digest::as_str),
        "to": entry.to.as_str(),
    })
}

/// Returns the line of the header, with its end.
pub(super) fn header_line(header: &JournalHeader) -> String {
    format!("{}\n", Value::Object(header_fields(header)))
}

/// Returns the line of an event, with its end.
pub(super) fn event_line(event: &JournalEvent) -> String {
    let fields = match event {
        JournalEvent::Planned(tag, entry) => {
            let planned = JournalEntry {
                state: EntryState::Planned,
                ..entry.clone()
            };
            entry_fields(tag, &planned)
        }
        JournalEvent::Marked(tag, state) => json!({
            "state": name(&STATES, *state),
            "image": tag.repository().to_string(),
            "tag": tag.tag().as_str(),
        }),
        JournalEvent::Status(status) => json!({"status": status_name(*status)}),
    };
    format!("{fields}\n")
}

/// Reads a journal from its lines. Returns it with the length of the text up to the last whole line.
///
/// A crash may leave the last line unfinished. It is ignored then: its change was not yet made.
pub(super) fn fold(text: &[u8]) -> Result<(Journal, usize), JournalFormatError> {
    let mut journal: Option<Journal> = None;
    let mut whole = 0;
    for (number, line) in text.split_inclusive(|byte| *byte == b'\n').enumerate() {
        let is_last = whole + line.len() == text.len();
        let fields: JournalFields = match serde_json::from_slice(line) {
            Ok(fields) if line.ends_with(b"\n") => fields,
            Err(error) if !is_last => return Err(JournalFormatError::Line(number + 1, error)),
            _ => break,
        };
        match &mut journal {
            None => journal = Some(Journal::new(fields.header()?)),
            Some(journal) => journal.apply(fields.event()?)?,
        }
        whole += line.len();
    }
    let journal = journal.ok_or(JournalFormatError::Empty)?;
    Ok((journal, whole))
}
