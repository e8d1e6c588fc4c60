//! Lowers outputs to exports, and finds the destination of each export that is sent to this machine.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use super::{DockerTraits, ImageStore, Lowering};
use crate::definition::model::{Export, ExportKind, LocalMode, Sink};
use crate::diag::{Diagnostic, Spanned};
use crate::engine::spec::{self, Exporter};
use crate::files::Resolved;
use crate::golang::strconv;
use crate::plan::syntax::Annotation;
use crate::types::{Environment, ImageName, Reference};

/// The destination on this machine of an export.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum ExportDestination {
    /// A directory.
    Directory {
        /// Its path.
        path: PathBuf,
        /// What happens to files in it that are not in the result.
        others: LocalMode,
        /// What the run writes below it for other outputs, with paths relative to it.
        other_outputs: Vec<PathBuf>,
    },
    /// A directory in which the image is a layout.
    Layout(PathBuf),
    /// An archive, or another single file.
    File(Resolved),
    /// Standard output.
    Stdout,
    /// The Docker Engine of a Docker context, or of the current context.
    Docker {
        /// The name of the Docker context; `None` for the current one.
        context: Option<String>,
    },
}

/// The code that `check_print` uses for outputs that cannot be written. It refuses such plans earlier, so the
/// checks here are only a second line of defence.
const BAD_OUTPUT: &str = "plan::output";

/// Attributes that only the client reads, so they are not sent.
const CLIENT_ONLY: [&str; 4] = ["push", "unpack", "name", "context"];

/// The lowered outputs of a target.
pub(super) struct LoweredExports {
    /// The exports that the daemon is asked for.
    pub(super) exports: Vec<spec::SolveExport>,
    /// The destination of each export that is sent here, by its index in `exports`.
    pub(super) sinks: BTreeMap<usize, ExportDestination>,
    /// The names under which the Docker Engine that built the image must push it, because its BuildKit cannot.
    pub(super) pushes: Vec<Reference>,
}

/// Lowers the outputs of a target. `no_artifact` says that attestations are not to be OCI artifacts.
pub(super) fn lower(lowering: &mut Lowering<'_>, no_artifact: bool) -> LoweredExports {
    let target = lowering.target;
    let wanted: Vec<Spanned<Export>> = if target.output.is_empty() {
        default_output(&lowering.setting.docker, &lowering.setting.environment)
            .map(Spanned::without_span)
            .into_iter()
            .collect()
    } else {
        target.output.iter().cloned().collect()
    };
    let annotations = annotations(lowering);
    let mut lowered = LoweredExports {
        exports: Vec::new(),
        sinks: BTreeMap::new(),
        pushes: Vec::new(),
    };
    let mut to_stdout = 0;
    // The daemon joins the responses of all exporters in their order, and the last digest wins
    // (`runExporters` in `solver/llbsolver/export.go`). An image that is pushed must keep its digest, which is tagged; that
    // of a Docker archive, which has no attestations, is another one.
    let mut wanted: Vec<(usize, &Spanned<Export>)> = wanted.iter().enumerate().collect();
    wanted.sort_by_key(|(_, output)| output.value.pushes());
    for (place, output) in wanted {
        if output.value.kind == ExportKind::CacheOnly {
            continue;
        }
        let sink = sink(lowering, output);
        to_stdout += usize::from(sink == Some(ExportDestination::Stdout));
        let names = lowering.planned.build().images.of_output(place);
        let mut export = export(lowering, output, names, sink.as_ref());
        defaults(lowering, &mut export, no_artifact);
        export.extra.extend(
            annotations
                .iter()
                .map(|(key, value)| (key.clone(), value.clone())),
        );
        if let Some(sink) = sink.filter(|_| export.exporter != Exporter::Moby) {
            lowered.sinks.insert(lowered.exports.len(), sink);
        }
        lowered
            .pushes
            .extend(pushed_by_docker(&lowering.setting.docker, &mut export));
        lowered.exports.push(export);
    }
    if to_stdout > 1 {
        lowering.error(BAD_OUTPUT, None, "several outputs go to standard output");
    }
    lowered
}

