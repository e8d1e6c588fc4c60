use std::collections::BTreeMap;
use std::path::PathBuf;

use test_case::test_case;

use super::*;
use crate::event::SourceExcerpt;
use crate::outcome::FailureKind;
use crate::run::testing::planned;

/// The message of BuildKit v0.32 if `COPY` names a missing file.
fn checksum(path: &str) -> String {
    format!(
        "failed to compute cache key: failed to calculate checksum of ref d3xxf4::lrwbhw: \"{path}\": not found"
    )
}

fn explained_in(dir: PathBuf, body: &str, message: &str, line: &str) -> SolveFailure {
    let target = planned(body);
    let text = format!("FROM x AS base\nFROM base AS builder\n{line}\n");
    let places = TargetPlaces {
        context: SourceTree::Dir(dir),
        dockerfile: DockerfilePlace::Inline(text.as_str().into()),
        named: BTreeMap::new(),
        images: Vec::new(),
    };
    let mut failure = SolveFailure::new(FailureKind::Build, message);
    failure.sources.push(SourceExcerpt {
        filename: "Dockerfile".to_owned(),
        text: text.into(),
        lines: vec![(3, 3)],
    });
    let scene = Scene {
        target: &target,
        places: &places,
        driver: Driver::Remote,
    };
    explain(&mut failure, &scene);
    failure
}

fn explained(body: &str, message: &str, line: &str) -> SolveFailure {
    explained_in(PathBuf::from("/nowhere"), body, message, line)
}

#[test_case("", "target stage \"bilder\" could not be found", "", "the stage `bilder`, which the Dockerfile does not have", "a stage with a similar name exists: `builder`"; "a stage")]
#[test_case("", "target stage \"x\" could not be found (did you mean y?)", "", "the stage `x`", "in the Dockerfile, there are `base` and `builder`"; "a stage with no similar name")]
#[test_case("secret = [\"id=tokn,env=T\"]", "secret token: not found", "", "needs the secret `token`, which the target does not declare", "a secret with a similar id exists: `tokn`"; "a typo in a secret")]
#[test_case("", "failed to solve: secret token: not found", "", "needs the secret `token`", "`secret = [\"id=token,src=FILE\"]`"; "a secret")]
#[test_case("", "no SSH key \"\" forwarded from the client", "", "the SSH agent or key `default`", "add it to the target: `ssh = [\"default\"]`"; "an agent")]
#[test_case("", "unset ssh forward key git", "", "the SSH agent or key `git`", "add it to the target: `ssh = [\"git\"]`"; "a key")]
#[test_case("ssh = [\"gti\"]", "unset ssh forward key git", "", "the SSH agent or key `git`", "an entry with a similar id exists: `gti`"; "a typo in a key")]
#[test_case("", "failed to load LLB: security.insecure is not allowed", "", "the privilege `security.insecure`", "`entitlements = [\"security.insecure\"]` to the target, and grant it with `--allow=security.insecure`"; "a privilege")]
#[test_case("", "unknown entitlement network.hots", "", "does not know the privilege `network.hots`", "`network.host`"; "an unknown privilege")]
#[test_case("", &checksum("/src/app.jar"), "COPY src/app.jar /", "there is no `src/app.jar` in the context", "relative to the context, `/nowhere`"; "a source")]
#[test_case("", &checksum("/x"), "COPY ../x /", "there is no `x` in the context", "`..` cannot leave the context"; "a source outside")]
#[test_case("", &checksum("/x"), "COPY --chmod=1 --from=base /x /", "there is no `/x` in `base`", "a step of `base` creates it"; "a source in a stage")]
#[test_case("", &checksum("/x"), "RUN --mount=type=bind,from=base,source=/x true", "there is no `/x` in `base`", "a step of `base` creates it"; "a mounted source")]
#[test_case("", &checksum("/tmp/x"), "RUN --mount=target=. --mount=from=other,target=/o --mount=from=base,src=/tmp/x,target=/x true", "there is no `/tmp/x` in `base`", "a step of `base` creates it"; "one of several mounts")]
#[test_case("", &checksum("/x"), "RUN --mount=from=other,target=/o --mount=type=bind,source=x,target=/x true", "there is no `x` in the context", "relative to the context"; "a mount of the context")]
#[test_case("", "bilder: failed to resolve source metadata for docker.io/library/bilder:latest: docker.io/library/bilder:latest: not found", "COPY --from=bilder / /", "has no image `docker.io/library/bilder:latest`", "a stage or context with a similar name exists: `builder`"; "a stage that is taken for an image")]
#[test_case("", "app:dev: failed to resolve source metadata for docker.io/library/app:dev: docker.io/library/app:dev: not found", "FROM app:dev", "has no image `docker.io/library/app:dev`", "cannot use the images of your Docker Engine"; "an image of the engine")]
#[test_case("", "failed to resolve source metadata for r.example/team/x:1: r.example/team/x:1: not found", "# syntax=r.example/team/x:1", "has no image `r.example/team/x:1`", "names the Dockerfile's frontend"; "a frontend")]
#[test_case("contexts = { builde = \"docker-image://team/x:1\" }", "failed to resolve source metadata for docker.io/team/x:1: docker.io/team/x:1: not found", "FROM builde", "has no image `docker.io/team/x:1`", "the context `builde` of the target names it"; "an image of a context")]
#[test_case("contexts = { p = \"docker-image://team/y:1\" }", "failed to resolve source metadata for docker.io/team/x:1: docker.io/team/x:1: not found", "", "has no image `docker.io/team/x:1`", "it is not in the Dockerfile"; "an image that the Dockerfile does not name")]
#[test_case("", "failed to solve: x: docker.io/library/x:1: no match for platform in manifest: not found", "", "`docker.io/library/x:1` does not exist for the platform", "imagetools inspect docker.io/library/x:1"; "a platform")]
#[test_case("", "the Dockerfile cannot be empty", "", "the inline Dockerfile is empty", "begins with `FROM`"; "nothing")]
#[test_case("", "no build stage in current context", "RUN x", "before the first `FROM`", "begins with `FROM`"; "no base")]
#[test_case("", "failed to load cache key: invalid response status 404", "", "answered with the status 404", "check the address"; "a download")]
#[test_case("", "digest mismatch sha256:aa: sha256:bb", "", "has the digest `sha256:aa`, but `sha256:bb` was expected", "`--checksum`"; "a checksum")]
#[test_case("", "failed to do request: Head \"https://r.example/v2/\": dial tcp: lookup r.example on 10.0.0.1:53: no such host", "", "no such host", "cannot find the host `r.example`"; "a host")]
#[test_case("", "invalid SOURCE_DATE_EPOCH: today", "", "is `today`, which is not a time", "seconds since 1970"; "a time")]
#[test_case("", "failed to copy: write /var/lib/x: no space left on device", "", "no space left", "docker buildx prune"; "a full disk")]
#[test_case("", "cannot write `/t/x.tar`: No space left on device (os error 28)", "", "cannot write `/t/x.tar`", "the disk of this machine is full"; "a full disk here")]
fn known_mistakes_are_explained(body: &str, said: &str, line: &str, told: &str, help: &str) {
    let failure = explained(body, said, line);
    assert!(failure.message.contains(told), "{failure:?}");
    assert!(
        failure.help.iter().any(|text| text.contains(help)),
        "{failure:?}"
    );
    // The daemon's message is never lost.
    let kept = failure.message == said || failure.debug == [said];
    assert!(kept, "{failure:?}");
}

