//! Sends contents that the builder has to registries, if the builder is on this machine.
//!
//! BuildKit's own push asks the registry for each layer, begins an upload and sends the layer, and the export of a cache does
//! all this again: three requests for each new layer, and two for each that another repository has. rbake knows what the run
//! has sent where, so it needs two and one. It also repeats failed requests as the registry asks for it.
//!
//! All bytes pass through rbake. With a builder on another machine they would take a long way, so such a builder pushes itself.
//! [`BlobPlaces`] knows which repository has which blob, [`BuiltImage`] what an image consists of, [`send()`] sends it.

mod contents;
mod image;
mod places;
mod progress;
mod send;

pub(super) use contents::BuilderContents;
pub(super) use image::BuiltImage;
pub(super) use places::BlobPlaces;
pub(super) use progress::UploadProgress;
pub(super) use send::{UploadError, UploadTarget, base_at, give_all, lost, send};

use crate::engine::endpoint::Endpoint;
use crate::publish::settings::UploadMode;
use crate::registry::is_this_machine;
use crate::types::ImageRepository;

/// Who sends contents to registries.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Uploader {
    /// rbake, which reads them from the builder.
    Rbake,
    /// The same, but the builder is in a container: a registry at `localhost` is another one for it than for rbake.
    RbakeFromContainer,
    /// The builder, with its own push.
    Builder,
}

impl Uploader {
    /// The uploader of a run whose builder is at `builder`.
    pub(super) fn of(builder: &Endpoint, wish: UploadMode) -> Self {
        match wish {
            UploadMode::Rbake => Self::Rbake,
            UploadMode::Auto if builder.is_local() => match builder {
                Endpoint::DockerContainer { .. } => Self::RbakeFromContainer,
                Endpoint::Command(endpoint) if endpoint.is_in_container() => {
                    Self::RbakeFromContainer
                }
                _ => Self::Rbake,
            },
            UploadMode::Auto | UploadMode::Builder => Self::Builder,
        }
    }

    /// Whether rbake sends contents to `repository`.
    pub(super) fn sends_to(self, repository: &ImageRepository) -> bool {
        match self {
            Self::Rbake => true,
            Self::RbakeFromContainer => !is_this_machine(repository.domain()),
            Self::Builder => false,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::types::Reference;
    use test_case::test_case;

    #[test_case("unix:///b.sock", "localhost:5000/a", true; "a socket")]
    #[test_case("tcp://127.0.0.1:1234", "ghcr.io/a/b", true; "a port of this machine")]
    #[test_case("tcp://builder.example:1234", "ghcr.io/a/b", false; "another machine")]
    #[test_case("docker-container://b", "ghcr.io/a/b", true; "a container")]
    #[test_case("docker-container://b", "localhost:5000/a", false; "a container and localhost")]
    #[test_case("docker-container://b", "127.0.0.1:5000/a", false; "a container and a loopback address")]
    #[test_case("docker-container://b", "[::1]:5000/a", false; "a container and the loopback address of IPv6")]
    fn rbake_sends_what_a_builder_on_this_machine_has(builder: &str, name: &str, sends: bool) {
        let builder: Endpoint = builder.parse().unwrap();
        let repository = ImageRepository::of(&name.parse::<Reference>().unwrap());
        let uploader = Uploader::of(&builder, UploadMode::Auto);
        assert_eq!(uploader.sends_to(&repository), sends);
        assert!(Uploader::of(&builder, UploadMode::Rbake).sends_to(&repository));
        assert!(!Uploader::of(&builder, UploadMode::Builder).sends_to(&repository));
    }
}
