//! From a definition to a plan: selection, inheritance, overrides, links, and the checks that need no builder.
//!
//! Knows nothing of `BuildKit`; a plan becomes solves in `run`.

mod inherit;
pub mod overrides;
pub mod pattern;
mod select;
pub mod syntax;
