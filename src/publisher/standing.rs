//! What the registry has before the build.

use futures_util::future::join_all;

use super::{ImageToPublish, Publisher};
use crate::publish::class::TagClass;
use crate::registry::{PushRight, RawManifest, RegistryError, TagOrDigest};
use crate::types::ImageTag;

/// What the registry has under the tag by which an image is compared.
#[derive(Debug)]
pub(crate) enum Standing {
    /// The tag does not exist, and rbake may push. The image is pushed when it is built.
    Free,
    /// The tag points to this manifest. After the build, rbake compares it with the new one.
    Taken {
        /// The tag.
        tag: ImageTag,
        /// The manifest.
        manifest: RawManifest,
    },
    /// rbake does not reach the registry. The builder may.
    Unreachable(RegistryError),
    /// rbake reaches the registry, but it does not answer as it should, even after repetitions. Were this taken for a
    /// registry that only the builder reaches, a registry in trouble would cost the order of the tags.
    Failing(RegistryError),
    /// The registry, or its token server, does not let rbake push.
    Denied {
        /// Why, for a message.
        reason: String,
    },
}

impl ImageToPublish {
    /// The tag by which the image is compared: the first immutable one, or the first one. `None` if there are no tags.
    pub(super) fn deciding_tag(&self) -> Option<&ImageTag> {
        let immutable = self.tags_of(TagClass::Immutable).next();
        immutable.or_else(|| self.tags.first().map(|(tag, _)| tag))
    }
}

impl Publisher {
    /// Looks at the deciding tag of each image, all at the same time: one request for each, and two more to test the
    /// right to push if the tag does not exist.
    pub(crate) async fn look(&self, images: &[ImageToPublish]) -> Vec<Standing> {
        join_all(images.iter().map(|image| self.look_at(image))).await
    }

    async fn look_at(&self, image: &ImageToPublish) -> Standing {
        let repository = self.repository_of(image);
        let Some(tag) = image.deciding_tag() else {
            return Standing::Free;
        };
        match repository.get(&TagOrDigest::Tag(tag.clone())).await {
            Ok(Some(manifest)) => {
                return Standing::Taken {
                    tag: tag.clone(),
                    manifest,
                };
            }
            // Some registries deny access to a repository that does not exist yet.
            Ok(None) => {}
            Err(error) if error.fault.is_denial() => {}
            Err(error) if error.is_out_of_reach() && !repository.has_answered() => {
                return Standing::Unreachable(error);
            }
            // It would be the same once more.
            Err(error) if error.is_unreachable() => return Standing::Failing(error),
            // The tag may point to something that is not a manifest. It is replaced.
            Err(error) => {
                tracing::debug!(image = %image.repository, fault = %error.fault, "tag not read");
            }
        }
        match repository.can_push().await {
            Ok(PushRight::Allowed | PushRight::Unknown { .. }) => Standing::Free,
            Ok(PushRight::Denied { reason }) => Standing::Denied { reason },
            Err(error) if error.is_out_of_reach() && !repository.has_answered() => {
                Standing::Unreachable(error)
            }
            Err(error) => Standing::Failing(error),
        }
    }
}
