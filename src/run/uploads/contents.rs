//! The contents of the builder's store, for registries.

use bytes::Bytes;
use futures_util::{StreamExt as _, TryStreamExt as _};

use crate::engine::Engine;
use crate::publisher::ContentReader;
use crate::registry::{BlobPieces, BlobSource, BlobSourceError, RegistryFault};
use crate::types::Digest;

/// The contents that a builder has.
pub(in crate::run) struct BuilderContents<'a>(pub(in crate::run) &'a Engine);

impl ContentReader for BuilderContents<'_> {
    async fn read(&self, digest: &Digest, limit: usize) -> Option<Bytes> {
        self.0.content(digest, limit).await
    }
}

impl BlobSource for BuilderContents<'_> {
    async fn open(&self, digest: &Digest) -> Result<BlobPieces, BlobSourceError> {
        let pieces = self.0.open_content(digest).await;
        let pieces = pieces.map_err(BlobSourceError::new)?;
        let broken = |status| RegistryFault::Source(BlobSourceError::new(status));
        Ok(pieces.map_err(broken).boxed())
    }
}
