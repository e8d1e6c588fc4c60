//! JSON in the three ways that definitions meet it.
//!
//! [`profile`] parses a file of HCL's JSON profile, [`typed`] reads a value of a known type, [`value`] is what
//! `jsonencode` and `jsondecode` do.

pub mod profile;
pub mod typed;
pub mod value;

pub use profile::{BlockShape, parse};
