//! What the user sees of a run: live, as a stream, and at its end.
//!
//! Consumes [`crate::event::Event`]s only; has never heard of bake files or of who builds. [`Reporter::start`] gives the
//! [`EventSink`](crate::event::EventSink) that everyone tells events to. On its own thread the reporter lets the pure
//! [`model::Model`] take each event in and one view show it; at the end it tells the summary and why what failed failed.

pub mod annotations;
mod bars;
pub mod failure;
pub mod format;
pub mod frame;
pub mod metadata;
pub mod model;
mod plain;
mod queue;
mod quiet;
mod rawjson;
#[cfg(any(test, feature = "recording"))]
pub mod recording;
pub mod region;
mod reporter;
mod signs;
pub mod status_json;
pub mod style;
pub mod summary;
pub mod text;
mod tty;
mod view;

pub use model::Model;
pub use region::Size;
pub use reporter::{Finished, Mode, Options, ReportEnding, Reporter, terminal_size};
pub use style::{Look, Palette};
pub use tty::AskSize;
