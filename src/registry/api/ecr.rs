//! The API of Amazon's private registries, by which they delete: the registry itself refuses every `DELETE`.
//!
//! `BatchDeleteImage` removes a tag, or deletes an image with all its tags; with its last tag, an image goes, too. It answers
//! 200 also if it has deleted nothing: `failures` says why. It takes up to 100 images, but rbake sends one at a time, because it
//! looks at the repository before each deletion. `DescribeImages` lists all manifests (Amazon ECR API Reference). Requests are
//! signed, and errors have the status 400 and a code in the body.

use std::collections::BTreeMap;
use std::sync::Arc;

use bytes::Bytes;
use http::header::{AUTHORIZATION, CONTENT_TYPE, HeaderName};
use http::{HeaderValue, Method, StatusCode};
use jiff::{SignedDuration, Timestamp};
use serde::Deserialize;
use serde_json::{Number, Value, json};

use super::ListedVersion;
use super::server::{ApiAddress, ApiServer};
use super::sigv4::{self, SigningScope, UnsignedPost};
use crate::credential::AwsCredential;
use crate::registry::error::RegistryFault;
use crate::registry::exchange::{RegistryReply, RegistryRequest, RequestTarget};
use crate::registry::manifest::TagOrDigest;
use crate::registry::manifests::Deletion;
use crate::registry::retries::Retries;
use crate::registry::words::cleaned;
use crate::registry::{Registries, RemoteRepository};
use crate::types::Secret;

/// The images of a page, the most pages, and the largest answer in bytes.
const PAGE: usize = 1000;
const PAGES: usize = 1_000;
const LARGEST: usize = 16 << 20;

/// The name of the API in the header that says which operation is meant.
const TARGET: &str = "AmazonEC2ContainerRegistry_V20150921";
const SERVICE: &str = "ecr";

/// The codes of errors that mean that the keys are wrong or may not do this (AWS, "Common errors").
const DENIALS: [&str; 9] = [
    "AccessDeniedException",
    "ExpiredTokenException",
    "IncompleteSignature",
    "InvalidClientTokenId",
    "InvalidSignatureException",
    "MissingAuthenticationTokenException",
    "NotAuthorized",
    "OptInRequired",
    "UnrecognizedClientException",
];

/// Amazon's API for a repository.
#[derive(Debug, Clone)]
pub(crate) struct EcrSpec {
    /// The address of the API.
    pub(crate) address: ApiAddress,
    /// The number of the account that has the registry. `None` for that of the keys.
    pub(crate) account: Option<String>,
    /// The region.
    pub(crate) region: String,
    /// The keys.
    pub(crate) credential: AwsCredential,
}

/// The images of a repository. Cheap to clone.
#[derive(Debug, Clone)]
pub(in crate::registry) struct EcrImages(Arc<EcrParts>);