const NO_DEFAULT_LOAD: &str = "BUILDX_NO_DEFAULT_LOAD";

/// Whether a target without outputs is exported to the builder's default destination.
pub(in crate::run) fn loads_by_default(environment: &Environment) -> bool {
    environment
        .get(NO_DEFAULT_LOAD)
        .and_then(strconv::parse_bool)
        != Some(true)
}

/// Returns a warning if `BUILDX_NO_DEFAULT_LOAD` has a value that is neither true nor false.
pub(in crate::run) fn strange_default_load(environment: &Environment) -> Option<Diagnostic> {
    let value = environment.get(NO_DEFAULT_LOAD)?;
    if strconv::parse_bool(value).is_some() {
        return None;
    }
    let message = format!("`{NO_DEFAULT_LOAD}` is `{value}`, which is neither true nor false");
    Some(
        Diagnostic::warning("run::no-default-load", message).help(format!(
            "it counts as false; set `{NO_DEFAULT_LOAD}=1`, or unset it"
        )),
    )
}

/// Returns the output that the builder uses for a target without outputs. `None` if the result only stays in the
/// build cache.
pub(in crate::run) fn default_output(
    docker: &DockerTraits,
    environment: &Environment,
) -> Option<Export> {
    if !loads_by_default(environment) {
        return None;
    }
    if docker.builder.is_some() {
        return Some(Export::plain(ExportKind::Image));
    }
    docker
        .default_load
        .then(|| Export::plain(ExportKind::Docker))
}

fn export(
    lowering: &mut Lowering<'_>,
    output: &Spanned<Export>,
    names: &[Spanned<ImageName>],
    sink: Option<&ExportDestination>,
) -> spec::SolveExport {
    let written = &output.value;
    let docker = &lowering.setting.docker;
    let loads = match sink {
        Some(ExportDestination::Docker { context }) => Some(docker.loads.get(context).copied()),
        _ => None,
    };
    let by_digest = written.attr("push-by-digest").and_then(strconv::parse_bool) == Some(true);
    let exporter = match (&written.kind, docker.builder) {
        // The Docker Engine's own exporter completes names, adds the tag `latest`, and keeps images without a
        // name. BuildKit's exporter would store the image under a name by which the Engine does not find it. But
        // the Engine's exporter cannot push without a tag.
        (ExportKind::Image | ExportKind::Registry, Some(ImageStore::Containerd)) if by_digest => {
            Exporter::Image
        }
        (ExportKind::Image | ExportKind::Registry, Some(_)) => Exporter::Moby,
        (ExportKind::Image | ExportKind::Registry | ExportKind::CacheOnly, _) => Exporter::Image,
        (ExportKind::Docker, _) => match loads {
            // The image is loaded into the engine that builds it.
            Some(None) => Exporter::Moby,
            // containerd's image store accepts an OCI archive, including several platforms and attestations.
            Some(Some(ImageStore::Containerd)) => Exporter::Oci,
            Some(Some(ImageStore::Classic)) | None => Exporter::Docker,
        },
        (ExportKind::Oci, _) => Exporter::Oci,
        (ExportKind::Local, _) => Exporter::Local,
        (ExportKind::Tar, _) => Exporter::Tar,
        (ExportKind::Other(name), _) => Exporter::Other(name.to_string()),
    };
    let store = docker.builder;
    let loads = loads.is_some();
    let mut export = spec::SolveExport::new(exporter);
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
        export.names = names.iter().map(|name| name.value.clone()).collect();
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
    // containerd's image store finds an image by its manifest or index, not by its configuration.
    let finds_by_image = match export.exporter {
        Exporter::Moby => store == Some(ImageStore::Containerd),
        Exporter::Oci => loads,
        _ => false,
    };
    if finds_by_image {
        export
            .extra
            .entry("prefer-image-digest".into())
            .or_insert_with(|| "true".into());
    }
    if by_digest && export.exporter == Exporter::Image && store.is_some() {
        // An image without a tag is only for the registry. If it were stored, the Engine would list it under an
        // unusable name.
        export
            .extra
            .entry("store".into())
            .or_insert_with(|| "false".into());
    }
    if export.push == Some(true) && by_digest && export.exporter == Exporter::Moby {
        lowering.error(
            "run::push-by-docker",
            output.span,
            "this Docker Engine cannot push by digest: it keeps its images in the classic store",
        );
    }
    let elsewhere = matches!(export.exporter, Exporter::Oci | Exporter::Docker);
    if store == Some(ImageStore::Classic) && loads && elsewhere {
        lowering.error(
            "run::docker-to-docker",
            output.span,
            "the Docker Engine that builds cannot pass the image to another one: it keeps its images in the classic store",
        );
    }
    single_manifest(lowering, output, &export, loads);
    export
}

