//! Public keys with what their owners have signed about them.
//!
//! The rules are those of buildx v0.36 (`openpgp.ReadEntity` of `go-crypto`): one wrong signature of the owner makes a key
//! unusable, and what others have signed does not count.

use pgp::packet::{PublicKey, PublicSubkey, SignatureType, UserId};
use pgp::ser::Serialize;
use pgp::types::{KeyDetails, KeyId, Tag, VerifyingKey};

use super::CheckBudget;
use super::facts::SignatureFacts;
use super::packets::{PacketContent, PacketError, Packets, PrimaryPacket};
use crate::policy::signature::NotVerified;

/// A primary key with its users and subkeys. All signatures in it are right.
#[derive(Debug)]
pub(super) struct Certificate {
    pub(super) primary: PublicKey,
    pub(super) rsa_bits: Option<usize>,
    /// The last signature of a key of version 6 about itself.
    direct: Option<SignatureFacts>,
    users: Vec<User>,
    subkeys: Vec<Subkey>,
    pub(super) revocations: Vec<SignatureFacts>,
}

/// A name, as the owner of the key has signed it.
#[derive(Debug)]
struct User {
    name: Vec<u8>,
    certification: Option<SignatureFacts>,
    revocations: Vec<SignatureFacts>,
}

/// A key of the same owner.
#[derive(Debug)]
pub(super) struct Subkey {
    pub(super) key: PublicSubkey,
    pub(super) binding: SignatureFacts,
    pub(super) revocations: Vec<SignatureFacts>,
}

/// A key that may have signed something.
#[derive(Debug, Clone, Copy)]
pub(super) struct SigningKey<'c> {
    pub(super) certificate: &'c Certificate,
    /// `None` for the primary key.
    pub(super) subkey: Option<&'c Subkey>,
    /// The signature about the certificate.
    pub(super) own: &'c SignatureFacts,
}

/// Reads all certificates. Those that are wrong are left out.
///
/// # Errors
/// The packets are not those of keys.
pub(super) fn read_all(
    packets: &mut Packets,
    budget: &mut CheckBudget,
) -> Result<Vec<Certificate>, PacketError> {
    let mut certificates = Vec::new();
    loop {
        match Certificate::read(packets, budget) {
            Ok(None) => return Ok(certificates),
            Ok(Some(certificate)) => certificates.push(certificate),
            Err(PacketError::Unreadable) => skip_to_primary(packets)?,
            Err(PacketError::Broken) => return Err(PacketError::Broken),
        }
    }
}

fn skip_to_primary(packets: &mut Packets) -> Result<(), PacketError> {
    loop {
        match packets.next() {
            Ok(Some(primary @ PacketContent::Primary(_))) => {
                packets.put_back(primary);
                return Ok(());
            }
            Ok(None) => return Ok(()),
            Ok(Some(_)) | Err(PacketError::Unreadable) => {}
            Err(PacketError::Broken) => return Err(PacketError::Broken),
        }
    }
}

fn required(holds: bool) -> Result<(), PacketError> {
    holds.then_some(()).ok_or(PacketError::Unreadable)
}

/// Whether signatures by keys with this algorithm exist.
fn can_sign(key: &impl KeyDetails) -> bool {
    !matches!(u8::from(key.algorithm()), 2 | 16 | 18 | 25 | 26)
}

/// Whether `check` holds for a signature that `key` is said to have made.
fn is_right(
    facts: &SignatureFacts,
    key: &impl KeyDetails,
    budget: &mut CheckBudget,
    check: impl FnOnce() -> pgp::errors::Result<()>,
) -> Result<(), PacketError> {
    required(can_sign(key) && facts.algorithm == key.algorithm())?;
    budget.spend().map_err(|_| PacketError::Broken)?;
    check().map_err(|_| PacketError::Unreadable)
}

impl Certificate {
    /// The next certificate. `None` at the end.
    fn read(packets: &mut Packets, budget: &mut CheckBudget) -> Result<Option<Self>, PacketError> {
        let primary = match packets.next()? {
            None => return Ok(None),
            Some(PacketContent::Primary(primary)) => *primary,
            Some(other) => {
                packets.put_back(other);
                return Err(PacketError::Unreadable);
            }
        };
        let PrimaryPacket { key, rsa_bits } = primary;
        required(can_sign(&key))?;
        let mut certificate = Self {
            primary: key,
            rsa_bits,
            direct: None,
            users: Vec::new(),
            subkeys: Vec::new(),
            revocations: Vec::new(),
        };
        let (mut revocations, mut direct) = (Vec::new(), Vec::new());
        while let Some(item) = packets.next()? {
            match item {
                primary @ PacketContent::Primary(_) => {
                    packets.put_back(primary);
                    break;
                }
                PacketContent::User(user) => certificate.read_user(&user, packets, budget)?,
                PacketContent::Subkey(key) => certificate.read_subkey(*key, packets, budget)?,
                PacketContent::Signature(facts) => match facts.kind {
                    SignatureType::KeyRevocation => revocations.push(*facts),
                    SignatureType::Key => direct.push(*facts),
                    _ => {}
                },
                PacketContent::Other => {}
            }
        }
        if certificate.is_version_6() {
            certificate.direct = Some(certificate.last_direct(direct, budget)?);
        } else {
            required(!certificate.users.is_empty())?;
        }
        for revocation in revocations {
            let key = &certificate.primary;
            let check = || revocation.signature.verify_key(key);
            is_right(&revocation, key, budget, check)?;
            certificate.revocations.push(revocation);
        }
        Ok(Some(certificate))
    }

