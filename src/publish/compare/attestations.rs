//! The kinds and parameters of the attestations of two images.

use std::collections::{BTreeMap, BTreeSet};

use bytes::Bytes;
use serde::Deserialize;

use super::manifest::{self, ManifestError, TopLevel};
use super::{ImageDifference, ImageSide, statement};
use crate::types::Digest;

/// The annotation of a layer with the type of its predicate (BuildKit, `exporter/containerimage/writer.go`).
const PREDICATE_TYPE: &str = "in-toto.io/predicate-type";

type Blobs = BTreeMap<Digest, Bytes>;
type Missing = BTreeSet<(ImageSide, Digest)>;

/// An attestation manifest.
#[derive(Deserialize)]
struct AttestationManifest {
    #[serde(rename = "mediaType", default)]
    media_type: String,
    #[serde(rename = "artifactType", default)]
    artifact_type: String,
    #[serde(default)]
    layers: Vec<StatementDescriptor>,
}

#[derive(Deserialize)]
struct StatementDescriptor {
    #[serde(rename = "mediaType", default)]
    media_type: String,
    digest: String,
    #[serde(default)]
    annotations: BTreeMap<String, String>,
}

/// A statement, by kind.
#[derive(Debug, PartialEq, Eq, PartialOrd, Ord)]
struct StatementKind {
    predicate_type: String,
    media_type: String,
}

/// Compares the attestations. Returns the contents that are needed for that, but missing.
pub(super) fn compare(
    ours: &TopLevel,
    our_blobs: &Blobs,
    theirs: &TopLevel,
    their_blobs: &Blobs,
) -> Result<Missing, ImageDifference> {
    let (our_entries, their_entries) = (by_image(ours), by_image(theirs));
    let shape = |entries: &BTreeMap<&str, Vec<&Digest>>| {
        let counts = entries
            .iter()
            .map(|(of, list)| ((*of).to_owned(), list.len()));
        counts.collect::<Vec<_>>()
    };
    if shape(&our_entries) != shape(&their_entries) {
        return Err(ImageDifference::AttestationKinds);
    }
    let mut missing = Missing::new();
    let pairs = our_entries
        .values()
        .flatten()
        .zip(their_entries.values().flatten());
    for (our_digest, their_digest) in pairs.filter(|(ours, theirs)| ours != theirs) {
        let our_manifest = our_blobs.get(*our_digest);
        let their_manifest = their_blobs.get(*their_digest);
        let (Some(our_manifest), Some(their_manifest)) = (our_manifest, their_manifest) else {
            missing.extend(absent(our_manifest, ImageSide::Ours, our_digest));
            missing.extend(absent(their_manifest, ImageSide::Theirs, their_digest));
            continue;
        };
        let unreadable = |side| move |error| ImageDifference::Unreadable(side, error);
        let ours = statements(our_manifest).map_err(unreadable(ImageSide::Ours))?;
        let theirs = statements(their_manifest).map_err(unreadable(ImageSide::Theirs))?;
        let same_kinds = ours.0 == theirs.0
            && ours.1.len() == theirs.1.len()
            && ours.1.iter().zip(&theirs.1).all(|(a, b)| a.0 == b.0);
        if !same_kinds {
            return Err(ImageDifference::AttestationKinds);
        }
        for ((kind, ours), (_, theirs)) in ours.1.iter().zip(&theirs.1) {
            if ours != theirs {
                missing.extend(compare_one(kind, (ours, our_blobs), (theirs, their_blobs))?);
            }
        }
    }
    Ok(missing)
}

fn absent(
    content: Option<&Bytes>,
    side: ImageSide,
    digest: &Digest,
) -> Option<(ImageSide, Digest)> {
    content.is_none().then(|| (side, digest.clone()))
}

/// The attestation manifests by the digest of their image, in the order of the index.
fn by_image(top: &TopLevel) -> BTreeMap<&str, Vec<&Digest>> {
    let mut found: BTreeMap<&str, Vec<&Digest>> = BTreeMap::new();
    for entry in &top.attestations {
        found.entry(&entry.of).or_default().push(&entry.digest);
    }
    found
}

/// The form of an attestation manifest, and its statements, sorted by kind. Statements of one kind keep their order.
type Statements = ((String, String), Vec<(StatementKind, Digest)>);

fn statements(bytes: &[u8]) -> Result<Statements, ManifestError> {
    let manifest: AttestationManifest = manifest::parse(bytes)?;
    let mut found = Vec::new();
    for mut layer in manifest.layers {
        let kind = StatementKind {
            predicate_type: layer.annotations.remove(PREDICATE_TYPE).unwrap_or_default(),
            media_type: layer.media_type,
        };
        found.push((kind, layer.digest.parse().map_err(ManifestError::Digest)?));
    }
    found.sort_by(|(a, _), (b, _)| a.cmp(b));
    Ok(((manifest.media_type, manifest.artifact_type), found))
}

/// Compares two statements of one kind.
fn compare_one(
    kind: &StatementKind,
    (ours, our_blobs): (&Digest, &Blobs),
    (theirs, their_blobs): (&Digest, &Blobs),
) -> Result<Missing, ImageDifference> {
    let (our_bytes, their_bytes) = (our_blobs.get(ours), their_blobs.get(theirs));
    let (Some(our_bytes), Some(their_bytes)) = (our_bytes, their_bytes) else {
        let ours = absent(our_bytes, ImageSide::Ours, ours);
        let theirs = absent(their_bytes, ImageSide::Theirs, theirs);
        return Ok(ours.into_iter().chain(theirs).collect());
    };
    match statement::difference(&kind.predicate_type, our_bytes, their_bytes) {
        Ok(None) => Ok(Missing::new()),
        Ok(Some(path)) => Err(ImageDifference::Attestation {
            predicate_type: kind.predicate_type.clone(),
            path,
        }),
        Err(error) => Err(ImageDifference::UnreadableAttestation(error)),
    }
}
