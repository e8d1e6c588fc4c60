//! JSON as Go's `encoding/json` reads and writes it.
//!
//! [`document`] reads files that Docker and buildx write, with Go's tolerance: keys in any case, `null` for every type.
//! [`syntax`] reads the bare grammar and keeps places. [`quote()`] writes strings.

pub(crate) mod document;
mod quote;
pub(crate) mod syntax;

pub(crate) use document::{GoText, GoValue, Reading, Trailing, is_field, shown_key};
pub(crate) use quote::quote;
