//! Frequent mistakes in Dockerfiles and targets, built on a real daemon. The last lines of the output must name the
//! mistake and the remedy in the user's terms.

use crate::support::peers;
use crate::support::project::TestProject;

struct Mistake {
    /// The faulty part of the target.
    target: &'static str,
    dockerfile: &'static str,
    /// What the error must say.
    told: &'static str,
    /// What the help must say.
    help: &'static str,
}

const MISTAKES: [Mistake; 12] = [
    Mistake {
        target: "target = \"prod\"",
        dockerfile: "FROM scratch AS base\nCOPY app.txt /\nFROM base AS prd\n",
        told: "its `target` names the stage `prod`, which the Dockerfile does not have",
        help: "a stage with a similar name exists: `prd`",
    },
    Mistake {
        target: "",
        dockerfile: "FROM scratch AS builder\nCOPY app.txt /\nFROM scratch\nCOPY --from=bilder /app.txt /\n",
        told: "the registry has no image `docker.io/library/bilder:latest`",
        help: "a stage or context with a similar name exists: `builder`",
    },
    Mistake {
        target: "",
        dockerfile: "FROM scratch\nCOPY ap.txt /\n",
        told: "there is no `ap.txt` in the context",
        help: "a file with a similar name exists: `app.txt`",
    },
    Mistake {
        target: "",
        dockerfile: "FROM scratch\nCOPY left.out /\n",
        told: "there is no `left.out` in the context",
        help: "but `.dockerignore` excludes it",
    },
    Mistake {
        target: "",
        dockerfile: "FROM busybox AS base\nFROM scratch\nCOPY --from=base /nosuch /\n",
        told: "there is no `/nosuch` in `base`",
        help: "a step of `base` creates it",
    },
    Mistake {
        target: "secret = [\"id=tokn,src=app.txt\"]",
        dockerfile: "FROM busybox\nRUN --mount=type=secret,id=token,required=true true\n",
        told: "the step needs the secret `token`, which the target does not declare",
        help: "a secret with a similar id exists: `tokn`",
    },
    Mistake {
        target: "",
        dockerfile: "FROM busybox\nRUN --mount=type=ssh,required=true true\n",
        told: "the step needs the SSH agent or key `default`",
        help: "add it to the target: `ssh = [\"default\"]`",
    },
    Mistake {
        target: "",
        dockerfile: "FROM busybox\nRUN --network=host true\n",
        told: "a step of the Dockerfile needs the privilege `network.host`",
        help: "add `entitlements = [\"network.host\"]`",
    },
    Mistake {
        target: "",
        dockerfile: "# syntax=docker/dockerfil:1\nFROM scratch\n",
        told: "the registry has no image `docker.io/docker/dockerfil:1`",
        help: "names the Dockerfile's frontend",
    },
    Mistake {
        target: "",
        dockerfile: "",
        told: "Dockerfile` is empty",
        help: "a Dockerfile begins with `FROM`",
    },
    Mistake {
        target: "",
        dockerfile: "RUN true\n",
        told: "has an instruction before the first `FROM`",
        help: "a Dockerfile begins with `FROM`",
    },
    Mistake {
        target: "args = { SOURCE_DATE_EPOCH = \"today\" }",
        dockerfile: "FROM scratch\nCOPY app.txt /\n",
        told: "`SOURCE_DATE_EPOCH` is `today`, which is not a time",
        help: "seconds since 1970",
    },
];

#[test]
#[ignore = "needs live peers"]
fn a_mistake_is_reported_in_the_users_terms_with_a_remedy() {
    let daemon = peers::peer("RBAKE_TEST_BUILDKIT_ADDR");
    for mistake in &MISTAKES {
        let definition = format!("target \"default\" {{\n  {}\n}}\n", mistake.target);
        let project = TestProject::new()
            .file("docker-bake.hcl", definition)
            .file("Dockerfile", mistake.dockerfile)
            .file("app.txt", "x")
            .file("left.out", "x")
            .file(".dockerignore", "*.out\n")
            .env("BUILDKIT_HOST", daemon.clone());
        let output = project.rbake(&[]);
        assert_eq!(output.code, Some(1), "{}: {output}", mistake.told);
        let (_, error) = output.stderr.rsplit_once("error[").unwrap_or_default();
        let (told, help) = error.split_once("= help: ").unwrap_or((error, ""));
        assert!(told.contains(mistake.told), "{}: {output}", mistake.told);
        assert!(help.contains(mistake.help), "{}: {output}", mistake.help);
        // The names of the daemon's internal records do not help a user.
        assert!(!error.contains("checksum of ref"), "{output}");
    }
}

#[test]
#[ignore = "needs live peers"]
fn the_error_names_a_failed_step_that_has_no_line() {
    let daemon = peers::peer("RBAKE_TEST_BUILDKIT_ADDR");
    let registry = peers::peer("RBAKE_TEST_REGISTRY_ADDR");
    let dockerfile = format!("FROM scratch\nADD http://{registry}/nosuch /x\n");
    let project = TestProject::new()
        .file("docker-bake.hcl", "target \"default\" {}\n")
        .file("Dockerfile", dockerfile)
        .env("BUILDKIT_HOST", daemon);
    let output = project.rbake(&[]);
    let (_, error) = output.stderr.rsplit_once("error[").unwrap_or_default();
    assert!(error.contains("with the status 404"), "{output}");
    let step = format!("note: the step is `ADD http://{registry}/nosuch /x`");
    assert!(error.contains(&step), "{output}");
}
