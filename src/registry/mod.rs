//! rbake's own client of registries: manifests, tags and blobs, by the OCI distribution API (`/v2/…`).
//!
//! Knows nothing of bake files, builders or images' contents: it moves manifests as bytes. It also uploads
//! blobs that someone else has, such as a builder. Start at [`Registries`]: a run has one, which shares
//! connections, tokens and retries among all repositories of a registry. [`RemoteRepository`] has the requests, and
//! [`copy_image`] copies a whole image. [`DeletionSettings`] says by which API a registry deletes that does not do so itself, and
//! [`Registries::remove_tag`] removes tags by it.
//!
//! All futures may be dropped at any time; then the request is abandoned. [`RemoteRepository::untag`] should not be, because
//! a tag may be left half removed.

mod address;
mod answer;
mod api;
mod authorization;
mod blobs;
mod challenge;
mod checked_body;
mod connection;
mod copy;
mod counts;
mod deletion_settings;
mod deletions;
mod error;
mod exchange;
mod kinds;
mod links;
mod manifest;
mod manifests;
mod placeholder;
mod places;
mod referrers;
mod repository;
mod retries;
mod retry;
mod rights;
mod sending;
mod silence;
mod software;
mod streams;
mod tag_range;
mod tag_remover;
mod tags;
#[cfg(test)]
pub(crate) mod tests;
mod tls;
mod untag;
mod uploads;
mod words;

pub(crate) use address::{RegistrySecurity, is_this_machine};
pub(crate) use api::{ApiAddress, ApiSpec, EcrPlace, EcrSpec, InvalidApiAddress};
pub(crate) use checked_body::{BlobPieces, BlobSize};
#[cfg(test)]
pub(crate) use copy::BlobFate;
pub(crate) use copy::{CopyCounts, CopyError, CopyProgress, copy_image};
#[cfg(test)]
pub(crate) use counts::RequestCounts;
pub(crate) use deletion_settings::{DeletionSettingError, DeletionSettings, FoundApi};
pub(crate) use deletions::{DeletionRight, DeletionRights};
#[cfg(test)]
pub(crate) use error::RegistryAct;
pub(crate) use error::{RegistryError, RegistryFault};
pub(crate) use kinds::RegistryKind;
pub(crate) use links::ManifestLinks;
#[cfg(test)]
pub(crate) use manifest::ManifestContent;
pub(crate) use manifest::{ContentDescriptor, LARGEST_MANIFEST, RawManifest, TagOrDigest};
pub(crate) use manifests::Deletion;
pub(crate) use repository::{Registries, RemoteRepository};
pub(crate) use rights::PushRight;
pub(crate) use tag_remover::{NO_KEYS, SWITCHED_OFF, TagObstacle, TagRemovalError};
pub(crate) use untag::Untagged;
pub(crate) use uploads::{BlobSource, BlobSourceError, SentBlob};
