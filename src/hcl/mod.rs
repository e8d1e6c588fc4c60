//! HCL: parses and evaluates the language as Go's `hcl` and go-cty do, with the functions that buildx adds.
//!
//! This module knows nothing of targets, groups or variables. A file format that is built on the language supplies
//! its names through [`eval::namespace::Namespace`] and the shapes of its blocks through [`json::BlockShape`].
//! [`parser`] and [`json`] turn text into a [`syntax::File`], [`eval`] turns expressions into values ([`cty`]), and
//! [`functions`] is the library of functions that expressions can call.

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
