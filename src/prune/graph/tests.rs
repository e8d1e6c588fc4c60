use serde_json::{Value, json};
use test_case::test_case;

use super::*;

const MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";
const INDEX: &str = "application/vnd.oci.image.index.v1+json";

fn digest(text: &str) -> Digest {
    Digest::sha256(text.as_bytes())
}

fn parsed(media_type: &str, content: &str) -> Result<StoredManifest, UnreadableManifest> {
    StoredManifest::parse(&ManifestSource {
        digest: &digest(content),
        media_type,
        bytes: content.as_bytes(),
        uploaded: None,
    })
}

fn entry(text: &str) -> Value {
    json!({"mediaType": MANIFEST, "digest": digest(text).as_str(), "size": 7})
}

#[test]
fn children_layers_and_attestations_are_distinguished() {
    let mut attestation = entry("attestation");
    attestation["annotations"] = json!({
        "vnd.docker.reference.type": "attestation-manifest",
        "vnd.docker.reference.digest": digest("image").as_str(),
    });
    let mut layer = entry("layer");
    layer["mediaType"] = "application/vnd.oci.image.layer.v1.tar+gzip".into();
    let index = json!({"manifests": [entry("image"), attestation, layer]});
    let index = parsed(INDEX, &index.to_string()).unwrap();
    let is_blob: Vec<bool> = index.entries.iter().map(|entry| entry.is_blob).collect();
    assert_eq!(is_blob, [false, false, true]);
    assert_eq!(index.entries[1].attests, Some(digest("image")));
    assert_eq!(index.kind, ManifestKind::Index);
}

#[test]
fn both_forms_of_caches_are_recognized() {
    let mut config = entry("config");
    config["mediaType"] = "application/vnd.buildkit.cacheconfig.v0".into();
    let image = json!({"mediaType": MANIFEST, "config": config, "layers": [entry("layer")]});
    let image = parsed(MANIFEST, &image.to_string()).unwrap();
    let index = json!({"mediaType": INDEX, "manifests": [config]});
    let index = parsed(INDEX, &index.to_string()).unwrap();
    for cache in [image, index] {
        assert_eq!(cache.kind, ManifestKind::Cache);
        assert!(cache.entries.iter().all(|entry| entry.is_blob));
    }
}

#[test]
fn the_later_of_two_times_counts_and_impossible_ones_do_not() {
    let time = |created: &str, uploaded: Option<&str>| {
        let manifest = json!({"annotations": {"org.opencontainers.image.created": created}});
        let manifest = manifest.to_string();
        let source = ManifestSource {
            digest: &digest(&manifest),
            media_type: MANIFEST,
            bytes: manifest.as_bytes(),
            uploaded: uploaded.map(|text| text.parse().unwrap()),
        };
        let time = StoredManifest::parse(&source).unwrap().time;
        time.map(|time| time.to_string())
    };
    let (old, new) = ("2026-01-01T00:00:00Z", "2026-02-02T00:00:00Z");
    assert_eq!(time(old, None).as_deref(), Some(old));
    assert_eq!(time(old, Some(new)).as_deref(), Some(new));
    assert_eq!(time(new, Some(old)).as_deref(), Some(new));
    assert_eq!(time("1970-01-01T00:00:00Z", None), None);
    assert_eq!(time("yesterday", None), None);
}

#[test_case(MANIFEST, "{}", None; "an empty object")]
#[test_case(MANIFEST, "[]", Some("not a valid manifest"); "not an object")]
#[test_case(MANIFEST, "{", Some("not a valid manifest"); "not JSON")]
#[test_case(MANIFEST, r#"{"manifests":[]}"#, Some("as well as"); "an image with children")]
#[test_case(INDEX, r#"{"layers":[]}"#, Some("as well as"); "an index with layers")]
#[test_case(INDEX, r#"{"manifests":null}"#, None; "null is nothing")]
#[test_case(INDEX, r#"{"Manifests":[]}"#, Some("not a valid manifest"); "another case")]
#[test_case(INDEX, "{\"manife\u{17f}ts\":[]}", Some("not a valid manifest"); "a long s")]
#[test_case(INDEX, r#"{"manifests":[],"manifests":[]}"#, Some("not a valid manifest"); "twice")]
#[test_case(INDEX, r#"{"manifests":[{}]}"#, Some("no valid digest"); "no digest")]
#[test_case(INDEX, r#"{"manifests":[{"digest":"md5:00"}]}"#, Some("no valid digest"); "unknown digest")]
#[test_case(INDEX, r#"{"manifests":[{"digest":7}]}"#, Some("not a valid manifest"); "a number")]
#[test_case(INDEX, r#"{"mediaType":"a/b"}"#, Some("another media type"); "two media types")]
#[test_case(INDEX, r#"{"subject":{"digest":""}}"#, Some("no valid digest"); "subject")]
#[test_case("application/vnd.oci.artifact.manifest.v1+json", "{}", Some("not known"); "unknown")]
fn manifests_that_programs_could_read_differently_are_refused(
    media_type: &str,
    text: &str,
    expected: Option<&str>,
) {
    let error = parsed(media_type, text)
        .err()
        .map(|error| error.to_string());
    match expected {
        None => assert_eq!(error, None),
        Some(expected) => assert!(error.as_ref().unwrap().contains(expected), "{error:?}"),
    }
}

