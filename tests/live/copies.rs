//! `rbake promote --to`: images go to another repository or registry bit for bit, with what is attached to them.

use std::process::Command;
use std::time::Duration;

use rustix::process::Signal;
use serde_json::{Value, json};
use test_case::test_case;

use crate::support::distribution::{DistributionRegistry, RegistryContents, Version};
use crate::support::interrupted::Run;
use crate::support::peers;
use crate::support::private_registry::{PASSWORD, PrivateRegistry};
use crate::support::project::CommandOutput;
use crate::support::registry_faults::Gate;
use crate::support::registry_proxy::{ProxiedRequest, RegistryProxy, Stage, Verdict};
use crate::support::releases::{Release, ReleaseProject};

const PATIENCE: Duration = Duration::from_secs(60);

/// A project whose images are in one registry, and another registry.
struct Pair {
    source: DistributionRegistry,
    target: DistributionRegistry,
    project: ReleaseProject,
}

impl Pair {
    fn new(source: Version, target: Version) -> Self {
        let source = DistributionRegistry::start(source);
        let project = ReleaseProject::new(&source.address, "dev", 2);
        Self {
            target: DistributionRegistry::start(target),
            source,
            project,
        }
    }

    fn release(&self, content: &str, build: u64) -> Release {
        let release = Release::of(&self.project.commit(content), build);
        let output = self.project.publish(&release, &[]);
        assert_eq!(output.code, Some(0), "{output}");
        release
    }

    fn from(&self, image: &str) -> String {
        format!("{}/{image}", self.source.address)
    }

    fn to(&self, image: &str) -> String {
        format!("{}/{image}", self.target.address)
    }

    fn promote(&self, words: &[&str]) -> CommandOutput {
        let words = [&["promote"], words].concat();
        let mut command = self.project.verb(&words);
        self.project.run(command.env("RBAKE_IMMUTABLE_TAGS", "v*"))
    }
}

#[track_caller]
fn passes(output: CommandOutput) -> CommandOutput {
    assert_eq!(output.code, Some(0), "{output}");
    output
}

fn regctl(registry: &str, arguments: &[&str]) -> String {
    let home = tempfile::tempdir().unwrap();
    let host = format!("reg={registry},tls=disabled");
    let output = Command::new(peers::program("RBAKE_TEST_REGCTL"))
        .args(["--host", &host])
        .args(arguments)
        .env("HOME", home.path())
        .env("REGCTL_CONFIG", home.path().join("regctl.json"))
        .output()
        .unwrap();
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{arguments:?}: {errors}");
    String::from_utf8(output.stdout).unwrap()
}

/// What the registry of `image` lists as its referrers.
fn referrers(registry: &str, image: &str) -> String {
    let format = "{{range .Descriptors}}{{.Digest}} {{.ArtifactType}} {{.Size}}\n{{end}}";
    regctl(registry, &["artifact", "list", "--format", format, image])
}

/// Attaches a manifest to a manifest of `repository`, and another one under the tag of cosign. Returns that tag.
fn sign(registry: &str, repository: &str, digest: &str) -> String {
    let image = format!("{registry}/{repository}@{digest}");
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("signature");
    std::fs::write(&file, format!("a signature of {image}")).unwrap();
    let file = file.to_str().unwrap();
    let put = [
        "artifact",
        "put",
        "--artifact-type",
        "text/signature",
        "-f",
        file,
    ];
    regctl(registry, &[&put[..], &["--subject", &image]].concat());
    let tag = format!("sha256-{}.sig", digest.strip_prefix("sha256:").unwrap());
    regctl(
        registry,
        &[&put[..], &[&format!("{registry}/{repository}:{tag}")]].concat(),
    );
    tag
}

/// Writes a manifest under a tag.
fn put(registry: &str, repository: &str, tag: &str, manifest: &Value) {
    let url = format!("http://{registry}/v2/{repository}/manifests/{tag}");
    let kind = format!("Content-Type: {}", manifest["mediaType"].as_str().unwrap());
    let output = Command::new("curl")
        .args([
            "-sS",
            "-o",
            "/dev/null",
            "-w",
            "%{http_code}",
            "-X",
            "PUT",
            "-H",
            &kind,
        ])
        .args(["--data-binary", &manifest.to_string(), &url])
        .output()
        .unwrap();
    assert_eq!(String::from_utf8(output.stdout).unwrap(), "201", "{url}");
}

