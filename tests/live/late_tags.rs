//! Tags that the builder or a Docker Engine sets after all targets, because rbake cannot.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use http::{Method, StatusCode};
use serde_json::Value;
use test_case::test_case;

use crate::support::distribution::{DistributionRegistry, Version};
use crate::support::offline::without_network;
use crate::support::peers;
use crate::support::project::CommandOutput;
use crate::support::registry_proxy::{Hook, ProxiedRequest, RegistryProxy, Verdict};
use crate::support::releases::{Release, ReleaseProject};

/// A registry behind a proxy, and a project with two images in it.
struct Place {
    registry: DistributionRegistry,
    proxy: RegistryProxy,
    project: ReleaseProject,
}

impl Place {
    async fn new() -> Self {
        let registry = DistributionRegistry::start(Version::V3);
        let proxy = RegistryProxy::start(&registry.address).await;
        let project = ReleaseProject::new(&proxy.address(), "team", 2);
        Self {
            registry,
            proxy,
            project,
        }
    }

    /// Writes a further definition, which gives `target` another Dockerfile. It is read with [`WITH_MORE`].
    fn write_more(&self, target: &str, dockerfile: &str) {
        let text = format!("target \"{target}\" {{\n  dockerfile-inline = {dockerfile:?}\n}}\n");
        std::fs::write(self.project.path().join("more.hcl"), text).unwrap();
    }

    /// Publishes `release` with the builder, which is the only one that reaches the registry.
    fn publish_offline(&self, release: &Release, arguments: &[&str]) -> CommandOutput {
        let command = self.project.command(release, arguments);
        self.project.run(&mut without_network(&command))
    }

    /// Where `tag` of both images points.
    async fn both(&self, tag: &str) -> [Option<String>; 2] {
        self.project.both(&self.registry.contents(), tag).await
    }
}

/// Decides about each request.
fn hook(decide: impl Fn(&ProxiedRequest) -> Verdict + Send + Sync + 'static) -> Hook {
    Arc::new(move |_, request: ProxiedRequest| {
        let verdict = decide(&request);
        Box::pin(async move { verdict })
    })
}

/// The arguments that read the further definition.
const WITH_MORE: [&str; 4] = ["--file", "docker-bake.hcl", "--file", "more.hcl"];

const NOT_FOUND: Verdict = Verdict::Answer {
    status: StatusCode::NOT_FOUND,
    retry_after: None,
};

const FORBIDDEN: Verdict = Verdict::Answer {
    status: StatusCode::FORBIDDEN,
    retry_after: None,
};

/// The manifests that were written, in the order in which the registry had them.
fn written(log: &[ProxiedRequest]) -> Vec<String> {
    let mut puts: Vec<&ProxiedRequest> = log
        .iter()
        .filter(|request| request.method == Method::PUT && request.succeeded())
        .filter(|request| request.manifest().is_some())
        .collect();
    puts.sort_by_key(|request| request.ended);
    puts.iter()
        .filter_map(|request| request.manifest().map(str::to_owned))
        .collect()
}

fn is_tag(name: &str) -> bool {
    !name.starts_with("sha256:")
}