    fn is_version_6(&self) -> bool {
        u8::from(self.primary.version()) == 6
    }

    /// The last of the signatures of the primary key about itself.
    fn last_direct(
        &self,
        direct: Vec<SignatureFacts>,
        budget: &mut CheckBudget,
    ) -> Result<SignatureFacts, PacketError> {
        let mut last: Option<SignatureFacts> = None;
        for facts in direct {
            let is_later = last
                .as_ref()
                .is_none_or(|last| facts.created > last.created);
            if is_later && facts.is_by(&self.primary) {
                last = Some(facts);
            }
        }
        let last = last.ok_or(PacketError::Unreadable)?;
        let check = || last.signature.verify_key(&self.primary);
        is_right(&last, &self.primary, budget, check)?;
        Ok(last)
    }

    /// Reads the signatures behind the name `user`.
    fn read_user(
        &mut self,
        user: &UserId,
        packets: &mut Packets,
        budget: &mut CheckBudget,
    ) -> Result<(), PacketError> {
        let mut read = User {
            name: user.id().to_vec(),
            certification: None,
            revocations: Vec::new(),
        };
        while let Some(facts) = next_signature(packets)? {
            let is_revocation = facts.kind == SignatureType::CertRevocation;
            required(is_revocation || is_certification(facts.kind))?;
            if !facts.is_by(&self.primary) {
                continue;
            }
            let key = &self.primary;
            let check = || facts.signature.verify_certification(key, Tag::UserId, user);
            is_right(&facts, key, budget, check)?;
            if is_revocation {
                read.revocations.push(facts);
            } else {
                let last = read.certification.as_ref();
                if last.is_none_or(|last| facts.created > last.created) {
                    read.certification = Some(facts);
                }
            }
        }
        if read.certification.is_some() || !read.revocations.is_empty() {
            self.users.retain(|user| user.name != read.name);
            self.users.push(read);
        }
        Ok(())
    }

    /// Reads the signatures behind the subkey `key`.
    fn read_subkey(
        &mut self,
        key: PublicSubkey,
        packets: &mut Packets,
        budget: &mut CheckBudget,
    ) -> Result<(), PacketError> {
        let (mut binding, mut revocations): (Option<SignatureFacts>, _) = (None, Vec::new());
        while let Some(facts) = next_signature(packets)? {
            let is_revocation = facts.kind == SignatureType::SubkeyRevocation;
            required(is_revocation || facts.kind == SignatureType::SubkeyBinding)?;
            let check = || facts.signature.verify_subkey_binding(&self.primary, &key);
            is_right(&facts, &self.primary, budget, check)?;
            if facts.may_sign == Some(true) {
                // The subkey must agree, or others could claim what it signs.
                let back = facts.embedded.as_deref().ok_or(PacketError::Unreadable)?;
                is_right(back, &key, budget, || {
                    back.signature
                        .verify_primary_key_binding(&key, &self.primary)
                })?;
            }
            if is_revocation {
                revocations.push(facts);
            } else if binding
                .as_ref()
                .is_none_or(|last| facts.created > last.created)
            {
                binding = Some(facts);
            }
        }
        self.subkeys.push(Subkey {
            key,
            binding: binding.ok_or(PacketError::Unreadable)?,
            revocations,
        });
        Ok(())
    }

    /// The user by whose signature the key is described.
    fn primary_user(&self) -> Option<&User> {
        let mut primary: Option<&User> = None;
        for user in &self.users {
            if primary.is_none_or(|primary| user.is_before(primary)) {
                primary = Some(user);
            }
        }
        primary
    }

    /// The signature of the primary key that describes the key.
    fn own(&self) -> Option<&SignatureFacts> {
        if self.is_version_6() {
            return self.direct.as_ref();
        }
        self.primary_user()?.certification.as_ref()
    }

