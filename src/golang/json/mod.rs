//! JSON as Go's `encoding/json` reads and writes it.
//!
//! [`document`] reads the files of Docker and buildx as tolerantly as Go does: keys match in any case, and every
//! type accepts `null`. [`syntax`] parses strictly by the grammar and keeps the position of each value. [`quote()`]
//! writes strings.

pub(crate) mod document;
mod quote;
pub(crate) mod syntax;

pub(crate) use document::{GoText, GoValue, Reading, Trailing, is_field, shown_key};
pub(crate) use quote::quote;
