//! What a plan asks of a builder, in words that neither knows the other by.
//!
//! `run` makes them of a plan; `builder` compares them with what an engine offers. What every BuildKit can do is no
//! requirement.

use std::fmt;

use super::TargetName;

/// All that a plan asks for beyond what every engine can do.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Requirements {
    /// One entry per target and ability, in the plan's order.
    pub(crate) needs: Vec<Need>,
}

/// One ability that one target needs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Need {
    /// The ability.
    pub(crate) ability: Ability,
    /// The target that needs it.
    pub(crate) target: TargetName,
    /// The attribute that asks for it, such as `output` or `cache-to`.
    pub(crate) attribute: &'static str,
}

/// Something that some engines cannot do.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Ability {
    /// Pushing an image to a registry.
    Push,
    /// An image as an OCI archive or folder.
    OciArchive,
    /// An image as an archive in Docker's form, in a file rather than in Docker.
    DockerArchive,
    /// An image in the engine's own store (`type=image` without a push).
    ImageStore,
    /// More than one output of one target.
    SeveralOutputs,
    /// One image of several platforms.
    SeveralPlatforms,
    /// Attestations attached to an image.
    Attestations,
    /// Exporting the cache in this way, other than inline.
    CacheExport(String),
    /// Importing the cache in this way, other than from a registry.
    CacheImport(String),
}

impl Requirements {
    /// No requirements: any engine will do.
    pub fn none() -> Self {
        Self::default()
    }

    /// Adds what `target` needs because of `attribute`.
    pub fn add(&mut self, ability: Ability, target: &TargetName, attribute: &'static str) {
        let need = Need {
            ability,
            target: target.clone(),
            attribute,
        };
        if !self.needs.contains(&need) {
            self.needs.push(need);
        }
    }
}

impl fmt::Display for Ability {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Push => f.write_str("push images"),
            Self::OciArchive => f.write_str("write OCI archives"),
            Self::DockerArchive => f.write_str("write Docker archives"),
            Self::ImageStore => f.write_str("keep images in its own store"),
            Self::SeveralOutputs => f.write_str("give a target several outputs"),
            Self::SeveralPlatforms => f.write_str("build images of several platforms"),
            Self::Attestations => f.write_str("attach attestations"),
            Self::CacheExport(kind) => write!(f, "export the cache with `type={kind}`"),
            Self::CacheImport(kind) => write!(f, "import the cache with `type={kind}`"),
        }
    }
}

impl fmt::Display for Need {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{}, which `{}` of target `{}` asks for",
            self.ability, self.attribute, self.target
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn needs_are_said_once_and_with_their_reason() {
        let web: TargetName = "web".parse().unwrap();
        let mut requirements = Requirements::none();
        for _ in 0..2 {
            requirements.add(Ability::CacheExport("gha".into()), &web, "cache-to");
        }
        assert_eq!(requirements.needs.len(), 1);
        assert_eq!(
            requirements.needs[0].to_string(),
            "export the cache with `type=gha`, which `cache-to` of target `web` asks for"
        );
    }
}
