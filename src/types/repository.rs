//! Names of repositories and of tags in them.

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use super::Reference;
use super::reference::{InvalidReference, is_legal_tag};

/// A repository of a registry: the name of an image, without tag and digest. Printed as `domain/path`.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) struct ImageRepository {
    domain: Arc<str>,
    path: Arc<str>,
    familiar: Arc<str>,
}

impl ImageRepository {
    /// The repository of the image `reference`.
    pub(crate) fn of(reference: &Reference) -> Self {
        Self {
            domain: reference.domain().into(),
            path: reference.path().into(),
            familiar: reference.familiar_name().into(),
        }
    }

    /// The registry's domain, with its port if there is one; `docker.io` for Docker Hub.
    pub(crate) fn domain(&self) -> &str {
        &self.domain
    }

    /// The path within the registry, such as `library/alpine`.
    pub(crate) fn path(&self) -> &str {
        &self.path
    }

    /// The short form: without `docker.io/` and `library/`.
    pub(crate) fn familiar(&self) -> &str {
        &self.familiar
    }
}

impl fmt::Display for ImageRepository {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.domain, self.path)
    }
}

/// A tag such as `v1.2`. Its form was checked.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) struct ImageTag(Arc<str>);

impl ImageTag {
    /// The tag of `reference`; `latest` if it has neither a tag nor a digest. `None` if it has only a digest.
    pub(crate) fn of(reference: &Reference) -> Option<Self> {
        reference.tag_or_latest().map(|tag| Self(tag.into()))
    }

    /// The text.
    pub(crate) fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for ImageTag {
    type Err = InvalidReference;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        if is_legal_tag(text) {
            Ok(Self(text.into()))
        } else {
            Err(InvalidReference::Tag {
                tag: text.to_owned(),
            })
        }
    }
}

impl fmt::Display for ImageTag {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_repository_is_the_reference_without_tag_and_digest() {
        for (text, whole, familiar, tag) in [
            (
                "alpine",
                "docker.io/library/alpine",
                "alpine",
                Some("latest"),
            ),
            ("a/b:1", "docker.io/a/b", "a/b", Some("1")),
            ("h:5000/a/b:v1", "h:5000/a/b", "h:5000/a/b", Some("v1")),
        ] {
            let reference: Reference = text.parse().unwrap();
            let repository = ImageRepository::of(&reference);
            assert_eq!(repository.to_string(), whole);
            assert_eq!(repository.familiar(), familiar);
            assert_eq!(
                ImageTag::of(&reference),
                tag.map(|tag| tag.parse().unwrap())
            );
        }
        let digest = format!("h.example/a@sha256:{}", "0".repeat(64));
        assert_eq!(ImageTag::of(&digest.parse().unwrap()), None);
    }

    #[test]
    fn a_tag_cannot_act_as_a_path_or_a_query() {
        for text in ["", "a/b", "..", ".", "a?b", "a#b", "a b", "é", "a\n"] {
            assert!(text.parse::<ImageTag>().is_err(), "{text:?}");
        }
    }
}
