//! Finds an image in a layout that a solve reads.

use std::path::{Path, PathBuf};

use serde_json::{Value, json};

use super::index::{NAME, TAG, annotation, manifests};
use super::layout::{LayoutDirectory, LayoutError};
use crate::types::Digest;

/// The most digests that a message lists.
const LISTED: usize = 5;

/// An image of a layout.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct LayoutImage {
    /// The layout that holds the image.
    pub(crate) layout: LayoutDirectory,
    /// The digest of its manifest or index.
    pub(crate) digest: Digest,
    /// Whether the image has neither the tag nor the digest that was asked for: it is used because it is the only one.
    pub(crate) is_other: bool,
}

/// Why a layout has no such image.
#[derive(Debug, thiserror::Error)]
pub(crate) enum LayoutImageError {
    /// There is no directory at this path.
    #[error("`{}` is not a directory", .0.display())]
    NoDirectory(PathBuf),
    /// The layout cannot be read.
    #[error("the layout cannot be read")]
    Layout(#[from] LayoutError),
    /// The index does not lead to an image. The text says what it has instead.
    #[error("{0}")]
    NotFound(String),
    /// The index has several images, and none has this tag.
    #[error("it has several images, and none is tagged `{tag}`: {images}")]
    Several {
        /// The tag that was asked for.
        tag: String,
        /// The digests of some of them.
        images: String,
    },
    /// The layout has no such blob.
    #[error("it has no blob {0}")]
    NoBlob(Digest),
}

/// The largest manifest or index that is described, in bytes.
const DESCRIBED: usize = 16 << 20;

impl LayoutDirectory {
    /// The descriptor of the manifest or index `digest`, as JSON without annotations. Blocks.
    ///
    /// # Errors If there is no such blob, or it has no media type.
    pub(crate) fn describe(&self, digest: &Digest) -> Result<String, LayoutError> {
        let malformed = |reason: &str| LayoutError::Malformed {
            path: self.blob_path(digest),
            reason: reason.to_owned(),
        };
        let blob = self.read_blob(digest, DESCRIBED)?;
        let blob = blob.ok_or_else(|| malformed("it is missing"))?;
        let manifest: Value = serde_json::from_slice(&blob).unwrap_or_default();
        let media_type = manifest["mediaType"].as_str();
        let media_type = media_type.ok_or_else(|| malformed("it has no media type"))?;
        let descriptor = json!({
            "mediaType": media_type,
            "digest": digest.as_str(),
            "size": blob.len(),
        });
        Ok(descriptor.to_string())
    }
}

/// Finds an image in the layout at `root`: the one with `digest`, or else the one whose full name or tag is `tag`, or else
/// the only one that the index has. This is what buildx does (`resolveDigest` in `build/opt.go`). Blocks.
///
/// # Errors If there is no such image, or its manifest is missing.
pub(crate) fn find_image(
    root: &Path,
    tag: &str,
    digest: Option<&Digest>,
) -> Result<LayoutImage, LayoutImageError> {
    let layout = LayoutDirectory::open(root)?;
    let layout = layout.ok_or_else(|| LayoutImageError::NoDirectory(root.to_owned()))?;
    let (digest, is_other) = match digest {
        Some(digest) => (digest.clone(), false),
        None => match layout.tagged(tag)? {
            Some(digest) => (digest, false),
            None => (only_image(&layout, tag)?, true),
        },
    };
    if layout.blob(&digest)?.is_none() {
        return Err(LayoutImageError::NoBlob(digest));
    }
    Ok(LayoutImage {
        layout,
        digest,
        is_other,
    })
}

/// The digest of the only image of `layout`, which has no image with `tag`.
fn only_image(layout: &LayoutDirectory, tag: &str) -> Result<Digest, LayoutImageError> {
    let index = layout.read_index()?;
    let entries = manifests(&index);
    if let [only] = entries {
        return Ok(layout.digest_of(only)?);
    }
    let is_named = |key| entries.iter().any(|entry| annotation(entry, key).is_some());
    if entries.is_empty() || is_named(TAG) || is_named(NAME) {
        return Err(LayoutImageError::NotFound(layout.without(tag)?));
    }
    let digests = entries.iter().take(LISTED).map(|one| layout.digest_of(one));
    let digests: Vec<Digest> = digests.collect::<Result<_, _>>()?;
    let mut images: Vec<String> = digests.iter().map(ToString::to_string).collect();
    if entries.len() > LISTED {
        images.push(format!("and {} more", entries.len() - LISTED));
    }
    Err(LayoutImageError::Several {
        tag: tag.to_owned(),
        images: images.join(", "),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Images {
        dir: tempfile::TempDir,
        layout: LayoutDirectory,
        digests: Vec<Digest>,
    }

    // A layout with an image for each name: a tag, a full name, or nothing.
    fn images(names: &[&str]) -> Images {
        let dir = tempfile::tempdir().unwrap();
        let layout = LayoutDirectory::create(dir.path()).unwrap();
        let digests: Vec<Digest> = (0..names.len())
            .map(|at| layout.write_blob(at.to_string().as_bytes()).unwrap())
            .collect();
        let entry = |(name, digest): (&&str, &Digest)| {
            let annotations = match *name {
                "" => json!({}),
                full if full.contains('/') => json!({NAME: full}),
                tag => json!({TAG: tag}),
            };
            json!({"digest": digest.as_str(), "annotations": annotations})
        };
        let entries: Vec<_> = names.iter().zip(&digests).map(entry).collect();
        let index = json!({"schemaVersion": 2, "manifests": entries});
        std::fs::write(dir.path().join("index.json"), index.to_string()).unwrap();
        Images {
            dir,
            layout,
            digests,
        }
    }

    impl Images {
        fn find(&self, tag: &str, digest: Option<&Digest>) -> Result<(usize, bool), String> {
            let found = find_image(self.dir.path(), tag, digest);
            let found = found.map_err(|error| crate::types::causes::in_one_line(&error))?;
            let at = self.digests.iter().position(|one| *one == found.digest);
            Ok((at.unwrap(), found.is_other))
        }
    }

    #[test]
    fn images_are_found_by_digest_name_and_tag() {
        let images = images(&["a", "b", "host/x:a", "b"]);
        assert_eq!(images.find("b", None), Ok((1, false)));
        assert_eq!(images.find("host/x:a", None), Ok((2, false)));
        assert_eq!(images.find("a", Some(&images.digests[3])), Ok((3, false)));
    }

    #[test]
    fn the_only_image_is_used_whatever_its_tag() {
        for name in ["", "a", "host/x:a"] {
            assert_eq!(images(&[name]).find("latest", None), Ok((0, true)));
        }
    }

    #[test]
    fn the_reason_says_what_the_layout_has_instead() {
        let found = |names: &[&str]| images(names).find("x", None).unwrap_err();
        assert_eq!(
            found(&["a", "b"]),
            "it has no tag `x`; there are `a` and `b`"
        );
        assert_eq!(found(&[]), "it has neither the tag `x` nor any other tag");
        let several = found(&["", ""]);
        assert!(
            several.starts_with("it has several images, and none is tagged `x`: sha256:5feceb"),
            "{several}"
        );
        assert!(found(&[""; 7]).ends_with("and 2 more"));
        let absent = Digest::sha256(b"absent");
        let images = images(&["x"]);
        assert_eq!(
            images.find("x", Some(&absent)),
            Err(format!("it has no blob {absent}"))
        );
        let blob = images.layout.blob_path(&images.digests[0]);
        std::fs::remove_file(blob).unwrap();
        assert_eq!(
            images.find("x", None),
            Err(format!("it has no blob {}", images.digests[0]))
        );
    }

    #[test]
    fn directories_that_are_not_layouts_and_hostile_indexes_are_refused() {
        let dir = tempfile::tempdir().unwrap();
        let index = dir.path().join("index.json");
        let reason = || {
            let error = find_image(dir.path(), "x", None).unwrap_err();
            crate::types::causes::in_one_line(&error)
        };
        assert_eq!(reason(), "the directory is empty");
        std::fs::write(dir.path().join("file"), "").unwrap();
        assert!(
            reason().contains("it is not an image layout"),
            "{}",
            reason()
        );
        for (text, expected) in [
            ("[]", "it is not a JSON object"),
            ("{", "EOF"),
            (r#"{"manifests":[{}]}"#, "an entry has no digest"),
            (r#"{"manifests":[{"digest":"../../etc"}]}"#, "no digest"),
            (r#"{"manifests":7}"#, "it has neither the tag `x`"),
        ] {
            std::fs::write(&index, text).unwrap();
            assert!(reason().contains(expected), "{text}: {}", reason());
        }
        // A sparse file, which takes no space.
        let huge = std::fs::File::create(&index).unwrap();
        huge.set_len(1 << 40).unwrap();
        assert!(reason().contains("larger than"), "{}", reason());
        std::fs::remove_file(&index).unwrap();
        std::os::unix::fs::symlink("/etc/passwd", &index).unwrap();
        assert!(
            reason().contains("leads out of the directory"),
            "{}",
            reason()
        );
        let none = find_image(&dir.path().join("none"), "x", None).unwrap_err();
        assert!(matches!(none, LayoutImageError::NoDirectory(_)), "{none}");
    }
}
