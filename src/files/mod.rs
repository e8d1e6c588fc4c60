//! Paths as the kernel follows them, and the files that are written for the user.
//!
//! A path from a definition is followed once ([`Resolver`]): what comes out of that is checked, and the same is opened, without
//! following any further link ([`open`]). Every file that the user names as an output is written by [`OutputFile`]. Knows
//! nothing of privileges; those are in [`crate::plan::entitlements`].

pub(crate) mod open;
mod output;
mod resolve;

pub(crate) use output::{FileAccess, OutputFile, write_file};
pub(crate) use resolve::{PathError, Resolved, Resolver, resolve};
