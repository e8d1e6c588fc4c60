//! Definitions in several files, from the environment and with paths of their own, beside buildx.

use std::collections::BTreeMap;
use std::io::Write as _;
use std::process::Stdio;

use crate::support::bakers::{Baker, Bakers};
use crate::support::peers;
use crate::support::project::{CommandOutput, TestProject};

const COPY: &str = "FROM scratch\\nCOPY marker /marker\\n";

#[track_caller]
fn passes(output: &CommandOutput) {
    assert_eq!(output.code, Some(0), "{output}");
}

// What the files in `out` are.
fn made(project: &TestProject) -> BTreeMap<String, String> {
    let dir = project.path().join("out");
    let entries = std::fs::read_dir(dir).unwrap().flatten();
    let entries = entries.map(|entry| {
        let name = entry.file_name().to_string_lossy().into_owned();
        (name, std::fs::read_to_string(entry.path()).unwrap())
    });
    entries.collect()
}

// Bakes the same project with both programs, and returns what they made: the files, and what `--print` shows.
#[track_caller]
fn both(project: impl Fn() -> TestProject, words: &[&str]) -> BTreeMap<String, String> {
    let bakers = Bakers::on_the_shared_daemon();
    let made = Baker::ALL.map(|baker| {
        let project = project();
        let output = [
            "--allow",
            "fs.write=out",
            "--set",
            "*.output=type=local,dest=out",
        ];
        let words = [output.as_slice(), words].concat();
        passes(&bakers.bake(baker, &project, &words));
        let printed = bakers.bake(baker, &project, &[&["--print"], words.as_slice()].concat());
        (made(&project), printed.stdout)
    });
    assert_eq!(made[0], made[1]);
    let [(files, _), _] = made;
    files
}

fn inline(name: &str) -> String {
    format!("target \"{name}\" {{\n  dockerfile-inline = \"{COPY}\"\n}}\n")
}

#[test]
#[ignore = "needs live peers"]
fn a_local_file_overrides_another_with_or_without_its_prefix() {
    let project = || {
        TestProject::new()
            .file("docker-bake.hcl", inline("default"))
            .file(
                "sub/own.hcl",
                "target \"default\" {\n  context = \"ctx\"\n}\n",
            )
            .file("ctx/marker", "of the override")
            .file("marker", "of the first")
    };
    for own in ["cwd://sub/own.hcl", "sub/own.hcl"] {
        let made = both(project, &["-f", "docker-bake.hcl", "-f", own]);
        assert_eq!(made["marker"], "of the override", "{own}");
    }
}

#[test]
#[ignore = "needs live peers"]
fn paths_are_relative_to_their_file_if_the_user_asks_for_it() {
    let relative = |project: TestProject| project.env("BUILDX_BAKE_FILE_RELATIVE_PATHS", 1);
    let shared = "FROM scratch\nCOPY marker /marker\nCOPY --from=shared other /other\n";
    let compose = || {
        relative(TestProject::new())
            .file("tests/docker-compose.yml", "services:\n  app:\n    build:\n      context: ./app\n      additional_contexts:\n        shared: ../shared\n")
            .file("tests/app/Dockerfile", shared)
            .file("tests/app/marker", "m")
            .file("shared/other", "o")
    };
    let made = both(compose, &["-f", "tests/docker-compose.yml"]);
    assert_eq!((&*made["marker"], &*made["other"]), ("m", "o"));

    // Of several Compose files, the first one names the folder.
    let projects = || {
        relative(TestProject::new())
            .file("project/compose.yml", "services:\n  app:\n    build:\n      context: ./app\n")
            .file("overrides/compose.yml", "services:\n  app:\n    build:\n      additional_contexts:\n        shared: ./shared\n")
            .file("project/app/Dockerfile", shared)
            .file("project/app/marker", "m")
            .file("project/shared/other", "o")
    };
    let made = both(
        projects,
        &["-f", "project/compose.yml", "-f", "overrides/compose.yml"],
    );
    assert_eq!(made["other"], "o");

    let default = || {
        relative(TestProject::new())
            .file("definitions/docker-bake.hcl", inline("default"))
            .file("definitions/marker", "beside the definition")
            .file("marker", "in the working directory")
    };
    let made = both(default, &["-f", "definitions/docker-bake.hcl"]);
    assert_eq!(made["marker"], "beside the definition");

    let reference = || {
        let app = format!(
            "target \"app\" {{\n  context = target.base.context\n  dockerfile-inline = \"{COPY}\"\n}}\n"
        );
        relative(TestProject::new())
            .file(
                "one/docker-bake.hcl",
                "target \"base\" {\n  context = \"ctx\"\n}\n",
            )
            .file("two/docker-bake.hcl", app)
            .file("one/ctx/marker", "one")
            .file("two/ctx/marker", "two")
    };
    let made = both(
        reference,
        &[
            "-f",
            "one/docker-bake.hcl",
            "-f",
            "two/docker-bake.hcl",
            "app",
        ],
    );
    assert_eq!(made.len(), 1);

    let prefix = || {
        let app = format!(
            "target \"default\" {{\n  context = \"cwd://ctx\"\n  dockerfile-inline = \"{COPY}\"\n}}\n"
        );
        relative(TestProject::new())
            .file("sub/docker-bake.hcl", app)
            .file("ctx/marker", "of the working directory")
            .file("sub/ctx/marker", "beside the definition")
    };
    let made = both(prefix, &["-f", "sub/docker-bake.hcl"]);
    assert_eq!(made["marker"], "of the working directory");
}

fn two_files() -> TestProject {
    TestProject::new()
        .file("docker-bake.hcl", inline("ignored"))
        .file("first.hcl", inline("first"))
        .file("second.hcl", inline("second"))
        .file("marker", "m")
}

