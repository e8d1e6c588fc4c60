//! Connects to the BuildKit inside a Docker Engine: the Engine upgrades a request to a stream on which it speaks
//! HTTP/2.
//!
//! dockerd has a special route for this (`POST /grpc`, moby `api/server/router/grpc`). Sessions use the same stream.

use hyper_util::rt::TokioIo;

use super::{DialError, Dialled};
use crate::engine::docker::{DockerError, http};
use crate::engine::endpoint::DockerHost;
use crate::types::causes::with_causes;

pub(super) async fn dial(host: &DockerHost) -> Result<Dialled, DialError> {
    let upgraded = http::upgrade(host, "/grpc", "h2c", bytes::Bytes::new())
        .await
        .map_err(|error| dial_error(host, error))?;
    Ok(Dialled {
        stream: Box::new(TokioIo::new(upgraded)),
        authority: "docker".to_owned(),
        remarks: None,
    })
}

/// Converts an error of the Docker client to one of dialling.
pub(super) fn dial_error(host: &DockerHost, error: DockerError) -> DialError {
    match error {
        DockerError::Dial(error) => error,
        other => DialError::Docker {
            host: host.to_string(),
            reason: explain(&other),
        },
    }
}

fn explain(error: &DockerError) -> String {
    let text = match error {
        // The message of the outer error has the host already.
        DockerError::Refused { message, .. } => message.clone(),
        other => other.to_string(),
    };
    with_causes(text, error)
}
