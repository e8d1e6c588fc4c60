//! Bake files to a definition: reading, evaluating and typing what the user wrote.
//!
//! Knows nothing of `BuildKit`. [`source`] finds and reads the files, [`crate::hcl`] parses them and evaluates their
//! expressions, and [`evaluate()`], which knows variables, targets, groups and matrices, makes an
//! [`evaluated::Evaluated`] of them. [`schema`] lists the attributes of targets, [`model`] has their types, [`decode`]
//! gives them.

mod blocks;
mod compose;
mod declarations;
pub mod decode;
mod evaluate;
pub mod evaluated;
mod matrix;
pub mod model;
mod namespace;
mod overrides;
mod parse;
pub mod schema;
mod shapes;
pub mod source;
#[cfg(test)]
mod testing;
mod typing;
mod variables;

pub use evaluate::{EvaluationInputs, evaluate};

pub(crate) use evaluate::load;
