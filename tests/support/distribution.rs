//! The real distribution registry, for one test, and what it has.

use std::io::{BufRead as _, BufReader};
use std::process::{Child, Command, Stdio};

use bytes::Bytes;
use http::header::{ACCEPT, CONTENT_TYPE, LOCATION};
use http::{Method, Request, StatusCode};
use http_body_util::{BodyExt as _, Full};
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;
use rbake::types::Digest;

use super::peers;

/// A version of the registry.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Version {
    /// 2.8, which cannot delete a tag without its manifest.
    V2,
    /// 3, which can.
    V3,
}

impl Version {
    fn program(self) -> std::path::PathBuf {
        peers::program(match self {
            Self::V2 => "RBAKE_TEST_REGISTRY2",
            Self::V3 => "RBAKE_TEST_REGISTRY3",
        })
    }
}

/// The registry, which deletes what it is asked to delete. It ends when this is dropped.
pub(crate) struct DistributionRegistry {
    dir: tempfile::TempDir,
    version: Version,
    child: Child,
    /// Host and port.
    pub address: String,
}

impl DistributionRegistry {
    /// Starts a registry that lets everybody do everything.
    pub(crate) fn start(version: Version) -> Self {
        Self::start_with(version, |_| String::new())
    }

    /// Starts a registry that deletes nothing.
    pub(crate) fn without_deletion(version: Version) -> Self {
        Self::configured(version, false, |_| String::new())
    }

    /// Starts a registry whose configuration ends with what `more` returns for the directory of its files.
    pub(crate) fn start_with(
        version: Version,
        more: impl FnOnce(&std::path::Path) -> String,
    ) -> Self {
        Self::configured(version, true, more)
    }

    fn configured(
        version: Version,
        deletes: bool,
        more: impl FnOnce(&std::path::Path) -> String,
    ) -> Self {
        let dir = tempfile::Builder::new().prefix("rbake-").tempdir().unwrap();
        let path = |name: &str| dir.path().join(name).display().to_string();
        // 2.8 wants a secret.
        let config = format!(
            "version: 0.1\nlog:\n  level: info\nstorage:\n  filesystem:\n    rootdirectory: {}\n  delete:\n    enabled: {deletes}\nhttp:\n  addr: 127.0.0.1:0\n  secret: test\n{}",
            path("data"),
            more(dir.path()),
        );
        std::fs::write(path("config.yml"), config).unwrap();
        let mut child = Command::new(version.program())
            .args(["serve", &path("config.yml")])
            .env("OTEL_TRACES_EXPORTER", "none")
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let mut lines = BufReader::new(child.stderr.take().unwrap()).lines();
        let address = lines
            .by_ref()
            .map_while(Result::ok)
            .find_map(|line| {
                let (_, after) = line.split_once("listening on 127.0.0.1:")?;
                let digits = after
                    .find(|c: char| !c.is_ascii_digit())
                    .unwrap_or(after.len());
                Some(format!("127.0.0.1:{}", &after[..digits]))
            })
            .expect("the registry says where it listens");
        // Keep reading, because the registry would block on a full pipe.
        std::thread::spawn(move || lines.for_each(drop));
        Self {
            dir,
            version,
            child,
            address,
        }
    }

    /// Runs the registry's own garbage collection. Nobody may write meanwhile.
    pub(crate) fn collect_garbage(&self) {
        let config = self.dir.path().join("config.yml");
        let output = Command::new(self.version.program())
            .arg("garbage-collect")
            .arg(config)
            .env("OTEL_TRACES_EXPORTER", "none")
            .output()
            .unwrap();
        assert!(output.status.success(), "{output:?}");
    }

    /// Reads what the registry has.
    pub(crate) fn contents(&self) -> RegistryContents {
        RegistryContents::of(&self.address)
    }
}

