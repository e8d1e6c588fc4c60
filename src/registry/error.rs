//! Errors of requests to registries.

use std::fmt;
use std::io::ErrorKind;
use std::sync::Arc;

use super::tls;
use crate::credential;
use crate::types::Digest;
use crate::types::retry::is_transient_status;

/// A request to a registry failed.
#[derive(Debug, thiserror::Error)]
#[error("cannot {act} `{place}`")]
pub(crate) struct RegistryError {
    /// What rbake wanted to do.
    pub(crate) act: RegistryAct,
    /// The image, the blob, or the repository.
    pub(crate) place: String,
    /// Why it failed.
    #[source]
    pub(crate) fault: RegistryFault,
}

impl RegistryError {
    /// Whether the same request may succeed later, without any change by the user.
    pub(crate) fn is_transient(&self) -> bool {
        self.fault.is_transient()
    }

    /// Whether the run was stopped before the request was answered.
    pub(crate) const fn is_stop(&self) -> bool {
        matches!(self.fault, RegistryFault::Stopped)
    }

    /// Whether an API beside that of the registry denied it, which may want another credential.
    pub(crate) fn is_denied_by_api(&self) -> bool {
        self.act == RegistryAct::ListVersions && self.fault.is_denial()
    }

    /// Whether no server answered, or not as a registry does.
    pub(crate) fn is_unreachable(&self) -> bool {
        fn is(fault: &RegistryFault) -> bool {
            match fault {
                RegistryFault::Unreachable { .. } | RegistryFault::Stalled { .. } => true,
                RegistryFault::GaveUp { last, .. } => is(last),
                _ => false,
            }
        }
        is(&self.fault)
    }

    /// Whether rbake never came as far as the registry, so that it may be reachable only for the builder. A connection that broke, or on
    /// which nothing came, was one to a registry in trouble.
    pub(crate) fn is_out_of_reach(&self) -> bool {
        fn is(fault: &RegistryFault) -> bool {
            match fault {
                RegistryFault::Unreachable { source } => has_no_connection(source),
                RegistryFault::GaveUp { last, .. } => is(last),
                _ => false,
            }
        }
        is(&self.fault)
    }
}

/// Whether no connection came about: there is no such host, nobody listens, nothing answers, or the certificate is wrong.
fn has_no_connection(error: &reqwest::Error) -> bool {
    let is_broken = tls::io_cause(error).is_some_and(|error| {
        matches!(
            error.kind(),
            ErrorKind::ConnectionReset
                | ErrorKind::ConnectionAborted
                | ErrorKind::UnexpectedEof
                | ErrorKind::BrokenPipe
        )
    });
    error.is_connect() && !is_broken
}

/// What rbake does at a registry.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum RegistryAct {
    /// `HEAD` of a manifest.
    LookUpManifest,
    /// `GET` of a manifest.
    ReadManifest,
    /// `PUT` of a manifest by its digest.
    WriteManifest,
    /// `PUT` of a manifest by a tag.
    SetTag,
    /// `DELETE` of a manifest or of a tag.
    Delete,
    /// Removal of a tag without its manifest, in several requests.
    RemoveTag,
    /// `HEAD` of a blob.
    LookUpBlob,
    /// `GET` of a blob.
    ReadBlob,
    /// Upload of a blob.
    UploadBlob,
    /// Mount of another repository's blob.
    MountBlob,
    /// List of the tags.
    ListTags,
    /// List of the manifests that refer to a manifest.
    ListReferrers,
    /// Test whether pushing is allowed.
    TestPush,
    /// List of all versions of a package.
    ListVersions,
    /// Restoration of a version that was deleted.
    Restore,
    /// Test what may be deleted.
    TestDelete,
}

