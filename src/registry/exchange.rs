//! Requests to a registry, and its answers.

use std::fmt;
use std::sync::Arc;

use bytes::Bytes;
use http::header::{HeaderMap, HeaderName, LOCATION};
use http::{HeaderValue, Method, StatusCode};
use reqwest::Url;

use super::authorization::{RepositoryUse, RequestScope};
use super::error::RegistryFault;
use super::words::RegistryWords;
use crate::types::{Digest, Secret};

/// The header with the digest of a manifest or blob.
const CONTENT_DIGEST: HeaderName = HeaderName::from_static("docker-content-digest");

/// A request, which can be sent several times. Its headers and its body may hold credentials, so they are not printed.
#[derive(Clone)]
pub(super) struct RegistryRequest {
    pub(super) method: Method,
    pub(super) target: RequestTarget,
    pub(super) scope: RequestScope,
    pub(super) headers: HeaderMap,
    pub(super) body: Bytes,
    /// The largest answer, in bytes. A larger one is an error.
    pub(super) limit: usize,
    /// Whether it is also sent when the run was stopped, because something would stay half done without it.
    pub(super) finishes: bool,
    /// Whether its headers or its body hold a credential already. Then it gets no other one, and is never redirected to
    /// another server.
    pub(super) has_credential: bool,
    /// Texts in it that messages must not show, although the server may repeat them.
    pub(super) secrets: Vec<Secret<String>>,
}

impl fmt::Debug for RegistryRequest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RegistryRequest")
            .field("method", &self.method)
            .field("path", &self.shown_path())
            .finish_non_exhaustive()
    }
}

/// Where a request goes.
#[derive(Debug, Clone)]
pub(super) enum RequestTarget {
    /// A path at the registry, with a query if there is one.
    Path(String),
    /// A place that the registry named.
    Place(Url),
}

impl RegistryRequest {
    /// A request for `rest` in the repository at `path`, such as `tags/list`.
    pub(super) fn new(method: Method, path: &Arc<str>, rest: &str) -> Self {
        let purpose = match method {
            Method::GET | Method::HEAD => RepositoryUse::Read,
            Method::DELETE => RepositoryUse::Delete,
            _ => RepositoryUse::Write,
        };
        Self {
            method,
            target: RequestTarget::Path(format!("/v2/{path}/{rest}")),
            scope: RequestScope {
                path: Arc::clone(path),
                purpose,
                reads: None,
            },
            headers: HeaderMap::new(),
            body: Bytes::new(),
            limit: 0,
            finishes: false,
            has_credential: false,
            secrets: Vec::new(),
        }
    }

    pub(super) fn to(mut self, place: Url) -> Self {
        self.target = RequestTarget::Place(place);
        self
    }

    pub(super) fn header(mut self, name: HeaderName, value: HeaderValue) -> Self {
        self.headers.insert(name, value);
        self
    }

    pub(super) fn body(mut self, body: Bytes) -> Self {
        self.body = body;
        self
    }

    pub(super) fn limit(mut self, limit: usize) -> Self {
        self.limit = limit;
        self
    }

    /// The path for the log, without the query, which may hold a secret. A place that the registry named is not
    /// shown.
    pub(super) fn shown_path(&self) -> &str {
        match &self.target {
            RequestTarget::Path(path) => path.split('?').next().unwrap_or_default(),
            RequestTarget::Place(_) => "(a place that the registry named)",
        }
    }
}

/// An answer that a repetition would not change. Its status may be an error.
#[derive(Debug)]
pub(super) struct RegistryReply {
    pub(super) status: StatusCode,
    pub(super) headers: HeaderMap,
    pub(super) body: Bytes,
    /// The address that answered, after redirects.
    pub(super) url: Url,
    /// The explanation of an error status.
    pub(super) words: RegistryWords,
}

impl RegistryReply {
    /// Why the request failed, for an answer with an error status.
    pub(super) fn fault(&self) -> RegistryFault {
        if self.status == StatusCode::NOT_FOUND {
            return RegistryFault::NotFound {
                words: self.words.text(),
            };
        }
        RegistryFault::Refused {
            status: self.status.as_u16(),
            code: self.words.code.clone(),
            message: self.words.message.clone(),
        }
    }

    /// The value of a header; `None` if it is absent or not a text.
    pub(super) fn header(&self, name: &HeaderName) -> Option<&str> {
        self.headers.get(name)?.to_str().ok()
    }

    /// The digest that the registry reports. `None` if it reports none.
    pub(super) fn digest(&self) -> Result<Option<Digest>, RegistryFault> {
        let Some(value) = self.headers.get(&CONTENT_DIGEST) else {
            return Ok(None);
        };
        let digest = value.to_str().ok().and_then(|text| text.parse().ok());
        match digest {
            Some(digest) => Ok(Some(digest)),
            None => Err(RegistryFault::malformed(
                "`Docker-Content-Digest` is not a valid digest",
            )),
        }
    }

    /// Checks that the registry reports the digest `expected`, if it reports one of the same algorithm.
    pub(super) fn check_digest(&self, expected: &Digest) -> Result<(), RegistryFault> {
        match self.digest()? {
            Some(found) if found.algorithm() == expected.algorithm() && found != *expected => {
                Err(RegistryFault::Mismatch {
                    expected: expected.clone(),
                    found,
                })
            }
            _ => Ok(()),
        }
    }

    /// The text of the `Location` header.
    pub(super) fn location(&self) -> Result<&str, RegistryFault> {
        self.header(&LOCATION)
            .filter(|location| !location.is_empty())
            .ok_or_else(|| RegistryFault::malformed("no `Location`"))
    }
}
