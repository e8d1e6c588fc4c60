//! Reads build contexts from this machine's disk, in the order and form that the daemon expects.
//!
//! Does not know about sessions or messages. It walks a directory, applies a filter and reports each entry that
//! passes. Start at [`Context`] and [`Filter`].

mod below;
mod budget;
mod contents;
pub(crate) mod filter;
#[cfg(test)]
pub(crate) mod fixture;
pub(crate) mod followpaths;
mod glob;
pub(crate) mod ignorefile;
mod matcher;
mod names;
mod pattern;
mod sent;
pub(crate) mod stat;
mod tree;
mod walk;

pub(crate) use budget::Budget as PatternBudget;
pub(crate) use contents::ContentTimes;
pub(crate) use filter::FilterError;
pub use filter::{Filter, FilterSpec};
pub(crate) use matcher::Patterns;
pub(crate) use pattern::{IgnorePattern, PatternError};
pub(crate) use sent::{Generation, Inspection, SentRecords, Told};
pub use tree::Context;
pub(crate) use tree::{ContextError, Entry, LinkTarget};