impl fmt::Display for RegistryAct {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::LookUpManifest => "look up the manifest of",
            Self::ReadManifest => "read the manifest of",
            Self::WriteManifest => "write the manifest of",
            Self::SetTag => "set the tag",
            Self::Delete => "delete",
            Self::RemoveTag => "remove the tag",
            Self::LookUpBlob => "look up the blob",
            Self::ReadBlob => "read the blob",
            Self::UploadBlob => "upload the blob",
            Self::MountBlob => "mount the blob",
            Self::ListTags => "list the tags of",
            Self::ListReferrers => "list the referrers of",
            Self::TestPush => "test the right to push to",
            Self::ListVersions => "list the versions of",
            Self::Restore => "restore",
            Self::TestDelete => "test the right to delete from",
        })
    }
}

/// Why a request to a registry failed.
///
/// Texts from the registry have at most [`super::words::LONGEST`] characters, without control characters, and without
/// the credential that was sent to it.
#[derive(Debug, thiserror::Error)]
pub(crate) enum RegistryFault {
    /// The registry denies access: 401 or 403.
    #[error("the registry denies access ({}){}", Answered(*status), Said(words))]
    Denied {
        /// The HTTP status.
        status: u16,
        /// The registry's explanation. Empty if it gave none.
        words: String,
    },
    /// The repository, or the upload, does not exist: 404. Requests that ask whether something exists return `None`
    /// instead.
    #[error("the registry does not know it{}", Said(words))]
    NotFound {
        /// The registry's explanation. Empty if it gave none.
        words: String,
    },
    /// Another error status.
    #[error(
        "the registry answered {}{}{}",
        Answered(*status),
        Said(code),
        Said(message)
    )]
    Refused {
        /// The HTTP status.
        status: u16,
        /// The error code, such as `MANIFEST_INVALID`. Empty if the answer has none.
        code: String,
        /// The message. Empty if the answer has none.
        message: String,
    },
    /// The registry answered that it did not delete.
    #[error("it was not deleted{}{}", Said(code), Said(message))]
    Undeleted {
        /// The error code. Empty if the answer has none.
        code: String,
        /// The message. Empty if the answer has none.
        message: String,
    },
    /// The user has no login for the registry.
    #[error("there is no login with a user name and a password")]
    NoLogin,
    /// No connection, or it broke.
    #[error("the registry could not be reached")]
    Unreachable {
        /// The underlying error, without its address.
        #[source]
        source: Box<reqwest::Error>,
    },
    /// The registry sent nothing for too long.
    #[error("the registry sent nothing for {seconds} s")]
    Stalled {
        /// The time limit, in seconds.
        seconds: u64,
    },
    /// A transfer made progress, but too little.
    #[error("the transfer took more than {seconds} s")]
    TooSlow {
        /// The time limit, in seconds.
        seconds: u64,
    },
    /// The answer breaks the rules of the protocol.
    #[error("the registry's answer is malformed: {what}")]
    Malformed {
        /// What is wrong.
        what: String,
    },
    /// The content has another digest.
    #[error("expected `{expected}`, found `{found}`")]
    Mismatch {
        /// The digest that was asked for.
        expected: Digest,
        /// The digest of the content, or the one that the registry reports.
        found: Digest,
    },
    /// No credential or token could be obtained.
    #[error("no credential for the registry")]
    Credential(
        /// The underlying error, shared by all requests that waited for the token.
        #[source]
        Arc<credential::Error>,
    ),
    /// The request failed several times, or the registry has used up the retries of this run.
    #[error("gave up after {tries} {}", if *tries == 1 { "try" } else { "tries" })]
    GaveUp {
        /// How often the request was sent.
        tries: u32,
        /// The last failure.
        #[source]
        last: Box<RegistryFault>,
    },
    /// A tag that rbake had replaced, or a manifest that the registry had deleted with a tag, could not be put back.
    #[error("could not put back `{image}`")]
    NotPutBack {
        /// The image, by its tag or digest.
        image: String,
        /// Why not.
        #[source]
        last: Box<RegistryFault>,
    },
    /// The content that should be sent cannot be read.
    #[error(transparent)]
    Source(super::uploads::BlobSourceError),
    /// The system has no random numbers.
    #[error("the system has no random numbers")]
    NoRandomness(#[source] getrandom::Error),
    /// The run was stopped.
    #[error("the run was stopped")]
    Stopped,
}

