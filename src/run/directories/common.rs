//! Directories whose readers are linked (`target:`).

use std::collections::{HashMap, HashSet};

use crate::engine::session::shared::ShareKey;
use crate::plan::TargetGraph;
use crate::types::TargetName;

/// Those directories that two readers read whose steps are in one definition, because one of them uses the other, or both
/// are used by a third target. If each read it through its own session, it would be two steps of that definition, and
/// of the provenance.
pub(super) fn common_to_a_definition(
    graph: &TargetGraph,
    readers: &HashMap<ShareKey, Vec<&TargetName>>,
) -> HashSet<ShareKey> {
    if !graph.has_links() {
        return HashSet::new();
    }
    let definitions = graph.order().map(|target| {
        let mut parts: HashSet<&TargetName> = graph.behind(target).into_iter().collect();
        parts.insert(target);
        parts
    });
    let definitions: Vec<HashSet<&TargetName>> =
        definitions.filter(|parts| parts.len() > 1).collect();
    let is_common = |readers: &[&TargetName]| {
        let has_two = |parts: &HashSet<&TargetName>| {
            let mut found = readers.iter().filter(|reader| parts.contains(**reader));
            found.nth(1).is_some()
        };
        definitions.iter().any(has_two)
    };
    let common = readers.iter().filter(|(_, readers)| is_common(readers));
    common.map(|(key, _)| key.clone()).collect()
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::super::served::shared;
    use super::*;
    use crate::engine::spec::LocalName;

    #[test]
    fn directories_of_linked_targets_are_common_to_a_definition() {
        let graph = TargetGraph::of(&[
            ("base", &[]),
            ("left", &["base"]),
            ("right", &["base"]),
            ("top", &["left", "right"]),
            ("other", &[]),
            ("alone", &["other"]),
        ]);
        let of = |readers: &[&str]| {
            let (key, _) = shared(LocalName::CONTEXT, Path::new("/d"), String::new());
            let names: Vec<TargetName> = readers.iter().map(|name| name.parse().unwrap()).collect();
            let readers = HashMap::from([(key, names.iter().collect())]);
            !common_to_a_definition(&graph, &readers).is_empty()
        };
        assert!(of(&["left", "right"]), "both used by `top`");
        assert!(of(&["base", "top"]), "one uses the other indirectly");
        assert!(of(&["other", "top", "alone"]));
        assert!(!of(&["base", "other"]), "no target uses both");
        assert!(!of(&["top", "alone"]));
    }
}
