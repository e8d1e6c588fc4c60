//! Static rules on the sources of builds, beside buildx.

use crate::support::bakers::{Baker, Bakers};
use crate::support::project::TestProject;

const VARIABLE: &str = "EXPERIMENTAL_BUILDKIT_SOURCE_POLICY";

// Two targets, one of which uses the other; both begin with the image `base`.
fn project(base: &str, rules: &str) -> TestProject {
    let definition = format!(
        r#"
        target "base" {{
          dockerfile-inline = "FROM {base}\nRUN echo base >/base\n"
          cache-to = ["type=local,dest=cache"]
        }}
        target "default" {{
          contexts = {{ parent = "target:base" }}
          dockerfile-inline = "FROM {base} AS a\nRUN echo own >/own\nFROM scratch\nCOPY --from=parent /base /\nCOPY --from=a /own /\n"
          output = ["type=local,dest=out"]
          cache-to = ["type=local,dest=cache"]
        }}
        "#
    );
    TestProject::new()
        .file("docker-bake.hcl", definition)
        .file(
            "policy.json",
            format!(r#"{{"version": 1, "rules": [{rules}]}}"#),
        )
        .env(VARIABLE, "policy.json")
}

#[test]
#[ignore = "needs live peers"]
fn a_denied_image_is_refused() {
    let bakers = Bakers::on_the_shared_daemon();
    let deny = r#"{"action": "DENY", "selector": {"identifier": "docker-image://docker.io/library/busybox*"}}"#;
    for baker in Baker::ALL {
        let project = project("busybox", deny);
        let output = bakers.bake(baker, &project, &["--allow=fs=."]);
        assert_ne!(output.code, Some(0), "{baker:?}: {output}");
        assert!(
            output.stderr.contains("denied by policy"),
            "{baker:?}: {output}"
        );
        // Not only the export of the cache is refused.
        assert!(!project.path().join("out/own").exists(), "{baker:?}");
    }
}

#[test]
#[ignore = "needs live peers"]
fn a_converted_image_replaces_the_one_that_is_named() {
    let bakers = Bakers::on_the_shared_daemon();
    // There is no such image: only the rule makes the build possible, that of the cache's export included.
    let convert = r#"{"action": "CONVERT", "selector": {"identifier": "docker-image://docker.io/library/not-there:1"},
        "updates": {"identifier": "docker-image://docker.io/library/busybox:latest"}}"#;
    for baker in Baker::ALL {
        let project = project("not-there:1", convert);
        let output = bakers.bake(baker, &project, &["--allow=fs=."]);
        assert_eq!(output.code, Some(0), "{baker:?}: {output}");
        let made = |name: &str| std::fs::read_to_string(project.path().join("out").join(name));
        assert_eq!(
            (made("base").unwrap(), made("own").unwrap()),
            ("base\n".into(), "own\n".into())
        );
        assert!(project.path().join("cache/index.json").exists(), "{output}");
    }
}

#[test]
#[ignore = "needs live peers"]
fn an_unreadable_policy_ends_the_run_before_any_work() {
    let bakers = Bakers::on_the_shared_daemon();
    for rules in ["{\"action\": \"REFUSE\"}", "{"] {
        for baker in Baker::ALL {
            let output = bakers.bake(baker, &project("busybox", rules), &["--allow=fs=."]);
            assert_ne!(output.code, Some(0), "{baker:?}: {output}");
        }
    }
    let output = bakers.bake(Baker::Rbake, &project("busybox", "{"), &[]);
    assert!(output.stderr.contains("run::source-policy"), "{output}");
}
