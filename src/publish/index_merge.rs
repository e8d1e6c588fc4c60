//! Makes one index of the indexes that several nodes have built, each for some platforms of an image.
//!
//! The result is the one of buildx v0.36.1 (`util/imagetools/create.go`, `combine`): the entries of all indexes in the order of the
//! nodes, each once, among them those of attestations. The annotations of the indexes are dropped, and those that the definition asks for
//! are set again. An index whose entries are all of Docker's types is a list of Docker's type, which has no annotations.

use serde::Deserialize;
use serde_json::{Map, Value};

use super::compare::MANIFEST_LIMIT;
use crate::types::{Digest, Platform};

const OCI_INDEX: &str = "application/vnd.oci.image.index.v1+json";
const DOCKER_LIST: &str = "application/vnd.docker.distribution.manifest.list.v2+json";
/// The beginning of Docker's media types.
const OF_DOCKER: &str = "application/vnd.docker.";

/// The most entries of an index: platforms and their attestations.
const MOST_ENTRIES: usize = 1_000;

/// Indexes cannot be merged.
#[derive(Debug, thiserror::Error)]
pub(crate) enum IndexMergeError {
    /// A part is too large, or the result would be.
    #[error("an index has more than {MANIFEST_LIMIT} bytes")]
    TooLarge,
    /// There are too many entries.
    #[error("an index has more than {MOST_ENTRIES} entries")]
    TooMany,
    /// A part is not an index.
    #[error("what a node has built is not a valid index")]
    Form(#[source] serde_json::Error),
    /// An entry of a part has no digest or no media type.
    #[error("an entry of an index has no digest or no media type")]
    Entry,
    /// There is nothing in the parts.
    #[error("the indexes have no entries")]
    Empty,
}

/// An annotation of an index, or of the descriptors in it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct IndexAnnotation {
    place: AnnotatedPlace,
    key: String,
    value: String,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum AnnotatedPlace {
    Index,
    /// The descriptors of this platform, or all of them.
    Descriptors(Option<Platform>),
}

impl IndexAnnotation {
    /// The annotation that the attribute `name` of an exporter asks for: `annotation-index[PLATFORM].KEY` or
    /// `annotation-manifest-descriptor[PLATFORM].KEY`, with or without a platform. `None` for all other attributes; the nodes set those
    /// annotations of manifests themselves.
    pub(crate) fn of(name: &str, value: &str) -> Option<Self> {
        let rest = name.strip_prefix("annotation-")?;
        let (place, key) = if let Some(rest) = rest.strip_prefix("index") {
            // An index is for all platforms, so one that is named does not count.
            let key = match rest.strip_prefix('[') {
                Some(rest) => rest.split_once("].").map(|(_, key)| key),
                None => rest.strip_prefix('.'),
            };
            (AnnotatedPlace::Index, key?)
        } else {
            let rest = rest.strip_prefix("manifest-descriptor")?;
            match rest.strip_prefix('[') {
                None => (AnnotatedPlace::Descriptors(None), rest.strip_prefix('.')?),
                Some(rest) => {
                    let (platform, key) = rest.split_once("].")?;
                    let platform = platform.parse().ok()?;
                    (AnnotatedPlace::Descriptors(Some(platform)), key)
                }
            }
        };
        Some(Self {
            place,
            key: key.to_owned(),
            value: value.to_owned(),
        })
    }
}

/// An index that was merged.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct MergedIndex {
    /// The media type.
    pub(crate) media_type: &'static str,
    /// The text, indented as BuildKit and buildx write it.
    pub(crate) bytes: Vec<u8>,
}

#[derive(Deserialize)]
struct IndexPart {
    manifests: Vec<Map<String, Value>>,
}

/// Merges `parts`, the bytes of indexes, which are not trusted.
///
/// # Errors
/// A part is not an index, or there are too many entries.
pub(crate) fn merged(
    parts: &[&[u8]],
    annotations: &[IndexAnnotation],
) -> Result<MergedIndex, IndexMergeError> {
    let mut entries: Vec<Map<String, Value>> = Vec::new();
    for part in parts {
        if part.len() > MANIFEST_LIMIT {
            return Err(IndexMergeError::TooLarge);
        }
        let part: IndexPart = serde_json::from_slice(part).map_err(IndexMergeError::Form)?;
        for entry in part.manifests {
            if entries.len() >= MOST_ENTRIES {
                return Err(IndexMergeError::TooMany);
            }
            add(&mut entries, entry)?;
        }
    }
    if entries.is_empty() {
        return Err(IndexMergeError::Empty);
    }
    let mut media_types = entries.iter().map(|entry| text(entry, "mediaType"));
    let is_of_docker = media_types.all(|media_type| media_type.starts_with(OF_DOCKER));
    let media_type = if is_of_docker { DOCKER_LIST } else { OCI_INDEX };
    let mut index = Map::new();
    index.insert("schemaVersion".to_owned(), 2.into());
    index.insert("mediaType".to_owned(), media_type.into());
    let mut of_index = Map::new();
    if !is_of_docker {
        for annotation in annotations {
            annotate(annotation, &mut of_index, &mut entries);
        }
    }
    let entries = entries.into_iter().map(Value::Object).collect();
    index.insert("manifests".to_owned(), Value::Array(entries));
    if !of_index.is_empty() {
        // As Go writes a map.
        of_index.sort_keys();
        index.insert("annotations".to_owned(), Value::Object(of_index));
    }
    let bytes = serde_json::to_vec_pretty(&index).map_err(IndexMergeError::Form)?;
    if bytes.len() > MANIFEST_LIMIT {
        return Err(IndexMergeError::TooLarge);
    }
    Ok(MergedIndex { media_type, bytes })
}