impl Drop for DistributionRegistry {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Reads manifests of a registry.
#[derive(Clone)]
pub(crate) struct RegistryContents {
    address: String,
    client: Client<HttpConnector, Full<Bytes>>,
}

/// The media types of all manifests that tests write.
const MANIFESTS: &str = "application/vnd.oci.image.index.v1+json, application/vnd.oci.image.manifest.v1+json, application/vnd.docker.distribution.manifest.list.v2+json, application/vnd.docker.distribution.manifest.v2+json";

impl RegistryContents {
    /// Reads what the registry at `address` has.
    pub(crate) fn of(address: &str) -> Self {
        Self {
            address: address.to_owned(),
            client: Client::builder(TokioExecutor::new()).build_http(),
        }
    }

    /// The digest to which `tag` points. `None` if it does not exist.
    pub(crate) async fn digest(&self, repository: &str, tag: &str) -> Option<String> {
        let bytes = self.manifest(repository, tag).await?;
        Some(Digest::sha256(&bytes).to_string())
    }

    /// The manifest with this tag or digest. `None` if it does not exist.
    pub(crate) async fn manifest(&self, repository: &str, name: &str) -> Option<Bytes> {
        self.get(&format!("/v2/{repository}/manifests/{name}"))
            .await
    }

    /// The manifest with this tag or digest as JSON. `None` if it does not exist.
    pub(crate) async fn json(&self, repository: &str, name: &str) -> Option<serde_json::Value> {
        let bytes = self.manifest(repository, name).await?;
        Some(serde_json::from_slice(&bytes).unwrap())
    }

    /// A blob that is JSON. `None` if it does not exist.
    pub(crate) async fn json_blob(
        &self,
        repository: &str,
        digest: &str,
    ) -> Option<serde_json::Value> {
        let bytes = self
            .get(&format!("/v2/{repository}/blobs/{digest}"))
            .await?;
        Some(serde_json::from_slice(&bytes).unwrap())
    }

    /// The tags of `repository`, in order.
    pub(crate) async fn tags(&self, repository: &str) -> Vec<String> {
        let Some(bytes) = self
            .get(&format!("/v2/{repository}/tags/list?n=1000"))
            .await
        else {
            return Vec::new();
        };
        let list: serde_json::Value = serde_json::from_slice(&bytes).unwrap();
        let tags = list["tags"].as_array().cloned().unwrap_or_default();
        let mut tags: Vec<String> = tags
            .iter()
            .map(|tag| tag.as_str().unwrap().to_owned())
            .collect();
        tags.sort();
        tags
    }

    /// Checks that the image at `tag`, all its manifests and blobs are there.
    pub(crate) async fn assert_whole(&self, repository: &str, tag: &str) {
        let mut left = vec![tag.to_owned()];
        while let Some(name) = left.pop() {
            let found = self.json(repository, &name).await;
            let manifest = found.unwrap_or_else(|| panic!("`{repository}` has no `{name}`"));
            let digest = |descriptor: &serde_json::Value| {
                let digest = descriptor["digest"].as_str();
                digest.unwrap().to_owned()
            };
            let parts = |field: &str| {
                let parts = manifest[field].as_array().cloned();
                parts.unwrap_or_default().iter().map(digest).collect()
            };
            let children: Vec<String> = parts("manifests");
            left.extend(children);
            let mut blobs: Vec<String> = parts("layers");
            blobs.extend(manifest.get("config").map(digest));
            for blob in blobs {
                let path = format!("/v2/{repository}/blobs/{blob}");
                let found = self.get(&path).await;
                assert!(found.is_some(), "`{repository}` has no {blob} of `{name}`");
            }
        }
    }

    /// Uploads a blob. Returns its descriptor, without a media type.
    pub(crate) async fn upload(
        &self,
        repository: &str,
        bytes: impl Into<Bytes>,
    ) -> serde_json::Value {
        let bytes = bytes.into();
        let digest = Digest::sha256(&bytes).to_string();
        let size = bytes.len();
        let uri = format!("http://{}/v2/{repository}/blobs/uploads/", self.address);
        let request = Request::post(uri).body(Full::default()).unwrap();
        let answer = self.client.request(request).await.unwrap();
        assert_eq!(answer.status(), StatusCode::ACCEPTED);
        let place = answer.headers()["location"].to_str().unwrap();
        let place = place.strip_prefix("http://").unwrap_or(place);
        let path = place.find('/').map_or("", |at| &place[at..]);
        let uri = format!("http://{}{path}&digest={digest}", self.address);
        let request = Request::put(uri).body(Full::new(bytes)).unwrap();
        let answer = self.client.request(request).await.unwrap();
        assert_eq!(answer.status(), StatusCode::CREATED);
        serde_json::json!({"digest": digest, "size": size})
    }

