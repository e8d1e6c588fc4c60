//! `rbake undo` and `rbake resume` with fakes of the registries of GitHub, Amazon, GitLab and Docker Hub, of which only GitLab's
//! removes tags itself.
//!
//! A run is recorded without a builder: `rbake promote` sets a tag in the repository that has the image.

use std::collections::BTreeMap;

use serde_json::{Value, json};
use test_case::test_case;

use crate::support::fake_services::{FakeService, PASSWORD, ServiceKind, ecr};
use crate::support::github::{FakeGithub, TOKEN};
use crate::support::project::{CommandOutput, TestProject};

use Service::{Amazon, DockerHub, Github, Gitlab};

const MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";
const DENIED: [(Service, &str); 3] = [
    (Github, "`write:packages` and `delete:packages`"),
    (Amazon, "`aws sts get-caller-identity`"),
    (DockerHub, "Read, Write and Delete"),
];

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Service {
    Github,
    Amazon,
    Gitlab,
    DockerHub,
}

/// A fake, and a project whose user is logged in.
enum Fake {
    Github(FakeGithub),
    Other(FakeService),
}

struct Site {
    fake: Fake,
}

impl Site {
    /// The tags `one` and `same` are at the same image, `latest` is at another one, and a third one has no tag.
    fn start(service: Service) -> Self {
        let fake = match service {
            Github => Fake::Github(FakeGithub::start("orgs")),
            Amazon => Fake::Other(FakeService::start(ServiceKind::Ecr)),
            Gitlab => Fake::Other(FakeService::start(ServiceKind::Gitlab)),
            DockerHub => Fake::Other(FakeService::start(ServiceKind::DockerHub)),
        };
        let site = Self { fake };
        for (name, tags) in [("a", &["one", "same"][..]), ("b", &["latest"]), ("c", &[])] {
            let manifest =
                json!({"schemaVersion": 2, "mediaType": MANIFEST, "layers": [], "name": name});
            match &site.fake {
                Fake::Github(github) => {
                    let mut package = github.package();
                    let digest = package.push(None, &manifest, 1);
                    for tag in tags {
                        package.tags.insert((*tag).to_owned(), digest.clone());
                    }
                }
                Fake::Other(other) => {
                    let content = &mut other.state().content;
                    let digest = content.push(None, &manifest, 1);
                    for tag in tags {
                        content.tags.insert((*tag).to_owned(), digest.clone());
                    }
                }
            }
        }
        site
    }

    fn project(&self) -> TestProject {
        match &self.fake {
            Fake::Github(github) => github.project(),
            Fake::Other(other) => other.project(),
        }
    }

    fn host(&self) -> String {
        match &self.fake {
            Fake::Github(github) => github.host(),
            Fake::Other(other) => other.host(),
        }
    }

    fn repository(&self) -> String {
        format!("{}/acme/web", self.host())
    }

    /// All tags but those of records.
    fn tags(&self) -> BTreeMap<String, String> {
        let mut tags = match &self.fake {
            Fake::Github(github) => github.package().tags.clone(),
            Fake::Other(other) => other.state().content.tags.clone(),
        };
        tags.retain(|tag, _| !tag.starts_with("rbake-run-"));
        tags
    }

