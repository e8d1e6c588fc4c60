//! Turns the services of a Compose project into target blocks.

use std::collections::HashSet;
use std::path::PathBuf;
use std::sync::Arc;

use indexmap::IndexMap;

use super::super::declarations::BlockKind;
use super::super::evaluated::{BlockOrigin, EvaluatedAttribute, EvaluatedBlock};
use super::super::model::{Attest, SshEntry};
use super::extension;
use super::made::Made;
use crate::compose::{Build, Entries, Project, Service};
use crate::diag::{Diagnostics, SourceId, Span, Spanned};

/// The blocks of a Compose project: a group `default` if there are services, and a target for each service with a
/// `build`.
#[derive(Debug, Default)]
pub(in crate::definition) struct ComposeBlocks {
    pub(in crate::definition) groups: Vec<EvaluatedBlock>,
    pub(in crate::definition) targets: Vec<EvaluatedBlock>,
    /// Services without a `build`, under the names that their targets would have.
    pub(in crate::definition) unbuilt: Vec<Spanned<Arc<str>>>,
}

impl ComposeBlocks {
    /// The kinds and names of all blocks.
    pub(in crate::definition) fn names(&self) -> Vec<(BlockKind, Spanned<Arc<str>>)> {
        let groups = self
            .groups
            .iter()
            .map(|block| (BlockKind::Group, &block.name));
        let targets = self
            .targets
            .iter()
            .map(|block| (BlockKind::Target, &block.name));
        let names = groups.chain(targets);
        names.map(|(kind, name)| (kind, name.clone())).collect()
    }
}

/// Where a project is: the base of its relative paths.
#[derive(Debug, Clone)]
pub(super) struct ProjectPlace {
    /// The first Compose file of the project.
    pub(super) source: SourceId,
    /// The directory of that file.
    pub(super) dir: Option<Arc<PathBuf>>,
}

/// Makes the blocks of `project`. Problems in `x-bake` are added to `problems`.
pub(super) fn lower(
    project: &Project,
    origin: &ProjectPlace,
    problems: &mut Diagnostics,
) -> ComposeBlocks {
    let mut targets = Vec::new();
    let mut unbuilt = Vec::new();
    for service in &project.services {
        if let Some(build) = &service.build {
            targets.push(target(service, build, origin, problems));
        } else {
            let name = service.name.clone();
            unbuilt.push(name.map(|name| Arc::from(target_name(&name))));
        }
    }
    if project.services.is_empty() {
        return ComposeBlocks::default();
    }
    let span = Span::new(origin.source, 0..0);
    let names: Vec<Spanned<String>> = targets
        .iter()
        .map(|target| Spanned {
            value: target.name.value.to_string(),
            span: target.name.span,
        })
        .collect();
    // If there are no members, buildx's group has a null list instead of an empty one.
    let members = if names.is_empty() {
        Made::null(span)
    } else {
        Made::texts(&names, span)
    };
    let members = members.attribute();
    let group = block(
        Spanned::without_span(Arc::from("default")),
        [(Arc::from("targets"), members)].into(),
        origin,
    );
    ComposeBlocks {
        groups: vec![group],
        targets,
        unbuilt,
    }
}

fn block(
    name: Spanned<Arc<str>>,
    attributes: IndexMap<Arc<str>, EvaluatedAttribute>,
    origin: &ProjectPlace,
) -> EvaluatedBlock {
    EvaluatedBlock {
        name,
        attributes: attributes.into_iter().collect(),
        base_dir: origin.dir.clone(),
        origin: BlockOrigin::Written,
        deferred: Vec::new(),
    }
}

/// The target name of a service. Dots become underscores, because in bake a dot separates target and attribute.
fn target_name(service: &str) -> String {
    service.replace('.', "_")
}

/// Rewrites the context `service:X` or `target:X` to the target name of the service `X`. Other contexts are unchanged.
fn context(value: &str) -> String {
    let service = value
        .strip_prefix("service:")
        .or_else(|| value.strip_prefix("target:"));
    match service {
        Some(service) => format!("target:{}", target_name(service)),
        None => value.to_owned(),
    }
}

struct Attributes {
    span: Span,
    all: IndexMap<Arc<str>, EvaluatedAttribute>,
}

impl Attributes {
    fn set(&mut self, name: &str, made: Made) {
        self.all.insert(Arc::from(name), made.attribute());
    }

