//! Tests of the client against scripted registries, and of the scripts against real registries.

mod api_untag;
mod apis;
mod authorization;
mod blobs;
mod copy;
mod distribution;
mod lists;
mod live;
mod live_copy;
mod live_removal;
mod manifests;
mod model;
mod repetition;
pub(crate) mod scripted;
mod tag_range;
mod untag;
mod uploads;

use std::sync::{Arc, Mutex};
use std::time::{Duration, SystemTime};

use tokio_util::sync::CancellationToken;

use super::{Registries, RegistrySecurity, RemoteRepository, TagOrDigest};
use crate::credential::{Provider, ProviderOptions};
use crate::types::retry::Pauses;
use crate::types::{Clock, Environment, ImageRepository, Reference};

/// The registries of a run of their own, and what a test wants to know of it. Pauses are recorded, and take no time.
struct TestRun {
    registries: Registries,
    pauses: Arc<Mutex<Vec<Duration>>>,
    stop: CancellationToken,
    _configuration: tempfile::TempDir,
}

impl TestRun {
    /// A run without credentials.
    fn new() -> Self {
        Self::with_docker_config("{}")
    }

    /// A run with this `config.json`.
    fn with_docker_config(config: &str) -> Self {
        let dir = tempfile::tempdir().unwrap();
        std::fs::write(dir.path().join("config.json"), config).unwrap();
        let path = dir.path().to_str().unwrap();
        let environment = Environment::of([("DOCKER_CONFIG", path)], "/");
        let provider = Provider::new(ProviderOptions::new(&environment));
        let clock = Clock::fixed(SystemTime::UNIX_EPOCH + Duration::from_secs(100));
        let stop = CancellationToken::new();
        Self {
            registries: Registries::new(provider, clock, stop.clone()),
            pauses: Arc::default(),
            stop,
            _configuration: dir,
        }
    }

    /// A run with a password for `host`.
    fn with_password(host: &str, user: &str, password: &str) -> Self {
        use base64::Engine as _;
        let pair = base64::prelude::BASE64_STANDARD.encode(format!("{user}:{password}"));
        Self::with_docker_config(&format!(r#"{{"auths":{{"{host}":{{"auth":"{pair}"}}}}}}"#))
    }

    fn repository(&self, name: &str) -> RemoteRepository {
        self.repository_at(name, RegistrySecurity::Required)
    }

    fn repository_at(&self, name: &str, security: RegistrySecurity) -> RemoteRepository {
        let pauses = Arc::clone(&self.pauses);
        let pauses = || Pauses::Recorded(pauses);
        self.registries
            .repository_with(&repository_name(name), security, pauses)
    }

    fn pauses(&self) -> Vec<Duration> {
        self.pauses.lock().unwrap().clone()
    }
}

fn repository_name(name: &str) -> ImageRepository {
    ImageRepository::of(&name.parse::<Reference>().unwrap())
}

fn tag(text: &str) -> TagOrDigest {
    TagOrDigest::Tag(text.parse().unwrap())
}

#[tokio::test]
async fn the_repositories_of_a_registry_share_its_connection() {
    let registry = scripted::ScriptedRegistry::answering(vec![scripted::status(404)]).await;
    let run = TestRun::new();
    for path in ["a", "b/c"] {
        let name = repository_name(&registry.repository(path));
        let repository = run.registries.repository(&name, RegistrySecurity::Required);
        assert_eq!(*repository.name(), name);
        assert_eq!(repository.tags().await.unwrap(), None);
    }
    let counts = run.registries.counts();
    assert_eq!(counts.len(), 1);
    assert_eq!(counts[&registry.host()].to_string(), "2 requests (2 GET)");
    assert_eq!(registry.lines()[1], "GET /v2/b/c/tags/list");
}
