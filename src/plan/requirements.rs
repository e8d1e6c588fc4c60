//! The features that a plan needs from a builder and that not every builder has.

use super::model::{Plan, PlannedTarget};
use crate::definition::model::{CacheKind, ExportKind};
use crate::types::Requirements;
use crate::types::requirements::Ability;

/// The features that the targets of `plan` need.
pub(crate) fn requirements(plan: &Plan) -> Requirements {
    let mut requirements = Requirements::none();
    for target in plan.targets.values() {
        let platforms = (target.name.clone(), target.platforms.clone());
        requirements.platforms.push(platforms);
        add(target, &mut requirements);
    }
    requirements
}

/// Adds the needs of one target. What every builder supports is not listed, such as registry caches for import and
/// inline ones for export.
fn add(target: &PlannedTarget, requirements: &mut Requirements) {
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
    for cache in &attributes.cache_from {
        if cache.kind != CacheKind::Registry {
            let ability = Ability::CacheImport(cache.kind.name().to_owned());
            requirements.add(ability, name, "cache-from");
        }
    }
    for cache in &attributes.cache_to {
        if cache.kind != CacheKind::Inline {
            let ability = Ability::CacheExport(cache.kind.name().to_owned());
            requirements.add(ability, name, "cache-to");
        }
    }
}
