//! The user names a builder that cannot be used: rbake never skips it silently, and never falls back to plain text if the user
//! asked for TLS.

use std::net::TcpListener;

use rbake::types::Digest;

use crate::support::project::{CommandOutput, TestProject};

fn project() -> TestProject {
    TestProject::new()
        .file("docker-bake.hcl", "target \"default\" {}\n")
        .file("Dockerfile", "FROM scratch\nCOPY Dockerfile /\n")
}

fn run(project: TestProject, variables: &[(&str, &str)]) -> CommandOutput {
    let set = |project: TestProject, (name, value): &(&str, &str)| project.env(name, value);
    let output = variables.iter().fold(project, set).rbake(&[]);
    assert_eq!(output.code, Some(4), "{variables:?}: {output}");
    output
}

#[test]
fn a_builder_that_the_user_named_is_never_silently_skipped() {
    for (variables, expected) in [
        (&[("DOCKER_HOST", "tcp://127.0.0.1:1")][..], "`DOCKER_HOST`"),
        (
            &[("DOCKER_HOST", "unix:///nonexistent/d.sock")],
            "`DOCKER_HOST`",
        ),
        (&[("DOCKER_HOST", "127.0.0.1:1")], "tcp://127.0.0.1:1"),
        (&[("DOCKER_HOST", "ssh://me:password@far")], "`DOCKER_HOST`"),
        (&[("DOCKER_HOST", "npipe:////./pipe/docker")], "`npipe`"),
        (
            &[("DOCKER_CONTEXT", "typo")],
            "known Docker contexts: default",
        ),
        (&[("DOCKER_CONTEXT", " ")], "`DOCKER_CONTEXT`"),
        (&[("BUILDX_BUILDER", "typo")], "`BUILDX_BUILDER`"),
        (&[("BUILDX_BUILDER", " ")], "`BUILDX_BUILDER` is blank"),
        (
            &[("BUILDKIT_HOST", "docker-container://b?context=typo")],
            "`typo`",
        ),
        (&[("DOCKER_TLS_VERIFY", "1")], "`DOCKER_TLS_VERIFY`"),
        (&[("DOCKER_TLS", "1")], "`DOCKER_TLS`"),
    ] {
        let output = run(project(), variables);
        assert!(output.stderr.contains(expected), "{variables:?}: {output}");
    }
}

#[test]
fn a_current_docker_context_that_does_not_exist_is_an_error() {
    let project = project().file("config/config.json", r#"{"currentContext":"gone"}"#);
    let config = project.path().join("config").display().to_string();
    let output = run(project, &[("DOCKER_CONFIG", &config)]);
    assert!(output.stderr.contains("`gone`"), "{output}");
    assert!(output.stderr.contains("--builder embedded"), "{output}");
}

#[test]
fn rbake_never_falls_back_from_tls_to_plain_text() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    listener.set_nonblocking(true).unwrap();
    let address = format!("tcp://{}", listener.local_addr().unwrap());
    let id = Digest::sha256(b"far");
    let context = format!(r#"{{"Name":"far","Endpoints":{{"docker":{{"Host":"{address}"}}}}}}"#);
    let stored = format!(
        r#"{{"Name":"far","Driver":"remote","Nodes":[{{"Name":"far0","Endpoint":"{address}","DriverOpts":{{"cacert":"/nonexistent/ca.pem"}}}}]}}"#
    );
    let folders = || {
        let project = project()
            .file("empty/.keep", "")
            .file("dir/ca.pem/x", "")
            .file("hollow/ca.pem", "")
            .file("half/ca.pem", "")
            .file("half/cert.pem", "")
            .file("file", "")
            .file("store/buildx/instances/far", &stored)
            .file(
                &format!("context/contexts/meta/{}/meta.json", id.hex()),
                &context,
            )
            .file(
                &format!("context/contexts/tls/{}/docker/.keep", id.hex()),
                "",
            );
        std::os::unix::fs::symlink("/nonexistent", project.path().join("empty/link")).unwrap();
        project
    };
    let buildkit = ("BUILDKIT_HOST", address.as_str());
    let docker = ("DOCKER_HOST", address.as_str());
    let verify = ("DOCKER_TLS_VERIFY", "1");
    for variables in [
        &[buildkit, ("BUILDKIT_TLS_DIR", "/nonexistent")][..],
        &[buildkit, ("BUILDKIT_TLS_DIR", "empty")],
        &[buildkit, ("BUILDKIT_TLS_DIR", "file")],
        &[buildkit, ("BUILDKIT_TLS_DIR", "dir")],
        &[buildkit, ("BUILDKIT_TLS_DIR", "hollow")],
        &[buildkit, ("BUILDKIT_TLS_DIR", "half")],
        &[buildkit, ("BUILDKIT_TLS_CACERT", "/nonexistent")],
        &[buildkit, ("BUILDKIT_TLS_CACERT", "dir")],
        &[buildkit, ("BUILDKIT_TLS_CERT", "hollow/ca.pem")],
        &[buildkit, ("BUILDKIT_TLS_KEY", "/nonexistent")],
        &[docker, verify],
        &[docker, verify, ("DOCKER_CERT_PATH", "/nonexistent")],
        &[docker, verify, ("DOCKER_CERT_PATH", "empty")],
        &[docker, verify, ("DOCKER_CERT_PATH", "dir")],
        &[docker, verify, ("DOCKER_CERT_PATH", "hollow")],
        &[docker, verify, ("DOCKER_CERT_PATH", "half")],
        &[docker, ("DOCKER_TLS", "1")],
        &[("DOCKER_CONFIG", "context"), ("DOCKER_CONTEXT", "far")],
        &[("DOCKER_CONFIG", "store"), ("BUILDX_BUILDER", "far")],
    ] {
        let output = run(folders(), variables);
        assert!(output.stderr.contains("TLS"), "{variables:?}: {output}");
        let connected = listener.accept().map(|(_, peer)| peer);
        assert_eq!(
            connected.unwrap_err().kind(),
            std::io::ErrorKind::WouldBlock,
            "{variables:?}: {output}"
        );
    }
}
