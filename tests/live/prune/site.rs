//! A registry with old images, which the tests write themselves.

use std::process::Command;
use std::time::{Duration, SystemTime};

use jiff::Timestamp;
use serde_json::{Value, json};

use crate::support::distribution::{DistributionRegistry, RegistryContents, Version};
use crate::support::project::{CommandOutput, TestProject};

const MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";
const INDEX: &str = "application/vnd.oci.image.index.v1+json";

/// The repository.
pub(super) const WEB: &str = "site/web";
/// The rules of most tests: `build-7` and `build-8` stay.
pub(super) const RULES: [&str; 4] = ["--keep-newest", "build-*=2", "--max-delete", "100"];

/// A registry, and a directory with a home in which rbake runs.
pub(super) struct PruneSite {
    pub(super) registry: DistributionRegistry,
    pub(super) contents: RegistryContents,
    pub(super) project: TestProject,
}

impl PruneSite {
    /// A registry with `build-1` to `build-8`, each an index of two platforms with its attestation and a signature. The
    /// last one is `latest`, too. All are old.
    pub(super) async fn new(version: Version) -> Self {
        let site = Self::of(DistributionRegistry::start(version));
        site.fill().await;
        site
    }

    pub(super) fn of(registry: DistributionRegistry) -> Self {
        Self {
            contents: registry.contents(),
            registry,
            project: TestProject::new(),
        }
    }

    pub(super) async fn fill(&self) {
        for number in 1..=8 {
            self.build(number).await;
        }
        self.contents.set(WEB, "build-8", "latest").await;
    }

    async fn build(&self, number: u64) {
        let days = 100 - number;
        let images = [
            self.image(&format!("amd64 {number}"), days).await,
            self.image(&format!("arm64 {number}"), days).await,
        ];
        let mut children = images.to_vec();
        let mut attestation = self.image(&format!("attestation {number}"), days).await;
        attestation["annotations"] = json!({
            "vnd.docker.reference.type": "attestation-manifest",
            "vnd.docker.reference.digest": images[0]["digest"],
        });
        children.push(attestation);
        let index = json!({"schemaVersion": 2, "mediaType": INDEX, "manifests": children});
        let tag = format!("build-{number}");
        let index = self.contents.write(WEB, Some(&tag), &index).await;
        let digest = index["digest"].as_str().unwrap().replace(':', "-");
        let signature = self.manifest(&format!("signature {number}"), days).await;
        let tag = format!("{digest}.sig");
        self.contents.write(WEB, Some(&tag), &signature).await;
    }

    /// Writes an image without a tag that is `days` old. Returns its descriptor.
    async fn image(&self, name: &str, days: u64) -> Value {
        let manifest = self.manifest(name, days).await;
        self.contents.write(WEB, None, &manifest).await
    }

    async fn manifest(&self, name: &str, days: u64) -> Value {
        let age = Duration::from_secs(days * 24 * 60 * 60);
        let created = Timestamp::try_from(SystemTime::now() - age).unwrap();
        let config = json!({
            "created": created.to_string(),
            "architecture": "amd64",
            "os": "linux",
            "name": name,
            "rootfs": {"type": "layers", "diff_ids": []},
        });
        let mut config = self.contents.upload(WEB, config.to_string()).await;
        config["mediaType"] = "application/vnd.oci.image.config.v1+json".into();
        let mut layers = Vec::new();
        for content in ["a base that all images share", name] {
            let mut layer = self.contents.upload(WEB, content.to_owned()).await;
            layer["mediaType"] = "application/vnd.oci.image.layer.v1.tar".into();
            layers.push(layer);
        }
        json!({"schemaVersion": 2, "mediaType": MANIFEST, "config": config, "layers": layers})
    }

    /// The command `rbake prune images` for the repository at `address`.
    pub(super) fn command(&self, address: &str, more: &[&str]) -> Command {
        let repository = format!("{address}/{WEB}");
        let words = [&["prune", "images", &repository], RULES.as_slice(), more].concat();
        self.project.command(&words)
    }

    /// Runs it for the registry itself.
    pub(super) fn prune(&self, more: &[&str]) -> CommandOutput {
        let mut command = self.command(&self.registry.address, more);
        self.project.read(&command.output().unwrap())
    }

    /// The plan of a dry run.
    pub(super) fn plan(&self) -> Value {
        let output = self.prune(&["--json"]);
        assert_eq!(output.code, Some(0), "{output}");
        serde_json::from_str(&output.stdout).unwrap()
    }

    /// The tags that are names of images.
    pub(super) async fn tags(&self) -> Vec<String> {
        let mut tags = self.contents.tags(WEB).await;
        tags.retain(|tag| !tag.starts_with("sha256-"));
        tags
    }

    /// Checks that what `plan` keeps is whole, and what it deletes is gone.
    pub(super) async fn assert_done(&self, plan: &Value) {
        assert_done(&self.contents, WEB, &plan["repositories"][0]).await;
    }

    /// Checks that what `plan` keeps is whole.
    pub(super) async fn assert_kept(&self, plan: &Value) {
        assert_kept(&self.contents, WEB, &plan["repositories"][0]).await;
    }

    /// Checks that each tag that is there is whole, whatever became of a prune.
    pub(super) async fn assert_nothing_broken(&self) {
        for tag in self.contents.tags(WEB).await {
            self.contents.assert_whole(WEB, &tag).await;
        }
    }
}

/// Checks that what `plan` of `repository` keeps is whole, and what it deletes is gone.
pub(super) async fn assert_done(contents: &RegistryContents, repository: &str, plan: &Value) {
    assert_kept(contents, repository, plan).await;
    for step in plan["steps"].as_array().unwrap() {
        let digest = step["digest"].as_str().unwrap();
        if step["act"] == "delete" {
            let found = contents.manifest(repository, digest).await;
            assert!(found.is_none(), "{digest} is still there");
        }
        for tag in step["tags"].as_array().unwrap() {
            let tag = tag["tag"].as_str().unwrap();
            let found = contents.digest(repository, tag).await;
            assert_ne!(found.as_deref(), Some(digest), "{tag} is still there");
        }
    }
}

/// Checks that what `plan` of `repository` keeps is whole.
pub(super) async fn assert_kept(contents: &RegistryContents, repository: &str, plan: &Value) {
    let kept = plan["keptTags"].as_array().unwrap();
    assert!(!kept.is_empty());
    for kept in kept {
        let (tag, digest) = (kept["tag"].as_str().unwrap(), kept["digest"].as_str());
        let now = contents.digest(repository, tag).await;
        assert_eq!(now.as_deref(), digest, "{tag}");
        contents.assert_whole(repository, tag).await;
    }
    for kept in plan["keptManifests"].as_array().unwrap() {
        let digest = kept["digest"].as_str().unwrap();
        contents.assert_whole(repository, digest).await;
    }
}

/// The name of the prune that `output` tells.
pub(super) fn run_of(output: &CommandOutput) -> String {
    let (_, after) = output.stderr.split_once("\nprune ").unwrap();
    after.split_whitespace().next().unwrap().to_owned()
}
