//! The image names that a target writes to.

use crate::plan::model::PlannedTarget;
use crate::types::ImageName;

/// The repository and tag that a push to `name` writes. `None` if the name has only a digest.
pub(super) fn tagged(name: &ImageName) -> Option<String> {
    let reference = name.reference();
    let tag = reference.tag_or_latest()?;
    Some(format!("{}:{tag}", reference.repository()))
}

/// Whether an output of the target pushes an image.
pub(super) fn pushes(target: &PlannedTarget) -> bool {
    let mut outputs = target.attributes.output.iter();
    outputs.any(|export| export.pushes())
}
