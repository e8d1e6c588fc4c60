//! A fake of GitHub's container registry and its Packages API, written from the documentation of both and never compared with
//! the real ones: the registry
//! refuses every `DELETE`, has no list of referrers, and the API lists, deletes and restores versions.

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard};

use rbake::types::Digest;
use serde_json::{Value, json};

use super::fake_services::exchange::{Answer, Asked, serve};
use super::project::TestProject;

/// The password, which is also the token of the API.
pub(crate) const TOKEN: &str = "ghp_fake";

/// What a version of the package is.
#[derive(Debug, Clone)]
pub(crate) struct FakeVersion {
    pub media_type: String,
    pub bytes: Vec<u8>,
    pub id: u64,
    pub created: String,
}

/// The content of the package.
#[derive(Debug, Default)]
pub(crate) struct FakePackage {
    pub tags: BTreeMap<String, String>,
    pub versions: BTreeMap<String, FakeVersion>,
    pub blobs: BTreeSet<String>,
    /// The versions that were deleted, with the tags that they had.
    pub deleted: BTreeMap<String, (FakeVersion, Vec<String>)>,
    /// All requests: method, path and query.
    pub log: Vec<String>,
    /// Whether the token may not delete.
    pub reads_only: bool,
    /// The scopes of the token, which answers of the API tell. Empty if it has none.
    pub scopes: String,
    /// How many lists lack the newest version, because they are behind the registry.
    pub behind: usize,
    next: u64,
}

/// The server. It ends with the test's process. The package is `acme/web`, of an organization or of a user.
#[derive(Clone)]
pub(crate) struct FakeGithub {
    address: SocketAddr,
    package: Arc<Mutex<FakePackage>>,
}

impl FakeGithub {
    /// Starts it. `owner` is `orgs` or `users`.
    pub(crate) fn start(owner: &'static str) -> Self {
        let package: Arc<Mutex<FakePackage>> = Arc::default();
        let kept = Arc::clone(&package);
        let address = serve(move |asked, address| {
            Some(answer(asked, &mut kept.lock().unwrap(), owner, address))
        });
        Self { address, package }
    }

    /// Host and port.
    pub(crate) fn host(&self) -> String {
        self.address.to_string()
    }

    /// The project of a user who is logged in.
    pub(crate) fn project(&self) -> TestProject {
        use base64::Engine as _;
        let login = base64::prelude::BASE64_STANDARD.encode(format!("someone:{TOKEN}"));
        let config = json!({"auths": {self.host(): {"auth": login}}});
        TestProject::new()
            .docker_config(&config.to_string())
            .env("RBAKE_GITHUB_REGISTRY", self.host())
            .env("GITHUB_API_URL", format!("http://{}/api", self.host()))
    }

    pub(crate) fn package(&self) -> MutexGuard<'_, FakePackage> {
        self.package.lock().unwrap()
    }
}

impl FakePackage {
    /// Pushes a manifest, `days` ago. Returns its digest.
    pub(crate) fn push(&mut self, tag: Option<&str>, manifest: &Value, days: i64) -> String {
        let bytes = manifest.to_string().into_bytes();
        let media_type = manifest["mediaType"].as_str().unwrap().to_owned();
        let now = jiff::Timestamp::now() - jiff::SignedDuration::from_hours(24 * days);
        self.store(tag, media_type, bytes, now.to_string())
    }

    fn store(
        &mut self,
        tag: Option<&str>,
        media_type: String,
        bytes: Vec<u8>,
        created: String,
    ) -> String {
        let digest = Digest::sha256(&bytes).to_string();
        self.next += 1;
        let id = self.next;
        self.versions.entry(digest.clone()).or_insert(FakeVersion {
            media_type,
            bytes,
            id,
            created,
        });
        if let Some(tag) = tag {
            self.tags.insert(tag.to_owned(), digest.clone());
        }
        digest
    }

    fn tags_of(&self, digest: &str) -> Vec<String> {
        let tags = self.tags.iter().filter(|(_, to)| *to == digest);
        tags.map(|(tag, _)| tag.clone()).collect()
    }
}

fn answer(asked: &Asked, package: &mut FakePackage, owner: &str, address: SocketAddr) -> Answer {
    package
        .log
        .push(format!("{} {}?{}", asked.method, asked.path, asked.query));
    if let Some(rest) = asked.path.strip_prefix("/v2/acme/web/") {
        return of_registry(asked, rest, package);
    }
    let login = asked.headers.get("authorization");
    if login != Some(&format!("Bearer {TOKEN}")) {
        return Answer::of_json(401, &json!({"message": "Requires authentication"}));
    }
    let prefix = format!("/api/{owner}/acme/packages/container/web");
    match asked.path.strip_prefix(&prefix) {
        Some("") => Answer::of_json(200, &json!({"name": "web"}))
            .with("x-oauth-scopes", package.scopes.clone()),
        Some("/versions") => versions(asked, package, address),
        Some(rest) => match rest.strip_prefix("/versions/") {
            Some(rest) => of_version(asked, rest, package),
            None => Answer::of_json(404, &json!({"message": "Not Found"})),
        },
        None => Answer::of_json(404, &json!({"message": "Package not found."})),
    }
}

