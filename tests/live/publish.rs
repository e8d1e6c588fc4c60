//! Publishing from the command line: which tags point where afterwards, in which order they were set, and what is
//! taken back.

use std::time::Duration;

use http::Method;
use rustix::process::Signal;
use serde_json::Value;
use test_case::test_case;

use crate::support::distribution::{DistributionRegistry, RegistryContents, Version};
use crate::support::interrupted::Run;
use crate::support::private_registry::PrivateRegistry;
use crate::support::project::CommandOutput;
use crate::support::registry_faults::Gate;
use crate::support::registry_proxy::{ProxiedRequest, RegistryProxy, Stage, Verdict, lines};
use crate::support::releases::{Release, ReleaseProject};

/// A registry behind a proxy, and a project with two images in it.
struct Place {
    registry: DistributionRegistry,
    proxy: RegistryProxy,
    project: ReleaseProject,
}

impl Place {
    async fn new(version: Version) -> Self {
        let registry = DistributionRegistry::start(version);
        let proxy = RegistryProxy::start(&registry.address).await;
        let project = ReleaseProject::new(&proxy.address(), "team", 2);
        Self {
            registry,
            proxy,
            project,
        }
    }

    fn contents(&self) -> RegistryContents {
        self.registry.contents()
    }

    /// Commits `content` and publishes it.
    fn release(&self, content: &str, build: u64) -> Release {
        let commit = self.project.commit(content);
        let release = Release::of(&commit, build);
        succeeds(self.project.publish(&release, &[]));
        release
    }

    /// Where `tag` of both images points.
    async fn both(&self, tag: &str) -> [Option<String>; 2] {
        let contents = self.contents();
        let [first, second] = self.project.images() else {
            panic!("two images");
        };
        [
            contents.digest(first, tag).await,
            contents.digest(second, tag).await,
        ]
    }

    /// The run that is recorded last.
    async fn last_run(&self) -> String {
        let tags = self.contents().tags(&self.project.images()[0]).await;
        let mut runs = tags.iter().filter_map(|tag| tag.strip_prefix("rbake-run-"));
        runs.next_back().unwrap().to_owned()
    }
}

/// Checks that `output` is of a command that succeeded. Returns what it wrote to standard error.
#[track_caller]
fn succeeds(output: CommandOutput) -> String {
    assert_eq!(output.code, Some(0), "{output}");
    output.stderr
}