/// Takes the push out of `export` if the Docker Engine itself must push, and returns the names to push. The
/// BuildKit of an Engine with the classic image store cannot push. buildx does the same.
fn pushed_by_docker(docker: &DockerTraits, export: &mut spec::SolveExport) -> Vec<Reference> {
    let classic = docker.builder == Some(ImageStore::Classic);
    if !classic || export.exporter != Exporter::Moby || export.push.take() != Some(true) {
        return Vec::new();
    }
    let names = export.names.iter().map(ImageName::reference);
    names.cloned().collect()
}

/// Adds attributes that buildx derives from environment variables and build arguments.
fn defaults(lowering: &Lowering<'_>, export: &mut spec::SolveExport, no_artifact: bool) {
    let images = matches!(
        export.exporter,
        Exporter::Image | Exporter::Oci | Exporter::Moby
    );
    if no_artifact && images && lowering.setting.attestations {
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

/// Reports an error if the image does not fit into Docker's archive format, which holds only one manifest.
fn single_manifest(
    lowering: &mut Lowering<'_>,
    output: &Spanned<Export>,
    export: &spec::SolveExport,
    loads: bool,
) {
    if export.exporter != Exporter::Docker {
        return;
    }
    let several = lowering.planned.platforms.len() > 1;
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

/// Returns the destination on this machine, or `None` if nothing is sent here.
fn sink(lowering: &mut Lowering<'_>, output: &Spanned<Export>) -> Option<ExportDestination> {
    let written = &output.value;
    match (written.sink(), written.dest.as_deref()) {
        (Sink::None, _) => None,
        (Sink::Docker, _) => Some(ExportDestination::Docker {
            context: written
                .attr("context")
                .filter(|name| !name.is_empty())
                .map(str::to_owned),
        }),
        (Sink::File, None | Some("-")) => Some(ExportDestination::Stdout),
        (Sink::File, Some(path)) => lowering
            .place(path, output.span)
            .map(ExportDestination::File),
        (Sink::Directory, Some(path)) if path != "-" => {
            let place = lowering.place(path, output.span)?;
            let path = place.path().to_owned();
            Some(match written.kind {
                ExportKind::Local => ExportDestination::Directory {
                    others: written.local_mode().unwrap_or(LocalMode::Copy),
                    other_outputs: written_below(&lowering.setting.written, &path),
                    path,
                },
                _ => ExportDestination::Layout(path),
            })
        }
        (Sink::Directory, _) => {
            let kind = written.kind.name();
            let message = format!("output `type={kind}` needs a directory, `dest`");
            lowering.error(BAD_OUTPUT, output.span, message);
            None
        }
    }
}

/// Those of `written` that are below `dir`, relative to it.
fn written_below(written: &[PathBuf], dir: &Path) -> Vec<PathBuf> {
    let below = written
        .iter()
        .filter_map(|path| path.strip_prefix(dir).ok());
    let below = below.filter(|path| !path.as_os_str().is_empty());
    below.map(Path::to_owned).collect()
}

/// Returns the annotations as attributes of BuildKit's image exporter: `annotation[-level][[platform]].key`.
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
    let entries = lowering.planned.annotations.iter();
    entries
        .flat_map(|entry| entry.annotations.iter().map(attr))
        .collect()
}

#[cfg(test)]
mod tests;
