//! Annotations of images, written as `[type[platform][,type…]:]key=value`.

use crate::types::Platform;
use crate::types::platform::InvalidPlatform;

/// An annotation for one kind of object of an image.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Annotation {
    /// The kind of object. `None` leaves the choice to the exporter.
    pub(crate) level: Option<AnnotationLevel>,
    /// The platform. `None` means all platforms.
    pub(crate) platform: Option<Platform>,
    /// The annotation's key.
    pub(crate) key: String,
    /// The annotation's value.
    pub(crate) value: String,
}

/// The kinds of object that can have annotations.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum AnnotationLevel {
    /// The manifest of an image.
    Manifest,
    /// The index, which lists several manifests.
    Index,
    /// The descriptor with which an index refers to a manifest.
    ManifestDescriptor,
    /// The descriptor with which an OCI layout refers to an index.
    IndexDescriptor,
}

/// Why a text is not a valid annotation.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum AnnotationError {
    /// There is no `=`.
    #[error("`{0}` must have the form `[type:]key=value`")]
    Form(String),
    /// The part before `:` does not have the form of a type.
    #[error("`{0}` must be an annotation type, optionally with a platform in square brackets")]
    Type(String),
    /// There is no type with this name.
    #[error("`{0}` is not one of the annotation types")]
    UnknownType(String),
    /// The platform is invalid.
    #[error("the annotation's platform is not valid")]
    Platform(#[source] InvalidPlatform),
}

impl AnnotationLevel {
    /// The names of all kinds of object.
    pub(crate) const NAMES: [&str; 4] = [
        "manifest",
        "index",
        "manifest-descriptor",
        "index-descriptor",
    ];

    /// The name in annotations.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Manifest => "manifest",
            Self::Index => "index",
            Self::ManifestDescriptor => "manifest-descriptor",
            Self::IndexDescriptor => "index-descriptor",
        }
    }

    fn from_name(name: &str) -> Option<Self> {
        Some(match name {
            "manifest" => Self::Manifest,
            "index" => Self::Index,
            "manifest-descriptor" => Self::ManifestDescriptor,
            "index-descriptor" => Self::IndexDescriptor,
            _ => return None,
        })
    }
}

impl Annotation {
    /// Parses one entry of `annotations`. Several types give several annotations.
    pub(crate) fn parse(text: &str) -> Result<Vec<Self>, AnnotationError> {
        let (left, value) = text
            .split_once('=')
            .ok_or_else(|| AnnotationError::Form(text.to_owned()))?;
        let annotation = |level, platform, key: &str| Self {
            level,
            platform,
            key: key.to_owned(),
            value: value.to_owned(),
        };
        let Some((types, key)) = left.split_once(':') else {
            return Ok(vec![annotation(None, None, left)]);
        };
        types
            .split(',')
            .map(|text| {
                let (level, platform) = level_and_platform(text)?;
                Ok(annotation(Some(level), platform, key))
            })
            .collect()
    }

    /// Parses an output field that sets an annotation: `annotation.KEY` or `annotation-TYPE[PLATFORM].KEY`. `None`
    /// if the field's name does not have this form.
    pub(crate) fn of_attribute(name: &str, value: &str) -> Option<Self> {
        let (types, key) = name.strip_prefix("annotation")?.split_once('.')?;
        let (level, platform) = match types.strip_prefix('-') {
            Some(types) => {
                let (level, platform) = level_and_platform(types).ok()?;
                (Some(level), platform)
            }
            None if types.is_empty() => (None, None),
            // A platform without a type means the manifest.
            None if types.starts_with('[') => {
                let (level, platform) = level_and_platform(&format!("manifest{types}")).ok()?;
                (Some(level), platform)
            }
            None => return None,
        };
        Some(Self {
            level,
            platform,
            key: key.to_owned(),
            value: value.to_owned(),
        })
    }
}

/// Parses `type` or `type[platform]`.
fn level_and_platform(text: &str) -> Result<(AnnotationLevel, Option<Platform>), AnnotationError> {
    let malformed = || AnnotationError::Type(text.to_owned());
    let (name, platform) = match text.split_once('[') {
        None => (text, None),
        Some((name, rest)) => (name, Some(rest.strip_suffix(']').ok_or_else(malformed)?)),
    };
    if name.is_empty() || !name.bytes().all(|b| b.is_ascii_lowercase() || b == b'-') {
        return Err(malformed());
    }
    let platform = match platform {
        None => None,
        Some(platform) => {
            let legal = |b: u8| b.is_ascii_alphanumeric() || b"_/-".contains(&b);
            if platform.is_empty() || !platform.bytes().all(legal) {
                return Err(malformed());
            }
            Some(platform)
        }
    };
    let level = AnnotationLevel::from_name(name)
        .ok_or_else(|| AnnotationError::UnknownType(name.to_owned()))?;
    let platform = platform
        .map(|platform| platform.parse().map_err(AnnotationError::Platform))
        .transpose()?;
    Ok((level, platform))
}

#[cfg(test)]
mod tests {
    use super::*;
    use test_case::test_case;

    #[test]
    fn levels_and_platforms_are_parsed() {
        let found = Annotation::parse("manifest[linux/amd64],index:a:b=c=d").unwrap();
        assert_eq!(found.len(), 2);
        assert_eq!(found[0].level, Some(AnnotationLevel::Manifest));
        assert_eq!(
            found[0].platform.as_ref().map(ToString::to_string),
            Some("linux/amd64".into())
        );
        assert_eq!((&*found[1].key, &*found[1].value), ("a:b", "c=d"));
        assert_eq!(Annotation::parse("k=v:w").unwrap()[0].level, None);
    }

    #[test_case("novalue"; "no value")]
    #[test_case("foo:a=b"; "unknown type")]
    #[test_case("manifest[]:a=b"; "empty platform")]
    #[test_case("manifest[linux/amd64:a=b"; "open bracket")]
    #[test_case("manifest[a/b/c/d]:a=b"; "no platform")]
    #[test_case("manifest,:a=b"; "empty type")]
    #[test_case("Index:a=b"; "upper case")]
    fn invalid_annotations_are_refused(text: &str) {
        assert!(Annotation::parse(text).is_err());
    }
}
