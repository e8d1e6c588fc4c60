//! What Go's standard library does to text, where users of buildx rely on it.
//!
//! buildx, BuildKit and Docker are written in Go, and their file formats are what Go's packages read and write: which words
//! are booleans, how a path is cleaned, which JSON is accepted, how text is quoted. Each module here is named for the Go package
//! that it follows, and it is the only place that does.

pub(crate) mod csv;
pub(crate) mod filepath;
pub(crate) mod fmt;
pub(crate) mod json;
pub(crate) mod path;
pub(crate) mod quote;
pub(crate) mod regexp;
pub(crate) mod strconv;
pub(crate) mod time;
pub(crate) mod unicode;
pub(crate) mod utf8;
