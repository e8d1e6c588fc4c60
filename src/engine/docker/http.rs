//! HTTP/1.1 requests to a Docker Engine, one connection each, and the upgrade of a request to a byte stream.
//!
//! A connection of one's own per request costs nothing on a Unix socket and keeps a long upload from being in the way of
//! anything else. Knows no REST resources.

use bytes::Bytes;
use http::header::{CONNECTION, HOST, HeaderValue, UPGRADE};
use http::{Request, Response, StatusCode};
use http_body_util::BodyExt as _;
use hyper::body::{Body, Incoming};
use hyper::client::conn::http1;
use hyper::upgrade::Upgraded;
use hyper_util::rt::TokioIo;

use super::DockerError;
use crate::engine::endpoint::DockerHost;
use crate::engine::failure::clean;
use crate::engine::transport::dial_docker;

/// The longest explanation of an error that is read, in bytes.
const MESSAGE_LIMIT: usize = 16 << 10;

/// Sends one request over a connection of its own; the connection lives until the answer is read or dropped.
pub(super) async fn send<B>(
    host: &DockerHost,
    mut request: Request<B>,
) -> Result<Response<Incoming>, DockerError>
where
    B: Body + Send + 'static,
    B::Data: Send,
    B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
{
    let stream = dial_docker(host).await?;
    let failed = |source| DockerError::Http {
        host: host.to_string(),
        source,
    };
    let (mut sender, connection) = http1::handshake(TokioIo::new(stream))
        .await
        .map_err(failed)?;
    tokio::spawn(async move {
        // What goes wrong here goes wrong for the request too, which tells.
        let _ = connection.with_upgrades().await;
    });
    let path = request
        .uri()
        .path_and_query()
        .map_or("/", http::uri::PathAndQuery::as_str);
    // On the wire stands the path alone, and a host that no Engine looks at but HTTP demands.
    if let Ok(uri) = path.parse() {
        *request.uri_mut() = uri;
    }
    let name = match host {
        DockerHost::Unix(_) => HeaderValue::from_static("docker"),
        DockerHost::Tcp { address, .. } => HeaderValue::from_str(&address.to_string())
            .unwrap_or_else(|_| HeaderValue::from_static("docker")),
    };
    request.headers_mut().insert(HOST, name);
    sender.send_request(request).await.map_err(failed)
}

/// Sends a request that turns into a byte stream, and returns the stream.
///
/// What the Engine sends right behind its answer is part of the stream.
pub(crate) async fn upgrade(
    host: &DockerHost,
    path: &str,
    protocol: &'static str,
    body: Bytes,
) -> Result<Upgraded, DockerError> {
    let request = Request::post(path)
        .header(CONNECTION, "Upgrade")
        .header(UPGRADE, protocol)
        .header(http::header::CONTENT_TYPE, "application/json")
        .body(http_body_util::Full::new(body))
        .map_err(|_| DockerError::Path(path.to_owned()))?;
    let response = send(host, request).await?;
    if response.status() != StatusCode::SWITCHING_PROTOCOLS {
        return Err(refusal(host, response).await);
    }
    hyper::upgrade::on(response)
        .await
        .map_err(|source| DockerError::Http {
            host: host.to_string(),
            source,
        })
}

/// The error that an answer stands for.
pub(super) async fn refusal(host: &DockerHost, response: Response<Incoming>) -> DockerError {
    let status = response.status();
    let body = http_body_util::Limited::new(response.into_body(), MESSAGE_LIMIT);
    let text = match body.collect().await {
        Ok(body) => String::from_utf8_lossy(&body.to_bytes()).into_owned(),
        Err(_) => String::new(),
    };
    DockerError::Refused {
        host: host.to_string(),
        status: status.as_u16(),
        message: clean(&message_of(&text, status)),
    }
}

// The Engine explains itself as `{"message": "…"}`; something else that listens there may not.
fn message_of(text: &str, status: StatusCode) -> String {
    #[derive(serde::Deserialize)]
    struct Explained {
        message: String,
    }
    if let Ok(explained) = serde_json::from_str::<Explained>(text) {
        return explained.message;
    }
    let line = text.lines().map(str::trim).find(|line| !line.is_empty());
    match line {
        Some(line) if !line.starts_with(['<', '{']) => line.chars().take(200).collect(),
        _ => status
            .canonical_reason()
            .unwrap_or("without explanation")
            .to_lowercase(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn explanations_are_found_in_what_the_engine_says() {
        let status = StatusCode::NOT_FOUND;
        assert_eq!(
            message_of(r#"{"message":"No such container: x"}"#, status),
            "No such container: x"
        );
        assert_eq!(message_of("page not found\n", status), "page not found");
        assert_eq!(message_of("<html>…", status), "not found");
        assert_eq!(message_of("", status), "not found");
    }
}
