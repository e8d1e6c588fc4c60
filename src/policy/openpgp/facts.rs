//! What a signature says of itself.

use pgp::crypto::hash::HashAlgorithm;
use pgp::crypto::public_key::PublicKeyAlgorithm;
use pgp::packet::{RevocationCode, Signature, SignatureConfig, SignatureType, SubpacketData};
use pgp::types::{Fingerprint, KeyDetails, KeyId};

use super::packets::PacketError;

/// A signature, and what is read of it as buildx does it: of several subpackets of a kind, the last one counts.
#[derive(Debug)]
pub(super) struct SignatureFacts {
    pub(super) signature: Signature,
    /// What is hashed behind the signed data. Empty if it is not known.
    pub(super) suffix: Vec<u8>,
    pub(super) version: u8,
    pub(super) kind: SignatureType,
    pub(super) algorithm: PublicKeyAlgorithm,
    pub(super) hash: HashAlgorithm,
    /// In seconds since 1970, as all times of OpenPGP.
    pub(super) created: u32,
    /// The seconds for which the signature is valid. 0 is without end.
    lifetime: u32,
    /// The seconds for which the key is valid that it is about. 0 is without end.
    key_lifetime: u32,
    pub(super) issuer: Option<KeyId>,
    issuer_fingerprint: Option<Fingerprint>,
    /// Whether the key that it is about may sign. `None` if nothing is said.
    pub(super) may_sign: Option<bool>,
    pub(super) is_primary_user: bool,
    /// Whether it has a note that must be understood.
    pub(super) has_critical_note: bool,
    is_compromised: bool,
    /// The signature of the primary key by a subkey.
    pub(super) embedded: Option<Box<SignatureFacts>>,
}

impl SignatureFacts {
    /// Reads `signature`, which has this `version`. `None` if buildx does not know signatures of its kind.
    ///
    /// # Errors
    /// It is wrong.
    pub(super) fn of(signature: Signature, version: u8) -> Result<Option<Self>, PacketError> {
        let Some(config) = signature.config().cloned() else {
            return Ok(None);
        };
        if !is_known(&config, version) {
            return Ok(None);
        }
        let mut facts = Self {
            signature,
            suffix: Vec::new(),
            version,
            kind: config.typ,
            algorithm: config.pub_alg,
            hash: config.hash_alg,
            created: 0,
            lifetime: 0,
            key_lifetime: 0,
            issuer: None,
            issuer_fingerprint: None,
            may_sign: None,
            is_primary_user: false,
            has_critical_note: false,
            is_compromised: false,
            embedded: None,
        };
        for subpacket in &config.hashed_subpackets {
            facts.read_hashed(&subpacket.data, subpacket.is_critical);
            facts.read_any(&subpacket.data)?;
        }
        for subpacket in &config.unhashed_subpackets {
            facts.read_any(&subpacket.data)?;
        }
        if facts.created == 0 {
            return Err(PacketError::Unreadable);
        }
        Ok(Some(facts))
    }

    /// Reads what counts only if it is signed.
    fn read_hashed(&mut self, data: &SubpacketData, is_critical: bool) {
        match data {
            SubpacketData::SignatureCreationTime(time) => self.created = time.as_secs(),
            SubpacketData::SignatureExpirationTime(time) => self.lifetime = time.as_secs(),
            SubpacketData::KeyExpirationTime(time) => self.key_lifetime = time.as_secs(),
            SubpacketData::KeyFlags(flags) => {
                self.may_sign = Some(self.may_sign == Some(true) || flags.sign());
            }
            SubpacketData::IsPrimary(is_primary) => self.is_primary_user = *is_primary,
            SubpacketData::Notation(_) => self.has_critical_note |= is_critical,
            SubpacketData::RevocationReason(code, _) => {
                self.is_compromised = *code == RevocationCode::KeyCompromised;
            }
            _ => {}
        }
    }

    /// Reads what the check itself proves.
    fn read_any(&mut self, data: &SubpacketData) -> Result<(), PacketError> {
        match data {
            SubpacketData::IssuerKeyId(id) if self.version <= 4 => self.issuer = Some(*id),
            SubpacketData::IssuerFingerprint(fingerprint) => {
                self.issuer = id_of(fingerprint);
                self.issuer_fingerprint = Some(fingerprint.clone());
            }
            SubpacketData::EmbeddedSignature(embedded) => {
                if self.embedded.is_some() {
                    return Err(PacketError::Unreadable);
                }
                let version = u8::from(embedded.version());
                let facts = Self::of(Signature::clone(embedded), version)?;
                let facts = facts.filter(|facts| facts.kind == SignatureType::KeyBinding);
                self.embedded = Some(Box::new(facts.ok_or(PacketError::Unreadable)?));
            }
            _ => {}
        }
        Ok(())
    }

    /// Whether it says that `key` has made it.
    pub(super) fn is_by(&self, key: &impl KeyDetails) -> bool {
        match &self.issuer_fingerprint {
            Some(fingerprint) => *fingerprint == key.fingerprint(),
            None => self.issuer == Some(key.legacy_key_id()),
        }
    }

    /// Whether it is not valid yet or not any more at `time`.
    pub(super) fn is_expired(&self, time: u32) -> bool {
        is_over(self.created, self.lifetime, time)
    }

    /// Whether `key`, which it is about, is not valid yet or not any more at `time`.
    pub(super) fn is_key_expired(&self, key: &impl KeyDetails, time: u32) -> bool {
        is_over(key.created_at().as_secs(), self.key_lifetime, time)
    }

    /// Whether it revokes something at `time`. A key that others have is revoked from its beginning.
    pub(super) fn revokes_at(&self, time: u32) -> bool {
        self.is_compromised || !self.is_expired(time)
    }
}

fn is_over(start: u32, lifetime: u32, time: u32) -> bool {
    let end = u64::from(start) + u64::from(lifetime);
    start > time || lifetime != 0 && u64::from(time) > end
}

/// The id of the key with this fingerprint (RFC 9580, 5.5.4).
fn id_of(fingerprint: &Fingerprint) -> Option<KeyId> {
    let bytes = fingerprint.as_bytes();
    let id = match fingerprint {
        Fingerprint::V4(_) => bytes.get(12..20)?,
        _ => bytes.get(..8)?,
    };
    let id: [u8; 8] = id.try_into().ok()?;
    Some(KeyId::from(id))
}

/// Whether buildx knows signatures with these algorithms and subpackets.
fn is_known(config: &SignatureConfig, version: u8) -> bool {
    let is_algorithm = matches!(u8::from(config.pub_alg), 1 | 3 | 17 | 19 | 22 | 27 | 28);
    let is_hash = match u8::from(config.hash_alg) {
        2 => version == 4,
        8..=12 | 14 => true,
        _ => false,
    };
    let mut subpackets = config.hashed_subpackets.iter();
    let is_understood = subpackets.all(|subpacket| match &subpacket.data {
        SubpacketData::ExportableCertification(is_exportable) => *is_exportable,
        SubpacketData::Revocable(_)
        | SubpacketData::RevocationKey(_)
        | SubpacketData::PreferredEncryptionModes(_)
        | SubpacketData::SignatureTarget(..)
        | SubpacketData::Experimental(..)
        | SubpacketData::Other(..) => !subpacket.is_critical,
        _ => true,
    });
    is_algorithm && is_hash && is_understood
}