/// Adds an entry. If one with its digest is there already, that gets its platform and annotations.
fn add(
    entries: &mut Vec<Map<String, Value>>,
    entry: Map<String, Value>,
) -> Result<(), IndexMergeError> {
    let digest = text(&entry, "digest").to_owned();
    if digest.parse::<Digest>().is_err() || text(&entry, "mediaType").is_empty() {
        return Err(IndexMergeError::Entry);
    }
    let known = entries
        .iter_mut()
        .find(|known| text(known, "digest") == digest);
    let Some(known) = known else {
        entries.push(entry);
        return Ok(());
    };
    for (name, value) in entry {
        match name.as_str() {
            "platform" => {
                known.insert(name, value);
            }
            "annotations" => {
                for (key, value) in value.as_object().into_iter().flatten() {
                    set(known, key, value.clone());
                }
            }
            _ => {}
        }
    }
    Ok(())
}

fn annotate(
    annotation: &IndexAnnotation,
    of_index: &mut Map<String, Value>,
    entries: &mut [Map<String, Value>],
) {
    let value = Value::from(annotation.value.as_str());
    match &annotation.place {
        AnnotatedPlace::Index => {
            of_index.insert(annotation.key.clone(), value);
        }
        AnnotatedPlace::Descriptors(wanted) => {
            for entry in entries {
                if wanted.is_none() || *wanted == platform(entry) {
                    set(entry, &annotation.key, value.clone());
                }
            }
        }
    }
}

/// Sets an annotation of `entry`.
fn set(entry: &mut Map<String, Value>, key: &str, value: Value) {
    if !entry.contains_key("annotations") {
        // Annotations come before the platform and the type of an artifact, as in the structure of Go.
        let after: Vec<_> = ["data", "platform", "artifactType"]
            .into_iter()
            .filter_map(|name| entry.shift_remove_entry(name))
            .collect();
        entry.insert("annotations".to_owned(), Value::Object(Map::new()));
        entry.extend(after);
    }
    if let Some(Value::Object(annotations)) = entry.get_mut("annotations") {
        annotations.insert(key.to_owned(), value);
        annotations.sort_keys();
    }
}

/// The platform of `entry`. `None` if it has none that can be parsed.
fn platform(entry: &Map<String, Value>) -> Option<Platform> {
    let fields = entry.get("platform")?.as_object()?;
    let mut name = format!("{}/{}", text(fields, "os"), text(fields, "architecture"));
    let variant = text(fields, "variant");
    if !variant.is_empty() {
        name = format!("{name}/{variant}");
    }
    name.parse().ok()
}