    /// The digests and the contents of all manifests.
    fn manifests(&self) -> BTreeMap<String, String> {
        let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).unwrap();
        match &self.fake {
            Fake::Github(github) => {
                let package = github.package();
                let versions = package.versions.iter();
                versions
                    .map(|(digest, version)| (digest.clone(), text(&version.bytes)))
                    .collect()
            }
            Fake::Other(other) => {
                let state = other.state();
                let manifests = state.content.manifests.iter();
                manifests
                    .map(|(digest, manifest)| (digest.clone(), text(&manifest.bytes)))
                    .collect()
            }
        }
    }

    /// The requests so far.
    fn log(&self) -> Vec<String> {
        match &self.fake {
            Fake::Github(github) => github.package().log.clone(),
            Fake::Other(other) => other.state().log.clone(),
        }
    }

    /// The requests to the API beside the registry.
    fn api_requests(&self) -> Vec<String> {
        let mut log = self.log();
        let apis = [" /api/", " /ecr/", " /hub/"];
        log.retain(|line| apis.iter().any(|api| line.contains(api)));
        log
    }

    /// Whether the login may delete.
    fn may_delete(&self, allowed: bool) {
        match &self.fake {
            Fake::Github(github) => github.package().reads_only = !allowed,
            Fake::Other(other) => other.state().reads_only = !allowed,
        }
    }

    /// The digest of the image without a tag.
    fn without_tag(&self) -> String {
        let tags = self.tags();
        let is_free = |digest: &String| tags.values().all(|tagged| tagged != digest);
        let mut images = self.manifests().into_iter();
        let image = images.find(|(digest, text)| is_free(digest) && text.contains("\"c\""));
        image.unwrap().0
    }

    /// Sets the tag to the image `from`, such as `:one`. Returns the run.
    fn set(&self, project: &TestProject, from: &str, tag: &str) -> String {
        let repository = self.repository();
        let (image, to) = (format!("{repository}{from}"), format!("{repository}:{tag}"));
        let output = run(project, &["promote", &image, "--to", &to, "--yes"]);
        assert_eq!(output.code, Some(0), "{output}");
        let (_, after) = output.stderr.split_once("(recorded as run ").unwrap();
        after.split(')').next().unwrap().to_owned()
    }
}

/// Runs rbake, and checks that it prints no secret.
fn run(project: &TestProject, arguments: &[&str]) -> CommandOutput {
    let output = project.rbake(arguments);
    let text = output.to_string();
    assert!(!text.contains("hidden") && !text.contains(TOKEN), "{text}");
    output
}

/// The output in one line.
fn words(output: &CommandOutput) -> String {
    let words: Vec<_> = output.stderr.split_whitespace().collect();
    words.join(" ")
}

#[test_case(Github; "github")]
#[test_case(Amazon; "amazon")]
#[test_case(Gitlab; "gitlab")]
#[test_case(DockerHub; "docker hub")]
fn a_tag_that_shares_its_image_is_removed_and_everything_else_stays(service: Service) {
    let site = Site::start(service);
    let project = site.project();
    let (tags, manifests) = (site.tags(), site.manifests());
    let name = site.set(&project, ":one", "new");
    assert_eq!(site.tags()["new"], tags["one"]);
    let undone = run(&project, &["undo", &name, "--yes"]);
    assert_eq!(undone.code, Some(0), "{undone}");
    assert!(undone.stderr.contains("1 tag changed"), "{undone}");
    assert_eq!(site.tags(), tags, "{undone}");
    assert_only_records_were_added(&site, &manifests);
    let again = run(&project, &["undo", &name, "--yes"]);
    assert_eq!(again.code, Some(0), "{again}");
    assert!(again.stderr.contains("nothing is left to do"), "{again}");
}

/// Checks that all `manifests` are there, and besides them only records of runs.
fn assert_only_records_were_added(site: &Site, manifests: &BTreeMap<String, String>) {
    let now = site.manifests();
    for digest in manifests.keys() {
        assert!(now.contains_key(digest), "{digest} is gone");
    }
    for (digest, text) in &now {
        let is_known = manifests.contains_key(digest);
        assert!(is_known || text.contains("vnd.rbake.journal"), "{text}");
    }
}

#[test_case(Github; "github")]
#[test_case(Amazon; "amazon")]
#[test_case(Gitlab; "gitlab")]
#[test_case(DockerHub; "docker hub")]
fn an_image_stays_that_loses_its_last_tag(service: Service) {
    let site = Site::start(service);
    let project = site.project();
    let (tags, manifests) = (site.tags(), site.manifests());
    let image = site.without_tag();
    let name = site.set(&project, &format!("@{image}"), "new");
    assert_eq!(site.tags()["new"], image);
    let undone = run(&project, &["undo", &name, "--yes"]);
    assert_eq!(undone.code, Some(0), "{undone}");
    assert_eq!(site.tags(), tags, "{undone}");
    assert_only_records_were_added(&site, &manifests);
}

