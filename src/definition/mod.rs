//! Bake files to a definition: reading, evaluating and typing what the user wrote.
//!
//! Knows nothing of `BuildKit`. [`source`] finds and reads the files, their syntaxes are lowered into [`syntax`], and
//! [`evaluate()`], whose values and functions are in [`eval`], makes an [`evaluated::Evaluated`] of them. [`schema`]
//! lists the attributes of targets, [`model`] has their types, [`decode`] gives them.

mod blocks;
mod compose;
mod declarations;
pub mod decode;
pub mod eval;
mod evaluate;
pub mod evaluated;
mod functions;
#[cfg(test)]
mod hcl;
mod json;
mod matrix;
pub mod model;
mod names;
mod native;
mod overrides;
mod parse;
mod references;
pub mod schema;
pub mod source;
mod stack;
pub mod syntax;
mod template;
#[cfg(test)]
mod testing;
mod typing;
mod variables;

pub use evaluate::{Inputs, evaluate, load};
pub use stack::on_deep_stack;
