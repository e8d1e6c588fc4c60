//! `index.json`: the names of the images and caches in a layout.
//!
//! The client writes this file after a solve; the daemon does not. Other programs may write it at the same time, so
//! changes are made under the lock that BuildKit's clients use, and unknown fields are kept.

use std::collections::BTreeSet;
use std::io;
use std::path::Path;
use std::time::Duration;

use serde_json::{Map, Value, json};

use super::layout::{LayoutDirectory, LayoutError, write_whole};
use crate::diag::names_there_are;
use crate::types::Digest;
use crate::types::causes::in_one_line;
use crate::types::lock::FileLock;
use crate::types::regular::read_regular;

pub(super) const TAG: &str = "org.opencontainers.image.ref.name";
pub(super) const NAME: &str = "io.containerd.image.name";

/// The most time to wait for a lock that another program holds.
const LOCK_TIMEOUT: Duration = Duration::from_secs(30);

/// The largest index that is read, in bytes.
const INDEX_LIMIT: u64 = 64 << 20;

/// The largest manifest that is read, in bytes.
const MANIFEST_LIMIT: u64 = 64 << 20;

/// The name of an entry of the index.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum IndexName {
    /// A tag, as for caches.
    Tag(String),
    /// The full name of an image. The entry gets the name's tag, too.
    Image(String),
}

impl IndexName {
    /// Returns the tag and the full name. The full name is empty for a tag.
    fn annotations(&self) -> (&str, &str) {
        match self {
            Self::Tag(tag) => (tag, ""),
            Self::Image(name) => {
                let last = name.rsplit('/').next().unwrap_or(name);
                let tag = last.split_once('@').map_or(last, |(tag, _)| tag);
                let tag = tag.split_once(':').map_or("latest", |(_, tag)| tag);
                (tag, name)
            }
        }
    }
}

/// The result of a search for a cache.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum CacheSource {
    /// The cache was found.
    Found {
        /// The layout that holds the cache.
        layout: LayoutDirectory,
        /// The digest of the cache's manifest.
        digest: Digest,
    },
    /// The cache was not found, for this reason. The build goes on without it.
    Missing(String),
}

/// Finds the cache with `digest` in the layout at `root`, or the one with the given `tag` if there is no digest.
/// Blocks.
///
/// A missing cache is a result, not an error, because the first build of a project has no cache.
pub fn find_cache(root: &Path, tag: &str, digest: Option<&Digest>) -> CacheSource {
    let found = || -> Result<CacheSource, LayoutError> {
        let Some(layout) = LayoutDirectory::open(root)? else {
            return Ok(CacheSource::Missing(no_directory(root)));
        };
        let tagged = match digest {
            Some(digest) => Some(digest.clone()),
            None => layout.tagged(tag)?,
        };
        let Some(digest) = tagged else {
            return Ok(CacheSource::Missing(layout.without(tag)?));
        };
        if layout.blob(&digest)?.is_none() {
            return Ok(CacheSource::Missing(format!("it has no blob {digest}")));
        }
        Ok(CacheSource::Found { layout, digest })
    };
    found().unwrap_or_else(|error| CacheSource::Missing(in_one_line(&error)))
}

/// Why there is no directory at `root`.
fn no_directory(root: &Path) -> String {
    match std::fs::metadata(root) {
        Ok(_) => "it is a file; a cache must be a directory".to_owned(),
        Err(_) => "there is no such directory".to_owned(),
    }
}

impl LayoutDirectory {
    /// Why the layout does not have `tag`. The text lists the tags that it has.
    pub(super) fn without(&self, tag: &str) -> Result<String, LayoutError> {
        let path = self.root().join("index.json");
        if !path.exists() {
            let is_empty = std::fs::read_dir(self.root())
                .map_err(LayoutError::io("list", self.root()))?
                .next()
                .is_none();
            return Ok(if is_empty {
                "the directory is empty".to_owned()
            } else {
                "it has no `index.json`, so it is not an image layout".to_owned()
            });
        }
        let index = self.read_index()?;
        let entries = manifests(&index);
        let tags = entries.iter().filter_map(|entry| annotation(entry, TAG));
        Ok(match names_there_are(tags) {
            Some(tags) => format!("it has no tag `{tag}`; {tags}"),
            None => format!("it has neither the tag `{tag}` nor any other tag"),
        })
    }

