//! Runs that take their tags back in registries that remove tags by an API of their own: a builder and fakes of the services.

use crate::support::buildkitd::Buildkitd;
use crate::support::fake_services::exchange::Answer;
use crate::support::fake_services::{FakeService, Interference, ServiceKind};
use crate::support::github::FakeGithub;
use crate::support::project::TestProject;

const DEFINITION: &str = r#"
variable "REPOSITORY" {}

target "default" {
  tags = ["${REPOSITORY}:first", "${REPOSITORY}:second"]
}
"#;

fn project(project: TestProject, repository: &str, builder: &Buildkitd) -> TestProject {
    project
        .file("docker-bake.hcl", DEFINITION)
        .file("Dockerfile", "FROM scratch\nCOPY web /web\n")
        .file("web", "web\n")
        .env("REPOSITORY", repository)
        .env("BUILDKIT_HOST", builder.endpoint())
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs live peers"]
async fn the_immutable_tags_of_a_failed_run_are_removed_from_github() {
    let builder = Buildkitd::start(&[]).await;
    let github = FakeGithub::start("orgs");
    let repository = format!("{}/acme/web", github.host());
    let project = project(github.project(), &repository, &builder);
    let words = [
        "--push",
        "--immutable-tags=first",
        "--gate-run=false",
        "--on-failure=untag",
    ];
    github.package().reads_only = true;
    let refused = project.rbake(&words);
    assert_eq!(refused.code, Some(1), "{refused}");
    assert!(refused.stderr.contains("delete:packages"), "{refused}");
    let (_, run) = refused.stderr.split_once("`rbake undo ").unwrap();
    let run = run.split('`').next().unwrap();
    let image = github.package().tags["first"].clone();

    github.package().reads_only = false;
    let undone = project.rbake(&["undo", run, "--yes"]);
    assert_eq!(undone.code, Some(0), "{undone}");
    assert!(!github.package().tags.contains_key("first"));

    let failed = project.rbake(&words);
    assert_eq!(failed.code, Some(1), "{failed}");
    assert!(failed.stderr.contains("are taken back"), "{failed}");
    let package = github.package();
    assert!(!package.tags.contains_key("first"), "{failed}");
    assert!(package.versions.contains_key(&image), "the image stays");
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs live peers"]
async fn a_mutable_tag_that_was_made_is_removed_from_docker_hub_if_another_is_refused() {
    let builder = Buildkitd::start(&[]).await;
    let hub = FakeService::start(ServiceKind::DockerHub);
    let project = project(hub.project(), &hub.repository(), &builder);
    let refusal = Interference::Answer(Answer::empty(400));
    hub.interfere(0, refusal, |asked| {
        asked.method == "PUT" && asked.path.ends_with("/manifests/second")
    });
    let output = project.rbake(&["--push"]);
    assert_eq!(output.code, Some(5), "{output}");
    assert!(
        output.stderr.contains("no mutable tag has moved"),
        "{output}"
    );
    let state = hub.state();
    let set = "PUT /v2/acme/web/manifests/first".to_owned();
    assert!(state.log.contains(&set), "it was set: {:#?}", state.log);
    let tags = state.content.tag_names();
    assert!(
        tags.iter().all(|tag| tag.starts_with("rbake-run-")),
        "{tags:?}"
    );
    state.content.assert_whole();
}
