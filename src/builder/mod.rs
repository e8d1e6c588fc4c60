//! Chooses the BuildKit for a run: the one the user named, Docker's, one that already runs, or rbake's own.
//!
//! Knows addresses, settings and processes, and nothing of bake files: the needs of a plan arrive as
//! [`crate::types::Requirements`]. Start at [`choose`].

mod accounts;
mod advice;
mod candidate;
mod container;
pub(crate) mod create;
mod discovery;
mod docker_address;
mod docker_context;
pub mod embedded;
pub(crate) mod error;
mod files;
pub(crate) mod install;
pub(crate) mod kubernetes;
pub(crate) mod manage;
mod named;
mod nodes;
mod notice;
mod reach;
pub(crate) mod roster;
pub mod store;
pub(crate) mod survey;
mod tls;
mod trust;

pub use candidate::{Driver, Offers};
pub use discovery::{Chosen, choose};
pub(crate) use docker_context::DEFAULT_CONTEXT;
pub use docker_context::{DockerContextError, DockerContexts};
pub use error::ChooseError;
pub(crate) use named::EMBEDDED;
pub use nodes::ChosenBuilder;
pub(crate) use notice::Notice;
pub(crate) use survey::Survey;
pub use survey::survey;
