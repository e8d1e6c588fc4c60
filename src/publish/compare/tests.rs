use proptest::prelude::*;
use serde_json::{Value, json};
use test_case::test_case;

use super::*;
use crate::publish::revision::CommitState;

const PROVENANCE: &str = "https://slsa.dev/provenance/v1";
const PROVENANCE_02: &str = "https://slsa.dev/provenance/v0.2";
const SPDX: &str = "https://spdx.dev/Document";

fn digest(text: &str) -> Digest {
    Digest::sha256(text.as_bytes())
}

fn commit(first: char) -> CommitState {
    first.to_string().repeat(40).parse().unwrap()
}

/// An image as BuildKit writes it.
#[derive(Debug, Clone, Default)]
struct TestImage {
    images: Vec<Value>,
    annotations: Vec<(String, String)>,
    attestations: Vec<Value>,
    blobs: BTreeMap<Digest, Bytes>,
}

impl TestImage {
    /// Images for these architectures.
    fn new(architectures: &[&str]) -> Self {
        let descriptor = |name: &&str| {
            json!({
                "mediaType": "application/vnd.oci.image.manifest.v1+json",
                "digest": digest(name).as_str(),
                "size": 1234,
                "platform": {"architecture": name, "os": "linux"},
            })
        };
        Self {
            images: architectures.iter().map(descriptor).collect(),
            ..Self::default()
        }
    }

    fn annotated(mut self, name: &str, value: &str) -> Self {
        self.annotations.push((name.to_owned(), value.to_owned()));
        self
    }

    /// Adds an attestation manifest of the first image.
    fn attested(mut self, statements: &[(&str, Value)]) -> Self {
        let mut layers = Vec::new();
        for (kind, statement) in statements {
            let bytes = Bytes::from(statement.to_string());
            let digest = Digest::sha256(&bytes);
            layers.push(json!({
                "mediaType": "application/vnd.in-toto+json",
                "digest": digest.as_str(),
                "size": bytes.len(),
                "annotations": {"in-toto.io/predicate-type": kind},
            }));
            self.blobs.insert(digest, bytes);
        }
        let manifest = json!({
            "schemaVersion": 2,
            "mediaType": "application/vnd.oci.image.manifest.v1+json",
            "config": {},
            "layers": layers,
        });
        let manifest = Bytes::from(manifest.to_string());
        let digest = Digest::sha256(&manifest);
        self.attestations.push(json!({
            "mediaType": "application/vnd.oci.image.manifest.v1+json",
            "digest": digest.as_str(),
            "size": manifest.len(),
            "annotations": {
                "vnd.docker.reference.digest": self.images[0]["digest"],
                "vnd.docker.reference.type": "attestation-manifest",
            },
            "platform": {"architecture": "unknown", "os": "unknown"},
        }));
        self.blobs.insert(digest, manifest);
        self
    }

    fn value(&self) -> Value {
        let manifests: Vec<&Value> = self.images.iter().chain(&self.attestations).collect();
        let mut index = json!({
            "schemaVersion": 2,
            "mediaType": "application/vnd.oci.image.index.v1+json",
            "manifests": manifests,
        });
        if !self.annotations.is_empty() {
            index["annotations"] = self.annotations.iter().cloned().collect();
        }
        index
    }

    fn bytes(&self) -> Vec<u8> {
        serde_json::to_vec_pretty(&self.value()).unwrap()
    }

    fn without_blobs(mut self) -> Self {
        self.blobs.clear();
        self
    }
}

fn compare_images(ours: &TestImage, theirs: &TestImage) -> Comparison {
    compare_bytes(
        (&ours.bytes(), &ours.blobs),
        (&theirs.bytes(), &theirs.blobs),
    )
}

type Known<'a> = (&'a [u8], &'a BTreeMap<Digest, Bytes>);

fn compare_bytes(ours: Known<'_>, theirs: Known<'_>) -> Comparison {
    let content = |(manifest, blobs)| ImageContent { manifest, blobs };
    compare(content(ours), content(theirs))
}

/// Compares two manifests without attestations that differ.
fn compare_manifests(ours: &[u8], theirs: &[u8]) -> Comparison {
    compare_bytes((ours, &BTreeMap::new()), (theirs, &BTreeMap::new()))
}