#[test_case(Version::V3, Version::V2; "from distribution 3 to 2.8")]
#[test_case(Version::V2, Version::V3; "from distribution 2.8 to 3")]
#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs live peers"]
async fn an_image_and_what_is_attached_to_it_are_the_same_at_the_other_registry(
    source: Version,
    target: Version,
) {
    let pair = Pair::new(source, target);
    pair.release("one", 1);
    let (from, to) = (pair.source.contents(), pair.target.contents());
    let digest = from.digest("dev/a", "latest").await.unwrap();
    let signature = sign(&pair.source.address, "dev/a", &digest);
    // An attestation of the platform's image, which is a child.
    let index = from.json("dev/a", "latest").await.unwrap();
    let child = index["manifests"][0]["digest"].as_str().unwrap();
    let attested = sign(&pair.source.address, "dev/a", child);

    let (image, place) = (pair.from("dev/a:latest"), pair.to("prod/a:v1"));
    // It only shows the plan.
    let output = passes(pair.promote(&[&image, "--to", &place, "--dry-run"]));
    assert!(
        output.stderr.contains(&format!("prod/a:v1 → {digest}")),
        "{output}"
    );
    assert_eq!(pair.promote(&[&image, "--to", &place]).code, Some(2));
    assert_eq!(to.tags("prod/a").await, Vec::<String>::new());

    let output = passes(pair.promote(&[&image, "--to", &place, "--yes"]));
    assert_eq!(
        to.manifest("prod/a", "v1").await,
        from.manifest("dev/a", "latest").await
    );
    to.assert_whole("prod/a", "v1").await;
    for tag in [&signature, &attested] {
        assert_eq!(
            to.manifest("prod/a", tag).await,
            from.manifest("dev/a", tag).await,
            "{output}"
        );
        to.assert_whole("prod/a", tag).await;
    }
    let listed = referrers(&pair.source.address, &image);
    assert!(listed.contains("text/signature"), "{listed}");
    assert_eq!(referrers(&pair.target.address, &place), listed, "{output}");

    // A second time, nothing is left to do, and nobody is asked.
    let again = passes(pair.promote(&[&image, "--to", &place]));
    assert!(
        again.stderr.contains("0 manifests, 0 blobs sent"),
        "{again}"
    );
    // A signature that is made later goes the same way.
    let late = regctl(
        &pair.source.address,
        &[
            "artifact",
            "put",
            "--artifact-type",
            "text/sbom",
            "--subject",
            &image,
            "-f",
            "Cargo.toml",
        ],
    );
    let again = passes(pair.promote(&[&image, "--to", &place]));
    assert!(
        again.stderr.contains("copied: 1 manifests"),
        "{again} {late}"
    );
    assert!(referrers(&pair.target.address, &place).contains("text/sbom"));

    // Another image does not replace an immutable tag.
    pair.release("two", 2);
    let output = pair.promote(&[&image, "--to", &place, "--yes"]);
    assert_eq!(output.code, Some(5), "{output}");
    assert!(output.stderr.contains("publish::immutable"), "{output}");
    assert_eq!(to.digest("prod/a", "v1").await.as_ref(), Some(&digest));
}

