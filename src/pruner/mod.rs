//! Carries out what `prune` decides: reads repositories, deletes, keeps a record, puts back.
//!
//! Knows registries, but no bake files and no policies: the caller says what is to be pruned, and shows the plan. For one
//! repository:
//!
//! 1. [`Deleter::of`] finds out how the registry deletes.
//! 2. [`RepositoryReader::read`] reads the repository, and `prune::plan` makes the plan.
//! 3. [`Pruning::begin`] takes a [lease] of the repository, reads it once more and refuses a plan that is out of
//!    date. Then it writes the record of all deletions.
//! 4. [`Pruning::carry_out`] makes the steps. Before each of them it checks again that nothing has come to need what goes.
//! 5. [`Pruning::verify`] looks up everything that stays.
//!
//! [`PruneUndo`] puts back what the registry still has.

mod apply;
mod begin;
mod deleter;
mod error;
mod kinds;
mod lease;
mod listing;
mod read;
mod record_file;
mod referrers;
mod times;
mod undo;
mod verify;
mod watch;

pub(crate) use apply::{EndedStep, PruneStop};
pub(crate) use begin::{PruneApproval, Pruning};
pub(crate) use deleter::{Deleter, DeletionObstacle};
pub(crate) use error::PruneError;
pub(crate) use read::{RepositoryRead, RepositoryReader};
pub(crate) use record_file::{PruneRecordFile, left_by_others, record_directory};
pub(crate) use undo::{PruneUndo, RestoredItem};
pub(crate) use verify::Verification;
pub(crate) use watch::PruneWatch;