fn digest_of(metadata: &Value, target: &str) -> Option<String> {
    let digest = metadata[target]["containerimage.digest"].as_str();
    digest.map(str::to_owned)
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs live peers"]
async fn mutable_tags_are_set_after_all_images_and_immutable_tags() {
    let place = Place::new(Version::V3).await;
    let release = place.release("one", 1);
    let log = place.proxy.log();
    for tag in release.tags() {
        let digests = place.both(&tag).await;
        assert!(digests.iter().all(Option::is_some), "{tag}: {digests:?}");
        assert_eq!(digests, place.both("latest").await);
    }
    let [commit, mutable @ ..] = release.tags();
    let is_content = |request: &ProxiedRequest| {
        request.path.contains("/blobs/")
            || request
                .manifest()
                .is_some_and(|name| name.starts_with("sha256:"))
    };
    let is_early = |request: &&ProxiedRequest| {
        request.is_write() && (is_content(request) || request.sets(&commit))
    };
    let early = log.iter().filter(is_early);
    let last = early.map(|request| request.ended).max().unwrap();
    for tag in &mutable {
        let sets: Vec<_> = log.iter().filter(|request| request.sets(tag)).collect();
        assert_eq!(sets.len(), 2, "{}", lines(&log));
        let is_late = sets.iter().all(|set| Some(set.began) > last);
        assert!(is_late, "{tag}:\n{}", lines(&log));
        assert!(sets.iter().all(|set| set.is_from_rbake()));
    }
    // Only rbake sets tags: the builder pushes by digest.
    let by_builder = log.iter().filter(|request| !request.is_from_rbake());
    let mut names = by_builder
        .filter(|request| request.method == Method::PUT)
        .filter_map(ProxiedRequest::manifest);
    assert!(names.all(|name| name.starts_with("sha256:")));
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs live peers"]
async fn nothing_is_written_if_the_same_commit_is_published_again() {
    let place = Place::new(Version::V3).await;
    let release = place.release("one", 1);
    let before = place.both("latest").await;
    place.proxy.clear().await;
    let again = succeeds(
        place
            .project
            .publish(&release, &["--metadata-file", "metadata.json"]),
    );
    let log = place.proxy.log();
    let writes: Vec<_> = log.iter().filter(|request| request.is_write()).collect();
    assert!(writes.is_empty(), "{}", lines(&log));
    eprintln!(
        "2 images × 3 tags, nothing changed: {} requests\n{}",
        log.len(),
        lines(&log)
    );
    assert!(log.len() <= 15, "{}\n{again}", lines(&log));
    // Mutable tags are read once, beside the build.
    let latest: Vec<_> = log
        .iter()
        .filter(|request| request.manifest() == Some("latest"))
        .collect();
    let methods: Vec<_> = latest.iter().map(|request| &request.method).collect();
    assert_eq!(methods, ["HEAD", "HEAD"], "{}", lines(&log));
    assert_eq!(place.both("latest").await, before);
    let metadata = std::fs::read(place.project.path().join("metadata.json")).unwrap();
    let metadata: Value = serde_json::from_slice(&metadata).unwrap();
    assert_eq!(
        [digest_of(&metadata, "a"), digest_of(&metadata, "b")],
        before
    );
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs live peers"]
async fn nothing_is_written_again_if_a_large_context_has_a_session_of_its_own() {
    let place = Place::new(Version::V3).await;
    // More than the size up to which each target gets the context in its own session.
    std::fs::write(place.project.path().join("large"), vec![7; 6 << 20]).unwrap();
    let release = place.release("one", 1);
    place.proxy.clear().await;
    let output = succeeds(place.project.publish(&release, &[]));
    let log = place.proxy.log();
    assert!(!log.iter().any(ProxiedRequest::is_write), "{output}");
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs live peers"]
async fn an_immutable_tag_stays_at_the_image_that_was_published_first() {
    let place = Place::new(Version::V3).await;
    let first = place.release("one", 1);
    let before = place.both(&first.commit).await;
    let changed = Release {
        base: "2".to_owned(),
        ..first.clone()
    };
    let output = succeeds(place.project.publish(&changed, &[]));
    assert!(output.contains("publish::kept"), "{output}");
    assert!(output.contains("it is immutable"), "{output}");
    assert_eq!(place.both(&first.commit).await, before);
    let latest = place.both("latest").await;
    assert!(latest[0] != before[0] && latest[1] != before[1]);
    assert_eq!(place.both("build-1").await, latest);
    for image in place.project.images() {
        place.contents().assert_whole(image, "latest").await;
    }

    let output = succeeds(place.project.publish(&changed, &["--replace"]));
    assert!(!output.contains("publish::kept"), "{output}");
    assert_eq!(place.both(&first.commit).await, place.both("latest").await);
    assert_ne!(place.both(&first.commit).await, before);
}

/// The digests of the images for platforms in the index at `tag`, without attestations, and the commit that it
/// records.
async fn platforms(place: &Place, tag: &str) -> (Vec<String>, String) {
    let image = &place.project.images()[0];
    let index = place.contents().json(image, tag).await.unwrap();
    let all = index["manifests"].as_array().unwrap();
    let digests = all
        .iter()
        .filter(|one| one["platform"]["os"] != "unknown")
        .map(|one| one["digest"].as_str().unwrap().to_owned());
    let revision = index["annotations"]["org.opencontainers.image.revision"].as_str();
    (digests.collect(), revision.unwrap().to_owned())
}

/// The kinds of the statements about the images of `tag`.
async fn attestations(place: &Place, tag: &str) -> Vec<String> {
    let (contents, image) = (place.contents(), &place.project.images()[0]);
    let index = contents.json(image, tag).await.unwrap();
    let mut kinds = Vec::new();
    for child in index["manifests"].as_array().unwrap() {
        if child["annotations"]["vnd.docker.reference.type"] == "attestation-manifest" {
            let digest = child["digest"].as_str().unwrap();
            let manifest = contents.json(image, digest).await.unwrap();
            let layers = manifest["layers"].as_array().unwrap().iter();
            kinds.extend(layers.map(|layer| {
                let kind = layer["annotations"]["in-toto.io/predicate-type"].as_str();
                kind.unwrap().to_owned()
            }));
        }
    }
    kinds.sort();
    kinds
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs live peers"]
async fn an_sbom_that_is_switched_on_is_published_once_and_not_under_the_immutable_tag() {
    let place = Place::new(Version::V3).await;
    let release = place.release("one", 1);
    let before = place.both("latest").await;
    let provenance = attestations(&place, "latest").await;
    assert_eq!(provenance.len(), 1, "{provenance:?}");
    // The same commit again: all tags stay.
    succeeds(place.project.publish(&release, &[]));
    for tag in release.tags() {
        assert_eq!(place.both(&tag).await, before);
    }

    // With an SBOM, the image is another one: mutable tags move to it, the immutable one stays and says so.
    let with_sbom = ["--sbom=true"];
    let output = succeeds(place.project.publish(&release, &with_sbom));
    assert!(output.contains("it is immutable"), "{output}");
    assert_eq!(place.both(&release.commit).await, before);
    let after = place.both("latest").await;
    assert!(after[0] != before[0] && after[1] != before[1], "{output}");
    assert_eq!(place.both("build-1").await, after);
    let kinds = attestations(&place, "latest").await;
    assert_eq!(kinds.len(), 2, "{kinds:?}");
    assert!(
        kinds.iter().any(|kind| kind == "https://spdx.dev/Document"),
        "{kinds:?}"
    );
    assert_eq!(attestations(&place, &release.commit).await, provenance);
    let (old, _) = platforms(&place, &release.commit).await;
    assert_eq!(platforms(&place, "latest").await.0, old);
    for image in place.project.images() {
        place.contents().assert_whole(image, "latest").await;
    }

    // Once more, nothing has changed, and nothing is pushed.
    place.proxy.clear().await;
    let output = succeeds(place.project.publish(&release, &with_sbom));
    let log = place.proxy.log();
    let writes: Vec<_> = log.iter().filter(|request| request.is_write()).collect();
    assert!(writes.is_empty(), "{}\n{output}", lines(&log));
    assert_eq!(place.both("latest").await, after);
    assert_eq!(place.both(&release.commit).await, before);

    // A new commit has it under all its tags.
    let next = Release::of(&place.project.commit("two"), 2);
    succeeds(place.project.publish(&next, &with_sbom));
    assert_eq!(place.both(&next.commit).await, place.both("latest").await);
    assert_eq!(attestations(&place, &next.commit).await, kinds);
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs live peers"]
async fn a_late_run_of_an_older_commit_leaves_mutable_tags_at_a_revert() {
    let place = Place::new(Version::V3).await;
    let first = place.release("one", 1);
    let bad = place.project.commit("two");
    let bad = Release::of(&bad, 2);
    place
        .project
        .git(&["revert", "--no-edit", "--quiet", "HEAD"]);
    let revert = place.project.git(&["rev-parse", "HEAD"]);
    let revert = Release::of(&revert, 3);
    succeeds(place.project.publish(&revert, &[]));

    let (old, revision) = platforms(&place, &first.commit).await;
    assert_eq!(revision, first.commit);
    let (new, revision) = platforms(&place, "latest").await;
    assert_eq!(revision, revert.commit);
    assert_eq!(old, new);

    place.project.check_out(&bad.commit);
    let output = succeeds(place.project.publish(&bad, &[]));
    assert!(output.contains("publish::kept"), "{output}");
    assert!(output.contains(&revert.commit), "{output}");
    let latest = place.both("latest").await;
    assert_eq!(latest, place.both(&revert.commit).await);
    assert_ne!(latest, place.both(&bad.commit).await);
    // Nothing else holds the other tags of the late run.
    assert_eq!(place.both("build-2").await, place.both(&bad.commit).await);

    succeeds(place.project.publish(&bad, &["--force-backwards"]));
    assert_eq!(place.both("latest").await, place.both(&bad.commit).await);
}

#[test_case(Version::V2; "distribution 2.8")]
#[test_case(Version::V3; "distribution 3")]
#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs live peers"]
async fn a_finished_run_is_taken_back(version: Version) {
    let place = Place::new(version).await;
    let first = place.release("one", 1);
    let second = place.release("two", 2);
    let image = &place.project.images()[0];
    let contents = place.contents();
    contents.set(image, "latest", "kept").await;
    let kept = contents.digest(image, "kept").await;
    assert_eq!(place.both("latest").await, place.both(&second.commit).await);
    let run = place.last_run().await;

    // Nobody can be asked.
    let output = place.project.run(&mut place.project.verb(&["undo", &run]));
    assert_eq!(output.code, Some(2), "{output}");
    assert!(output.stderr.contains("publish::not-confirmed"), "{output}");
    let shown = ["undo", &run, "--dry-run"];
    succeeds(place.project.run(&mut place.project.verb(&shown)));
    assert_eq!(place.both("latest").await, place.both(&second.commit).await);

    let done = ["undo", &run, "--yes"];
    let output = succeeds(place.project.run(&mut place.project.verb(&done)));
    assert_eq!(
        place.both("latest").await,
        place.both(&first.commit).await,
        "{output}"
    );
    assert_eq!(place.both(&second.commit).await, [None, None], "{output}");
    assert_eq!(place.both("build-2").await, [None, None], "{output}");
    assert_eq!(contents.digest(image, "kept").await, kept);
    contents.assert_whole(image, "kept").await;
    for tag in first.tags() {
        contents.assert_whole(image, &tag).await;
    }

    // A second time, nothing is left to do.
    let output = succeeds(place.project.run(&mut place.project.verb(&done)));
    assert!(output.contains("nothing is left to do"), "{output}");
    assert_eq!(place.both("latest").await, place.both(&first.commit).await);
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs live peers"]
async fn a_run_that_was_taken_back_elsewhere_is_not_finished_by_its_own_journal() {
    let place = Place::new(Version::V3).await;
    let first = place.release("one", 1);
    let second = Release::of(&place.project.commit("two"), 2);
    let gate = Gate::new(Stage::Before, 0, |request| request.sets("latest"));
    place.proxy.set_hook(Some(gate.hook()));
    let run = Run::start(&place.project.command(&second, &[]));
    gate.reached().await;
    run.signal(Signal::KILL);
    run.ended(Duration::from_secs(30)).await;
    gate.release(Verdict::Reset);
    place.proxy.quiet().await;
    place.proxy.set_hook(None);

    let elsewhere = tempfile::tempdir().unwrap();
    let from: Vec<String> = place
        .project
        .images()
        .iter()
        .map(|image| format!("--from={}/{image}", place.proxy.address()))
        .collect();
    let undo = ["undo", "--yes", &from[0], &from[1]];
    let mut undo = place.project.verb(&undo);
    succeeds(place.project.run(undo.env("HOME", elsewhere.path())));
    let before = place.both("latest").await;
    assert_eq!(before, place.both(&first.commit).await);

    let output = place.project.run(&mut place.project.verb(&["resume"]));
    let after = place.both("latest").await;
    assert!(after == before, "moved again: {output}");
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs live peers"]
async fn tags_move_with_a_note_if_git_does_not_know_their_commit() {
    let place = Place::new(Version::V3).await;
    place.release("one", 1);
    let commit = place.project.commit("two");
    let shallow = place.project.cloned(Some(1));
    let release = Release::of(&commit, 2);
    let output = succeeds(shallow.publish(&release, &[]));
    assert!(output.contains("publish::moved"), "{output}");
    assert_eq!(place.both("latest").await, place.both(&commit).await);
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs live peers"]
async fn a_denied_push_fails_before_anything_is_built() {
    let registry = PrivateRegistry::start();
    let project = ReleaseProject::new(&registry.address, "team", 2);
    let commit = project.commit("one");
    let release = Release::of(&commit, 1);
    let output = project.publish(&release, &[]);
    assert_eq!(output.code, Some(1), "{output}");
    assert!(output.stderr.contains("publish::denied"), "{output}");
    assert!(output.stderr.contains("team/a"), "{output}");
    assert!(output.stderr.contains("team/b"), "{output}");
    assert!(!output.stderr.contains("COPY"), "{output}");
}

/// A limit: a clone that was made before the newer commit existed cannot know that the commit in the registry is newer.
#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs live peers"]
async fn a_late_run_in_a_clone_without_the_newer_commit_moves_tags_back_with_a_note() {
    let place = Place::new(Version::V3).await;
    place.release("one", 1);
    let older = Release::of(&place.project.commit("two"), 2);
    let clone = place.project.cloned(None);
    place.release("three", 3);
    let output = succeeds(clone.publish(&older, &[]));
    assert!(output.contains("publish::moved"), "{output}");
    assert_eq!(place.both("latest").await, place.both(&older.commit).await);
}

// `After`: the registry has moved the tag, but its answer says that it refuses.
#[test_case(Stage::Before; "refused")]
#[test_case(Stage::After; "done, but reported as refused")]
#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs live peers"]
async fn a_refused_move_takes_back_the_others_and_the_run_can_be_promoted(refused: Stage) {
    let place = Place::new(Version::V3).await;
    place.release("one", 1);
    let before = place.both("latest").await;
    let second = Release::of(&place.project.commit("two"), 2);
    let image = place.project.images()[1].clone();
    let is_refused = move |request: &ProxiedRequest| {
        request.sets("latest") && request.path.contains(&format!("/{image}/"))
    };
    let once = std::sync::atomic::AtomicBool::new(false);
    place
        .proxy
        .set_hook(Some(std::sync::Arc::new(move |stage, request| {
            let answers = stage == refused
                && is_refused(&request)
                && !once.swap(true, std::sync::atomic::Ordering::SeqCst);
            let verdict = if answers {
                Verdict::Answer {
                    status: http::StatusCode::FORBIDDEN,
                    retry_after: None,
                }
            } else {
                Verdict::Pass
            };
            Box::pin(std::future::ready(verdict))
        })));
    let output = place.project.publish(&second, &[]);
    assert_eq!(output.code, Some(5), "{output}");
    assert!(output.stderr.contains("rbake promote"), "{output}");
    assert_eq!(place.both("latest").await, before, "{output}");
    assert_eq!(place.both("build-2").await, [None, None], "{output}");

    let promote = ["promote", "--yes"];
    succeeds(place.project.run(&mut place.project.verb(&promote)));
    for tag in ["latest", "build-2"] {
        assert_eq!(place.both(tag).await, place.both(&second.commit).await);
    }
}
