//! `rbake prune` with a fake of GitHub's registry, and what it says without one.

use serde_json::{Value, json};
use test_case::test_case;

use crate::support::github::{FakeGithub, TOKEN};
use crate::support::project::{CommandOutput, TestProject};

const MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";
const INDEX: &str = "application/vnd.oci.image.index.v1+json";
const RULES: [&str; 4] = ["--keep-newest", "build-*=2", "--max-delete", "100"];

fn image(github: &FakeGithub, name: &str, days: i64) -> Value {
    let manifest = json!({"schemaVersion": 2, "mediaType": MANIFEST, "layers": [], "name": name});
    let digest = github.package().push(None, &manifest, days);
    json!({"mediaType": MANIFEST, "digest": digest, "size": 100})
}

/// `build-1` to `build-4`, which share a platform, `latest`, and an image that nothing leads to.
fn fill(github: &FakeGithub) {
    let shared = image(github, "shared", 90);
    for number in 1..=4 {
        let own = image(github, &format!("own {number}"), 90 - number);
        let index = json!({"schemaVersion": 2, "mediaType": INDEX, "manifests": [shared, own]});
        let tag = format!("build-{number}");
        let mut package = github.package();
        package.push(Some(&tag), &index, 90 - number);
        if number == 1 {
            // The same version has another tag, which no rule is about.
            let digest = package.tags[&tag].clone();
            package.tags.insert("v1".to_owned(), digest);
        }
        if number == 4 {
            let digest = package.tags[&tag].clone();
            package.tags.insert("latest".to_owned(), digest);
        }
    }
    image(github, "stray", 60);
}

fn tags(github: &FakeGithub) -> Vec<String> {
    github.package().tags.keys().cloned().collect()
}

#[test_case("orgs"; "of an organization")]
#[test_case("users"; "of a user")]
fn a_version_goes_only_if_no_tag_that_stays_needs_it(owner: &'static str) {
    let github = FakeGithub::start(owner);
    fill(&github);
    let project = github.project();
    let repository = format!("{}/acme/web", github.host());
    let words = [&["prune", "images", &repository], RULES.as_slice()].concat();
    let before = github.package().versions.len();
    let shown = project.rbake(&words);
    assert_eq!(shown.code, Some(0), "{shown}");
    assert!(!shown.stderr.contains("not seen"), "{shown}");
    assert_eq!(github.package().versions.len(), before);

    let made = project.rbake(&[words.as_slice(), &["--yes"]].concat());
    assert_eq!(made.code, Some(0), "{made}");
    assert_eq!(tags(&github), ["build-3", "build-4", "latest", "v1"]);
    // Of `build-1`, only the tag went; of `build-2`, the index and its own platform; and the stray image.
    assert_eq!(github.package().versions.len(), before - 3, "{made}");
    // Neither a placeholder nor a lease is left.
    let again = project.rbake(&[words.as_slice(), &["--yes"]].concat());
    assert!(again.stderr.contains("nothing to delete"), "{again}");

    // GitHub restores versions itself, with their tags.
    let (_, after) = made.stderr.split_once("\nprune ").unwrap();
    let run = after.split_whitespace().next().unwrap();
    let undone = project.rbake(&["undo", run, "--yes"]);
    assert_eq!(undone.code, Some(0), "{undone}");
    let restored = tags(&github);
    assert_eq!(
        restored,
        ["build-1", "build-2", "build-3", "build-4", "latest", "v1"]
    );
    assert_eq!(github.package().versions.len(), before);
    let log = github.package().log.join("\n");
    assert!(log.contains("/restore"), "{log}");
}

#[test]
fn a_token_without_the_right_to_delete_is_reported_and_deletes_nothing() {
    let github = FakeGithub::start("orgs");
    fill(&github);
    github.package().reads_only = true;
    let before = github.package().versions.len();
    let repository = format!("{}/acme/web", github.host());
    let words = [&["prune", "images", &repository, "--yes"], RULES.as_slice()].concat();
    let output = github.project().rbake(&words);
    assert_eq!(output.code, Some(5), "{output}");
    assert!(output.stderr.contains("delete:packages"), "{output}");
    assert!(!output.stderr.contains(TOKEN), "{output}");
    // The lease and the placeholder of one tag could be written, but not deleted. The next prune deletes them.
    assert_eq!(github.package().versions.len(), before + 2);
    assert_eq!(tags(&github).len(), 7);
}

