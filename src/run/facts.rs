//! What is told of a target that was built: its names, and where its results went.

use super::Ready;
use crate::definition::model::{Export, ExportKind, Sink};
use crate::outcome::{Solved, TargetFacts};

/// The facts of `ready`, which ended as `solved`.
pub(super) fn of(ready: &Ready, solved: &Solved) -> TargetFacts {
    let attributes = &ready.planned.attributes;
    let exports: Vec<&Export> = attributes
        .output
        .iter()
        .map(|output| &output.value)
        .collect();
    let names_image = |export: &&Export| {
        matches!(
            export.kind,
            ExportKind::Image | ExportKind::Registry | ExportKind::Docker | ExportKind::Oci
        )
    };
    let tags = if exports.iter().any(names_image) {
        attributes
            .tags
            .iter()
            .map(|tag| tag.value.to_string())
            .collect()
    } else {
        Vec::new()
    };
    TargetFacts {
        target: ready.planned.name.clone(),
        digest: solved.digest(),
        tags,
        size: solved.size,
        destinations: exports.into_iter().filter_map(destination).collect(),
    }
}

fn destination(export: &Export) -> Option<String> {
    let dest = export.dest.as_deref();
    match (export.sink(), dest) {
        (Sink::None, _) if export.pushes() => Some("pushed".to_owned()),
        (Sink::None, _) => None,
        (Sink::Docker, _) => Some("loaded into Docker".to_owned()),
        (Sink::Directory | Sink::File, Some("-") | None) => {
            Some("written to standard output".to_owned())
        }
        (Sink::Directory | Sink::File, Some(path)) => Some(format!("written to {path}")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::run::testing::planned;

    fn destinations(output: &str) -> Vec<String> {
        let planned = planned(&format!("tags = [\"a:1\"]\noutput = [{output}]"));
        let places = crate::run::locate::Places {
            context: crate::run::locate::Tree::Dir("/".into()),
            dockerfile: crate::run::locate::DockerfilePlace::InContext("Dockerfile".into()),
            named: std::collections::BTreeMap::new(),
        };
        let ready = Ready {
            planned,
            places,
            secrets: std::collections::BTreeMap::new(),
        };
        of(&ready, &Solved::default()).destinations
    }

    #[test]
    fn each_output_is_told_once_and_in_words() {
        assert_eq!(
            destinations(r#""type=registry", "type=local,dest=out""#),
            ["pushed", "written to out"]
        );
        assert_eq!(destinations(r#""type=docker""#), ["loaded into Docker"]);
        assert_eq!(destinations(r#""type=image""#), Vec::<String>::new());
    }
}
