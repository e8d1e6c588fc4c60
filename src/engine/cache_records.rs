//! The records of a daemon's build cache: lists them, and has the daemon delete them.
//!
//! Start at [`disk_usage`] and [`prune`].

use std::time::{Duration, SystemTime};

use rbake_proto::control::{DiskUsageRequest, PruneRequest, UsageRecord};
use tonic::Status;

use super::Engine;
use super::connection::{Connection, ConnectionError};
use super::failure::clean;
use crate::outcome::SolveFailure;

/// The capability of daemons that know limits of used and free space (v0.17 and newer).
const FREE_SPACE: &str = "gc.freespacefilter";

/// A record of the build cache.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct CacheRecord {
    /// Its id.
    pub(crate) id: String,
    /// Whether it can still be written to.
    pub(crate) is_mutable: bool,
    /// Whether something uses it, so that it cannot be deleted.
    pub(crate) in_use: bool,
    /// Whether it shares its content with images or with other records.
    pub(crate) is_shared: bool,
    /// In bytes.
    pub(crate) size: u64,
    /// `None` if the daemon reports no valid time.
    pub(crate) created: Option<SystemTime>,
    /// `None` if it was never used.
    pub(crate) last_used: Option<SystemTime>,
    /// How often it was used.
    pub(crate) uses: i64,
    /// The ids of the records on which it is based.
    pub(crate) parents: Vec<String>,
    /// What made it, for people.
    pub(crate) description: String,
    /// Its kind, such as `regular` or `source.local`.
    pub(crate) kind: String,
}

/// Which records of the cache are to be deleted. Sizes are in bytes; zero is without this limit.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct CachePrune {
    /// Filters of BuildKit: a record must match one of them. Empty for all records.
    pub(crate) filters: Vec<String>,
    /// Whether internal records and those of frontends are deleted, too.
    pub(crate) all: bool,
    /// Records that were used within this time are kept.
    pub(crate) keep_duration: Duration,
    /// This much is kept in any case.
    pub(crate) reserved_space: u64,
    /// Records are deleted until no more than this is used.
    pub(crate) max_used_space: u64,
    /// Records are deleted until this much of the disk is free.
    pub(crate) min_free_space: u64,
}

/// The records of a cache cannot be listed or deleted.
#[derive(Debug, thiserror::Error)]
pub(crate) enum CacheRecordError {
    /// The daemon refuses.
    #[error("the builder does not {act}: {message}")]
    Refused {
        /// What was asked for, as a verb phrase.
        act: &'static str,
        /// The daemon's explanation.
        message: String,
    },
    /// The connection ended.
    #[error(transparent)]
    Lost(#[from] ConnectionError),
    /// The daemon is too old for limits of used or free space.
    #[error(
        "the builder ({0}) does not know `--max-used-space` and `--min-free-space`: it needs BuildKit v0.17 or newer"
    )]
    TooOld(String),
    /// The daemon's capabilities cannot be found out.
    #[error("the builder does not report its capabilities")]
    Capabilities(#[source] Box<SolveFailure>),
}

/// Lists the records of the cache that match one of `filters`, or all, and were not used for the time `unused_for`.
pub(crate) async fn disk_usage(
    connection: &Connection,
    filters: &[String],
    unused_for: Duration,
) -> Result<Vec<CacheRecord>, CacheRecordError> {
    let request = DiskUsageRequest {
        filter: filters.to_vec(),
        age_limit: nanoseconds(unused_for),
    };
    match connection.control().disk_usage(request).await {
        Ok(answer) => Ok(answer
            .into_inner()
            .record
            .into_iter()
            .map(|found| record(&found))
            .collect()),
        Err(status) => Err(refused(connection, "list its cache", &status).await),
    }
}

/// Has the daemon delete records of the cache. Calls `deleted` with each of them.
pub(crate) async fn prune(
    engine: &Engine,
    order: &CachePrune,
    mut deleted: impl FnMut(CacheRecord),
) -> Result<(), CacheRecordError> {
    const ACT: &str = "clean up its cache";
    let connection = engine.connection();
    if order.max_used_space > 0 || order.min_free_space > 0 {
        // An older daemon would ignore the limits, and delete everything.
        let capabilities = engine.capabilities().await;
        let capabilities =
            capabilities.map_err(|failure| CacheRecordError::Capabilities(Box::new(failure)))?;
        if !capabilities.has(FREE_SPACE) {
            let version = connection.version().unwrap_or("of an unknown version");
            return Err(CacheRecordError::TooOld(clean(version)));
        }
    }
    let size = |bytes: u64| i64::try_from(bytes).unwrap_or(i64::MAX);
    let request = PruneRequest {
        filter: order.filters.clone(),
        all: order.all,
        keep_duration: nanoseconds(order.keep_duration),
        reserved_space: size(order.reserved_space),
        max_used_space: size(order.max_used_space),
        min_free_space: size(order.min_free_space),
    };
    let mut records = match connection.control().prune(request).await {
        Ok(records) => records.into_inner(),
        Err(status) => return Err(refused(connection, ACT, &status).await),
    };
    loop {
        match records.message().await {
            Ok(Some(found)) => deleted(record(&found)),
            Ok(None) => return Ok(()),
            Err(status) => return Err(refused(connection, ACT, &status).await),
        }
    }
}

fn nanoseconds(duration: Duration) -> i64 {
    i64::try_from(duration.as_nanos()).unwrap_or(i64::MAX)
}

async fn refused(connection: &Connection, act: &'static str, status: &Status) -> CacheRecordError {
    match connection.loss_behind(status).await {
        Some(loss) => loss.into(),
        None => CacheRecordError::Refused {
            act,
            message: clean(status.message()),
        },
    }
}

fn record(from: &UsageRecord) -> CacheRecord {
    // Daemons before v0.10 report one parent in another field.
    let mut parents: Vec<String> = from.parents.iter().map(|id| clean(id)).collect();
    if parents.is_empty() && !from.parent.is_empty() {
        parents.push(clean(&from.parent));
    }
    CacheRecord {
        id: clean(&from.id),
        is_mutable: from.mutable,
        in_use: from.in_use,
        is_shared: from.shared,
        size: u64::try_from(from.size).unwrap_or_default(),
        created: time(from.created_at),
        last_used: time(from.last_used_at),
        uses: from.usage_count,
        parents,
        description: clean(&from.description),
        kind: clean(&from.record_type),
    }
}

/// `None` if the time is not set, before 1970, or not valid.
fn time(timestamp: Option<prost_types::Timestamp>) -> Option<SystemTime> {
    let timestamp = timestamp.filter(|timestamp| timestamp.seconds > 0)?;
    SystemTime::try_from(timestamp).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hostile_records_are_harmless() {
        let found = record(&UsageRecord {
            id: "a\u{1b}[2J".to_owned(),
            size: -5,
            description: "x\ny".to_owned(),
            created_at: Some(prost_types::Timestamp {
                seconds: i64::MAX,
                nanos: i32::MAX,
            }),
            last_used_at: Some(prost_types::Timestamp {
                seconds: -1,
                nanos: -1,
            }),
            parent: "old".to_owned(),
            ..UsageRecord::default()
        });
        assert!(!found.id.contains('\u{1b}'));
        assert_eq!((found.size, found.last_used), (0, None));
        assert_eq!(found.parents, ["old"]);
    }

    #[test]
    fn endless_durations_do_not_overflow() {
        assert_eq!(nanoseconds(Duration::MAX), i64::MAX);
        assert_eq!(nanoseconds(Duration::from_secs(1)), 1_000_000_000);
    }
}
