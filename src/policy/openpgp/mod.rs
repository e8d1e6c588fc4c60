//! Signatures of OpenPGP (RFC 9580), accepted and refused as buildx v0.36 does it (`util/pgpsign` of BuildKit).
//!
//! Keys and signatures are untrusted. The size of their files is limited, and so are the numbers in them and how many signatures are
//! checked. DSA is not known: the time of a check depends on numbers in the key.

mod armor;
mod certificate;
mod detached;
mod facts;
mod packets;

#[cfg(test)]
pub(super) mod tests;

use std::time::{SystemTime, UNIX_EPOCH};

use pgp::crypto::hash::HashAlgorithm;
use pgp::crypto::public_key::PublicKeyAlgorithm;
use pgp::packet::SignatureType;

use self::armor::ArmorBlocks;
use self::certificate::{Certificate, SigningKey};
pub(super) use self::detached::SignedDownload;
use self::facts::SignatureFacts;
use self::packets::{PacketContent, PacketError, Packets};
use super::signature::NotVerified;

/// How many signatures are checked for one answer. A check takes about a millisecond.
const MOST_CHECKS: usize = 200;
/// The smallest modulus of a primary key for RSA, in bits.
const SMALLEST_RSA: usize = 2048;
/// How far the clock of who has signed may be ahead, in seconds.
const CLOCK_SKEW: u64 = 5 * 60;

const TOO_MANY: &str = "there are too many keys or signatures";
const GAP: &str = "a key or signature is of a kind of OpenPGP that rbake does not know";

/// What is said of a signature before it is checked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct PgpSignature {
    pub(super) version: u8,
    /// The id of the key in hexadecimal.
    pub(super) key_id: Option<String>,
}

impl PgpSignature {
    /// Reads the first signature in `armored`. `None` if there is none.
    pub(super) fn parse(armored: &str) -> Option<Self> {
        let content = signature_content(armored)?;
        let (facts, _) = signatures(&content).ok()?;
        let first = facts.into_iter().next()?;
        let key_id = first.issuer.map(|id| hex::encode(id.as_ref()));
        let version = first.version;
        Some(Self { version, key_id })
    }
}

/// How many signatures may still be checked.
#[derive(Debug)]
pub(super) struct CheckBudget(usize);

impl CheckBudget {
    fn spend(&mut self) -> Result<(), NotVerified> {
        self.0 = self
            .0
            .checked_sub(1)
            .ok_or(NotVerified::Unsupported(TOO_MANY))?;
        Ok(())
    }
}

/// Checks the `armored` signature of `signed` by one of the armored public keys in `keys`.
///
/// A key may have expired since it has signed, but not be revoked.
pub(super) fn verify(armored: &str, signed: &[u8], keys: &[u8]) -> Result<(), NotVerified> {
    let content = signature_content(armored).ok_or(NotVerified::Wrong)?;
    let (signatures, mut has_gap) = signatures(&content)?;
    require(signatures.first().is_some_and(is_strong))?;
    let mut budget = CheckBudget(MOST_CHECKS);
    let verified = certificates(keys, &mut budget, &mut has_gap)
        .and_then(|certificates| check(&signatures, signed, &certificates, &mut budget));
    match verified {
        // What rbake cannot read may be what makes it right.
        Err(NotVerified::Wrong) if has_gap => Err(NotVerified::Unsupported(GAP)),
        other => other,
    }
}

fn signature_content(armored: &str) -> Option<Vec<u8>> {
    ArmorBlocks::of(armored).next()?.content
}

/// The signatures in `content`, up to one that cannot be read, and whether there was one that rbake does not know.
fn signatures(content: &[u8]) -> Result<(Vec<SignatureFacts>, bool), NotVerified> {
    let mut packets = Packets::of(content);
    let mut signatures = Vec::new();
    while let Ok(Some(item)) = packets.next() {
        match item {
            PacketContent::Signature(facts) => signatures.push(*facts),
            _ => break,
        }
    }
    match (signatures.is_empty(), packets.has_gap) {
        (true, true) => Err(NotVerified::Unsupported(GAP)),
        (true, false) => Err(NotVerified::Wrong),
        (false, has_gap) => Ok((signatures, has_gap)),
    }
}

/// All certificates in the armors of `keys`.
fn certificates(
    keys: &[u8],
    budget: &mut CheckBudget,
    has_gap: &mut bool,
) -> Result<Vec<Certificate>, NotVerified> {
    let text = String::from_utf8_lossy(keys);
    let mut certificates = Vec::new();
    for block in ArmorBlocks::of(&text) {
        let is_key = matches!(block.kind, "PGP PUBLIC KEY BLOCK" | "PGP PRIVATE KEY BLOCK");
        let content = block.content.filter(|_| is_key).ok_or(NotVerified::Wrong)?;
        let mut packets = Packets::of(&content);
        let read = certificate::read_all(&mut packets, budget);
        *has_gap |= packets.has_gap;
        match read {
            Ok(read) => certificates.extend(read),
            Err(PacketError::Broken) if budget.0 == 0 => {
                return Err(NotVerified::Unsupported(TOO_MANY));
            }
            Err(_) => return Err(NotVerified::Wrong),
        }
    }
    Ok(certificates)
}

/// Checks the first of `signatures` whose key is known.
fn check(
    signatures: &[SignatureFacts],
    signed: &[u8],
    certificates: &[Certificate],
    budget: &mut CheckBudget,
) -> Result<(), NotVerified> {
    let time = signatures.first().ok_or(NotVerified::Wrong)?.created;
    for facts in signatures {
        let issuer = facts.issuer.ok_or(NotVerified::Wrong)?;
        let keys = certificates
            .iter()
            .flat_map(|certificate| certificate.signing_keys(issuer));
        let keys: Vec<SigningKey> = keys.collect();
        if keys.is_empty() {
            continue;
        }
        require(is_strong(facts) && is_of_data(facts))?;
        for key in keys {
            budget.spend()?;
            if key.has_signed(facts, signed) {
                require(key.is_usable(facts, time))?;
                require(is_trusted(key.certificate))?;
                return require(!is_in_future(time));
            }
        }
        return Err(NotVerified::Wrong);
    }
    Err(NotVerified::Wrong)
}

fn require(holds: bool) -> Result<(), NotVerified> {
    holds.then_some(()).ok_or(NotVerified::Wrong)
}

/// Whether a signature has algorithms that may sign what is built.
fn is_strong(facts: &SignatureFacts) -> bool {
    matches!(
        facts.hash,
        HashAlgorithm::Sha256 | HashAlgorithm::Sha384 | HashAlgorithm::Sha512
    ) && matches!(
        facts.algorithm,
        PublicKeyAlgorithm::RSA
            | PublicKeyAlgorithm::RSASign
            | PublicKeyAlgorithm::ECDSA
            | PublicKeyAlgorithm::EdDSALegacy
    )
}

/// Whether a signature is about a document, not about a key.
fn is_of_data(facts: &SignatureFacts) -> bool {
    matches!(facts.kind, SignatureType::Binary | SignatureType::Text)
}

/// Whether the owner of a key still stands by it, and the key is large enough.
fn is_trusted(certificate: &Certificate) -> bool {
    let is_large = certificate.rsa_bits.is_none_or(|bits| bits >= SMALLEST_RSA);
    certificate.revocations.is_empty() && is_large
}

fn is_in_future(time: u32) -> bool {
    let now = SystemTime::now().duration_since(UNIX_EPOCH);
    let now = now.map_or(0, |now| now.as_secs());
    u64::from(time) > now + CLOCK_SKEW
}
