//! JSON in the three ways that definitions meet it.
//!
//! [`profile`] parses a file of HCL's JSON profile, [`typed`] reads a value of a known type, [`value`] is what
//! `jsonencode` and `jsondecode` do.

pub(crate) mod profile;
pub(crate) mod typed;
pub(crate) mod value;

pub(crate) use profile::{BlockShape, parse};
