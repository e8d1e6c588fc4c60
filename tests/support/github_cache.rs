//! GitHub's cache service, in both of its versions. GitHub itself has only the second one since 2025.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::{Mutex, OnceLock, PoisonError};

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::{Value, json};

use super::fake_services::exchange::{Answer, Asked, serve};
use super::object_stores::AzureServer;
use super::peers;
use super::project::TestProject;

/// A version of the service.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum GithubCache {
    /// The server that runs for all tests.
    V1,
    /// A fake of the service in front of a real blob storage: [`results_service`].
    V2,
}

impl GithubCache {
    /// `project` with the address of the service and a token for it in the environment, as actions have them.
    pub(crate) fn with(self, project: TestProject) -> TestProject {
        let project = project.env("ACTIONS_RUNTIME_TOKEN", token());
        match self {
            Self::V1 => {
                let url = peers::peer("RBAKE_TEST_GHA_CACHE_URL");
                let url = format!("{}/", url.trim_end_matches('/'));
                project.env("ACTIONS_CACHE_URL", url)
            }
            Self::V2 => project.env("ACTIONS_CACHE_SERVICE_V2", "True").env(
                "ACTIONS_RESULTS_URL",
                format!("http://{}/", results_service()),
            ),
        }
    }
}

/// A token with the claims that the daemon reads. It may write for one branch.
fn token() -> String {
    let part = |text: &str| URL_SAFE_NO_PAD.encode(text);
    let claims =
        r#"{"nbf":0,"exp":4102444800,"ac":"[{\"Scope\":\"refs/heads/main\",\"Permission\":3}]"}"#;
    format!(
        "{}.{}.",
        part(r#"{"alg":"none","typ":"JWT"}"#),
        part(claims)
    )
}

/// What is kept under the keys of one version, in the order in which it was created.
#[derive(Debug, Default)]
struct Entries(Vec<Entry>);

#[derive(Debug)]
struct Entry {
    key: String,
    blob: String,
    is_complete: bool,
}

/// The service of version 2 for this process. It only knows names: contents go to the blob storage and come from there, by addresses
/// that it signs.
///
/// No server of this version can be had, so it is written after the messages of BuildKit's client (`tonistiigi/go-actions-cache`) and
/// after how GitHub describes keys: an entry cannot be replaced, and one that begins with a key is found if there is none of that name,
/// the newest first.
fn results_service() -> SocketAddr {
    static SERVICE: OnceLock<SocketAddr> = OnceLock::new();
    *SERVICE.get_or_init(|| {
        let storage = AzureServer::shared();
        storage.create_container("actions");
        let versions: Mutex<BTreeMap<String, Entries>> = Mutex::default();
        serve(move |asked, _| {
            let mut versions = versions.lock().unwrap_or_else(PoisonError::into_inner);
            Some(answer(asked, &mut versions, storage))
        })
    })
}

fn answer(
    asked: &Asked,
    versions: &mut BTreeMap<String, Entries>,
    storage: &AzureServer,
) -> Answer {
    let method = asked
        .path
        .strip_prefix("/twirp/github.actions.results.api.v1.CacheService/");
    if asked.header("authorization") != format!("Bearer {}", token()) {
        return error(401, "unauthenticated");
    }
    let Ok(message) = serde_json::from_slice::<Value>(&asked.body) else {
        return error(400, "malformed");
    };
    let text = |name: &str| message[name].as_str().unwrap_or_default().to_owned();
    let (key, version) = (text("key"), text("version"));
    let Entries(entries) = versions.entry(version.clone()).or_default();
    let address = |blob: &str| storage.signed(&format!("actions/{blob}"));
    match method {
        Some("CreateCacheEntry") => {
            if entries.iter().any(|entry| entry.key == key) {
                return error(409, "already_exists");
            }
            let blob = format!("{version}-{}", entries.len());
            let url = address(&blob);
            entries.push(Entry {
                key,
                blob,
                is_complete: false,
            });
            Answer::of_json(200, &json!({ "ok": true, "signed_upload_url": url }))
        }
        Some("FinalizeCacheEntryUpload") => {
            let entry = entries.iter_mut().find(|entry| entry.key == key);
            let Some(entry) = entry else {
                return error(404, "not_found");
            };
            entry.is_complete = true;
            Answer::of_json(200, &json!({ "ok": true, "entry_id": entry.blob }))
        }
        Some("GetCacheEntryDownloadURL") => {
            let others = message["restore_keys"].as_array().into_iter().flatten();
            let prefixes: Vec<&str> = others.filter_map(Value::as_str).collect();
            let begins = |entry: &&Entry| prefixes.iter().any(|key| entry.key.starts_with(key));
            let complete = || entries.iter().filter(|entry| entry.is_complete);
            let exact = complete().find(|entry| entry.key == key);
            match exact.or_else(|| complete().rev().find(begins)) {
                Some(entry) => {
                    let url = address(&entry.blob);
                    let found =
                        json!({ "ok": true, "signed_download_url": url, "matched_key": entry.key });
                    Answer::of_json(200, &found)
                }
                None => Answer::of_json(200, &json!({ "ok": false })),
            }
        }
        _ => error(404, "bad_route"),
    }
}

fn error(status: u16, code: &str) -> Answer {
    Answer::of_json(status, &json!({ "code": code, "msg": "the fake says no" }))
}