#[test]
#[ignore = "needs live peers"]
fn the_environment_names_the_files() {
    for (list, separator, target) in [
        ("first.hcl", None, "first"),
        ("first.hcl:second.hcl", None, "second"),
        (" first.hcl ; second.hcl ", Some(";"), "second"),
    ] {
        let project = || {
            let project = two_files().env("BUILDX_BAKE_FILE", list);
            match separator {
                Some(separator) => project.env("BUILDX_BAKE_PATH_SEPARATOR", separator),
                None => project,
            }
        };
        assert_eq!(both(project, &[target])["marker"], "m", "{list}");
        // The default files are not read.
        let bakers = Bakers::on_the_shared_daemon();
        let codes = Baker::ALL.map(|baker| bakers.bake(baker, &project(), &["ignored"]).code);
        assert!(!codes.contains(&Some(0)), "{codes:?}");
    }
    assert_eq!(both(two_files, &["ignored"])["marker"], "m");
}

#[test]
#[ignore = "needs live peers"]
fn the_environment_may_name_standard_input() {
    let bakers = Bakers::on_the_shared_daemon();
    for baker in Baker::ALL {
        let project = two_files().env("BUILDX_BAKE_FILE", "-:second.hcl");
        let words = [
            "--allow",
            "fs.write=out",
            "--set",
            "*.output=type=local,dest=out",
            "third",
            "second",
        ];
        let mut command = bakers.command(baker, &project, &words);
        command
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        let mut child = command.spawn().unwrap();
        let mut input = child.stdin.take().unwrap();
        input.write_all(inline("third").as_bytes()).unwrap();
        drop(input);
        let output = child.wait_with_output().unwrap();
        passes(&project.read(&output));
        assert_eq!(made(&project)["marker"], "m", "{baker:?}");
    }
}

// The proxies of Docker's configuration, and the same names in another case.
#[test]
#[ignore = "needs live peers"]
fn proxies_of_dockers_configuration_are_arguments_unless_the_target_has_them() {
    let bakers = Bakers::on_the_shared_daemon();
    for (engine, own) in [
        ("default", ""),
        ("default", "HTTP_PROXY = \"http://own.example\""),
        ("default", "http_proxy = \"http://own.example\""),
        ("default", "https_proxy = \"\""),
        // The Engine that docker would use here.
        ("unix:///var/run/docker.sock", ""),
    ] {
        let project = || {
            let definition = format!(
                "target \"default\" {{\n  args = {{ {own} }}\n  no-cache = true\n  dockerfile-inline = \"FROM busybox AS a\\nARG ALL_PROXY=none\\nRUN env | grep -i _proxy | sort >/proxies\\nFROM scratch\\nCOPY --from=a /proxies /\\n\"\n  output = [\"type=local,dest=out\"]\n}}\n"
            );
            let config = format!(
                r#"{{"proxies": {{"{engine}": {{"httpProxy": "http://p.example", "httpsProxy": "http://s.example", "noProxy": "localhost", "allProxy": "http://a.example"}}}}}}"#
            );
            TestProject::new()
                .file("docker-bake.hcl", definition)
                .docker_config(&config)
        };
        let seen = Baker::ALL.map(|baker| {
            let project = project();
            passes(&bakers.bake(baker, &project, &["--allow", "fs.write=out"]));
            made(&project)
        });
        assert_eq!(seen[0], seen[1], "{engine} {own}");
        assert!(
            seen[0]["proxies"].contains("http://s.example") || own.starts_with("https"),
            "{seen:?}"
        );
    }
}

#[test]
#[ignore = "needs live peers"]
fn names_of_images_in_the_metadata_are_those_of_buildx() {
    let bakers = Bakers::on_the_shared_daemon();
    let registry = peers::peer("RBAKE_TEST_REGISTRY_ADDR");
    let names = Baker::ALL.map(|baker| {
        let definition = format!(
            "target \"default\" {{\n  dockerfile-inline = \"FROM scratch\\nLABEL a=b\\n\"\n  tags = [\"ex.com/a:1\", \"ex.com/b\", \"{registry}/c\", \"d\"]\n  output = [\"type=image\"]\n}}\n"
        );
        let project = TestProject::new().file("docker-bake.hcl", definition);
        passes(&bakers.bake(baker, &project, &["--metadata-file", "m.json"]));
        let metadata = std::fs::read(project.path().join("m.json")).unwrap();
        let metadata: serde_json::Value = serde_json::from_slice(&metadata).unwrap();
        metadata["default"]["image.name"].clone()
    });
    assert_eq!(names[0], names[1]);
    let first = names[0].as_str().unwrap();
    assert!(first.starts_with("ex.com/a:1,ex.com/b"), "{first}");
}

#[test]
#[ignore = "needs live peers"]
fn unknown_attestations_privileges_and_platforms_are_refused_by_both() {
    let bakers = Bakers::on_the_shared_daemon();
    for (attribute, said) in [
        ("attest = [\"type=foo\"]", "foo"),
        ("entitlements = [\"foo.bar\"]", "foo.bar"),
        ("platforms = [\"foo/bar/baz/qux\"]", "foo/bar/baz/qux"),
    ] {
        let definition = format!(
            "target \"default\" {{\n  dockerfile-inline = \"FROM scratch\\nLABEL a=b\\n\"\n  output = [\"type=image\"]\n  {attribute}\n}}\n"
        );
        for baker in Baker::ALL {
            let project = TestProject::new().file("docker-bake.hcl", &definition);
            let output = bakers.bake(baker, &project, &[]);
            assert_ne!(output.code, Some(0), "{baker:?} {attribute}: {output}");
            assert!(
                output.stderr.contains(said),
                "{baker:?} {attribute}: {output}"
            );
        }
    }
}
