//! HCL as Go's `hcl` and go-cty read and evaluate it, with the functions that buildx adds.
//!
//! Knows nothing of targets, groups or variables: a file format built on the language gives it names through
//! [`eval::Namespace`], and the shapes of its blocks through [`json::BlockShape`]. Text becomes a [`syntax::File`] in
//! [`parser`] or [`json`], expressions become values ([`cty`]) in [`eval`], and [`functions`] is the library of functions
//! that expressions can call.

#[cfg(test)]
mod crosscheck;
pub(crate) mod cty;
pub(crate) mod eval;
pub mod functions;
pub(crate) mod json;
pub(crate) mod name_pool;
pub(crate) mod name_uses;
pub(crate) mod parser;
mod stack;
pub(crate) mod syntax;
mod template;
#[cfg(test)]
pub(crate) mod testing;

pub(crate) use stack::on_deep_stack;
