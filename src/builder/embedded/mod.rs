//! The embedded builder: a buildkitd of rbake's own, below the user's data folder.
//!
//! A run that finds no other BuildKit has this one running with [`ensure_running`] and keeps a [`Lease`] while it builds.
//! A detached supervisor ([`serve`]) owns buildkitd, counts the leases and stops it when it has been idle. Whoever is
//! killed, nothing stays behind: leases are connections, locks are on open files, and buildkitd dies with the supervisor.
//!
//! On a shared machine others may have been there first: nothing is connected to, executed or believed before it is known that
//! only root and this user can change it (`places`, `search`), and buildkitd gets an environment of its own (`variables`).
//!
//! Knows nothing of other builders; choosing one is [`super::choose`]'s matter. Start at [`client`].

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

pub(crate) use client::Lease;
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
