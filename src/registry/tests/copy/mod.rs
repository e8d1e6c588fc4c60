//! Copies between model registries: the order, the counts, and the limits.

mod referrers;
mod transfers;

use std::sync::{Arc, Mutex};

use serde_json::{Value, json};
use test_case::test_case;

use super::TestRun;
use super::model::{Abilities, KeptRepository, ModelRegistry};
use crate::registry::{CopyCounts, CopyError, CopyProgress, RemoteRepository, copy_image};
use crate::types::Digest;

const OCI_INDEX: &str = "application/vnd.oci.image.index.v1+json";
const OCI_MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";
const LISTS: Abilities = Abilities {
    lists_referrers: true,
    ..Abilities::ALL
};

fn add(kept: &mut KeptRepository, media_type: &str, manifest: &Value) -> String {
    let bytes = manifest.to_string().into_bytes();
    let digest = Digest::sha256(&bytes).to_string();
    kept.manifests
        .insert(digest.clone(), (media_type.to_owned(), bytes));
    digest
}

fn blob(kept: &mut KeptRepository, content: &str) -> Value {
    let digest = Digest::sha256(content.as_bytes()).to_string();
    kept.blobs
        .insert(digest.clone(), content.as_bytes().to_vec());
    json!({"mediaType": "text/plain", "digest": digest, "size": content.len()})
}

/// Adds an image whose configuration is its name.
fn image(kept: &mut KeptRepository, name: &str, layers: &[&str]) -> String {
    referrer(kept, name, layers, None)
}

/// The same with a subject.
fn referrer(
    kept: &mut KeptRepository,
    name: &str,
    layers: &[&str],
    subject: Option<&str>,
) -> String {
    let config = blob(kept, name);
    let layers: Vec<_> = layers.iter().map(|layer| blob(kept, layer)).collect();
    let mut manifest = json!({"schemaVersion": 2, "mediaType": OCI_MANIFEST, "config": config, "layers": layers, "x": [1]});
    if let Some(subject) = subject {
        manifest["subject"] = descriptor(kept, subject);
    }
    add(kept, OCI_MANIFEST, &manifest)
}

fn descriptor(kept: &KeptRepository, digest: &str) -> Value {
    let (media_type, size) = match kept.manifests.get(digest) {
        Some((media_type, bytes)) => (media_type.as_str(), bytes.len()),
        None => (OCI_MANIFEST, 7),
    };
    json!({"mediaType": media_type, "digest": digest, "size": size})
}

fn index(kept: &mut KeptRepository, children: &[&str]) -> String {
    let children: Vec<_> = children
        .iter()
        .map(|child| descriptor(kept, child))
        .collect();
    let index = json!({"schemaVersion": 2, "mediaType": OCI_INDEX, "manifests": children});
    add(kept, OCI_INDEX, &index)
}

/// The tag for the referrers of `digest`.
fn fallback(digest: &str, suffix: &str) -> String {
    digest.replace(':', "-") + suffix
}

/// Two registries, and a copy from `a` at the first to `b` at the second.
struct TestCopy {
    run: TestRun,
    source: ModelRegistry,
    target: ModelRegistry,
    progress: Mutex<Vec<CopyProgress>>,
}

impl TestCopy {
    async fn between(source: Abilities, target: Abilities) -> Self {
        Self {
            run: TestRun::new(),
            source: ModelRegistry::start(source).await,
            target: ModelRegistry::start(target).await,
            progress: Mutex::default(),
        }
    }

    /// Changes what the source has.
    fn source<T>(&self, change: impl FnOnce(&mut KeptRepository) -> T) -> T {
        change(self.source.state().entry("a".to_owned()).or_default())
    }

    /// Changes what the target has.
    fn target<T>(&self, change: impl FnOnce(&mut KeptRepository) -> T) -> T {
        change(self.target.state().entry("b".to_owned()).or_default())
    }

    fn repositories(&self) -> (RemoteRepository, RemoteRepository) {
        let from = self.run.repository(&self.source.http.repository("a"));
        let to = self.run.repository(&self.target.http.repository("b"));
        (from, to)
    }

    async fn copy(&self, digest: &str) -> Result<CopyCounts, CopyError> {
        let (from, to) = self.repositories();
        let progress = |event| self.progress.lock().unwrap().push(event);
        copy_image(&from, &to, &digest.parse().unwrap(), &progress).await
    }

    /// The requests that changed something at the target, in short.
    fn writes(&self) -> Vec<String> {
        let lines = self.target.http.lines().into_iter();
        lines
            .filter(|line| !line.starts_with("HEAD") && !line.starts_with("GET"))
            .map(|line| line.replace("/v2/b/", ""))
            .collect()
    }

    /// The manifests that were written by digest, in their order.
    fn written(&self) -> Vec<String> {
        let writes = self.writes().into_iter();
        writes
            .filter_map(|line| Some(line.strip_prefix("PUT manifests/")?.to_owned()))
            .collect()
    }
}

