//! Old daemons: what they can do is built as with a new one, and what they would leave out silently is refused.

use test_case::test_case;

use crate::support::bakers::{Baker, Bakers};
use crate::support::buildkitd::Buildkitd;
use crate::support::distribution::RegistryContents;
use crate::support::peers;
use crate::support::project::TestProject;

/// The oldest daemon that is supported, and one that is still in use.
const OLDEST: &str = "RBAKE_TEST_BUILDKITD_OLDEST";
const OLD: &str = "RBAKE_TEST_BUILDKITD_OLD";

async fn daemon(program: &str) -> Buildkitd {
    Buildkitd::start_program_with_images(&peers::program(program)).await
}

/// Two targets with most of what a definition can ask of a daemon.
fn project() -> TestProject {
    TestProject::new()
        .file(
            "Dockerfile",
            r"FROM busybox AS base
ARG WORD
RUN --mount=type=secret,id=s test $(cat /run/secrets/s) = hidden && echo $WORD > /word
FROM base AS one
COPY --from=more file /more
COPY kept /kept
FROM base AS two
RUN --mount=type=cache,target=/c echo two > /two
",
        )
        .file("kept", "kept\n")
        .file("more/file", "more\n")
        .file(
            "docker-bake.hcl",
            r#"group "default" { targets = ["one", "two"] }
target "one" {
  target = "one"
  args = { WORD = "w" }
  contexts = { more = "more" }
  secret = ["id=s,env=SECRET"]
  output = ["type=local,dest=out/one"]
}
target "two" {
  inherits = ["one"]
  target = "two"
  resources = { memory = "1g" }
  output = ["type=local,dest=out/two"]
}
"#,
        )
        .env("SECRET", "hidden")
}

/// The files that the targets wrote.
fn written(project: &TestProject) -> Vec<(String, String)> {
    let files = ["one/word", "one/more", "one/kept", "two/word", "two/two"];
    let read = |name: &str| {
        let path = project.path().join("out").join(name);
        (name.to_owned(), std::fs::read_to_string(path).unwrap())
    };
    files.map(read).to_vec()
}

#[test_case(OLDEST; "the oldest")]
#[test_case(OLD; "an old one")]
#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs live peers"]
async fn an_old_daemon_builds_what_it_builds_with_buildx(program: &str) {
    let daemon = daemon(program).await;
    let bakers = Bakers::on(&daemon.endpoint().to_string());
    let [ours, theirs] = Baker::ALL.map(|baker| {
        let project = project();
        let output = bakers.bake(baker, &project, &["--allow=fs=*"]);
        assert_eq!(output.code, Some(0), "{output}");
        written(&project)
    });
    assert_eq!(ours, theirs);
    assert!(daemon.is_alive());
}

#[test_case(OLDEST; "the oldest")]
#[test_case(OLD; "an old one")]
#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs live peers"]
async fn images_and_a_shared_cache_are_published_by_an_old_daemon(program: &str) {
    let daemon = daemon(program).await;
    let registry = peers::peer("RBAKE_TEST_REGISTRY_ADDR");
    let name = format!("old-daemon-{}-{}", program.len(), std::process::id());
    let bakers = Bakers::on(&daemon.endpoint().to_string());
    let one = format!("one.tags={registry}/{name}/one:v1");
    let two = format!("two.tags={registry}/{name}/two:v1");
    // The default of these daemons is a form that this registry refuses.
    let refused = format!("*.cache-to=type=registry,ref={registry}/{name}/cache:c,mode=max");
    let cache = format!("{refused},image-manifest=true,oci-mediatypes=true");
    let from = format!("*.cache-from=type=registry,ref={registry}/{name}/cache:c");
    let words = |cache| {
        let all = [&one, &two, cache, &from, "*.output="];
        let set = all.into_iter().flat_map(|value: &str| ["--set", value]);
        set.chain(["--push"]).collect::<Vec<&str>>()
    };
    let project = project();
    let failed = bakers.bake(Baker::Rbake, &project, &words(&refused));
    assert_eq!(failed.code, Some(1), "{failed}");
    assert!(failed.stderr.contains("image-manifest=true"), "{failed}");
    let words = words(&cache);
    let published = bakers.bake(Baker::Rbake, &project, &words);
    assert_eq!(published.code, Some(0), "{published}");
    let contents = RegistryContents::of(&registry);
    let digests = async || {
        let mut digests = Vec::new();
        for target in ["one", "two"] {
            let repository = format!("{name}/{target}");
            digests.push(contents.digest(&repository, "v1").await.unwrap());
        }
        digests
    };
    let before = digests().await;
    let again = bakers.bake(Baker::Rbake, &project, &words);
    assert_eq!(again.code, Some(0), "{again}");
    assert_eq!(digests().await, before, "{again}");
    assert!(daemon.is_alive());
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs live peers"]
async fn several_outputs_of_a_target_are_refused_by_a_daemon_that_makes_one() {
    let daemon = daemon(OLDEST).await;
    let bakers = Bakers::on(&daemon.endpoint().to_string());
    let words = [
        "one",
        "--allow=fs=*",
        "--set",
        "one.output+=type=tar,dest=out/one.tar",
    ];
    for baker in Baker::ALL {
        let project = project();
        let output = bakers.bake(baker, &project, &words);
        assert_ne!(output.code, Some(0), "{output}");
        assert!(output.stderr.contains("v0.13"), "{output}");
        assert!(!project.path().join("out/one").exists(), "{output}");
    }
}

#[test_case(OLDEST; "the oldest")]
#[test_case(OLD; "an old one")]
#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs live peers"]
async fn limits_that_an_old_daemon_ignores_are_reported(program: &str) {
    let daemon = daemon(program).await;
    let bakers = Bakers::on(&daemon.endpoint().to_string());
    let output = bakers.bake(Baker::Rbake, &project(), &["--allow=fs=*"]);
    assert_eq!(output.code, Some(0), "{output}");
    let warning = "does not limit the memory and the processors of steps, as wanted for `two`";
    assert!(output.stderr.contains(warning), "{output}");
}
