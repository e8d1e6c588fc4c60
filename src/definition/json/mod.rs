//! JSON, as definitions and overrides of variables are written in it.
//!
//! [`lower`] makes the syntax tree of HCL's JSON profile; [`typed`] reads values of a known type.

mod lower;
pub(super) mod typed;

pub(super) use lower::parse;
