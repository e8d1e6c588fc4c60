//! The three ways in which definitions use JSON.
//!
//! [`profile`] parses files in HCL's JSON syntax. [`typed`] reads a value of a known type. [`value`] implements
//! `jsonencode` and `jsondecode`.

pub(crate) mod profile;
pub(crate) mod typed;
pub(crate) mod value;

pub(crate) use profile::{BlockShape, parse};