#[test_case(Github, "undo"; "github, undo")]
#[test_case(Github, "resume"; "github, resume")]
#[test_case(Amazon, "undo"; "amazon, undo")]
#[test_case(Amazon, "resume"; "amazon, resume")]
#[test_case(DockerHub, "undo"; "docker hub, undo")]
#[test_case(DockerHub, "resume"; "docker hub, resume")]
fn a_login_that_may_not_delete_learns_what_it_needs_and_the_next_one_continues(
    service: Service,
    verb: &str,
) {
    let site = Site::start(service);
    let project = site.project();
    let (tags, manifests) = (site.tags(), site.manifests());
    let name = site.set(&project, ":one", "new");
    let with_new = site.tags();
    site.may_delete(false);
    let refused = run(&project, &["undo", &name, "--yes"]);
    assert_eq!(refused.code, Some(5), "{refused}");
    let text = words(&refused);
    let tag = format!("cannot remove the tag `{}:new`", site.repository());
    assert!(text.contains(&tag), "{refused}");
    let help = DENIED.iter().find(|(of, _)| *of == service).unwrap().1;
    assert!(text.contains(help), "{refused}");
    assert!(text.contains("the same command continues"), "{refused}");
    // No placeholder is under the tag.
    assert_eq!(site.tags(), with_new);

    site.may_delete(true);
    let words: &[&str] = match verb {
        "undo" => &["undo", &name, "--yes"],
        _ => &["resume", &name],
    };
    let undone = run(&project, words);
    assert_eq!(undone.code, Some(0), "{undone}");
    assert_eq!(site.tags(), tags, "{undone}");
    for digest in manifests.keys() {
        assert!(site.manifests().contains_key(digest), "{undone}");
    }
}

#[test]
fn gitlab_is_asked_for_its_name_only_to_say_what_a_login_needs() {
    let site = Site::start(Gitlab);
    let project = site.project();
    let name = site.set(&project, ":one", "new");
    let asked = || site.log().iter().filter(|line| *line == "GET /v2/").count();
    assert_eq!(asked(), 0);
    site.may_delete(false);
    let refused = run(&project, &["undo", &name, "--yes"]);
    assert_eq!(refused.code, Some(5), "{refused}");
    assert!(
        words(&refused).contains("CI_REGISTRY_PASSWORD"),
        "{refused}"
    );
    assert_eq!(asked(), 1);
    site.may_delete(true);
    let undone = run(&project, &["undo", &name, "--yes"]);
    assert_eq!(undone.code, Some(0), "{undone}");
    assert_eq!(asked(), 1);
}

#[test]
fn a_token_of_github_without_the_scope_for_deletions_changes_nothing() {
    let site = Site::start(Github);
    let Fake::Github(github) = &site.fake else {
        unreachable!()
    };
    let project = site.project();
    let name = site.set(&project, ":one", "new");
    github.package().scopes = "repo, write:packages".to_owned();
    let written = |log: &[String]| {
        let puts = log.iter().filter(|line| line.starts_with("PUT "));
        puts.filter(|line| line.contains("/manifests/new?")).count()
    };
    let before = written(&site.log());
    let refused = run(&project, &["undo", &name, "--yes"]);
    assert_eq!(refused.code, Some(5), "{refused}");
    let text = words(&refused);
    assert!(
        text.contains("the token has the scopes repo, write:packages, but not delete:packages"),
        "{refused}"
    );
    assert_eq!(written(&site.log()), before, "no placeholder was written");
    github.package().scopes = "delete:packages, write:packages".to_owned();
    let undone = run(&project, &["undo", &name, "--yes"]);
    assert_eq!(undone.code, Some(0), "{undone}");
    assert!(!site.tags().contains_key("new"));
}

#[test]
fn a_list_of_github_that_is_behind_is_read_again() {
    let site = Site::start(Github);
    let Fake::Github(github) = &site.fake else {
        unreachable!()
    };
    let project = site.project();
    let (tags, manifests) = (site.tags(), site.manifests());
    let name = site.set(&project, ":one", "new");
    github.package().behind = 2;
    let undone = run(&project, &["undo", &name, "--yes"]);
    assert_eq!(undone.code, Some(0), "{undone}");
    assert_eq!(site.tags(), tags);
    assert_only_records_were_added(&site, &manifests);
}

#[test]
fn a_tag_of_github_is_removed_without_a_list_of_the_whole_package() {
    let site = Site::start(Github);
    let Fake::Github(github) = &site.fake else {
        unreachable!()
    };
    for number in 0..30 {
        let manifest = json!({"schemaVersion": 2, "mediaType": MANIFEST, "layers": [], "name": format!("more {number}")});
        github.package().push(None, &manifest, 1);
    }
    let project = site.project();
    let name = site.set(&project, ":one", "new");
    let undone = run(&project, &["undo", &name, "--yes"]);
    assert_eq!(undone.code, Some(0), "{undone}");
    // The owner, the newest versions, and the deletion.
    let requests = site.api_requests();
    assert_eq!(requests.len(), 3, "{requests:#?}");
}

