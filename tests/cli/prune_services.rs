//! `rbake prune` with fakes of the registries of Amazon, GitLab and Docker Hub.

use std::process::Stdio;
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use test_case::test_case;

use crate::support::fake_services::exchange::Answer;
use crate::support::fake_services::{FakeService, Interference, ServiceKind, ecr};
use crate::support::project::{CommandOutput, TestProject};

use ServiceKind::{DockerHub, Ecr, Gitlab};

const RULES: [&str; 4] = ["--keep-newest", "build-*=2", "--max-delete", "100"];
const AFTER: [&str; 4] = ["build-3", "build-4", "latest", "v1"];
const PATIENCE: Duration = Duration::from_secs(60);

/// A service with old images, and a project whose user is logged in.
fn site(kind: ServiceKind) -> (FakeService, TestProject) {
    let service = FakeService::start(kind);
    service.state().content.fill();
    let project = service.project();
    (service, project)
}

fn words<'a>(repository: &'a str, more: &[&'a str]) -> Vec<&'a str> {
    [&["prune", "images", repository], RULES.as_slice(), more].concat()
}

fn prune(service: &FakeService, project: &TestProject, more: &[&str]) -> CommandOutput {
    let output = project.rbake(&words(&service.repository(), more));
    // Neither the passwords nor the keys nor the tokens may be printed.
    assert!(!output.to_string().contains("hidden"), "{output}");
    output
}

/// The requests for deletions before a prune begins: those of what nobody has, and one without the right token.
fn questions(kind: ServiceKind) -> usize {
    match kind {
        Ecr => 2,
        Gitlab | DockerHub => 3,
    }
}

/// The manifests that a prune of a whole site deletes: an index and its own platform, and the one to which nothing leads, if the
/// registry lists it.
fn deleted(kind: ServiceKind) -> usize {
    match kind {
        Ecr => 3,
        Gitlab | DockerHub => 2,
    }
}

#[test_case(Ecr; "amazon")]
#[test_case(Gitlab; "gitlab")]
#[test_case(DockerHub; "docker hub")]
fn a_plan_is_shown_and_then_carried_out(kind: ServiceKind) {
    let (service, project) = site(kind);
    let before = service.state().content.manifests.len();
    let shown = prune(&service, &project, &["--json"]);
    assert_eq!(shown.code, Some(0), "{shown}");
    let plan: Value = serde_json::from_str(&shown.stdout).unwrap();
    assert_eq!(plan["repositories"][0]["obstacle"], json!(null));
    let lists = &plan["repositories"][0]["listsManifests"];
    assert_eq!(*lists, json!(kind == Ecr));
    assert_eq!(service.state().content.manifests.len(), before);
    assert_eq!(service.state().content.tags.len(), 6);

    let digest = plan["plan"].as_str().unwrap();
    let made = prune(&service, &project, &["--yes", "--plan", digest]);
    assert_eq!(made.code, Some(0), "{made}");
    assert_eq!(service.state().content.tag_names(), AFTER);
    // Of the image of `build-1`, which `v1` has, too, only the tag went. No lease is left.
    let left = service.state().content.manifests.len();
    assert_eq!(left, before - deleted(kind), "{made}");
    service.state().content.assert_whole();
    let again = prune(&service, &project, &["--yes"]);
    assert!(again.stderr.contains("nothing to delete"), "{again}");

    let (_, after) = made.stderr.split_once("\nprune ").unwrap();
    let run = after.split_whitespace().next().unwrap();
    let undone = project.rbake(&["undo", run, "--yes"]);
    assert_eq!(undone.code, Some(0), "{undone}");
    assert_eq!(service.state().content.tags.len(), 6);
    assert_eq!(service.state().content.manifests.len(), before);
    service.state().content.assert_whole();
}

#[test_case(Ecr, "ecr:BatchDeleteImage"; "amazon")]
#[test_case(Gitlab, "CI_REGISTRY_PASSWORD"; "gitlab")]
#[test_case(DockerHub, "Read, Write and Delete"; "docker hub")]
fn a_login_that_may_not_delete_gets_a_plan_with_a_warning_and_writes_nothing(
    kind: ServiceKind,
    help: &str,
) {
    let (service, project) = site(kind);
    service.state().reads_only = true;
    let shown = prune(&service, &project, &[]);
    assert_eq!(shown.code, Some(0), "{shown}");
    assert!(shown.stderr.contains("- build-2"), "{shown}");
    assert!(
        shown.stderr.contains("warning[prune::no-deletion]"),
        "{shown}"
    );
    let refused = prune(&service, &project, &["--yes"]);
    assert_eq!(refused.code, Some(5), "{refused}");
    assert!(
        refused.stderr.contains("error[prune::no-deletion]"),
        "{refused}"
    );
    let text = refused.stderr.split_whitespace().collect::<Vec<_>>();
    assert!(text.join(" ").contains(help), "{refused}");
    // The configuration of another registry would not help.
    assert!(!refused.stderr.contains("storage.delete"), "{refused}");
    let log = service.state().log.join("\n");
    assert!(!log.contains("PUT"), "{log}");
    assert_eq!(service.state().content.tags.len(), 6);
}

#[test_case(Ecr; "amazon")]
#[test_case(Gitlab; "gitlab")]
#[test_case(DockerHub; "docker hub")]
fn a_deletion_that_fails_leaves_what_it_leads_to_and_the_next_prune_goes_on(kind: ServiceKind) {
    let (service, project) = site(kind);
    let before = service.state().content.manifests.len();
    let digest = service.state().content.tags["build-2"].clone();
    // Docker Hub gets the tag first.
    let what = Interference::Answer(failure(kind));
    service.interfere(0, what, move |asked| {
        let body = String::from_utf8_lossy(&asked.body);
        FakeService::is_deletion(asked)
            && (body.contains(&digest)
                || asked.path.ends_with(&digest)
                || asked.path.ends_with("/tags/build%2D2"))
    });
    let output = prune(&service, &project, &["--yes"]);
    assert_eq!(output.code, Some(5), "{output}");
    assert!(output.stderr.contains("error[prune::partial]"), "{output}");
    assert!(output.stderr.contains("failed: "), "{output}");
    service.state().content.assert_whole();
    assert!(
        service.state().content.tags.contains_key("build-2"),
        "{output}"
    );
    assert!(
        !service.state().content.tags.contains_key("build-1"),
        "{output}"
    );
    let again = prune(&service, &project, &["--yes"]);
    assert_eq!(again.code, Some(0), "{again}");
    assert_eq!(service.state().content.tag_names(), AFTER);
    let left = service.state().content.manifests.len();
    assert_eq!(left, before - deleted(kind), "{again}");
}

/// An answer of the service that this one thing was not deleted.
fn failure(kind: ServiceKind) -> Answer {
    match kind {
        Ecr => {
            let failure = json!({"imageId": {}, "failureCode": "KmsError", "failureReason": "no"});
            Answer::of_json(200, &json!({"imageIds": [], "failures": [failure]}))
        }
        Gitlab | DockerHub => Answer::of_json(403, &json!({"message": "it is protected"})),
    }
}

#[test_case(Ecr; "amazon")]
#[test_case(Gitlab; "gitlab")]
#[test_case(DockerHub; "docker hub")]
fn a_request_too_many_is_repeated_when_the_service_wants_it(kind: ServiceKind) {
    let (service, project) = site(kind);
    let answer = match kind {
        Ecr => Answer::of_json(400, &json!({"__type": "ThrottlingException"})),
        Gitlab => Answer::empty(429).with("retry-after", "2"),
        DockerHub => {
            let until = jiff::Timestamp::now().as_second() + 2;
            Answer::empty(429).with("x-retry-after", until.to_string())
        }
    };
    let what = Interference::Answer(answer);
    service.interfere(questions(kind), what, FakeService::is_deletion);
    let began = Instant::now();
    let output = prune(&service, &project, &["--yes"]);
    assert_eq!(output.code, Some(0), "{output}");
    if kind != Ecr {
        assert!(began.elapsed() >= Duration::from_millis(900));
    }
    assert_eq!(service.state().content.tag_names(), AFTER);
}

#[test_case(Ecr, false; "amazon, before")]
#[test_case(Ecr, true; "amazon, after")]
#[test_case(Gitlab, false; "gitlab, before")]
#[test_case(Gitlab, true; "gitlab, after")]
#[test_case(DockerHub, false; "docker hub, before")]
#[test_case(DockerHub, true; "docker hub, after")]
fn a_prune_that_is_killed_at_any_deletion_is_ended_by_the_next(kind: ServiceKind, after: bool) {
    // After the last deletion, nothing would be left to do.
    for step in 0..2 {
        let (service, project) = site(kind);
        let before = service.state().content.manifests.len();
        let what = if after {
            Interference::SilenceAfter
        } else {
            Interference::SilenceBefore
        };
        let reached = service.interfere(questions(kind) + step, what, FakeService::is_deletion);
        let repository = service.repository();
        let mut child = project
            .command(&words(&repository, &["--yes"]))
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        reached.recv_timeout(PATIENCE).unwrap();
        child.kill().unwrap();
        child.wait().unwrap();
        service.state().content.assert_whole();
        let next = prune(&service, &project, &["--yes"]);
        assert_eq!(next.code, Some(0), "at {step}: {next}");
        assert_eq!(
            service.state().content.tag_names(),
            AFTER,
            "at {step}: {next}"
        );
        service.state().content.assert_whole();
        let left = service.state().content.manifests.len();
        assert_eq!(left, before - deleted(kind), "at {step}: {next}");
    }
}

#[test_case(Ecr, "AWS_SECRET_ACCESS_KEY", "wrong", "InvalidSignatureException"; "amazon, a wrong key")]
#[test_case(Ecr, "AWS_SESSION_TOKEN", "wrong", "UnrecognizedClientException"; "amazon, an old session")]
#[test_case(Ecr, "AWS_ACCESS_KEY_ID", "", "`AWS_SECRET_ACCESS_KEY` is set, but `AWS_ACCESS_KEY_ID` is not"; "amazon, half of the keys")]
fn wrong_keys_are_reported_before_anything_is_written(
    kind: ServiceKind,
    variable: &str,
    value: &str,
    expected: &str,
) {
    let (service, project) = site(kind);
    let output = prune(&service, &project.env(variable, value), &["--yes"]);
    assert_eq!(output.code, Some(5), "{output}");
    let text: Vec<_> = output.stderr.split_whitespace().collect();
    assert!(text.join(" ").contains(expected), "{output}");
    let log = service.state().log.join("\n");
    assert!(!log.contains("PUT"), "{log}");
}

#[test_case(Ecr; "amazon")]
#[test_case(Gitlab; "gitlab")]
#[test_case(DockerHub; "docker hub")]
fn a_repository_that_does_not_exist_and_a_missing_login_are_reported(kind: ServiceKind) {
    let (service, project) = site(kind);
    let typo = format!("{}/acme/wbe", service.host());
    let output = project.rbake(&words(&typo, &["--yes"]));
    assert_eq!(output.code, Some(5), "{output}");
    assert!(
        output.stderr.contains("the repository does not exist"),
        "{output}"
    );
    assert!(output.stderr.contains("check the name"), "{output}");

    let output = prune(&service, &project.docker_config("{}"), &["--yes"]);
    assert_eq!(output.code, Some(5), "{output}");
    let login = format!("`docker login {}`", service.host());
    assert!(output.stderr.contains(&login), "{output}");
    assert_eq!(service.state().content.tags.len(), 6);
}

#[test]
fn without_keys_for_amazon_the_plan_is_shown_and_the_message_says_what_to_set() {
    let (service, project) = site(Ecr);
    let project = [
        "AWS_ACCESS_KEY_ID",
        "AWS_SECRET_ACCESS_KEY",
        "AWS_SESSION_TOKEN",
    ]
    .into_iter()
    .fold(project, |project, name| project.env(name, ""));
    let shown = prune(&service, &project, &[]);
    assert_eq!(shown.code, Some(0), "{shown}");
    assert!(shown.stderr.contains("- build-2"), "{shown}");
    assert!(shown.stderr.contains("not seen: manifests"), "{shown}");
    let refused = prune(&service, &project, &["--yes"]);
    assert_eq!(refused.code, Some(5), "{refused}");
    for word in ["AWS_ACCESS_KEY_ID", "AWS_PROFILE", "`aws`"] {
        assert!(refused.stderr.contains(word), "{refused}");
    }
    assert_eq!(service.state().content.tags.len(), 6);
}

#[test]
fn the_keys_for_amazon_may_be_in_a_profile() {
    let (service, project) = site(Ecr);
    let file = format!(
        "[pruner]\naws_access_key_id={}\naws_secret_access_key={}\naws_session_token={}\n",
        ecr::ACCESS_KEY,
        ecr::SECRET_KEY,
        ecr::SESSION_TOKEN
    );
    let project = project
        .file("keys", file)
        .env("AWS_ACCESS_KEY_ID", "")
        .env("AWS_SECRET_ACCESS_KEY", "")
        .env("AWS_SHARED_CREDENTIALS_FILE", "keys")
        .env("AWS_PROFILE", "pruner");
    let output = prune(&service, &project, &["--yes"]);
    assert_eq!(output.code, Some(0), "{output}");
    assert_eq!(service.state().content.tag_names(), AFTER);
}

#[test]
fn the_last_tag_of_an_image_that_an_index_of_amazon_needs_stays() {
    let (service, project) = site(Ecr);
    let shared = {
        let content = &mut service.state().content;
        let index = &content.manifests[&content.tags["build-4"]].bytes;
        let index: Value = serde_json::from_slice(index).unwrap();
        let digest = index["manifests"][0]["digest"].as_str().unwrap().to_owned();
        content.tags.insert("build-0".to_owned(), digest.clone());
        digest
    };
    let output = prune(&service, &project, &["--yes"]);
    assert_eq!(output.code, Some(0), "{output}");
    assert_eq!(service.state().content.tags.get("build-0"), Some(&shared));
    service.state().content.assert_whole();
}

#[test_case(Gitlab; "gitlab")]
#[test_case(DockerHub; "docker hub")]
fn a_protected_tag_does_not_prevent_the_other_deletions(kind: ServiceKind) {
    let (service, project) = site(kind);
    service.state().protected.push("build-1".to_owned());
    let output = prune(&service, &project, &["--yes"]);
    assert_eq!(output.code, Some(5), "{output}");
    assert!(output.stderr.contains("build-1 failed"), "{output}");
    let tags = ["build-1", "build-3", "build-4", "latest", "v1"];
    assert_eq!(service.state().content.tag_names(), tags);
    service.state().content.assert_whole();
}

#[test]
fn docker_hub_removes_tags_also_if_its_registry_does_not_delete_manifests() {
    let (service, project) = site(DockerHub);
    let before = service.state().content.manifests.len();
    for _ in 0..2 {
        let what = Interference::Answer(Answer::empty(405));
        service.interfere(0, what, |asked| {
            asked.method == "DELETE" && asked.path.starts_with("/v2/")
        });
    }
    let shown = prune(&service, &project, &[]);
    assert!(shown.stderr.contains("no manifests go"), "{shown}");
    let made = prune(&service, &project, &["--yes"]);
    assert_eq!(made.code, Some(0), "{made}");
    assert_eq!(service.state().content.tag_names(), AFTER);
    // The lease is there without its tag.
    assert_eq!(service.state().content.manifests.len(), before + 1);
}

#[test_case("", "HOST=KIND", "h=git"; "an unknown kind")]
#[test_case("AWS_ENDPOINT_URL_ECR", "https://", "http://api.example"; "an unprotected API of amazon")]
#[test_case("AWS_REGION", "AWS_REGION", " "; "no region of amazon")]
fn a_variable_that_makes_no_sense_is_refused(variable: &str, expected: &str, value: &str) {
    let (service, project) = site(Ecr);
    let project = match variable {
        "" => project.env("RBAKE_REGISTRY_KINDS", value),
        _ => project.env(variable, value),
    };
    let output = prune(&service, &project, &["--yes"]);
    assert_eq!(output.code, Some(2), "{output}");
    assert!(output.stderr.contains("error[prune::settings]"), "{output}");
    assert!(output.stderr.contains(expected), "{output}");
    assert_eq!(service.state().content.tags.len(), 6);
}

#[test]
fn amazons_public_registry_is_left_to_amazons_program() {
    let (service, project) = site(Gitlab);
    let kind = format!("{}=ecr-public", service.host());
    let output = prune(
        &service,
        &project.env("RBAKE_REGISTRY_KINDS", kind),
        &["--yes"],
    );
    assert_eq!(output.code, Some(5), "{output}");
    assert!(
        output.stderr.contains("aws ecr-public batch-delete-image"),
        "{output}"
    );
    assert_eq!(service.state().content.tags.len(), 6);
}
