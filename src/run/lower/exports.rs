//! Outputs become exports, and each that comes back to this machine gets a place to go.

use std::collections::BTreeMap;
use std::path::PathBuf;

use super::Lowering;
use crate::definition::model::{Export, ExportKind, Sink};
use crate::diag::Spanned;
use crate::engine::spec::{self, Exporter};
use crate::files::Resolved;
use crate::plan::syntax::Annotation;
use crate::types::{Reference, go};

/// Where an export that comes back to this machine goes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum ExportSink {
    /// A directory.
    Directory(PathBuf),
    /// An archive.
    File(Resolved),
    /// Standard output.
    Stdout,
    /// The Docker Engine, of this context where one is named.
    Docker {
        /// The Docker context by name.
        context: Option<String>,
    },
}

/// Attributes that only this side reads.
const CLIENT_ONLY: [&str; 4] = ["push", "unpack", "name", "context"];

pub(super) fn lower(
    lowering: &mut Lowering<'_>,
) -> (Vec<spec::Export>, BTreeMap<usize, ExportSink>) {
    let target = lowering.target;
    let wanted: Vec<Spanned<Export>> = if target.output.is_empty() {
        default_output(lowering)
            .map(Spanned::without_span)
            .into_iter()
            .collect()
    } else {
        target.output.iter().cloned().collect()
    };
    let tags = tags(lowering);
    let annotations = annotations(lowering);
    let mut exports = Vec::new();
    let mut sinks = BTreeMap::new();
    let mut to_stdout = 0;
    for output in wanted
        .iter()
        .filter(|output| output.value.kind != ExportKind::CacheOnly)
    {
        let sink = sink(lowering, output);
        to_stdout += usize::from(sink == Some(ExportSink::Stdout));
        let mut export = export(lowering, output, &tags, sink.as_ref());
        export.extra.extend(
            annotations
                .iter()
                .map(|(key, value)| (key.clone(), value.clone())),
        );
        if let Some(sink) = sink.filter(|_| export.exporter != Exporter::Moby) {
            sinks.insert(exports.len(), sink);
        }
        exports.push(export);
    }
    if to_stdout > 1 {
        lowering.error(
            "run::two-outputs-to-stdout",
            None,
            "more than one output is to be written to standard output",
        );
    }
    (exports, sinks)
}

// What a builder does where nothing is said.
fn default_output(lowering: &Lowering<'_>) -> Option<Export> {
    let environment = &lowering.setting.environment;
    let unwanted = environment
        .get("BUILDX_NO_DEFAULT_LOAD")
        .and_then(go::parse_bool)
        == Some(true);
    let docker = lowering.setting.docker;
    if unwanted || lowering.target.call.is_some() {
        return None;
    }
    if docker.is_builder {
        return Some(Export::plain(ExportKind::Image));
    }
    docker
        .default_load
        .then(|| Export::plain(ExportKind::Docker))
}

fn tags(lowering: &mut Lowering<'_>) -> Vec<String> {
    let mut tags = Vec::new();
    for tag in &lowering.target.tags {
        match tag.value.parse::<Reference>() {
            Ok(_) => tags.push(tag.value.to_string()),
            Err(error) => lowering.error("run::tag", tag.span, format!("invalid tag: {error}")),
        }
    }
    tags
}

fn export(
    lowering: &mut Lowering<'_>,
    output: &Spanned<Export>,
    tags: &[String],
    sink: Option<&ExportSink>,
) -> spec::Export {
    let written = &output.value;
    let docker = lowering.setting.docker;
    let loads = matches!(sink, Some(ExportSink::Docker { .. }));
    let exporter = match &written.kind {
        ExportKind::Image | ExportKind::Registry
            if docker.is_builder && !docker.containerd_store =>
        {
            Exporter::Moby
        }
        ExportKind::Docker if docker.is_builder && loads => Exporter::Moby,
        ExportKind::Image | ExportKind::Registry | ExportKind::CacheOnly => Exporter::Image,
        // containerd's store takes an archive as it is, several platforms and attestations with it.
        ExportKind::Docker if loads && docker.containerd_store => Exporter::Oci,
        ExportKind::Docker => Exporter::Docker,
        ExportKind::Oci => Exporter::Oci,
        ExportKind::Local => Exporter::Local,
        ExportKind::Tar => Exporter::Tar,
        ExportKind::Other(name) => Exporter::Other(name.to_string()),
    };
    let mut export = spec::Export::new(exporter);
    let unread = |key: &str| {
        let read_here = CLIENT_ONLY.contains(&key)
            && matches!(export.exporter, Exporter::Image | Exporter::Moby)
            || key == "context" && loads;
        !read_here
    };
    let extra: BTreeMap<String, String> = written
        .attrs
        .iter()
        .filter(|(key, _)| unread(key))
        .map(|(key, value)| (key.to_string(), value.to_string()))
        .collect();
    export.extra = extra;
    if matches!(
        export.exporter,
        Exporter::Image | Exporter::Moby | Exporter::Oci | Exporter::Docker
    ) {
        export.names = names(written, tags);
        export.extra.remove("name");
    }
    if matches!(export.exporter, Exporter::Image | Exporter::Moby) {
        export.push = written.flag("push");
        export.unpack = written.flag("unpack");
    }
    if written.kind == ExportKind::Registry {
        export.push = Some(true);
        export.unpack = export.unpack.or(Some(false));
    }
    if loads && export.exporter == Exporter::Oci {
        export
            .extra
            .entry("prefer-image-digest".into())
            .or_insert_with(|| "true".into());
    }
    if export.push == Some(true) && export.names.is_empty() {
        lowering.error(
            "run::push-without-name",
            output.span,
            "an image that is pushed needs a tag",
        );
    }
    if export.push == Some(true) && export.exporter == Exporter::Moby {
        lowering.error(
            "run::push-by-docker",
            output.span,
            "this Docker Engine's builder cannot push: it keeps its images in the classic store",
        );
    }
    defaults(lowering, &mut export);
    single_manifest(lowering, output, &export, loads);
    export
}

