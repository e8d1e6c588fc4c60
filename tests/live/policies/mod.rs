//! Policies in Rego, beside buildx on the same daemon.

mod runs;
mod signatures;

use std::io::{Read as _, Write as _};
use std::net::TcpListener;

use crate::support::bakers::{Baker, Bakers};
use crate::support::git_server::GitServer;
use crate::support::project::TestProject;

const ALLOW_BY_ARGUMENT: &str = "package docker\n\ndefault allow := false\n\nallow if input.env.args.DEFAULT_OK == \"1\"\n\ndecision := {\"allow\": allow}\n";
const ALLOW_BY_LABEL: &str = "package docker\n\ndefault allow := false\n\nallow if input.env.labels[\"com.example.extra\"] == \"1\"\n\ndecision := {\"allow\": allow}\n";
const DENY: &str =
    "package docker\n\ndecision := {\"allow\": false, \"deny_msg\": [\"not with us\"]}\n";

/// A target with a policy that decides about `base`, from which its Dockerfile begins.
fn target(name: &str, attributes: &str) -> String {
    format!("target \"{name}\" {{\n  output = [\"type=cacheonly\"]\n{attributes}\n}}\n")
}

/// Whether both programs build `arguments` of `project`, as `builds` says, and what rbake has said.
fn both(bakers: &Bakers, project: &TestProject, arguments: &[&str], builds: bool) -> String {
    let mut said = String::new();
    for baker in Baker::ALL {
        let output = bakers.bake(baker, project, arguments);
        let built = output.code == Some(0);
        assert_eq!(built, builds, "{baker:?} {arguments:?}: {output}");
        if baker == Baker::Rbake {
            said.clone_from(&output.stderr);
        }
    }
    said
}

#[test]
#[ignore = "needs live peers"]
fn policies_are_composed_as_with_buildx() {
    let bakers = Bakers::on_the_shared_daemon();
    let argument = "  args = { DEFAULT_OK = \"1\" }";
    let label = "  labels = { \"com.example.extra\" = \"1\" }";
    let extra = "  policy = [{ filename = \"extra.rego\" }]";
    let reset = "  policy = [{ filename = \"extra.rego\", reset = true }]";
    let definition = [
        target("pass-both", &[argument, label, extra].join("\n")),
        target("fail-default", &[label, extra].join("\n")),
        target("fail-extra", &[argument, extra].join("\n")),
        target("reset-pass", &[label, reset].join("\n")),
        target("reset-fail", reset),
        target("disabled", "  policy = [{ disabled = true }]"),
        target(
            "disabled-combined",
            "  policy = [{ filename = \"extra.rego\" }, { disabled = true }]",
        ),
        target("missing", "  policy = [\"filename=nope.rego\"]"),
        target("broken", "  policy = [\"filename=broken.rego\"]"),
        target(
            "strict",
            &[argument, "  policy = [\"strict=true\"]"].join("\n"),
        ),
    ];
    let project = TestProject::new()
        .file("docker-bake.hcl", definition.concat())
        .file("Dockerfile", "FROM scratch\n")
        .file("Dockerfile.rego", ALLOW_BY_ARGUMENT)
        .file("extra.rego", ALLOW_BY_LABEL)
        .file("broken.rego", "package docker\n\ndecision := \n");
    for (name, builds) in [
        ("pass-both", true),
        ("fail-default", false),
        ("fail-extra", false),
        ("reset-pass", true),
        ("reset-fail", false),
        ("disabled", true),
        ("disabled-combined", false),
        ("missing", false),
        ("broken", false),
        ("strict", true),
    ] {
        let said = both(&bakers, &project, &[name], builds);
        let expected = match name {
            "pass-both" | "reset-pass" | "disabled" | "strict" => continue,
            "disabled-combined" | "missing" | "broken" => "run::policy",
            _ => "not allowed by policy: action DENY",
        };
        assert!(said.contains(expected), "{name}: {said}");
    }
    let off = &["--policy", "disabled=true"];
    both(
        &bakers,
        &project,
        &[off, &["fail-extra"][..]].concat(),
        true,
    );
    both(
        &bakers,
        &project,
        &["--policy", "strict=true", "pass-both"],
        true,
    );
    for wrong in [
        "filename=extra.rego",
        "reset=true",
        "disabled=true,strict=true",
    ] {
        both(&bakers, &project, &["--policy", wrong, "pass-both"], false);
    }
}

