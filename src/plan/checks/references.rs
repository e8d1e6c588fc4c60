//! What is pushed, and to which names.

use crate::plan::model::PlannedTarget;
use crate::types::ImageName;

/// The repository and tag that are written to under `name`; `None` if it names a digest alone.
pub(super) fn tagged(name: &ImageName) -> Option<String> {
    let reference = name.reference();
    let tag = reference.tag_or_latest()?;
    Some(format!("{}:{tag}", reference.repository()))
}

/// Whether an image of the target is pushed.
pub(super) fn pushes(target: &PlannedTarget) -> bool {
    let mut outputs = target.attributes.output.iter();
    outputs.any(|export| export.pushes())
}