fn names(written: &Export, tags: &[String]) -> Vec<String> {
    if !tags.is_empty() {
        return tags.to_vec();
    }
    let own = written.attr("name").unwrap_or_default();
    own.split(',')
        .map(str::trim)
        .filter(|name| !name.is_empty())
        .map(str::to_owned)
        .collect()
}

fn defaults(lowering: &Lowering<'_>, export: &mut spec::Export) {
    let environment = &lowering.setting.environment;
    let no_artifact = environment
        .get("BUILDX_NO_DEFAULT_OCI_ARTIFACT")
        .and_then(go::parse_bool)
        == Some(true);
    if no_artifact && matches!(export.exporter, Exporter::Image | Exporter::Oci) {
        export
            .extra
            .entry("oci-artifact".into())
            .or_insert_with(|| "false".into());
    }
    if let Some(attrs) = lowering.arg("BUILDKIT_INLINE_BUILDINFO_ATTRS") {
        export
            .extra
            .insert("buildinfo-attrs".into(), attrs.to_owned());
    }
}

// Docker's own archive holds one manifest.
fn single_manifest(
    lowering: &mut Lowering<'_>,
    output: &Spanned<Export>,
    export: &spec::Export,
    loads: bool,
) {
    if export.exporter != Exporter::Docker {
        return;
    }
    let several = lowering
        .target
        .platforms
        .iter()
        .flat_map(|entry| entry.value.split(','))
        .count()
        > 1;
    let attested = lowering
        .target
        .attest
        .iter()
        .any(|attest| !attest.value.disabled);
    if several || attested {
        let what = if several {
            "several platforms"
        } else {
            "attestations"
        };
        let way_out = if loads {
            "an engine with containerd's image store"
        } else {
            "`type=oci`"
        };
        lowering.error(
            "run::docker-manifest-list",
            output.span,
            format!("an image for Docker's classic store cannot hold {what}; {way_out} can"),
        );
    }
}

fn sink(lowering: &mut Lowering<'_>, output: &Spanned<Export>) -> Option<ExportSink> {
    let written = &output.value;
    match (written.sink(), written.dest.as_deref()) {
        (Sink::None, _) => None,
        (Sink::Docker, _) => Some(ExportSink::Docker {
            context: written.attr("context").map(str::to_owned),
        }),
        (Sink::File, None | Some("-")) => Some(ExportSink::Stdout),
        (Sink::File, Some(path)) => lowering.place(path, output.span).map(ExportSink::File),
        (Sink::Directory, Some(path)) if path != "-" => {
            let place = lowering.place(path, output.span)?;
            Some(ExportSink::Directory(place.path().to_owned()))
        }
        (Sink::Directory, _) => {
            let message = format!(
                "the output `type={}` needs a directory as its `dest`",
                written.kind.name()
            );
            lowering.error("run::output-without-directory", output.span, message);
            None
        }
    }
}

// The keys are those of BuildKit's image exporter: `annotation[-level][[platform]].key`.
fn annotations(lowering: &Lowering<'_>) -> BTreeMap<String, String> {
    let attr = |annotation: &Annotation| {
        let level = annotation
            .level
            .map(|level| format!("-{}", level.name()))
            .unwrap_or_default();
        let platform = annotation
            .platform
            .as_ref()
            .map(|platform| format!("[{platform}]"))
            .unwrap_or_default();
        (
            format!("annotation{level}{platform}.{}", annotation.key),
            annotation.value.clone(),
        )
    };
    lowering.planned.annotations.iter().map(attr).collect()
}
