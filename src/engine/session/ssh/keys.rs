//! Private keys that rbake itself answers for.

use std::fmt;
use std::sync::Arc;

use rsa::pkcs1::DecodeRsaPrivateKey as _;
use rsa::pkcs8::DecodePrivateKey as _;
use rsa::signature::Signer as _;
use ssh_key::private::{KeypairData, RsaKeypair};
use ssh_key::{HashAlg, PrivateKey, Signature};

/// The largest file with a key, in bytes (BuildKit, `session/sshforward/sshprovider`).
pub(crate) const KEY_LIMIT: usize = 100 * 1024;

/// The flags of a request for a signature, which ask for another hash than SHA-1 with RSA keys.
const SHA2_256: u32 = 2;
const SHA2_512: u32 = 4;

/// Why a file is not a key that can be used.
#[derive(Debug, thiserror::Error)]
pub(crate) enum InvalidKey {
    /// It has a passphrase.
    #[error("it is protected by a passphrase")]
    Encrypted,
    /// Its form is none of those that rbake reads.
    #[error("it has neither the form of OpenSSH, nor is it an RSA key in PEM")]
    Form,
    /// It is damaged, or of a kind that is not supported.
    #[error("it cannot be read")]
    Damaged(#[source] ssh_key::Error),
    /// It is in PEM, and damaged or not an RSA key.
    #[error("it is not a valid RSA key, the only kind that rbake reads in this form")]
    NotRsa,
    /// It is larger than any key.
    #[error("it is larger than {} KiB", KEY_LIMIT / 1024)]
    Large,
}

/// The keys of one agent. Clones share them.
#[derive(Clone, Default)]
pub(crate) struct PrivateKeys(Arc<Vec<HeldKey>>);

struct HeldKey {
    key: PrivateKey,
    /// The public key, as agents write it.
    blob: Vec<u8>,
}

impl PrivateKeys {
    /// Reads a key from each of `files`.
    pub(crate) fn parse<'f>(files: impl IntoIterator<Item = &'f [u8]>) -> Result<Self, InvalidKey> {
        let keys = files.into_iter().map(HeldKey::parse);
        Ok(Self(Arc::new(keys.collect::<Result<_, _>>()?)))
    }

    /// The public keys with their comments.
    pub(super) fn listed(&self) -> impl Iterator<Item = (&[u8], &str)> {
        let keys = self.0.iter();
        keys.map(|held| (held.blob.as_slice(), held.key.comment().as_str_lossy()))
    }

    /// The signature of `data` by the key whose public key is `blob`. `None` if there is no such key, or if `flags` ask
    /// for something that it cannot do.
    pub(super) fn sign(&self, blob: &[u8], data: &[u8], flags: u32) -> Option<Vec<u8>> {
        let held = self.0.iter().find(|held| held.blob == blob)?;
        let signed: Signature = match held.key.key_data() {
            KeypairData::Rsa(pair) => {
                let hash = match flags {
                    _ if flags & SHA2_512 != 0 => HashAlg::Sha512,
                    _ if flags & SHA2_256 != 0 => HashAlg::Sha256,
                    // With SHA-1. Servers have refused that since OpenSSH 8.8.
                    _ => return None,
                };
                (pair, Some(hash)).try_sign(data).ok()?
            }
            other => other.try_sign(data).ok()?,
        };
        Vec::try_from(signed).ok()
    }
}

impl HeldKey {
    fn parse(file: &[u8]) -> Result<Self, InvalidKey> {
        if file.len() > KEY_LIMIT {
            return Err(InvalidKey::Large);
        }
        let text = std::str::from_utf8(file).map_err(|_| InvalidKey::Form)?;
        let key = private_key(text)?;
        if key.is_encrypted() {
            return Err(InvalidKey::Encrypted);
        }
        let blob = key.public_key().to_bytes().map_err(InvalidKey::Damaged)?;
        Ok(Self { key, blob })
    }
}

fn private_key(text: &str) -> Result<PrivateKey, InvalidKey> {
    let label = text.lines().find_map(|line| {
        line.trim()
            .strip_prefix("-----BEGIN ")?
            .strip_suffix("-----")
    });
    let rsa = match label {
        Some("OPENSSH PRIVATE KEY") => {
            return PrivateKey::from_openssh(text.trim_start()).map_err(InvalidKey::Damaged);
        }
        Some("ENCRYPTED PRIVATE KEY") => return Err(InvalidKey::Encrypted),
        Some("RSA PRIVATE KEY") if text.contains("ENCRYPTED") => return Err(InvalidKey::Encrypted),
        Some("RSA PRIVATE KEY") => rsa::PrivateKey::from_pkcs1_pem(text).ok(),
        Some("PRIVATE KEY") => rsa::PrivateKey::from_pkcs8_pem(text).ok(),
        _ => return Err(InvalidKey::Form),
    };
    let rsa = rsa.ok_or(InvalidKey::NotRsa)?;
    let pair = RsaKeypair::try_from(&rsa).map_err(InvalidKey::Damaged)?;
    Ok(PrivateKey::from(pair))
}

impl fmt::Debug for PrivateKeys {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "PrivateKeys({} keys)", self.0.len())
    }
}

impl PartialEq for PrivateKeys {
    fn eq(&self, other: &Self) -> bool {
        let blobs = |keys: &Self| {
            keys.0
                .iter()
                .map(|held| held.blob.clone())
                .collect::<Vec<_>>()
        };
        blobs(self) == blobs(other)
    }
}

impl Eq for PrivateKeys {}
