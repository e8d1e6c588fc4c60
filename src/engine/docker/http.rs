//! HTTP/1.1 requests to a Docker Engine, and the upgrade of a request to a byte stream.
//!
//! Each request has a new connection: on a Unix socket that costs almost nothing, and a long upload does not delay
//! other requests. With ssh, each request starts the program, as with docker; `ControlMaster` lets it share connections. This module knows nothing of the API's resources.

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
use crate::engine::transport::{DialError, Remarks, dial_docker};

/// The most that is read of an error's explanation, in bytes.
const MESSAGE_LIMIT: usize = 16 << 10;

/// Sends one request over a new connection, which lives until the answer is read or dropped.
pub(super) async fn send<B>(
    host: &DockerHost,
    mut request: Request<B>,
) -> Result<Response<Incoming>, DockerError>
where
    B: Body + Send + 'static,
    B::Data: Send,
    B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
{
    let dialled = dial_docker(host).await?;
    let remarks = dialled.remarks;
    let failed = |source| match remarks.as_ref().map(Remarks::text) {
        // What the program says is the cause, such as that the machine is not known.
        Some(reason) if !reason.is_empty() => DockerError::Dial(DialError::Docker {
            host: host.to_string(),
            reason: clean(&reason),
        }),
        _ => DockerError::Http {
            host: host.to_string(),
            source,
        },
    };
    let (mut sender, connection) = http1::handshake(TokioIo::new(dialled.stream))
        .await
        .map_err(failed)?;
    tokio::spawn(async move {
        // An error of the connection also fails the request, which reports it.
        let _ = connection.with_upgrades().await;
    });
    let path = request
        .uri()
        .path_and_query()
        .map_or("/", http::uri::PathAndQuery::as_str);
    // The request line has the path only. HTTP demands a `Host` header, but the Engine ignores its value.
    if let Ok(uri) = path.parse() {
        *request.uri_mut() = uri;
    }
    let name = HeaderValue::from_str(&dialled.authority)
        .unwrap_or_else(|_| HeaderValue::from_static("docker"));
    request.headers_mut().insert(HOST, name);
    sender.send_request(request).await.map_err(failed)
}

/// Sends a request that turns into a byte stream, and returns the stream.
///
/// Bytes that the Engine sends right behind its answer are part of the stream.
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

/// Reads the explanation of a refusal, and returns it as an error.
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

/// Extracts the message from an error's body. The Engine sends `{"message": "…"}`; another server may send anything.
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
            .unwrap_or("no reason given")
            .to_lowercase(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn error_messages_are_found_in_the_engines_answers() {
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