#[derive(Debug)]
struct EcrParts {
    server: ApiServer,
    repository: String,
    spec: EcrSpec,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct DeletionAnswer {
    #[serde(default)]
    image_ids: Vec<Value>,
    #[serde(default)]
    failures: Vec<FailureAnswer>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct FailureAnswer {
    failure_code: Option<String>,
    failure_reason: Option<String>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct ImagesAnswer {
    image_details: Vec<ImageAnswer>,
    next_token: Option<String>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct ImageAnswer {
    image_digest: String,
    image_pushed_at: Number,
}

impl EcrImages {
    /// The images of `repository`.
    pub(super) fn new(
        registries: &Registries,
        repository: &RemoteRepository,
        spec: &EcrSpec,
    ) -> Self {
        Self(Arc::new(EcrParts {
            server: ApiServer::new(registries, repository, &spec.address),
            repository: repository.name().path().to_owned(),
            spec: spec.clone(),
        }))
    }

    /// Removes a tag, or deletes a manifest with all its tags.
    pub(super) async fn delete(
        &self,
        name: &TagOrDigest,
        finishes: bool,
    ) -> Result<Deletion, RegistryFault> {
        let image = match name {
            TagOrDigest::Tag(tag) => json!({"imageTag": tag.as_str()}),
            TagOrDigest::Digest(digest) => json!({"imageDigest": digest.as_str()}),
        };
        let more = [("imageIds", json!([image]))];
        let reply = self.call("BatchDeleteImage", more, finishes).await?;
        if reply.words.code == "RepositoryNotFoundException" {
            return Ok(Deletion::NotFound);
        }
        let answer: DeletionAnswer = parsed(&reply)?;
        let Some(failure) = answer.failures.into_iter().next() else {
            return if answer.image_ids.is_empty() {
                Err(RegistryFault::malformed(
                    "it neither deleted the image nor says why not",
                ))
            } else {
                Ok(Deletion::Deleted)
            };
        };
        let text = |text: Option<String>| cleaned(&text.unwrap_or_default(), &[]);
        let code = text(failure.failure_code);
        if code == "ImageNotFound" {
            return Ok(Deletion::NotFound);
        }
        Err(RegistryFault::Undeleted {
            code,
            message: text(failure.failure_reason),
        })
    }

    /// All manifests.
    pub(super) async fn list(&self) -> Result<Vec<ListedVersion>, RegistryFault> {
        let mut found = Vec::new();
        let mut token: Option<String> = None;
        for _ in 0..PAGES {
            let size = ("maxResults", json!(PAGE));
            let next = token.as_ref().map(|token| ("nextToken", json!(token)));
            let reply = self
                .call("DescribeImages", [size].into_iter().chain(next), false)
                .await?;
            let answer: ImagesAnswer = parsed(&reply)?;
            for image in answer.image_details {
                found.push(listed(&image)?);
            }
            match answer.next_token.filter(|token| !token.is_empty()) {
                None => return Ok(found),
                // Otherwise, this would go on for ever.
                next if next == token => break,
                next => token = next,
            }
        }
        Err(RegistryFault::malformed("the list of images does not end"))
    }

    /// Calls an operation, with the parameters `more`, until there is an answer that a repetition would not change. Each try is
    /// signed anew, because signatures are valid for five minutes.
    async fn call(
        &self,
        operation: &str,
        more: impl IntoIterator<Item = (&'static str, Value)>,
        finishes: bool,
    ) -> Result<RegistryReply, RegistryFault> {
        let mut parameters: BTreeMap<&str, Value> = more.into_iter().collect();
        parameters.insert("repositoryName", json!(self.0.repository));
        if let Some(account) = &self.0.spec.account {
            parameters.insert("registryId", json!(account));
        }
        let body = Bytes::from(json!(parameters).to_string());
        let connection = &self.0.server.connection;
        let mut retries = Retries::new(connection);
        loop {
            let mut request = self.signed(operation, body.clone())?;
            request.finishes = finishes;
            let reply = match connection.attempt(&request).await {
                Ok(reply) => reply,
                Err(failure) => {
                    retries.after(failure, &request).await?;
                    continue;
                }
            };
            if DENIALS.contains(&reply.words.code.as_str()) {
                return Err(RegistryFault::Denied {
                    status: reply.status.as_u16(),
                    words: reply.words.text(),
                });
            }
            return Ok(reply);
        }
    }

    fn signed(&self, operation: &str, body: Bytes) -> Result<RegistryRequest, RegistryFault> {
        let EcrParts { server, spec, .. } = &*self.0;
        let now = Timestamp::try_from(server.connection.parts.clock.now()).unwrap_or_default();
        let date = sigv4::date(now);
        let mut headers = BTreeMap::from([
            ("content-type", "application/x-amz-json-1.1".to_owned()),
            ("host", server.host().to_owned()),
            (sigv4::DATE, date.clone()),
            ("x-amz-target", format!("{TARGET}.{operation}")),
        ]);
        let token = spec.credential.session_token();
        if let Some(token) = token {
            headers.insert("x-amz-security-token", token.expose().clone());
        }
        let scope = SigningScope {
            region: &spec.region,
            service: SERVICE,
        };
        let mut request = server.request(Method::POST, "/")?;
        let path = match &request.target {
            RequestTarget::Place(place) => place.path(),
            RequestTarget::Path(path) => path,
        };
        let unsigned = UnsignedPost {
            path,
            headers: &headers,
            body: &body,
        };
        let authorization = sigv4::authorization(&unsigned, &spec.credential, scope, &date)?;
        request = request.body(body).limit(LARGEST);
        request.secrets.extend(token.cloned());
        request.secrets.push(Secret::new(authorization.clone()));
        headers.remove("host");
        let bad = |_| RegistryFault::malformed("a credential with control characters");
        for (name, value) in &headers {
            let name = HeaderName::try_from(*name)
                .map_err(|_| RegistryFault::malformed("the name of a header"))?;
            let mut value = HeaderValue::from_str(value).map_err(bad)?;
            value.set_sensitive(name != CONTENT_TYPE);
            request = request.header(name, value);
        }
        let mut value = HeaderValue::from_str(&authorization).map_err(bad)?;
        value.set_sensitive(true);
        Ok(request.header(AUTHORIZATION, value))
    }
}

fn parsed<'r, A: Deserialize<'r>>(reply: &'r RegistryReply) -> Result<A, RegistryFault> {
    if reply.status != StatusCode::OK {
        return Err(reply.fault());
    }
    serde_json::from_slice(&reply.body)
        .map_err(|_| RegistryFault::malformed("not a valid answer of Amazon's API"))
}

fn listed(image: &ImageAnswer) -> Result<ListedVersion, RegistryFault> {
    let malformed = || RegistryFault::malformed("not a valid list of images");
    let seconds = image.image_pushed_at.as_f64().ok_or_else(malformed)?;
    let since = SignedDuration::try_from_secs_f64(seconds).map_err(|_| malformed())?;
    Ok(ListedVersion {
        digest: image.image_digest.parse().map_err(|_| malformed())?,
        updated: Timestamp::from_duration(since).map_err(|_| malformed())?,
    })
}
