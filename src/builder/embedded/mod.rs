//! The embedded builder: a buildkitd that rbake starts itself, in the user's data folder.
//!
//! A run that finds no other BuildKit starts this one with [`ensure_running`] and holds a [`Lease`] while it
//! builds. A detached supervisor ([`serve`]) owns buildkitd, counts the leases, and stops buildkitd after some idle
//! time. If any process is killed, nothing stays behind: a lease is a connection, a lock is on an open file, and
//! buildkitd ends with the supervisor.
//!
//! On a shared machine, other users may have planted files or sockets. So nothing is connected to, executed or
//! trusted before a check that only root and this user can change it (`places`, `search`), and buildkitd gets a
//! separate environment (`variables`).
//!
//! Knows nothing of other builders; [`super::choose`] chooses one. Start at [`client`].

mod attendant;
mod client;
mod config;
mod control;
mod handle;
mod lock;
mod log;
mod named_files;
mod places;
mod process;
mod programs;
mod recipe;
mod search;
mod settings;
mod supervisor;
mod variables;

pub use client::{EmbeddedError, Launcher, Running, Stopped, ensure_running, status, stop};

pub(crate) use client::{Lease, can_start};
pub(crate) use config::ConfigError;
pub use control::{Facts, Reply};
pub(crate) use lock::LockError;
pub use lock::lock;
pub use places::EmbeddedPlaces;
pub(crate) use places::PlacesError;
pub(crate) use process::become_child;
pub use programs::check_system;
pub(crate) use programs::{ProgramError, find, version_of};
pub(crate) use recipe::{Recipe, RecipeError};
pub(crate) use search::SearchPath;
pub use settings::IDLE_VARIABLE;
pub(crate) use settings::Idle;
pub(crate) use supervisor::{ServeOptions, serve};