/// Whether the target has everything that the source has, with the same bytes.
fn assert_same(copy: &TestCopy) {
    let (source, target) = (copy.source.kept("a"), copy.target.kept("b"));
    assert_eq!(source.manifests, target.manifests);
    assert_eq!(source.blobs, target.blobs);
}

#[tokio::test]
async fn everything_below_an_image_is_copied_before_it_and_once() {
    let copy = TestCopy::between(Abilities::ALL, Abilities::ALL).await;
    let (one, two, inner, outer) = copy.source(|kept| {
        let one = image(kept, "one", &["base", "layer one", ""]);
        let two = image(kept, "two", &["base", "layer two"]);
        let inner = index(kept, &[&two, &one]);
        // `one` is at two levels.
        let outer = index(kept, &[&one, &inner]);
        (one, two, inner, outer)
    });
    let counts = copy.copy(&outer).await.unwrap();
    assert_same(&copy);
    assert!(copy.target.kept("b").tags.is_empty());
    let expected = CopyCounts {
        manifests: 4,
        sent_blobs: 6,
        sent_bytes: 3 + 3 + 4 + 9 + 9,
        ..CopyCounts::default()
    };
    assert_eq!(counts, expected);
    let written = copy.written();
    assert_eq!(written, [one, two, inner, outer]);
    let lines = copy.target.http.lines();
    let looked = lines
        .iter()
        .filter(|line| line.contains("HEAD /v2/b/blobs"));
    assert_eq!(looked.count(), 6, "each blob is looked up once");
    let blobs = copy
        .writes()
        .iter()
        .rposition(|line| line.contains("blobs"));
    let manifests = copy
        .writes()
        .iter()
        .position(|line| line.contains("manifests"));
    assert!(blobs < manifests, "{:?}", copy.writes());
    let progress = copy.progress.lock().unwrap();
    let planned = CopyProgress::Planned {
        manifests: 4,
        blobs: 6,
        bytes: 28,
    };
    assert_eq!(progress[0], planned);
    let layer = CopyProgress::Sending {
        digest: Digest::sha256(b"layer one"),
        sent: 9,
        size: 9,
    };
    assert!(progress.contains(&layer), "{progress:?}");
}

#[tokio::test]
async fn a_second_copy_sends_nothing() {
    let copy = TestCopy::between(Abilities::ALL, Abilities::ALL).await;
    let all = copy.source(|kept| {
        let one = image(kept, "one", &["base"]);
        let all = index(kept, &[&one]);
        let signature = referrer(kept, "signature", &["signed"], Some(&all));
        let list = index(kept, &[&signature]);
        kept.tags.insert(fallback(&all, ""), list);
        all
    });
    let first = copy.copy(&all).await.unwrap();
    assert_eq!((first.manifests, first.referrers, first.tags), (3, 1, 1));
    let writes = copy.writes().len();
    let reads = copy.source.http.seen().len();
    let counts = copy.copy(&all).await.unwrap();
    let expected = CopyCounts {
        present_manifests: 3,
        referrers: 1,
        ..CopyCounts::default()
    };
    assert_eq!(counts, expected);
    assert_eq!(copy.writes().len(), writes);
    let lines = copy.source.http.lines();
    assert!(!lines[reads..].iter().any(|line| line.contains("blobs")));
}

#[tokio::test]
async fn only_missing_blobs_and_manifests_are_sent() {
    let copy = TestCopy::between(Abilities::ALL, Abilities::ALL).await;
    let (one, all) = copy.source(|kept| {
        let one = image(kept, "one", &["base", "x"]);
        let two = image(kept, "two", &["base", "y"]);
        (one.clone(), index(kept, &[&one, &two]))
    });
    copy.target(|kept| {
        blob(kept, "base");
        image(kept, "one", &["base", "x"]);
    });
    let counts = copy.copy(&all).await.unwrap();
    let expected = CopyCounts {
        manifests: 2,
        present_manifests: 1,
        sent_blobs: 2,
        sent_bytes: 4,
        present_blobs: 1,
        ..CopyCounts::default()
    };
    assert_eq!(counts, expected);
    assert_same(&copy);
    let read = copy.source.http.lines();
    assert!(!read.contains(&format!("GET /v2/a/manifests/{one}")));
}

