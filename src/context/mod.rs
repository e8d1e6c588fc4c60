//! Build contexts on this machine's disk: what is in them, in the order and form the daemon expects.
//!
//! Knows nothing of sessions or messages; it walks a directory through a filter and tells what it finds. Start at
//! [`Context`] and [`Filter`].

mod below;
mod budget;
pub(crate) mod filter;
#[cfg(test)]
pub(crate) mod fixture;
pub(crate) mod followpaths;
mod glob;
pub(crate) mod ignorefile;
mod matcher;
mod names;
mod pattern;
pub(crate) mod stat;
mod tree;
mod walk;

pub(crate) use budget::Budget as PatternBudget;
pub(crate) use filter::FilterError;
pub use filter::{Filter, FilterSpec};
pub(crate) use pattern::{IgnorePattern, PatternError};
pub use tree::Context;
pub(crate) use tree::{ContextError, Entry, LinkTarget};
