//! Compose files as a source of build definitions.

pub mod dotenv;
pub mod interpolate;
pub mod template;
