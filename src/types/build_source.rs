//! The sources of a build as policies see them: what is known of a source, what else can be asked, and what is decided.

use std::collections::BTreeMap;

use bytes::Bytes;

use super::{Digest, Platform};

/// A source as the daemon identifies it, such as `docker-image://docker.io/library/alpine:latest`.
#[derive(Debug, Clone, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct BuildSource {
    pub(crate) identifier: String,
    pub(crate) attrs: BTreeMap<String, String>,
}

/// What is known of a source.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct SourceFacts {
    pub(crate) source: BuildSource,
    /// The platform for which it is used. `None` if the daemon does not say.
    pub(crate) platform: Option<Platform>,
    /// `None` until the image was resolved.
    pub(crate) image: Option<SourceImage>,
    /// `None` until the repository was resolved.
    pub(crate) git: Option<SourceCommit>,
    /// `None` until the file was downloaded.
    pub(crate) http: Option<SourceDownload>,
}

/// What is known of an image.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct SourceImage {
    pub(crate) digest: String,
    /// The image's configuration, as JSON. `None` if it was not asked for.
    pub(crate) config: Option<Bytes>,
    /// `None` if it was not asked for.
    pub(crate) attestations: Option<SourceAttestations>,
}

/// The attestations of an image and their signatures.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct SourceAttestations {
    /// The digest of the manifest with the attestations. Empty if there is none.
    pub(crate) manifest: String,
    /// The digests of the manifests with signatures.
    pub(crate) signatures: Vec<String>,
    /// The contents that the daemon sends along, by digest.
    pub(crate) blobs: BTreeMap<String, AttestationBlob>,
}

/// One content of an image's attestations.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct AttestationBlob {
    pub(crate) annotations: BTreeMap<String, String>,
    pub(crate) data: Bytes,
}

/// What is known of a git repository.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct SourceCommit {
    /// The object that the reference names: a commit, or an annotated tag.
    pub(crate) checksum: String,
    /// The whole reference, such as `refs/heads/main`.
    pub(crate) reference: String,
    /// The commit. Empty if it is `checksum`.
    pub(crate) commit_checksum: String,
    /// The commit as git stores it. Empty if it was not asked for.
    pub(crate) commit: Bytes,
    /// The annotated tag as git stores it. Empty if there is none.
    pub(crate) tag: Bytes,
}

/// What is known of a download.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct SourceDownload {
    pub(crate) checksum: String,
    /// The digests of the file with something behind it that are known.
    pub(crate) suffixed: Vec<SuffixedDigest>,
}

/// The digest of a download with other bytes behind it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct SuffixedDigest {
    pub(crate) suffix: Bytes,
    pub(crate) digest: Digest,
}

/// What a policy wants to know of a source before it decides.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct SourceQuestion {
    /// The platform to resolve it for. `None` for that of the daemon's question.
    pub(crate) platform: Option<Platform>,
    pub(crate) image: Option<ImageQuestion>,
    pub(crate) git: Option<CommitQuestion>,
    pub(crate) http: Option<DownloadQuestion>,
}

/// What is asked about an image. Its digest is always part of the answer.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct ImageQuestion {
    pub(crate) config: bool,
    pub(crate) attestations: bool,
    /// The kinds of attestation whose content is wanted.
    pub(crate) predicates: Vec<String>,
}

/// What is asked about a repository. The reference and its checksum are always part of the answer.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct CommitQuestion {
    /// Whether the commit and the tag are wanted as git stores them.
    pub(crate) objects: bool,
}

/// What is asked about a download, besides its checksum: the digest of the file with `suffix` behind it. A signature of OpenPGP is about
/// such a digest.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct DownloadQuestion {
    pub(crate) algorithm: DigestAlgorithm,
    pub(crate) suffix: Bytes,
}

/// An algorithm by which the daemon can digest a download.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum DigestAlgorithm {
    Sha256,
    Sha384,
    Sha512,
}

impl DigestAlgorithm {
    /// The name that digests begin with.
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Sha256 => "sha256",
            Self::Sha384 => "sha384",
            Self::Sha512 => "sha512",
        }
    }
}

/// What is decided about a source.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum SourceDecision {
    /// It may be used.
    Allow,
    /// It must not be used, for these reasons.
    Deny(Vec<String>),
    /// Another one is used in its place.
    Convert(BuildSource),
}

/// The answer to the daemon's question about a source.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum SourceAnswer {
    /// More must be known of it first.
    Ask(SourceQuestion),
    /// It is decided.
    Decided(SourceDecision),
}