    fn text(&mut self, name: &str, text: Option<&Spanned<String>>) {
        if let Some(text) = text {
            self.set(name, Made::text(text, self.span));
        }
    }

    fn boolean(&mut self, name: &str, value: Option<&Spanned<bool>>) {
        if let Some(value) = value {
            let span = value.span.unwrap_or(self.span);
            self.set(name, Made::boolean(value.value, span));
        }
    }

    fn texts(&mut self, name: &str, texts: &[Spanned<String>]) {
        if !texts.is_empty() {
            self.set(name, Made::texts(texts, self.span));
        }
    }

    fn list(&mut self, name: &str, items: Vec<Made>) {
        if !items.is_empty() {
            self.set(name, Made::list(items, self.span));
        }
    }

    fn map(&mut self, name: &str, entries: &Entries) {
        if entries.is_empty() {
            return;
        }
        let entries = entries.iter();
        let made = entries.map(|(key, value)| (key.clone(), Made::text(value, self.span)));
        self.set(name, Made::object(made.collect(), self.span));
    }
}

fn target(
    service: &Service,
    build: &Build,
    origin: &ProjectPlace,
    problems: &mut Diagnostics,
) -> EvaluatedBlock {
    let extension = extension::read(&build.extensions, problems);
    let span = build.span;
    let mut attributes = Attributes {
        span,
        all: IndexMap::new(),
    };

    attributes.text("context", build.context.as_ref());
    let mut contexts = Entries::new();
    for (name, value) in build.additional_contexts.iter().chain(&extension.contexts) {
        let place = contexts.entry(name.clone());
        place.or_insert_with(|| value.clone().map(|value| context(&value)));
    }
    attributes.map("contexts", &contexts);
    attributes.text("dockerfile", build.dockerfile.as_ref());
    attributes.text("dockerfile-inline", build.dockerfile_inline.as_ref());
    attributes.text("target", build.target.as_ref());
    attributes.map("args", &build.args);
    attributes.map("labels", &build.labels);

    let mut tags = joined(&build.tags, &extension.tags);
    if tags.is_empty() {
        tags.extend(service.image.clone());
    }
    attributes.texts("tags", &tags);
    attributes.texts("platforms", &joined(&build.platforms, &extension.platforms));
    attributes.texts(
        "cache-from",
        &both(&build.cache_from, &extension.cache_from),
    );
    attributes.texts("cache-to", &both(&build.cache_to, &extension.cache_to));
    attributes.texts("output", &extension.output);
    attributes.texts("no-cache-filter", &extension.no_cache_filter);
    attributes.list("secret", secrets(build, &extension.secrets));
    attributes.list("ssh", ssh(build, &extension.ssh));
    attributes.list("attest", attests(build));

    attributes.map("extra-hosts", &build.extra_hosts);
    attributes.texts("ulimits", &build.ulimits);
    let size = build.shm_size.as_ref();
    let size = size.map(|size| size.clone().map(size_text));
    attributes.text("shm-size", size.as_ref());
    attributes.text("network", build.network.as_ref());
    let set = |flag: &Option<Spanned<bool>>| flag.clone().filter(|flag| flag.value);
    let no_cache = extension.no_cache.clone().or_else(|| set(&build.no_cache));
    attributes.boolean("no-cache", no_cache.as_ref());
    let pull = extension.pull.clone().or_else(|| set(&build.pull));
    attributes.boolean("pull", pull.as_ref());

    let name = service.name.clone();
    EvaluatedBlock {
        deferred: service.problems.0.clone(),
        ..block(
            name.map(|name| Arc::from(target_name(&name))),
            attributes.all,
            origin,
        )
    }
}

/// Joins two lists. Duplicates are removed only if `more` is not empty, as in buildx.
fn joined(own: &[Spanned<String>], more: &[Spanned<String>]) -> Vec<Spanned<String>> {
    if more.is_empty() {
        return own.to_vec();
    }
    let mut seen = HashSet::new();
    let all = own.iter().chain(more);
    all.filter(|text| seen.insert(&text.value))
        .cloned()
        .collect()
}

fn both(own: &[Spanned<String>], more: &[Spanned<String>]) -> Vec<Spanned<String>> {
    own.iter().chain(more).cloned().collect()
}

