//! Bake files to a definition: reading, evaluating and typing what the user wrote.
//!
//! Knows nothing of `BuildKit`. [`source`] finds and reads the files, their syntaxes are lowered into [`syntax`], and
//! evaluation, whose values and functions are in [`eval`], makes an [`evaluated::Evaluated`] of them.

mod declarations;
pub mod eval;
pub mod evaluated;
mod hcl;
mod names;
pub mod source;
pub mod syntax;
mod template;