#[test]
fn a_missing_login_is_reported() {
    let github = FakeGithub::start("orgs");
    fill(&github);
    let project = github.project().docker_config("{}");
    let repository = format!("{}/acme/web", github.host());
    let output = project.rbake(&["prune", "images", &repository]);
    assert_eq!(output.code, Some(5), "{output}");
    assert!(
        output.stderr.contains("Requires authentication"),
        "{output}"
    );
}

/// Writes the lease of the prune `run`, which ends in so many minutes.
fn lease(github: &FakeGithub, run: &str, minutes: i64) {
    let until = jiff::Timestamp::now() + jiff::SignedDuration::from_mins(minutes);
    let text = json!({"run": run, "until": until.to_string()});
    let manifest = json!({
        "schemaVersion": 2,
        "mediaType": MANIFEST,
        "artifactType": "application/vnd.rbake.lease.v1+json",
        "layers": [],
        "annotations": {"vnd.rbake.lease": text.to_string()},
    });
    let tag = format!("rbake-prune-{run}");
    github.package().push(Some(&tag), &manifest, 0);
}

const OTHER: &str = "20261128T223000Z-0a1b2c3d";

fn prune(github: &FakeGithub, what: &str, more: &[&str]) -> CommandOutput {
    let repository = format!("{}/acme/web", github.host());
    let words = ["prune", what, &repository, "--yes", "--max-delete", "100"];
    github.project().rbake(&[words.as_slice(), more].concat())
}

#[test]
fn the_lease_of_another_machine_is_respected_until_it_ends() {
    let github = FakeGithub::start("orgs");
    fill(&github);
    lease(&github, OTHER, 3);
    let before = tags(&github);
    let refused = prune(&github, "images", &["--keep-newest", "build-*=2"]);
    assert_eq!(refused.code, Some(5), "{refused}");
    assert!(refused.stderr.contains("prune::leased"), "{refused}");
    assert!(refused.stderr.contains(OTHER), "{refused}");
    assert_eq!(tags(&github), before);

    // The clocks of the two machines may differ by two minutes.
    lease(&github, OTHER, -1);
    let refused = prune(&github, "images", &["--keep-newest", "build-*=2"]);
    assert_eq!(refused.code, Some(5), "{refused}");
    lease(&github, OTHER, -10);
    let done = prune(&github, "images", &["--keep-newest", "build-*=2"]);
    assert_eq!(done.code, Some(0), "{done}");
    assert_eq!(tags(&github), ["build-3", "build-4", "latest", "v1"]);
}

#[test]
fn an_image_with_the_tag_of_a_lease_stays() {
    let github = FakeGithub::start("orgs");
    fill(&github);
    let tag = format!("rbake-prune-{OTHER}");
    let manifest = json!({"schemaVersion": 2, "mediaType": MANIFEST, "layers": []});
    let digest = github.package().push(Some(&tag), &manifest, 90);
    let done = prune(&github, "images", &["--keep-newest", "build-*=2"]);
    assert_eq!(done.code, Some(0), "{done}");
    assert_eq!(github.package().tags.get(&tag), Some(&digest));
}

#[test]
fn a_manifest_of_an_unknown_type_closes_the_repository() {
    let github = FakeGithub::start("orgs");
    fill(&github);
    let odd = json!({"schemaVersion": 2, "mediaType": "application/vnd.example+json"});
    github.package().push(None, &odd, 90);
    let versions = github.package().versions.len();
    let output = prune(&github, "images", &["--keep-newest", "build-*=2"]);
    assert_eq!(output.code, Some(5), "{output}");
    assert!(output.stderr.contains("error[prune::closed]"), "{output}");
    assert!(
        output.stderr.contains("application/vnd.example+json"),
        "{output}"
    );
    assert_eq!(github.package().versions.len(), versions);
}

