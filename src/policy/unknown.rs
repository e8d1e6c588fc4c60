//! Which unknown fields of a source a decision depends on, and what is asked for them.

use std::collections::{BTreeMap, BTreeSet};

use super::input::PREDICATES;
use super::reading::{Mention, Place};
use crate::types::build_source::{CommitQuestion, ImageQuestion, SourceFacts, SourceQuestion};

/// The lines that an evaluation has reached, by file.
pub(super) type ReachedLines = BTreeMap<String, BTreeSet<u32>>;

/// Those of `unknown`, such as `image.labels`, that are mentioned at `places`. With `reached`, only places on these lines count.
pub(super) fn mentioned<'u>(
    unknown: &'u [String],
    places: &[Place],
    reached: Option<&ReachedLines>,
) -> Vec<&'u str> {
    let is_reached = |place: &&Place| match reached {
        Some(lines) => lines
            .get(&place.file)
            .is_some_and(|lines| lines.contains(&place.line)),
        None => true,
    };
    let places: Vec<&Mention> = places
        .iter()
        .filter(is_reached)
        .map(|place| &place.what)
        .collect();
    let is_mentioned = |field: &&str| {
        let parts: Vec<&str> = field.split('.').collect();
        places.iter().any(|place| names(place, &parts))
            || [0, 1].into_iter().any(|known| {
                let escapes = places
                    .iter()
                    .any(|place| hands_over(place, &parts[..known]));
                escapes
                    && places
                        .iter()
                        .any(|place| has_fields(place, &parts[known..]))
            })
    };
    let unknown = unknown.iter().map(String::as_str);
    unknown.filter(is_mentioned).collect()
}

/// Those of `unknown` that any value has a field for, at a place on a line of `reached`.
pub(super) fn fields_mentioned<'u>(
    unknown: &'u [String],
    places: &[Place],
    reached: &ReachedLines,
) -> Option<&'u str> {
    let mut places = places.iter().filter(|place| {
        let lines = reached.get(&place.file);
        lines.is_some_and(|lines| lines.contains(&place.line))
    });
    places.find_map(|place| {
        let mut unknown = unknown.iter().map(String::as_str);
        unknown.find(|field| {
            let parts: Vec<&str> = field.split('.').collect();
            match &place.what {
                Mention::Input { path, .. } => {
                    let materials = path.iter().position(|part| part == "materials");
                    materials.is_some_and(|at| contains(&path[at..], &parts))
                }
                Mention::Fields(fields) => contains(fields, &parts),
                Mention::Call(_) => false,
            }
        })
    })
}

/// Whether `mention` names the field `parts` below `input`, or something in it.
fn names(mention: &Mention, parts: &[&str]) -> bool {
    match mention {
        Mention::Input { path, .. } => {
            path.len() >= parts.len() && path.iter().zip(parts).all(|(a, b)| a == b)
        }
        Mention::Fields(_) | Mention::Call(_) => false,
    }
}

/// Whether `mention` hands over exactly `parts` of `input`.
fn hands_over(mention: &Mention, parts: &[&str]) -> bool {
    matches!(mention, Mention::Input { path, escapes: true } if path == parts)
}

/// Whether `mention` has the fields `parts`, one behind the other.
fn has_fields(mention: &Mention, parts: &[&str]) -> bool {
    matches!(mention, Mention::Fields(fields) if contains(fields, parts))
}

fn contains(fields: &[String], parts: &[&str]) -> bool {
    fields.windows(parts.len()).any(|window| window == parts)
}

/// The question whose answer has `fields`. `None` if there is none to ask.
///
/// The daemon forgets what it has answered before, so what is known already is part of the question.
pub(super) fn question(fields: &[&str], facts: &SourceFacts) -> Option<SourceQuestion> {
    if fields.is_empty() {
        return None;
    }
    let mut question = SourceQuestion::default();
    for field in fields {
        match *field {
            "image.hasProvenance" | "image.signatures" => {
                question.image.get_or_insert_default().attestations = true;
            }
            "image.provenance" => {
                let image = question.image.get_or_insert_default();
                image.attestations = true;
                image.predicates = PREDICATES.map(str::to_owned).to_vec();
            }
            "git.commit" | "git.tag" => {
                question.git = Some(CommitQuestion { objects: true });
            }
            // The checksum of a download is always part of the answer.
            "http.checksum" => {}
            field if field.starts_with("git.") => {
                question.git.get_or_insert_default();
            }
            _ => question.image.get_or_insert_default().config = true,
        }
    }
    if let (Some(image), Some(known)) = (&mut question.image, &facts.image) {
        keep_image(image, known);
    }
    if let (Some(git), Some(known)) = (&mut question.git, &facts.git) {
        git.objects |= !known.commit.is_empty();
    }
    Some(question)
}

fn keep_image(image: &mut ImageQuestion, known: &crate::types::build_source::SourceImage) {
    image.config |= known.config.is_some();
    if let Some(attestations) = &known.attestations {
        image.attestations = true;
        let has_content = attestations
            .blobs
            .values()
            .any(|blob| !blob.annotations.is_empty());
        if has_content && image.predicates.is_empty() {
            image.predicates = PREDICATES.map(str::to_owned).to_vec();
        }
    }
}