#[test_case(true; "mounted")]
#[test_case(false; "refused")]
#[tokio::test]
async fn blobs_are_mounted_at_the_same_registry(mounts: bool) {
    let abilities = Abilities {
        mounts,
        ..Abilities::ALL
    };
    let registry = ModelRegistry::start(abilities).await;
    let digest = {
        let mut state = registry.state();
        let kept = state.entry("a".to_owned()).or_default();
        image(kept, "one", &["x", "y", "z", "1", "2", "3", "4", "5"])
    };
    let run = TestRun::new();
    let from = run.repository(&registry.http.repository("a"));
    let to = run.repository(&registry.http.repository("b"));
    let counts = copy_image(&from, &to, &digest.parse().unwrap(), &|_| {}).await;
    let counts = counts.unwrap();
    let expected = if mounts { (9, 0) } else { (0, 9) };
    assert_eq!((counts.mounted_blobs, counts.sent_blobs), expected);
    assert_eq!(registry.kept("a").blobs, registry.kept("b").blobs);
    let seen = registry.http.seen();
    let mounts = seen.iter().filter(|r| r.target.contains("mount="));
    // If the first four are refused, the others are not tried.
    assert!(expected.0 == 9 || mounts.count() <= 4);
    let same = copy_image(&from, &from, &digest.parse().unwrap(), &|_| {}).await;
    assert_eq!(same.unwrap(), CopyCounts::default());
}

#[tokio::test]
async fn missing_unknown_and_nested_manifests_are_errors() {
    let copy = TestCopy::between(Abilities::ALL, Abilities::ALL).await;
    let missing = Digest::sha256(b"missing").to_string();
    let (without_child, unknown, deep, too_deep) = copy.source(|kept| {
        let without_child = index(kept, &[&missing]);
        let unknown = add(kept, "application/vnd.example+json", &json!({"a": 1}));
        let unknown = index(kept, &[&unknown]);
        // An entry of an unknown type is a blob, so it is tried as an image.
        let manifest = String::from_utf8(kept.manifests[&unknown].1.clone()).unwrap();
        let manifest = manifest.replace("application/vnd.example+json", OCI_MANIFEST);
        let unknown = add(kept, OCI_INDEX, &serde_json::from_str(&manifest).unwrap());
        let mut nested = vec![image(kept, "one", &[])];
        for _ in 0..9 {
            let last = nested.last().cloned().unwrap();
            nested.push(index(kept, &[&last]));
        }
        (without_child, unknown, nested[8].clone(), nested[9].clone())
    });
    let place = copy.source.http.repository("a");
    let failure = copy.copy(&missing).await.unwrap_err();
    let expected = format!("the manifest `{place}@{missing}` does not exist");
    assert_eq!(failure.to_string(), expected);
    let failure = copy.copy(&without_child).await.unwrap_err();
    assert_eq!(failure.to_string(), expected);
    let failure = copy.copy(&unknown).await.unwrap_err();
    assert!(
        matches!(failure, CopyError::UnknownType { .. }),
        "{failure}"
    );
    let failure = copy.copy(&too_deep).await.unwrap_err();
    assert!(matches!(failure, CopyError::TooDeep { .. }), "{failure}");
    assert!(copy.writes().is_empty());
    assert_eq!(copy.copy(&deep).await.unwrap().manifests, 9);
}

#[tokio::test]
async fn the_number_of_manifests_is_limited() {
    let copy = TestCopy::between(Abilities::ALL, Abilities::ALL).await;
    let many = copy.source(|kept| {
        let children: Vec<_> = (0..10_000)
            .map(|number: u32| {
                let digest = Digest::sha256(&number.to_be_bytes());
                json!({"mediaType": OCI_MANIFEST, "digest": digest.as_str(), "size": 1})
            })
            .collect();
        let index = json!({"schemaVersion": 2, "mediaType": OCI_INDEX, "manifests": children});
        add(kept, OCI_INDEX, &index)
    });
    let failure = copy.copy(&many).await.unwrap_err();
    assert!(matches!(failure, CopyError::TooMany { .. }), "{failure}");
    assert!(copy.source.http.seen().len() < 10);
}

#[tokio::test]
async fn layers_that_are_in_no_registry_are_left_out() {
    let copy = TestCopy::between(Abilities::ALL, Abilities::ALL).await;
    let one = copy.source(|kept| {
        let config = blob(kept, "config");
        let mut there = blob(kept, "there");
        there["mediaType"] = json!("application/vnd.docker.image.rootfs.foreign.diff.tar.gzip");
        let elsewhere = json!({
            "mediaType": "application/vnd.oci.image.layer.nondistributable.v1.tar",
            "digest": Digest::sha256(b"elsewhere").as_str(), "size": 9, "urls": ["https://h.example/"],
        });
        let manifest = json!({"schemaVersion": 2, "mediaType": OCI_MANIFEST, "config": config, "layers": [there, elsewhere]});
        add(kept, OCI_MANIFEST, &manifest)
    });
    let counts = copy.copy(&one).await.unwrap();
    assert_eq!((counts.manifests, counts.sent_blobs), (1, 2));
    assert_same(&copy);
}

#[test]
fn a_copy_can_be_a_task() {
    fn is_send<T: Send>(_: &T) {}
    let run = TestRun::new();
    let repository = run.repository("r.example/a");
    let digest = Digest::sha256(b"");
    let seen = Arc::new(Mutex::new(0));
    let progress = move |_| *seen.lock().unwrap() += 1;
    is_send(&copy_image(&repository, &repository, &digest, &progress));
}
