//! The manifests that refer to a manifest as their subject: signatures, provenance and other artifacts.

use http::header::CONTENT_TYPE;
use http::{Method, StatusCode};
use oci_spec::image::ImageIndex;

use super::RemoteRepository;
use super::error::{RegistryAct, RegistryError, RegistryFault};
use super::manifest::{
    ContentDescriptor, LARGEST_MANIFEST, ManifestContent, RawManifest, TagOrDigest, is_index,
    media_type_of,
};
use crate::types::{Digest, ImageTag};

/// The most pages, and the most descriptors.
const PAGES: usize = 100;
const REFERRERS: usize = 10_000;

impl RemoteRepository {
    /// Returns the descriptors of all manifests whose subject is `digest`, in the registry's order.
    ///
    /// A registry without this part of the API has them in an index with the tag `sha256-…` (OCI distribution
    /// specification, "Referrers Tag Schema"), which the clients maintain.
    #[cfg(test)]
    pub(super) async fn referrers(
        &self,
        digest: &Digest,
    ) -> Result<Vec<ContentDescriptor>, RegistryError> {
        let place = self.image(&TagOrDigest::Digest(digest.clone()));
        let failed = Self::failed(RegistryAct::ListReferrers, place);
        let found = async {
            if let Some(found) = self.listed_referrers(digest).await? {
                return Ok(found);
            }
            let mut found = Vec::new();
            if let Some(manifest) = self.tagged_referrers(digest).await? {
                add(&mut found, &index_of_referrers(&manifest)?)?;
            }
            Ok(found)
        };
        found.await.map_err(failed)
    }

    /// The same from the registry's own list alone. `None` if the registry does not have this part of the API: then a
    /// list of the tags shows the tag `sha256-…`.
    pub(crate) async fn registered_referrers(
        &self,
        digest: &Digest,
    ) -> Result<Option<Vec<ContentDescriptor>>, RegistryError> {
        let place = self.image(&TagOrDigest::Digest(digest.clone()));
        let failed = Self::failed(RegistryAct::ListReferrers, place);
        self.listed_referrers(digest).await.map_err(failed)
    }

    /// The referrers in the registry's own list. `None` if it does not have this part of the API.
    pub(super) async fn listed_referrers(
        &self,
        digest: &Digest,
    ) -> Result<Option<Vec<ContentDescriptor>>, RegistryFault> {
        let mut found = Vec::new();
        let first = self.request(Method::GET, &format!("referrers/{digest}"));
        let mut request = first.limit(LARGEST_MANIFEST);
        for page in 0..PAGES {
            let reply = self.connection.perform(&request).await?;
            let media_type = reply.header(&CONTENT_TYPE).and_then(media_type_of);
            // Some registries answer unknown paths with a page for people.
            let is_unsupported = reply.status == StatusCode::NOT_FOUND
                || reply.status.is_success() && !media_type.is_some_and(is_index);
            if page == 0 && is_unsupported {
                return Ok(None);
            }
            if !reply.status.is_success() {
                return Err(reply.fault());
            }
            let index = serde_json::from_slice(&reply.body);
            let index: ImageIndex =
                index.map_err(|_| RegistryFault::malformed("not a valid list of referrers"))?;
            add(&mut found, &index)?;
            match self.next_page(&reply)? {
                Some(next) => request = request.to(next),
                None => return Ok(Some(found)),
            }
        }
        Err(RegistryFault::malformed(
            "the list of referrers does not end",
        ))
    }

    /// The index of the referrers that the clients maintain, which has a tag. `None` if there is none.
    pub(super) async fn tagged_referrers(
        &self,
        digest: &Digest,
    ) -> Result<Option<RawManifest>, RegistryFault> {
        let tag = referrers_tag(digest, "")?;
        self.try_get(&TagOrDigest::Tag(tag)).await
    }
}

/// The content of the index that [`RemoteRepository::tagged_referrers`] returns.
pub(super) fn index_of_referrers(manifest: &RawManifest) -> Result<ImageIndex, RegistryFault> {
    match manifest.content()? {
        ManifestContent::Index(index) => Ok(*index),
        ManifestContent::Image(_) | ManifestContent::Other => Err(RegistryFault::malformed(
            "the tag of the referrers is not an index",
        )),
    }
}

/// The tag for the referrers of `digest`: `sha256-` and the hexadecimal digits. The specification cuts the algorithm to
/// 32 characters and the digits to 64. Cosign adds a suffix such as `.sig`.
pub(super) fn referrers_tag(digest: &Digest, suffix: &str) -> Result<ImageTag, RegistryFault> {
    let hex: String = digest.hex().chars().take(64).collect();
    format!("{}-{hex}{suffix}", digest.algorithm())
        .parse()
        .map_err(|_| RegistryFault::malformed("a digest that is not a valid tag"))
}

fn add(found: &mut Vec<ContentDescriptor>, index: &ImageIndex) -> Result<(), RegistryFault> {
    for descriptor in index.manifests() {
        if found.len() == REFERRERS {
            let what = format!("more than {REFERRERS} referrers");
            return Err(RegistryFault::malformed(what));
        }
        found.push(descriptor.try_into()?);
    }
    Ok(())
}
