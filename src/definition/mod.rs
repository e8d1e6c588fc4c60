//! Bake files to a definition: reading, evaluating and typing what the user wrote.
//!
//! Knows nothing of `BuildKit`. [`source`] finds and reads the files, their syntaxes are lowered into [`syntax`], and
//! evaluation, whose values and functions are in [`eval`], makes an [`evaluated::Evaluated`] of them. [`schema`] lists
//! the attributes of targets, [`model`] has their types.

mod declarations;
pub mod decode;
pub mod eval;
pub mod evaluated;
mod hcl;
pub mod model;
mod names;
pub mod schema;
pub mod source;
pub mod syntax;
mod template;
