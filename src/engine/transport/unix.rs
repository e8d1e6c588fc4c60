//! Unix sockets.

use std::path::Path;

use super::{BoxedStream, DialError, Dialled};
use crate::engine::endpoint::Endpoint;
use crate::types::descriptors;

pub(super) async fn dial(path: &Path, endpoint: &Endpoint) -> Result<Dialled, DialError> {
    Ok(Dialled {
        stream: connect(path, &endpoint.to_string()).await?,
        authority: "localhost".to_owned(),
        remarks: None,
    })
}

pub(super) async fn connect(path: &Path, name: &str) -> Result<BoxedStream, DialError> {
    let connect = || tokio::net::UnixStream::connect(path);
    match descriptors::patiently_async(connect).await {
        Ok(stream) => Ok(Box::new(stream)),
        Err(source) => Err(DialError::Connect {
            endpoint: name.to_owned(),
            source,
        }),
    }
}