#[track_caller]
fn warns_once(output: &CommandOutput) {
    let count = output.stderr.matches("publish::by-builder").count();
    assert_eq!(count, 1, "{output}");
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs live peers"]
async fn the_builder_sets_all_tags_after_all_images_if_only_it_reaches_the_registry() {
    let place = Place::new().await;
    let release = Release::of(&place.project.commit("one"), 1);
    let output = place.publish_offline(&release, &["--metadata-file", "metadata.json"]);
    assert_eq!(output.code, Some(0), "{output}");
    warns_once(&output);
    assert!(output.stderr.contains("`a` and `b`"), "{output}");

    let names = written(&place.proxy.log());
    let first_tag = names.iter().position(|name| is_tag(name)).unwrap();
    assert!(first_tag >= 2, "{names:?}");
    let tags: Vec<&String> = names.iter().filter(|name| is_tag(name)).collect();
    assert_eq!(tags.len(), 6, "{names:?}");
    let latest = place.both("latest").await;
    assert!(latest[0].is_some() && latest[1].is_some());
    for tag in release.tags() {
        assert_eq!(place.both(&tag).await, latest, "{tag}");
        for image in place.project.images() {
            place.registry.contents().assert_whole(image, &tag).await;
        }
    }
    let metadata = std::fs::read(place.project.path().join("metadata.json")).unwrap();
    let metadata: Value = serde_json::from_slice(&metadata).unwrap();
    for (target, digest) in ["a", "b"].into_iter().zip(&latest) {
        let said = metadata[target]["containerimage.digest"].as_str();
        assert_eq!(said, digest.as_deref());
        let names = metadata[target]["image.name"].as_str().unwrap();
        assert_eq!(names.split(',').count(), 3, "{names}");
    }
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs live peers"]
async fn the_builder_sets_only_immutable_tags_if_a_target_fails() {
    let place = Place::new().await;
    let release = Release::of(&place.project.commit("one"), 1);
    // `b` fails after `a` has ended.
    place.write_more("b", "FROM busybox\nRUN sleep 3\nRUN false\n");
    let output = place.publish_offline(&release, &WITH_MORE);
    assert_eq!(output.code, Some(1), "{output}");
    let names = written(&place.proxy.log());
    assert!(!names.iter().any(|name| name == "latest"), "{names:?}");
    assert!(!names.iter().any(|name| name == "build-1"), "{names:?}");
    let [first, second] = place.both(&release.commit).await;
    assert!(first.is_some() && second.is_none(), "{output}");
    assert_eq!(place.both("latest").await, [None, None]);
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs live peers"]
async fn a_gate_and_a_hold_are_refused_before_work_if_only_the_builder_reaches_the_registry() {
    let place = Place::new().await;
    let release = Release::of(&place.project.commit("one"), 1);
    let waits: [(&[&str], &str); 2] = [
        (&["--gate-run", "true"], "publish::ungated"),
        (&["--hold"], "publish::hold"),
    ];
    for (arguments, code) in waits {
        let output = place.publish_offline(&release, arguments);
        assert_ne!(output.code, Some(0), "{output}");
        assert!(output.stderr.contains(code), "{output}");
        assert!(written(&place.proxy.log()).is_empty());
    }
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs live peers"]
async fn the_builder_sets_the_tags_if_it_reaches_another_registry_than_rbake() {
    let place = Place::new().await;
    // The registry that rbake reaches has nothing, whatever the builder pushes.
    let other = hook(|request| {
        if request.is_from_rbake() && !request.is_write() {
            NOT_FOUND
        } else {
            Verdict::Pass
        }
    });
    place.proxy.set_hook(Some(other));
    let settings = place.project.path().join("rbake.toml");
    std::fs::write(settings, "[publish]\nupload = \"builder\"\n").unwrap();
    let release = Release::of(&place.project.commit("one"), 1);
    let output = place.project.publish(&release, &[]);
    assert_eq!(output.code, Some(0), "{output}");
    assert!(
        output.stderr.contains("reaches another registry"),
        "{output}"
    );
    let latest = place.both("latest").await;
    assert!(latest[0].is_some() && latest[1].is_some(), "{output}");
    assert_eq!(place.both(&release.commit).await, latest);
    let names = written(&place.proxy.log());
    let first_tag = names.iter().position(|name| is_tag(name)).unwrap();
    assert!(first_tag >= 2, "{names:?}");
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs live peers"]
async fn a_run_whose_late_tags_are_refused_says_which_and_ends_with_5() {
    let place = Place::new().await;
    let refuse = hook(|request| match request.repository() {
        Some("team/b") if request.sets("latest") => FORBIDDEN,
        _ => Verdict::Pass,
    });
    place.proxy.set_hook(Some(refuse));
    let release = Release::of(&place.project.commit("one"), 1);
    let output = place.publish_offline(&release, &[]);
    assert_eq!(output.code, Some(5), "{output}");
    assert!(
        output.stderr.contains("cannot set the tags of `b`"),
        "{output}"
    );
    assert!(output.stderr.contains("may not have moved"), "{output}");
    assert_eq!(place.both("latest").await[1], None);

    // The same command again repairs it.
    place.proxy.set_hook(None);
    let output = place.publish_offline(&release, &[]);
    assert_eq!(output.code, Some(0), "{output}");
    assert!(place.both("latest").await[1].is_some());
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs live peers"]
async fn the_only_target_of_a_run_is_solved_once() {
    let place = Place::new().await;
    let release = Release::of(&place.project.commit("one"), 1);
    let output = place.publish_offline(&release, &["a"]);
    assert_eq!(output.code, Some(0), "{output}");
    let latest = place.both("latest").await;
    assert!(latest[0].is_some() && latest[1].is_none());
    // The index was not pushed by its digest before.
    let names = written(&place.proxy.log());
    let index = latest[0].as_ref().unwrap();
    assert!(!names.contains(index), "{names:?}");
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs live peers"]
async fn a_build_without_the_cache_runs_its_steps_once_although_it_is_solved_twice() {
    let place = Place::new().await;
    let first = Release::of(&place.project.commit("one"), 1);
    place.write_more("a", "FROM busybox\nRUN cat /proc/uptime | tee /when\n");
    let arguments = [&WITH_MORE[..], &["a", "--no-cache"]].concat();
    let output = place.project.publish(&first, &arguments);
    assert_eq!(output.code, Some(0), "{output}");
    let latest = place.both("latest").await;
    // The tag exists, so the image is built first, compared, and pushed by a second solve.
    let output = place.project.publish(&first, &arguments);
    assert_eq!(output.code, Some(0), "{output}");
    assert_ne!(place.both("latest").await, latest);
    // The result of the step that ran last.
    let local = ["a", "--set", "a.output=type=local,dest=out"];
    let mut command = place.project.verb(&[&WITH_MORE[..], &local].concat());
    let again = place
        .project
        .run(command.env("COMMIT", &first.commit).env("BUILD", "1"));
    assert_eq!(again.code, Some(0), "{again}");
    let when = std::fs::read_to_string(place.project.path().join("out/when")).unwrap();
    assert!(output.stderr.contains(when.trim()), "{when}{output}");
}

/// The Docker Engines, one for each kind of image store.
const ENGINES: [&str; 2] = ["RBAKE_TEST_DOCKER_HOST", "RBAKE_TEST_DOCKER_CLASSIC_HOST"];

impl Place {
    /// Publishes `release` with the BuildKit of the Docker Engine at `host`.
    fn publish_with(&self, host: &str, release: &Release, arguments: &[&str]) -> CommandOutput {
        let mut command = self.project.command(release, arguments);
        command.env_remove("BUILDKIT_HOST").env("DOCKER_HOST", host);
        self.project.run(&mut command)
    }

    /// The same if only the Engine reaches the registry.
    fn publish_offline_with(&self, host: &str, release: &Release) -> CommandOutput {
        let mut command = self.project.command(release, &[]);
        command.env_remove("BUILDKIT_HOST").env("DOCKER_HOST", host);
        self.project.run(&mut without_network(&command))
    }
}

/// A registry that is in trouble when the run begins is not one that only the builder reaches.
#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs live peers"]
async fn a_registry_in_trouble_is_not_left_to_the_builder() {
    let place = Place::new().await;
    let first = Release::of(&place.project.commit("one"), 1);
    assert_eq!(place.project.publish(&first, &[]).code, Some(0));
    let before = [place.both("latest").await, place.both(&first.commit).await];
    // Only for the first 30 requests. The image would be another one.
    let count = AtomicUsize::new(0);
    let trouble = hook(move |_| match count.fetch_add(1, Ordering::SeqCst) {
        0..30 => Verdict::Reset,
        _ => Verdict::Pass,
    });
    place.proxy.set_hook(Some(trouble));
    place.write_more("a", "FROM busybox\nRUN echo other >/other\n");
    for arguments in [&WITH_MORE[..], &[&WITH_MORE[..], &["a"]].concat()] {
        let output = place.project.publish(&first, arguments);
        assert_eq!(output.code, Some(5), "{output}");
        assert!(output.stderr.contains("publish::failed"), "{output}");
        let after = [place.both("latest").await, place.both(&first.commit).await];
        assert_eq!(after, before, "{output}");
    }
}

/// Checks that rbake set the mutable tags of `release`, after the Engine had pushed all images under the commit's id.
#[track_caller]
fn assert_engine_pushes_immutable_tags(log: &[ProxiedRequest], release: &Release) {
    let written: Vec<&ProxiedRequest> = log
        .iter()
        .filter(|request| request.method == Method::PUT && request.succeeded())
        .filter(|request| request.manifest().is_some_and(is_tag))
        .collect();
    let by_engine: Vec<&str> = written
        .iter()
        .filter(|request| !request.is_from_rbake())
        .filter_map(|request| request.manifest())
        .collect();
    assert_eq!(by_engine, [&release.commit, &release.commit]);
    let last_push = written
        .iter()
        .filter(|request| request.sets(&release.commit))
        .map(|request| request.ended.unwrap())
        .max();
    let mutable = written
        .iter()
        .filter(|request| request.sets("latest") || request.sets("build-1"));
    let first_move = mutable.clone().map(|request| request.began).min();
    assert_eq!(mutable.count(), 4);
    assert!(last_push < first_move);
}

#[test_case(0; "containerd store")]
#[test_case(1; "classic store")]
#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs live peers"]
async fn an_engine_pushes_images_under_immutable_tags_and_rbake_moves_the_others(engine: usize) {
    let host = peers::peer(ENGINES[engine]);
    let place = Place::new().await;
    let release = Release::of(&place.project.commit("one"), 1);
    let metadata = ["--metadata-file", "metadata.json"];
    let output = place.publish_with(&host, &release, &metadata);
    assert_eq!(output.code, Some(0), "{output}");
    assert!(!output.stderr.contains("warning"), "{output}");
    assert_engine_pushes_immutable_tags(&place.proxy.log(), &release);
    let latest = place.both("latest").await;
    for tag in release.tags() {
        assert_eq!(place.both(&tag).await, latest, "{tag}");
        for image in place.project.images() {
            place.registry.contents().assert_whole(image, &tag).await;
        }
    }
    let metadata = std::fs::read(place.project.path().join("metadata.json")).unwrap();
    let metadata: Value = serde_json::from_slice(&metadata).unwrap();
    for (target, digest) in ["a", "b"].into_iter().zip(&latest) {
        let said = metadata[target]["containerimage.digest"].as_str();
        assert_eq!(said, digest.as_deref());
    }

    // Nothing has changed, so nothing is pushed.
    place.proxy.clear().await;
    let output = place.publish_with(&host, &release, &[]);
    assert_eq!(output.code, Some(0), "{output}");
    let log = place.proxy.log();
    let writes: Vec<_> = log.iter().filter(|request| request.is_write()).collect();
    assert!(writes.is_empty(), "{writes:?}\n{output}");

    // A completed immutable tag stays. The Engine cannot push the new image by its digest.
    let changed = Release {
        base: "2".to_owned(),
        ..release.clone()
    };
    let output = place.publish_with(&host, &changed, &[]);
    assert_eq!(output.code, Some(0), "{output}");
    assert!(output.stderr.contains("publish::kept"), "{output}");
    assert_eq!(place.both(&release.commit).await, latest);
    let moved = place.both("latest").await;
    assert!(moved[0] != latest[0] && moved[1] != latest[1], "{output}");

    let output = place.publish_with(&host, &changed, &["--replace"]);
    assert_eq!(output.code, Some(0), "{output}");
    assert_ne!(place.both(&release.commit).await, latest);
    assert_eq!(
        place.both(&release.commit).await,
        place.both("latest").await
    );
}

#[test_case(0; "containerd store")]
#[test_case(1; "classic store")]
#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs live peers"]
async fn an_engine_moves_tags_after_all_targets_if_none_is_immutable(engine: usize) {
    let host = peers::peer(ENGINES[engine]);
    let place = Place::new().await;
    place.project.commit("one");
    // The tag that should name the commit does not.
    let release = Release::of("stable", 1);
    let output = place.publish_with(&host, &release, &["--gate-run", "true"]);
    assert_ne!(output.code, Some(0), "{output}");
    assert!(output.stderr.contains("publish::ungated"), "{output}");
    assert!(
        output.stderr.contains("all its tags are mutable"),
        "{output}"
    );
    assert!(written(&place.proxy.log()).is_empty());

    let output = place.publish_with(&host, &release, &[]);
    assert_eq!(output.code, Some(0), "{output}");
    let latest = place.both("latest").await;
    assert!(latest[0].is_some() && latest[1].is_some());
    for tag in release.tags() {
        assert_eq!(place.both(&tag).await, latest, "{tag}");
    }

    // `b` fails, so no tag of `a` moves.
    let before = latest;
    place.project.commit("two");
    place.write_more("b", "FROM busybox\nRUN sleep 3\nRUN false\n");
    let output = place.publish_with(&host, &release, &WITH_MORE);
    assert_eq!(output.code, Some(1), "{output}");
    assert_eq!(place.both("latest").await, before, "{output}");
}

#[test_case(0; "containerd store")]
#[test_case(1; "classic store")]
#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs live peers"]
async fn an_engine_sets_all_tags_if_only_it_reaches_the_registry(engine: usize) {
    let host = peers::peer(ENGINES[engine]);
    let place = Place::new().await;
    let release = Release::of(&place.project.commit("one"), 1);
    let output = place.publish_offline_with(&host, &release);
    assert_eq!(output.code, Some(0), "{output}");
    warns_once(&output);
    let latest = place.both("latest").await;
    assert!(latest[0].is_some() && latest[1].is_some(), "{output}");
    for tag in release.tags() {
        assert_eq!(place.both(&tag).await, latest, "{tag}");
    }
    let names = written(&place.proxy.log());
    let tags: Vec<&String> = names.iter().filter(|name| is_tag(name)).collect();
    assert!(
        tags[..2].iter().all(|tag| **tag == release.commit),
        "{tags:?}"
    );
}