/// A page of the versions, the newest first.
fn versions(asked: &Asked, package: &mut FakePackage, address: SocketAddr) -> Answer {
    let hidden = (package.behind > 0).then_some(package.next);
    package.behind = package.behind.saturating_sub(1);
    let number = |name: &str, default| {
        asked
            .parameter(name)
            .map_or(default, |text| text.parse().unwrap())
    };
    // Pages are smaller than a client asks for.
    let (size, page) = (number("per_page", 30usize).min(7), number("page", 1));
    let describe = |digest: &String, version: &FakeVersion, tags: Vec<String>| {
        json!({
            "id": version.id,
            "name": digest,
            "created_at": version.created,
            "updated_at": version.created,
            "metadata": {"package_type": "container", "container": {"tags": tags}},
        })
    };
    let mut all: Vec<Value> = if asked.parameter("state") == Some("deleted") {
        let deleted = package.deleted.iter();
        deleted
            .map(|(digest, (version, tags))| describe(digest, version, tags.clone()))
            .collect()
    } else {
        let versions = package.versions.iter();
        versions
            .map(|(digest, version)| describe(digest, version, package.tags_of(digest)))
            .collect()
    };
    all.retain(|version| hidden.is_none() || version["id"].as_u64() != hidden);
    all.sort_by_key(|version| std::cmp::Reverse(version["id"].as_u64()));
    let rest = all.split_off((size * (page - 1)).min(all.len()));
    let is_last = rest.len() <= size;
    let shown: Vec<Value> = rest.into_iter().take(size).collect();
    let mut answer = Answer::of_json(200, &Value::from(shown));
    if !is_last {
        let state = asked
            .parameter("state")
            .map_or(String::new(), |state| format!("&state={state}"));
        let path = &asked.path;
        let next = page + 1;
        let link =
            format!("<http://{address}{path}?per_page={size}&page={next}{state}>; rel=\"next\"");
        answer.1.push(("link", link));
    }
    answer
}

fn of_version(asked: &Asked, rest: &str, package: &mut FakePackage) -> Answer {
    let (id, act) = rest.split_once('/').unwrap_or((rest, ""));
    let id: u64 = id.parse().unwrap();
    if package.reads_only {
        let message = "You need at least delete:packages scope to delete a package version.";
        return Answer::of_json(403, &json!({"message": message}));
    }
    match (asked.method.as_str(), act) {
        ("DELETE", "") => {
            let found = package
                .versions
                .iter()
                .find(|(_, version)| version.id == id);
            let Some(digest) = found.map(|(digest, _)| digest.clone()) else {
                return Answer::of_json(404, &json!({"message": "Package not found."}));
            };
            let tags = package.tags_of(&digest);
            package.tags.retain(|_, to| *to != digest);
            let version = package.versions.remove(&digest).unwrap();
            package.deleted.insert(digest, (version, tags));
            Answer(204, Vec::new(), Vec::new())
        }
        ("POST", "restore") => {
            let found = package
                .deleted
                .iter()
                .find(|(_, (version, _))| version.id == id);
            let Some(digest) = found.map(|(digest, _)| digest.clone()) else {
                return Answer::of_json(404, &json!({"message": "Package not found."}));
            };
            let (version, tags) = package.deleted.remove(&digest).unwrap();
            package.versions.insert(digest.clone(), version);
            for tag in tags {
                package.tags.entry(tag).or_insert_with(|| digest.clone());
            }
            Answer(204, Vec::new(), Vec::new())
        }
        _ => Answer::of_json(405, &json!({"message": "Not Allowed"})),
    }
}

fn of_registry(asked: &Asked, rest: &str, package: &mut FakePackage) -> Answer {
    let refusal = |status, code: &str| {
        Answer::of_json(
            status,
            &json!({"errors": [{"code": code, "message": code}]}),
        )
    };
    if asked.method == "DELETE" {
        return refusal(405, "UNSUPPORTED");
    }
    if rest == "tags/list" {
        let tags: Vec<&String> = package.tags.keys().collect();
        return Answer::of_json(200, &json!({"name": "acme/web", "tags": tags}));
    }
    if let Some(name) = rest.strip_prefix("manifests/") {
        if asked.method == "PUT" {
            let tag = (!name.contains(':')).then_some(name);
            let media_type = asked.headers["content-type"].clone();
            let now = jiff::Timestamp::now().to_string();
            let digest = package.store(tag, media_type, asked.body.clone(), now);
            return Answer(201, vec![("docker-content-digest", digest)], Vec::new());
        }
        let digest = package.tags.get(name).cloned().unwrap_or(name.to_owned());
        let Some(version) = package.versions.get(&digest) else {
            return refusal(404, "MANIFEST_UNKNOWN");
        };
        let headers = vec![
            ("content-type", version.media_type.clone()),
            ("docker-content-digest", digest),
        ];
        return Answer(200, headers, version.bytes.clone());
    }
    if rest == "blobs/uploads/" {
        let place = (
            "location",
            "/v2/acme/web/blobs/uploads/1?state=1".to_owned(),
        );
        return Answer(202, vec![place], Vec::new());
    }
    if rest.starts_with("blobs/uploads/") {
        package
            .blobs
            .insert(Digest::sha256(&asked.body).to_string());
        return Answer(201, Vec::new(), Vec::new());
    }
    match rest.strip_prefix("blobs/") {
        Some(digest) if package.blobs.contains(digest) => Answer(200, Vec::new(), Vec::new()),
        _ => refusal(404, "UNKNOWN"),
    }
}
