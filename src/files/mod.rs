//! Resolves paths as the kernel does, and writes the files that the user asked for.
//!
//! A path from a definition is followed only once, by [`Resolver`]. The resolved path is what privileges are
//! checked for, and the same path is opened later by [`open`], which follows no further link. So a link that is
//! changed in between cannot lead elsewhere. Every file that the user names as an output is written by
//! [`OutputFile`]. This module does not know about privileges; those are in [`crate::plan::entitlements`].

pub(crate) mod open;
mod output;
mod resolve;

pub(crate) use output::{FileAccess, OutputFile, write_file};
pub(crate) use resolve::{PathError, Resolved, Resolver, resolve};