#[test]
fn large_and_deep_manifests_are_refused() {
    let entries = vec![entry("a"); 10_001];
    let many = json!({"manifests": entries}).to_string();
    assert!(matches!(
        parsed(INDEX, &many),
        Err(UnreadableManifest::TooMany)
    ));
    let deep = format!(
        r#"{{"manifests":{}{}}}"#,
        "[".repeat(100_000),
        "]".repeat(100_000)
    );
    assert!(matches!(
        parsed(INDEX, &deep),
        Err(UnreadableManifest::Form(_))
    ));
    let long = " ".repeat((4 << 20) + 1);
    assert!(matches!(
        parsed(INDEX, &long),
        Err(UnreadableManifest::TooLarge)
    ));
}

#[test]
fn bytes_with_another_digest_are_refused() {
    let source = ManifestSource {
        digest: &digest("something else"),
        media_type: INDEX,
        bytes: b"{}",
        uploaded: None,
    };
    let error = StoredManifest::parse(&source).unwrap_err();
    assert!(matches!(error, UnreadableManifest::Mismatch));
}

#[test]
fn everything_to_which_something_leads_must_be_read() {
    let mut reading = RepositoryReading::default();
    let index = json!({
        "manifests": [entry("child")],
        "subject": entry("subject"),
    })
    .to_string();
    let companion = format!("sha256-{}.sig", digest("signed").hex());
    reading.add_tag("latest".parse().unwrap(), digest(&index));
    reading.add_tag(companion.parse().unwrap(), digest("signature"));
    reading.expect(digest("listed"));
    reading.add_manifest(&ManifestSource {
        digest: &digest(&index),
        media_type: INDEX,
        bytes: index.as_bytes(),
        uploaded: None,
    });
    let expected = ["child", "subject", "signed", "signature", "listed"];
    assert_eq!(reading.missing(), expected.map(digest).into());
    for text in expected {
        reading.add_absent(digest(text));
    }
    assert!(reading.missing().is_empty());
    let closed = reading.finish();
    let closed = closed.closed();
    assert!(
        matches!(closed, [ClosedReason::Dangling(tag)] if tag.as_str() == companion),
        "{closed:?}"
    );
}

#[test]
fn a_tag_that_moves_during_the_reading_closes_the_repository() {
    let mut reading = RepositoryReading::default();
    reading.add_tag("latest".parse().unwrap(), digest("one"));
    reading.add_tag("latest".parse().unwrap(), digest("two"));
    reading.add_absent(digest("one"));
    reading.add_absent(digest("two"));
    let state = reading.finish();
    assert!(matches!(state.closed()[0], ClosedReason::Moved(_)));
}

#[test]
fn a_tag_of_a_record_that_is_something_else_closes_the_repository() {
    let mut reading = RepositoryReading::default();
    reading.add_tag(
        "rbake-run-20261128T223000Z-0a1b2c3d".parse().unwrap(),
        digest("{}"),
    );
    reading.add_manifest(&ManifestSource {
        digest: &digest("{}"),
        media_type: MANIFEST,
        bytes: b"{}",
        uploaded: None,
    });
    assert!(matches!(
        reading.finish().closed(),
        [ClosedReason::Record(_)]
    ));
}

#[test]
fn a_companion_with_cut_digits_belongs_to_each_manifest_that_begins_so() {
    let content = "{}";
    let long: Digest = format!("sha512:{}", "0".repeat(128)).parse().unwrap();
    let long = long.of_same_algorithm(content.as_bytes());
    let mut reading = RepositoryReading::default();
    for owner in [&long, &digest(content)] {
        let tag = format!("{}-{}", owner.algorithm(), &owner.hex()[..64]);
        reading.add_tag(tag.parse().unwrap(), digest(content));
        reading.add_manifest(&ManifestSource {
            digest: owner,
            media_type: MANIFEST,
            bytes: content.as_bytes(),
            uploaded: None,
        });
    }
    let state = reading.finish();
    assert!(state.closed().is_empty());
    for tag in state.tags().keys() {
        let found = state.companion(tag).unwrap();
        assert!(tag.as_str().starts_with(found[0].algorithm()), "{tag}");
        assert_eq!(found.len(), 1);
    }
}
