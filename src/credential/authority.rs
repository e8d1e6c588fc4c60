//! Token authority: the keys by which the daemon recognises that two sessions have the same secret for a registry.
//!
//! The keys are derived from random seeds in Docker's configuration directory, in a file shared with buildx
//! (BuildKit, `session/auth/authprovider/tokenseed.go`). It is not an error if the directory cannot be written, if
//! another process keeps the lock, or if the disk does not answer: then the seed is used for this run only, which
//! costs one more token exchange.

use std::collections::{BTreeMap, HashMap};
use std::io::Write;
use std::path::{Path, PathBuf};
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use ed25519_dalek::{Signer, SigningKey};
use hmac::{Hmac, KeyInit, Mac};
use serde::{Deserialize, Serialize};
use sha2::Sha256;
use tokio::sync::Mutex;
use tokio::time::Instant;

use super::Error;
use super::host::RegistryHost;
use crate::types::Secret;
use crate::types::blocking::unblock;
use crate::types::lock::FileLock;
use crate::types::regular::read_regular;
use crate::types::temporary::{Temporary, sweep_at};

const SEED_LENGTH: usize = 16;

/// The largest size of the seeds' file, in bytes, and the most seeds in it. The daemon chooses the hosts for which
/// it wants keys, so it must not be able to grow the file without limit.
const FILE_LIMIT: u64 = 1 << 20;
const SEEDS: usize = 1000;

/// The longest waits: for another process's lock, and for the disk.
const LOCK_TIMEOUT: Duration = Duration::from_secs(2);
const DISK_TIMEOUT: Duration = Duration::from_secs(5);

/// The pause between two attempts to take the lock. A blocking `flock` would need a thread that cannot be
/// cancelled.
const PAUSE: Duration = Duration::from_millis(20);

#[derive(Serialize, Deserialize, Default, Clone)]
struct Entry {
    #[serde(rename = "Seed", default)]
    seed: String,
}

type Seed = Secret<Vec<u8>>;

/// The seeds of this run.
#[derive(Debug)]
pub(super) struct Seeds {
    dir: Option<PathBuf>,
    known: Mutex<HashMap<RegistryHost, Seed>>,
}

impl Seeds {
    /// Seeds stored in `dir`, Docker's configuration directory. `None` means that they are kept in memory only.
    pub(super) fn new(dir: Option<PathBuf>) -> Self {
        Self {
            dir,
            known: Mutex::default(),
        }
    }

    /// Returns the key for `host` and `salt`. With a secret, it is derived from the host's random seed. Without
    /// one, it is derived from the salt alone, so that all sessions without a secret have the same key.
    pub(super) async fn key(
        &self,
        host: &RegistryHost,
        salt: &[u8],
        has_secret: bool,
    ) -> Result<SigningKey, Error> {
        let mut mac = Hmac::<Sha256>::new_from_slice(salt).map_err(|_| Error::Random)?;
        if has_secret {
            mac.update(self.seed(host).await?.expose());
        }
        Ok(SigningKey::from_bytes(&mac.finalize().into_bytes().into()))
    }

    async fn seed(&self, host: &RegistryHost) -> Result<Seed, Error> {
        let mut known = self.known.lock().await;
        if let Some(seed) = known.get(host) {
            return Ok(seed.clone());
        }
        let stored = match &self.dir {
            Some(dir) => tokio::time::timeout(DISK_TIMEOUT, stored(dir, host))
                .await
                .unwrap_or_default(),
            None => None,
        };
        let seed = match stored {
            Some(seed) => seed,
            None => random()?,
        };
        if known.len() >= SEEDS {
            known.clear();
        }
        known.insert(host.clone(), seed.clone());
        Ok(seed)
    }
}

/// Returns the signature of `payload`, followed by the payload: the layout of NaCl's `crypto_sign`.
pub(super) fn sign(key: &SigningKey, payload: &[u8]) -> Vec<u8> {
    let mut signed = key.sign(payload).to_bytes().to_vec();
    signed.extend_from_slice(payload);
    signed
}

/// Returns the host's seed from the file; creates and stores one if it is missing. `None` if no random bytes are
/// available.
async fn stored(dir: &Path, host: &RegistryHost) -> Option<Seed> {
    let end = Instant::now() + LOCK_TIMEOUT;
    loop {
        let may_wait = Instant::now() < end;
        let (dir, host) = (dir.to_owned(), host.clone());
        match unblock(move || attempt(&dir, &host, may_wait)).await {
            Attempt::Busy => tokio::time::sleep(PAUSE).await,
            Attempt::Seed(seed) => return seed,
        }
    }
}

enum Attempt {
    // Another process holds the lock.
    Busy,
    Seed(Option<Seed>),
}

