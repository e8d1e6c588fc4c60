//! The messages if an unexpected server listens at the address of the builder.

use std::io::Write as _;
use std::net::TcpListener;
use std::process::Command;

use crate::support::buildkitd::Buildkitd;
use crate::support::files::certificates;
use crate::support::peers;
use crate::support::project::{CommandOutput, TestProject};

fn project() -> TestProject {
    TestProject::new()
        .file("docker-bake.hcl", "target \"default\" {}\n")
        .file("Dockerfile", "FROM scratch\nCOPY Dockerfile /\n")
}

fn fails(variables: &[(&str, &str)]) -> CommandOutput {
    let set = |project: TestProject, (name, value): &(&str, &str)| project.env(name, value);
    let output = variables.iter().fold(project(), set).rbake(&[]);
    assert_eq!(output.code, Some(4), "{output}");
    // Messages of libraries, which do not help a user.
    for word in [
        "InvalidContentType",
        "frame with invalid size",
        "InvalidCertificate",
    ] {
        assert!(!output.stderr.contains(word), "{output}");
    }
    output
}

#[track_caller]
fn says(output: &CommandOutput, words: &[&str]) {
    for word in words {
        assert!(
            output.stderr.contains(word),
            "`{word}` is missing: {output}"
        );
    }
}

fn free_port() -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    listener.local_addr().unwrap().port()
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs live peers"]
async fn a_mismatch_of_tls_and_plain_text_is_reported_with_the_setting_to_change() {
    let dir = tempfile::tempdir().unwrap();
    certificates(dir.path());
    let arg = |name: &str| dir.path().join(name).display().to_string();
    let (plain, tls) = (free_port(), free_port());
    let (plain, tls) = (
        format!("tcp://127.0.0.1:{plain}"),
        format!("tcp://127.0.0.1:{tls}"),
    );
    let _plain = Buildkitd::start(&["--addr", &plain]).await;
    let certificate = arg("builder.test.pem");
    let key = arg("builder.test.key");
    let ca = arg("ca.pem");
    let options = [
        "--addr",
        &tls,
        "--tlscacert",
        &ca,
        "--tlscert",
        &certificate,
        "--tlskey",
        &key,
    ];
    let _tls = Buildkitd::start(&options).await;

    let output = fails(&[("BUILDKIT_HOST", &tls)]);
    says(
        &output,
        &[
            &tls,
            "speaks TLS, but rbake connected without it",
            "BUILDKIT_TLS_DIR",
        ],
    );
    assert!(!output.stderr.contains("docker buildx create"), "{output}");
    let output = fails(&[("BUILDKIT_HOST", &plain), ("BUILDKIT_TLS_CACERT", &ca)]);
    says(
        &output,
        &[
            &plain,
            "does not speak TLS",
            "unset the variables `BUILDKIT_TLS_…`",
        ],
    );
    let output = fails(&[("DOCKER_HOST", &plain)]);
    says(
        &output,
        &["not a Docker Engine", &format!("`BUILDKIT_HOST={plain}`")],
    );
    let output = fails(&[("DOCKER_HOST", &tls)]);
    says(
        &output,
        &[
            "speaks TLS, but rbake connected without it",
            "DOCKER_TLS_VERIFY=1",
        ],
    );
    // The right CA, but a name that is not in the certificate.
    let output = fails(&[("BUILDKIT_HOST", &tls), ("BUILDKIT_TLS_CACERT", &ca)]);
    says(
        &output,
        &["its certificate is not for `127.0.0.1`, but for `builder.test`"],
    );
    let stranger = arg("stranger.pem");
    let name = ("BUILDKIT_TLS_SERVERNAME", "builder.test");
    let output = fails(&[
        ("BUILDKIT_HOST", &tls),
        ("BUILDKIT_TLS_CACERT", &stranger),
        name,
    ]);
    says(&output, &["its certificate was not issued by a trusted CA"]);
    let output = fails(&[("BUILDKIT_HOST", &tls), ("BUILDKIT_TLS_CACERT", &ca), name]);
    says(&output, &["client certificate"]);
}

