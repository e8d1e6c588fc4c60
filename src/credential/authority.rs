//! The keys by which the daemon tells whether two sessions hold the same secret.
//!
//! The seeds lie in Docker's configuration directory and are shared with buildx
//! (BuildKit, `session/auth/authprovider/tokenseed.go`).

use std::collections::BTreeMap;
use std::fs::{File, OpenOptions};
use std::io::{Read, Write};
use std::path::{Path, PathBuf};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use ed25519_dalek::{Signer, SigningKey};
use hmac::{Hmac, KeyInit, Mac};
use serde::{Deserialize, Serialize};
use sha2::Sha256;

use super::Error;
use crate::types::Secret;
use crate::types::temporary::{Temporary, sweep_at};

const SEED_LENGTH: usize = 16;

#[derive(Serialize, Deserialize, Default, Clone)]
struct Entry {
    #[serde(rename = "Seed", default)]
    seed: String,
}

/// The key for one host and salt: of a random seed where there is a secret, of nothing where there is none, so that all who
/// have no secret agree.
pub(super) fn key(
    dir: Option<&Path>,
    host: &str,
    salt: &[u8],
    has_secret: bool,
) -> Result<SigningKey, Error> {
    let mut mac = Hmac::<Sha256>::new_from_slice(salt).map_err(|_| Error::Random)?;
    if has_secret {
        mac.update(seed(dir, host)?.expose());
    }
    Ok(SigningKey::from_bytes(&mac.finalize().into_bytes().into()))
}

/// The signature of `payload` followed by the payload, as the usual `crypto_sign` makes it.
pub(super) fn sign(key: &SigningKey, payload: &[u8]) -> Vec<u8> {
    let mut signed = key.sign(payload).to_bytes().to_vec();
    signed.extend_from_slice(payload);
    signed
}

// The host's seed from the file, made and stored where it is missing. A directory that cannot be written is no failure:
// the seed then lasts as long as the process, which costs a token exchange.
fn seed(dir: Option<&Path>, host: &str) -> Result<Secret<Vec<u8>>, Error> {
    let Some(dir) = dir else { return random() };
    let _ = std::fs::create_dir_all(dir);
    let lock = OpenOptions::new()
        .create(true)
        .truncate(false)
        .write(true)
        .open(dir.join(".token_seed.lock"));
    if let Ok(lock) = &lock {
        let _ = lock.lock();
    }
    let path = dir.join(".token_seed");
    let mut seeds = read(&path);
    if let Some(known) = seeds
        .get(host)
        .and_then(|entry| STANDARD.decode(&entry.seed).ok())
        .filter(|seed| !seed.is_empty())
    {
        return Ok(Secret::new(known));
    }
    let fresh = random()?;
    seeds.insert(
        host.to_owned(),
        Entry {
            seed: STANDARD.encode(fresh.expose()),
        },
    );
    let _ = write(&path, &seeds);
    Ok(fresh)
}

fn random() -> Result<Secret<Vec<u8>>, Error> {
    let mut bytes = vec![0; SEED_LENGTH];
    getrandom::fill(&mut bytes).map_err(|_| Error::Random)?;
    Ok(Secret::new(bytes))
}

fn read(path: &Path) -> BTreeMap<String, Entry> {
    let mut text = String::new();
    let read = File::open(path).and_then(|file| file.take(1 << 20).read_to_string(&mut text));
    read.ok()
        .and_then(|_| serde_json::from_str(&text).ok())
        .unwrap_or_default()
}

fn write(path: &Path, seeds: &BTreeMap<String, Entry>) -> std::io::Result<()> {
    let dir: PathBuf = path.parent().map(Path::to_owned).unwrap_or_default();
    sweep_at(&dir);
    let temporary = Temporary::make_in(&dir, 0o600)?;
    temporary
        .file()
        .write_all(serde_json::to_string(seeds)?.as_bytes())?;
    temporary.persist_as(path)?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use ed25519_dalek::{Signature, Verifier};

    #[test]
    fn a_hosts_key_is_stable_and_its_own() {
        let dir = tempfile::tempdir().unwrap();
        let of = |host, secret| {
            key(Some(dir.path()), host, b"salt", secret)
                .unwrap()
                .to_bytes()
        };
        assert_eq!(of("a", true), of("a", true));
        assert_ne!(of("a", true), of("b", true));
        assert_ne!(of("a", true), of("a", false));
        assert_eq!(of("a", false), of("b", false), "without a secret all agree");
        let mode = std::os::unix::fs::PermissionsExt::mode(
            &dir.path()
                .join(".token_seed")
                .metadata()
                .unwrap()
                .permissions(),
        );
        assert_eq!(mode & 0o777, 0o600);
    }

    #[test]
    fn a_broken_or_foreign_file_costs_nothing() {
        let dir = tempfile::tempdir().unwrap();
        std::fs::write(dir.path().join(".token_seed"), "{").unwrap();
        assert!(key(Some(dir.path()), "a", b"s", true).is_ok());
        assert!(key(Some(Path::new("/proc/none")), "a", b"s", true).is_ok());
    }

    #[test]
    fn what_is_signed_can_be_verified() {
        let key = key(None, "a", b"s", false).unwrap();
        let signed = sign(&key, b"payload");
        assert_eq!(&signed[64..], b"payload");
        let signature = Signature::from_slice(&signed[..64]).unwrap();
        assert!(key.verifying_key().verify(b"payload", &signature).is_ok());
    }
}
