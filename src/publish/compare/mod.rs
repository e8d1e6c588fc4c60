//! Whether the image that was built is the one in the registry.
//!
//! A provenance attestation contains times, so the digest of an index changes with each run, although the images of
//! its platforms do not. So the parts are compared that matter: see [`compare`]. Both sides are parsed without
//! trust: the registry may send anything.

mod annotate;
mod attestations;
mod manifest;
mod object;
mod statement;

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use bytes::Bytes;

use crate::types::Digest;
use crate::types::causes::in_one_line;
use crate::types::terminal::visible;

pub(crate) use annotate::{CREATED, REVISION, annotation, with_annotations, with_revision};
pub(crate) use manifest::{MANIFEST_LIMIT, ManifestError};
pub(crate) use statement::{STATEMENT_LIMIT, StatementError};

use manifest::TopLevel;

/// An image, with as much of its content as is known.
#[derive(Debug, Clone, Copy)]
pub(crate) struct ImageContent<'a> {
    /// The bytes of the top-level manifest.
    pub(crate) manifest: &'a [u8],
    /// Attestation manifests and their statements. The caller has checked that they have these digests.
    pub(crate) blobs: &'a BTreeMap<Digest, Bytes>,
}

/// One of the images that are compared.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum ImageSide {
    /// The image that was built.
    Ours,
    /// The image in the registry.
    Theirs,
}

/// The result of [`compare`].
#[derive(Debug)]
pub(crate) enum Comparison {
    /// Nothing changed. The image in the registry, and its tags, can stay.
    Identical,
    /// The images and attestations are equal, but not the recorded revision (or only one side has an index).
    SameImages,
    /// Something else differs.
    Different {
        /// The first difference that was found.
        why: ImageDifference,
    },
    /// All else is equal, but these contents are needed to compare the attestations. After two rounds at most, nothing
    /// is missing. A caller that cannot get a content should treat the images as different.
    Undecided {
        /// What is missing in [`ImageContent::blobs`].
        missing: BTreeSet<(ImageSide, Digest)>,
    },
}

/// What differs between two images.
#[derive(Debug)]
pub(crate) enum ImageDifference {
    /// A manifest cannot be parsed.
    Unreadable(ImageSide, ManifestError),
    /// The images of the platforms, their order, or the platforms.
    Images,
    /// The descriptor of an image, such as its annotations.
    Descriptor,
    /// An annotation of the index, by name.
    Annotation(String),
    /// Another field of the index, by name.
    IndexField(String),
    /// The kinds of attestations, or their number.
    AttestationKinds,
    /// An attestation of this predicate type, in the field with this path. Tells of other parameters, such as
    /// another mode or generator.
    Attestation {
        /// The predicate type.
        predicate_type: String,
        /// The names of fields with dots between them.
        path: String,
    },
    /// An attestation cannot be parsed.
    UnreadableAttestation(StatementError),
}

impl fmt::Display for ImageDifference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unreadable(ImageSide::Ours, error) => {
                write!(f, "our image: {}", in_one_line(error))
            }
            Self::Unreadable(ImageSide::Theirs, error) => {
                write!(f, "the image in the registry: {}", in_one_line(error))
            }
            Self::Images => f.write_str("the images differ"),
            Self::Descriptor => f.write_str("the descriptors of the images differ"),
            Self::Annotation(name) => write!(f, "the annotation `{}` differs", visible(name)),
            Self::IndexField(name) => {
                write!(f, "the field `{}` of the index differs", visible(name))
            }
            Self::AttestationKinds => f.write_str("the kinds of attestations differ"),
            Self::Attestation {
                predicate_type,
                path,
            } => write!(
                f,
                "the attestation `{}` differs in `{path}`",
                visible(predicate_type)
            ),
            Self::UnreadableAttestation(error) => f.write_str(&in_one_line(error)),
        }
    }
}

/// Compares the image that was built with the one in the registry.
///
/// They are equal if they have the same images of platforms in the same order, the same annotations and fields
/// of the index, and the same kinds of attestations with the same parameters. What changes from run to run without a
/// change of the build is not compared: the annotation [`CREATED`], and the times, ids and measurements in
/// attestations. The annotation [`REVISION`] decides between [`Comparison::Identical`] and
/// [`Comparison::SameImages`].
pub(crate) fn compare(ours: ImageContent<'_>, theirs: ImageContent<'_>) -> Comparison {
    if ours.manifest == theirs.manifest {
        return Comparison::Identical;
    }
    match try_compare(ours, theirs) {
        Ok(comparison) => comparison,
        Err(why) => Comparison::Different { why },
    }
}

fn try_compare(
    ours: ImageContent<'_>,
    theirs: ImageContent<'_>,
) -> Result<Comparison, ImageDifference> {
    let parse = |content: ImageContent<'_>, side| {
        TopLevel::parse(content.manifest).map_err(|error| ImageDifference::Unreadable(side, error))
    };
    let our_top = parse(ours, ImageSide::Ours)?;
    let their_top = parse(theirs, ImageSide::Theirs)?;
    let same_revision = compare_tops(&our_top, &their_top)?;
    let missing = attestations::compare(&our_top, ours.blobs, &their_top, theirs.blobs)?;
    if !missing.is_empty() {
        return Ok(Comparison::Undecided { missing });
    }
    Ok(if same_revision {
        Comparison::Identical
    } else {
        Comparison::SameImages
    })
}

/// Compares all but the attestations. Returns whether the recorded revisions are the same.
fn compare_tops(ours: &TopLevel, theirs: &TopLevel) -> Result<bool, ImageDifference> {
    if ours.images.len() != theirs.images.len() {
        return Err(ImageDifference::Images);
    }
    let both_have_index = ours.annotations.is_some() && theirs.annotations.is_some();
    for (ours, theirs) in ours.images.iter().zip(&theirs.images) {
        if ours.digest != theirs.digest || (both_have_index && ours.platform != theirs.platform) {
            return Err(ImageDifference::Images);
        }
        if both_have_index && ours.rest != theirs.rest {
            return Err(ImageDifference::Descriptor);
        }
    }
    let empty = BTreeMap::new();
    let our_annotations = ours.annotations.as_ref().unwrap_or(&empty);
    let their_annotations = theirs.annotations.as_ref().unwrap_or(&empty);
    let is_compared = |name: &String| name != REVISION && name != CREATED;
    if let Some(name) = first_difference(our_annotations, their_annotations, is_compared) {
        return Err(ImageDifference::Annotation(name));
    }
    if both_have_index && let Some(name) = first_difference(&ours.rest, &theirs.rest, |_| true) {
        return Err(ImageDifference::IndexField(name));
    }
    Ok(both_have_index && our_annotations.get(REVISION) == their_annotations.get(REVISION))
}

/// Returns the first key for which the maps differ, among those that `is_compared` accepts.
fn first_difference<V: PartialEq>(
    ours: &BTreeMap<String, V>,
    theirs: &BTreeMap<String, V>,
    is_compared: impl Fn(&String) -> bool,
) -> Option<String> {
    let mut keys = ours.keys().chain(theirs.keys());
    keys.find(|key| is_compared(key) && ours.get(*key) != theirs.get(*key))
        .cloned()
}

#[cfg(test)]
mod tests;
