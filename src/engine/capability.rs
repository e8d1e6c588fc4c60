//! What a daemon can do: its version, workers and capabilities.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use rbake_proto::apicaps::ApiCap;
use rbake_proto::control::{CacheOptions, ListWorkersRequest, SolveRequest};
use rbake_proto::pb;
use rbake_proto::worker::WorkerRecord;

use super::connection::Connection;
use super::gateway::Gateway;
use super::id::BuildRef;
use super::solve::failure_of;
use crate::outcome::SolveFailure;
use crate::types::Platform;

/// The most time that the daemon may take to end the probe's job, and to list its workers. The probe succeeds without
/// either.
const END_LIMIT: Duration = Duration::from_secs(10);

/// What a daemon can do.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Capabilities {
    /// The version that it reports, such as `v0.32.2`.
    pub(crate) version: Option<String>,
    /// The workers; the first is the default.
    pub workers: Vec<Worker>,
    /// Enabled capabilities of the solver and of exporters, such as `exporter.multiple`.
    pub solver: BTreeSet<String>,
    /// Enabled capabilities of the gateway, such as `return`.
    pub gateway: BTreeSet<String>,
}

/// An execution backend of a daemon.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Worker {
    /// The id that the daemon gives it.
    pub(crate) id: String,
    /// Labels such as `org.mobyproject.buildkit.worker.snapshotter`.
    pub(crate) labels: BTreeMap<String, String>,
    /// The platforms that it builds for, the native one first.
    pub(crate) platforms: Vec<Platform>,
}

impl Capabilities {
    /// Whether the solver has `capability`.
    pub(crate) fn has(&self, capability: &str) -> bool {
        self.solver.contains(capability)
    }

    /// Whether one solve may have several exports.
    pub fn multiple_exporters(&self) -> bool {
        self.has("exporter.multiple")
    }

    /// Whether images may carry attestations.
    pub fn attestations(&self) -> bool {
        self.has("exporter.image.attestations")
    }

    /// Whether the daemon supports the cache backend `gha`.
    pub fn cache_gha(&self) -> bool {
        self.has("cache.gha")
    }

    /// Whether the daemon supports the cache backend `s3`.
    #[cfg(test)]
    pub(crate) fn cache_s3(&self) -> bool {
        self.has("cache.s3")
    }

    /// Whether each step can have limits on memory and processors.
    pub fn step_resources(&self) -> bool {
        self.has("exec.meta.linux.resources")
    }

    /// Whether a session may decide about the sources of a build.
    pub(crate) fn policy_sessions(&self) -> bool {
        self.has("source.policy.session")
    }

    /// Whether steps may reach the network through the daemon's proxy.
    pub(crate) fn network_proxy(&self) -> bool {
        self.has("exec.meta.network.proxy")
    }

    /// The value of the default worker's label `name`.
    pub fn label(&self, name: &str) -> Option<&str> {
        self.workers.first()?.labels.get(name).map(String::as_str)
    }

    /// The IP address that `host-gateway` means, if the daemon reports it (only dockerd does).
    pub(crate) fn host_gateway(&self) -> Option<&str> {
        self.label("org.mobyproject.buildkit.worker.moby.host-gateway-ip")
    }

    /// The native platform of the default worker.
    pub fn native_platform(&self) -> Option<&Platform> {
        self.workers.first()?.platforms.first()
    }
}

/// Asks the daemon, through an internal job that does not appear in its history.
pub(super) async fn probe(connection: &Connection) -> Result<Capabilities, SolveFailure> {
    let mut control = connection.control();
    let build_ref = BuildRef::new();
    let outer = control.solve(SolveRequest {
        r#ref: build_ref.to_string(),
        internal: true,
        // Daemons of v0.17 use the cache options without a check for nil, and crash.
        cache: Some(CacheOptions::default()),
        ..SolveRequest::default()
    });
    let mut outer = std::pin::pin!(outer);
    let mut gateway = Gateway::new(connection, &build_ref);
    let pong = tokio::select! {
        pong = gateway.ping() => pong,
        outer = &mut outer => match outer {
            Ok(_) => Err(tonic::Status::unknown("the builder ended a build that had not started")),
            Err(status) => Err(status),
        },
    };
    let pong = match pong {
        Ok(pong) => pong,
        Err(status) => return Err(failure_of(connection, &status).await),
    };
    // The answer is here, so it does not matter how the job ends.
    let end = async {
        if gateway.return_nothing().await.is_ok() {
            let _ = outer.await;
        }
    };
    let _ = tokio::time::timeout(END_LIMIT, end).await;
    // If the answer has no workers, ask for them separately.
    let workers = if pong.workers.is_empty() {
        let mut control = connection.control();
        let workers = control.list_workers(ListWorkersRequest::default());
        match tokio::time::timeout(END_LIMIT, workers).await {
            Ok(Ok(response)) => response.into_inner().record,
            Ok(Err(_)) | Err(_) => Vec::new(),
        }
    } else {
        pong.workers
    };
    Ok(Capabilities {
        version: connection.version().map(str::to_owned),
        workers: workers.into_iter().map(worker).collect(),
        solver: enabled(pong.llb_caps),
        gateway: enabled(pong.frontend_api_caps),
    })
}

fn enabled(caps: Vec<ApiCap>) -> BTreeSet<String> {
    caps.into_iter()
        .filter(|cap| cap.enabled)
        .map(|cap| cap.id)
        .collect()
}

fn worker(record: WorkerRecord) -> Worker {
    Worker {
        id: record.id,
        labels: record.labels,
        platforms: record.platforms.iter().filter_map(platform).collect(),
    }
}

/// `None` if the daemon reports a platform that cannot be parsed.
pub(super) fn platform(from: &pb::Platform) -> Option<Platform> {
    let mut text = format!("{}/{}", from.os, from.architecture);
    if !from.variant.is_empty() {
        text = format!("{text}/{}", from.variant);
    }
    text.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_enabled_capabilities_are_used() {
        let cap = |id: &str, enabled| ApiCap {
            id: id.to_owned(),
            enabled,
            ..ApiCap::default()
        };
        let caps = Capabilities {
            solver: enabled(vec![cap("cache.gha", true), cap("cache.s3", false)]),
            ..Capabilities::default()
        };
        assert!(caps.cache_gha() && !caps.cache_s3());
        assert_eq!(caps.host_gateway(), None);
    }

    #[test]
    fn invalid_platforms_are_left_out() {
        let record = WorkerRecord {
            platforms: vec![
                pb::Platform {
                    os: "linux".to_owned(),
                    architecture: "arm64".to_owned(),
                    variant: "v8".to_owned(),
                    ..pb::Platform::default()
                },
                pb::Platform::default(),
            ],
            ..WorkerRecord::default()
        };
        let worker = worker(record);
        assert_eq!(worker.platforms, ["linux/arm64".parse().unwrap()]);
    }
}