fn secrets(build: &Build, more: &[Spanned<String>]) -> Vec<Made> {
    let own = build.secrets.iter().map(|secret| {
        let span = secret.id.span.unwrap_or(build.span);
        let mut fields = vec![("id".to_owned(), Made::text(&secret.id, span))];
        for (key, value) in [("src", &secret.file), ("env", &secret.environment)] {
            if let Some(value) = value {
                fields.push((key.to_owned(), Made::text(value, span)));
            }
        }
        Made::object(fields, span)
    });
    let more = more.iter().map(|text| Made::text(text, build.span));
    own.chain(more).collect()
}

/// The SSH entries sorted by id. If several have the same id, the last one counts.
fn ssh(build: &Build, more: &[Spanned<String>]) -> Vec<Made> {
    let mut all: IndexMap<Arc<str>, (Vec<String>, Span)> = IndexMap::new();
    for (id, path) in &build.ssh {
        let paths = path.iter().map(|path| path.value.clone()).collect();
        let span = id.span.unwrap_or(build.span);
        all.insert(Arc::from(id.value.as_str()), (paths, span));
    }
    for text in more.iter().filter(|text| !text.is_empty()) {
        let entry = SshEntry::from_text(text);
        let paths = entry.paths.iter().map(ToString::to_string).collect();
        all.insert(entry.id, (paths, text.span.unwrap_or(build.span)));
    }
    all.sort_unstable_keys();
    let made = all.into_iter().map(|(id, (paths, span))| {
        let text = |text: &str| Made::text(&Spanned::without_span(text.to_owned()), span);
        let mut fields = vec![("id".to_owned(), text(&id))];
        if !paths.is_empty() {
            let paths = paths.iter().map(|path| text(path)).collect();
            fields.push(("paths".to_owned(), Made::list(paths, span)));
        }
        Made::object(fields, span)
    });
    made.collect()
}

fn attests(build: &Build) -> Vec<Made> {
    let kinds = [("sbom", &build.sbom), ("provenance", &build.provenance)];
    let set = kinds.into_iter().filter_map(|(kind, value)| {
        let value = value.clone()?;
        let text = value.map(|value| Attest::flag_text(kind, &value));
        Some(Made::text(&text, build.span))
    });
    set.collect()
}

/// Formats a size as Go's `go-units` does, with at most four digits.
fn size_text(bytes: u64) -> String {
    const UNITS: [&str; 7] = ["B", "KiB", "MiB", "GiB", "TiB", "PiB", "EiB"];
    #[expect(
        clippy::cast_precision_loss,
        reason = "only four digits are shown, so the lost precision cannot be seen"
    )]
    let mut size = bytes as f64;
    let mut unit = 0;
    while size >= 1024.0 && unit + 1 < UNITS.len() {
        size /= 1024.0;
        unit += 1;
    }
    let decimals = match size {
        size if size >= 1000.0 => 0,
        size if size >= 100.0 => 1,
        size if size >= 10.0 => 2,
        _ => 3,
    };
    let text = format!("{size:.decimals$}");
    let text = if text.contains('.') {
        text.trim_end_matches('0').trim_end_matches('.')
    } else {
        &text
    };
    format!("{text}{}", UNITS[unit])
}

#[cfg(test)]
mod tests {
    use super::super::super::testing::{World, attribute};
    use super::*;
    use test_case::test_case;

    #[test_case(64 << 20, "64MiB")]
    #[test_case(1000, "1000B")]
    #[test_case(1024, "1KiB")]
    #[test_case(1536, "1.5KiB")]
    #[test_case(1_234_567, "1.177MiB")]
    #[test_case(123_456_789, "117.7MiB")]
    #[test_case((1 << 20) - 1, "1024KiB")]
    #[test_case(u64::MAX, "16EiB")]
    fn sizes_are_written_in_binary_units(bytes: u64, expected: &str) {
        assert_eq!(size_text(bytes), expected);
    }

    // The expected text is what buildx printed for the same file with real key files.
    #[test]
    fn ssh_entries_are_sorted_and_the_last_one_of_an_id_is_kept() {
        let text = "services:\n  a:\n    build:\n      ssh: {z: ./x/../k1, b: k2}\n      x-bake:\n        \
                    ssh: [a=k1, 'z=k2,k1', a=k2]\n";
        let evaluated = World::default()
            .evaluate(&[("compose.yaml", text)])
            .unwrap();
        assert_eq!(
            attribute(&evaluated.targets[0], "ssh"),
            r#"[{"id":"a","paths":["k2"]},{"id":"b","paths":["k2"]},{"id":"z","paths":["k2","k1"]}]"#
        );
    }
}
