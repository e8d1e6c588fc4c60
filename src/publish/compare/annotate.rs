//! Records facts in the annotations of an index or a manifest.

use std::fmt::Write as _;

use serde_json::value::RawValue;

use super::super::revision::CommitState;
use super::manifest::{self, MANIFEST_LIMIT, ManifestError};
use super::object::RawObject;

/// The annotation with the commit that an image was built from (image-spec, annotations.md).
pub(crate) const REVISION: &str = "org.opencontainers.image.revision";
/// The annotation with the time at which an image was built, in RFC 3339.
pub(crate) const CREATED: &str = "org.opencontainers.image.created";

/// Returns the index `raw` with the annotation [`REVISION`], and with [`CREATED`] if there is a time.
///
/// All other members keep their bytes and their order. A new annotation is added at the end. If nothing changes,
/// the bytes are the same, so that the digest is, too. The text is indented if the index is, as BuildKit writes it.
///
/// # Errors
/// `raw` is not an index, its annotations are not texts, or it is too large, before or after the change.
pub(crate) fn with_revision(
    raw: &[u8],
    revision: &CommitState,
    created: Option<&str>,
) -> Result<Vec<u8>, ManifestError> {
    let index: RawObject = manifest::parse(raw)?;
    if !manifest::is_index(&index) {
        return Err(ManifestError::NotAnIndex);
    }
    let revision = revision.to_string();
    let mut new = vec![(REVISION, revision.as_str())];
    new.extend(created.map(|created| (CREATED, created)));
    annotated(raw, index, &new)
}

/// Returns the index or manifest `raw` with the annotations `new`, in the same way as [`with_revision`].
///
/// # Errors
/// Its annotations are not texts, or it is too large, before or after the change.
pub(crate) fn with_annotations(raw: &[u8], new: &[(&str, &str)]) -> Result<Vec<u8>, ManifestError> {
    annotated(raw, manifest::parse(raw)?, new)
}

/// The annotation `name` of the index or manifest `raw`. `None` if it has none, or is not valid.
pub(crate) fn annotation(raw: &[u8], name: &str) -> Option<String> {
    let found: RawObject = manifest::parse(raw).ok()?;
    let annotations = annotations(&found).ok()?;
    let (_, value) = annotations.iter().find(|(key, _)| key == name)?;
    serde_json::from_str(value).ok()
}

fn annotated(
    raw: &[u8],
    mut manifest: RawObject,
    new: &[(&str, &str)],
) -> Result<Vec<u8>, ManifestError> {
    let mut annotations = annotations(&manifest)?;
    let mut changed = false;
    for (name, value) in new {
        changed |= set(&mut annotations, name, value);
    }
    if !changed {
        return Ok(raw.to_vec());
    }
    let indented = raw.starts_with(b"{\n  \"");
    let text = object(&annotations, if indented { Some(2) } else { None });
    let text = RawValue::from_string(text).map_err(ManifestError::Form)?;
    match manifest
        .0
        .iter_mut()
        .find(|(name, _)| name == "annotations")
    {
        Some((_, value)) => *value = text,
        None => manifest.0.push(("annotations".to_owned(), text)),
    }
    let members: Vec<(String, String)> = manifest
        .0
        .into_iter()
        .map(|(name, value)| (name, value.get().to_owned()))
        .collect();
    let text = object(&members, if indented { Some(1) } else { None });
    if text.len() > MANIFEST_LIMIT {
        return Err(ManifestError::TooLarge);
    }
    Ok(text.into_bytes())
}

/// Returns the annotations with their values as JSON.
fn annotations(index: &RawObject) -> Result<Vec<(String, String)>, ManifestError> {
    let Some(raw) = index.get("annotations") else {
        return Ok(Vec::new());
    };
    let found: Option<RawObject> = serde_json::from_str(raw.get()).map_err(ManifestError::Form)?;
    let mut texts = Vec::new();
    for (name, value) in found.map_or_else(Vec::new, |found| found.0) {
        serde_json::from_str::<String>(value.get()).map_err(ManifestError::Form)?;
        texts.push((name, value.get().to_owned()));
    }
    Ok(texts)
}

/// Sets `name` to `value`. Returns whether that changes something.
fn set(members: &mut Vec<(String, String)>, name: &str, value: &str) -> bool {
    let text = json(value);
    match members.iter_mut().find(|(key, _)| key == name) {
        Some((_, found)) if serde_json::from_str::<String>(found).is_ok_and(|is| is == value) => {
            return false;
        }
        Some((_, found)) => *found = text,
        None => members.push((name.to_owned(), text)),
    }
    true
}

fn json(text: &str) -> String {
    serde_json::Value::from(text).to_string()
}

/// Writes an object whose values are JSON already. With `depth`, each member has a line that is indented so often
/// by two spaces.
fn object(members: &[(String, String)], depth: Option<usize>) -> String {
    let line = |out: &mut String, depth: usize| {
        // Writing to a string cannot fail.
        let _ = write!(out, "\n{:1$}", "", depth * 2);
    };
    let mut out = String::from("{");
    for (at, (name, value)) in members.iter().enumerate() {
        if at > 0 {
            out.push(',');
        }
        if let Some(depth) = depth {
            line(&mut out, depth);
        }
        out.push_str(&json(name));
        out.push_str(if depth.is_some() { ": " } else { ":" });
        out.push_str(value);
    }
    if let Some(depth) = depth {
        line(&mut out, depth.saturating_sub(1));
    }
    out.push('}');
    out
}