    /// Reads the index. A missing or empty file is an empty index.
    pub(super) fn read_index(&self) -> Result<Map<String, Value>, LayoutError> {
        let path = self.root().join("index.json");
        let malformed = |reason: String| LayoutError::Malformed {
            path: path.clone(),
            reason,
        };
        let text = match read_regular(&path, INDEX_LIMIT) {
            Ok(text) if text.is_empty() => return Ok(Map::new()),
            Ok(text) => text,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Map::new()),
            Err(error) => return Err(LayoutError::io("read", &path)(error)),
        };
        match serde_json::from_slice(&text) {
            Ok(Value::Object(index)) => Ok(index),
            Ok(_) => Err(malformed("it is not a JSON object".to_owned())),
            Err(error) => Err(malformed(error.to_string())),
        }
    }

    /// The digest of the entry whose full name or tag is `tag`. `None` if there is no such entry. Blocks.
    pub(crate) fn tagged(&self, tag: &str) -> Result<Option<Digest>, LayoutError> {
        let index = self.read_index()?;
        let manifests = manifests(&index);
        let by = |key: &str| {
            manifests
                .iter()
                .find(|entry| annotation(entry, key) == Some(tag))
        };
        let entry = by(NAME).or_else(|| by(TAG));
        entry.map(|entry| self.digest_of(entry)).transpose()
    }

    /// The digest of a descriptor. Fails if there is none or if it is invalid.
    pub(super) fn digest_of(&self, descriptor: &Value) -> Result<Digest, LayoutError> {
        let text = descriptor.get("digest").and_then(Value::as_str);
        let digest = text.and_then(|text| text.parse().ok());
        digest.ok_or_else(|| LayoutError::Malformed {
            path: self.root().join("index.json"),
            reason: "an entry has no digest".to_owned(),
        })
    }

    /// Adds the JSON descriptor `descriptor` to the index under each of `names`, and removes the entries that had
    /// these names. If there are no names, adds it without a name.
    pub async fn enter(&self, descriptor: &str, names: &[IndexName]) -> Result<(), LayoutError> {
        let path = self.root().join("index.json");
        let Ok(Value::Object(descriptor)) = serde_json::from_str(descriptor) else {
            return Err(LayoutError::Malformed {
                path,
                reason: "the new entry is not a descriptor".to_owned(),
            });
        };
        self.digest_of(&Value::Object(descriptor.clone()))?;
        let lock = Lock::take(&path.with_extension("json.lock")).await?;
        let (layout, names) = (self.clone(), names.to_vec());
        let entered = tokio::task::spawn_blocking(move || {
            let _lock = lock;
            layout.enter_locked(&descriptor, &names)
        });
        match entered.await {
            Ok(result) => result,
            Err(error) => Err(LayoutError::io("write", &path)(error.into())),
        }
    }

    /// Changes the index; the caller holds the lock. Creates the file `oci-layout` if it is missing.
    fn enter_locked(
        &self,
        descriptor: &Map<String, Value>,
        names: &[IndexName],
    ) -> Result<(), LayoutError> {
        let layout_file = self.root().join("oci-layout");
        if !layout_file.exists() {
            write_whole(&layout_file, br#"{"imageLayoutVersion":"1.0.0"}"#)?;
        }
        let mut index = self.read_index()?;
        index.entry("schemaVersion").or_insert(json!(2));
        index
            .entry("mediaType")
            .or_insert(json!("application/vnd.oci.image.index.v1+json"));
        let mut entries = manifests(&index).to_vec();
        if names.is_empty() {
            entries.push(Value::Object(descriptor.clone()));
        }
        for name in names {
            let (tag, full) = name.annotations();
            entries.retain(|entry| {
                annotation(entry, TAG) != Some(tag)
                    || annotation(entry, NAME).unwrap_or_default() != full
            });
            let mut entry = descriptor.clone();
            let annotations = entry.entry("annotations").or_insert(json!({}));
            if let Value::Object(annotations) = annotations {
                annotations.insert(TAG.to_owned(), json!(tag));
                if !full.is_empty() {
                    annotations.insert(NAME.to_owned(), json!(full));
                }
            }
            entries.push(Value::Object(entry));
        }
        index.insert("manifests".to_owned(), Value::Array(entries));
        write_whole(
            &self.root().join("index.json"),
            Value::Object(index).to_string().as_bytes(),
        )
    }

    /// Removes all blobs that the index does not lead to, and returns their number. Blocks.
    ///
    /// Removes nothing if any part of the tree cannot be read.
    pub fn remove_unreached(&self) -> Result<usize, LayoutError> {
        let index = self.read_index()?;
        let mut reached = BTreeSet::new();
        let mut waiting = Vec::new();
        for entry in manifests(&index) {
            waiting.push((self.digest_of(entry)?, media_type(entry)));
        }
        while let Some((digest, media_type)) = waiting.pop() {
            if reached.insert(digest.clone()) && is_manifest(&media_type) {
                self.children(&digest, &mut waiting)?;
            }
        }
        let mut removed = 0;
        for digest in self.blob_digests()? {
            if !reached.contains(&digest) {
                self.remove_blob(&digest)?;
                removed += 1;
            }
        }
        Ok(removed)
    }

    /// Appends the descriptors in the manifest or index `digest` to `found`.
    fn children(
        &self,
        digest: &Digest,
        found: &mut Vec<(Digest, String)>,
    ) -> Result<(), LayoutError> {
        let path = self.blob_path(digest);
        let size = self.blob(digest)?.map(|blob| blob.size);
        if size.is_some_and(|size| size > MANIFEST_LIMIT) {
            return Err(LayoutError::Malformed {
                path,
                reason: "it is too large for a manifest".to_owned(),
            });
        }
        let text = read_regular(&path, MANIFEST_LIMIT).map_err(LayoutError::io("read", &path))?;
        let manifest: Value =
            serde_json::from_slice(&text).map_err(|error| LayoutError::Malformed {
                path,
                reason: error.to_string(),
            })?;
        let lists = ["manifests", "layers"]
            .into_iter()
            .filter_map(|key| manifest.get(key)?.as_array())
            .flatten();
        for child in lists.chain(manifest.get("config")) {
            found.push((self.digest_of(child)?, media_type(child)));
        }
        Ok(())
    }
}