#[test_case(Github; "github")]
#[test_case(Amazon; "amazon")]
#[test_case(DockerHub; "docker hub")]
fn a_run_that_removes_nothing_sends_no_request_to_the_api(service: Service) {
    let site = Site::start(service);
    // Neither the kinds nor the keys are read.
    let project = site
        .project()
        .env("RBAKE_REGISTRY_KINDS", "nonsense")
        .env("AWS_SECRET_ACCESS_KEY", "");
    let tags = site.tags();
    let name = site.set(&project, ":one", "latest");
    assert_eq!(site.tags()["latest"], tags["one"]);
    let undone = run(&project, &["undo", &name, "--yes"]);
    assert_eq!(undone.code, Some(0), "{undone}");
    assert_eq!(site.tags(), tags, "{undone}");
    assert_eq!(site.api_requests(), [""; 0]);
}

#[test_case("RBAKE_REGISTRY_KINDS", "nonsense", "HOST=KIND"; "no kind")]
#[test_case("DOCKER_HUB_API_URL", "http://api.example", "must begin with `https://`"; "an unprotected API")]
fn a_variable_that_makes_no_sense_is_refused_before_a_tag_is_removed(
    variable: &str,
    value: &str,
    expected: &str,
) {
    let site = Site::start(DockerHub);
    let name = site.set(&site.project(), ":one", "new");
    let project = site.project();
    let tags = site.tags();
    // The record of the run is not on this machine.
    let from = site.repository();
    let project = project.env(variable, value);
    for agreement in ["--yes", "--dry-run"] {
        let refused = run(&project, &["undo", &name, "--from", &from, agreement]);
        assert_eq!(refused.code, Some(2), "{refused}");
        assert!(
            refused.stderr.contains("error[publish::no-removal]"),
            "{refused}"
        );
        assert!(words(&refused).contains(expected), "{refused}");
    }
    assert_eq!(site.tags(), tags);
    assert_eq!(site.api_requests(), [""; 0]);
}

fn without_keys(project: TestProject) -> TestProject {
    let variables = [
        "AWS_ACCESS_KEY_ID",
        "AWS_SECRET_ACCESS_KEY",
        "AWS_SESSION_TOKEN",
    ];
    let variables = variables.into_iter();
    variables.fold(project, |project, name| project.env(name, ""))
}

#[test]
fn without_keys_for_amazon_the_plan_warns_and_the_error_says_what_to_set() {
    let site = Site::start(Amazon);
    let project = without_keys(site.project());
    // Setting tags needs no keys.
    let name = site.set(&project, ":one", "new");
    let shown = run(&project, &["undo", &name, "--dry-run"]);
    assert_eq!(shown.code, Some(0), "{shown}");
    assert!(
        shown.stderr.contains("warning[publish::no-removal]"),
        "{shown}"
    );
    assert!(words(&shown).contains("AWS_SECRET_ACCESS_KEY"), "{shown}");
    let json = run(&project, &["undo", &name, "--dry-run", "--json"]);
    let plan: Value = serde_json::from_str(&json.stdout).unwrap();
    let obstacles = &plan["obstacles"];
    assert_eq!(obstacles[0]["repository"], json!(site.repository()));
    let reason = obstacles[0]["reason"].as_str().unwrap();
    assert!(reason.contains("AWS keys"), "{reason}");

    let refused = run(&project, &["undo", &name, "--yes"]);
    assert_eq!(refused.code, Some(5), "{refused}");
    assert!(
        refused.stderr.contains("error[publish::failed]"),
        "{refused}"
    );
    let (_, error) = refused.stderr.split_once("error[").unwrap();
    assert!(error.contains("AWS_PROFILE"), "{refused}");
    assert!(site.tags().contains_key("new"));
    assert_eq!(site.api_requests(), [""; 0]);

    let project = project
        .env("AWS_ACCESS_KEY_ID", ecr::ACCESS_KEY)
        .env("AWS_SECRET_ACCESS_KEY", ecr::SECRET_KEY)
        .env("AWS_SESSION_TOKEN", ecr::SESSION_TOKEN);
    let json = run(&project, &["undo", &name, "--dry-run", "--json"]);
    let plan: Value = serde_json::from_str(&json.stdout).unwrap();
    assert_eq!(plan["obstacles"], json!([]));
    let undone = run(&project, &["undo", &name, "--yes"]);
    assert_eq!(undone.code, Some(0), "{undone}");
    assert!(!site.tags().contains_key("new"));
}

