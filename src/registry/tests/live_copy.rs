//! Copies between real registries, checked by the programs of other projects.

use std::path::Path;
use std::process::Command;

use bytes::Bytes;
use serde_json::{Value, json};

use super::distribution::{Distribution, DistributionVersion};
use super::live::{index, manifest, push};
use super::{TestRun, tag};
use crate::registry::{CopyCounts, RawManifest, RemoteRepository, copy_image};
use crate::types::Digest;

const OCI_MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";
const OCI_INDEX: &str = "application/vnd.oci.image.index.v1+json";

/// Runs a program that `variable` names, in `home`. Returns its output.
#[expect(
    clippy::disallowed_methods,
    reason = "the environment of the tests names their peers"
)]
fn peer(variable: &str, home: &Path, arguments: &[&str]) -> String {
    let program = std::env::var(variable).unwrap_or_default();
    let output = Command::new(&program)
        .args(arguments)
        .env("HOME", home)
        .env("DOCKER_CONFIG", home)
        .env("REGCTL_CONFIG", home.join("regctl.json"))
        .output()
        .unwrap_or_else(|error| panic!("`{variable}` (`{program}`): {error}"));
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{arguments:?}: {errors}");
    String::from_utf8(output.stdout).unwrap()
}

fn crane(home: &Path, arguments: &[&str]) -> String {
    peer("RBAKE_TEST_CRANE", home, arguments)
}

fn regctl(home: &Path, registry: &Distribution, arguments: &[&str]) -> String {
    let host = format!("reg={},tls=disabled", registry.host());
    let arguments = [&["--host", &host], arguments].concat();
    peer("RBAKE_TEST_REGCTL", home, &arguments)
}

/// An image with a layer of 20 MiB, made by crane.
fn append(home: &Path, image: &str) {
    let path = home.join("layer.tar");
    let mut random = vec![0; 20 << 20];
    getrandom::fill(&mut random).unwrap();
    let mut header = tar::Header::new_gnu();
    header.set_size(random.len() as u64);
    header.set_mode(0o644);
    let mut archive = tar::Builder::new(std::fs::File::create(&path).unwrap());
    archive
        .append_data(&mut header, "file", random.as_slice())
        .unwrap();
    archive.finish().unwrap();
    drop(archive);
    let path = path.to_str().unwrap();
    crane(
        home,
        &["append", "--oci-empty-base", "-f", path, "-t", image],
    );
}

