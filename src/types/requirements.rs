//! What a plan needs from a builder, in terms that are independent of both.
//!
//! `run` derives the requirements from a plan, and `builder` compares them with the abilities of an engine.
//! Abilities that every BuildKit has are not listed.

use std::fmt;

use super::{Platform, TargetName};

/// Everything that a plan needs beyond what every engine supports.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Requirements {
    /// One entry for each target and ability, in the order of the plan.
    pub(crate) needs: Vec<Need>,
    /// The platforms of each target, by which the nodes of a builder are chosen. A target without platforms has an empty list.
    pub(crate) platforms: Vec<(TargetName, Vec<Platform>)>,
}

/// An ability that a target needs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Need {
    /// The ability.
    pub(crate) ability: Ability,
    /// The target that needs it.
    pub(crate) target: TargetName,
    /// The attribute that causes the need, such as `output` or `cache-to`.
    pub(crate) attribute: &'static str,
}

/// An ability that some engines lack.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Ability {
    /// To push an image to a registry.
    Push,
    /// To write an image as an OCI archive or folder.
    OciArchive,
    /// To write an image to an archive in Docker's format, instead of loading it into Docker.
    DockerArchive,
    /// To store an image in the engine's own image store (`type=image` without a push).
    ImageStore,
    /// To write more than one output of a target.
    SeveralOutputs,
    /// To build one image for several platforms.
    SeveralPlatforms,
    /// To attach attestations to an image.
    Attestations,
    /// To export the cache to this type of backend (`type=…`).
    CacheExport(String),
}

impl Requirements {
    /// No requirements: any engine can be used.
    pub fn none() -> Self {
        Self::default()
    }

    /// Adds an ability that `target` needs because of `attribute`. Ignores duplicates.
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
    fn needs_are_listed_once_and_with_their_reason() {
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