/// Policies that decide about the base image of a Dockerfile, and whether they let it be used. None looks at attestations: BuildKit v0.32
/// crashes if it is asked for those of an image without an index, by buildx as well.
const ON_IMAGES: &[(&str, bool)] = &[
    ("input.image.repo == \"busybox\"", true),
    ("input.image.repo == \"alpine\"", false),
    ("input.image.tag == \"latest\"", true),
    ("input.image.tag == \"stable\"", false),
    ("input.image.host == \"docker.io\"", true),
    (
        "input.image.fullRepo == \"docker.io/library/busybox\"",
        true,
    ),
    ("input.image.isCanonical", false),
    ("startswith(input.image.checksum, \"sha256:\")", true),
    ("input.image.checksum == \"sha256:0\"", false),
    ("count(input.image.env) > 0", true),
    ("startswith(input.image.env[_], \"PATH=\")", true),
    ("input.image.env[_] == \"POLICY_ENV=no\"", false),
    ("input.image.labels[\"com.example\"] == \"x\"", false),
];

#[test]
#[ignore = "needs live peers"]
fn images_are_decided_about_as_with_buildx() {
    let bakers = Bakers::on_the_shared_daemon();
    for (rule, builds) in ON_IMAGES {
        let policy = format!(
            "package docker\n\ndefault allow := false\n\nallow if not input.image\n\nallow if {rule}\n\ndecision := {{\"allow\": allow, \"deny_msg\": [\"because\"]}}\n"
        );
        let project = TestProject::new()
            .file("docker-bake.hcl", target("a", ""))
            .file("Dockerfile", "FROM busybox:latest\nRUN true\n")
            .file("Dockerfile.rego", policy);
        let said = both(&bakers, &project, &["a"], *builds);
        if *builds {
            assert!(said.contains("loading policies"), "{rule}: {said}");
        } else {
            assert!(said.contains("policy: because"), "{rule}: {said}");
            assert!(said.contains(": DENY"), "{rule}: {said}");
        }
    }
}

#[test]
#[ignore = "needs live peers"]
fn an_image_that_a_policy_pins_is_used_in_all_solves() {
    let bakers = Bakers::on_the_shared_daemon();
    // The digest of another image: only the pin can make the build use it.
    let found = bakers.bake(
        Baker::Buildx,
        &TestProject::new()
            .file("docker-bake.hcl", "target \"a\" {\n  dockerfile-inline = \"FROM busybox:latest\"\n  output = [\"type=cacheonly\"]\n}\n"),
        &["a"],
    );
    assert_eq!(found.code, Some(0), "{found}");
    let digest = found.stderr.split("busybox:latest@").nth(1);
    let Some(digest) = digest.map(|text| text.split_whitespace().next().unwrap().to_owned()) else {
        panic!("no digest: {found}")
    };
    let policy = format!(
        "package docker\n\ndefault allow := false\n\nallow if not input.image\n\nallow if pin_image(input.image, \"{digest}\")\n\ndecision := {{\"allow\": allow}}\n"
    );
    for baker in Baker::ALL {
        let project = TestProject::new()
            .file("docker-bake.hcl", "target \"a\" {\n  output = [\"type=local,dest=out\"]\n  cache-to = [\"type=local,dest=cache\"]\n}\n")
            .file("Dockerfile", "FROM busybox:latest AS a\nRUN echo pinned >/made\nFROM scratch\nCOPY --from=a /made /\n")
            .file("Dockerfile.rego", &policy);
        let output = bakers.bake(baker, &project, &["--allow=fs=.", "a"]);
        assert_eq!(output.code, Some(0), "{baker:?}: {output}");
        assert!(
            output.stderr.contains(&format!(
                "convert to docker-image://docker.io/library/busybox:latest@{digest}"
            )),
            "{baker:?}: {output}"
        );
        let made = std::fs::read_to_string(project.path().join("out/made")).unwrap();
        assert_eq!(made, "pinned\n");
        assert!(project.path().join("cache/index.json").exists(), "{output}");
    }
}

/// A server that answers each request with `content`, on an address that the daemon reaches.
fn file_server(content: &str) -> String {
    let answer = format!(
        "HTTP/1.1 200 OK\r\nContent-Length: {}\r\nConnection: close\r\n\r\n{content}",
        content.len()
    );
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap().to_string();
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let Ok(mut stream) = stream else { return };
            let mut request = [0; 4096];
            let _ = stream.read(&mut request);
            let _ = stream.write_all(answer.as_bytes());
        }
    });
    address
}

