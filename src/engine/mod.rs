//! The client of BuildKit: connections, sessions, solves.
//!
//! Knows nothing of bake files; what is to be built arrives as a [`spec::SolveSpec`].

pub mod connection;
pub mod docker;
pub mod endpoint;
pub mod failure;
pub mod id;
pub mod session;
pub mod spec;
mod status;
pub mod traffic;
pub mod transport;
mod wire;

pub use connection::{Connection, ConnectionError};
pub use endpoint::Endpoint;
pub use id::{BuildRef, SessionId};
pub use session::{Session, SessionBuilder, SessionError};
