//! Which BuildKit builds: what the user named, Docker's, one that runs already, or one of rbake's own.
//!
//! Knows addresses, settings and processes, and nothing of bake files: what a plan needs arrives as
//! [`crate::types::Requirements`]. Start at [`choose`].

mod accounts;
mod advice;
mod candidate;
mod discovery;
mod docker_address;
mod docker_context;
pub mod embedded;
mod error;
mod files;
pub(crate) mod install;
mod named;
mod notice;
mod reach;
pub mod store;
mod survey;
mod tls;
mod trust;

pub(crate) use advice::SearchedPlace;
pub(crate) use candidate::{Candidate, Reach, Settings};
pub use candidate::{Driver, Offers};
pub use discovery::{Chosen, choose};
pub(crate) use docker_context::{DEFAULT_CONTEXT, DockerContext};
pub use docker_context::{DockerContextError, DockerContexts};
pub use error::ChooseError;
pub(crate) use error::{BuilderRefusal, PassedOver};
pub(crate) use named::EMBEDDED;
pub(crate) use notice::Notice;
pub use survey::survey;
pub(crate) use survey::{Survey, Surveyed};
pub(crate) use tls::TlsError;
pub(crate) use trust::{TrustError, UnsafePath};
