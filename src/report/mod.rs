//! What the user sees of a run: live, as a stream, and at its end.
//!
//! Consumes [`crate::event::Event`]s only; has never heard of bake files or of who builds. [`Reporter::start`] gives the
//! [`EventSink`](crate::event::EventSink) that everyone tells events to. On its own thread the reporter lets the pure
//! [`model::Model`] take each event in and one view show it; at the end it tells the summary and why what failed failed.

pub(crate) mod annotations;
mod bars;
pub(crate) mod failure;
pub(crate) mod format;
pub mod frame;
pub(crate) mod metadata;
pub(crate) mod model;
mod plain;
mod queue;
mod quiet;
mod rawjson;
#[cfg(any(test, feature = "recording"))]
pub mod recording;
pub(crate) mod region;
mod reporter;
mod signs;
pub mod status_json;
pub(crate) mod style;
pub(crate) mod summary;
pub(crate) mod text;
mod tty;
mod view;

pub use model::Model;
pub use region::Size;

pub use reporter::{Mode, Options, ReportEnding, Reporter, terminal_size};
pub use style::Look;
pub(crate) use style::Palette;
pub use tty::AskSize;
