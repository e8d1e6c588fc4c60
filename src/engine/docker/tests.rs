//! Tests against a scripted Engine: it sends one answer per request and then closes the connection.

use std::path::PathBuf;

use futures_util::stream;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::UnixListener;

use super::*;
use crate::engine::transport;
use crate::engine::{Connection, Endpoint};

struct Script {
    _dir: tempfile::TempDir,
    host: DockerHost,
    asked: tokio::task::JoinHandle<Vec<String>>,
}

// Answers each request with the first entry of `answers` whose path is a prefix of the request's, until `count`
// requests were answered.
fn script(answers: &'static [(&'static str, &'static str)], count: usize) -> Script {
    let dir = tempfile::tempdir().unwrap();
    let path: PathBuf = dir.path().join("docker.sock");
    let listener = UnixListener::bind(&path).unwrap();
    let asked = tokio::spawn(async move {
        let mut asked = Vec::new();
        for _ in 0..count {
            let (mut stream, _) = listener.accept().await.unwrap();
            let mut request = Vec::new();
            let mut byte = [0];
            while !request.ends_with(b"\r\n\r\n") {
                stream.read_exact(&mut byte).await.unwrap();
                request.push(byte[0]);
            }
            let request = String::from_utf8(request).unwrap();
            let line = request.lines().next().unwrap().to_owned();
            let answer = answers.iter().find(|(path, _)| line.contains(path));
            if line.contains("/images/load") {
                let mut rest = vec![0; 4096];
                while !rest.ends_with(b"0\r\n\r\n") {
                    let mut more = [0; 1024];
                    let read = stream.read(&mut more).await.unwrap();
                    rest.extend(&more[..read]);
                }
            }
            let answer = answer.map_or(
                "HTTP/1.1 404 Not Found\r\ncontent-length: 0\r\n\r\n",
                |(_, a)| a,
            );
            stream.write_all(answer.as_bytes()).await.unwrap();
            asked.push(line);
        }
        asked
    });
    Script {
        _dir: dir,
        host: DockerHost::Unix(path),
        asked,
    }
}

const PING: (&str, &str) = (
    "/_ping",
    "HTTP/1.1 200 OK\r\napi-version: 1.47\r\ncontent-length: 2\r\n\r\nOK",
);

#[tokio::test]
async fn the_api_version_is_negotiated_and_facts_are_read() {
    let body = r#"{"ServerVersion":"28.5.2","OSType":"linux","DriverStatus":[["driver-type","io.containerd.snapshotter.v1"]]}"#;
    let info: &'static str = Box::leak(
        format!(
            "HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: {}\r\n\r\n{body}",
            body.len()
        )
        .into_boxed_str(),
    );
    let script = script(Box::leak(Box::new([PING, ("/info", info)])), 2);
    let docker = Docker::connect(&script.host).await.unwrap();
    let facts = docker.facts().await.unwrap();
    assert_eq!(facts.version, "28.5.2");
    assert!(facts.containerd_store);
    assert_eq!(
        script.asked.await.unwrap(),
        ["GET /_ping HTTP/1.1", "GET /v1.47/info HTTP/1.1"]
    );
}

#[tokio::test]
async fn other_servers_and_old_engines_are_refused() {
    let other = script(
        &[("/_ping", "HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n")],
        1,
    );
    let error = Docker::connect(&other.host).await.unwrap_err();
    assert!(matches!(error, DockerError::NotDocker(_)), "{error}");
    let old = script(
        &[(
            "/_ping",
            "HTTP/1.1 200 OK\r\napi-version: 1.24\r\ncontent-length: 0\r\n\r\n",
        )],
        1,
    );
    let error = Docker::connect(&old.host).await.unwrap_err().to_string();
    assert!(
        error.ends_with("is too old (its API is 1.24, rbake needs 1.41)"),
        "{error}"
    );
    let error = Docker::connect(&DockerHost::Unix("/nonexistent/d.sock".into())).await;
    assert_eq!(
        error.unwrap_err().to_string(),
        "cannot connect to `unix:///nonexistent/d.sock`"
    );
}

#[tokio::test]
async fn an_error_message_within_the_answer_fails_the_load() {
    let script = script(
        &[
            PING,
            (
                "/images/load",
                "HTTP/1.1 200 OK\r\ncontent-type: application/json\r\nconnection: close\r\n\r\n{\"stream\":\"Loaded image: a:1\\n\"}\n{\"errorDetail\":{\"message\":\"no space left on device\"},\"error\":\"no space left on device\"}\n",
            ),
        ],
        2,
    );
    let docker = Docker::connect(&script.host).await.unwrap();
    let tar = stream::iter([Ok::<_, std::io::Error>(Bytes::from_static(b"tar"))]);
    let mut said = Vec::new();
    let error = docker
        .load(tar, |text| said.push(text.to_owned()))
        .await
        .unwrap_err();
    assert!(
        error
            .to_string()
            .ends_with("did not load the image: no space left on device"),
        "{error}"
    );
    assert_eq!(said, ["Loaded image: a:1"]);
}

