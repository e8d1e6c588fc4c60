//! Errors of pruning.

use std::path::PathBuf;

use jiff::Timestamp;

use crate::prune::plan::{PruneRefusal, StalePlan};
use crate::prune::record::PruneRecordError;
use crate::publish::journal::RunId;
use crate::registry::{DeletionSettingError, RegistryError, RegistryFault};

/// Pruning failed.
#[derive(Debug, thiserror::Error)]
pub(crate) enum PruneError {
    /// A request to a registry failed.
    #[error(transparent)]
    Registry(#[from] RegistryError),
    /// A variable has a value that makes no sense.
    #[error(transparent)]
    Setting(#[from] DeletionSettingError),
    /// There is no such repository.
    #[error("the repository does not exist")]
    NoRepository,
    /// The manifests need too much memory.
    #[error("the manifests of the repository have more than {limit} bytes")]
    TooLarge {
        /// The limit, in bytes.
        limit: usize,
    },
    /// The plan cannot be made.
    #[error(transparent)]
    Plan(#[from] PruneRefusal),
    /// The plan must not be carried out.
    #[error(transparent)]
    Stale(#[from] StalePlan),
    /// The registry does not delete.
    #[error("the registry does not delete manifests: {reason}")]
    NoDeletion {
        /// Why, for a message.
        reason: String,
    },
    /// Another prune works on the repository.
    #[error("the prune {run} works on the repository; it holds it until {until} unless it goes on")]
    Leased {
        /// The other prune.
        run: RunId,
        /// The end of its lease.
        until: Timestamp,
    },
    /// The lease of this prune ran out, or somebody removed it, so another prune may have begun.
    #[error("the lease of the repository was lost")]
    LeaseLost,
    /// A lease cannot be written.
    #[error("cannot make the lease of the repository")]
    Lease(#[source] RegistryFault),
    /// The system has no random numbers.
    #[error("cannot make a name for the prune")]
    Random(#[source] getrandom::Error),
    /// The record on this machine cannot be used, so nothing must be deleted.
    #[error("cannot {act} the record `{}`", path.display())]
    RecordFile {
        /// What was tried.
        act: &'static str,
        /// The file.
        path: PathBuf,
        /// Why it failed.
        #[source]
        source: std::io::Error,
    },
    /// A record on this machine is not valid.
    #[error("cannot read the record `{}`", path.display())]
    RecordFormat {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        #[source]
        source: PruneRecordError,
    },
    /// Another process works on the record.
    #[error("another process is using the record `{}`", .0.display())]
    InUse(PathBuf),
    /// There is no place for the record.
    #[error("there is no directory for the record; set `XDG_STATE_HOME` or `RBAKE_STATE_DIR`")]
    NoRecordDirectory,
    /// A step does not fit the record.
    #[error("cannot record a deletion")]
    Record(#[from] PruneRecordError),
}