impl From<credential::Error> for RegistryFault {
    fn from(error: credential::Error) -> Self {
        Self::Credential(Arc::new(error))
    }
}

impl RegistryFault {
    /// Whether no credential could be obtained, so that the registry was not asked.
    pub(crate) fn is_about_credentials(&self) -> bool {
        match self {
            // A token server may only be in trouble.
            Self::Credential(_) => !self.is_transient(),
            Self::NoLogin => true,
            Self::GaveUp { last, .. } => last.is_about_credentials(),
            _ => false,
        }
    }

    pub(super) fn malformed(what: impl Into<String>) -> Self {
        Self::Malformed { what: what.into() }
    }

    /// The same as [`RegistryError::is_transient`].
    pub(crate) fn is_transient(&self) -> bool {
        match self {
            Self::Refused { status, code, .. } => {
                is_transient_status(*status) || is_throttling(code)
            }
            Self::Unreachable { source } => may_pass(source),
            Self::Stalled { .. } => true,
            Self::Credential(error) => match &**error {
                credential::Error::Refused { status, .. } => is_transient_status(*status),
                credential::Error::Exchange { source, .. } => may_pass(source),
                // It has already taken a minute, so it is not repeated.
                _ => false,
            },
            Self::GaveUp { last, .. } => last.is_transient(),
            Self::Denied { .. }
            | Self::NotFound { .. }
            | Self::Undeleted { .. }
            | Self::NoLogin
            | Self::TooSlow { .. }
            | Self::Malformed { .. }
            | Self::Mismatch { .. }
            // A repetition would find another tag than the one that was asked for.
            | Self::NotPutBack { .. }
            | Self::Source(_)
            | Self::NoRandomness(_)
            | Self::Stopped => false,
        }
    }

    /// Whether the user's credential does not allow the request.
    pub(crate) fn is_denial(&self) -> bool {
        match self {
            Self::Denied { .. } | Self::NoLogin => true,
            Self::Credential(error) => matches!(
                &**error,
                credential::Error::Refused {
                    status: 401 | 403,
                    ..
                }
            ),
            _ => false,
        }
    }

    pub(super) fn at(self, act: RegistryAct, place: impl fmt::Display) -> RegistryError {
        RegistryError {
            act,
            place: place.to_string(),
            fault: self,
        }
    }
}

/// Whether a request may succeed if it is repeated after this error. A wrong certificate stays wrong.
fn may_pass(error: &reqwest::Error) -> bool {
    !error.is_builder() && tls::cause(error).is_none()
}

/// Whether a request was refused only because there were too many: Amazon's APIs say so with the status 400 and one of
/// these codes (AWS SDKs, "Retry behavior").
pub(super) fn is_throttling(code: &str) -> bool {
    matches!(
        code,
        "Throttling"
            | "ThrottlingException"
            | "ThrottledException"
            | "RequestThrottledException"
            | "RequestLimitExceeded"
            | "TooManyRequestsException"
            | "SlowDown"
    )
}

/// A status with its usual name, such as `403 Forbidden`.
struct Answered(u16);

impl fmt::Display for Answered {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let status = http::StatusCode::from_u16(self.0).ok();
        match status.and_then(|status| status.canonical_reason()) {
            Some(name) => write!(f, "{} {name}", self.0),
            None => write!(f, "{}", self.0),
        }
    }
}

/// A text after a colon, unless it is empty.
struct Said<'a>(&'a str);

impl fmt::Display for Said<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.0.is_empty() {
            return Ok(());
        }
        write!(f, ": {}", self.0)
    }
}
