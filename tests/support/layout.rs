//! Image layouts, read so that two of them can be compared.

use std::path::Path;

use serde_json::{Value, json};

/// Unpacks the archive `archive` into the new directory `dir`.
#[track_caller]
pub(crate) fn unpack(archive: &Path, dir: &Path) {
    let file = std::fs::File::open(archive).unwrap();
    tar::Archive::new(file).unpack(dir).unwrap();
}

/// A blob of the layout at `dir`, as JSON.
#[track_caller]
pub(crate) fn blob(dir: &Path, digest: &str) -> Value {
    let path = dir.join("blobs").join(digest.replace(':', "/"));
    let text = std::fs::read(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    serde_json::from_slice(&text).unwrap()
}

/// The entries of the index of the layout at `dir`.
#[track_caller]
pub(crate) fn entries(dir: &Path) -> Vec<Value> {
    let text = std::fs::read(dir.join("index.json")).unwrap();
    let index: Value = serde_json::from_slice(&text).unwrap();
    index["manifests"].as_array().unwrap().clone()
}

/// All images of the layout at `dir`: their names, platforms, configurations and layers. Digests of layers stand for their
/// content. Of attestations, only the types of their statements are described, because their content differs with each run.
#[track_caller]
pub(crate) fn described(dir: &Path) -> Value {
    entries(dir).iter().map(|entry| image(dir, entry)).collect()
}

fn image(dir: &Path, descriptor: &Value) -> Value {
    let manifest = blob(dir, descriptor["digest"].as_str().unwrap());
    let mut annotations = descriptor["annotations"].clone();
    if let Value::Object(annotations) = &mut annotations {
        // The time of the export, and the digest of an image, which depends on its attestations.
        for own in [
            "org.opencontainers.image.created",
            "vnd.docker.reference.digest",
        ] {
            annotations.remove(own);
        }
    }
    let mut described = json!({
        "annotations": annotations,
        "platform": descriptor["platform"],
        "type": descriptor["mediaType"],
        "own annotations": manifest["annotations"],
    });
    if let Value::Array(children) = &manifest["manifests"] {
        described["images"] = children.iter().map(|child| image(dir, child)).collect();
        return described;
    }
    let layers = manifest["layers"].as_array().unwrap();
    let predicate = |layer: &Value| layer["annotations"]["in-toto.io/predicate-type"].clone();
    if layers.iter().any(|layer| !predicate(layer).is_null()) {
        described["statements"] = layers.iter().map(predicate).collect();
        return described;
    }
    described["config"] = blob(dir, manifest["config"]["digest"].as_str().unwrap());
    described["layers"] = manifest["layers"].clone();
    described
}