#[test]
fn an_index_with_a_lost_child_is_pruned_like_others() {
    let github = FakeGithub::start("orgs");
    fill(&github);
    let digest = github.package().tags["build-2"].clone();
    let index = github.package().versions[&digest].bytes.clone();
    let index: Value = serde_json::from_slice(&index).unwrap();
    let child = index["manifests"][1]["digest"].as_str().unwrap();
    github.package().versions.remove(child);
    let output = prune(&github, "images", &["--keep-newest", "build-*=2"]);
    assert_eq!(output.code, Some(0), "{output}");
    assert_eq!(tags(&github), ["build-3", "build-4", "latest", "v1"]);
}

/// Writes a cache with these annotations.
fn cache(github: &FakeGithub, tag: &str, annotations: &Value, days: i64) {
    let digest = format!("sha256:{}", "1".repeat(64));
    let config = json!({
        "mediaType": "application/vnd.buildkit.cacheconfig.v0",
        "digest": digest,
        "size": 1000,
    });
    let manifest = json!({
        "schemaVersion": 2,
        "mediaType": MANIFEST,
        "config": config,
        "layers": [],
        "annotations": annotations,
        "name": tag,
    });
    github.package().push(Some(tag), &manifest, days);
}

#[test]
fn caches_stay_by_their_owners_and_parts_of_one_cache_together() {
    let github = FakeGithub::start("users");
    fill(&github);
    cache(
        &github,
        "cache-main",
        &json!({"vnd.rbake.cache.branch": "main"}),
        90,
    );
    cache(
        &github,
        "cache-feature",
        &json!({"vnd.rbake.cache.branch": "feature"}),
        80,
    );
    for number in 1..=3 {
        let owner = json!({
            "vnd.rbake.cache.pull-request": number.to_string(),
            "vnd.rbake.cache.branch": "main",
        });
        let tag = format!("cache-pr-{number}");
        cache(&github, &tag, &owner, 60 - number);
        cache(&github, &format!("{tag}-2"), &owner, 60 - number);
    }
    cache(&github, "cache-old", &json!({}), 90);
    let output = prune(&github, "cache", &["--keep-pull-requests", "2"]);
    assert_eq!(output.code, Some(0), "{output}");
    let left = |github: &FakeGithub| -> Vec<String> {
        let tags = tags(github).into_iter();
        tags.filter(|tag| tag.starts_with("cache-")).collect()
    };
    let expected = [
        "cache-main",
        "cache-old",
        "cache-pr-2",
        "cache-pr-2-2",
        "cache-pr-3",
        "cache-pr-3-2",
    ];
    assert_eq!(left(&github), expected);
    let words = [
        "--keep-pull-requests",
        "1",
        "--unowned",
        "--keep-branch",
        "ma*",
    ];
    let output = prune(&github, "cache", &words);
    assert_eq!(output.code, Some(0), "{output}");
    assert_eq!(left(&github), ["cache-main", "cache-pr-3", "cache-pr-3-2"]);
    // Images are none of its business.
    assert!(tags(&github).contains(&"build-1".to_owned()));
}

#[test]
fn words_that_mean_nothing_are_refused_before_any_request() {
    let project = TestProject::new();
    for (words, text) in [
        ("prune", "Usage"),
        ("prune everything", "unrecognized subcommand"),
        ("prune images --keep-newest build", "PATTERN=N"),
        ("prune images --keep a/b", "without the image's name"),
        ("prune images --grace tomorrow", "not a valid age"),
        ("prune cache --max-size much", "is not a valid size"),
        ("prune images --max-delete 101", "101"),
        ("prune images --plan latest", "invalid value"),
        (
            "prune images h.example/a --keep-digests none",
            "prune::digests",
        ),
    ] {
        let words: Vec<&str> = words.split(' ').collect();
        let output = project.rbake(&words);
        assert_eq!(output.code, Some(2), "{words:?}: {output}");
        assert!(output.stderr.contains(text), "{words:?}: {output}");
    }
}

#[test]
fn a_registry_that_does_not_answer_is_reported() {
    let project = TestProject::new();
    let output = project.rbake(&["prune", "images", "127.0.0.1:1/a/b"]);
    assert_eq!(output.code, Some(5), "{output}");
    assert!(output.stderr.contains("prune::failed"), "{output}");
    assert!(output.stderr.contains("check the network"), "{output}");
}
