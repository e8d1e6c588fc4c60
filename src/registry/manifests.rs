//! Requests for manifests and tags.

use http::header::{ACCEPT, CONTENT_LENGTH, CONTENT_TYPE};
use http::{HeaderValue, Method, StatusCode};

use super::RemoteRepository;
use super::error::{RegistryAct, RegistryError, RegistryFault};
use super::exchange::{RegistryReply, RegistryRequest};
use super::manifest::{
    self, ContentDescriptor, LARGEST_MANIFEST, RawManifest, TagOrDigest, media_type_of,
    own_media_type,
};
use crate::types::Digest;

/// The answer to a request to delete something.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Deletion {
    /// The registry deleted it.
    Deleted,
    /// The registry did not have it. An earlier try may have deleted it, if its answer was lost.
    NotFound,
    /// The registry does not delete, or not by tags.
    Unsupported,
}

impl RemoteRepository {
    /// Returns the media type, the digest and the size of a manifest. `None` if it does not exist.
    pub(crate) async fn head(
        &self,
        name: &TagOrDigest,
    ) -> Result<Option<ContentDescriptor>, RegistryError> {
        let failed = Self::failed(RegistryAct::LookUpManifest, self.image(name));
        self.try_head(name).await.map_err(failed)
    }

    pub(super) async fn try_head(
        &self,
        name: &TagOrDigest,
    ) -> Result<Option<ContentDescriptor>, RegistryFault> {
        let request = self.manifest_request(Method::HEAD, name);
        let reply = match self.connection.perform(&request).await {
            // An answer to HEAD has no explanation. GET gets the same status with one.
            Err(RegistryFault::Denied { words, .. }) if words.is_empty() => {
                let manifest = self.try_get(name).await?;
                return Ok(manifest.map(|manifest| manifest.descriptor()));
            }
            reply => reply?,
        };
        if reply.status == StatusCode::NOT_FOUND {
            return Ok(None);
        }
        if !reply.status.is_success() {
            return Err(reply.fault());
        }
        if let TagOrDigest::Digest(digest) = name {
            reply.check_digest(digest)?;
        }
        let described = described(&reply)?;
        if described.is_some() {
            return Ok(described);
        }
        // Some registries leave out a header.
        let manifest = self.try_get(name).await?;
        Ok(manifest.map(|manifest| manifest.descriptor()))
    }

    /// Returns a manifest whose digest was computed and compared with the one that was asked for and with the one that
    /// the registry reports. `None` if it does not exist.
    pub(crate) async fn get(
        &self,
        name: &TagOrDigest,
    ) -> Result<Option<RawManifest>, RegistryError> {
        let failed = Self::failed(RegistryAct::ReadManifest, self.image(name));
        self.try_get(name).await.map_err(failed)
    }

    pub(super) async fn try_get(
        &self,
        name: &TagOrDigest,
    ) -> Result<Option<RawManifest>, RegistryFault> {
        let request = self.manifest_request(Method::GET, name);
        let reply = self.connection.perform(&request).await?;
        if reply.status == StatusCode::NOT_FOUND {
            return Ok(None);
        }
        if !reply.status.is_success() {
            return Err(reply.fault());
        }
        let asked = match name {
            TagOrDigest::Digest(digest) => Some(digest.clone()),
            TagOrDigest::Tag(_) => None,
        };
        let reported = reply.digest()?;
        let mut digest = None;
        for expected in asked.into_iter().chain(reported) {
            let found = expected.of_same_algorithm(&reply.body);
            if found != expected {
                return Err(RegistryFault::Mismatch { expected, found });
            }
            digest = digest.or(Some(found));
        }
        let digest = digest.unwrap_or_else(|| Digest::sha256(&reply.body));
        let media_type = media_type(&reply)?;
        RawManifest::with_digest(&media_type, digest, reply.body).map(Some)
    }

    /// Writes `manifest` under a tag or its digest. If the tag exists, it is moved.
    pub(crate) async fn put(
        &self,
        name: &TagOrDigest,
        manifest: &RawManifest,
    ) -> Result<(), RegistryError> {
        let act = match name {
            TagOrDigest::Tag(_) => RegistryAct::SetTag,
            TagOrDigest::Digest(_) => RegistryAct::WriteManifest,
        };
        let failed = Self::failed(act, self.image(name));
        self.try_put(name, manifest).await.map_err(failed)
    }

