//! A journal as an artifact in a registry, for recovery from another machine.
//!
//! The artifact is a manifest without content of its own: the journal is an annotation, so that one request writes
//! it and one reads it. (The empty blob that the manifest names must be in the repository; it has two bytes.)

use std::collections::BTreeMap;

use serde::Deserialize;
use serde_json::{Value, json};

use super::lines::{self, JournalFields, JournalFormatError};
use super::{Journal, JournalEvent, RunId};

/// The type of the artifact.
pub(crate) const ARTIFACT_TYPE: &str = "application/vnd.rbake.journal.v1+json";
/// The annotation that holds the journal.
pub(crate) const ANNOTATION: &str = "vnd.rbake.journal";
/// The only blob that the manifest names (image-spec, "Guidance for an Empty Descriptor").
pub(crate) const EMPTY_BLOB: &[u8] = b"{}";
/// The digest of [`EMPTY_BLOB`].
pub(crate) const EMPTY_DIGEST: &str =
    "sha256:44136fa355b3678a1146ad16f7e8649e94fb4fc21fe77e8310c060f61caaff8a";
/// The largest journal, in bytes. Registries must accept manifests of 4 MiB, and quotes in an annotation take two
/// bytes.
pub(crate) const JOURNAL_LIMIT: usize = 1 << 20;

const MANIFEST_LIMIT: usize = 4 << 20;
const MANIFEST_TYPE: &str = "application/vnd.oci.image.manifest.v1+json";
const EMPTY_TYPE: &str = "application/vnd.oci.empty.v1+json";
pub(crate) use crate::types::own_tags::RUN_PREFIX as TAG_PREFIX;

/// A journal cannot be written as an artifact, or read from one.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ArtifactError {
    /// The journal has more than [`JOURNAL_LIMIT`] bytes, which is enough for about 3,000 tags. The run must not
    /// begin to move tags then, because it could not be recovered elsewhere; fewer targets at once are the way out.
    #[error("the journal of {entries} tags has more than {JOURNAL_LIMIT} bytes")]
    TooLarge {
        /// The number of tags.
        entries: usize,
    },
    /// The manifest is too large to be one of a journal.
    #[error("the manifest of the journal has more than {MANIFEST_LIMIT} bytes")]
    ManifestTooLarge,
    /// The manifest is not valid.
    #[error("the manifest of the journal is not valid")]
    Form(#[source] serde_json::Error),
    /// The manifest is of something else.
    #[error("the manifest is not one of a journal")]
    NotAJournal,
    /// The journal in it is not valid.
    #[error("the journal in the registry cannot be read")]
    Journal(#[from] JournalFormatError),
}

/// The tag of the artifact of a run.
pub(crate) fn tag_of(run: &RunId) -> String {
    format!("{TAG_PREFIX}{run}")
}

/// The run whose artifact has this tag. `None` if the tag is of something else.
pub(crate) fn run_of(tag: &str) -> Option<RunId> {
    tag.strip_prefix(TAG_PREFIX)?.parse().ok()
}

/// A journal as it is in a registry.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct RecordedRun {
    /// The journal.
    pub(crate) journal: Journal,
    /// All runs in the repository with smaller names had ended when this was written. `None` if that is not known.
    pub(crate) settled: Option<RunId>,
}

/// Returns the bytes of the manifest. Equal journals have equal bytes. For `settled`, see [`RecordedRun`].
///
/// # Errors
/// [`ArtifactError::TooLarge`].
pub(crate) fn encode(journal: &Journal, settled: Option<&RunId>) -> Result<Vec<u8>, ArtifactError> {
    let mut fields = lines::header_fields(&journal.header);
    fields.insert(
        "status".to_owned(),
        lines::status_name(journal.status).into(),
    );
    if let Some(settled) = settled {
        fields.insert("settled".to_owned(), settled.as_str().into());
    }
    let entries = journal.entries.iter();
    let entries = entries.map(|(tag, entry)| lines::entry_fields(tag, entry));
    fields.insert("entries".to_owned(), entries.collect());
    let text = Value::Object(fields).to_string();
    if text.len() > JOURNAL_LIMIT {
        return Err(ArtifactError::TooLarge {
            entries: journal.entries.len(),
        });
    }
    let empty = json!({
        "mediaType": EMPTY_TYPE,
        "digest": EMPTY_DIGEST,
        "size": EMPTY_BLOB.len(),
        "data": "e30=",
    });
    let manifest = json!({
        "schemaVersion": 2,
        "mediaType": MANIFEST_TYPE,
        "artifactType": ARTIFACT_TYPE,
        "config": empty,
        "layers": [empty],
        "annotations": {
            "org.opencontainers.image.created": journal.header.started.to_string(),
            ANNOTATION: text,
        },
    });
    Ok(manifest.to_string().into_bytes())
}

#[derive(Deserialize)]
struct ArtifactManifest {
    #[serde(rename = "artifactType", default)]
    artifact_type: String,
    #[serde(default)]
    annotations: BTreeMap<String, String>,
}

/// Reads a journal from the bytes of a manifest, which may come from anybody.
pub(crate) fn decode(manifest: &[u8]) -> Result<RecordedRun, ArtifactError> {
    if manifest.len() > MANIFEST_LIMIT {
        return Err(ArtifactError::ManifestTooLarge);
    }
    let manifest: ArtifactManifest =
        serde_json::from_slice(manifest).map_err(ArtifactError::Form)?;
    let text = manifest.annotations.get(ANNOTATION);
    let text = text.filter(|_| manifest.artifact_type == ARTIFACT_TYPE);
    let text = text.ok_or(ArtifactError::NotAJournal)?;
    let fields: JournalFields = serde_json::from_str(text).map_err(JournalFormatError::Json)?;
    let mut journal = Journal::new(fields.header()?);
    journal.status = fields.status()?;
    for (tag, entry) in fields.entries()? {
        journal
            .apply(JournalEvent::Planned(tag, entry))
            .map_err(JournalFormatError::from)?;
    }
    let settled = fields.settled()?;
    Ok(RecordedRun { journal, settled })
}
