//! Sends contents that the builder has to registries, if the builder is on this machine.
//!
//! BuildKit's own push asks the registry for each layer, begins an upload and sends the layer, and the export of a cache does
//! all this again: three requests for each new layer, and two for each that another repository has. rbake knows what the run
//! has sent where, so it needs two and one. It also repeats failed requests as the registry asks for it.
//!
//! All bytes pass through rbake. With a builder on another machine they would take a long way, so such a builder pushes itself.
//! [`BlobPlaces`] knows which repository has which blob, [`BuiltImage`] what an image consists of, [`send`] sends it.

mod contents;
mod image;
mod places;
mod progress;
mod send;

pub(super) use contents::BuilderContents;
pub(super) use image::BuiltImage;
pub(super) use places::BlobPlaces;
pub(super) use progress::UploadProgress;
pub(super) use send::{UploadError, UploadTarget, give_all, send};

use crate::engine::Engine;

/// Who sends contents to registries.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Uploader {
    /// rbake, which reads them from the builder.
    Rbake,
    /// The builder, with its own push.
    Builder,
}

impl Uploader {
    /// The uploader for the builder of a run.
    pub(super) fn of(engine: &Engine) -> Self {
        if engine.endpoint().is_local() {
            Self::Rbake
        } else {
            Self::Builder
        }
    }
}
