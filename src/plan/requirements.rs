//! The features that a plan needs from a builder and that not every builder has.

use super::model::{Plan, PlannedTarget};
use crate::definition::model::{CacheEntry, CacheKind, ExportKind};
use crate::types::Requirements;
use crate::types::requirements::Ability;

/// The features that the targets of `plan` need. A cache is not exported if `is_left_out` says so.
pub(crate) fn requirements(plan: &Plan, is_left_out: impl Fn(&CacheEntry) -> bool) -> Requirements {
    let mut requirements = Requirements::none();
    for target in plan.targets.values() {
        let platforms = (target.name.clone(), target.platforms.clone());
        requirements.platforms.push(platforms);
        add(target, &is_left_out, &mut requirements);
    }
    requirements
}

/// Adds the needs of one target. What every builder supports is not listed, such as inline caches. Imports of caches are no
/// needs: a builder that cannot import one says so, and builds without it.
fn add(
    target: &PlannedTarget,
    is_left_out: &impl Fn(&CacheEntry) -> bool,
    requirements: &mut Requirements,
) {
    let name = &target.name;
    let attributes = &target.attributes;
    let mut exports = 0;
    for export in &attributes.output {
        let ability = match export.kind {
            ExportKind::CacheOnly => continue,
            _ if export.pushes() => Some(Ability::Push),
            ExportKind::Image => Some(Ability::ImageStore),
            ExportKind::Oci => Some(Ability::OciArchive),
            ExportKind::Docker if export.dest.is_some() => Some(Ability::DockerArchive),
            _ => None,
        };
        exports += 1;
        if let Some(ability) = ability {
            requirements.add(ability, name, "output");
        }
    }
    if exports > 1 {
        requirements.add(Ability::SeveralOutputs, name, "output");
    }
    if target.platforms.len() > 1 {
        requirements.add(Ability::SeveralPlatforms, name, "platforms");
    }
    if attributes.attest.iter().any(|attest| !attest.disabled) {
        requirements.add(Ability::Attestations, name, "attest");
    }
    for cache in &attributes.cache_to {
        if cache.kind != CacheKind::Inline && !is_left_out(&cache.value) {
            let ability = Ability::CacheExport(cache.kind.name().to_owned());
            requirements.add(ability, name, "cache-to");
        }
    }
}
