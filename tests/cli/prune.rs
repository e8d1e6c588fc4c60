//! `rbake prune` with a fake of GitHub's registry, and what it says without one.

use serde_json::{Value, json};
use test_case::test_case;

use crate::support::github::{FakeGithub, TOKEN};
use crate::support::project::TestProject;

const MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";
const INDEX: &str = "application/vnd.oci.image.index.v1+json";
const RULES: [&str; 4] = ["--keep-newest", "build-*=2", "--max-delete", "100"];

fn project(github: &FakeGithub) -> TestProject {
    use base64::Engine as _;
    let login = base64::prelude::BASE64_STANDARD.encode(format!("someone:{TOKEN}"));
    let config = json!({"auths": {github.host(): {"auth": login}}});
    TestProject::new()
        .docker_config(&config.to_string())
        .env("RBAKE_GITHUB_REGISTRY", github.host())
        .env("GITHUB_API_URL", format!("http://{}/api", github.host()))
}

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
    let project = project(&github);
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
    let output = project(&github).rbake(&words);
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
    let project = project(&github).docker_config("{}");
    let repository = format!("{}/acme/web", github.host());
    let output = project.rbake(&["prune", "images", &repository]);
    assert_eq!(output.code, Some(5), "{output}");
    assert!(
        output.stderr.contains("Requires authentication"),
        "{output}"
    );
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
}