#[test]
#[ignore = "needs live peers"]
fn a_docker_engine_in_place_of_buildkit_and_the_reverse_are_reported() {
    let docker = peers::peer("RBAKE_TEST_DOCKER_HOST");
    let buildkit = peers::peer("RBAKE_TEST_BUILDKIT_ADDR");
    let output = fails(&[("DOCKER_HOST", &buildkit)]);
    says(
        &output,
        &[
            "not a Docker Engine",
            &format!("`BUILDKIT_HOST={buildkit}`"),
        ],
    );
    // Since version 29, a Docker Engine also serves BuildKit's API on its own socket, and stores results in its own
    // way.
    let name = format!("rbake-answers{}", std::process::id());
    let definition =
        format!("target \"default\" {{\ntags = [\"{name}\"]\noutput = [\"type=image\"]\n}}\n");
    let program = peers::program("RBAKE_TEST_DOCKER_CLI");
    let classic = peers::peer("RBAKE_TEST_DOCKER_CLASSIC_HOST");
    for engine in [docker, classic] {
        let output = project()
            .file("docker-bake.hcl", &definition)
            .env("BUILDKIT_HOST", &engine)
            .rbake(&[]);
        assert_eq!(output.code, Some(0), "{output}");
        says(
            &output,
            &[
                "`BUILDKIT_HOST` leads to a Docker Engine",
                &format!("`DOCKER_HOST={engine}`"),
            ],
        );
        let removed = Command::new(&program)
            .args(["-H", &engine, "rmi", &name])
            .output()
            .unwrap();
        assert!(removed.status.success(), "{removed:?}");
    }
}

#[test]
#[ignore = "needs live peers"]
fn certificates_that_are_set_but_not_used_are_reported() {
    let docker = peers::peer("RBAKE_TEST_DOCKER_HOST");
    let buildkit = peers::peer("RBAKE_TEST_BUILDKIT_ADDR");
    let project = project()
        .env("BUILDKIT_HOST", buildkit)
        .env("BUILDKIT_TLS_DIR", "/nonexistent");
    for line in [&[][..], &["+builder", "status"]] {
        let output = project.rbake(line);
        assert_eq!(output.code, Some(0), "{output}");
        says(
            &output,
            &["`BUILDKIT_TLS_DIR` is set", "unset `BUILDKIT_TLS_DIR`"],
        );
    }
    let status = project
        .env("BUILDKIT_HOST", &docker)
        .rbake(&["+builder", "status"]);
    says(&status, &["`BUILDKIT_HOST` leads to a Docker Engine"]);
    assert!(status.stdout.contains("driver   docker"), "{status}");
}

#[test]
#[ignore = "needs live peers"]
fn a_registry_at_the_builders_address_is_an_error() {
    let registry = peers::peer("RBAKE_TEST_REGISTRY_ADDR");
    let address = format!("tcp://{registry}");
    for variables in [
        &[("BUILDKIT_HOST", address.as_str())][..],
        &[
            ("BUILDKIT_HOST", &address),
            ("BUILDKIT_TLS_SERVERNAME", "x"),
        ],
        &[("DOCKER_HOST", &address)],
    ] {
        says(&fails(variables), &["an image registry answers", "`tags`"]);
    }
}

#[test]
fn an_ssh_server_at_the_builders_address_is_an_error() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = format!("tcp://{}", listener.local_addr().unwrap());
    std::thread::spawn(move || {
        for mut stream in listener.incoming().flatten() {
            let _ = stream.write_all(b"SSH-2.0-OpenSSH_9.2p1\r\n");
            let _ = std::io::copy(&mut stream, &mut std::io::sink());
        }
    });
    for variables in [
        &[("BUILDKIT_HOST", address.as_str())][..],
        &[
            ("BUILDKIT_HOST", &address),
            ("BUILDKIT_TLS_SERVERNAME", "x"),
        ],
        &[("DOCKER_HOST", &address)],
    ] {
        let help = format!("`{}=ssh://127.0.0.1`", variables[0].0);
        says(&fails(variables), &["an SSH server answers", &help]);
    }
}

#[test]
fn a_socket_that_the_user_may_not_use_is_reported() {
    let dir = tempfile::tempdir().unwrap();
    let socket = dir.path().join("s");
    let _listener = std::os::unix::net::UnixListener::bind(&socket).unwrap();
    let forbid = Command::new("chmod")
        .args(["700", dir.path().to_str().unwrap()])
        .status();
    assert!(forbid.unwrap().success());
    let copy = tempfile::tempdir().unwrap();
    let program = copy.path().join("rbake");
    std::fs::copy(env!("CARGO_BIN_EXE_rbake"), &program).unwrap();
    let readable = Command::new("chmod")
        .args(["755", copy.path().to_str().unwrap()])
        .status();
    assert!(readable.unwrap().success());
    let output = Command::new("setpriv")
        .args(["--reuid=65534", "--regid=65534", "--clear-groups", "--"])
        .arg(&program)
        .args(["+builder", "status"])
        .current_dir("/")
        .env_clear()
        .env("HOME", "/nonexistent")
        .env("BUILDKIT_HOST", format!("unix://{}", socket.display()))
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    // A user who may not change users is not root, and may use its own socket.
    if !said.contains("setpriv") {
        assert!(said.contains("your user has no access"), "{said}");
    }
}