/// The provenance of `image`, in the form that BuildKit gives it.
async fn provenance(repository: &RemoteRepository, image: &RawManifest) -> Value {
    let statement = Bytes::from(json!({"_type": "https://in-toto.io/Statement/v0.1"}).to_string());
    let statement_digest = repository.put_blob(&statement).await.unwrap();
    let config = Bytes::from_static(br#"{"architecture":"unknown","os":"unknown"}"#);
    let config_digest = repository.put_blob(&config).await.unwrap();
    let manifest = json!({
        "schemaVersion": 2,
        "mediaType": OCI_MANIFEST,
        "config": {
            "mediaType": "application/vnd.oci.image.config.v1+json",
            "digest": config_digest.as_str(),
            "size": config.len(),
        },
        "layers": [{
            "mediaType": "application/vnd.in-toto+json",
            "digest": statement_digest.as_str(),
            "size": statement.len(),
            "annotations": {"in-toto.io/predicate-type": "https://slsa.dev/provenance/v0.2"},
        }],
    });
    let manifest = RawManifest::new(OCI_MANIFEST, manifest.to_string().into()).unwrap();
    let by_digest = manifest.digest().clone().into();
    repository.put(&by_digest, &manifest).await.unwrap();
    json!({
        "mediaType": OCI_MANIFEST,
        "digest": manifest.digest().as_str(),
        "size": manifest.bytes().len(),
        "annotations": {
            "vnd.docker.reference.digest": image.digest().as_str(),
            "vnd.docker.reference.type": "attestation-manifest",
        },
        "platform": {"architecture": "unknown", "os": "unknown"},
    })
}

/// An index of an image and its provenance. Returns both manifests.
async fn push_image(home: &Path, repository: &RemoteRepository) -> (RawManifest, RawManifest) {
    append(home, &format!("{}:one", repository.name()));
    let one = repository.get(&tag("one")).await.unwrap().unwrap();
    let all = json!({
        "schemaVersion": 2,
        "mediaType": OCI_INDEX,
        "manifests": [
            {
                "mediaType": one.media_type(),
                "digest": one.digest().as_str(),
                "size": one.bytes().len(),
                "platform": {"architecture": "amd64", "os": "linux"},
            },
            provenance(repository, &one).await,
        ],
    });
    let all = RawManifest::new(OCI_INDEX, all.to_string().into()).unwrap();
    repository.put(&tag("all"), &all).await.unwrap();
    (one, all)
}

#[tokio::test]
#[ignore = "needs live peers"]
async fn an_image_with_provenance_and_referrers_is_the_same_at_the_other_registry() {
    use DistributionVersion::{Three, Two};
    for (from, to) in [(Two, Three), (Three, Two)] {
        let dir = tempfile::tempdir().unwrap();
        let home = dir.path();
        let (from, to) = (Distribution::start(from), Distribution::start(to));
        let run = TestRun::new();
        let source = run.repository(&from.repository("dev/app"));
        let target = run.repository(&to.repository("prod/app"));
        let (one, all) = push_image(home, &source).await;
        let note = home.join("note.txt");
        std::fs::write(&note, "a note").unwrap();
        for (subject, kind) in [("all", "text/signature"), ("one", "text/sbom")] {
            let image = from.repository(&format!("dev/app:{subject}"));
            let note = note.to_str().unwrap();
            let arguments = ["artifact", "put", "--artifact-type", kind, "-f", note];
            let arguments = [&arguments[..], &["--subject", &image]].concat();
            regctl(home, &from, &arguments);
        }
        // A signature by the tag that cosign gives it.
        let signed = push(&source, "signed").await;
        let signature = format!("sha256-{}.sig", all.digest().hex());
        source.put(&tag(&signature), &signed).await.unwrap();

        let counts = copy_image(&source, &target, all.digest(), &|_| {}).await;
        let counts = counts.unwrap();
        assert_eq!((counts.manifests, counts.referrers), (6, 3));
        assert_eq!(counts.tags, 3);
        assert!(counts.sent_bytes > 20 << 20, "{counts:?}");
        assert!(counts.conflicts.is_empty());
        let tags = target.tags().await.unwrap().unwrap();
        assert!(tags.iter().all(|tag| tag.as_str().starts_with("sha256-")));

        target.put(&tag("all"), &all).await.unwrap();
        target.put(&tag("one"), &one).await.unwrap();
        let copied = |registry: &Distribution, path: &str, name: &str| {
            registry.repository(&format!("{path}:{name}"))
        };
        for name in ["all", "one", &signature] {
            let (old, new) = (
                copied(&from, "dev/app", name),
                copied(&to, "prod/app", name),
            );
            let read = |image: &str| crane(home, &["manifest", image]);
            assert_eq!(read(&old), read(&new), "{name}");
        }
        crane(
            home,
            &["validate", "--remote", &copied(&to, "prod/app", "one")],
        );
        for name in ["all", "one"] {
            let list = |registry: &Distribution, image: &str| {
                let format =
                    "{{range .Descriptors}}{{.Digest}} {{.ArtifactType}} {{.Size}}\n{{end}}";
                regctl(
                    home,
                    registry,
                    &["artifact", "list", "--format", format, image],
                )
            };
            let old = list(&from, &copied(&from, "dev/app", name));
            assert_eq!(old, list(&to, &copied(&to, "prod/app", name)), "{name}");
            assert!(old.contains("text/s"), "{old}");
        }

        let writes = |registry: &Distribution| {
            let counts = run.registries.counts()[registry.host()];
            counts.put + counts.post + counts.delete
        };
        let before = writes(&to);
        let again = copy_image(&source, &target, all.digest(), &|_| {}).await;
        let expected = CopyCounts {
            present_manifests: 6,
            referrers: 3,
            ..CopyCounts::default()
        };
        assert_eq!(again.unwrap(), expected);
        assert_eq!(writes(&to), before);
        assert!(run.pauses().is_empty());

        // Within the registry, all blobs are mounted.
        let other = run.repository(&to.repository("other"));
        let counts = copy_image(&target, &other, all.digest(), &|_| {}).await;
        let counts = counts.unwrap();
        assert_eq!((counts.manifests, counts.sent_blobs), (6, 0));
        assert!(counts.mounted_blobs > 0, "{counts:?}");
    }
}

#[tokio::test]
#[ignore = "needs live peers"]
async fn a_nested_index_is_copied_with_all_its_levels() {
    for version in DistributionVersion::ALL {
        let registry = Distribution::start(version);
        let target = Distribution::start(version);
        let run = TestRun::new();
        let source = run.repository(&registry.repository("a"));
        let target = run.repository(&target.repository("a"));
        let one = push(&source, "one").await;
        let two = push(&source, "two").await;
        let inner = index(&[&two]);
        let middle = index(&[&inner, &one]);
        let outer = index(&[&one, &middle]);
        for index in [&inner, &middle, &outer] {
            let by_digest = index.digest().clone().into();
            source.put(&by_digest, index).await.unwrap();
        }
        let counts = copy_image(&source, &target, outer.digest(), &|_| {}).await;
        assert_eq!(counts.unwrap().manifests, 5, "{version:?}");
        for manifest in [&one, &two, &inner, &middle, &outer] {
            let by_digest = manifest.digest().clone().into();
            let found = target.get(&by_digest).await.unwrap();
            assert_eq!(found.as_ref(), Some(manifest), "{version:?}");
        }
        assert_eq!(target.tags().await.unwrap().unwrap_or_default().len(), 0);
        let missing = manifest("missing");
        let failure = copy_image(&source, &target, missing.digest(), &|_| {}).await;
        let digest: &Digest = missing.digest();
        let expected = format!("the manifest `{}@{digest}` does not exist", source.name());
        assert_eq!(failure.unwrap_err().to_string(), expected);
    }
}