    /// Whether the key or its user is revoked at `time`.
    pub(super) fn is_revoked(&self, time: u32) -> bool {
        let user = self.primary_user().filter(|_| !self.is_version_6());
        let user = user.map(|user| user.revocations.as_slice());
        let mut revocations = self.revocations.iter().chain(user.unwrap_or_default());
        revocations.any(|revocation| revocation.revokes_at(time))
    }

    /// The keys with this `id` that may sign.
    pub(super) fn signing_keys(&self, id: KeyId) -> Vec<SigningKey<'_>> {
        let Some(own) = self.own() else {
            return Vec::new();
        };
        let mut keys = Vec::new();
        if self.primary.legacy_key_id() == id && own.may_sign == Some(true) {
            keys.push(SigningKey {
                certificate: self,
                subkey: None,
                own,
            });
        }
        let subkeys = self.subkeys.iter().filter(|subkey| {
            subkey.key.legacy_key_id() == id && subkey.binding.may_sign == Some(true)
        });
        keys.extend(subkeys.map(|subkey| SigningKey {
            certificate: self,
            subkey: Some(subkey),
            own,
        }));
        keys
    }
}

impl Certificate {
    /// Whether any of the keys has signed data whose digest, with the suffix of `facts`, is `digest`. What the owner says about the
    /// keys does not count here.
    pub(super) fn has_signed_digest(
        &self,
        facts: &SignatureFacts,
        digest: &[u8],
        budget: &mut CheckBudget,
    ) -> Result<bool, NotVerified> {
        if is_of_digest(&self.primary, facts, digest, budget)? {
            return Ok(true);
        }
        for subkey in &self.subkeys {
            if is_of_digest(&subkey.key, facts, digest, budget)? {
                return Ok(true);
            }
        }
        Ok(false)
    }
}

fn is_of_digest(
    key: &impl VerifyingKey,
    facts: &SignatureFacts,
    digest: &[u8],
    budget: &mut CheckBudget,
) -> Result<bool, NotVerified> {
    if !can_sign(key) || facts.algorithm != key.algorithm() {
        return Ok(false);
    }
    let Some(signature) = facts.signature.signature() else {
        return Ok(false);
    };
    budget.spend()?;
    Ok(key.verify(facts.hash, digest, signature).is_ok())
}

impl User {
    /// Whether it rather describes the key than `other`, which stands before it.
    fn is_before(&self, other: &Self) -> bool {
        let (own, others) = (self.revocations.len(), other.revocations.len());
        if own != others {
            return own < others;
        }
        let (Some(own), Some(others)) = (&self.certification, &other.certification) else {
            return other.certification.is_none();
        };
        if own.is_primary_user != others.is_primary_user {
            return own.is_primary_user;
        }
        own.created > others.created
    }
}

impl SigningKey<'_> {
    /// Whether `facts` is its signature of `signed`.
    pub(super) fn has_signed(&self, facts: &SignatureFacts, signed: &[u8]) -> bool {
        match self.subkey {
            Some(subkey) => verified(&subkey.key, facts, signed),
            None => verified(&self.certificate.primary, facts, signed),
        }
    }

    /// Whether nothing forbids to use its signature `facts`, which was made at `time`.
    pub(super) fn is_usable(&self, facts: &SignatureFacts, time: u32) -> bool {
        let (certificate, own) = (self.certificate, self.own);
        let mut signatures = vec![facts, own];
        if let Some(subkey) = self.subkey {
            signatures.push(&subkey.binding);
            signatures.extend(subkey.binding.embedded.as_deref());
            let mut revocations = subkey.revocations.iter();
            if revocations.any(|revocation| revocation.revokes_at(time))
                || subkey.binding.is_key_expired(&subkey.key, time)
            {
                return false;
            }
        }
        let is_valid =
            |facts: &&SignatureFacts| !facts.has_critical_note && !facts.is_expired(time);
        signatures.iter().all(is_valid)
            && !certificate.is_revoked(time)
            && !own.is_key_expired(&certificate.primary, time)
    }
}

fn verified<K>(key: &K, facts: &SignatureFacts, signed: &[u8]) -> bool
where
    K: VerifyingKey + Serialize,
{
    facts.algorithm == key.algorithm() && facts.signature.verify(key, signed).is_ok()
}

fn is_certification(kind: SignatureType) -> bool {
    matches!(
        kind,
        SignatureType::CertGeneric
            | SignatureType::CertPersona
            | SignatureType::CertCasual
            | SignatureType::CertPositive
    )
}

/// The next packet, if it is a signature.
fn next_signature(packets: &mut Packets) -> Result<Option<SignatureFacts>, PacketError> {
    match packets.next()? {
        Some(PacketContent::Signature(facts)) => Ok(Some(*facts)),
        Some(other) => {
            packets.put_back(other);
            Ok(None)
        }
        None => Ok(None),
    }
}