pub(super) fn manifests(index: &Map<String, Value>) -> &[Value] {
    index
        .get("manifests")
        .and_then(Value::as_array)
        .map_or(&[], Vec::as_slice)
}

pub(super) fn annotation<'a>(entry: &'a Value, key: &str) -> Option<&'a str> {
    entry.get("annotations")?.get(key)?.as_str()
}

fn media_type(descriptor: &Value) -> String {
    let text = descriptor.get("mediaType").and_then(Value::as_str);
    text.unwrap_or_default().to_owned()
}

/// Whether a blob of this type refers to other blobs.
fn is_manifest(media_type: &str) -> bool {
    matches!(
        media_type,
        "application/vnd.oci.image.index.v1+json"
            | "application/vnd.oci.image.manifest.v1+json"
            | "application/vnd.docker.distribution.manifest.list.v2+json"
            | "application/vnd.docker.distribution.manifest.v2+json"
    )
}

/// The lock of an index. Its file is removed before it is released, as other clients do. So a waiter may lock a file
/// that has been removed; `FileLock` detects that and tries again.
struct Lock {
    path: std::path::PathBuf,
    _lock: FileLock,
}

impl Lock {
    /// Waits for the lock at most `LOCK_TIMEOUT`.
    async fn take(path: &Path) -> Result<Self, LayoutError> {
        match FileLock::take(FileLock::options(), path, LOCK_TIMEOUT).await {
            Ok(Some(lock)) => Ok(Self {
                path: path.to_owned(),
                _lock: lock,
            }),
            Ok(None) => Err(LayoutError::Locked {
                path: path.to_owned(),
            }),
            Err(error) => Err(LayoutError::io("lock", path)(error)),
        }
    }
}

