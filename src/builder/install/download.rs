//! Fetching one file whose digest is known: resumed where it was broken off, and never believed before it is checked.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use reqwest::StatusCode;
use reqwest::header::RANGE;
use sha2::{Digest as _, Sha256};
use tokio::fs::File;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

use super::progress::Progress;

/// The largest archive that is fetched, in bytes; BuildKit's are below 100 MB.
const SIZE_LIMIT: u64 = 1 << 30;
/// How long a server may say nothing.
const SILENCE_LIMIT: Duration = Duration::from_secs(60);
const CONNECT_LIMIT: Duration = Duration::from_secs(30);

/// The file could not be had.
#[derive(Debug, thiserror::Error)]
pub(crate) enum DownloadError {
    /// The client cannot be made.
    #[error("cannot prepare a download")]
    Client(#[source] Box<dyn std::error::Error + Send + Sync>),
    /// The exchange failed.
    #[error("cannot download `{url}`")]
    Http {
        /// The address.
        url: String,
        /// Why.
        #[source]
        source: reqwest::Error,
    },
    /// The server said no.
    #[error("cannot download `{url}`: the server answers {status}")]
    Status {
        /// The address.
        url: String,
        /// Its answer.
        status: u16,
    },
    /// More came than such a file can have.
    #[error("`{url}` is larger than {} MB", SIZE_LIMIT >> 20)]
    TooLarge {
        /// The address.
        url: String,
    },
    /// The file is not what it must be.
    #[error("`{url}` is not the file it should be: its SHA-256 is {found}, pinned is {pinned}")]
    Digest {
        /// The address.
        url: String,
        /// What it is.
        found: String,
        /// What it must be.
        pinned: String,
    },
    /// The file cannot be written.
    #[error("cannot write `{}`", path.display())]
    Write {
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
}

/// Fetches `url` to `path` unless the file is there already; returns when its SHA-256 is `pinned`.
///
/// What was fetched of it before, by a run that was broken off, is in `path` with `.part` behind and is not fetched again.
pub(super) async fn download(
    url: &str,
    path: &Path,
    pinned: &str,
    progress: &Progress,
) -> Result<(), DownloadError> {
    if digest_of(path).await.is_ok_and(|found| found == pinned) {
        return Ok(());
    }
    let part = with_suffix(path, ".part");
    let client = client()?;
    let resumed = fetch(&client, url, &part, progress, true).await?;
    let mut found = check(&part, path, pinned).await?;
    if found.is_some() && resumed {
        // The part may have been of another file: once more, from the start.
        fetch(&client, url, &part, progress, false).await?;
        found = check(&part, path, pinned).await?;
    }
    match found {
        None => Ok(()),
        Some(found) => {
            let _ = tokio::fs::remove_file(&part).await;
            Err(DownloadError::Digest {
                url: url.to_owned(),
                found,
                pinned: pinned.to_owned(),
            })
        }
    }
}

// Moves the part to its place if it is the pinned file; else returns what it is.
async fn check(part: &Path, path: &Path, pinned: &str) -> Result<Option<String>, DownloadError> {
    let write = |source| DownloadError::Write {
        path: path.to_owned(),
        source,
    };
    let found = digest_of(part).await.map_err(write)?;
    if found != pinned {
        return Ok(Some(found));
    }
    tokio::fs::rename(part, path).await.map_err(write)?;
    Ok(None)
}

// Appends to `part`, or begins it anew; returns whether something was there before that counts.
async fn fetch(
    client: &reqwest::Client,
    url: &str,
    part: &Path,
    progress: &Progress,
    resume: bool,
) -> Result<bool, DownloadError> {
    let http = |source: reqwest::Error| DownloadError::Http {
        url: url.to_owned(),
        // Addresses may carry credentials; ours is named without.
        source: source.without_url(),
    };
    let write = |source| DownloadError::Write {
        path: part.to_owned(),
        source,
    };
    let held = match tokio::fs::metadata(part).await {
        Ok(found) if resume => found.len(),
        _ => 0,
    };
    let mut request = client.get(url);
    if held > 0 {
        request = request.header(RANGE, format!("bytes={held}-"));
    }
    let mut response = request.send().await.map_err(http)?;
    let resumed = match response.status() {
        StatusCode::PARTIAL_CONTENT if held > 0 => true,
        // All of it is here already, or what is here is longer than the file: the digest will tell.
        StatusCode::RANGE_NOT_SATISFIABLE if held > 0 => return Ok(true),
        StatusCode::OK => false,
        status => {
            return Err(DownloadError::Status {
                url: url.to_owned(),
                status: status.as_u16(),
            });
        }
    };
    let mut file = File::options()
        .create(true)
        .write(true)
        .append(resumed)
        .truncate(!resumed)
        .open(part)
        .await
        .map_err(write)?;
    let mut size = if resumed { held } else { 0 };
    let total = response.content_length().map(|length| size + length);
    progress.at(size, total);
    while let Some(chunk) = response.chunk().await.map_err(http)? {
        size += chunk.len() as u64;
        if size > SIZE_LIMIT {
            return Err(DownloadError::TooLarge {
                url: url.to_owned(),
            });
        }
        file.write_all(&chunk).await.map_err(write)?;
        progress.at(size, total);
    }
    file.sync_all().await.map_err(write)?;
    Ok(resumed)
}

/// The SHA-256 of a file, in hexadecimal digits.
pub(super) async fn digest_of(path: &Path) -> io::Result<String> {
    let mut file = File::open(path).await?;
    let mut hash = Sha256::new();
    let mut buffer = vec![0; 256 << 10];
    loop {
        let read = file.read(&mut buffer).await?;
        if read == 0 {
            return Ok(hex::encode(hash.finalize()));
        }
        hash.update(&buffer[..read]);
    }
}

fn with_suffix(path: &Path, suffix: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(suffix);
    PathBuf::from(name)
}

// Trusts what the system trusts (SSL_CERT_FILE and SSL_CERT_DIR count) and uses the proxies of the environment.
fn client() -> Result<reqwest::Client, DownloadError> {
    let mut roots = rustls::RootCertStore::empty();
    roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = rustls::ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(|error| DownloadError::Client(error.into()))?
        .with_root_certificates(roots)
        .with_no_client_auth();
    reqwest::Client::builder()
        .tls_backend_preconfigured(config)
        .connect_timeout(CONNECT_LIMIT)
        .read_timeout(SILENCE_LIMIT)
        .user_agent(concat!("rbake/", env!("CARGO_PKG_VERSION")))
        .build()
        .map_err(|error| DownloadError::Client(error.into()))
}
