//! What the user sees of a run: live, as a stream, and at its end.
//!
//! Consumes [`crate::event::Event`]s only; has never heard of bake files or of who builds.

pub mod format;
pub mod model;
pub mod recording;
pub mod status_json;
pub mod style;
pub mod text;