impl Drop for Lock {
    fn drop(&mut self) {
        // The file is still locked here, so nobody else can have created another one.
        let _ = std::fs::remove_file(&self.path);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn put(layout: &LayoutDirectory, data: &[u8]) -> Digest {
        let mut ingest = layout.ingest_blob().unwrap();
        ingest.write(data).unwrap();
        ingest.commit(None, None).unwrap().0
    }

    fn descriptor(digest: &Digest, media_type: &str) -> String {
        json!({"mediaType": media_type, "digest": digest.as_str(), "size": 1}).to_string()
    }

    const MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";

    #[tokio::test]
    async fn a_name_refers_to_the_last_entry_with_it() {
        let dir = tempfile::tempdir().unwrap();
        let layout = LayoutDirectory::create(dir.path()).unwrap();
        let digests: Vec<Digest> = [b"1", b"2", b"3"]
            .iter()
            .map(|data| put(&layout, *data))
            .collect();
        let tag = |tag: &str| IndexName::Tag(tag.to_owned());
        let image = |name: &str| IndexName::Image(name.to_owned());
        for (digest, names) in [
            (&digests[0], vec![tag("latest"), tag("other")]),
            (&digests[1], vec![tag("latest")]),
            (&digests[2], vec![image("host:5000/a/b:v1"), image("c")]),
        ] {
            layout
                .enter(&descriptor(digest, MANIFEST), &names)
                .await
                .unwrap();
        }
        for (name, digest) in [
            ("latest", 1),
            ("other", 0),
            ("host:5000/a/b:v1", 2),
            ("v1", 2),
            ("c", 2),
        ] {
            assert_eq!(
                layout.tagged(name).unwrap().as_ref(),
                Some(&digests[digest]),
                "{name}"
            );
        }
        assert_eq!(layout.tagged("none").unwrap(), None);
        let index = layout.read_index().unwrap();
        assert_eq!(index["schemaVersion"], 2);
        assert_eq!(manifests(&index).len(), 4);
        assert!(!dir.path().join("index.json.lock").exists());
        let layout_file = std::fs::read_to_string(dir.path().join("oci-layout")).unwrap();
        assert_eq!(layout_file, r#"{"imageLayoutVersion":"1.0.0"}"#);
    }

    #[tokio::test]
    async fn foreign_entries_are_kept_and_a_broken_index_is_named() {
        let dir = tempfile::tempdir().unwrap();
        let layout = LayoutDirectory::create(dir.path()).unwrap();
        let digest = put(&layout, b"1");
        let index = dir.path().join("index.json");
        std::fs::write(
            &index,
            r#"{"schemaVersion":2,"manifests":[{"x":1}],"subject":"s"}"#,
        )
        .unwrap();
        let name = [IndexName::Tag("t".to_owned())];
        layout
            .enter(&descriptor(&digest, MANIFEST), &name)
            .await
            .unwrap();
        let kept = layout.read_index().unwrap();
        assert_eq!(
            (&kept["subject"], &kept["manifests"][0]),
            (&json!("s"), &json!({"x": 1}))
        );

        std::fs::write(&index, "[]").unwrap();
        let error = layout
            .enter(&descriptor(&digest, MANIFEST), &name)
            .await
            .unwrap_err();
        assert!(error.to_string().contains("index.json"), "{error}");
        assert!(layout.enter("{}", &name).await.is_err());
    }

    #[tokio::test(start_paused = true)]
    async fn waiting_for_a_lock_ends_with_an_error_after_some_time() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("index.json.lock");
        let held = Lock::take(&path).await.unwrap();
        let error = Lock::take(&path).await.err().unwrap();
        assert!(matches!(error, LayoutError::Locked { .. }), "{error}");
        drop(held);
        assert!(Lock::take(&path).await.is_ok());
    }

    #[tokio::test]
    async fn the_reason_says_why_there_is_no_cache() {
        let dir = tempfile::tempdir().unwrap();
        let missing = |root: &Path, tag: &str| match find_cache(root, tag, None) {
            CacheSource::Missing(why) => why,
            CacheSource::Found { .. } => panic!("found"),
        };
        assert!(missing(&dir.path().join("none"), "latest").contains("no such directory"));
        let file = dir.path().join("file");
        std::fs::write(&file, "").unwrap();
        assert!(missing(&file, "latest").contains("it is a file"));
        assert!(missing(dir.path(), "latest").contains("no `index.json`"));
        std::fs::remove_file(&file).unwrap();
        assert_eq!(missing(dir.path(), "latest"), "the directory is empty");
        let layout = LayoutDirectory::create(dir.path()).unwrap();
        let digest = put(&layout, b"1");
        layout
            .enter(
                &descriptor(&digest, MANIFEST),
                &[IndexName::Tag("a".to_owned())],
            )
            .await
            .unwrap();
        let found = CacheSource::Found {
            layout: layout.clone(),
            digest: digest.clone(),
        };
        assert_eq!(find_cache(dir.path(), "a", None), found);
        assert_eq!(
            missing(dir.path(), "b"),
            "it has no tag `b`; there is only `a`"
        );
        assert_eq!(find_cache(dir.path(), "b", Some(&digest)), found);
        layout.remove_blob(&digest).unwrap();
        assert!(missing(dir.path(), "a").contains("it has no blob"));
        std::fs::write(dir.path().join("index.json"), "{").unwrap();
        assert!(missing(dir.path(), "a").contains("index.json"));
    }

    #[tokio::test]
    async fn unreferenced_blobs_are_removed() {
        let dir = tempfile::tempdir().unwrap();
        let layout = LayoutDirectory::create(dir.path()).unwrap();
        let (config, layer, stray) = (put(&layout, b"c"), put(&layout, b"l"), put(&layout, b"s"));
        let child = |digest: &Digest| json!({"mediaType": "x", "digest": digest.as_str()});
        let manifest = json!({"config": child(&config), "layers": [child(&layer)]});
        let manifest = put(&layout, manifest.to_string().as_bytes());
        let index = json!({"manifests": [{"mediaType": MANIFEST, "digest": manifest.as_str()}]});
        let index = put(&layout, index.to_string().as_bytes());
        let entry = descriptor(&index, "application/vnd.oci.image.index.v1+json");
        layout.enter(&entry, &[]).await.unwrap();
        assert_eq!(layout.remove_unreached().unwrap(), 1);
        assert_eq!(layout.blob(&stray).unwrap(), None);
        assert_eq!(layout.blob_digests().unwrap().len(), 4);
        layout.remove_blob(&manifest).unwrap();
        put(&layout, b"s");
        assert!(layout.remove_unreached().is_err());
        assert!(layout.blob(&stray).unwrap().is_some());
    }
}