/// The statement of an unchanged build in `mode=max`, in run number `run`. The fields are those of BuildKit v0.32.
fn provenance(run: u32) -> Value {
    json!({
        "_type": "https://in-toto.io/Statement/v0.1",
        "predicateType": PROVENANCE,
        "subject": [{
            "name": format!("pkg:docker/a/b@build-{run}?platform=linux%2Famd64"),
            "digest": {"sha256": digest("amd64").hex()},
        }],
        "predicate": {
            "buildDefinition": {
                "buildType": "https://github.com/moby/buildkit/blob/master/docs/attestations/slsa-definitions.md",
                "externalParameters": {
                    "configSource": {"path": "Dockerfile"},
                    "request": {
                        "frontend": "dockerfile.v0",
                        "args": {"build-arg:A": "1", "local-sessionid:context": run.to_string()},
                        "inputs": {"base": {"request": {"args": {"vcs:revision": run.to_string()}}}},
                    },
                },
                "internalParameters": {
                    "builderPlatform": "linux/amd64",
                    "buildConfig": {
                        "llbDefinition": [{"id": "step0", "resourceUsage": {"samples": [run]}}],
                        "digestMapping": {digest(&run.to_string()).as_str(): "step0"},
                    },
                },
                "resolvedDependencies": [{"uri": "pkg:docker/alpine@3", "digest": {"sha256": "00"}}],
            },
            "runDetails": {
                "builder": {"id": format!("https://ci.example.com/runs/{run}")},
                "metadata": {
                    "invocationId": format!("id{run}"),
                    "startedOn": format!("2026-11-28T10:00:0{run}Z"),
                    "finishedOn": format!("2026-11-28T10:01:0{run}Z"),
                    "buildkit_metadata": {
                        "vcs": {"revision": run.to_string(), "source": "https://example.com/r"},
                        "layers": {format!("step{run}:0"): []},
                        "sysUsage": [run],
                        "source": {"infos": [{
                            "filename": "Dockerfile",
                            "digestMapping": {digest(&run.to_string()).as_str(): "step0"},
                            "llbDefinition": [{"id": "step0", "resourceUsage": {"samples": [run]}}],
                        }]},
                    },
                },
            },
        },
    })
}

/// The same in version 0.2.
fn provenance_02(run: u32) -> Value {
    let newer = provenance(run);
    let definition = &newer["predicate"]["buildDefinition"];
    json!({
        "predicateType": PROVENANCE_02,
        "subject": newer["subject"],
        "predicate": {
            "builder": newer["predicate"]["runDetails"]["builder"],
            "invocation": {"parameters": definition["externalParameters"]["request"]},
            "buildConfig": definition["internalParameters"]["buildConfig"],
            "metadata": {
                "buildInvocationID": run.to_string(),
                "buildStartedOn": run.to_string(),
                "buildFinishedOn": run.to_string(),
                "https://mobyproject.org/buildkit@v1#metadata":
                    newer["predicate"]["runDetails"]["metadata"]["buildkit_metadata"],
            },
        },
    })
}

fn sbom(run: u32, creator: &str) -> Value {
    let mut packages = vec![json!({"name": "musl"}), json!({"name": "zlib"})];
    packages.rotate_left(run as usize % 2);
    json!({
        "predicateType": SPDX,
        "predicate": {
            "documentNamespace": format!("https://anchore.com/{run}"),
            "creationInfo": {"created": format!("2026-11-28T10:00:0{run}Z"), "creators": [creator]},
            "packages": packages,
        },
    })
}

fn whole(run: u32) -> TestImage {
    let statements = [
        (PROVENANCE, provenance(run)),
        (PROVENANCE_02, provenance_02(run)),
        (SPDX, sbom(run, "Tool: syft-1")),
    ];
    TestImage::new(&["amd64", "arm64"]).attested(&statements)
}