fn attempt(dir: &Path, host: &RegistryHost, may_wait: bool) -> Attempt {
    let _ = std::fs::create_dir_all(dir);
    let locked = FileLock::try_take(&FileLock::options(), &dir.join(".token_seed.lock"));
    // On a read-only disk the lock file cannot be opened. Waiting would not help, so only a lock that another
    // process holds counts.
    let is_busy = matches!(locked, Ok(None));
    if is_busy && may_wait {
        return Attempt::Busy;
    }
    let path = dir.join(".token_seed");
    let mut seeds = read(&path);
    let found = seeds
        .get(host.as_str())
        .and_then(|entry| STANDARD.decode(&entry.seed).ok());
    if let Some(seed) = found.filter(|seed| !seed.is_empty()) {
        return Attempt::Seed(Some(Secret::new(seed)));
    }
    let Ok(fresh) = random() else {
        return Attempt::Seed(None);
    };
    // Without the lock, another process may write at the same time, and one of the two seeds would be lost.
    if !is_busy && seeds.len() < SEEDS {
        let seed = STANDARD.encode(fresh.expose());
        seeds.insert(host.to_string(), Entry { seed });
        let _ = write(&path, &seeds);
    }
    Attempt::Seed(Some(fresh))
}

fn random() -> Result<Secret<Vec<u8>>, Error> {
    let mut bytes = vec![0; SEED_LENGTH];
    getrandom::fill(&mut bytes).map_err(|_| Error::Random)?;
    Ok(Secret::new(bytes))
}

fn read(path: &Path) -> BTreeMap<String, Entry> {
    let text = read_regular(path, FILE_LIMIT).ok();
    text.and_then(|text| serde_json::from_slice(&text).ok())
        .unwrap_or_default()
}

fn write(path: &Path, seeds: &BTreeMap<String, Entry>) -> std::io::Result<()> {
    // Somebody put a link, pipe or device there for a reason. Do not replace it by a file.
    match path.symlink_metadata() {
        Ok(metadata) if !metadata.is_file() => return Ok(()),
        Ok(_) | Err(_) => {}
    }
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

    async fn key(dir: &Path, host: &str, secret: bool) -> [u8; 32] {
        let host = RegistryHost::parse(host).unwrap();
        let seeds = Seeds::new(Some(dir.to_owned()));
        seeds.key(&host, b"salt", secret).await.unwrap().to_bytes()
    }

    #[tokio::test]
    async fn each_host_has_its_own_stable_key() {
        let dir = tempfile::tempdir().unwrap();
        let dir = dir.path();
        assert_eq!(key(dir, "a", true).await, key(dir, "a", true).await);
        assert_ne!(key(dir, "a", true).await, key(dir, "b", true).await);
        assert_ne!(key(dir, "a", true).await, key(dir, "a", false).await);
        let without = key(dir, "b", false).await;
        assert_eq!(
            key(dir, "a", false).await,
            without,
            "without a secret, all hosts have the same key"
        );
        let metadata = dir.join(".token_seed").metadata().unwrap();
        let mode = std::os::unix::fs::PermissionsExt::mode(&metadata.permissions());
        assert_eq!(mode & 0o777, 0o600);
    }

    #[tokio::test]
    async fn a_broken_or_unwritable_seed_file_is_not_an_error() {
        let dir = tempfile::tempdir().unwrap();
        std::fs::write(dir.path().join(".token_seed"), "{").unwrap();
        key(dir.path(), "a", true).await;
        key(Path::new("/proc/none"), "a", true).await;
    }

    #[tokio::test]
    async fn a_key_that_cannot_be_stored_stays_the_same_during_the_run() {
        let seeds = Seeds::new(Some("/proc/none".into()));
        let host = RegistryHost::parse("a").unwrap();
        let one = seeds.key(&host, b"s", true).await.unwrap();
        let two = seeds.key(&host, b"s", true).await.unwrap();
        assert_eq!(one.to_bytes(), two.to_bytes());
    }

    #[tokio::test(start_paused = true)]
    async fn held_locks_and_pipes_do_not_block() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join(".token_seed.lock");
        let first = key(dir.path(), "a", true).await;
        let held = FileLock::try_take(&FileLock::options(), &path).unwrap();
        assert!(held.is_some(), "the lock is taken");
        let started = Instant::now();
        assert_eq!(key(dir.path(), "a", true).await, first, "it can be read");
        key(dir.path(), "b", true).await;
        assert!(started.elapsed() < LOCK_TIMEOUT * 5);
        drop(held);
        assert!(
            !std::fs::read_to_string(dir.path().join(".token_seed"))
                .unwrap()
                .contains("\"b\"")
        );

        for name in [".token_seed.lock", ".token_seed"] {
            let path = dir.path().join(name);
            std::fs::remove_file(&path).unwrap();
            let made = std::process::Command::new("mkfifo").arg(&path).status();
            assert!(made.unwrap().success());
        }
        key(dir.path(), "a", true).await;
        let seed = dir.path().join(".token_seed").symlink_metadata().unwrap();
        assert!(!seed.is_file(), "the pipe is still there");
    }

    #[tokio::test]
    async fn signatures_can_be_verified() {
        let host = RegistryHost::parse("a").unwrap();
        let key = Seeds::new(None).key(&host, b"s", false).await.unwrap();
        let signed = sign(&key, b"payload");
        assert_eq!(&signed[64..], b"payload");
        let signature = Signature::from_slice(&signed[..64]).unwrap();
        assert!(key.verifying_key().verify(b"payload", &signature).is_ok());
    }
}