#[test]
fn the_keys_for_amazon_are_looked_for_once() {
    let site = Site::start(Amazon);
    let counter = "#!/bin/sh\necho asked >>\"$HOME/asked\"\nexit 1\n";
    let project = without_keys(site.project()).program_in_path("aws", counter);
    let name = site.set(&project, ":one", "new");
    let refused = run(&project, &["undo", &name, "--yes"]);
    assert_eq!(refused.code, Some(5), "{refused}");
    // Once for the plan, whose result the removal uses.
    let asked = std::fs::read_to_string(project.home().join("asked")).unwrap();
    assert_eq!(asked, "asked\n");
}

#[test]
fn amazons_public_registry_is_left_to_amazons_program() {
    let site = Site::start(Gitlab);
    let kind = format!("{}=ecr-public", site.host());
    let project = site.project().env("RBAKE_REGISTRY_KINDS", kind);
    let name = site.set(&project, ":one", "new");
    let shown = run(&project, &["undo", &name, "--dry-run"]);
    assert_eq!(shown.code, Some(0), "{shown}");
    let program = "aws ecr-public batch-delete-image";
    assert!(words(&shown).contains(program), "{shown}");
    let refused = run(&project, &["undo", &name, "--yes"]);
    assert_eq!(refused.code, Some(5), "{refused}");
    assert!(words(&refused).contains(program), "{refused}");
    // The user removes it, and the same command ends the run.
    let Fake::Other(service) = &site.fake else {
        unreachable!()
    };
    service.state().content.tags.remove("new");
    let undone = run(&project, &["undo", &name, "--yes"]);
    assert_eq!(undone.code, Some(0), "{undone}");
}

#[test]
fn credentials_are_sent_only_to_the_server_that_they_are_for() {
    for service in [Amazon, DockerHub] {
        let site = Site::start(service);
        let project = site.project();
        let name = site.set(&project, ":one", "new");
        let undone = run(&project, &["undo", &name, "--yes"]);
        assert_eq!(undone.code, Some(0), "{undone}");
        let Fake::Other(fake) = &site.fake else {
            unreachable!()
        };
        let seen = fake.state().credentials.clone();
        assert!(!site.api_requests().is_empty());
        for (path, authorization, body) in seen {
            let is_api = path.starts_with("/ecr/") || path.starts_with("/hub/");
            match service {
                Amazon if is_api => assert!(authorization.starts_with("AWS4-"), "{path}"),
                _ if path == "/hub/v2/auth/token" => assert_eq!(authorization, ""),
                _ if is_api => assert_eq!(authorization, "Bearer hidden-access", "{path}"),
                _ => assert!(
                    !authorization.starts_with("AWS4-") && !authorization.contains("access"),
                    "{path}"
                ),
            }
            // Both exchange the password for a token.
            let may_have = ["/hub/v2/auth/token", "/token"].contains(&path.as_str());
            assert!(may_have || !body.contains(PASSWORD), "{path}");
        }
    }
}

#[test]
fn the_api_of_another_registry_gets_no_request() {
    let site = Site::start(Gitlab);
    let other = Site::start(DockerHub);
    let host = other.host();
    let project = site
        .project()
        .env("RBAKE_REGISTRY_KINDS", format!("{host}=docker-hub"))
        .env("RBAKE_GITHUB_REGISTRY", "ghcr.corp.example")
        .env("GITHUB_API_URL", format!("http://{host}/api"))
        .env("DOCKER_HUB_API_URL", format!("http://{host}/hub"))
        .env("AWS_ENDPOINT_URL", format!("http://{host}/ecr"));
    let name = site.set(&project, ":one", "new");
    let undone = run(&project, &["undo", &name, "--yes"]);
    assert_eq!(undone.code, Some(0), "{undone}");
    assert!(!site.tags().contains_key("new"));
    assert_eq!(other.log(), [""; 0]);
}