fn why(comparison: Comparison) -> String {
    match comparison {
        Comparison::Different { why } => why.to_string(),
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_second_run_of_an_unchanged_build_is_identical() {
    let (first, second) = (whole(1), whole(2));
    assert_ne!(first.bytes(), second.bytes());
    let found = compare_images(&first, &second);
    assert!(matches!(found, Comparison::Identical), "{found:?}");
}

#[test]
fn another_revision_leaves_the_images_the_same() {
    let at = |run, first| {
        let image = whole(run);
        let bytes = with_revision(&image.bytes(), &commit(first), None).unwrap();
        (bytes, image.blobs)
    };
    let (ours, theirs, again) = (at(1, 'a'), at(2, 'b'), at(3, 'a'));
    let compare = |a: &(Vec<u8>, _), b: &(Vec<u8>, _)| compare_bytes((&a.0, &a.1), (&b.0, &b.1));
    assert!(matches!(compare(&ours, &theirs), Comparison::SameImages));
    assert!(matches!(compare(&ours, &again), Comparison::Identical));
    let unrecorded = whole(1);
    let unrecorded = (unrecorded.bytes(), unrecorded.blobs);
    assert!(matches!(
        compare(&ours, &unrecorded),
        Comparison::SameImages
    ));
}

#[test]
fn content_is_asked_for_only_if_the_rest_is_equal() {
    let (ours, theirs) = (whole(1), whole(2));
    let missing = |ours: &TestImage, theirs: &TestImage| match compare_images(ours, theirs) {
        Comparison::Undecided { missing } => missing,
        other => panic!("{other:?}"),
    };
    let (no_ours, no_theirs) = (ours.clone().without_blobs(), theirs.clone().without_blobs());
    let asked = missing(&no_ours, &no_theirs);
    let sides: Vec<ImageSide> = asked.iter().map(|(side, _)| *side).collect();
    assert_eq!(sides, [ImageSide::Ours, ImageSide::Theirs]);
    // With the manifests, the statements are missing.
    let with_manifests = |image: &TestImage| {
        let mut known = image.clone();
        known
            .blobs
            .retain(|digest, _| asked.iter().any(|(_, wanted)| wanted == digest));
        known
    };
    let statements = missing(&with_manifests(&ours), &with_manifests(&theirs));
    assert_eq!(statements.len(), 6);
    assert!(statements.is_disjoint(&asked));
    let other = TestImage::new(&["amd64"]);
    assert_eq!(why(compare_images(&no_ours, &other)), "the images differ");
    // A statement with the same digest need not be read.
    let same = whole(1).without_blobs().annotated(CREATED, "now");
    let found = compare_images(&no_ours, &same);
    assert!(matches!(found, Comparison::Identical), "{found:?}");
}

#[test_case(|image| image.images.reverse(), "the images differ"; "order of images")]
#[test_case(|image| image.images[0]["platform"]["variant"] = "v2".into(), "the images differ"; "a platform")]
#[test_case(|image| image.images[0]["digest"] = digest("x").as_str().into(), "the images differ"; "a digest")]
#[test_case(|image| drop(image.images.pop()), "the images differ"; "an image less")]
#[test_case(|image| image.images[0]["annotations"] = json!({"a": "b"}), "descriptors of the images"; "a descriptor")]
#[test_case(|image| image.annotations.push(("a".into(), "b".into())), "annotation `a`"; "an annotation")]
#[test_case(|image| image.attestations.clear(), "kinds of attestations"; "no attestations")]
fn changes_of_the_index_are_found(change: fn(&mut TestImage), expected: &str) {
    let ours = whole(1);
    let mut theirs = whole(2);
    change(&mut theirs);
    for (a, b) in [(&ours, &theirs), (&theirs, &ours)] {
        let found = why(compare_images(a, b));
        assert!(found.contains(expected), "{found}");
    }
}

#[test]
fn another_media_type_of_the_index_is_found() {
    let ours = TestImage::new(&["amd64"]);
    let mut theirs = ours.value();
    theirs["mediaType"] = "application/vnd.docker.distribution.manifest.list.v2+json".into();
    let found = why(compare_manifests(
        &ours.bytes(),
        theirs.to_string().as_bytes(),
    ));
    assert!(found.contains("field `mediaType`"), "{found}");
}

#[test_case("/buildDefinition/externalParameters/request/args/build-arg:A", "request.args.build-arg:A"; "an argument")]
#[test_case("/buildDefinition/internalParameters/buildConfig", "internalParameters.buildConfig"; "mode min")]
#[test_case("/buildDefinition/resolvedDependencies/0/digest", "resolvedDependencies.0.digest"; "a material")]
#[test_case("/runDetails/metadata/buildkit_metadata/vcs/source", "vcs.source"; "the remote")]
fn changed_parameters_of_provenance_are_found(pointer: &str, expected: &str) {
    let ours = TestImage::new(&["amd64"]).attested(&[(PROVENANCE, provenance(1))]);
    let mut changed = provenance(2);
    *changed["predicate"].pointer_mut(pointer).unwrap() = Value::Null;
    let theirs = TestImage::new(&["amd64"]).attested(&[(PROVENANCE, changed)]);
    let found = why(compare_images(&ours, &theirs));
    assert!(found.contains(expected), "{found}");
}

#[test]
fn changed_kinds_and_generators_are_found() {
    let attested = |statements: &[(&str, Value)]| TestImage::new(&["amd64"]).attested(statements);
    let provenance_only = attested(&[(PROVENANCE, provenance(1))]);
    let with_sbom = attested(&[(PROVENANCE, provenance(1)), (SPDX, sbom(1, "Tool: syft-1"))]);
    let newer = attested(&[(PROVENANCE, provenance(1)), (SPDX, sbom(1, "Tool: syft-2"))]);
    let older = attested(&[(PROVENANCE_02, provenance_02(1))]);
    let kinds = "the kinds of attestations differ";
    assert_eq!(why(compare_images(&provenance_only, &with_sbom)), kinds);
    assert_eq!(why(compare_images(&provenance_only, &older)), kinds);
    let found = why(compare_images(&with_sbom, &newer));
    assert!(found.contains("creationInfo.creators.0"), "{found}");
}

#[test]
fn an_index_over_one_manifest_has_the_same_images() {
    let manifest = br#"{"schemaVersion":2,"config":{},"layers":[]}"#;
    let mut index = TestImage::new(&["amd64"]);
    index.images[0]["digest"] = Digest::sha256(manifest).as_str().into();
    let found = compare_manifests(manifest, &index.bytes());
    assert!(matches!(found, Comparison::SameImages), "{found:?}");
    let annotated = index.annotated("a", "b").bytes();
    assert!(why(compare_manifests(manifest, &annotated)).contains("`a`"));
    let error = with_revision(manifest, &commit('a'), None).unwrap_err();
    assert!(matches!(error, ManifestError::NotAnIndex));
}

#[test]
fn a_revision_is_added_in_the_form_of_buildkit() {
    let image = TestImage::new(&["amd64"]).annotated("title", "<b>");
    let text = String::from_utf8(image.bytes()).unwrap();
    let with = with_revision(text.as_bytes(), &commit('a'), Some("2026-11-28T10:00:00Z")).unwrap();
    let expected = image
        .annotated(REVISION, &"a".repeat(40))
        .annotated(CREATED, "2026-11-28T10:00:00Z");
    assert_eq!(with, expected.bytes());
}

#[test]
fn other_members_keep_their_bytes() {
    let raw = br#"{ "x": [1.0, 1e2,123456789012345678901234567890 ],"manifests" :[],"y":{"b":1,"a":"\u0041"}}"#;
    let with = with_revision(raw, &commit('a'), None).unwrap();
    let text = String::from_utf8(with).unwrap();
    let kept = r#"{"x":[1.0, 1e2,123456789012345678901234567890 ],"manifests":[],"y":{"b":1,"a":"\u0041"},"annotations":{"#;
    assert!(text.starts_with(kept), "{text}");
}

#[test_case(b"" as &[u8]; "nothing")]
#[test_case(b"[]"; "a list")]
#[test_case(br#"{"manifests":[],"manifests":[]}"#; "a name twice")]
#[test_case(br#"{"manifests":[{"digest":"sha256:00"}]}"#; "a short digest")]
#[test_case(br#"{"manifests":[7]}"#; "a number instead of a descriptor")]
#[test_case(br#"{"manifests":[],"annotations":{"a":1}}"#; "a number as annotation")]
fn wrong_manifests_are_different(theirs: &[u8]) {
    let ours = TestImage::new(&["amd64"]).bytes();
    let found = compare_manifests(&ours, theirs);
    let Comparison::Different { why } = found else {
        panic!("{found:?}")
    };
    assert!(matches!(
        why,
        ImageDifference::Unreadable(ImageSide::Theirs, _)
    ));
    assert!(why.to_string().starts_with("the image in the registry: "));
}

#[test]
fn deep_and_large_content_is_refused() {
    let ours = TestImage::new(&["amd64"]).bytes();
    for open in ["[", "{\"a\":"] {
        let deep = format!("{{\"manifests\":[],\"x\":{}", open.repeat(100_000));
        let found = why(compare_manifests(deep.as_bytes(), &ours));
        assert!(found.starts_with("our image: "), "{found}");
        assert!(with_revision(deep.as_bytes(), &commit('a'), None).is_err());
    }
    let large = vec![b' '; MANIFEST_LIMIT + 1];
    assert!(why(compare_manifests(&ours, &large)).contains("more than"));
    let mut image = TestImage::new(&["amd64"]).attested(&[(PROVENANCE, provenance(1))]);
    let theirs = TestImage::new(&["amd64"]).attested(&[(PROVENANCE, provenance(2))]);
    for content in image
        .blobs
        .values_mut()
        .filter(|blob| blob.starts_with(b"{\"_type"))
    {
        *content = vec![b' '; STATEMENT_LIMIT + 1].into();
    }
    let found = why(compare_images(&image, &theirs));
    assert!(found.contains("attestation has more than"), "{found}");
}

fn images() -> impl Strategy<Value = TestImage> {
    let annotations = prop::collection::btree_map("[a-z.\"\\\\é]{1,6}", ".{0,6}", 0..4);
    let architectures = prop::collection::vec("[a-z]{1,3}", 0..3);
    (
        architectures,
        annotations,
        any::<Option<u8>>(),
        any::<bool>(),
    )
        .prop_map(|(architectures, annotations, attested, recorded)| {
            let names: Vec<&str> = architectures.iter().map(String::as_str).collect();
            let mut image = TestImage::new(&names);
            image.annotations = annotations.into_iter().collect();
            if recorded {
                image = image.annotated(REVISION, &"b".repeat(40));
            }
            match attested {
                Some(run) if !names.is_empty() => {
                    image.attested(&[(PROVENANCE, provenance(u32::from(run)))])
                }
                _ => image,
            }
        })
}

proptest! {
    #[test]
    fn an_image_is_identical_to_itself(image in images(), compact in any::<bool>()) {
        let found = compare_images(&image, &image);
        prop_assert!(matches!(found, Comparison::Identical));
        // The same content in another form.
        let other = if compact { image.value().to_string().into_bytes() } else { image.bytes() };
        let found = compare_manifests(&image.bytes(), &other);
        prop_assert!(matches!(found, Comparison::Identical));
    }

    #[test]
    fn a_revision_changes_nothing_else_and_is_set_once(
        image in images(), compact in any::<bool>(), created in proptest::option::of("[0-9TZ:-]{1,9}"),
    ) {
        let raw = if compact { image.value().to_string().into_bytes() } else { image.bytes() };
        let once = with_revision(&raw, &commit('b'), created.as_deref()).unwrap();
        let twice = with_revision(&once, &commit('b'), created.as_deref()).unwrap();
        prop_assert_eq!(&once, &twice);
        let found = compare_manifests(&raw, &once);
        let same = matches!(found, Comparison::Identical | Comparison::SameImages);
        prop_assert!(same, "{:?}", found);
        let mut expected = image.value();
        expected["annotations"][REVISION] = "b".repeat(40).into();
        if let Some(created) = &created {
            expected["annotations"][CREATED] = created.as_str().into();
        }
        let parsed: Value = serde_json::from_slice(&once).unwrap();
        prop_assert_eq!(parsed, expected);
    }

    #[test]
    fn the_order_of_annotations_does_not_matter(image in images()) {
        let mut other = image.clone();
        other.annotations.reverse();
        let found = compare_images(&image, &other);
        prop_assert!(matches!(found, Comparison::Identical));
    }

    #[test]
    fn no_bytes_cause_a_panic(
        text in "[{}\\[\\]\":,a0e.]{0,40}|\\{\"manifests\":\\[[{}\":,digest0]{0,20}\\]\\}",
        blob in any::<Vec<u8>>(),
    ) {
        let ours = TestImage::new(&["amd64"]).attested(&[(PROVENANCE, provenance(1))]);
        let _ = compare_manifests(&ours.bytes(), text.as_bytes());
        let _ = with_revision(text.as_bytes(), &commit('a'), None);
        let mut theirs = TestImage::new(&["amd64"]).attested(&[(PROVENANCE, provenance(2))]);
        for content in theirs.blobs.values_mut() {
            *content = blob.clone().into();
        }
        let _ = compare_images(&ours, &theirs);
    }
}
