//! Decides which nodes of a builder build a target.
//!
//! Pure: knows platforms and names, and neither connections nor files. [`candidates_by_fixed`] and [`candidates_by_all`] find the
//! nodes that can build each platform, by buildx's rules. [`by_locality`] chooses one of them, by what [`PlacementMemory`] knows of earlier
//! runs.

mod locality;
mod matching;
mod memory;
#[cfg(test)]
mod simulation;

#[cfg(test)]
pub(crate) use locality::{PlacedPlatform, PlacementReason};
pub(crate) use locality::{PlacedTarget, TargetToPlace, by_locality};
pub(crate) use matching::{
    NodePlatforms, PlatformChoice, TargetChoices, TargetPlatforms, candidates_by_all,
    candidates_by_fixed,
};
pub(crate) use memory::{MEMORY_LIMIT, PlacementKey, PlacementMemory};