#[test_case(Version::V3, Version::V2; "from distribution 3 to 2.8")]
#[test_case(Version::V2, Version::V3; "from distribution 2.8 to 3")]
#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs live peers"]
async fn all_images_of_a_run_are_copied_with_their_tags_and_only_forward(
    source: Version,
    target: Version,
) {
    let pair = Pair::new(source, target);
    let first = pair.release("one", 1);
    let second = pair.release("two", 2);
    let (from, to) = (pair.source.contents(), pair.target.contents());
    let below = pair.to("prod/");
    let output = pair.promote(&[&second.commit, "--to", &pair.to("prod"), "--yes"]);
    assert_eq!(output.code, Some(2), "{output}");
    assert!(output.stderr.contains("with a `/` at the end"), "{output}");

    let output = passes(pair.promote(&[&second.commit, "--to", &below, "--yes"]));
    for image in ["a", "b"] {
        let (old, new) = (format!("dev/{image}"), format!("prod/{image}"));
        for tag in second.tags() {
            let expected = from.manifest(&old, &tag).await;
            assert!(expected.is_some());
            assert_eq!(to.manifest(&new, &tag).await, expected, "{output}");
        }
        to.assert_whole(&new, "latest").await;
    }
    // The run of the older commit moves no mutable tag that the newer one holds.
    let output = passes(pair.promote(&[&first.commit, "--to", &below, "--yes"]));
    assert!(
        output.stderr.contains("stays: the newer commit"),
        "{output}"
    );
    let newest = from.digest("dev/a", &second.commit).await;
    assert_eq!(to.digest("prod/a", "latest").await, newest);
    assert_eq!(
        to.digest("prod/a", &first.commit).await,
        from.digest("dev/a", &first.commit).await
    );
    let _ = passes(pair.promote(&[&first.commit, "--to", &below, "--yes", "--force-backwards"]));
    let oldest = from.digest("dev/a", &first.commit).await;
    assert_eq!(to.digest("prod/a", "latest").await, oldest);

    // It is a run like others: it is listed, and taken back.
    let listed = passes(
        pair.project
            .run(&mut pair.project.verb(&["releases", &pair.to("prod/a")])),
    );
    assert!(listed.stdout.contains("copied from"), "{listed}");
    let run = listed.stdout.split_whitespace().next().unwrap();
    let _ = passes(
        pair.project
            .run(&mut pair.project.verb(&["undo", run, "--yes"])),
    );
    assert_eq!(to.digest("prod/a", "latest").await, newest);
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs live peers"]
async fn a_nested_index_is_copied_within_a_registry_by_mounting() {
    let pair = Pair::new(Version::V3, Version::V3);
    pair.release("one", 1);
    let from = pair.source.contents();
    let inner = from.manifest("dev/a", "latest").await.unwrap();
    let digest = from.digest("dev/a", "latest").await.unwrap();
    let kind = "application/vnd.oci.image.index.v1+json";
    let outer = json!({
        "schemaVersion": 2,
        "mediaType": kind,
        "manifests": [{"mediaType": kind, "digest": digest, "size": inner.len()}],
    });
    put(&pair.source.address, "dev/a", "nested", &outer);
    let (image, place) = (pair.from("dev/a:nested"), pair.from("prod/nested"));
    let output = passes(pair.promote(&[&image, "--to", &place, "--yes"]));
    assert!(output.stderr.contains(" 0 blobs sent"), "{output}");
    assert!(!output.stderr.contains(" 0 mounted"), "{output}");
    let copied = from.manifest("prod/nested", "nested").await;
    assert_eq!(copied, from.manifest("dev/a", "nested").await);
    from.assert_whole("prod/nested", "nested").await;
    // A copy by digest sets no tag, unless one is named.
    let by_digest = format!("{}@{digest}", pair.from("dev/a"));
    let _ = passes(pair.promote(&[&by_digest, "--to", &pair.to("bare"), "--yes"]));
    let to = pair.target.contents();
    assert_eq!(to.manifest("bare", &digest).await, Some(inner));
    assert_eq!(to.tags("bare").await, Vec::<String>::new());
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs live peers"]
async fn a_copy_to_a_private_registry_uses_the_users_login() {
    let pair = Pair::new(Version::V3, Version::V2);
    let private = PrivateRegistry::start();
    pair.release("one", 1);
    let place = format!("{}/prod/a", private.address);
    let words = [
        "promote",
        &pair.from("dev/a:latest"),
        "--to",
        &place,
        "--yes",
    ];
    let output = pair.project.run(&mut pair.project.verb(&words));
    assert_eq!(output.code, Some(5), "{output}");
    assert!(output.stderr.contains(&private.address), "{output}");

    let config = tempfile::tempdir().unwrap();
    std::fs::write(config.path().join("config.json"), private.docker_config()).unwrap();
    let mut command = pair.project.verb(&words);
    let output = passes(
        pair.project
            .run(command.env("DOCKER_CONFIG", config.path())),
    );
    assert!(!output.stderr.contains(PASSWORD), "{output}");
    let words = ["digest", &format!("{place}:latest")];
    let mut command = pair.project.verb(&words);
    let printed = passes(
        pair.project
            .run(command.env("DOCKER_CONFIG", config.path())),
    );
    let expected = pair.source.contents().digest("dev/a", "latest").await;
    assert_eq!(
        printed.stdout.trim(),
        format!("{place}@{}", expected.unwrap())
    );
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs live peers"]
async fn the_images_of_a_run_that_failed_or_does_not_exist_are_not_copied() {
    let pair = Pair::new(Version::V3, Version::V3);
    let release = Release::of(&pair.project.commit("bad"), 1);
    let output = pair.project.publish(&release, &["--gate-run=exit 1"]);
    assert_eq!(output.code, Some(1), "{output}");
    let image = pair.from(&format!("dev/a:{}", release.commit));
    for what in [image.as_str(), &release.commit] {
        let output = pair.promote(&[what, "--to", &pair.to("prod/"), "--yes"]);
        assert_eq!(output.code, Some(1), "{output}");
        assert!(output.stderr.contains("publish::not-released"), "{output}");
    }
    for (what, code) in [
        (pair.from("dev/a:missing"), 1),
        (pair.from("dev/a@sha256:1"), 2),
        ("no-run".to_owned(), 2),
    ] {
        let output = pair.promote(&[&what, "--to", &pair.to("prod/"), "--yes"]);
        assert_eq!(output.code, Some(code), "{output}");
    }
    let image = pair.from(&format!("dev/a:{}", release.commit));
    let output = pair.promote(&[&image, "--to", &pair.to("x@sha256:1"), "--yes"]);
    assert_eq!(output.code, Some(2), "{output}");
    assert_eq!(
        pair.target.contents().tags("prod/a").await,
        Vec::<String>::new()
    );
}

/// Kills a copy of two images at its nth request that writes to the target.
async fn killed(nth: usize, stage: Stage) {
    let pair = Pair::new(Version::V3, Version::V2);
    let release = pair.release("one", 1);
    let proxy = RegistryProxy::start(&pair.target.address).await;
    let below = format!("{}/prod/", proxy.address());
    let words = ["promote", &release.commit, "--to", &below, "--yes"];
    let gate = Gate::new(stage, nth, ProxiedRequest::is_write);
    proxy.set_hook(Some(gate.hook()));
    let mut run = Run::start(&pair.project.verb(&words));
    tokio::select! {
        () = gate.reached() => {}
        () = tokio::time::sleep(PATIENCE) => panic!("{}", run.stderr()),
    }
    assert!(!run.has_ended());
    run.signal(Signal::KILL);
    run.ended(PATIENCE).await;
    gate.release(Verdict::Reset);
    proxy.quiet().await;
    proxy.set_hook(None);

    let output = passes(pair.project.run(&mut pair.project.verb(&["resume"])));
    let (from, to) = (pair.source.contents(), pair.target.contents());
    for image in ["a", "b"] {
        let (old, new) = (format!("dev/{image}"), format!("prod/{image}"));
        for tag in release.tags() {
            assert_eq!(
                to.manifest(&new, &tag).await,
                from.manifest(&old, &tag).await,
                "killed at {nth} {stage:?}: {output}"
            );
        }
        to.assert_whole(&new, "latest").await;
    }
    let nothing = pair.project.run(&mut pair.project.verb(&["resume"]));
    assert_eq!(nothing.code, Some(2), "{nothing}");
}

#[test_case(2, Stage::Before; "at a blob")]
#[test_case(5, Stage::After; "after a blob")]
#[test_case(12, Stage::Before; "later")]
#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs live peers"]
async fn a_copy_that_was_killed_is_continued(nth: usize, stage: Stage) {
    killed(nth, stage).await;
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs live peers"]
async fn the_record_in_a_registry_makes_no_other_machine_copy() {
    let pair = Pair::new(Version::V3, Version::V2);
    pair.release("one", 1);
    let proxy = RegistryProxy::start(&pair.target.address).await;
    let place = format!("{}/prod/a", proxy.address());
    let image = pair.from("dev/a:latest");
    let is_blob = |request: &ProxiedRequest| request.is_write() && request.path.contains("/blobs/");
    let gate = Gate::new(Stage::Before, 1, is_blob);
    proxy.set_hook(Some(gate.hook()));
    let run = Run::start(
        &pair
            .project
            .verb(&["promote", &image, "--to", &place, "--yes"]),
    );
    gate.reached().await;
    run.signal(Signal::KILL);
    run.ended(PATIENCE).await;
    gate.release(Verdict::Reset);
    proxy.quiet().await;
    proxy.set_hook(None);

    let elsewhere = tempfile::tempdir().unwrap();
    let mut resume = pair.project.verb(&["resume", "--from", &place]);
    let output = pair.project.run(resume.env("HOME", elsewhere.path()));
    let to: RegistryContents = pair.target.contents();
    assert_eq!(to.digest("prod/a", "latest").await, None, "{output}");
}
