//! Paths as the kernel follows them, and the files that are written for the user.
//!
//! A path from a definition is followed once ([`Resolver`]): what comes out of that is checked, and the same is opened, without
//! following any further link ([`open`]). Every file that the user names as an output is written by [`OutputFile`]. Knows
//! nothing of privileges; those are in [`crate::plan::entitlements`].

pub mod open;
mod output;
mod resolve;

pub use output::{Access, OutputFile, write_file};
pub use resolve::{PathError, Resolved, Resolver, resolve};

/// What the names of temporary files begin with, beside the files that they become.
pub const TEMPORARY_PREFIX: &str = ".rbake-";

/// A name for a temporary file that no other file has.
pub fn temporary_name() -> String {
    format!("{TEMPORARY_PREFIX}{}", uuid::Uuid::new_v4().simple())
}