#[test_case("it failed")]
#[test_case("failed to load LLB: digest is not allowed")]
#[test_case("invalid response status 404 for nothing")]
#[test_case("digest mismatch")]
#[test_case("secret of the house: not found")]
#[test_case("lookup : no such host")]
fn other_messages_stay_unchanged(said: &str) {
    let failure = explained("", said, "");
    assert_eq!(failure.message, said);
    assert!(
        failure.help.is_empty() && failure.debug.is_empty(),
        "{failure:?}"
    );
}

#[test]
fn the_help_names_the_ignore_file_that_excludes_a_source() {
    let dir = tempfile::tempdir().unwrap();
    std::fs::write(dir.path().join("app.jar"), "").unwrap();
    std::fs::write(dir.path().join(".dockerignore"), "*.jar\n").unwrap();
    let of = |path: &str| {
        let line = format!("COPY {path} /");
        explained_in(
            dir.path().to_owned(),
            "",
            &checksum(&format!("/{path}")),
            &line,
        )
        .help
    };
    assert!(
        of("app.jar")[0].ends_with(
            "`.dockerignore` excludes it: change the pattern, or add `!app.jar` after it"
        )
    );
    assert_eq!(
        of("app.jarr")[0],
        "a file with a similar name exists: `app.jar`"
    );
}

#[test]
fn text_of_a_step_is_not_taken_for_a_message_of_buildkit() {
    let target = planned("");
    let places = TargetPlaces {
        context: SourceTree::Dir(PathBuf::from("/nowhere")),
        dockerfile: DockerfilePlace::InContext("Dockerfile".to_owned()),
        named: BTreeMap::new(),
        images: Vec::new(),
    };
    let said = "process \"echo secret x: not found\" did not complete successfully: exit code: 1: no space left on device";
    let mut failure = SolveFailure::new(FailureKind::Build, said);
    failure.exit_code = Some(1);
    let scene = Scene {
        target: &target,
        places: &places,
        driver: Driver::Remote,
    };
    explain(&mut failure, &scene);
    assert_eq!((failure.message.as_str(), failure.help.len()), (said, 0));
}

#[test]
fn an_instruction_on_several_lines_is_read_as_a_whole() {
    let mut failure = SolveFailure::new(FailureKind::Build, checksum("/x"));
    failure.sources.push(SourceExcerpt {
        filename: "Dockerfile".to_owned(),
        text:
            "FROM x\nRUN --mount=target=. \\\n  --mount=from=base,source=/x,target=/x \\\n  true\n"
                .into(),
        lines: vec![(4, 4), (2, 2), (3, 3)],
    });
    let instruction = instruction(&failure);
    assert!(
        instruction.contains("from=base") && instruction.contains("true"),
        "{instruction}"
    );
    assert_eq!(read_from(&instruction, "/x"), Some("base"));
}
