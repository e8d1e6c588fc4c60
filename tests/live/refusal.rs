//! Registries that need a password, and the messages if the password is wrong or missing.

use std::io::{Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;

use crate::support::peers;
use crate::support::project::{CommandOutput, TestProject};

/// The distribution registry with two users, whose password is `hunter2`.
struct Registry {
    child: Child,
    address: String,
    _dir: tempfile::TempDir,
}

impl Registry {
    fn start() -> Self {
        let program = peers::program("RBAKE_TEST_REGISTRY3");
        let dir = tempfile::tempdir().unwrap();
        let hash = bcrypt::hash("hunter2", 4).unwrap();
        std::fs::write(dir.path().join("users"), format!("a:{hash}\nb:{hash}\n")).unwrap();
        let port = TcpListener::bind("127.0.0.1:0")
            .unwrap()
            .local_addr()
            .unwrap()
            .port();
        let address = format!("127.0.0.1:{port}");
        let folder = dir.path().display();
        let config = format!(
            "version: 0.1\nlog:\n  level: error\nstorage:\n  filesystem:\n    rootdirectory: {folder}/data\nhttp:\n  addr: {address}\nauth:\n  htpasswd:\n    realm: test\n    path: {folder}/users\n"
        );
        std::fs::write(dir.path().join("config.yml"), config).unwrap();
        let child = Command::new(program)
            .arg("serve")
            .arg(dir.path().join("config.yml"))
            .env("OTEL_TRACES_EXPORTER", "none")
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let registry = Self {
            child,
            address,
            _dir: dir,
        };
        let started = Instant::now();
        while !registry.answers() {
            assert!(
                started.elapsed() < Duration::from_secs(20),
                "the registry did not start"
            );
            std::thread::yield_now();
        }
        registry
    }

    fn answers(&self) -> bool {
        let Ok(mut stream) = TcpStream::connect(&self.address) else {
            return false;
        };
        let mut answer = String::new();
        let asked = stream.write_all(b"GET /v2/ HTTP/1.0\r\n\r\n");
        asked.is_ok() && stream.read_to_string(&mut answer).is_ok() && answer.contains(" 401 ")
    }
}

impl Drop for Registry {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

// Pushes to `repository`. `config` is Docker's configuration; `$H` in it means the registry.
fn push(registry: &Registry, repository: &str, config: &str) -> CommandOutput {
    let address = peers::peer("RBAKE_TEST_BUILDKIT_ADDR");
    let host = &registry.address;
    let definition = format!(
        "target \"default\" {{\n  dockerfile-inline = \"FROM scratch\\nCOPY docker-bake.hcl /\"\n  output = [\"type=image,name={host}/{repository},push=true\"]\n}}\n"
    );
    let project = TestProject::new()
        .file("docker-bake.hcl", definition)
        .docker_config(&config.replace("$H", host))
        .env("BUILDKIT_HOST", address);
    let output = project.rbake(&[]);
    for secret in ["hunter2", "hunter3"] {
        let encoded = BASE64_STANDARD.encode(format!("a:{secret}"));
        for text in [secret, encoded.trim_end_matches('=')] {
            assert!(!output.to_string().contains(text), "`{text}`: {output}");
        }
    }
    output
}

fn auth(user: &str, password: &str) -> String {
    BASE64_STANDARD.encode(format!("{user}:{password}"))
}

fn contains(output: &CommandOutput, expected: &[String]) {
    for expected in expected {
        assert!(
            output.stderr.contains(expected),
            "no `{expected}`: {output}"
        );
    }
}

#[test]
#[ignore = "needs live peers"]
fn the_error_about_a_refused_password_names_its_entry_and_the_remedy() {
    let registry = Registry::start();
    let host = &registry.address;
    let config = format!(
        r#"{{"auths":{{"http://$H/v1/":{{"auth":"{}"}}}}}}"#,
        auth("a", "hunter3")
    );
    let output = push(&registry, "x", &config);
    assert_eq!(output.code, Some(1), "{output}");
    contains(
        &output,
        &[
            format!("`{host}`: rbake used the credential in the entry `http://{host}/v1/` of `"),
            "config.json`".to_owned(),
            format!("`docker login {host}` stores another credential"),
        ],
    );
}

#[test]
#[ignore = "needs live peers"]
fn a_broken_configuration_is_a_warning_and_the_reason_for_a_refused_push() {
    let registry = Registry::start();
    let host = &registry.address;
    let password = auth("a", "hunter2");
    for (config, warning, reason) in [
        (
            format!("\u{feff}{{\"auths\":{{\"$H\":{{\"auth\":\"{password}\"}}}}}}"),
            "it begins with a byte order mark",
            "rbake sent no credential: `",
        ),
        (
            format!(r#"{{"auths":{{"$H":"{password}"}}}}"#),
            "is a string, not an object",
            "rbake sent no credential: the entry `",
        ),
        (
            format!(
                r#"{{"auths":{{"$H":{{"auth":"{}hunter3"}}}}}}"#,
                &password[..4]
            ),
            "is not `user:password` in base64",
            "rbake sent no credential: the entry `",
        ),
    ] {
        let output = push(&registry, "x", &config);
        assert_eq!(output.code, Some(1), "{output}");
        contains(
            &output,
            &[
                "warning[cli::docker-config]: ".to_owned(),
                warning.to_owned(),
                format!("`{host}`: {reason}"),
                format!("`docker login {host}` stores another credential"),
            ],
        );
    }
}

#[test]
#[ignore = "needs live peers"]
fn the_error_names_the_entry_for_the_targets_own_image() {
    let registry = Registry::start();
    let (right, wrong) = (auth("b", "hunter2"), auth("a", "hunter3"));
    for (first, second, code) in [(&wrong, &right, 0), (&right, &wrong, 1)] {
        let config = format!(
            r#"{{"auths":{{"$H":{{}},"$H/proj-a":{{"auth":"{first}"}},"$H/proj-b":{{"auth":"{second}"}}}}}}"#
        );
        let output = push(&registry, "proj-b/x", &config);
        assert_eq!(output.code, Some(code), "{output}");
        if code != 0 {
            let entry = format!("the entry `{}/proj-b` of", registry.address);
            contains(&output, &[entry]);
        }
    }
}

#[test]
#[ignore = "needs live peers"]
fn the_entry_for_the_base_image_is_used_if_none_fits_the_targets_own_image() {
    let registry = Registry::start();
    let good = auth("a", "hunter2");
    let made = push(
        &registry,
        "team/base:1",
        &format!(r#"{{"auths":{{"$H":{{"auth":"{good}"}}}}}}"#),
    );
    assert_eq!(made.code, Some(0), "{made}");
    let (host, bad) = (&registry.address, auth("a", "hunter3"));
    // In alphabetical order, the entry with the wrong password is first.
    let config = format!(
        r#"{{"auths":{{"{host}/another":{{"auth":"{bad}"}},"{host}/team":{{"auth":"{good}"}}}}}}"#
    );
    let address = peers::peer("RBAKE_TEST_BUILDKIT_ADDR");
    let bake = |base: &str, project: &str| {
        TestProject::new()
            .file(
                "docker-bake.hcl",
                "target \"default\" {\n  args = { TEAM = \"team\" }\n}\n",
            )
            .file(
                "Dockerfile",
                format!(
                    "ARG TEAM=none\nFROM {host}/{base} AS base\nFROM scratch\nCOPY --from=base /docker-bake.hcl /{project}\n"
                ),
            )
            .docker_config(&config)
            .env("BUILDKIT_HOST", &address)
            .rbake(&[])
    };
    let output = bake("$TEAM/base:1", "built");
    assert_eq!(output.code, Some(0), "{output}");
    // If no entry matches, the message says so.
    let output = bake("nowhere/base:1", "refused");
    assert_eq!(output.code, Some(1), "{output}");
    contains(
        &output,
        &[
            format!("rbake used the credential in the entry `{host}/another` of"),
            "but no entry there matches the repository".to_owned(),
            format!("`docker login {host}` stores another credential"),
        ],
    );
}
