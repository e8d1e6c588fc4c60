//! What Go's standard library does to text, where users of buildx rely on it.
//!
//! buildx, BuildKit and Docker are written in Go, and their file formats are what Go's packages read and write: which words
//! are booleans, how a path is cleaned, which JSON is accepted, how text is quoted. Each module here is named for the Go package
//! that it follows, and it is the only place that does.

pub mod csv;
pub mod filepath;
pub mod fmt;
pub mod json;
pub mod path;
pub mod quote;
pub mod regexp;
pub mod strconv;
pub mod time;
pub mod unicode;
pub mod utf8;
