//! What the summary says about a built target: its names, and where its results went.

use super::Ready;
use super::publishing::Published;
use crate::definition::model::{Export, ExportKind, Sink};
use crate::outcome::{Solved, SpecialFiles, TargetFacts};
use crate::publish::journal::PublishedTag;
use crate::publisher::{TagEnd, TagReport};
use crate::types::Digest;
use crate::types::hash::IndexSet;

/// Returns the facts of `ready`, whose solve ended as `solved`. `published` says what became of its tags.
pub(super) fn of(ready: &Ready, solved: &Solved, published: &Published) -> TargetFacts {
    let reports = &published.reports;
    let unreported = if published.uncertain.contains(&ready.planned.name) {
        Some("may not have moved")
    } else {
        let is_ours = published.targets.contains(&ready.planned.name);
        is_ours.then_some("not moved")
    };
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
        // The tags, or else the names of the outputs, which may be the same for several.
        let names = ready.planned.build().images.all();
        let names: IndexSet<String> = names.map(|name| name.value.to_string()).collect();
        names
            .iter()
            .map(|tag| with_end(tag, reports, unreported))
            .collect()
    } else {
        Vec::new()
    };
    TargetFacts {
        target: ready.planned.name.clone(),
        digest: solved.digest(),
        tags,
        size: solved.size,
        destinations: exports
            .into_iter()
            .filter_map(|export| destination(export, has_stayed(ready, reports)))
            .chain(special(&solved.special))
            .collect(),
    }
}

/// Whether all tags of `ready` pointed to its image before the run, so that nothing was pushed.
fn has_stayed(ready: &Ready, reports: &[TagReport]) -> bool {
    let name = &ready.planned.name;
    let mut of_target = reports
        .iter()
        .filter(|report| report.target.as_ref() == Some(name));
    let first = of_target.next();
    first.is_some_and(|first| first.end == TagEnd::Stayed)
        && of_target.all(|report| report.end == TagEnd::Stayed)
}

/// The tag, and what is unusual about it. A tag without a report has ended as `unreported`; `None` means that the builder
/// has pushed it.
fn with_end(tag: &str, reports: &[TagReport], unreported: Option<&str>) -> String {
    let reference = tag.parse().ok();
    let published = reference.and_then(|reference| PublishedTag::of(&reference));
    let report = published.and_then(|tag| reports.iter().find(|report| report.tag == tag));
    let end = match (report.map(|report| &report.end), unreported) {
        (None, Some(unreported)) => unreported.to_owned(),
        (None, None) | (Some(TagEnd::Set { was: None, .. }), _) => return tag.to_owned(),
        (Some(TagEnd::Set { was: Some(was), .. }), _) => format!("was {}", short(was)),
        (Some(TagEnd::Stayed), _) => "unchanged".to_owned(),
        (Some(TagEnd::Held { run }), _) => format!("held: `rbake promote {run}` moves it"),
        (Some(TagEnd::KeptByNewer { newer }), _) => {
            let newer: String = newer.as_str().chars().take(12).collect();
            format!("stays: commit {newer} is newer")
        }
        (Some(TagEnd::KeptComplete { is }), _) => {
            format!("stays at {}, which was published before", short(is))
        }
    };
    format!("{tag}  ({end})")
}

fn short(digest: &Digest) -> String {
    format!("{}:{}", digest.algorithm(), digest.short())
}

/// Returns a text that counts the written files with privileges beyond their content. `None` if there are none.
fn special(files: &SpecialFiles) -> Option<String> {
    let count = |number: u64, one: &str, many: &str| match number {
        0 => None,
        1 => Some(format!("1 {one}")),
        number => Some(format!("{number} {many}")),
    };
    let kinds = [
        count(files.set_id, "set-id file", "set-id files"),
        count(files.devices, "device", "devices"),
        count(
            files.attributes,
            "file with security attributes",
            "files with security attributes",
        ),
    ];
    let kinds: Vec<String> = kinds.into_iter().flatten().collect();
    (!kinds.is_empty()).then(|| format!("with {}", kinds.join(", ")))
}

/// Returns where an export went, or `None` if it is only kept by the builder. `has_stayed` says that the image was in the
/// registry already.
fn destination(export: &Export, has_stayed: bool) -> Option<String> {
    let dest = export.dest.as_deref();
    match (export.sink(), dest) {
        (Sink::None, _) if export.pushes() && has_stayed => Some("published before".to_owned()),
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
        facts(&format!("tags = [\"a:1\"]\noutput = [{output}]")).destinations
    }

    fn facts(attributes: &str) -> TargetFacts {
        let planned = planned(attributes);
        let places = crate::run::locate::TargetPlaces {
            context: crate::run::locate::SourceTree::Dir("/".into()),
            dockerfile: crate::run::locate::DockerfilePlace::InContext("Dockerfile".into()),
            images: Vec::new(),
            named: std::collections::BTreeMap::new(),
        };
        let ready = Ready {
            planned,
            places,
            secrets: std::collections::BTreeMap::new(),
            ssh: crate::engine::session::ssh::SshAgents::default(),
            policies: crate::run::TargetPolicies::default(),
            part: None,
        };
        of(&ready, &Solved::default(), &Published::default())
    }

    #[test]
    fn the_number_of_special_files_is_shown() {
        let files = SpecialFiles {
            set_id: 2,
            devices: 1,
            ..SpecialFiles::default()
        };
        assert_eq!(
            special(&files).as_deref(),
            Some("with 2 set-id files, 1 device")
        );
        assert_eq!(special(&SpecialFiles::default()), None);
    }

    #[test]
    fn names_are_the_tags_or_else_those_of_the_outputs() {
        let named = "\"type=image,\\\"name=a:2,b\\\",push=true\", \"type=oci,dest=x,name=a:2\"";
        assert_eq!(
            facts(&format!("tags = [\"a:1\"]\noutput = [{named}]")).tags,
            ["a:1"]
        );
        assert_eq!(facts(&format!("output = [{named}]")).tags, ["a:2", "b"]);
        assert_eq!(facts("output = [\"type=local,dest=x\"]").tags, [""; 0]);
    }

    #[test]
    fn each_output_is_described_once_and_in_words() {
        assert_eq!(
            destinations(r#""type=registry", "type=local,dest=out""#),
            ["pushed", "written to out"]
        );
        assert_eq!(destinations(r#""type=docker""#), ["loaded into Docker"]);
        assert_eq!(destinations(r#""type=image""#), Vec::<String>::new());
    }
}
