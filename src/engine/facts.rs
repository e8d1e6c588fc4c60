//! What a daemon reports about itself and its workers, for `rbake builder ls` and `inspect`.
//!
//! A run asks for less and in another way (see `capability`). Start at [`daemon_facts`].

use std::collections::BTreeMap;
use std::time::Duration;

use rbake_proto::control::ListWorkersRequest;
use rbake_proto::worker::{CdiDevice, GcPolicy, WorkerRecord};

use super::capability::platform;
use super::connection::Connection;
use super::failure::clean;
use crate::types::Platform;

/// The most entries that are kept of each list in the daemon's answer.
const MOST: usize = 1000;

/// What a daemon reports about itself.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct DaemonFacts {
    /// Its version, such as `v0.32.2`. `None` for daemons before v0.12.
    pub(crate) version: Option<String>,
    /// The ids of its workers, sorted.
    pub(crate) worker_ids: Vec<String>,
    /// The platforms for which its workers build, in the daemon's order, each once.
    pub(crate) platforms: Vec<Platform>,
    /// The labels of its first worker.
    pub(crate) labels: BTreeMap<String, String>,
    /// The rules by which its first worker collects garbage.
    pub(crate) gc_rules: Vec<GcRule>,
    /// The devices that steps may be given.
    pub(crate) devices: Vec<BuildDevice>,
}

/// One rule of the garbage collection of the cache. Sizes are in bytes; zero means that there is no such limit.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct GcRule {
    /// Whether the rule is about internal records and those of frontends, too.
    pub(crate) all: bool,
    /// Records that were used within this time are kept.
    pub(crate) keep_duration: Duration,
    /// The filters of BuildKit that select the records.
    pub(crate) filters: Vec<String>,
    /// How much is kept in any case.
    pub(crate) reserved_space: u64,
    /// How much is kept at most.
    pub(crate) max_used_space: u64,
    /// How much of the disk is to be free afterwards.
    pub(crate) min_free_space: u64,
}

/// A device that steps may be given (CDI).
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct BuildDevice {
    /// Its name.
    pub(crate) name: String,
    /// Whether every step may use it without a grant.
    pub(crate) is_allowed: bool,
    /// Whether the daemon sets it up when a step asks for it.
    pub(crate) on_demand: bool,
}

/// Asks the daemon for its workers.
///
/// # Errors
/// The daemon refuses, or the connection ends.
pub(crate) async fn daemon_facts(connection: &Connection) -> Result<DaemonFacts, tonic::Status> {
    let mut control = connection.control();
    let answer = control.list_workers(ListWorkersRequest::default()).await?;
    Ok(facts(answer.into_inner().record, connection.version()))
}

fn facts(records: Vec<WorkerRecord>, version: Option<&str>) -> DaemonFacts {
    let mut facts = DaemonFacts {
        version: version.map(clean),
        ..DaemonFacts::default()
    };
    for (number, record) in records.into_iter().take(MOST).enumerate() {
        facts.worker_ids.push(clean(&record.id));
        for found in record.platforms.iter().take(MOST).filter_map(platform) {
            if !facts.platforms.contains(&found) {
                facts.platforms.push(found);
            }
        }
        if number == 0 {
            let labels = record.labels.iter().take(MOST);
            facts.labels = labels.map(|(k, v)| (clean(k), clean(v))).collect();
            facts.gc_rules = record.gc_policy.iter().take(MOST).map(rule).collect();
        }
        // As buildx shows them: those of the last worker.
        let devices = record.cdi_devices.iter().take(MOST);
        facts.devices = devices.map(device).collect();
    }
    facts.worker_ids.sort();
    facts
}

fn rule(from: &GcPolicy) -> GcRule {
    let size = |bytes: i64| u64::try_from(bytes).unwrap_or_default();
    GcRule {
        all: from.all,
        keep_duration: Duration::from_nanos(size(from.keep_duration)),
        filters: from
            .filters
            .iter()
            .take(MOST)
            .map(|text| clean(text))
            .collect(),
        reserved_space: size(from.reserved_space),
        max_used_space: size(from.max_used_space),
        min_free_space: size(from.min_free_space),
    }
}

fn device(from: &CdiDevice) -> BuildDevice {
    BuildDevice {
        name: clean(&from.name),
        is_allowed: from.auto_allow,
        on_demand: from.on_demand,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rbake_proto::pb;

    fn record(id: &str, architectures: &[&str]) -> WorkerRecord {
        let platform = |architecture: &&str| pb::Platform {
            os: "linux".to_owned(),
            architecture: (*architecture).to_owned(),
            ..pb::Platform::default()
        };
        WorkerRecord {
            id: id.to_owned(),
            platforms: architectures.iter().map(platform).collect(),
            ..WorkerRecord::default()
        }
    }

    #[test]
    fn platforms_of_all_workers_are_listed_once_in_their_order() {
        let records = vec![
            record("b", &["amd64", "386"]),
            record("a", &["386", "arm64"]),
        ];
        let facts = facts(records, Some("v0.32.2"));
        let platforms: Vec<_> = facts.platforms.iter().map(ToString::to_string).collect();
        assert_eq!(platforms, ["linux/amd64", "linux/386", "linux/arm64"]);
        assert_eq!(facts.worker_ids, ["a", "b"]);
        assert_eq!(facts.version.as_deref(), Some("v0.32.2"));
    }

    #[test]
    fn texts_of_the_daemon_have_no_control_characters_and_negative_sizes_count_as_none() {
        let mut record = record("a\u{1b}[2J", &[]);
        record.labels.insert("k\n".to_owned(), "v\u{7}".to_owned());
        record.gc_policy = vec![GcPolicy {
            reserved_space: -1,
            keep_duration: i64::MIN,
            max_used_space: 5,
            ..GcPolicy::default()
        }];
        let facts = facts(vec![record], None);
        let text = format!("{facts:?}");
        assert!(
            !text.contains("\\u{1b}") && !text.contains("\\u{7}"),
            "{text}"
        );
        assert_eq!(facts.gc_rules[0].reserved_space, 0);
        assert_eq!(facts.gc_rules[0].keep_duration, Duration::ZERO);
        assert_eq!(facts.gc_rules[0].max_used_space, 5);
    }

    #[test]
    fn endless_lists_are_cut() {
        let records = (0..3 * MOST).map(|n| record(&n.to_string(), &["amd64"]));
        assert_eq!(facts(records.collect(), None).worker_ids.len(), MOST);
    }
}
