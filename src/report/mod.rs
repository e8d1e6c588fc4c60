//! Shows a run to the user: live, as a stream, and at its end.
//!
//! Receives only [`crate::event::Event`]s and does not know about bake files or about who builds.
//! [`Reporter::start`] returns the [`EventSink`](crate::event::EventSink) to which the rest of the program sends
//! events. The reporter has its own thread. There, the pure [`model::Model`] applies each event, and one view
//! shows the changes. At the end, the reporter prints the summary and why targets failed.

pub(crate) mod annotations;
mod bars;
pub(crate) mod call;
pub(crate) mod clipped;
pub(crate) mod failure;
mod format;
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

pub(crate) use format::duration;
pub(crate) use rawjson::definition_read;
pub use reporter::{Mode, Options, ReportEnding, Reporter, terminal_size};
pub use style::Look;
pub(crate) use style::Palette;
pub use tty::AskSize;