    pub(super) async fn try_put(
        &self,
        name: &TagOrDigest,
        manifest: &RawManifest,
    ) -> Result<(), RegistryFault> {
        if let TagOrDigest::Digest(expected) = name
            && expected != manifest.digest()
        {
            return Err(RegistryFault::Mismatch {
                expected: expected.clone(),
                found: manifest.digest().clone(),
            });
        }
        let content_type = HeaderValue::from_str(manifest.media_type())
            .map_err(|_| RegistryFault::malformed("the media type"))?;
        let request = self
            .manifest_request(Method::PUT, name)
            .header(CONTENT_TYPE, content_type)
            .body(manifest.bytes().clone());
        let reply = self.connection.perform(&request).await?;
        match reply.status {
            // The specification has 201; containerd accepts the others, too.
            StatusCode::CREATED | StatusCode::OK | StatusCode::NO_CONTENT => {
                reply.check_digest(manifest.digest())
            }
            _ => Err(reply.fault()),
        }
    }

    /// Deletes a tag, or a manifest with all its tags.
    pub(crate) async fn delete(&self, name: &TagOrDigest) -> Result<Deletion, RegistryError> {
        let failed = Self::failed(RegistryAct::Delete, self.image(name));
        self.try_delete(name).await.map_err(failed)
    }

    pub(super) async fn try_delete(&self, name: &TagOrDigest) -> Result<Deletion, RegistryFault> {
        if let Some(api) = &self.api
            && let Some(deletion) = api.delete(name, self.finishes).await?
        {
            return Ok(deletion);
        }
        let request = self.manifest_request(Method::DELETE, name);
        let reply = self.connection.perform(&request).await?;
        let is_tag = matches!(name, TagOrDigest::Tag(_));
        match (reply.status, reply.words.code.as_str()) {
            (status, _) if status.is_success() => Ok(Deletion::Deleted),
            (StatusCode::METHOD_NOT_ALLOWED, _) | (_, "UNSUPPORTED") => Ok(Deletion::Unsupported),
            // Registries that delete by digest only say so in this way (distribution 2, `registry/handlers/manifests.go`).
            (StatusCode::BAD_REQUEST, "DIGEST_INVALID") if is_tag => Ok(Deletion::Unsupported),
            (StatusCode::NOT_FOUND, _) => Ok(Deletion::NotFound),
            _ => Err(reply.fault()),
        }
    }

    fn manifest_request(&self, method: Method, name: &TagOrDigest) -> RegistryRequest {
        let is_read = matches!(method, Method::GET | Method::HEAD);
        let request = self.request(method, &format!("manifests/{name}"));
        if is_read {
            let accept = HeaderValue::from_static(manifest::ACCEPT);
            request.header(ACCEPT, accept).limit(LARGEST_MANIFEST)
        } else {
            request
        }
    }
}

/// What the headers of an answer to HEAD say. `None` if one is missing.
fn described(reply: &RegistryReply) -> Result<Option<ContentDescriptor>, RegistryFault> {
    let media_type = reply.header(&CONTENT_TYPE).and_then(media_type_of);
    let size = reply.header(&CONTENT_LENGTH);
    let size = size.and_then(|size| size.parse().ok());
    let (Some(digest), Some(media_type), Some(size)) = (reply.digest()?, media_type, size) else {
        return Ok(None);
    };
    Ok(Some(ContentDescriptor {
        media_type: media_type.to_owned(),
        digest,
        size,
        artifact_type: None,
        annotations: std::collections::BTreeMap::new(),
    }))
}

/// The media type of a manifest: that of the header, which must agree with the one in the manifest. Otherwise two
/// programs could see different things in the same bytes (CVE-2021-41190).
fn media_type(reply: &RegistryReply) -> Result<String, RegistryFault> {
    const GENERAL: [&str; 3] = ["application/json", "application/octet-stream", "text/plain"];
    let declared = reply
        .header(&CONTENT_TYPE)
        .and_then(media_type_of)
        .filter(|declared| !GENERAL.contains(declared));
    match (declared, own_media_type(&reply.body)) {
        (Some(declared), Some(own)) if declared != own => Err(RegistryFault::malformed(
            "`Content-Type` is not the manifest's own media type",
        )),
        (Some(declared), _) => Ok(declared.to_owned()),
        (None, Some(own)) => Ok(own),
        (None, None) => Err(RegistryFault::malformed("a manifest without a media type")),
    }
}
