//! Build contexts on this machine's disk: what is in them, in the order and form the daemon expects.
//!
//! Knows nothing of sessions or messages; it walks a directory through a filter and tells what it finds. Start at
//! [`Context`] and [`Filter`].

mod below;
mod budget;
pub mod filter;
#[cfg(test)]
pub(crate) mod fixture;
pub mod followpaths;
mod glob;
pub mod ignorefile;
mod matcher;
mod names;
mod pattern;
pub mod stat;
mod tree;
mod walk;

pub use budget::Budget as PatternBudget;
pub use filter::{Filter, FilterError, FilterSpec};
pub use matcher::{Marks, Patterns};
pub use pattern::{IgnorePattern, PatternError};
pub use tree::{Context, ContextError, Entry, LinkTarget};
