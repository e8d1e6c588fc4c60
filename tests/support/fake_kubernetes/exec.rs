//! Runs `buildctl dial-stdio` in a pod: the program connects to the pod's daemon.

use std::path::Path;
use std::process::Stdio;
use std::sync::{Arc, Mutex};

use base64::Engine as _;
use futures_util::{SinkExt as _, StreamExt as _};
use http_body_util::Full;
use hyper::Response;
use hyper::upgrade::OnUpgrade;
use hyper_util::rt::TokioIo;
use serde_json::json;
use sha1::{Digest as _, Sha1};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::protocol::Role;
use tokio_util::sync::CancellationToken;

use super::{Answer, Cluster, not_found, status};

/// The parts of a request.
pub(super) struct Asked<'a> {
    pub(super) namespace: &'a str,
    pub(super) pod: &'a str,
    pub(super) container: &'a str,
    pub(super) command: &'a [&'a str],
    pub(super) key: &'a str,
    pub(super) protocols: &'a str,
}

/// Answers the request, and serves the stream once the connection is upgraded.
pub(super) fn start(
    cluster: &Arc<Mutex<Cluster>>,
    asked: &Asked<'_>,
    buildctl: &Path,
    upgrade: OnUpgrade,
) -> Answer {
    let mut state = cluster.lock().unwrap();
    let Some(number) = state.objects.pod_number(asked.namespace, asked.pod) else {
        return not_found("pods", asked.pod);
    };
    if state.unreachable > 0 {
        state.unreachable -= 1;
        let message = "error dialing backend: remote error: tls: internal error";
        return status(500, "InternalError", message);
    }
    // Without a name, the first container.
    if !["", "buildkitd"].contains(&asked.container) {
        let message = format!(
            "container {} is not valid for pod {}",
            asked.container, asked.pod
        );
        return status(400, "BadRequest", &message);
    }
    let protocol = if state.is_old {
        "v4.channel.k8s.io"
    } else {
        "v5.channel.k8s.io"
    };
    if !asked.protocols.split(", ").any(|known| known == protocol) {
        return status(403, "Forbidden", "unable to upgrade: no protocol in common");
    }
    let daemon = state.daemons[number % state.daemons.len()].clone();
    let ended = state.objects.begin(asked.pod);
    let mut program = tokio::process::Command::new(buildctl);
    program.args(["--addr", &daemon, "dial-stdio"]);
    let is_known = *asked.command == ["buildctl", "dial-stdio"];
    tokio::spawn(async move {
        let Ok(upgraded) = upgrade.await else { return };
        let stream = WebSocketStream::from_raw_socket(TokioIo::new(upgraded), Role::Server, None);
        let stream = stream.await;
        if is_known {
            bridge(stream, program, &ended).await;
        } else {
            end(stream, "executable file not found in $PATH").await;
        }
        ended.cancel();
    });
    // RFC 6455, section 4.2.2.
    let accept = Sha1::digest(format!("{}258EAFA5-E914-47DA-95CA-C5AB0DC85B11", asked.key));
    let mut answer = Response::new(Full::default());
    *answer.status_mut() = hyper::StatusCode::SWITCHING_PROTOCOLS;
    let headers = [
        ("connection", "Upgrade".to_owned()),
        ("upgrade", "websocket".to_owned()),
        (
            "sec-websocket-accept",
            base64::prelude::BASE64_STANDARD.encode(accept),
        ),
        ("sec-websocket-protocol", protocol.to_owned()),
    ];
    for (name, value) in headers {
        answer.headers_mut().insert(name, value.parse().unwrap());
    }
    answer
}

type Stream = WebSocketStream<TokioIo<hyper::upgrade::Upgraded>>;

fn message(channel: u8, bytes: &[u8]) -> Message {
    Message::Binary([&[channel], bytes].concat().into())
}

fn failure(text: &str) -> Message {
    let status = json!({"kind": "Status", "apiVersion": "v1", "status": "Failure", "reason": "NonZeroExitCode", "message": text});
    message(3, status.to_string().as_bytes())
}

async fn end(mut stream: Stream, text: &str) {
    let _ = stream.send(failure(text)).await;
    let _ = stream.close(None).await;
}

async fn bridge(stream: Stream, mut program: tokio::process::Command, ended: &CancellationToken) {
    let started = program
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .kill_on_drop(true)
        .spawn();
    let mut child = started.unwrap();
    let mut input = child.stdin.take();
    let mut output = child.stdout.take().unwrap();
    let mut errors = child.stderr.take().unwrap();
    let (mut send, mut receive) = stream.split();
    let forward = async {
        while let Some(Ok(received)) = receive.next().await {
            let bytes = received.into_data();
            match bytes.first() {
                Some(0) => {
                    if let Some(input) = &mut input
                        && input.write_all(&bytes[1..]).await.is_err()
                    {
                        break;
                    }
                }
                Some(255) => drop(input.take()),
                _ => {}
            }
        }
        // The client has gone.
        drop(input.take());
    };
    let back = async {
        let (mut piece, mut remark) = (vec![0; 32 << 10], vec![0; 4096]);
        loop {
            tokio::select! {
                read = output.read(&mut piece) => match read {
                    Ok(length @ 1..) => {
                        if send.send(message(1, &piece[..length])).await.is_err() {
                            return;
                        }
                    }
                    _ => break,
                },
                Ok(length @ 1..) = errors.read(&mut remark) => {
                    let _ = send.send(message(2, &remark[..length])).await;
                }
                () = ended.cancelled() => {
                    let _ = send.send(failure("command terminated with exit code 137")).await;
                    let _ = send.close().await;
                    return;
                }
            }
        }
        let last = match child.wait().await {
            Ok(status) if status.success() => message(3, br#"{"status":"Success"}"#),
            Ok(status) => failure(&format!(
                "command terminated with exit code {}",
                status.code().unwrap_or(1)
            )),
            Err(error) => failure(&error.to_string()),
        };
        let _ = send.send(last).await;
        let _ = send.close().await;
    };
    tokio::join!(forward, back);
}
