//! JSON, as definitions and overrides of variables are written in it.
//!
//! [`reader`] reads any JSON and keeps places, the text of numbers and repeated keys; [`lower`] makes the syntax tree of
//! HCL's JSON profile from it; [`typed`] reads values of a known type.

mod lower;
mod reader;
pub(super) mod typed;

pub(super) use lower::parse;