    /// Writes a manifest under a tag, or under its digest without one. Returns its descriptor.
    pub(crate) async fn write(
        &self,
        repository: &str,
        tag: Option<&str>,
        manifest: &serde_json::Value,
    ) -> serde_json::Value {
        let bytes = Bytes::from(manifest.to_string());
        let digest = Digest::sha256(&bytes).to_string();
        let size = bytes.len();
        self.put(repository, tag.unwrap_or(&digest), bytes).await;
        serde_json::json!({"mediaType": manifest["mediaType"], "digest": digest, "size": size})
    }

    /// Points `tag` to the manifest at `name`.
    pub(crate) async fn set(&self, repository: &str, name: &str, tag: &str) {
        let manifest = self.manifest(repository, name).await.unwrap();
        self.put(repository, tag, manifest).await;
    }

    /// Writes `manifest` under `name`, a tag or its digest.
    pub(crate) async fn put(&self, repository: &str, name: &str, manifest: Bytes) {
        let json: serde_json::Value = serde_json::from_slice(&manifest).unwrap();
        let request = Request::builder()
            .method(Method::PUT)
            .uri(format!(
                "http://{}/v2/{repository}/manifests/{name}",
                self.address
            ))
            .header(CONTENT_TYPE, json["mediaType"].as_str().unwrap())
            .body(Full::new(manifest))
            .unwrap();
        let answer = self.client.request(request).await.unwrap();
        assert_eq!(answer.status(), StatusCode::CREATED);
    }

    /// Removes a blob from a repository, as a faulty garbage collection does.
    pub(crate) async fn lose_blob(&self, repository: &str, digest: &str) {
        let request = Request::builder()
            .method(Method::DELETE)
            .uri(format!(
                "http://{}/v2/{repository}/blobs/{digest}",
                self.address
            ))
            .body(Full::default())
            .unwrap();
        let answer = self.client.request(request).await.unwrap();
        assert_eq!(answer.status(), StatusCode::ACCEPTED);
    }

    /// Uploads a blob, and returns its digest.
    pub(crate) async fn put_blob(&self, repository: &str, blob: Bytes) -> String {
        let begin = Request::builder()
            .method(Method::POST)
            .uri(format!(
                "http://{}/v2/{repository}/blobs/uploads/",
                self.address
            ))
            .body(Full::default())
            .unwrap();
        let begun = self.client.request(begin).await.unwrap();
        let place = begun.headers()[LOCATION].to_str().unwrap();
        let digest = Digest::sha256(&blob).to_string();
        let end = Request::builder()
            .method(Method::PUT)
            .uri(format!("{place}&digest={digest}"))
            .header(CONTENT_TYPE, "application/octet-stream")
            .body(Full::new(blob))
            .unwrap();
        let ended = self.client.request(end).await.unwrap();
        assert_eq!(ended.status(), StatusCode::CREATED);
        digest
    }

    async fn get(&self, path: &str) -> Option<Bytes> {
        let request = Request::builder()
            .method(Method::GET)
            .uri(format!("http://{}{path}", self.address))
            .header(ACCEPT, MANIFESTS)
            .body(Full::default())
            .unwrap();
        let answer = self.client.request(request).await.unwrap();
        let status = answer.status();
        let bytes = answer.into_body().collect().await.unwrap().to_bytes();
        match status {
            StatusCode::OK => Some(bytes),
            StatusCode::NOT_FOUND => None,
            other => panic!("{path}: {other}: {}", String::from_utf8_lossy(&bytes)),
        }
    }
}
