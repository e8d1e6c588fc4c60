//! Reads bake files, evaluates them, and converts the result to typed groups and targets.
//!
//! This module knows nothing about `BuildKit`. [`source`] finds and reads the files. [`crate::hcl`] parses them
//! and evaluates their expressions. [`evaluate()`], which knows variables, targets, groups and matrices, makes an
//! [`evaluated::Evaluated`] of them. [`decode`] converts that to the types of [`model`], guided by the list of
//! attributes in [`schema`].

mod blocks;
mod compose;
mod declarations;
pub mod decode;
mod evaluate;
pub mod evaluated;
mod inputs;
mod matrix;
pub mod model;
mod namespace;
mod overrides;
mod parse;
pub(crate) mod remote;
pub mod schema;
mod shapes;
pub mod source;
#[cfg(test)]
mod testing;
mod typing;
mod variables;

pub use evaluate::evaluate;
pub use inputs::EvaluationInputs;

pub(crate) use evaluate::load;