fn text<'f>(fields: &'f Map<String, Value>, name: &str) -> &'f str {
    fields.get(name).and_then(Value::as_str).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;
    use test_case::test_case;

    const OCI: &str = "application/vnd.oci.image.manifest.v1+json";
    const DOCKER: &str = "application/vnd.docker.distribution.manifest.v2+json";

    fn digest(of: &str) -> String {
        Digest::sha256(of.as_bytes()).to_string()
    }

    fn entry(media_type: &str, of: &str, architecture: &str) -> Value {
        json!({"mediaType": media_type, "digest": digest(of), "size": 7, "platform": {"architecture": architecture, "os": "linux"}})
    }

    fn attestation(of: &str) -> Value {
        json!({"mediaType": OCI, "digest": digest(&format!("attestation of {of}")), "size": 9, "annotations": {"vnd.docker.reference.digest": digest(of), "vnd.docker.reference.type": "attestation-manifest"}, "platform": {"architecture": "unknown", "os": "unknown"}})
    }

    fn index(entries: &[Value]) -> Vec<u8> {
        json!({"schemaVersion": 2, "mediaType": OCI_INDEX, "manifests": entries, "annotations": {"dropped": "yes"}})
            .to_string()
            .into_bytes()
    }

    fn merge(
        parts: &[Vec<u8>],
        annotations: &[(&str, &str)],
    ) -> Result<(&'static str, Value), IndexMergeError> {
        let parts: Vec<&[u8]> = parts.iter().map(Vec::as_slice).collect();
        let annotations: Vec<_> = annotations
            .iter()
            .filter_map(|(name, value)| IndexAnnotation::of(name, value))
            .collect();
        let merged = merged(&parts, &annotations)?;
        assert!(
            merged
                .bytes
                .starts_with(b"{\n  \"schemaVersion\": 2,\n  \"mediaType\"")
        );
        Ok((
            merged.media_type,
            serde_json::from_slice(&merged.bytes).unwrap(),
        ))
    }

    #[test]
    fn all_entries_are_kept_in_the_order_of_the_nodes() {
        let one = [entry(OCI, "a", "amd64"), attestation("a")];
        let other = [entry(OCI, "b", "arm64"), attestation("b")];
        let (media_type, merged) = merge(&[index(&one), index(&other)], &[]).unwrap();
        assert_eq!(media_type, OCI_INDEX);
        let expected = [one.to_vec(), other.to_vec()].concat();
        assert_eq!(
            merged,
            json!({"schemaVersion": 2, "mediaType": OCI_INDEX, "manifests": expected})
        );
    }

    #[test]
    fn an_entry_of_two_nodes_is_there_once_with_the_annotations_of_both() {
        let mut one = entry(OCI, "a", "amd64");
        one["annotations"] = json!({"x": "1", "y": "1"});
        let mut other = entry(OCI, "a", "amd64");
        other["annotations"] = json!({"y": "2"});
        let (_, merged) = merge(&[index(&[one.clone()]), index(&[other])], &[]).unwrap();
        one["annotations"] = json!({"x": "1", "y": "2"});
        assert_eq!(merged["manifests"], json!([one]));
    }

    #[test]
    fn annotations_are_set_on_the_index_and_on_descriptors() {
        let parts = [
            index(&[entry(OCI, "a", "amd64"), attestation("a")]),
            index(&[entry(OCI, "b", "arm64")]),
        ];
        let annotations = [
            ("annotation-index.title", "t"),
            ("annotation-index[linux/arm64].author", "me"),
            ("annotation-manifest-descriptor[linux/arm64/v8].only", "arm"),
            ("annotation-manifest-descriptor.each", "all"),
            ("annotation-manifest.inside", "the nodes set it"),
            ("annotation.inside", "the nodes set it"),
            ("annotation-index-descriptor.outside", "nobody has it"),
        ];
        let (_, merged) = merge(&parts, &annotations).unwrap();
        assert_eq!(
            merged["annotations"].to_string(),
            r#"{"author":"me","title":"t"}"#
        );
        let of = |number: usize| merged["manifests"][number]["annotations"].clone();
        assert_eq!(of(0), json!({"each": "all"}));
        // As buildx does.
        assert_eq!(of(1)["each"], "all");
        assert_eq!(of(2), json!({"each": "all", "only": "arm"}));
        let names: Vec<&String> = merged["manifests"][0].as_object().unwrap().keys().collect();
        assert_eq!(
            names,
            ["mediaType", "digest", "size", "annotations", "platform"]
        );
    }

    #[test]
    fn a_list_of_dockers_types_has_no_annotations() {
        let parts = [
            index(&[entry(DOCKER, "a", "amd64")]),
            index(&[entry(DOCKER, "b", "arm64")]),
        ];
        let (media_type, merged) = merge(&parts, &[("annotation-index.a", "b")]).unwrap();
        assert_eq!((media_type, merged.get("annotations")), (DOCKER_LIST, None));
    }

    #[test_case(b"[]"; "a list")]
    #[test_case(b"{\"manifests\":[7]}"; "a number in place of an entry")]
    #[test_case(b"{\"manifests\":[{}]}"; "an empty entry")]
    #[test_case(b"{\"manifests\":[]}"; "no entry")]
    #[test_case(b"{\"schemaVersion\":2,\"config\":{},\"layers\":[]}"; "the manifest of one image")]
    fn parts_that_are_not_indexes_are_refused(part: &[u8]) {
        assert!(merge(&[part.to_vec()], &[]).is_err());
    }

    #[test]
    fn hostile_sizes_are_refused() {
        let many: Vec<Value> = (0..=MOST_ENTRIES)
            .map(|number| entry(OCI, &number.to_string(), "amd64"))
            .collect();
        assert!(matches!(
            merge(&[index(&many)], &[]),
            Err(IndexMergeError::TooMany)
        ));
        assert!(matches!(
            merge(&[vec![b' '; MANIFEST_LIMIT + 1]], &[]),
            Err(IndexMergeError::TooLarge)
        ));
    }
}
