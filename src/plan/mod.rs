//! From a definition to a plan: selection, inheritance, overrides, links, and the checks that need no builder.
//!
//! Knows nothing of `BuildKit`; a plan becomes solves in `run`.

pub mod overrides;
pub mod pattern;
pub mod syntax;
