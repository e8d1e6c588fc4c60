//! Files that several outputs write.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use crate::definition::model::Sink;
use crate::diag::{Diagnostic, Diagnostics, Span};
use crate::files::Resolver;
use crate::plan::model::{Plan, PlannedTarget};
use crate::plan::written::written_places;

/// Warns of files to which several outputs of `plan` write, or an output and the metadata, and of a log that an output replaces or
/// deletes. buildx builds them, and one result is lost. Paths are followed by `paths`. Pipes and devices, such as `/dev/null`, take all
/// that is written to them.
pub(crate) fn check_files(
    plan: &Plan,
    paths: &Resolver,
    metadata_file: Option<&str>,
    log_file: Option<&str>,
) -> Diagnostics {
    let mut writers: BTreeMap<PathBuf, Vec<Writer<'_>>> = BTreeMap::new();
    for target in plan.targets.values() {
        if target.is_linked() || target.is_called() {
            continue;
        }
        for export in &target.attributes.output {
            let Some(dest) = export.dest.as_deref() else {
                continue;
            };
            if export.sink() == Sink::File
                && let Some(path) = file(dest, paths)
            {
                let (dest, span) = (dest.to_owned(), export.span);
                let writer = Writer { target, dest, span };
                writers.entry(path).or_default().push(writer);
            }
        }
    }
    let metadata = metadata_file.and_then(|path| file(path, paths));
    let mut problems = Diagnostics::default();
    for (path, writers) in &writers {
        let with_metadata = metadata.as_ref() == Some(path);
        if writers.len() > 1 || with_metadata {
            problems.0.extend(warning(writers, with_metadata));
        }
    }
    if let Some(log) = log_file.and_then(|path| file(path, paths)) {
        problems.0.extend(lost_log(plan, paths, &log));
    }
    problems
}

/// The warning about an output that replaces or deletes the log at `path`.
fn lost_log(plan: &Plan, paths: &Resolver, path: &Path) -> Option<Diagnostic> {
    let mut places = written_places(plan, paths).into_iter();
    let place = places
        .find(|place| place.path == path || place.deletes && path.starts_with(&place.path))?;
    let name = &place.target.name;
    let message = if place.deletes {
        format!(
            "an output of target `{name}` deletes the log: it has `mode=delete`, and the log is in its directory"
        )
    } else {
        format!("an output of target `{name}` and `--log-file` write the same file")
    };
    let problem = Diagnostic::warning("plan::shared-file", message)
        .help("write the log to another place (`--log-file`)");
    Some(problem.at(place.span.or_else(|| place.target.span()), ""))
}

/// An output that writes a file.
struct Writer<'a> {
    target: &'a PlannedTarget,
    /// The path as it is written.
    dest: String,
    span: Option<Span>,
}

/// The regular file at the path `text`, which may not exist yet.
fn file(text: &str, paths: &Resolver) -> Option<PathBuf> {
    // What is wrong with a path is reported when privileges are checked.
    let place = paths.resolve(text).ok().filter(|_| text != "-")?;
    let path = place.path();
    let is_other = path.metadata().is_ok_and(|found| !found.is_file());
    (place.descriptor().is_none() && !is_other).then(|| path.to_owned())
}

fn warning(writers: &[Writer<'_>], with_metadata: bool) -> Option<Diagnostic> {
    let first = writers.first()?;
    let mut names: Vec<String> = writers
        .iter()
        .map(|writer| format!("`{}`", writer.target.name))
        .collect();
    names.dedup();
    let who = match (&names[..], writers.len()) {
        ([name], 1) => format!("the output of target {name}"),
        ([name], count) => format!("{count} outputs of target {name}"),
        (names, _) => format!("the outputs of targets {}", names.join(", ")),
    };
    let dest = &first.dest;
    let (message, note) = if with_metadata {
        (
            format!("{who} and `--metadata-file` write the same file, `{dest}`"),
            "the metadata is written last, and replaces the output",
        )
    } else {
        (
            format!("{who} write the same file, `{dest}`"),
            "the file will be the output that is written last",
        )
    };
    let mut problem = Diagnostic::warning("plan::shared-file", message)
        .note(note)
        .help("write each to a file of its own (`dest`)");
    let mut spans: Vec<_> = writers.iter().filter_map(|writer| writer.span).collect();
    spans.dedup();
    for span in spans.into_iter().take(2) {
        problem = problem.at(span, "");
    }
    Some(problem)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::plan::testing::{Project, codes};
    use test_case::test_case;

    fn found(a: &str, b: &str, metadata_file: Option<&str>) -> Diagnostics {
        let project = Project::new().file(
            "docker-bake.hcl",
            &format!("target \"a\" {{ output = [{a}] }}\ntarget \"b\" {{ output = [{b}] }}"),
        );
        let plan = project.plan(&["a", "b"]).unwrap();
        let dir = project.environment().current_dir().to_owned();
        std::os::unix::fs::symlink(".", dir.join("link")).unwrap();
        check_files(&plan, &Resolver::new(&dir), metadata_file, Some("logs/log"))
    }

    #[test_case(r#""type=local,dest=logs,mode=delete""#, "deletes the log"; "deleted")]
    #[test_case(r#""type=tar,dest=logs/log""#, "and `--log-file` write the same file"; "replaced")]
    fn a_log_that_is_lost_causes_a_warning(output: &str, told: &str) {
        let found = found(output, "", None);
        assert_eq!(codes(&found), ["plan::shared-file"]);
        assert!(found.0[0].message.contains(told), "{found:?}");
    }

    #[test_case(r#""type=oci,dest=x.tar""#, r#""type=tar,dest=./x.tar""#, None, "targets `a`, `b` write the same file, `x.tar`"; "two targets")]
    #[test_case(r#""type=oci,dest=x.tar", "type=tar,dest=x.tar""#, "", None, "2 outputs of target `a`"; "two outputs")]
    #[test_case(r#""type=oci,dest=x.tar""#, r#""type=oci,dest=link/x.tar""#, None, "targets `a`, `b`"; "through a link")]
    #[test_case(r#""type=oci,dest=x.tar""#, "", Some("./x.tar"), "target `a` and `--metadata-file`"; "metadata")]
    fn a_file_that_two_write_causes_a_warning(
        a: &str,
        b: &str,
        metadata_file: Option<&str>,
        told: &str,
    ) {
        let found = found(a, b, metadata_file);
        assert_eq!(codes(&found), ["plan::shared-file"]);
        assert!(!found.has_errors());
        assert!(found.0[0].message.contains(told), "{found:?}");
    }

    #[test_case(r#""type=oci,dest=x.tar""#, r#""type=oci,dest=y.tar""#; "two files")]
    #[test_case(r#""type=local,dest=x""#, r#""type=local,dest=x""#; "directories are merged")]
    #[test_case(r#""type=local,dest=logs""#, r#""type=local,dest=log,mode=delete""#; "the log is elsewhere")]
    #[test_case(r#""type=oci,dest=/dev/null""#, r#""type=oci,dest=/dev/null""#; "a device")]
    #[test_case(r#""type=oci,dest=-""#, r#""type=oci,dest=-""#; "standard output is another problem")]
    #[test_case(r#""type=docker""#, r#""type=docker""#; "a Docker Engine")]
    fn other_outputs_cause_no_warning(a: &str, b: &str) {
        assert_eq!(codes(&found(a, b, Some("m.json"))), [""; 0]);
    }
}
