//! Reads a file that the daemon downloads.
//!
//! The daemon downloads it, not rbake, as buildx lets it do for a Dockerfile (`build/url.go`): it has the network of the builds, and
//! asks the server only for what has changed.

use bytes::Bytes;

use super::connection::Connection;
use super::llb::{DOWNLOAD, LlbTree};
use super::tree_reader::{self, Job};
use crate::outcome::SolveFailure;

/// Why a file cannot be read.
#[derive(Debug, thiserror::Error)]
pub(crate) enum RemoteFileError {
    /// The daemon could not download it.
    #[error("{}", .0.message)]
    Failed(Box<SolveFailure>),
    /// It is larger.
    #[error("it has more than {limit} bytes")]
    TooLarge {
        /// The limit in bytes.
        limit: usize,
    },
}

impl From<SolveFailure> for RemoteFileError {
    fn from(failure: SolveFailure) -> Self {
        Self::Failed(Box::new(failure))
    }
}

/// The file at `url`, an address of HTTP or HTTPS. It may have `limit` bytes, which must fit into a message. The job gives the daemon
/// no credentials, and the history does not list it. Dropping the future ends it.
pub(crate) async fn file(
    connection: &Connection,
    url: &str,
    limit: usize,
) -> Result<Bytes, RemoteFileError> {
    tree_reader::run(connection, Job::default(), |reader| async move {
        let Some(mut files) = reader.open(&LlbTree::http(url)).await? else {
            return Ok(Bytes::new());
        };
        let entries = files.list("/").await;
        let entries = match entries {
            Ok(entries) => entries,
            Err(status) => return Err(reader.failure(&status).await.into()),
        };
        let entry = entries
            .iter()
            .find(|entry| entry.name == DOWNLOAD.as_bytes());
        let too_large = RemoteFileError::TooLarge { limit };
        if entry.is_some_and(|entry| entry.size > limit as u64) {
            return Err(too_large);
        }
        match files.read(DOWNLOAD).await {
            Ok(bytes) if bytes.len() <= limit => Ok(bytes),
            Ok(_) => Err(too_large),
            Err(status) => Err(reader.failure(&status).await.into()),
        }
    })
    .await
}
