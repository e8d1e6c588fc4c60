//! Downloads a file whose digest is known. A request that fails because of the server or the network is repeated, and goes on where it
//! ended. A partial download of an earlier run is resumed, too, and the file is used only after its
//! digest was checked.

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
use crate::types::Clock;
use crate::types::retry::{Pauses, TRIES, Tries, is_transient_status, retry_after};

/// The largest file that is downloaded, in bytes. BuildKit's archives have less than 100 MB.
const SIZE_LIMIT: u64 = 1 << 30;
/// The longest pause between two pieces of data from the server.
const SILENCE_LIMIT: Duration = Duration::from_secs(60);
const CONNECT_LIMIT: Duration = Duration::from_secs(30);

/// The file could not be downloaded.
#[derive(Debug, thiserror::Error)]
pub(crate) enum DownloadError {
    /// The HTTP client cannot be created.
    #[error("cannot prepare a download")]
    Client(#[source] Box<dyn std::error::Error + Send + Sync>),
    /// The request or the transfer failed.
    #[error("cannot download `{url}`")]
    Http {
        /// The URL, without credentials.
        url: String,
        /// The underlying error.
        #[source]
        source: reqwest::Error,
    },
    /// The server answered with an error status.
    #[error("cannot download `{url}`: the server answers {status}")]
    Status {
        /// The URL.
        url: String,
        /// The HTTP status.
        status: u16,
    },
    /// The server sent more than the limit.
    #[error("`{url}` is larger than {} MB", SIZE_LIMIT >> 20)]
    TooLarge {
        /// The URL.
        url: String,
    },
    /// The digest of the file is not the pinned one.
    #[error("`{url}` is not the expected file: its SHA-256 is {found}, but {pinned} is pinned")]
    Digest {
        /// The URL.
        url: String,
        /// The SHA-256 of the file that came.
        found: String,
        /// The pinned SHA-256.
        pinned: String,
    },
    /// The file cannot be written.
    #[error("cannot write `{}`", path.display())]
    Write {
        /// The file.
        path: PathBuf,
        /// The underlying error.
        #[source]
        source: io::Error,
    },
}

/// Downloads `url` to `path`, unless the file is there already. On success, the SHA-256 of `path` is `pinned`.
///
/// During the download, the data is in a file with the name of `path` and `.part` at the end. If an earlier run was
/// interrupted, the download continues from there.
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
    let mut tries = Tries::new(TRIES, None);
    let resumed = fetch(&client, url, &part, progress, true, &mut tries).await?;
    let mut found = check(&part, path, pinned).await?;
    if found.is_some() && resumed {
        // The old part may belong to another file: download once more from the start.
        fetch(&client, url, &part, progress, false, &mut tries).await?;
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

/// Moves the part to its final place if its digest is `pinned`. Otherwise returns the digest that it has.
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

/// A try failed.
enum FailedTry {
    /// Another one would fail, too.
    Last(DownloadError),
    /// Another one may succeed, after the pause that the server asks for.
    Repeatable(DownloadError, Option<Duration>),
}

/// Downloads to `part` in several tries, if need be. The first one begins anew unless `resume` is set. Returns whether bytes of an
/// earlier download are part of the file.
async fn fetch(
    client: &reqwest::Client,
    url: &str,
    part: &Path,
    progress: &Progress,
    resume: bool,
    tries: &mut Tries,
) -> Result<bool, DownloadError> {
    let mut resumes = resume;
    loop {
        match fetch_once(client, url, part, progress, resumes).await {
            Ok(resumed) => return Ok(resumed && resume),
            Err(FailedTry::Last(error)) => return Err(error),
            Err(FailedTry::Repeatable(error, wish)) => {
                if !tries.again(wish, &Pauses::Slept).await {
                    return Err(error);
                }
                // What has come so far is from this server and of this file.
                resumes = true;
            }
        }
    }
}

/// Downloads to `part`; with `resume`, appends to what is there, if the server allows that. Returns whether bytes
/// that were there are part of the file.
async fn fetch_once(
    client: &reqwest::Client,
    url: &str,
    part: &Path,
    progress: &Progress,
    resume: bool,
) -> Result<bool, FailedTry> {
    let http = |source: reqwest::Error| {
        // A server that cannot be reached at all is not asked again: the address or the proxy may be wrong.
        let may_pass = !source.is_connect() && !source.is_builder() && !source.is_redirect();
        let error = DownloadError::Http {
            url: url.to_owned(),
            // The error's URL may contain credentials (after a redirect). Our message names the URL we asked for
            // instead.
            source: source.without_url(),
        };
        if may_pass {
            FailedTry::Repeatable(error, None)
        } else {
            FailedTry::Last(error)
        }
    };
    let write = |source| {
        FailedTry::Last(DownloadError::Write {
            path: part.to_owned(),
            source,
        })
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
        // The part is complete or longer than the file. The caller's check of the digest will tell.
        StatusCode::RANGE_NOT_SATISFIABLE if held > 0 => return Ok(true),
        StatusCode::OK => false,
        status => {
            let error = DownloadError::Status {
                url: url.to_owned(),
                status: status.as_u16(),
            };
            if is_transient_status(status.as_u16()) {
                let wish = retry_after(response.headers(), Clock::system().now());
                return Err(FailedTry::Repeatable(error, wish));
            }
            return Err(FailedTry::Last(error));
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
            return Err(FailedTry::Last(DownloadError::TooLarge {
                url: url.to_owned(),
            }));
        }
        file.write_all(&chunk).await.map_err(write)?;
        progress.at(size, total);
    }
    file.sync_all().await.map_err(write)?;
    Ok(resumed)
}

/// The SHA-256 of a file, as lower-case hexadecimal digits.
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

/// An HTTP client that trusts the system's certificates (`SSL_CERT_FILE` and `SSL_CERT_DIR` count) and uses the
/// proxies of the environment.
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
