//! Bake files to a definition: reading, evaluating and typing what the user wrote.
//!
//! Knows nothing of `BuildKit`. [`eval`] holds the language's values and functions.

pub mod eval;