#[test]
#[ignore = "needs live peers"]
fn downloads_are_decided_about_as_with_buildx() {
    let bakers = Bakers::on_the_shared_daemon();
    let host = file_server("policy-http");
    let checksum = "sha256:1e9c8c6b4b0a";
    let of = |rule: &str| {
        format!(
            "package docker\n\ndefault allow := false\n\nallow if not input.http\n\nallow if {rule}\n\ndecision := {{\"allow\": allow}}\n"
        )
    };
    let url = format!("http://{host}/file?policy=allow&case=http");
    for (rule, builds) in [
        (format!("input.http.url == \"{url}\""), true),
        ("input.http.schema == \"http\"".to_owned(), true),
        (format!("input.http.host == \"{host}\""), true),
        ("input.http.path == \"/file\"".to_owned(), true),
        (
            "input.http.query[\"policy\"][_] == \"allow\"".to_owned(),
            true,
        ),
        (
            "startswith(input.http.checksum, \"sha256:\")".to_owned(),
            true,
        ),
        (format!("input.http.checksum == \"{checksum}\""), false),
        ("input.http.host == \"example.invalid\"".to_owned(), false),
    ] {
        let project = TestProject::new()
            .file("docker-bake.hcl", target("a", ""))
            .file("Dockerfile", format!("FROM scratch\nADD {url} /file\n"))
            .file("Dockerfile.rego", of(&rule));
        both(&bakers, &project, &["a"], builds);
    }
}

#[test]
#[ignore = "needs live peers"]
fn policies_in_repositories_apply_as_with_buildx() {
    let bakers = Bakers::on_the_shared_daemon();
    let allow = "package docker\n\ndecision := {\"allow\": true}\n";
    let server = GitServer::serving(
        &[
            ("Dockerfile", "FROM scratch\n"),
            ("Dockerfile.rego", allow),
            ("denied.Dockerfile", "FROM busybox\nRUN echo own >/own\n"),
            ("denied.Dockerfile.rego", DENY),
            (
                "policy/import.rego",
                "package docker\n\nimport data.hack.allow as allowlib\n\ndefault allow := false\n\nallow if allowlib.required\n\ndecision := {\"allow\": allow}\n",
            ),
            (
                "hack/allow.rego",
                "package hack.allow\n\nrequired := true\n",
            ),
            (
                "policy/json.rego",
                "package docker\n\ndefault allow := false\n\nallow if load_json(\"policy/config.json\").allow\n\ndecision := {\"allow\": allow}\n",
            ),
            ("policy/config.json", "{\"allow\": true}"),
            (
                "policy/commit.rego",
                "package docker\n\ndefault allow := false\n\nallow if not input.git\n\nallow if {\n\tinput.git.commit.author.name != \"\"\n\tcontains(input.git.ref, \"refs/heads/\")\n}\n\ndecision := {\"allow\": allow}\n",
            ),
            ("remote-only.rego", DENY),
        ],
        None,
    );
    let url = server.url();
    let of = |name: &str, attributes: &str| {
        target(name, &format!("  context = \"{url}\"\n{attributes}"))
    };
    let definition = [
        of("beside", ""),
        of("denied", "  dockerfile = \"denied.Dockerfile\""),
        of("import", "  policy = [\"filename=policy/import.rego\"]"),
        of("json", "  policy = [\"filename=policy/json.rego\"]"),
        of("commit", "  policy = [\"filename=policy/commit.rego\"]"),
        of("cwd", "  policy = [\"filename=cwd://local.rego\"]"),
        of("cwd-denied", "  policy = [\"filename=cwd://denied.rego\"]"),
        of("missing", "  policy = [\"filename=nope.rego\"]"),
        of("remote-only", "  policy = [\"filename=remote-only.rego\"]"),
    ];
    let project = TestProject::new()
        .file("docker-bake.hcl", definition.concat())
        .file("local.rego", allow)
        .file("denied.rego", DENY)
        .file("remote-only.rego", allow);
    for (name, builds) in [
        ("beside", true),
        ("denied", false),
        ("import", true),
        ("json", true),
        ("commit", true),
        ("cwd", true),
        ("cwd-denied", false),
        ("missing", false),
        ("remote-only", false),
    ] {
        both(&bakers, &project, &[name], builds);
    }
    both(
        &bakers,
        &project,
        &["--policy", "disabled=true", "denied"],
        true,
    );
}

#[test]
#[ignore = "needs live peers"]
fn steps_reach_the_network_through_the_proxy_that_a_policy_wants() {
    let bakers = Bakers::on_the_shared_daemon();
    let host = file_server("policy-http");
    let policy = format!(
        "package docker\n\ndefault allow := true\n\ndefault deny_msg := []\n\ndefault caps := {{}}\n\ncaps := {{\"exec.proxy\": true}} if input.env.capsRequest\n\nallow := false if input.http.url == \"http://{host}/file\"\n\ndeny_msg := [\"not from there\"] if input.http.url == \"http://{host}/file\"\n\ndecision := {{\"allow\": allow, \"deny_msg\": deny_msg, \"caps\": caps}}\n"
    );
    let project = TestProject::new()
        .file("docker-bake.hcl", target("a", ""))
        .file(
            "Dockerfile",
            format!("FROM busybox:latest\nRUN wget -O- http://{host}/file\n"),
        )
        .file("Dockerfile.rego", policy);
    let said = both(&bakers, &project, &["a"], false);
    assert!(said.contains("policy enabled network proxy"), "{said}");
}
