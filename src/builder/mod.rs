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
pub mod install;
mod named;
mod notice;
mod reach;
pub mod store;
mod survey;
mod tls;
mod trust;

pub use advice::SearchedPlace;
pub use candidate::{Candidate, Driver, Offers, Reach, Settings};
pub use discovery::{Chosen, choose};
pub use docker_context::{DEFAULT_CONTEXT, DockerContext, DockerContextError, DockerContexts};
pub use error::{BuilderRefusal, ChooseError, PassedOver};
pub use named::EMBEDDED;
pub(crate) use notice::Notice;
pub use survey::{Survey, Surveyed, survey};
pub use tls::TlsError;
pub use trust::{TrustError, UnsafePath};
