//! Signatures of files that are not here: the builder computes their digests.

use pgp::crypto::hash::HashAlgorithm;

use super::certificate::Certificate;
use super::facts::SignatureFacts;
use super::packets::{PacketContent, Packets};
use super::{CheckBudget, GAP, MOST_CHECKS, certificates, signature_content};
use crate::policy::signature::NotVerified;
use crate::types::Digest;
use crate::types::build_source::{DigestAlgorithm, DownloadQuestion};

/// The signature of a download, and the keys of those who may have signed it.
///
/// As in buildx (`pgpsign.VerifySignatureWithDigest` of BuildKit), any of the keys counts, also one that is revoked, has expired, or
/// is not meant for signatures: the author of the policy has chosen the keys.
#[derive(Debug)]
pub(in crate::policy) struct SignedDownload {
    signature: SignatureFacts,
    algorithm: DigestAlgorithm,
    certificates: Vec<Certificate>,
    /// Whether there was something that buildx reads, and rbake does not.
    has_gap: bool,
    budget: CheckBudget,
}

impl SignedDownload {
    /// Reads the armored `signature`, of which the first one counts, and the armored `keys`.
    ///
    /// # Errors
    /// One of them cannot be read, or the signature has a digest that must not be relied on.
    pub(in crate::policy) fn read(signature: &[u8], keys: &[u8]) -> Result<Self, NotVerified> {
        let text = String::from_utf8_lossy(signature);
        let content = signature_content(&text).ok_or(NotVerified::Wrong)?;
        let mut packets = Packets::of(&content);
        let first = first_signature(&mut packets);
        let mut has_gap = packets.has_gap;
        let read = first.and_then(|signature| {
            let algorithm = match signature.hash {
                HashAlgorithm::Sha256 => DigestAlgorithm::Sha256,
                HashAlgorithm::Sha384 => DigestAlgorithm::Sha384,
                HashAlgorithm::Sha512 => DigestAlgorithm::Sha512,
                _ => return Err(NotVerified::Wrong),
            };
            let mut budget = CheckBudget(MOST_CHECKS);
            let certificates = certificates(keys, &mut budget, &mut has_gap)?;
            if certificates.is_empty() {
                return Err(NotVerified::Wrong);
            }
            Ok(Self {
                signature,
                algorithm,
                certificates,
                has_gap: false,
                budget,
            })
        });
        let mut read = read.map_err(|error| or_gap(error, has_gap))?;
        read.has_gap = has_gap;
        Ok(read)
    }

    /// What must be known of the download.
    pub(in crate::policy) fn question(&self) -> DownloadQuestion {
        DownloadQuestion {
            algorithm: self.algorithm,
            suffix: self.signature.suffix.clone().into(),
        }
    }

    /// Checks that one of the keys has signed the download whose digest, as [`question`](Self::question) asks for it, is `digest`.
    pub(in crate::policy) fn verify(mut self, digest: &Digest) -> Result<(), NotVerified> {
        let digest = hex::decode(digest.hex()).map_err(|_| NotVerified::Wrong)?;
        // In version 6, there is something before the data as well.
        if self.signature.suffix.is_empty() {
            return Err(or_gap(NotVerified::Wrong, self.has_gap));
        }
        for certificate in &self.certificates {
            if certificate.has_signed_digest(&self.signature, &digest, &mut self.budget)? {
                return Ok(());
            }
        }
        Err(or_gap(NotVerified::Wrong, self.has_gap))
    }
}

/// What rbake cannot read may be what makes it right.
fn or_gap(error: NotVerified, has_gap: bool) -> NotVerified {
    match error {
        NotVerified::Wrong if has_gap => NotVerified::Unsupported(GAP),
        other => other,
    }
}

fn first_signature(packets: &mut Packets<'_>) -> Result<SignatureFacts, NotVerified> {
    loop {
        match packets.next() {
            Ok(Some(PacketContent::Signature(facts))) => return Ok(*facts),
            Ok(Some(_)) => {}
            Ok(None) | Err(_) => return Err(NotVerified::Wrong),
        }
    }
}
