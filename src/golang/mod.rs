//! The parts of Go's standard library that users of buildx rely on, reimplemented to give the same results.
//!
//! buildx, BuildKit and Docker are written in Go, so Go's packages define their file formats: which words are
//! booleans, how a path is cleaned, which JSON is accepted, how text is quoted. Each module here has the name of
//! the Go package that it follows. No other module reimplements that package.

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
pub(crate) mod url;
pub(crate) mod utf8;
