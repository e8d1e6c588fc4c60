//! How registries delete.

/// How a tag is removed from a manifest that stays.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum TagRemoval {
    /// By `DELETE /v2/…/manifests/<tag>`.
    Request,
    /// By an API that only this registry has.
    Api,
    /// By setting the tag to a placeholder, which is a manifest that nothing else has, and deleting that with its tag.
    Replacement,
    /// Not at all.
    #[cfg_attr(
        not(test),
        expect(
            dead_code,
            reason = "no registry that rbake knows is so, but plans allow for it"
        )
    )]
    Unsupported,
}

/// How a manifest is deleted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum ManifestRemoval {
    /// By `DELETE /v2/…/manifests/<digest>`.
    Request,
    /// By an API that only this registry has.
    Api,
    /// Not at all. The registry may collect what has no tag.
    Unsupported,
}

/// What deleting a manifest means for its tags.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum TaggedManifest {
    /// All of them go with it.
    TagsGo,
    /// The registry refuses it until all of them are removed.
    Refused,
}

/// What removing the last tag means for the manifest.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum UntaggedManifest {
    /// It stays.
    Stays,
    /// It goes, at once or later. A plan leaves the last tag of what stays. It cannot protect what has no tag and stays
    /// for another reason, such as a lock, if its last index goes.
    Goes,
}

/// What it means that the registry denies a deletion, although the login may delete in general.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum DeniedDeletion {
    /// It would deny all others, too.
    All,
    /// This tag is protected, or something still needs this manifest.
    One,
}

/// How a registry deletes. Only this differs between registries.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct DeletionTraits {
    /// Removing a tag.
    pub(crate) tags: TagRemoval,
    /// Deleting a manifest.
    pub(crate) manifests: ManifestRemoval,
    /// Deleting a manifest that has tags.
    pub(crate) tagged: TaggedManifest,
    /// Removing the last tag of a manifest.
    pub(crate) untagged: UntaggedManifest,
    /// A deletion that is denied.
    pub(crate) denied: DeniedDeletion,
}

impl DeletionTraits {
    /// distribution 2.8 deletes by digest only, and then all tags of the digest (`registry/handlers/manifests.go`).
    pub(crate) const DISTRIBUTION_2: Self = Self {
        tags: TagRemoval::Replacement,
        manifests: ManifestRemoval::Request,
        tagged: TaggedManifest::TagsGo,
        untagged: UntaggedManifest::Stays,
        denied: DeniedDeletion::All,
    };
    /// distribution 3 deletes tags, too.
    pub(crate) const DISTRIBUTION_3: Self = Self {
        tags: TagRemoval::Request,
        ..Self::DISTRIBUTION_2
    };
    /// GitHub's registry answers 405 to every `DELETE`. Its Packages API deletes versions: a digest with all its tags.
    pub(crate) const GHCR: Self = Self {
        tags: TagRemoval::Replacement,
        manifests: ManifestRemoval::Api,
        ..Self::DISTRIBUTION_2
    };
    /// Amazon's registry deletes by `BatchDeleteImage`: a digest with all its tags, or a tag; with the last tag the
    /// image goes, too.
    pub(crate) const ECR: Self = Self {
        tags: TagRemoval::Api,
        manifests: ManifestRemoval::Api,
        tagged: TaggedManifest::TagsGo,
        untagged: UntaggedManifest::Goes,
        denied: DeniedDeletion::All,
    };
    /// GitLab's registry deletes by tags and digests, and collects manifests without a tag after a day unless an
    /// index has them. It denies the deletion of protected tags (its documentation, "Protected container tags").
    pub(crate) const GITLAB: Self = Self {
        untagged: UntaggedManifest::Goes,
        denied: DeniedDeletion::One,
        ..Self::DISTRIBUTION_3
    };
    /// Google's registry (and its successor) wants all tags to be removed first.
    pub(crate) const GOOGLE: Self = Self {
        tagged: TaggedManifest::Refused,
        ..Self::DISTRIBUTION_3
    };
    /// Docker Hub's registry deletes manifests, and answers 403 while a tag or an index leads to one (its documentation,
    /// "Delete image manifest"). Its own API deletes tags.
    pub(crate) const DOCKER_HUB: Self = Self {
        tags: TagRemoval::Api,
        manifests: ManifestRemoval::Request,
        tagged: TaggedManifest::Refused,
        untagged: UntaggedManifest::Stays,
        denied: DeniedDeletion::One,
    };

    /// The same registry, if it deletes tags only.
    pub(crate) const fn without_manifests(self) -> Self {
        Self {
            manifests: ManifestRemoval::Unsupported,
            ..self
        }
    }

    /// Whether manifests can be deleted.
    pub(crate) const fn deletes_manifests(self) -> bool {
        !matches!(self.manifests, ManifestRemoval::Unsupported)
    }

    /// Whether a manifest takes its tags with it.
    pub(crate) const fn deletes_with_tags(self) -> bool {
        self.deletes_manifests() && matches!(self.tagged, TaggedManifest::TagsGo)
    }

    /// Whether a tag can be removed without its manifest.
    pub(crate) const fn deletes_tags(self) -> bool {
        match self.tags {
            TagRemoval::Request | TagRemoval::Api => true,
            // The placeholder must go with its tag.
            TagRemoval::Replacement => self.deletes_with_tags(),
            TagRemoval::Unsupported => false,
        }
    }

    /// Whether the manifest goes with its last tag.
    pub(crate) const fn last_tag_deletes(self) -> bool {
        matches!(self.untagged, UntaggedManifest::Goes)
    }
}
