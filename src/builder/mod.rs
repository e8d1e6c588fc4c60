//! Which BuildKit builds: what the user named, Docker's, one that runs already, or one of rbake's own.
//!
//! Knows addresses, settings and processes, and nothing of bake files: what a plan needs arrives as
//! a list of requirements. Start at [`embedded`].

mod docker_context;
pub mod embedded;
mod files;
pub mod store;

pub use docker_context::{ContextError, DEFAULT_CONTEXT, DockerContext, DockerContexts};