#[tokio::test]
async fn the_names_of_loaded_images_are_returned() {
    let script = script(
        &[
            PING,
            (
                "/images/load",
                "HTTP/1.1 200 OK\r\nconnection: close\r\n\r\n{\"stream\":\"Loaded image: a:1\\n\"}\n{\"stream\":\"Loaded image ID: sha256:00\\n\"}\n",
            ),
        ],
        2,
    );
    let docker = Docker::connect(&script.host).await.unwrap();
    let tar = stream::iter([Ok::<_, std::io::Error>(Bytes::from_static(b"tar"))]);
    let loaded = docker.load(tar, |_| ()).await.unwrap();
    assert_eq!(loaded.images, ["a:1", "sha256:00"]);
}

#[tokio::test]
async fn a_missing_container_is_reported_as_absent() {
    let script = script(
        &[
            PING,
            (
                "/containers/x/json",
                "HTTP/1.1 404 Not Found\r\ncontent-length: 34\r\n\r\n{\"message\":\"No such container: x\"}\n",
            ),
        ],
        2,
    );
    let docker = Docker::connect(&script.host).await.unwrap();
    assert_eq!(docker.container("x").await.unwrap(), ContainerState::Absent);
    let error = docker.container("../info").await.unwrap_err();
    assert!(matches!(error, DockerError::Path(_)));
}

#[tokio::test]
async fn bytes_after_the_upgrade_belong_to_the_stream() {
    let script = script(
        &[(
            "/grpc",
            "HTTP/1.1 101 UPGRADED\r\nConnection: Upgrade\r\nUpgrade: h2c\r\n\r\nSETTINGS",
        )],
        1,
    );
    let mut dialled = transport::dial(&Endpoint::Docker(script.host.clone()))
        .await
        .unwrap();
    let mut first = [0; 8];
    dialled.stream.read_exact(&mut first).await.unwrap();
    assert_eq!(&first, b"SETTINGS");
}

#[tokio::test]
async fn the_error_for_an_engine_without_buildkit_quotes_its_answer() {
    let script = script(
        &[(
            "/grpc",
            "HTTP/1.1 404 Not Found\r\ncontent-length: 14\r\n\r\npage not found",
        )],
        1,
    );
    let error = Connection::open(Endpoint::Docker(script.host.clone()))
        .await
        .unwrap_err();
    assert!(error.to_string().ends_with("page not found"), "{error}");
}

#[tokio::test]
async fn a_push_uses_the_negotiated_version_and_its_errors_have_no_control_characters() {
    let script = script(
        &[
            PING,
            (
                "/images/h.example/a/push?tag=1",
                "HTTP/1.1 200 OK\r\ncontent-type: application/json\r\nconnection: close\r\n\r\n{\"status\":\"x\"}\n{\"error\":\"\\u001b[2Jdenied\"}\n",
            ),
            (
                "/images/h.example/b/push",
                "HTTP/1.1 404 Not Found\r\ncontent-type: application/json\r\nconnection: close\r\n\r\n{\"message\":\"\\u001b[2Jno such image\"}",
            ),
        ],
        3,
    );
    let docker = Docker::connect(&script.host).await.unwrap();
    let credential = crate::credential::Credential::Anonymous;
    for (name, expected) in [
        ("h.example/a:1", "did not push `h.example/a:1`: [2Jdenied"),
        (
            "h.example/b",
            "did not push `h.example/b:latest`: [2Jno such image",
        ),
    ] {
        let error = docker.push(&name.parse().unwrap(), &credential).await;
        let error = error.unwrap_err().to_string();
        assert!(error.ends_with(expected), "{error:?}");
    }
    let asked = script.asked.await.unwrap();
    assert!(asked[1].starts_with("POST /v1."), "{asked:?}");
}

#[tokio::test]
async fn a_load_ends_with_an_error_if_the_engine_stops_answering() {
    let script = script(&[PING], 1);
    let docker = Docker::connect(&script.host).await.unwrap();
    script.asked.await.unwrap();
    tokio::time::pause();
    let error = docker.falls_silent().await;
    assert_eq!(
        error.to_string(),
        format!(
            "the Docker Engine at `{}` did not answer within 60 s",
            script.host
        )
    );
}
